//! Control groups, version 2, used to know and to end all processes of a thing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    error::{Attempt, Attempted, Failed},
    mount,
};

/// One control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

/// Where the unified hierarchy is mounted, from the mount table.
///
/// # Errors
/// Fails with kind `NotFound` where no cgroup2 is mounted.
pub fn root() -> Attempt<PathBuf> {
    mount::table()?
        .into_iter()
        .find(|m| m.kind == "cgroup2" && m.root == Path::new("/"))
        .map(|m| m.target)
        .ok_or_else(|| {
            Failed::new("find the cgroup2 mount", io::Error::from(io::ErrorKind::NotFound))
        })
}

/// Whether the directory is a cgroup of version 2.
pub fn is_cgroup2(path: impl AsRef<Path>) -> bool {
    /// `CGROUP2_SUPER_MAGIC`.
    const MAGIC: u32 = 0x6367_7270;
    rustix::fs::statfs(path.as_ref()).is_ok_and(|found| found.f_type as u32 == MAGIC)
}

impl Cgroup {
    /// Makes the group `path`, relative to the [`root`], with its parents; it may exist.
    pub fn create(path: impl AsRef<Path>) -> Attempt<Self> {
        let relative = path.as_ref();
        Self::at(root()?.join(relative.strip_prefix("/").unwrap_or(relative)))
    }

    /// Makes the group whose directory is `path`, with its parents; it may exist.
    pub fn at(path: impl Into<PathBuf>) -> Attempt<Self> {
        let path = path.into();
        fs::create_dir_all(&path).attempted(|| format!("create cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// The group whose directory is `path`, whether it exists or not.
    pub fn existing(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The group's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a group below this one; it may exist.
    pub fn child(&self, name: impl AsRef<Path>) -> Attempt<Self> {
        Self::at(self.path.join(name))
    }

    /// Moves process `pid` into the group.
    pub fn add(&self, pid: u32) -> Attempt<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
            .attempted(|| format!("move process {pid} into cgroup {}", self.path.display()))
    }

    /// The processes in this very group, not those in groups below.
    pub fn processes(&self) -> Attempt<Vec<u32>> {
        match fs::read_to_string(self.path.join("cgroup.procs")) {
            Ok(text) => Ok(text.lines().filter_map(|l| l.parse().ok()).collect()),
            Err(e) if gone(&e) => Ok(Vec::new()),
            Err(e) => {
                Err(Failed::new(format!("list processes of cgroup {}", self.path.display()), e))
            }
        }
    }

    /// The processes in this group and all groups below.
    pub fn all_processes(&self) -> Attempt<Vec<u32>> {
        let mut found = self.processes()?;
        for child in self.children()? {
            found.extend(child.all_processes()?);
        }
        Ok(found)
    }

    /// The threads in this very group, not those in groups below.
    pub fn threads(&self) -> Attempt<Vec<u32>> {
        match fs::read_to_string(self.path.join("cgroup.threads")) {
            Ok(text) => Ok(text.lines().filter_map(|l| l.parse().ok()).collect()),
            Err(e) if gone(&e) => Ok(Vec::new()),
            Err(e) => {
                Err(Failed::new(format!("list threads of cgroup {}", self.path.display()), e))
            }
        }
    }

    /// The threads in this group and all groups below, threaded ones too.
    pub fn all_threads(&self) -> Attempt<Vec<u32>> {
        let mut found = self.threads()?;
        for child in self.children()? {
            found.extend(child.all_threads()?);
        }
        Ok(found)
    }

    /// The groups directly below this one.
    pub fn children(&self) -> Attempt<Vec<Self>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if gone(&e) => return Ok(Vec::new()),
            Err(e) => return Err(Failed::new(format!("list cgroup {}", self.path.display()), e)),
        };
        Ok(entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .map(|e| Self { path: e.path() })
            .collect())
    }

    /// Whether any process lives in this group or below.
    pub fn populated(&self) -> Attempt<bool> {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(text) => Ok(text.lines().any(|l| l == "populated 1")),
            Err(e) if gone(&e) => Ok(false),
            Err(e) => Err(Failed::new(format!("read events of cgroup {}", self.path.display()), e)),
        }
    }

    /// Sends SIGKILL to every process in this group and below, also to those being forked.
    ///
    /// A group that is not there is no error.
    pub fn kill_all(&self) -> Attempt<()> {
        match fs::write(self.path.join("cgroup.kill"), "1") {
            Ok(()) => Ok(()),
            Err(e) if gone(&e) && self.path.exists() => self.kill_each(),
            Err(e) if gone(&e) => Ok(()),
            Err(e) => Err(Failed::new(format!("kill cgroup {}", self.path.display()), e)),
        }
    }

    /// For kernels before 5.14, which have no `cgroup.kill`.
    fn kill_each(&self) -> Attempt<()> {
        while self.populated()? {
            for pid in self.all_processes()? {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid.cast_signed()),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until no process is left in this group and below.
    ///
    /// # Errors
    /// Fails with kind `TimedOut` when some are still there after `timeout`.
    pub fn wait_empty(&self, timeout: Duration) -> Attempt<()> {
        let what = || format!("wait for cgroup {} to empty", self.path.display());
        let deadline = Instant::now() + timeout;
        let events = match fs::File::open(self.path.join("cgroup.events")) {
            Ok(file) => file,
            Err(e) if gone(&e) => return Ok(()),
            Err(e) => return Err(Failed::new(what(), e)),
        };
        while self.populated()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failed::new(what(), io::Error::from(io::ErrorKind::TimedOut)));
            }
            // A change of cgroup.events shows as POLLPRI on the open file.
            let mut fds = [PollFd::new(&events, PollFlags::PRI)];
            let slice = left.min(Duration::from_millis(100));
            let timeout = Timespec { tv_sec: 0, tv_nsec: slice.subsec_nanos().into() };
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Failed::new(what(), e)),
            }
        }
        Ok(())
    }

    /// Removes this group and those below; no process may be left in them.
    ///
    /// A group that is not there is no error.
    pub fn remove(&self) -> Attempt<()> {
        for child in self.children()? {
            child.remove()?;
        }
        // The kernel may still be letting go of the last process: a handful of tries.
        let mut tries = 0;
        loop {
            match fs::remove_dir(&self.path) {
                Ok(()) => return Ok(()),
                Err(e) if gone(&e) => return Ok(()),
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) && tries < 50 => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(e) => {
                    return Err(Failed::new(format!("remove cgroup {}", self.path.display()), e));
                }
            }
        }
    }

    /// Kills everything in the group, waits until it is gone and removes it.
    pub fn destroy(&self, timeout: Duration) -> Attempt<()> {
        self.kill_all()?;
        self.wait_empty(timeout)?;
        self.remove()
    }
}

/// A group that vanished shows as ENOENT when opened and as ENODEV when read or written.
fn gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Spawn;

    #[test]
    fn a_group_knows_kills_and_forgets_its_processes() {
        let group = Cgroup::create(format!("portolan-test-{}", std::process::id())).unwrap();
        let inner = group.child("a/b").unwrap();
        assert!(!group.populated().unwrap());
        let mut child = Spawn::new("sleep").arg("1000").cgroup(&inner).spawn().unwrap();
        assert_eq!(group.all_processes().unwrap(), [child.id()]);
        assert!(group.populated().unwrap());
        assert!(group.wait_empty(Duration::from_millis(5)).is_err());
        group.destroy(Duration::from_secs(5)).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(!group.path().exists());
        group.destroy(Duration::from_secs(1)).unwrap();
    }
}
