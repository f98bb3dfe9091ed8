//! Network namespaces.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    thread,
};

use crate::{
    error::Attempt,
    namespace::{self, Kind, Namespace},
    rtnl::Rtnl,
};

/// A network namespace; it lives at least as long as this handle.
#[derive(Debug)]
pub struct NetNs(Namespace);

impl NetNs {
    /// Makes a new network namespace, bound to the file `path`, with its loopback up.
    ///
    /// Fails with [`crate::Failed::exists`] if the file is there already.
    pub fn create(path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        namespace::create(&[(Kind::Net, path)], || Rtnl::open()?.set_up("lo"))?;
        Self::open(path)
    }

    /// Opens the namespace that [`NetNs::create`] (or `ip netns add`) bound to `path`.
    pub fn open(path: impl AsRef<Path>) -> Attempt<Self> {
        Namespace::open(Kind::Net, path).map(Self)
    }

    /// The namespace that process `pid` is in.
    pub fn of_process(pid: u32) -> Attempt<Self> {
        Namespace::of_process(Kind::Net, pid).map(Self)
    }

    /// The namespace of the calling thread.
    pub fn current() -> Attempt<Self> {
        Namespace::current(Kind::Net).map(Self)
    }

    /// The inode number, which identifies the namespace for as long as it lives.
    pub fn id(&self) -> Attempt<u64> {
        self.0.id()
    }

    /// The namespace without its kind, as [`crate::process::Spawn`] takes it.
    pub fn as_namespace(&self) -> &Namespace {
        &self.0
    }

    /// A second handle on the same namespace.
    pub fn try_clone(&self) -> Attempt<Self> {
        self.0.try_clone().map(Self)
    }

    /// Runs `work` inside the namespace, on a thread of its own, and waits for it.
    ///
    /// Sockets opened there keep belonging to the namespace, wherever they are used later. It takes
    /// `CAP_SYS_ADMIN`, unless the calling thread is in the namespace already.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Attempt<T> {
        thread::scope(|scope| {
            let inside = || {
                if Self::current()?.id()? != self.id()? {
                    self.0.enter()?;
                }
                Ok(work())
            };
            namespace::join(
                thread::Builder::new().name("in-netns".to_owned()).spawn_scoped(scope, inside),
            )
        })
    }

    /// A handle on the namespace's links, addresses, routes and neighbours.
    pub fn rtnl(&self) -> Attempt<Rtnl> {
        self.run(Rtnl::open)?
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets go of a namespace made by [`NetNs::create`]; a path that is not there is no error.
pub fn remove(path: impl AsRef<Path>) -> Attempt<()> {
    namespace::remove(path)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_namespace_is_made_entered_and_removed_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        assert!(NetNs::create(&path).unwrap_err().exists());
        assert_ne!(ns.id().unwrap(), NetNs::current().unwrap().id().unwrap());
        assert_eq!(ns.run(|| NetNs::current().unwrap().id().unwrap()).unwrap(), ns.id().unwrap());
        // The same port twice: the namespaces do not share it, and loopback is up.
        let listener = ns.run(|| TcpListener::bind("127.0.0.1:45678").unwrap()).unwrap();
        assert_eq!(listener.local_addr().unwrap().port(), 45678);
        ns.run(|| std::net::TcpStream::connect("127.0.0.1:45678").unwrap()).unwrap();
        drop(ns);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(path.to_str().unwrap()));
    }

    #[test]
    fn who_is_there_already_needs_no_rights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        crate::process::unprivileged(|| {
            let here = NetNs::current().unwrap();
            here.run(|| NetNs::current().unwrap().id().unwrap() == here.id().unwrap()).unwrap();
            assert!(!here.rtnl().unwrap().addresses().unwrap().is_empty());
            let forbidden = ns.run(|| ()).unwrap_err();
            assert_eq!(forbidden.kind(), std::io::ErrorKind::PermissionDenied);
        })
        .unwrap();
        drop(ns);
        remove(&path).unwrap();
    }

    #[test]
    fn a_failed_creation_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let error = namespace::create(&[(Kind::Net, &path)], || {
            Err::<(), _>(crate::Failed::new("prepare", std::io::Error::other("no")))
        });
        assert!(error.is_err());
        assert!(!path.exists());
    }
}
