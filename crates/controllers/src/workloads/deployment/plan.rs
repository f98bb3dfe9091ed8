//! What a Deployment and its ReplicaSets should be, from what they are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    annotations, rolling, scaling,
    set::{HASH, Set, desired, is_rolling, same_template, surge_and_unavailable},
    status::{self, Conditions, PROGRESSING},
};
use crate::{owner, workloads::hash};

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The ReplicaSet to create.
    pub(super) create: Option<ReplicaSet>,
    /// ReplicaSets to write, those that grow first.
    pub(super) update: Vec<(Arc<ReplicaSet>, ReplicaSet)>,
    /// ReplicaSets beyond the history limit.
    pub(super) delete: Vec<Arc<ReplicaSet>>,
    /// The revision to note on the Deployment.
    pub(super) revision: Option<String>,
    /// The status to write.
    pub(super) status: DeploymentStatus,
    /// When to look again.
    pub(super) again: Option<Duration>,
}

/// The index of the oldest set with the Deployment's template.
fn find_new(d: &Deployment, sets: &[Set]) -> Option<usize> {
    let template = d.spec.as_ref().map(|s| &s.template);
    let same = |at: &usize| same_template(sets[*at].template(), template);
    (0..sets.len()).filter(same).min_by_key(|at| sets[*at].created())
}

/// The ReplicaSet for the Deployment's template, without size.
fn make_new(d: &Deployment) -> Set {
    let spec = d.spec.clone().unwrap_or_default();
    let hash = hash::of(&spec.template, d.status.as_ref().and_then(|s| s.collision_count));
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH.into(), hash.clone());
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", d.metadata.name.as_deref().unwrap_or(""))),
            namespace: d.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(BTreeMap::new()),
            owner_references: Some(vec![owner::controller_ref(d)]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    Set { was: None, set }
}

/// Plans one step. `old_pods_run` tells whether pods of a set other than the one named still exist.
pub(super) fn plan(
    d: &Deployment,
    sets: &[Arc<ReplicaSet>],
    old_pods_run: impl Fn(Option<&str>) -> bool,
    now: Timestamp,
) -> Plan {
    let mut sets: Vec<Set> = sets.iter().map(Set::existing).collect();
    sets.sort_by_key(Set::created);
    let mut conditions = Conditions::of(d, now);
    let collisions = d.status.as_ref().and_then(|s| s.collision_count);
    let mut new = find_new(d, &sets);
    let mut plan = Plan::default();

    if d.metadata.deletion_timestamp.is_some() {
        plan.status = status::sums(d, &sets, new, &mut conditions, collisions);
        return finish(plan, sets, conditions);
    }
    status::pause(d, &mut conditions);
    if status::is_paused(d) || scaling::is_due(d, &sets) {
        if let Some(at) = new {
            plan.revision = revise(d, &mut sets, at);
        }
        scaling::rescale(d, &mut sets, new);
        if status::is_paused(d) {
            plan.delete = beyond_history(d, &sets, new);
        }
        plan.status = status::sums(d, &sets, new, &mut conditions, collisions);
        return finish(plan, sets, conditions);
    }

    if new.is_none() && (is_rolling(d) || !must_wait(&sets, &old_pods_run)) {
        let mut made = make_new(d);
        let size = rolling::new_size(d, &sets, 0);
        made.resize(size);
        annotations::set_sizes(&mut made, desired(d), desired(d) + surge_and_unavailable(d).0);
        let message = format!("Created new replica set \"{}\"", made.name());
        conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
        sets.push(made);
        new = Some(sets.len() - 1);
    } else if let Some(at) = new
        && conditions.get(PROGRESSING).is_none()
    {
        let message = format!("Found new replica set \"{}\"", sets[at].name());
        conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
    }
    if let Some(at) = new {
        plan.revision = revise(d, &mut sets, at);
        sets[at].set.spec.get_or_insert_default().min_ready_seconds =
            d.spec.as_ref().and_then(|s| s.min_ready_seconds);
    }

    if is_rolling(d) {
        if let Some(at) = new {
            let mut this = sets.remove(at);
            if !rolling::grow_new(d, &sets, &mut this) {
                rolling::shrink_old(d, &mut sets, &this);
            }
            sets.push(this);
            new = Some(sets.len() - 1);
        }
    } else {
        recreate(d, &mut sets, new, &old_pods_run);
    }
    plan.status = status::sums(d, &sets, new, &mut conditions, collisions);
    if status::is_complete(d, &plan.status) {
        plan.delete = beyond_history(d, &sets, new);
    }
    plan.again = status::progress(d, &plan.status, new.map(|at| &sets[at]), &mut conditions);
    status::failure(&sets, new, &mut conditions);
    finish(plan, sets, conditions)
}

/// Whether `Recreate` must still wait before it may create the new set.
fn must_wait(sets: &[Set], old_pods_run: &impl Fn(Option<&str>) -> bool) -> bool {
    sets.iter().any(|s| s.size() > 0 || s.actual() > 0) || old_pods_run(None)
}

/// `Recreate`: all old pods go before the first new one comes.
fn recreate(
    d: &Deployment,
    sets: &mut [Set],
    new: Option<usize>,
    old_pods_run: &impl Fn(Option<&str>) -> bool,
) {
    let mut shrinking = false;
    for (at, set) in sets.iter_mut().enumerate() {
        if Some(at) != new && (set.size() > 0 || set.actual() > 0) {
            if set.size() > 0 {
                rolling::scale(d, set, 0);
            }
            shrinking = true;
        }
    }
    if let Some(at) = new {
        let uid = sets[at].uid().to_string();
        if !shrinking && !old_pods_run(Some(&uid)) && sets[at].size() != desired(d) {
            rolling::scale(d, &mut sets[at], desired(d));
        }
    }
}

/// Gives the new set the next revision, unless it has the highest already; returns it for the Deployment.
fn revise(d: &Deployment, sets: &mut [Set], new: usize) -> Option<String> {
    let others = sets.iter().enumerate().filter(|(at, _)| *at != new);
    let next = others.map(|(_, s)| annotations::revision(s)).max().unwrap_or(0) + 1;
    annotations::inherit(d, &mut sets[new], next);
    let revision = annotations::revision(&sets[new]).to_string();
    let noted = d.metadata.annotations.as_ref().and_then(|a| a.get(annotations::REVISION));
    (noted != Some(&revision)).then_some(revision)
}

/// The oldest emptied sets, beyond `revisionHistoryLimit`.
fn beyond_history(d: &Deployment, sets: &[Set], new: Option<usize>) -> Vec<Arc<ReplicaSet>> {
    let limit = d.spec.as_ref().and_then(|s| s.revision_history_limit).unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut old: Vec<&Set> = sets
        .iter()
        .enumerate()
        .filter(|(at, s)| Some(*at) != new && s.set.metadata.deletion_timestamp.is_none())
        .map(|(_, s)| s)
        .collect();
    old.sort_by_key(|s| (annotations::revision(s), s.created()));
    let surplus = old.len().saturating_sub(limit);
    old.into_iter()
        .take(surplus)
        .filter(|s| {
            let observed = s.set.status.as_ref().and_then(|s| s.observed_generation);
            s.size() == 0 && s.actual() == 0 && observed >= s.set.metadata.generation
        })
        .filter_map(|s| s.was.clone())
        .collect()
}

fn finish(mut plan: Plan, sets: Vec<Set>, conditions: Conditions) -> Plan {
    for set in sets {
        match set.was {
            None => plan.create = Some(set.set),
            Some(was) if *was != set.set => plan.update.push((was, set.set)),
            Some(_) => (),
        }
    }
    let size = |s: &ReplicaSet| s.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    plan.update.sort_by_key(|(was, set)| (size(set) < size(was), set.metadata.name.clone()));
    let mut list = conditions.list;
    list.sort_by_key(|c| order(&c.type_));
    plan.status.conditions = (!list.is_empty()).then_some(list);
    plan
}

/// A fixed order, so that equal conditions are equal lists.
fn order(kind: &str) -> u8 {
    match kind {
        "Available" => 0,
        "Progressing" => 1,
        _ => 2,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
