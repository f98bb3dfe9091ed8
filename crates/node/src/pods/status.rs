//! A pod's status from what its containers do. Pure, and in the kubelet's words.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::{Deserialize, Serialize};

/// A container that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terminated {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
    pub(crate) container_id: String,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: &'static str, message: String },
    Running { started_at: Timestamp },
    Terminated(Terminated),
}

/// What part a container has in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that stays (`restartPolicy: Always`).
    Sidecar,
    App,
}

/// A container as far as the pod's status shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) container_id: String,
    pub(crate) state: State,
    pub(crate) last: Option<Terminated>,
    pub(crate) restarts: i32,
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

/// A pod as far as its status shows it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) containers: Vec<Shown>,
    pub(crate) pod_ips: Vec<IpAddr>,
    pub(crate) host_ips: Vec<IpAddr>,
    pub(crate) sandbox_ready: bool,
    pub(crate) start_time: Timestamp,
    /// Set when the node gave up on the pod: reason and message.
    pub(crate) failed: Option<(String, String)>,
    /// No container will be started or restarted any more.
    pub(crate) ending: bool,
}

/// The status to report; what is unchanged keeps its times.
pub(crate) fn status(pod: &Pod, facts: &Facts, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let phase = phase(pod, facts);
    let generation = pod.metadata.generation;
    let mut conditions = Vec::new();
    for (kind, verdict) in conditions_of(pod, facts, phase) {
        let before = old.conditions.iter().flatten().find(|c| c.type_ == kind);
        let status = if verdict.is_ok() { "True" } else { "False" };
        let (reason, message) = verdict.err().unzip();
        let (mut reason, message) =
            (reason.filter(|r| !r.is_empty()), message.filter(|m| !m.is_empty()));
        if phase == "Succeeded" && kind == "Initialized" {
            reason = Some("PodCompleted");
        }
        let since =
            before.filter(|b| b.status == status).and_then(|b| b.last_transition_time.clone());
        conditions.push(PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            message,
            last_probe_time: None,
            last_transition_time: Some(since.unwrap_or(Time(now))),
            observed_generation: generation,
        });
    }
    // Conditions of others (readiness gates, the scheduler's) stay as they are.
    for other in old.conditions.iter().flatten() {
        if !conditions.iter().any(|c| c.type_ == other.type_) {
            conditions.push(other.clone());
        }
    }
    let of_role = |init: bool| {
        let chosen = facts.containers.iter().filter(|c| (c.role != Role::App) == init);
        let list: Vec<_> = chosen.map(container_status).collect();
        (!list.is_empty()).then_some(list)
    };
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        reason: facts.failed.as_ref().map(|f| f.0.clone()),
        message: facts.failed.as_ref().map(|f| f.1.clone()),
        host_ip: facts.host_ips.first().map(ToString::to_string),
        host_ips: Some(facts.host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: facts.pod_ips.first().map(ToString::to_string),
        pod_ips: (!facts.pod_ips.is_empty())
            .then(|| facts.pod_ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
        start_time: Some(old.start_time.unwrap_or(Time(facts.start_time))),
        init_container_statuses: of_role(true),
        container_statuses: of_role(false),
        qos_class: old.qos_class,
        observed_generation: generation,
        ..PodStatus::default()
    }
}

fn restart_policy(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or("Always")
}

/// Whether a container that ended with `code` is started again.
pub(crate) fn restarts(pod: &Pod, role: Role, code: i32) -> bool {
    match (role, restart_policy(pod)) {
        (Role::Sidecar, _) => true,
        (Role::Init, "Never") => false,
        (Role::Init, _) => code != 0,
        (Role::App, "Always") => true,
        (Role::App, "OnFailure") => code != 0,
        (Role::App, _) => false,
    }
}

pub(crate) fn phase(pod: &Pod, facts: &Facts) -> &'static str {
    if facts.failed.is_some() {
        return "Failed";
    }
    let policy = restart_policy(pod);
    let mut pending_init = false;
    for c in facts.containers.iter().filter(|c| c.role == Role::Init) {
        match &c.state {
            State::Terminated(t) if t.code == 0 => {}
            State::Terminated(_) if policy == "Never" => return "Failed",
            _ => pending_init = true,
        }
    }
    pending_init |= facts.containers.iter().any(|c| {
        c.role == Role::Sidecar
            && !c.started
            && c.last.is_none()
            && !matches!(c.state, State::Terminated(_))
    });
    let apps = || facts.containers.iter().filter(|c| c.role == Role::App);
    let untouched = apps().all(|c| matches!(c.state, State::Waiting { .. }) && c.last.is_none());
    if pending_init && untouched {
        return "Pending";
    }
    let (mut running, mut stopped, mut succeeded, mut waiting) = (0, 0, 0, 0);
    for c in apps() {
        match (&c.state, &c.last) {
            (State::Running { .. }, _) => running += 1,
            (State::Terminated(t), _) | (State::Waiting { .. }, Some(t)) => {
                stopped += 1;
                succeeded += i32::from(t.code == 0);
            }
            (State::Waiting { .. }, None) => waiting += 1,
        }
    }
    let ended_for_good = policy != "Always" || facts.ending;
    match (waiting, running, stopped) {
        // A pod that ends before all its containers ran will never run them.
        (1.., 0, _) if facts.ending => "Failed",
        (1.., ..) => "Pending",
        (_, 1.., _) => "Running",
        (_, _, 1..) if !ended_for_good => "Running",
        (_, _, 1..) if stopped == succeeded => "Succeeded",
        (_, _, 1..) if policy == "Never" || facts.ending => "Failed",
        (_, _, 1..) => "Running",
        _ => "Pending",
    }
}

type Verdict = Result<(), (&'static str, String)>;

fn conditions_of(pod: &Pod, facts: &Facts, phase: &str) -> Vec<(&'static str, Verdict)> {
    let names =
        |list: Vec<&Shown>| list.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ");
    let uninitialized: Vec<&Shown> = facts
        .containers
        .iter()
        .filter(|c| match c.role {
            Role::Init => !matches!(&c.state, State::Terminated(t) if t.code == 0),
            Role::Sidecar => !c.started,
            Role::App => false,
        })
        .collect();
    let started_apps = facts.containers.iter().any(|c| {
        c.role == Role::App && (c.last.is_some() || !matches!(c.state, State::Waiting { .. }))
    });
    let initialized = if uninitialized.is_empty() || started_apps {
        Ok(())
    } else {
        Err((
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", names(uninitialized)),
        ))
    };
    let unready: Vec<&Shown> =
        facts.containers.iter().filter(|c| c.role != Role::Init && !c.ready).collect();
    let containers_ready: Verdict = match phase {
        "Succeeded" => Err(("PodCompleted", String::new())),
        "Failed" => Err(("PodFailed", String::new())),
        _ if !unready.is_empty() => Err((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", names(unready)),
        )),
        _ => Ok(()),
    };
    let ready = containers_ready.clone().and_then(|()| gates(pod));
    let sandbox = if facts.sandbox_ready { Ok(()) } else { Err(("", String::new())) };
    vec![
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Ok(())),
    ]
}

/// Whether the conditions that the pod's readiness also depends on are true.
fn gates(pod: &Pod) -> Verdict {
    let gates = pod.spec.as_ref().and_then(|s| s.readiness_gates.as_ref());
    let held = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut missing = Vec::new();
    for gate in gates.into_iter().flatten() {
        match held.and_then(|h| h.iter().find(|c| c.type_ == gate.condition_type)) {
            Some(c) if c.status == "True" => {}
            Some(c) => missing.push(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, c.status
            )),
            None => missing.push(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(("ReadinessGatesNotReady", missing.join(", "))) }
}

fn container_status(c: &Shown) -> ContainerStatus {
    let state = match &c.state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: (!message.is_empty()).then(|| message.clone()),
            }),
            ..ContainerState::default()
        },
        State::Running { started_at } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*started_at)) }),
            ..ContainerState::default()
        },
        State::Terminated(t) => terminated(t),
    };
    ContainerStatus {
        name: c.name.clone(),
        image: c.image.clone(),
        image_id: c.image_id.clone(),
        container_id: (!c.container_id.is_empty()).then(|| c.container_id.clone()),
        ready: c.ready,
        started: Some(c.started),
        restart_count: c.restarts,
        state: Some(state),
        last_state: Some(
            c.last
                .as_ref()
                .filter(|l| !matches!(&c.state, State::Terminated(t) if t == *l))
                .map(terminated)
                .unwrap_or_default(),
        ),
        ..ContainerStatus::default()
    }
}

fn terminated(t: &Terminated) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: t.code,
            signal: None,
            reason: Some(t.reason.clone()),
            message: (!t.message.is_empty()).then(|| t.message.clone()),
            started_at: t.started_at.map(Time),
            finished_at: Some(Time(t.finished_at)),
            container_id: (!t.container_id.is_empty()).then(|| t.container_id.clone()),
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests;
