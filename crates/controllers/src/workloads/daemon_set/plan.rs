//! The next step of a DaemonSet: pods for nodes that lack one, and an update node by node.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetStatus},
    core::v1::{Node, Pod},
};

use super::pods::{fits, node_of};
use crate::{
    pod::{self, Availability},
    workloads::{deployment::resolve, revision},
};

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: Vec<String>,
    /// Pods that go.
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods among `delete` that failed, and on which node.
    pub(super) failed: Vec<(String, String)>,
    /// The status to write.
    pub(super) status: DaemonSetStatus,
    /// When to look again.
    pub(super) again: Option<Duration>,
}

fn min_ready_seconds(set: &DaemonSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
}

fn is_rolling(set: &DaemonSet) -> bool {
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// How many nodes may have two pods during an update, and how many may have none that works.
fn surge_and_unavailable(set: &DaemonSet, nodes: usize) -> (usize, usize) {
    let nodes = i32::try_from(nodes).unwrap_or(i32::MAX);
    let rolling = set
        .spec
        .as_ref()
        .and_then(|s| s.update_strategy.as_ref())
        .and_then(|s| s.rolling_update.as_ref());
    let value = |v: Option<i32>| usize::try_from(v.unwrap_or(0).max(0)).unwrap_or(0);
    let surge =
        rolling.and_then(|r| r.max_surge.as_ref()).map(|v| resolve(Some(v), "0%", nodes, true));
    let unavailable = match rolling.and_then(|r| r.max_unavailable.as_ref()) {
        Some(v) => resolve(Some(v), "0%", nodes, true),
        None => i32::from(value(surge) == 0),
    };
    let unavailable = value(Some(unavailable));
    if value(surge) == 0 && unavailable == 0 { (0, 1) } else { (value(surge), unavailable) }
}

fn is_new(of: &Pod, hash: &str) -> bool {
    of.metadata.labels.as_ref().and_then(|l| l.get(revision::REVISION)).is_some_and(|h| h == hash)
}

/// Plans the next step. `hash` is that of the present template's revision.
pub(super) fn plan(
    set: &DaemonSet,
    hash: &str,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for of in pods {
        by_node.entry(node_of(of).unwrap_or("")).or_default().push(of);
    }
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|s| s.collision_count),
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
        ..Default::default()
    };
    let mut available =
        |of: &Pod, plan: &mut Plan| match pod::availability(of, min_ready_seconds(set), now) {
            Availability::Yes => !pod::is_terminating(of),
            Availability::No => false,
            Availability::In(time) => {
                plan.again = Some(plan.again.map_or(time, |t| t.min(time)));
                false
            }
        };
    let mut wanting: Vec<(&str, Vec<&Arc<Pod>>)> = Vec::new();
    let (mut updated, mut working) = (0, 0);
    for node in nodes {
        let name = node.metadata.name.as_deref().unwrap_or("");
        let here = by_node.remove(name).unwrap_or_default();
        let (run, stay) = fits(set, node);
        if !run {
            status.number_misscheduled += i32::from(!here.is_empty());
            if !stay {
                plan.delete.extend(here.into_iter().filter(|p| !pod::is_terminating(p)).cloned());
            }
            continue;
        }
        status.desired_number_scheduled += 1;
        if !here.is_empty() {
            status.current_number_scheduled += 1;
            // The youngest counts, as it is the one to stay.
            let newest = here
                .iter()
                .max_by_key(|p| (is_new(p, hash), p.metadata.creation_timestamp.clone()));
            if let Some(of) = newest {
                updated += i32::from(is_new(of, hash));
            }
            status.number_ready +=
                i32::from(here.iter().any(|p| pod::is_ready(p) && !pod::is_terminating(p)));
            working += i32::from(here.iter().any(|p| available(p, &mut plan)));
        }
        wanting.push((name, here));
    }
    status.updated_number_scheduled = Some(updated).filter(|n| *n != 0);
    status.number_available = Some(working).filter(|n| *n != 0);
    status.number_unavailable = Some(status.desired_number_scheduled - working).filter(|n| *n != 0);
    plan.status = status;
    if set.metadata.deletion_timestamp.is_some() {
        plan.delete.clear();
        return plan;
    }
    // Pods for nodes that are gone.
    for (name, here) in by_node {
        if !name.is_empty() {
            plan.delete.extend(
                here.into_iter()
                    .filter(|p| pod::node_name(p).is_none() && !pod::is_terminating(p))
                    .cloned(),
            );
        }
    }
    for (name, here) in &wanting {
        manage(name, here, hash, &mut plan, &mut available);
    }
    if is_rolling(set) {
        update(set, hash, &wanting, &mut plan, &mut available);
    }
    plan
}

type Available<'a> = dyn FnMut(&Pod, &mut Plan) -> bool + 'a;

/// One node: a pod if it has none, failed ones replaced, surplus removed.
fn manage(
    name: &str,
    here: &[&Arc<Pod>],
    hash: &str,
    plan: &mut Plan,
    available: &mut Available<'_>,
) {
    let (ended, alive): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
        here.iter().filter(|p| !pod::is_terminating(p)).partition(|p| pod::is_terminal(p));
    for of in ended {
        plan.failed.push((of.metadata.name.clone().unwrap_or_default(), name.to_string()));
        plan.delete.push(of.clone());
    }
    if alive.is_empty() {
        // Only after the old one is gone, as the two could need the same ports.
        if here.is_empty() {
            plan.create.push(name.to_string());
        }
        return;
    }
    let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
        alive.into_iter().partition(|p| is_new(p, hash));
    for group in [&new, &old] {
        let mut group: Vec<_> = group.to_vec();
        group.sort_by_key(|p| (p.metadata.creation_timestamp.clone(), p.metadata.name.clone()));
        plan.delete.extend(group.into_iter().skip(1).cloned());
    }
    // A surge ends when the new pod works.
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && available(new, plan)
    {
        plan.delete.push((*old).clone());
    }
}

/// Exchanges old pods for new ones, within the limits.
fn update(
    set: &DaemonSet,
    hash: &str,
    wanting: &[(&str, Vec<&Arc<Pod>>)],
    plan: &mut Plan,
    available: &mut Available<'_>,
) {
    let (surge, unavailable) = surge_and_unavailable(set, wanting.len());
    let (mut missing, mut surging) = (0, 0);
    let mut candidates = Vec::new();
    for (name, here) in wanting {
        let alive: Vec<_> = here.iter().filter(|p| pod::is_active(p)).collect();
        let works = alive.iter().any(|p| available(p, plan));
        missing += usize::from(!works);
        let old = alive.iter().find(|p| !is_new(p, hash));
        let new = alive.iter().any(|p| is_new(p, hash));
        match old {
            Some(_) if new => surging += 1,
            Some(old) => candidates.push((*name, (**old).clone(), works)),
            None => (),
        }
    }
    for (name, old, works) in candidates {
        let gone = |plan: &Plan| plan.delete.iter().any(|p| p.metadata.uid == old.metadata.uid);
        if gone(plan) {
            continue;
        }
        if surge > 0 {
            if surging < surge || !works {
                plan.create.push(name.to_string());
                surging += usize::from(works);
            }
        } else if !works {
            plan.delete.push(old);
        } else if missing < unavailable {
            plan.delete.push(old);
            missing += 1;
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
