//! Processes by descriptor: signals that cannot hit another process, and ends that can be polled.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::error::{Attempt, Attempted, Failed};

/// A descriptor for a process, child or not. Readable (as by epoll) once the process has ended.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: u32,
}

impl Pidfd {
    /// Opens the process that has the number `pid` now.
    pub fn open(pid: u32) -> Attempt<Self> {
        let what = || format!("open process {pid}");
        let raw = Pid::from_raw(pid.cast_signed())
            .ok_or_else(|| Failed::new(what(), io::Error::from(io::ErrorKind::InvalidInput)))?;
        let fd = pidfd_open(raw, PidfdFlags::empty()).attempted(what)?;
        Ok(Self { fd, pid })
    }

    /// Opens process `pid` if it is the one that started at `start` (see [`start_time`]).
    ///
    /// # Errors
    /// Fails as [`Failed::missing`] if the number now belongs to another process.
    pub fn open_started(pid: u32, start: u64) -> Attempt<Self> {
        let opened = Self::open(pid)?;
        if start_time(pid) == Some(start) {
            return Ok(opened);
        }
        Err(Failed::new(format!("open process {pid}"), io::Error::from_raw_os_error(libc::ESRCH)))
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. To a process that has ended is no error.
    pub fn signal(&self, signal: i32) -> Attempt<()> {
        let what = || format!("send signal {signal} to process {}", self.pid);
        let named = Signal::from_named_raw(signal)
            .ok_or_else(|| Failed::new(what(), io::Error::from(io::ErrorKind::InvalidInput)))?;
        match pidfd_send_signal(&self.fd, named) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.attempted(what),
        }
    }

    /// Lets the kernel forget a child that has ended; does nothing for other processes.
    pub fn reap(&self) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let _ =
            waitid(WaitId::PidFd(self.fd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// Whether the process has ended.
    pub fn ended(&self) -> bool {
        self.wait_ended(Duration::ZERO)
    }

    /// Waits for the end without blocking the thread.
    ///
    /// # Panics
    /// Outside a Tokio runtime with its I/O driver on.
    pub async fn end(&self) -> Attempt<()> {
        let what = || format!("wait for process {}", self.pid);
        let own = self.fd.try_clone().attempted(what)?;
        // SAFETY: the descriptor is open and belongs to the `AsyncFd` alone from here on.
        let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
        let watched = registered.map_err(|e| Failed::new(what(), e.into_parts().1))?;
        // Ended stays ended: the readiness is never cleared.
        let _ = watched.readable().await.attempted(what)?;
        Ok(())
    }

    /// Waits until the process has ended; false if it has not after `timeout`.
    pub fn wait_ended(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let timeout = timespec(timeout);
        poll(&mut fds, Some(&timeout)).is_ok_and(|n| n > 0)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

/// A process that this one started. Dropping it neither ends nor reaps the process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: Pidfd,
}

impl Process {
    pub(super) fn new(child: Child) -> Attempt<Self> {
        let pidfd = Pidfd::open(child.id())?;
        Ok(Self { child, pidfd })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process's descriptor.
    pub fn pidfd(&self) -> &Pidfd {
        &self.pidfd
    }

    /// The pipe to standard input, if it was asked for.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The pipe from standard output, if it was asked for.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The pipe from standard error, if it was asked for.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for the end and reaps the process.
    pub fn wait(&mut self) -> Attempt<Ended> {
        let id = self.id();
        self.child.wait().map(Ended).attempted(|| format!("wait for process {id}"))
    }

    /// Reaps the process if it has ended.
    pub fn try_wait(&mut self) -> Attempt<Option<Ended>> {
        let id = self.id();
        Ok(self.child.try_wait().attempted(|| format!("wait for process {id}"))?.map(Ended))
    }

    /// Sends a signal. To a process that has ended is no error.
    pub fn signal(&self, signal: i32) -> Attempt<()> {
        self.pidfd.signal(signal)
    }

    /// Gives up the parent's rights and keeps the descriptor alone.
    pub fn into_pidfd(self) -> Pidfd {
        self.pidfd
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl std::os::fd::AsRawFd for Process {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.pidfd)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(ExitStatus);

impl Ended {
    /// What it passed to exit, if it did.
    pub fn code(self) -> Option<i32> {
        self.0.code()
    }

    /// The signal that ended it, if one did.
    pub fn signal(self) -> Option<i32> {
        self.0.signal()
    }

    /// The exit status as a shell gives it: 128 more than the signal's number if one ended it.
    pub fn shell_status(self) -> i32 {
        self.code().unwrap_or_else(|| 128 + self.signal().unwrap_or(0))
    }

    /// Whether it ended with exit status 0.
    pub fn success(self) -> bool {
        self.0.success()
    }
}

/// Waits until any of the descriptors can be read or has ended; says which. After `timeout`
/// (`None`: never) all are false.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Attempt<Vec<bool>> {
    let mut polled: Vec<_> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = timeout.map(timespec);
    loop {
        match poll(&mut polled, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            other => {
                other.attempted(|| "wait for descriptors".to_owned())?;
                return Ok(polled.iter().map(|p| !p.revents().is_empty()).collect());
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// When process `pid` started, in clock ticks since boot: with the number it names a process
/// beyond reuse. `None` if there is none.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; field 22 is the 20th after it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Reaps every child that has ended, for processes that are subreapers
/// ([`super::become_subreaper`]) or PID 1 and hold no [`Process`] values.
///
/// Returns their numbers with the statuses that a shell would give.
pub fn ended_children() -> Vec<(u32, i32)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG)
    {
        let code = status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s));
        ended.push((pid.as_raw_nonzero().get().unsigned_abs(), code.unwrap_or(0)));
    }
    ended
}
