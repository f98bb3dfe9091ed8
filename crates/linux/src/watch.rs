//! Hearing of changes to a file (inotify(7)), however the change is made: written in place,
//! renamed over, or, as a kubelet updates a mounted ConfigMap, a symbolic link beside it swapped.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::{Attempt, Failed};

/// Watches the directories that decide what some files hold.
#[derive(Debug)]
pub struct FileWatch {
    descriptor: AsyncFd<OwnedFd>,
}

impl FileWatch {
    /// Watches the directory of each of `files`, and of what it is a link to. Files that do not
    /// exist yet are heard of when they appear, as long as their directory exists.
    ///
    /// # Errors
    /// When the kernel has no inotify instance left or a directory does not exist.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new<'a>(files: impl IntoIterator<Item = &'a Path>) -> Attempt<Self> {
        let failed = |source: rustix::io::Errno| Failed::new("open inotify", source);
        let descriptor =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?;
        for file in files {
            watch_around(&descriptor, file)?;
        }
        Self::register(descriptor)
    }

    /// Watches one file more, as [`FileWatch::new`] does; nothing new if it is watched already.
    ///
    /// # Errors
    /// When a directory does not exist, or too many are watched.
    pub fn add(&self, file: &Path) -> Attempt<()> {
        watch_around(self.descriptor.get_ref(), file)
    }

    /// Watches `file` itself for being written to, without being closed, as logs are.
    ///
    /// # Errors
    /// When the kernel has no inotify instance left or the file does not exist.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn writes(file: &Path) -> Attempt<Self> {
        let failed =
            |source: rustix::io::Errno| Failed::new(format!("watch {}", file.display()), source);
        let descriptor =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?;
        inotify::add_watch(&descriptor, file, WatchFlags::MODIFY | WatchFlags::MOVE_SELF)
            .map_err(failed)?;
        Self::register(descriptor)
    }

    fn register(descriptor: OwnedFd) -> Attempt<Self> {
        // SAFETY: the descriptor is open, owned by the `AsyncFd` from here on, and neither replaced
        // nor closed while it is registered.
        let registered = unsafe { AsyncFd::register(descriptor) };
        let descriptor =
            registered.map_err(|source| Failed::new("watch inotify", source.into_parts().1))?;
        Ok(Self { descriptor })
    }

    /// Returns once something in the directories has changed; whether it matters is for the
    /// caller to see. Changes that come together are reported once. Safe to cancel.
    pub async fn changed(&mut self) -> Attempt<()> {
        loop {
            let ready = self.descriptor.readable_mut().await;
            let mut guard = ready.map_err(|source| Failed::new("wait for inotify", source))?;
            let mut seen = false;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(guard.get_inner(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(_) => seen = true,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::WOULDBLOCK) => break,
                    Err(source) => return Err(Failed::new("read inotify", source)),
                }
            }
            guard.clear_ready();
            if seen {
                return Ok(());
            }
        }
    }
}

fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn watch_around(descriptor: &OwnedFd, file: &Path) -> Attempt<()> {
    watch(descriptor, &parent(file))?;
    match file.canonicalize() {
        Ok(target) => watch(descriptor, &parent(&target)),
        Err(_) => Ok(()),
    }
}

fn watch(descriptor: &OwnedFd, directory: &Path) -> Attempt<()> {
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO;
    inotify::add_watch(descriptor, directory, flags)
        .map_err(|source| Failed::new(format!("watch {}", directory.display()), source))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_swapped_link_is_heard_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(path(version)).expect("a directory");
            fs::write(path(version).join("file"), text).expect("written");
        }
        symlink("..1", path("..data")).expect("a link");
        symlink("..data/file", path("file")).expect("a link");
        let mut watch = FileWatch::new([path("file").as_path()]).expect("a watch");
        let quiet = tokio::time::timeout(Duration::from_millis(20), watch.changed()).await;
        assert!(quiet.is_err(), "nothing has changed yet");
        symlink("..2", path("..data_tmp")).expect("a link");
        fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
        tokio::time::timeout(Duration::from_secs(5), watch.changed())
            .await
            .expect("in time")
            .expect("heard of");
        assert_eq!(fs::read_to_string(path("file")).expect("read"), "new");
    }
}
