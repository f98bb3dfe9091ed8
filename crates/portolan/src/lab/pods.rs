//! The processes of a lab's pods, found where the nodes' agents note them: also while neither an
//! agent nor the API server runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use portolan_linux::process::start_time;
use portolan_node::pods::shim::spec::{self, EXIT, RUNNING, Running};
use serde::Deserialize;

use super::paths::Paths;
use super::plan::Plan;

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub namespace: String,
    pub pod: String,
    pub pid: u32,
    /// Where its run is described.
    pub directory: PathBuf,
    /// Runs before this one.
    pub restarts: u32,
}

/// What `sandbox.json` says of the pod.
#[derive(Deserialize)]
struct Pod {
    name: String,
    namespace: String,
}

/// The containers that run on a node, ordered by pod and container name.
pub fn containers(paths: &Paths, node: &str) -> Vec<Container> {
    let mut found: Vec<_> = entries(&paths.node(node).join("run/pods"))
        .flat_map(|directory| containers_of(&directory))
        .collect();
    found.sort_by(|a, b| {
        (&a.namespace, &a.pod, &a.directory).cmp(&(&b.namespace, &b.pod, &b.directory))
    });
    found
}

/// The containers of the cluster's DNS on a node.
pub fn dns(paths: &Paths, node: &str) -> Vec<Container> {
    let mut found = containers(paths, node);
    found.retain(|item| item.namespace == "kube-system" && item.pod.starts_with("coredns-"));
    found
}

/// The first container of a pod, on whichever node it is.
pub fn container(
    plan: &Plan,
    paths: &Paths,
    namespace: &str,
    pod: &str,
) -> anyhow::Result<Container> {
    let all = plan.nodes.iter().flat_map(|node| containers(paths, &node.name));
    match all.into_iter().find(|item| item.namespace == namespace && item.pod == pod) {
        Some(container) => Ok(container),
        None => {
            bail!("no node runs a pod {pod} in namespace {namespace}, or its container has ended")
        }
    }
}

fn containers_of(directory: &Path) -> Vec<Container> {
    let Ok(pod) = spec::read::<Pod>(&directory.join("sandbox.json")) else { return Vec::new() };
    entries(&directory.join("containers"))
        .filter_map(|container| running(&container))
        .map(|(pid, directory)| Container {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            pid,
            // The runs of a container are counted from one.
            restarts: directory
                .file_name()
                .and_then(|name| name.to_str()?.parse::<u32>().ok())
                .map_or(0, |run| run.saturating_sub(1)),
            directory,
        })
        .collect()
}

/// The run of a container that goes on: its process lives and nobody took its number.
fn running(container: &Path) -> Option<(u32, PathBuf)> {
    entries(container).find_map(|run| {
        let running: Running = spec::read(&run.join(RUNNING)).ok()?;
        let same = start_time(running.pid) == Some(running.start) && !run.join(EXIT).exists();
        // One that ended and was not waited for yet has no program any more.
        let lives = same && fs::read_link(format!("/proc/{}/exe", running.pid)).is_ok();
        lives.then_some((running.pid, run))
    })
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_running_container_is_found_by_its_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let pod = directory.path();
        let run = |attempt: &str, pid: u32, start: u64| {
            let run = pod.join("containers/web").join(attempt);
            fs::create_dir_all(&run).expect("a directory");
            let started_at = jiff::Timestamp::UNIX_EPOCH;
            let running = Running { pid, start, shim: 1, shim_start: 0, started_at };
            spec::write(&run.join(RUNNING), &running).expect("a file");
        };
        fs::write(pod.join("sandbox.json"), r#"{"name":"web-0","namespace":"shop","uid":"u"}"#)
            .expect("a file");
        let own = std::process::id();
        // An earlier run, whose number this process has now.
        run("1", own, 0);
        assert_eq!(containers_of(pod), []);
        run("2", own, start_time(own).expect("a start"));
        let found = containers_of(pod);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].pod.as_str(), found[0].pid), ("web-0", own));
        assert!(found[0].directory.ends_with("web/2"));
        assert_eq!(found[0].restarts, 1);
        fs::write(pod.join("containers/web/2").join(EXIT), "{}").expect("a file");
        assert_eq!(containers_of(pod), []);
    }
}
