//! What the socket half needs of the machine, and what to do where it is missing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use portolan_linux::bpf::{self, LoadError};
use portolan_linux::netns::NetNs;
use portolan_linux::{Failed, cgroup};

use super::pins::Pins;
use super::sizes::Sizes;
use crate::proxy::datapath::Host;

/// Where the machine usually has its BPF file system.
const USUAL: &str = "/sys/fs/bpf";
/// Where one is mounted by us if it has none.
const OWN: &str = "/run/portolan-bpf";
/// What the directories are called in which it is tried whether the kernel takes the programs.
const PROBE: &str = "probe_";

/// The socket half does not work.
#[derive(Debug, thiserror::Error)]
pub enum EbpfError {
    #[error(
        "{path} is no cgroup of version 2; mount the unified hierarchy (mount -t cgroup2 none DIRECTORY), or name the cgroup of this node's processes with --cgroup"
    )]
    NoCgroup { path: PathBuf },
    #[error("no cgroup2 is mounted; mount -t cgroup2 none /sys/fs/cgroup")]
    NoCgroups(#[source] Failed),
    #[error(
        "this is not the machine's first network namespace; name the cgroup of this node's processes with --cgroup, or the sockets of the whole machine would be taken for its"
    )]
    WhoseCgroup,
    #[error(
        "no BPF file system at {path}, and none can be mounted there; as root: mount -t bpf bpf {path}"
    )]
    NoFileSystem {
        path: PathBuf,
        #[source]
        source: Failed,
    },
    #[error("network namespaces have no cookie here; that takes Linux 5.14")]
    NoCookie(#[source] Failed),
    #[error(
        "this process may not use BPF, or this kernel lacks what the programs need; give it CAP_BPF and CAP_NET_ADMIN (or root), a kernel of 5.14 or later with CONFIG_CGROUP_BPF"
    )]
    Load(#[from] LoadError),
    #[error("cannot use the kernel's BPF maps or links")]
    Kernel(#[from] Failed),
    #[error("cannot {action} {path}")]
    Files {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the BPF maps are too small for what they were just made for")]
    TooSmall,
    #[error(
        "the BPF maps are full, and larger ones ({frontends} frontends, {pools} pools, {backends} backends) cannot be made; until they can, all is served by the tables beneath"
    )]
    Full {
        frontends: u32,
        pools: u32,
        backends: u32,
        #[source]
        source: Box<EbpfError>,
    },
    #[error(
        "this kernel does not tell which UDP sockets there are: it needs the option CONFIG_INET_UDP_DIAG, or its module udp_diag"
    )]
    NoUdpDiag,
    #[error("cannot end UDP connections to endpoints that are gone")]
    Sockets(#[from] portolan_linux::netlink::NetlinkError),
}

impl EbpfError {
    pub(super) fn full(sizes: Sizes, source: Self) -> Self {
        let Sizes { frontends, pools, backends4, backends6, .. } = sizes;
        let backends = backends4 + backends6;
        Self::Full { frontends, pools, backends, source: Box::new(source) }
    }

    /// Whether maps are full and stay so.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::TooSmall)
    }
}

/// The inode of the machine's first network namespace, since Linux 6.17; before, process 1 is
/// asked, which not everybody may.
const FIRST_NETNS: u64 = 0xEFFF_FFF9;

/// The cgroup whose sockets are this node's.
pub(super) fn find_cgroup(host: &Host) -> Result<PathBuf, EbpfError> {
    if let Some(path) = &host.cgroup {
        let path = path.clone();
        return if cgroup::is_cgroup2(&path) {
            Ok(path)
        } else {
            Err(EbpfError::NoCgroup { path })
        };
    }
    let own = NetNs::current()?.id()?;
    let first = NetNs::of_process(1).and_then(|netns| netns.id());
    if own != FIRST_NETNS && !first.is_ok_and(|first| first == own) {
        return Err(EbpfError::WhoseCgroup);
    }
    cgroup::root().map_err(EbpfError::NoCgroups)
}

/// Whether others than this node's processes are in its cgroup too.
pub(super) fn is_shared(host: &Host) -> bool {
    host.shared || host.cgroup.is_none()
}

/// The directories that may hold our pins, without mounting anything.
fn roots(host: &Host) -> Vec<PathBuf> {
    match &host.bpf {
        Some(path) => vec![path.clone()],
        None => vec![USUAL.into(), OWN.into()],
    }
}

/// A directory in a BPF file system; mounts one if there is none.
pub(super) fn find_file_system(host: &Host) -> Result<PathBuf, EbpfError> {
    let roots = roots(host);
    if let Some(found) = roots.iter().find(|path| bpf::is_bpffs(path)) {
        return Ok(found.clone());
    }
    let path = roots.into_iter().last().unwrap_or_else(|| OWN.into());
    match bpf::mount_bpffs(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(EbpfError::NoFileSystem { path, source }),
    }
}

/// Whether the kernel takes the programs and lets them run at the cgroup; nothing stays. They know
/// no Service, so they pass all that they meet meanwhile.
pub(super) fn probe(root: &Path, cookie: u64, cgroup: &Path) -> Result<(), EbpfError> {
    let directory = root.join(format!("{PROBE}{}", std::process::id()));
    let _claimed = claim(&directory)?;
    let pins = Pins::of(&directory, cookie, true);
    let tried = pins.make(Sizes::SMALLEST, cookie).and_then(|made| pins.attach(&made, cgroup));
    let removed = fs::remove_dir_all(&directory);
    tried?;
    removed.map_err(files("remove", &directory))
}

fn files(action: &'static str, path: &Path) -> impl Fn(io::Error) -> EbpfError {
    move |source| EbpfError::Files { action, path: path.to_owned(), source }
}

/// Makes the directory and locks it, which lasts until the process ends, however it does.
fn claim(directory: &Path) -> Result<File, EbpfError> {
    loop {
        fs::create_dir_all(directory).map_err(files("create", directory))?;
        let claimed = File::open(directory).map_err(files("open", directory))?;
        claimed.lock().map_err(files("lock", directory))?;
        // Somebody who swept may have been faster.
        let inode = claimed.metadata().map_err(files("read", directory))?.ino();
        if fs::metadata(directory).is_ok_and(|there| there.ino() == inode) {
            return Ok(claimed);
        }
    }
}

/// Removes what probes left whose process was killed meanwhile: programs stay at the cgroup, and
/// maps in the kernel, for as long as they are pinned.
pub(super) fn sweep(root: &Path) {
    let is_probe = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PROBE);
    for entry in fs::read_dir(root).into_iter().flatten().flatten().filter(is_probe) {
        let Ok(directory) = File::open(entry.path()) else { continue };
        if directory.try_lock().is_ok() {
            tracing::debug!(path = %entry.path().display(), "removing what a probe left");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether nobody has pinned anything here; some kernels put two files of their own into every
/// BPF file system.
fn is_empty(root: &Path) -> bool {
    let own = |name: &std::ffi::OsStr| ["maps.debug", "progs.debug"].iter().any(|own| name == *own);
    fs::read_dir(root).is_ok_and(|entries| entries.flatten().all(|entry| own(&entry.file_name())))
}

/// Removes what the socket half of this network namespace put into the machine.
pub(super) fn clear(host: &Host) -> Result<(), EbpfError> {
    let cookie = match bpf::netns_cookie() {
        Ok(cookie) => cookie,
        // Then there can be nothing.
        Err(_) => return Ok(()),
    };
    for root in roots(host).iter().filter(|path| bpf::is_bpffs(path)) {
        sweep(root);
        let pins = Pins::of(root, cookie, is_shared(host));
        if pins.exist() {
            pins.remove()?;
        }
        if root == Path::new(OWN) && is_empty(root) {
            portolan_linux::mount::detach(root)?;
            let _ = fs::remove_dir(root);
        }
    }
    Ok(())
}
