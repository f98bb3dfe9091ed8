//! The next step of a StatefulSet.
//!
//! In order (`OrderedReady`): pods come from the lowest ordinal up, each after the ones before it are
//! available; they go from the highest down, each after the one above it is gone; updates go from the
//! highest down too. `Parallel` does not wait when it creates and removes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};

use super::identity::{ordinal, pod_name, replicas, revision_of, start};
use crate::{
    pod::{self, Availability},
    workloads::deployment::resolve,
};

/// The names of the revision that pods had, and of the one that they shall have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Revisions {
    pub(super) current: String,
    pub(super) update: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Make the pod with this ordinal from this revision.
    Create { ordinal: i32, revision: String },
    /// Delete a pod.
    Delete(Arc<Pod>),
    /// Delete a pod that ended, so that it can be made anew.
    Replace(Arc<Pod>),
}

/// What to do, and when to look again.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) again: Option<Duration>,
}

fn is_parallel(set: &StatefulSet) -> bool {
    set.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()) == Some("Parallel")
}

fn min_ready_seconds(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
}

fn strategy(set: &StatefulSet) -> &str {
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate")
}

/// The lowest ordinal that is updated.
fn partition(set: &StatefulSet) -> Option<i32> {
    set.spec.as_ref()?.update_strategy.as_ref()?.rolling_update.as_ref()?.partition
}

/// How many pods an update may take away at a time.
fn max_unavailable(set: &StatefulSet) -> usize {
    let rolling = set
        .spec
        .as_ref()
        .and_then(|s| s.update_strategy.as_ref())
        .and_then(|s| s.rolling_update.as_ref());
    let value = rolling.and_then(|r| r.max_unavailable.as_ref());
    let number = value.map_or(1, |v| resolve(Some(v), "0%", replicas(set), true));
    usize::try_from(number.max(1)).unwrap_or(1)
}

/// The revision that a pod which must be made gets: during an update, pods that the update has not reached
/// come back as they were.
fn revision_for(set: &StatefulSet, revisions: &Revisions, ordinal: i32) -> String {
    let keeps = strategy(set) == "RollingUpdate" && {
        let current_replicas = set.status.as_ref().and_then(|s| s.current_replicas).unwrap_or(0);
        ordinal < start(set).saturating_add(partition(set).unwrap_or(current_replicas))
    };
    if keeps { revisions.current.clone() } else { revisions.update.clone() }
}

/// Plans the next step from the set's pods.
pub(super) fn plan(
    set: &StatefulSet,
    revisions: &Revisions,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let (first, end) = (start(set), start(set).saturating_add(replicas(set)));
    let find = |ordinal: i32| {
        pods.iter().find(|p| p.metadata.name.as_deref() == Some(&pod_name(set, ordinal)))
    };
    let parallel = is_parallel(set);
    let mut waiting = false;
    let works =
        |pod: &Arc<Pod>, plan: &mut Plan| match pod::availability(pod, min_ready_seconds(set), now)
        {
            Availability::Yes => !pod::is_terminating(pod),
            Availability::No => false,
            Availability::In(time) => {
                plan.again = Some(plan.again.map_or(time, |t| t.min(time)));
                false
            }
        };

    for ordinal in first..end {
        match find(ordinal) {
            None => {
                let revision = revision_for(set, revisions, ordinal);
                plan.actions.push(Action::Create { ordinal, revision });
                waiting = true;
            }
            Some(pod) if pod::is_terminal(pod) && !pod::is_terminating(pod) => {
                plan.actions.push(Action::Replace(pod.clone()));
                waiting = true;
            }
            Some(pod) => waiting |= !works(pod, &mut plan),
        }
        if waiting && !parallel {
            return plan;
        }
    }

    let mut condemned: Vec<(i32, &Arc<Pod>)> = pods
        .iter()
        .filter_map(|p| Some((ordinal(set, p)?, p)))
        .filter(|(ordinal, _)| !(first..end).contains(ordinal))
        .collect();
    condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
    let alive = pods.iter().filter(|p| ordinal(set, p).is_some_and(|o| (first..end).contains(&o)));
    let alive: Vec<_> = alive.collect();
    for (_, pod) in &condemned {
        if !pod::is_terminating(pod) {
            plan.actions.push(Action::Delete((*pod).clone()));
        }
        if !parallel {
            return plan;
        }
    }

    if strategy(set) == "OnDelete" || !plan.actions.is_empty() {
        return plan;
    }
    let lowest = first.saturating_add(partition(set).unwrap_or(0));
    let mut missing = alive.iter().filter(|p| !works(p, &mut plan)).count();
    for ordinal in (lowest..end).rev() {
        let Some(pod) = find(ordinal) else { continue };
        let outdated = revision_of(pod) != Some(&revisions.update);
        if outdated && !pod::is_terminating(pod) {
            let broken = !works(pod, &mut plan);
            if missing >= max_unavailable(set) && !broken {
                return plan;
            }
            plan.actions.push(Action::Delete(pod.clone()));
            if !broken {
                missing += 1;
            }
        }
        if missing >= max_unavailable(set) {
            return plan;
        }
    }
    plan
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
