//! The status of a Deployment: sums over its ReplicaSets, and the conditions that `kubectl rollout status` reads.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::set::{Set, desired, surge_and_unavailable, total};

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The conditions of a status under construction.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    pub(super) fn of(d: &Deployment, now: Timestamp) -> Self {
        let list = d.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        Self { list, now }
    }

    pub(super) fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|c| c.type_ == kind)
    }

    fn reason(&self, kind: &str) -> Option<&str> {
        self.get(kind)?.reason.as_deref()
    }

    fn remove(&mut self, kind: &str) {
        self.list.retain(|c| c.type_ != kind);
    }

    /// Sets a condition; one of the same status and reason stays as it is.
    pub(super) fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        if self.get(kind).is_some_and(|c| c.status == status && c.reason.as_deref() == Some(reason))
        {
            return;
        }
        self.renew(kind, status, reason, message);
    }

    /// Sets a condition and the time of its update; the time of the transition stays while the status does.
    fn renew(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let since = self
            .get(kind)
            .filter(|c| c.status == status)
            .and_then(|c| c.last_transition_time.clone());
        self.remove(kind);
        self.list.push(DeploymentCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: Some(since.unwrap_or(Time(self.now))),
        });
    }
}

/// Says that a Deployment is paused or goes on, so that the time it rests does not count.
pub(super) fn pause(d: &Deployment, conditions: &mut Conditions) {
    let paused = is_paused(d);
    if deadline(d).is_none() || conditions.reason(PROGRESSING) == Some(TIMED_OUT) {
        return;
    }
    let was = conditions.reason(PROGRESSING) == Some("DeploymentPaused");
    if paused && !was {
        conditions.set(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".into());
    } else if !paused && was {
        conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into());
    }
}

pub(super) fn is_paused(d: &Deployment) -> bool {
    d.spec.as_ref().and_then(|s| s.paused).unwrap_or(false)
}

fn deadline(d: &Deployment) -> Option<i64> {
    let seconds = d.spec.as_ref().and_then(|s| s.progress_deadline_seconds).unwrap_or(600);
    (seconds != i32::MAX).then_some(i64::from(seconds))
}

/// The sums, and the condition `Available`.
pub(super) fn sums(
    d: &Deployment,
    sets: &[Set],
    new: Option<usize>,
    conditions: &mut Conditions,
    collisions: Option<i32>,
) -> DeploymentStatus {
    let available = total(sets, Set::available);
    let unavailable = (total(sets, Set::size) - available).max(0);
    let (_, may_miss) = surge_and_unavailable(d);
    if available >= desired(d) - may_miss {
        let message = "Deployment has minimum availability.";
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message.into());
    } else {
        let message = "Deployment does not have minimum availability.";
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message.into());
    }
    let some = |n: i32| (n != 0).then_some(n);
    DeploymentStatus {
        observed_generation: d.metadata.generation,
        replicas: some(total(sets, Set::actual)),
        updated_replicas: some(new.map_or(0, |at| sets[at].actual())),
        ready_replicas: some(total(sets, Set::ready)),
        available_replicas: some(available),
        unavailable_replicas: some(unavailable),
        terminating_replicas: Some(total(sets, Set::terminating)),
        collision_count: collisions,
        conditions: None,
    }
}

/// Whether all pods are new ones and available.
pub(super) fn is_complete(d: &Deployment, status: &DeploymentStatus) -> bool {
    let is = |n: Option<i32>| n.unwrap_or(0) == desired(d);
    is(status.updated_replicas)
        && is(status.replicas)
        && is(status.available_replicas)
        && status.observed_generation >= d.metadata.generation
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let n = |n: Option<i32>| n.unwrap_or(0);
    let old_pods = |s: &DeploymentStatus| n(s.replicas) - n(s.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || old_pods(new) < old_pods(old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

/// The condition `Progressing`, and when to look again whether it should have ended.
pub(super) fn progress(
    d: &Deployment,
    status: &DeploymentStatus,
    new: Option<&Set>,
    conditions: &mut Conditions,
) -> Option<Duration> {
    let Some(deadline) = deadline(d) else {
        conditions.remove(PROGRESSING);
        return None;
    };
    let n = |n: Option<i32>| n.unwrap_or(0);
    let settled = n(status.replicas) == n(status.updated_replicas)
        && conditions.reason(PROGRESSING) == Some(COMPLETE);
    if settled {
        return None;
    }
    let subject = match new {
        Some(set) => format!("ReplicaSet \"{}\"", set.name()),
        None => format!("Deployment \"{}\"", d.metadata.name.as_deref().unwrap_or("")),
    };
    let ends = |c: &Conditions| {
        let since = c.get(PROGRESSING)?.last_update_time.as_ref()?.0.as_second();
        Some(since + deadline - c.now.as_second())
    };
    let old = d.status.clone().unwrap_or_default();
    if is_complete(d, status) {
        conditions.set(
            PROGRESSING,
            "True",
            COMPLETE,
            format!("{subject} has successfully progressed."),
        );
        return None;
    }
    if has_progressed(&old, status) {
        conditions.renew(
            PROGRESSING,
            "True",
            "ReplicaSetUpdated",
            format!("{subject} is progressing."),
        );
    } else if conditions.reason(PROGRESSING).is_some_and(|r| r != COMPLETE)
        && ends(conditions).is_some_and(|left| left < 0)
    {
        conditions.set(
            PROGRESSING,
            "False",
            TIMED_OUT,
            format!("{subject} has timed out progressing."),
        );
    }
    if conditions.reason(PROGRESSING) == Some(TIMED_OUT)
        || conditions.reason(PROGRESSING) == Some(COMPLETE)
    {
        return None;
    }
    let left = u64::try_from(ends(conditions)?.max(0)).ok()?;
    Some(Duration::from_secs(left + 1))
}

/// Repeats the failure of a ReplicaSet, the new one's first.
pub(super) fn failure(sets: &[Set], new: Option<usize>, conditions: &mut Conditions) {
    let of = |set: &Set| {
        let conditions = set.set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|c| c.type_ == REPLICA_FAILURE).cloned()
    };
    match new.and_then(|at| of(&sets[at])).or_else(|| sets.iter().find_map(of)) {
        None => conditions.remove(REPLICA_FAILURE),
        Some(c) => conditions.set(
            REPLICA_FAILURE,
            &c.status,
            c.reason.as_deref().unwrap_or_default(),
            c.message.clone().unwrap_or_default(),
        ),
    }
}
