//! What a new process does between fork and exec: system calls only, no allocation.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    ptr,
};

use crate::namespace::Kind;

/// Where and as whom the new process runs. Everything is opened and allocated before the fork.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) cgroup: Option<OwnedFd>,
    pub(super) session: bool,
    pub(super) terminal: bool,
    pub(super) own_sysfs: bool,
    pub(super) parent_death_signal: Option<i32>,
    pub(super) user: Option<(u32, u32, Vec<u32>)>,
    pub(super) descriptors: Vec<(OwnedFd, RawFd)>,
    pub(super) directory: Option<CString>,
    namespaces: Vec<(OwnedFd, Kind)>,
}

pub(super) fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Setup {
    /// Notes a namespace to enter; mount namespaces go last, as the paths change with them.
    pub(super) fn enter(&mut self, fd: OwnedFd, kind: Kind) {
        self.namespaces.push((fd, kind));
        self.namespaces.sort_by_key(|n| n.1 == Kind::Mount);
    }

    /// Puts the calling process where it was asked for. Runs in the child.
    pub(super) fn enter_all(&mut self) -> io::Result<()> {
        // SAFETY: system calls on descriptors and C strings that live in `self`.
        unsafe {
            if let Some(procs) = &self.cgroup {
                // Zero stands for the writer.
                check(libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) as i32)?;
            }
            if self.session {
                check(libc::setsid())?;
                if self.terminal {
                    check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                }
            }
            for (fd, kind) in &self.namespaces {
                check(libc::setns(fd.as_raw_fd(), kind.flag().bits()))?;
            }
            if self.own_sysfs {
                remount_sysfs()?;
            }
            if self.namespaces.iter().any(|n| n.1 == Kind::Pid) {
                // Only children are inside a PID namespace that was entered.
                fork_and_stand_in()?;
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            }
        }
        Ok(())
    }

    /// Gives the calling process its directory, descriptors and user. Runs in the child.
    pub(super) fn become_it(&mut self) -> io::Result<()> {
        // SAFETY: system calls on descriptors and C strings that live in `self`.
        unsafe {
            if let Some(directory) = &self.directory {
                check(libc::chdir(directory.as_ptr()))?;
            }
            self.move_descriptors()?;
            if let Some((uid, gid, groups)) = &self.user {
                check(libc::setgroups(groups.len(), groups.as_ptr()))?;
                check(libc::setresgid(*gid, *gid, *gid))?;
                check(libc::setresuid(*uid, *uid, *uid))?;
            }
            // Last: a change of user clears it.
            if let Some(signal) = self.parent_death_signal {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, signal))?;
            }
        }
        Ok(())
    }

    /// Puts the descriptors where the program expects them. Two steps, as the number that one
    /// shall have may be where another one is.
    ///
    /// # Safety
    /// Only in a child before exec: it overwrites whatever had those numbers.
    unsafe fn move_descriptors(&self) -> io::Result<()> {
        let above = self.descriptors.iter().map(|d| d.1).max().unwrap_or(2) + 1;
        // The copies go in order to the lowest free numbers from `above` on; at most 64 at once.
        let mut copies = [0; 64];
        if self.descriptors.len() > copies.len() {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        // SAFETY: system calls on numbers; the array was checked to be long enough.
        unsafe {
            for (copy, (fd, _)) in copies.iter_mut().zip(&self.descriptors) {
                *copy = check(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above))?;
            }
            for (copy, (_, number)) in copies.iter().zip(&self.descriptors) {
                check(libc::dup2(*copy, *number))?;
            }
        }
        Ok(())
    }
}

/// Mounts of its own for this process, with the sysfs of its network namespace at `/sys`.
///
/// # Safety
/// Only in a child before exec.
unsafe fn remount_sysfs() -> io::Result<()> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the path is a C string that lives over the call.
    let open = |path: &CStr| unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    // SAFETY: C strings that live for ever, null where the kernel allows it.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        check(libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            none,
            libc::MS_REC | libc::MS_SLAVE,
            ptr::null(),
        ))?;
        // What is mounted below /sys would be hidden by the new one: carry it over.
        let below =
            [c"/sys/fs/cgroup", c"/sys/fs/bpf", c"/sys/kernel/debug", c"/sys/kernel/tracing"];
        let mut kept = [-1; 4];
        for (fd, path) in kept.iter_mut().zip(below) {
            *fd = open(path);
        }
        check(libc::mount(c"sysfs".as_ptr(), c"/sys".as_ptr(), c"sysfs".as_ptr(), 0, ptr::null()))?;
        for (fd, path) in kept.into_iter().zip(below) {
            if fd >= 0 {
                let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
                write_number(&mut link[14..], fd);
                // A place that is not there in the new sysfs is no loss.
                libc::mount(
                    link.as_ptr().cast(),
                    path.as_ptr(),
                    none,
                    libc::MS_BIND | libc::MS_REC,
                    ptr::null(),
                );
                libc::close(fd);
            }
        }
    }
    Ok(())
}

fn write_number(into: &mut [u8], number: i32) {
    let mut digits = [0; 10];
    let (mut rest, mut n) = (number.unsigned_abs(), 0);
    while n == 0 || rest > 0 {
        digits[n] = b'0' + (rest % 10) as u8;
        rest /= 10;
        n += 1;
    }
    for (place, digit) in into.iter_mut().zip(digits[..n].iter().rev()) {
        *place = *digit;
    }
}

/// Forks. The child returns; the parent stays as its stand-in: passes on signals that were sent
/// to it, and ends as the child ends.
///
/// # Safety
/// Only in a child before exec.
unsafe fn fork_and_stand_in() -> io::Result<()> {
    // SAFETY: signal sets on the stack, filled by the calls that take them; plain system calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
        let child = check(libc::fork())?;
        if child == 0 {
            libc::sigprocmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            return Ok(());
        }
        // Ends of pipes must not be held open by the stand-in.
        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        loop {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigwaitinfo(&all, &mut info);
            if signal == libc::SIGCHLD {
                let mut status = 0;
                if libc::waitpid(child, &mut status, libc::WNOHANG) == child {
                    end_as(status);
                }
            } else if signal > 0 && info.si_code <= 0 {
                // Sent by a process. Those of the terminal reach the child by themselves.
                libc::kill(child, signal);
            }
        }
    }
}

/// Ends this process with a wait status.
///
/// # Safety
/// Only in a child before exec.
unsafe fn end_as(status: i32) -> ! {
    // SAFETY: plain system calls; the set is on the stack.
    unsafe {
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::signal(signal, libc::SIG_DFL);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, signal);
            libc::kill(libc::getpid(), signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
            libc::_exit(128 + signal);
        }
        libc::_exit(libc::WEXITSTATUS(status))
    }
}

/// Makes this process the parent of its descendants' orphans, so that it can wait for them.
pub fn become_subreaper() -> crate::Attempt<()> {
    use crate::error::Attempted;
    // SAFETY: sets a flag of the calling process.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    check(result).map(drop).attempted(|| "become the reaper of orphans".to_owned())
}
