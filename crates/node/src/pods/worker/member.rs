//! One container of a pod, over all its runs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::Instant};

use crate::pods::{
    images::{Image, digest},
    shim::spec,
    status::{Role, Shown, State, Terminated},
};

/// A container that runs now.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Its first process.
    pub(crate) pid: u32,
    /// When that started, in clock ticks since boot.
    pub(crate) start: u64,
    /// The directory of this run.
    pub(crate) directory: PathBuf,
    pub(crate) cgroup: PathBuf,
    pub(crate) started_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) container: Container,
    pub(super) role: Role,
    pub(super) image: Option<Image>,
    pub(super) state: State,
    pub(super) last: Option<Terminated>,
    /// How often it was started again.
    pub(super) restarts: i32,
    /// Counts the runs, from 1.
    pub(super) attempt: u32,
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) running: Option<Running>,
    /// Ended or refused runs in a row, for the back-off.
    pub(super) crashes: u32,
    /// Not to be started before.
    pub(super) not_before: Option<Instant>,
    /// Attempts to get the image.
    pub(super) pulls: u32,
    /// Somebody is at ending it.
    pub(super) killing: bool,
    /// Startup and liveness probes and the hook after the start.
    pub(super) tasks: JoinSet<()>,
    pub(super) readiness: JoinSet<()>,
}

/// What is remembered of a container in `state.json` of its directory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) attempt: u32,
    pub(super) restarts: i32,
    pub(super) crashes: u32,
    pub(super) last: Option<Terminated>,
    /// How the present run ended, if it did.
    pub(super) ended: Option<Terminated>,
}

pub(super) const MEMORY: &str = "state.json";

/// A pod's containers in the order in which they start.
pub(super) fn members(pod: &Pod) -> Vec<Member> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let has_init = spec.init_containers.iter().flatten().next().is_some();
    let init = spec.init_containers.iter().flatten().map(|c| {
        let role =
            if c.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init };
        (role, c)
    });
    let apps = spec.containers.iter().map(|c| (Role::App, c));
    init.chain(apps).map(|(role, c)| Member::new(c.clone(), role, has_init)).collect()
}

impl Member {
    fn new(container: Container, role: Role, has_init: bool) -> Self {
        let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
        Self {
            container,
            role,
            image: None,
            state: State::Waiting { reason, message: String::new() },
            last: None,
            restarts: 0,
            attempt: 0,
            started: false,
            ready: false,
            running: None,
            crashes: 0,
            not_before: None,
            pulls: 0,
            killing: false,
            tasks: JoinSet::new(),
            readiness: JoinSet::new(),
        }
    }

    /// Where events about the container point to.
    pub(super) fn field_path(&self) -> String {
        let list = if self.role == Role::App { "containers" } else { "initContainers" };
        format!("spec.{list}{{{}}}", self.container.name)
    }

    /// The directory of the container in the pod's directory.
    pub(super) fn dir(&self, pod: &Path) -> PathBuf {
        pod.join("containers").join(&self.container.name)
    }

    /// The directory of the present run.
    pub(super) fn run_dir(&self, pod: &Path) -> PathBuf {
        self.dir(pod).join(self.attempt.to_string())
    }

    /// Identifies the present run to the world.
    pub(super) fn id(&self, uid: &str) -> String {
        if self.attempt == 0 {
            return String::new();
        }
        let text = format!("{uid}/{}/{}", self.container.name, self.attempt);
        format!("portolan://{}", digest(text.as_bytes()).trim_start_matches("sha256:"))
    }

    pub(super) fn remember(&self, pod: &Path) {
        let ended = match &self.state {
            State::Terminated(t) => Some(t.clone()),
            // While it waits to be started again, its last run is the one that ended.
            State::Waiting { .. } => self.last.clone(),
            State::Running { .. } => None,
        };
        let memory = Memory {
            attempt: self.attempt,
            restarts: self.restarts,
            crashes: self.crashes,
            last: self.last.clone(),
            ended,
        };
        let dir = self.dir(pod);
        let written =
            std::fs::create_dir_all(&dir).and_then(|()| spec::write(&dir.join(MEMORY), &memory));
        if let Err(e) = written {
            tracing::warn!(container = self.container.name, error = %e, "a container's state was not written");
        }
    }

    /// How long to wait after the end of a run before the next: nothing after the first one, then
    /// ten seconds, doubled each time up to five minutes.
    pub(super) fn backoff(&self) -> Duration {
        match self.crashes {
            0 => Duration::ZERO,
            n => Duration::from_secs((10 << (n - 1).min(5)).min(300)),
        }
    }

    pub(super) fn shown(&self, uid: &str) -> Shown {
        let done = matches!(&self.state, State::Terminated(t) if t.code == 0);
        Shown {
            name: self.container.name.clone(),
            role: self.role,
            image: self.container.image.clone().unwrap_or_default(),
            image_id: self
                .image
                .as_ref()
                .map(|i| format!("{}@{}", i.name, i.id))
                .unwrap_or_default(),
            container_id: self.id(uid),
            state: self.state.clone(),
            last: self.last.clone(),
            restarts: self.restarts,
            started: self.started,
            ready: self.ready || self.role == Role::Init && done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_five_minutes() {
        let mut member = Member::new(Container::default(), Role::App, false);
        let mut found = Vec::new();
        for crashes in [0, 1, 2, 3, 4, 5, 6, 50] {
            member.crashes = crashes;
            found.push(member.backoff().as_secs());
        }
        assert_eq!(found, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn containers_start_in_order_with_sidecars_among_the_init_containers() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]}})).unwrap();
        let found: Vec<_> = members(&pod)
            .iter()
            .map(|m| (m.container.name.clone(), m.role, m.field_path()))
            .collect();
        assert_eq!(found[0], ("i".into(), Role::Init, "spec.initContainers{i}".into()));
        assert_eq!(found[1].1, Role::Sidecar);
        assert_eq!(found[2], ("a".into(), Role::App, "spec.containers{a}".into()));
    }
}
