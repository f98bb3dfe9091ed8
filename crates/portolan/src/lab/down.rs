//! `lab down`: removes whatever there is of a lab, running, dying or dead.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context;
use portolan_linux::cgroup::{self, Cgroup};
use portolan_linux::mount;

use super::paths::Paths;
use super::plan::Plan;

/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(10);

/// The lab's cgroup, wherever the hierarchy is mounted.
fn group(paths: &Paths) -> anyhow::Result<Cgroup> {
    Ok(Cgroup::existing(cgroup::root()?.join(paths.cgroup())))
}

/// Whether any process of the lab lives.
pub fn any_process(paths: &Paths) -> bool {
    group(paths).and_then(|group| Ok(group.populated()?)).unwrap_or(false)
}

/// Whether there is anything to remove.
pub fn is_there(name: &str) -> bool {
    let paths = Paths::of(name);
    paths.root().exists() || group(&paths).is_ok_and(|group| group.path().exists())
}

/// Kills the lab's processes and removes its cgroups, mounts, namespaces and files. What is not
/// there is no error. Links, routes and nftables rules go with the namespaces.
pub fn remove(name: &str) -> anyhow::Result<()> {
    let paths = Paths::of(name);
    let kubeconfig = fs::read(paths.kubeconfig()).ok();
    let plan: Option<Plan> =
        fs::read(paths.plan()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    group(&paths)?.destroy(KILLED).context("cannot end the lab's processes")?;
    mount::detach_below(paths.root()).context("cannot unmount what the lab mounted")?;
    match fs::remove_dir_all(paths.root()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", paths.root().display()));
        }
        _ => {}
    }
    // The directory of all labs, if this was the last one.
    if let Some(all) = paths.root().parent() {
        let _ = fs::remove_dir(all);
    }
    if let Some(path) = plan.and_then(|plan| plan.spec.kubeconfig) {
        // The user's file, unless it is still what the lab wrote.
        if kubeconfig.is_some() && fs::read(&path).ok() == kubeconfig {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
