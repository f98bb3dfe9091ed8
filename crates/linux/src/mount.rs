//! Mounts: the few forms that pods and labs need, and a reader of mountinfo.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use crate::error::{Attempt, Attempted};

/// Mounts `source` on `target` too, without what is mounted below it.
pub fn bind(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Attempt<()> {
    let (source, target) = (source.as_ref(), target.as_ref());
    mount_bind(source, target)
        .attempted(|| format!("bind {} on {}", source.display(), target.display()))
}

/// Mounts `source` on `target` too, with everything mounted below it.
pub fn bind_recursive(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Attempt<()> {
    let (source, target) = (source.as_ref(), target.as_ref());
    mount_bind_recursive(source, target)
        .attempted(|| format!("bind {} and below on {}", source.display(), target.display()))
}

/// Makes an existing bind mount read-only, keeping its other restrictions.
pub fn remount_read_only(target: impl AsRef<Path>) -> Attempt<()> {
    let target = target.as_ref();
    // A remount must repeat the flags that the mount has, or it would lift them.
    let kept = rustix::fs::statvfs(target)
        .map(|s| s.f_flag)
        .attempted(|| format!("read the mount flags of {}", target.display()))?;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (flag, keep) in [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        if kept.contains(flag) {
            flags |= keep;
        }
    }
    mount_remount(target, flags, c"")
        .attempted(|| format!("remount {} read-only", target.display()))
}

/// Stops mounts from going to and coming from other mount namespaces, from `/` down.
pub fn make_private() -> Attempt<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .attempted(|| "make all mounts private".to_owned())
}

/// Lets unmounts of the parent namespace through, but nothing back, from `/` down.
pub fn make_slave() -> Attempt<()> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .attempted(|| "make all mounts follow their parents".to_owned())
}

/// Mounts a new file system of type `kind` with `options` as mount(8) writes them.
pub fn filesystem(
    kind: &str,
    source: &str,
    target: impl AsRef<Path>,
    flags: MountFlags,
    options: &str,
) -> Attempt<()> {
    let target = target.as_ref();
    let text = CString::new(options).map_err(std::io::Error::from);
    text.and_then(|options| Ok(mount(source, target, kind, flags, options.as_c_str())?))
        .attempted(|| format!("mount {kind} on {} with \"{options}\"", target.display()))
}

/// A tmpfs with `options` such as `mode=1777,size=64m`.
pub fn tmpfs(target: impl AsRef<Path>, options: &str) -> Attempt<()> {
    filesystem("tmpfs", "tmpfs", target, MountFlags::NOSUID | MountFlags::NODEV, options)
}

/// The process file system of the calling process's PID namespace.
pub fn proc(target: impl AsRef<Path>) -> Attempt<()> {
    filesystem(
        "proc",
        "proc",
        target,
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        "",
    )
}

/// The sysfs of the calling thread's network namespace.
pub fn sysfs(target: impl AsRef<Path>, read_only: bool) -> Attempt<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    flags.set(MountFlags::RDONLY, read_only);
    filesystem("sysfs", "sysfs", target, flags, "")
}

/// A `/dev` for a container: the handful of devices that programs expect, terminals and shared
/// memory of its own.
pub fn dev(target: impl AsRef<Path>) -> Attempt<()> {
    let target = target.as_ref();
    filesystem(
        "tmpfs",
        "tmpfs",
        target,
        MountFlags::NOSUID | MountFlags::NOEXEC,
        "mode=755,size=1m",
    )?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let place = target.join(name);
        fs::write(&place, "").attempted(|| format!("create {}", place.display()))?;
        bind(Path::new("/dev").join(name), &place)?;
    }
    for name in ["pts", "shm", "mqueue"] {
        let place = target.join(name);
        fs::create_dir(&place).attempted(|| format!("create {}", place.display()))?;
    }
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    filesystem(
        "devpts",
        "devpts",
        target.join("pts"),
        quiet,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    filesystem(
        "tmpfs",
        "shm",
        target.join("shm"),
        quiet | MountFlags::NODEV,
        "mode=1777,size=64m",
    )?;
    for (name, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(to, target.join(name))
            .attempted(|| format!("link /dev/{name}"))?;
    }
    Ok(())
}

/// An overlay of `lower` directories (topmost first) with what is written going to `upper`.
///
/// `work` is an empty directory on the file system of `upper`.
pub fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> Attempt<()> {
    let lower: Vec<_> = lower.iter().map(|p| escape(p)).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), escape(upper), escape(work));
    filesystem("overlay", "overlay", target, MountFlags::empty(), &options)
}

fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

/// Makes `root` (a mount point) the root of the calling process's mount namespace and lets go of
/// the old one with everything below it.
pub fn pivot_root(root: impl AsRef<Path>) -> Attempt<()> {
    let root = root.as_ref();
    let pivot = || -> std::io::Result<()> {
        std::env::set_current_dir(root)?;
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        std::env::set_current_dir("/")
    };
    pivot().attempted(|| format!("make {} the root", root.display()))
}

/// Takes the topmost mount off `target`, even while it is in use.
pub fn detach(target: impl AsRef<Path>) -> Attempt<()> {
    let target = target.as_ref();
    unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .attempted(|| format!("unmount {}", target.display()))
}

/// Takes off every mount at and below `path`, the innermost first.
pub fn detach_below(path: impl AsRef<Path>) -> Attempt<()> {
    let path = path.as_ref();
    for mount in table()?.iter().rev().filter(|m| m.target.starts_with(path)) {
        match detach(&mount.target) {
            Err(e) if e.raw_os_error() != Some(libc::EINVAL) && !e.missing() => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub target: PathBuf,
    /// The file system's type, such as `ext4` or `cgroup2`.
    pub kind: String,
    pub source: String,
    /// The directory of the file system that is mounted, `/` unless it is a bind mount.
    pub root: PathBuf,
}

/// The mounts of this process's mount namespace, in the order in which they were made.
pub fn table() -> Attempt<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo")
        .attempted(|| "read the mount table".to_owned())?;
    Ok(parse(&text))
}

/// Parses mountinfo as proc_pid_mountinfo(5) describes it.
fn parse(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let root = PathBuf::from(unescape(before.next()?));
            let target = PathBuf::from(unescape(before.next()?));
            let mut after = after.split(' ');
            Some(Mount {
                target,
                root,
                kind: after.next()?.to_owned(),
                source: unescape(after.next()?),
            })
        })
        .collect()
}

/// Undoes the octal escapes (`\040` and the like) of the mount table.
fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes.get(i + 1..i + 4).and_then(|d| std::str::from_utf8(d).ok());
        match octal.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if bytes[i] == b'\\' => {
                out.push(byte);
                i += 4;
            }
            _ => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_escapes_and_optional_fields() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].target, Path::new("/mnt 2"));
        assert_eq!(mounts[0].root, Path::new("/mnt1"));
        assert_eq!(mounts[0].kind, "ext3");
        assert_eq!(mounts[1].target, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(mounts[1].kind, "cgroup2");
    }

    #[test]
    fn mounts_below_a_directory_are_taken_off() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a");
        tmpfs(dir.path(), "size=64k").unwrap();
        fs::create_dir(&inner).unwrap();
        bind(dir.path(), &inner).unwrap();
        remount_read_only(&inner).unwrap();
        assert!(fs::write(inner.join("x"), "").is_err());
        assert!(fs::write(dir.path().join("x"), "").is_ok());
        detach_below(dir.path()).unwrap();
        assert!(!table().unwrap().iter().any(|m| m.target.starts_with(dir.path())));
    }
}
