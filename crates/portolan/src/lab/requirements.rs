//! What a machine must have before a lab or a node can run on it, checked before anything is done.

use std::path::{Path, PathBuf};

use portolan_node::proxy::datapath::{ApplyError, ipvs};

use crate::config::proxy_mode::ProxyMode;

/// Something is missing; the message says how to get it.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error(
        "{command} makes network namespaces and cgroups, which takes root; run it as root: sudo portolan {command}"
    )]
    Root { command: &'static str },
    #[error(
        "no cgroup2 hierarchy is mounted; mount one with: mount -t cgroup2 none /sys/fs/cgroup/unified (make the directory first), or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    Cgroup2,
    #[error(
        "the program {program} is not installed; on Debian and Ubuntu: apt-get install {package}"
    )]
    Program { program: &'static str, package: &'static str },
}

/// Programs that the node half runs, with the Debian package that has them.
const PROGRAMS: [(&str, &str); 1] = [("nft", "nftables")];

/// Checks for root.
pub fn root(command: &'static str) -> Result<(), Missing> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Missing::Root { command }) }
}

/// Checks for everything that running nodes takes.
pub fn all(command: &'static str) -> Result<(), Missing> {
    root(command)?;
    if portolan_linux::cgroup::root().is_err() {
        return Err(Missing::Cgroup2);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // A root shell without a login often lacks the sbin directories; the node half looks there too.
    directories.extend(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    match missing_program(&directories, &PROGRAMS) {
        None => Ok(()),
        Some((program, package)) => Err(Missing::Program { program, package }),
    }
}

/// Checks for what that proxy mode takes beyond.
///
/// # Errors
/// What the kernel lacks; waiting for the nodes' proxies to say so would take a minute.
pub fn mode(mode: ProxyMode) -> Result<(), ApplyError> {
    if mode == ProxyMode::Ipvs { ipvs::check() } else { Ok(()) }
}

fn missing_program(
    directories: &[PathBuf],
    programs: &[(&'static str, &'static str)],
) -> Option<(&'static str, &'static str)> {
    let there = |directory: &PathBuf, program: &str| is_file(&directory.join(program));
    programs
        .iter()
        .find(|(program, _)| !directories.iter().any(|directory| there(directory, program)))
        .copied()
}

fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let directory = tempfile::tempdir().expect("a directory");
        let directories = [directory.path().to_owned()];
        assert_eq!(missing_program(&directories, &PROGRAMS), Some(("nft", "nftables")));
        std::fs::write(directory.path().join("nft"), "").expect("a file");
        assert_eq!(missing_program(&directories, &PROGRAMS), None);
    }
}
