//! What a shim is told, and what it writes down: the files of one run of a container.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One run of a container, in `spec.json` of its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    pub root: Root,
    /// Whether the root file system stays read-only once mounts are in place.
    pub read_only: bool,
    pub mounts: Vec<BindMount>,
    /// Directories of the host that the container must not see.
    pub hidden: Vec<PathBuf>,
    /// Files that the pod's namespaces are bound to.
    pub netns: Option<PathBuf>,
    pub uts: PathBuf,
    pub ipc: PathBuf,
    /// Whether it shares the host's process numbers.
    pub host_pid: bool,
    pub cgroup: PathBuf,
    pub log: PathBuf,
}

/// Whom a container runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// What a container sees as `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// The host's root file system, with `/tmp` and `/run` of its own. `program` is shown at
    /// [`PROGRAM`].
    Host { program: PathBuf },
    /// An unpacked image; what is written goes to `upper`.
    Image { rootfs: PathBuf, upper: PathBuf, work: PathBuf },
}

/// Where built-in images find the program that they are part of.
pub const PROGRAM: &str = "/.portolan";

/// A file or directory of the host shown in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// `running.json`: the container's first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    /// In clock ticks since boot; with `pid` it names the process beyond reuse.
    pub start: u64,
    pub shim: u32,
    pub shim_start: u64,
    pub started_at: jiff::Timestamp,
}

/// `exit.json`: how the container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    pub finished_at: jiff::Timestamp,
    /// Why it could not even start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_error: Option<String>,
}

pub const SPEC: &str = "spec.json";
pub const RUNNING: &str = "running.json";
pub const EXIT: &str = "exit.json";

/// Reads a JSON file.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Writes a JSON file so that nobody ever sees half of it.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, serde_json::to_vec(value)?)?;
    fs::rename(&partial, path)
}
