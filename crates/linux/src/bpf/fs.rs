use std::path::Path;

use rustix::mount::MountFlags;

use crate::error::{Attempt, Attempted};
use crate::mount;

/// `BPF_FS_MAGIC`.
const MAGIC: u32 = 0xcafe_4a11;

/// Whether the directory lies in a BPF file system.
pub fn is_bpffs(path: impl AsRef<Path>) -> bool {
    rustix::fs::statfs(path.as_ref()).is_ok_and(|found| found.f_type as u32 == MAGIC)
}

/// Mounts a BPF file system of its own on a directory, which is made.
pub fn mount_bpffs(path: impl AsRef<Path>) -> Attempt<()> {
    let path = path.as_ref();
    std::fs::create_dir_all(path).attempted(|| format!("create {}", path.display()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount::filesystem("bpf", "bpf", path, flags, "mode=0700")
}
