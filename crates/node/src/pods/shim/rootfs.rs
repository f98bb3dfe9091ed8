//! A container's file system, built by its first process just before it runs its program.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use portolan_linux::{
    mount,
    namespace::{self, Kind},
};

use super::spec::{BindMount, PROGRAM, Root, Spec};

/// File systems whose mounts on the host mean nothing inside a container.
const HOST_ONLY: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// Gives the calling process mounts of its own and the container's root; `stage` is an empty
/// directory to build it in.
pub(super) fn enter(spec: &Spec, stage: &Path) -> io::Result<()> {
    namespace::unshare_into(Kind::Mount)?;
    // The host's mount table, before ours join it.
    let host = mount::table()?;
    mount::make_private()?;
    mount::tmpfs(stage, "mode=755")?;
    let root = stage.join("root");
    fs::create_dir(&root)?;
    match &spec.root {
        Root::Host { program } => {
            let (upper, work) = (stage.join("upper"), stage.join("work"));
            fs::create_dir(&upper)?;
            fs::create_dir(&work)?;
            mount::overlay(&[PathBuf::from("/")], &upper, &work, &root)?;
            show_host_mounts(&host, &root, &spec.hidden)?;
            for (directory, mode) in [("tmp", "mode=1777"), ("run", "mode=755")] {
                let target = directory_in(&root, directory)?;
                mount::tmpfs(target, mode)?;
            }
            let target = place(&root, PROGRAM, false)?;
            mount::bind(program, &target)?;
            mount::remount_read_only(&target)?;
        }
        Root::Image { rootfs, upper, work } => {
            mount::overlay(std::slice::from_ref(rootfs), upper, work, &root)?;
        }
    }
    mount::proc(directory_in(&root, "proc")?)?;
    mount::sysfs(directory_in(&root, "sys")?, true)?;
    mount::dev(directory_in(&root, "dev")?)?;
    // Shorter targets first, so that nothing is hidden by what is mounted above it.
    let mut mounts: Vec<&BindMount> = spec.mounts.iter().collect();
    mounts.sort_by_key(|m| Path::new(&m.target).components().count());
    for bind in mounts {
        show(&root, bind)?;
    }
    if !inside(&root, &spec.directory)?.is_dir() {
        place(&root, &spec.directory, true)?;
    }
    if spec.read_only {
        mount::remount_read_only(&root)?;
    }
    Ok(mount::pivot_root(&root)?)
}

/// Shows the host's other file systems (a separate `/usr`, say), read-only.
fn show_host_mounts(host: &[mount::Mount], root: &Path, hidden: &[PathBuf]) -> io::Result<()> {
    let own = ["/proc", "/sys", "/dev", "/run", "/tmp"];
    for found in host {
        let at = &found.target;
        let skip = at == Path::new("/")
            || HOST_ONLY.contains(&found.kind.as_str())
            || own.iter().any(|o| at.starts_with(o))
            || hidden.iter().any(|h| at.starts_with(h));
        if skip {
            continue;
        }
        let target = place(root, &at.to_string_lossy(), at.is_dir())?;
        mount::bind(at, &target)?;
        mount::remount_read_only(&target)?;
    }
    for directory in hidden {
        let target = inside(root, &directory.to_string_lossy())?;
        if target.is_dir() {
            mount::tmpfs(target, "mode=700,size=4k")?;
        }
    }
    Ok(())
}

fn show(root: &Path, bind: &BindMount) -> io::Result<()> {
    let target = place(root, &bind.target, bind.source.is_dir())?;
    mount::bind_recursive(&bind.source, &target)?;
    if bind.read_only {
        mount::remount_read_only(&target)?;
    }
    Ok(())
}

fn directory_in(root: &Path, name: &str) -> io::Result<PathBuf> {
    place(root, name, true)
}

/// The place of `path` below `root`, made if it is not there. A last component that is a
/// symbolic link is replaced, as `/etc/resolv.conf` often is one that leads nowhere.
fn place(root: &Path, path: &str, directory: bool) -> io::Result<PathBuf> {
    let target = inside(root, path)?;
    let found = target.symlink_metadata();
    if directory {
        if !target.is_dir() {
            fs::create_dir_all(&target)?;
        }
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        if found.as_ref().is_ok_and(fs::Metadata::is_symlink) {
            fs::remove_file(&target)?;
        }
        if !found.is_ok_and(|m| m.is_file()) {
            fs::write(&target, "")?;
        }
    }
    Ok(target)
}

/// Where `path` leads when `root` is the root: symbolic links on the way (`/var/run`) are
/// followed inside, never out.
fn inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut todo: Vec<PathBuf> = parts(Path::new(path));
    todo.reverse();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        let here = root.join(&at).join(&part);
        match fs::read_link(&here) {
            // The last component may be replaced, so it is not followed unless it is a directory.
            Ok(to) if !todo.is_empty() || leads_to_directory(root, &at, &to) => {
                links += 1;
                if links > 40 {
                    return Err(io::Error::other(format!("too many links in {path}")));
                }
                if to.is_absolute() {
                    at = PathBuf::new();
                }
                todo.extend(parts(&to).into_iter().rev());
            }
            _ => at.push(part),
        }
    }
    Ok(root.join(at))
}

fn leads_to_directory(root: &Path, at: &Path, to: &Path) -> bool {
    let to =
        if to.is_absolute() { to.strip_prefix("/").unwrap_or(to).to_owned() } else { at.join(to) };
    root.join(to).is_dir()
}

fn parts(path: &Path) -> Vec<PathBuf> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("run")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("var")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../../../etc", root.join("var/up")).unwrap();
        symlink("/nowhere/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(inside(root, "/var/run/secrets/x").unwrap(), root.join("run/secrets/x"));
        assert_eq!(inside(root, "/var/run").unwrap(), root.join("run"));
        assert_eq!(inside(root, "/var/up/hosts").unwrap(), root.join("etc/hosts"));
        assert_eq!(inside(root, "/../../etc/hosts").unwrap(), root.join("etc/hosts"));
        assert!(inside(root, "/loop/x").is_err());
        let target = place(root, "/etc/resolv.conf", false).unwrap();
        assert_eq!(target, root.join("etc/resolv.conf"));
        assert!(target.symlink_metadata().unwrap().is_file());
        assert!(place(root, "/a/b/c", true).unwrap().is_dir());
    }
}
