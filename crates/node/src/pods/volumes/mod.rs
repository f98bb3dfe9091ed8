//! A pod's volumes: where each one is on the host, and its content where the node writes it.
//!
//! ConfigMaps, Secrets, downward API and projected volumes are the same thing: files made from
//! sources. They are written as the kubelet does ([`payload`]) and follow their sources for as
//! long as the pod lives.

mod payload;
mod source;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod, Volume};
use portolan_linux::mount;
use tokio::{sync::watch, task::JoinSet};

use super::{Runtime, environment::Facts, report};

/// The pod's volumes, with the tasks that keep their content up to date.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// By name.
    places: BTreeMap<String, Place>,
    _tasks: JoinSet<()>,
}

/// Where a volume is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Whether the volume as such may not be written, whatever the mount says.
    pub(crate) read_only: bool,
}

impl Volumes {
    /// Makes all volumes of a pod and waits until each has its content once.
    ///
    /// # Errors
    /// Says which volume cannot be made and why, in the kubelet's words; trying again later may
    /// help.
    pub(crate) async fn set_up(
        runtime: &Arc<Runtime>,
        pod: &watch::Receiver<Arc<Pod>>,
        facts: &Facts,
    ) -> Result<Self, String> {
        let current = pod.borrow().clone();
        let uid = current.metadata.uid.clone().unwrap_or_default();
        let spec = current.spec.as_ref();
        let group = spec.and_then(|s| s.security_context.as_ref()).and_then(|c| c.fs_group);
        let mut made = Self::default();
        for volume in spec.and_then(|s| s.volumes.as_ref()).into_iter().flatten() {
            let failed = |why: String| {
                format!("MountVolume.SetUp failed for volume \"{}\" : {why}", volume.name)
            };
            let place = if let Some(host) = &volume.host_path {
                host_path(host).map_err(failed)?;
                Place { path: PathBuf::from(&host.path), read_only: false }
            } else if volume.empty_dir.is_some() {
                let path = runtime.pod_data(&uid).join("volumes").join(&volume.name);
                empty_dir(volume, &path, group).map_err(|e| failed(e.to_string()))?;
                Place { path, read_only: false }
            } else if let Some(sources) = source::sources(volume) {
                let path = runtime.pod_dir(&uid).join("volumes").join(&volume.name);
                let writer = payload::Writer::new(path.clone(), group);
                let mut collector =
                    source::Collector::new(runtime, pod.clone(), facts.clone(), sources);
                let files = collector.collect().await.map_err(failed)?;
                writer.write(&files).map_err(|e| failed(e.to_string()))?;
                made._tasks.spawn(keep_fresh(collector, writer, files, volume.name.clone()));
                Place { path, read_only: true }
            } else {
                return Err(failed("this kind of volume is not supported here".to_owned()));
            };
            made.places.insert(volume.name.clone(), place);
        }
        Ok(made)
    }

    pub(crate) fn place(&self, name: &str) -> Option<&Place> {
        self.places.get(name)
    }
}

/// Writes a volume again whenever what it is made from has changed.
async fn keep_fresh(
    mut collector: source::Collector,
    writer: payload::Writer,
    mut held: payload::Files,
    name: String,
) {
    loop {
        collector.changed().await;
        match collector.collect().await {
            Ok(files) if files != held => match writer.write(&files) {
                Ok(()) => held = files,
                Err(e) => {
                    tracing::warn!(volume = name, error = report(&e), "a volume is not up to date")
                }
            },
            Ok(_) => {}
            // A ConfigMap that was deleted leaves the files as they were, as with the kubelet.
            Err(why) => tracing::debug!(volume = name, why, "a volume's source is gone"),
        }
    }
}

fn empty_dir(volume: &Volume, path: &Path, group: Option<i64>) -> io::Result<()> {
    let source = volume.empty_dir.as_ref();
    let existed = path.is_dir();
    fs::create_dir_all(path)?;
    if source.and_then(|s| s.medium.as_deref()) == Some("Memory") && !is_mounted(path) {
        mount::tmpfs(path, "mode=1777")?;
    }
    if !existed {
        let mut mode = 0o777;
        if let Some(group) = group {
            chown(path, None, u32::try_from(group).ok())?;
            mode |= 0o2000;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn is_mounted(path: &Path) -> bool {
    mount::table().is_ok_and(|t| t.iter().any(|m| m.target == path))
}

/// Checks, and where asked for makes, what a hostPath volume names.
fn host_path(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let wrong = || format!("hostPath type check failed: {} is not {}", source.path, describe(kind));
    let meta = fs::metadata(path);
    match kind {
        "DirectoryOrCreate" if meta.is_err() => {
            fs::create_dir_all(path).map_err(|e| e.to_string())?;
        }
        "FileOrCreate" if meta.is_err() => {
            fs::write(path, "").map_err(|e| e.to_string())?;
        }
        "" if meta.is_err() => fs::create_dir_all(path).map_err(|e| e.to_string())?,
        "" => {}
        _ => {
            let mode = meta.map_err(|_| wrong())?.mode() & libc_kind::MASK;
            let fits = match kind {
                "Directory" | "DirectoryOrCreate" => mode == libc_kind::DIRECTORY,
                "File" | "FileOrCreate" => mode == libc_kind::FILE,
                "Socket" => mode == libc_kind::SOCKET,
                "CharDevice" => mode == libc_kind::CHARACTER,
                "BlockDevice" => mode == libc_kind::BLOCK,
                _ => false,
            };
            if !fits {
                return Err(wrong());
            }
        }
    }
    Ok(())
}

fn describe(kind: &str) -> &'static str {
    match kind {
        "Directory" | "DirectoryOrCreate" => "a directory",
        "File" | "FileOrCreate" => "a file",
        "Socket" => "a socket file",
        "CharDevice" => "a character device",
        "BlockDevice" => "a block device",
        _ => "of a known type",
    }
}

/// File types as inode(7) numbers them.
mod libc_kind {
    pub(super) const MASK: u32 = 0o170_000;
    pub(super) const SOCKET: u32 = 0o140_000;
    pub(super) const FILE: u32 = 0o100_000;
    pub(super) const BLOCK: u32 = 0o060_000;
    pub(super) const DIRECTORY: u32 = 0o040_000;
    pub(super) const CHARACTER: u32 = 0o020_000;
}
