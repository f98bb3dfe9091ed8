//! Namespaces of any kind, kept alive by a file that they are bind-mounted on.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{
    error::{Attempt, Attempted, Failed},
    mount,
};

/// The kinds of namespaces that outlive their processes when bound to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Net,
    Uts,
    Ipc,
    Mount,
    Pid,
}

impl Kind {
    /// The name under `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Mount => "mnt",
            Self::Pid => "pid",
        }
    }

    pub(crate) fn flag(self) -> CloneFlags {
        match self {
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Mount => CloneFlags::CLONE_NEWNS,
            Self::Pid => CloneFlags::CLONE_NEWPID,
        }
    }
}

/// An open namespace; it lives at least as long as this value.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    kind: Kind,
}

impl Namespace {
    /// Opens the namespace that `path` was bound to by [`create`].
    pub fn open(kind: Kind, path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        let file = File::open(path).attempted(|| format!("open namespace {}", path.display()))?;
        Ok(Self { file, kind })
    }

    /// The namespace that process `pid` is in.
    pub fn of_process(kind: Kind, pid: u32) -> Attempt<Self> {
        Self::open(kind, format!("/proc/{pid}/ns/{}", kind.name()))
    }

    /// The namespace of the calling thread.
    pub fn current(kind: Kind) -> Attempt<Self> {
        Self::open(kind, format!("/proc/thread-self/ns/{}", kind.name()))
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The inode number, which identifies a namespace for as long as it lives.
    pub fn id(&self) -> Attempt<u64> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.file.metadata().attempted(|| "read a namespace's inode".to_owned())?.ino())
    }

    /// A second handle on the same namespace.
    pub fn try_clone(&self) -> Attempt<Self> {
        let file =
            self.file.try_clone().attempted(|| "duplicate a namespace's descriptor".to_owned())?;
        Ok(Self { file, kind: self.kind })
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// Meant for threads that end soon and for single-threaded programs; everyone else wants
    /// [`crate::netns::NetNs::run`].
    pub fn enter(&self) -> Attempt<()> {
        setns(&self.file, self.kind.flag())
            .attempted(|| format!("enter a {} namespace", self.kind.name()))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Moves the calling thread (for a PID namespace: its future children) into a new namespace.
pub fn unshare_into(kind: Kind) -> Attempt<()> {
    unshare(kind.flag()).attempted(|| format!("create a {} namespace", kind.name()))
}

/// Sets the host name of the calling thread's UTS namespace.
pub fn set_hostname(name: &str) -> Attempt<()> {
    nix::unistd::sethostname(name).attempted(|| format!("set host name {name}"))
}

/// Makes new namespaces of the given kinds, each bound to a file that must not exist yet.
///
/// `prepare` runs on the thread that is inside all of them, for example to set a host name.
/// When anything fails nothing is left behind. Mount and PID namespaces cannot be made this way.
pub fn create<T: Send>(
    paths: &[(Kind, &Path)],
    prepare: impl FnOnce() -> Attempt<T> + Send,
) -> Attempt<T> {
    let mut made = Vec::new();
    let result = thread::scope(|scope| {
        let made = &mut made;
        let work = move || {
            let mut flags = CloneFlags::empty();
            for (kind, path) in paths {
                File::create_new(path).attempted(|| format!("create {}", path.display()))?;
                made.push(*path);
                flags |= kind.flag();
            }
            unshare(flags).attempted(|| format!("create namespaces {flags:?}"))?;
            let value = prepare()?;
            for (kind, path) in paths {
                mount::bind(format!("/proc/thread-self/ns/{}", kind.name()), path)?;
            }
            Ok(value)
        };
        join(thread::Builder::new().name("new-namespace".to_owned()).spawn_scoped(scope, work))
    });
    if result.is_err() {
        for path in made {
            let _ = remove(path);
        }
    }
    result
}

/// Lets go of a namespace: takes the mount off `path` and removes the file.
///
/// The namespace ends with its last process. A path that is not there is no error.
pub fn remove(path: impl AsRef<Path>) -> Attempt<()> {
    let path = path.as_ref();
    match mount::detach(path) {
        Err(e) if !e.missing() && e.raw_os_error() != Some(libc::EINVAL) => return Err(e),
        _ => {}
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failed::new(format!("remove namespace file {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

/// Waits for a scoped thread; a panic inside goes on outside.
pub(crate) fn join<T>(
    spawned: std::io::Result<thread::ScopedJoinHandle<'_, Attempt<T>>>,
) -> Attempt<T> {
    match spawned.attempted(|| "start a thread for a namespace".to_owned())?.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
