//! The status of a StatefulSet, by which `kubectl rollout status` sees how far an update is.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetStatus},
    core::v1::Pod,
};

use super::{
    identity::{replicas, revision_of},
    plan::Revisions,
};
use crate::pod;

/// Counts the set's pods; an update that has reached all of them makes its revision the current one.
pub(super) fn status(
    set: &StatefulSet,
    revisions: &Revisions,
    pods: &[Arc<Pod>],
    collisions: Option<i32>,
    now: Timestamp,
) -> StatefulSetStatus {
    let count = |of: &dyn Fn(&Arc<Pod>) -> bool| {
        i32::try_from(pods.iter().filter(|p| of(p)).count()).unwrap_or(i32::MAX)
    };
    let min_ready = set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0);
    let lives = |p: &Arc<Pod>| pod::is_active(p);
    let of = |revision: &String| count(&|p| lives(p) && revision_of(p) == Some(revision));
    let tally = pod::tally(pods.iter().filter(|p| !pod::is_terminal(p)), min_ready, now);
    let total = count(&|p| !pod::is_terminal(p));
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: total,
        ready_replicas: Some(tally.ready),
        available_replicas: Some(tally.available),
        current_replicas: Some(of(&revisions.current)),
        updated_replicas: Some(of(&revisions.update)),
        current_revision: Some(revisions.current.clone()),
        update_revision: Some(revisions.update.clone()),
        collision_count: collisions,
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    };
    let rolling =
        set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|s| s.type_.as_deref());
    let all = |n: Option<i32>| n == Some(replicas(set));
    if rolling.unwrap_or("RollingUpdate") == "RollingUpdate"
        && all(status.updated_replicas)
        && all(status.ready_replicas)
        && status.replicas == replicas(set)
    {
        status.current_revision.clone_from(&status.update_revision);
        status.current_replicas = status.updated_replicas;
    }
    status
}
