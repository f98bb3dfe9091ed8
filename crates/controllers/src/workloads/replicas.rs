//! ReplicaSet and ReplicationController: so many pods of one template, whichever.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{
            Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition,
            ReplicationControllerStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::act::{self, Object};
use crate::{
    cache::{Cache, Key},
    context::{self, Caches, Context},
    error::ReconcileError,
    owner, pod,
    queue::Outcome,
    selector::{self, Labels},
};

/// The most pods created or deleted in one go.
const BURST: usize = 500;

/// What ReplicaSet and ReplicationController have in common.
pub trait Replicated: Object {
    /// The name under which the controller records events.
    const COMPONENT: &'static str;
    /// The name of its queue.
    const QUEUE: &'static str;
    /// Its cache.
    fn cache(caches: &Caches) -> &Arc<Cache<Self>>;
    /// How many pods are wanted.
    fn desired(&self) -> i32;
    /// How long a pod must be ready to count as available.
    fn min_ready_seconds(&self) -> i32;
    /// What pods are made from.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// Whether a pod with these labels belongs to it.
    fn selects(&self, labels: &Labels) -> bool;
    /// The same object with other figures; equal to the original if nothing changed.
    #[must_use]
    fn with_status(&self, figures: &Figures, now: Timestamp) -> Self;
    /// Whether two states of the object have the same status.
    fn same_status(&self, other: &Self) -> bool;
    /// Pods of the same purpose, for the choice of the one to delete.
    fn related(&self, caches: &Caches, own: &[Arc<Pod>]) -> Vec<Arc<Pod>>;
}

/// The figures of a status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    replicas: i32,
    fully_labeled: i32,
    ready: i32,
    available: i32,
    terminating: i32,
    /// Why pods could not be created or deleted.
    failure: Option<(&'static str, String)>,
}

macro_rules! conditions {
    ($kind:ident, $old:expr, $figures:expr, $now:expr) => {{
        let mut conditions = $old.clone().unwrap_or_default();
        match &$figures.failure {
            None => conditions.retain(|c| c.type_ != "ReplicaFailure"),
            Some((reason, message)) => {
                let same =
                    |c: &$kind| c.type_ == "ReplicaFailure" && c.reason.as_deref() == Some(reason);
                if !conditions.iter().any(same) {
                    conditions.retain(|c| c.type_ != "ReplicaFailure");
                    conditions.push($kind {
                        type_: "ReplicaFailure".into(),
                        status: "True".into(),
                        reason: Some((*reason).into()),
                        message: Some(message.clone()),
                        last_transition_time: Some(Time($now)),
                    });
                }
            }
        }
        (!conditions.is_empty()).then_some(conditions)
    }};
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const QUEUE: &'static str = "replicaset";

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.replica_sets
    }

    fn desired(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn selects(&self, labels: &Labels) -> bool {
        self.spec.as_ref().is_some_and(|s| {
            !selector::is_empty(&s.selector) && selector::matches(&s.selector, labels)
        })
    }

    fn with_status(&self, figures: &Figures, now: Timestamp) -> Self {
        let old = self.status.clone().unwrap_or_default();
        let mut new = self.clone();
        new.status = Some(ReplicaSetStatus {
            replicas: figures.replicas,
            fully_labeled_replicas: Some(figures.fully_labeled).filter(|n| *n != 0),
            ready_replicas: Some(figures.ready).filter(|n| *n != 0),
            available_replicas: Some(figures.available).filter(|n| *n != 0),
            terminating_replicas: Some(figures.terminating),
            observed_generation: self.metadata.generation,
            conditions: conditions!(ReplicaSetCondition, old.conditions, figures, now),
        });
        new
    }

    fn same_status(&self, other: &Self) -> bool {
        self.status == other.status
    }

    fn related(&self, caches: &Caches, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(controller) = owner::controller_of(&self.metadata) else { return own.to_vec() };
        let siblings = caches.replica_sets.group(&pod::by_owner(&controller.uid));
        let uids = siblings.iter().filter_map(|s| s.metadata.uid.as_deref());
        uids.flat_map(|uid| caches.pods.group(&pod::by_owner(uid))).collect()
    }
}

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const QUEUE: &'static str = "replicationmanager";

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.replication_controllers
    }

    fn desired(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn selects(&self, labels: &Labels) -> bool {
        let selector =
            self.spec.as_ref().and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty());
        let own = || self.template()?.metadata.as_ref()?.labels.as_ref();
        selector.or_else(own).is_some_and(|s| !s.is_empty() && selector::matches_map(s, labels))
    }

    fn with_status(&self, figures: &Figures, now: Timestamp) -> Self {
        let old = self.status.clone().unwrap_or_default();
        let mut new = self.clone();
        new.status = Some(ReplicationControllerStatus {
            replicas: figures.replicas,
            fully_labeled_replicas: Some(figures.fully_labeled).filter(|n| *n != 0),
            ready_replicas: Some(figures.ready).filter(|n| *n != 0),
            available_replicas: Some(figures.available).filter(|n| *n != 0),
            observed_generation: self.metadata.generation,
            conditions: conditions!(ReplicationControllerCondition, old.conditions, figures, now),
        });
        new
    }

    fn same_status(&self, other: &Self) -> bool {
        self.status == other.status
    }

    fn related(&self, _caches: &Caches, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        own.to_vec()
    }
}

/// What to do about the number of pods.
#[derive(Debug, PartialEq)]
enum Plan {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// Compares the active pods with the number that is wanted.
fn plan(desired: i32, active: &[Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) -> Plan {
    let desired = usize::try_from(desired).unwrap_or(0);
    if active.len() < desired {
        Plan::Create((desired - active.len()).min(BURST))
    } else if active.len() > desired {
        let mut ranked = active.to_vec();
        pod::rank_for_deletion(&mut ranked, related, now);
        ranked.truncate((active.len() - desired).min(BURST));
        Plan::Delete(ranked)
    } else {
        Plan::Nothing
    }
}

fn figures(
    template: Option<&PodTemplateSpec>,
    pods: &[Arc<Pod>],
    min_ready: i32,
    now: Timestamp,
) -> (Figures, Option<Duration>) {
    let active: Vec<_> = pods.iter().filter(|p| pod::is_active(p)).collect();
    let labels = template.and_then(|t| t.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let tally = pod::tally(active.iter().copied(), min_ready, now);
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let figures = Figures {
        replicas: count(active.len()),
        fully_labeled: count(
            active.iter().filter(|p| selector::matches_map(&labels, &p.metadata.labels)).count(),
        ),
        ready: tally.ready,
        available: tally.available,
        terminating: count(
            pods.iter().filter(|p| pod::is_terminating(p) && !pod::is_terminal(p)).count(),
        ),
        failure: None,
    };
    (figures, tally.next)
}

/// Runs the controller of `O`.
pub fn run<O: Replicated>(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<O> {
    let queue = ctx.queue(O::QUEUE);
    let q = queue.clone();
    O::cache(&ctx.caches).on_change(move |change| q.add(Key::of(change.latest().meta())));
    let (owners, q) = (O::cache(&ctx.caches).clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        act::enqueue_owners(&owners, &q, change, |owner, pod| owner.selects(&pod.metadata.labels));
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(8, shutdown, move |key| sync::<O>(ctx.clone(), key))
}

async fn sync<O: Replicated>(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(owner) = O::cache(&ctx.caches).get_key(&key) else { return Ok(None) };
    let pods =
        act::claim(&ctx, &*owner, &ctx.caches.pods, |p| owner.selects(&p.metadata.labels)).await?;
    let active: Vec<_> = pods.iter().filter(|p| pod::is_active(p)).cloned().collect();
    let now = context::now();
    let mut failed = Ok(());
    if owner.meta().deletion_timestamp.is_none() {
        let related = owner.related(&ctx.caches, &pods);
        failed = match plan(owner.desired(), &active, &related, now) {
            Plan::Nothing => Ok(()),
            Plan::Create(count) => {
                create(&ctx, &*owner, count).await.map_err(|e| ("FailedCreate", e))
            }
            Plan::Delete(pods) => {
                let deletions =
                    pods.iter().map(|pod| act::delete_pod(&ctx, &*owner, O::COMPONENT, pod));
                let first = join_all(deletions).await.into_iter().find_map(Result::err);
                first.map_or(Ok(()), |e| Err(("FailedDelete", e)))
            }
        };
    }
    // Anew, as the cache knows of what was just done.
    let pods = ctx.caches.pods.group(&pod::by_owner(owner.meta().uid.as_deref().unwrap_or("")));
    let (mut figures, next) = figures(owner.template(), &pods, owner.min_ready_seconds(), now);
    if let Err((reason, error)) = &failed {
        figures.failure = Some((*reason, error.message()));
    }
    let owner = O::cache(&ctx.caches).get_key(&key).unwrap_or(owner);
    let updated = owner.with_status(&figures, now);
    if !updated.same_status(&owner) {
        act::write_status(&ctx, O::cache(&ctx.caches), updated).await?;
    }
    match failed {
        Err((_, error)) if error.is_namespace_terminating() => Ok(None),
        Err((_, error)) => Err(error),
        Ok(()) => Ok(next),
    }
}

/// Creates pods in batches of 1, 2, 4, … so that a template that cannot work costs one refusal, not hundreds.
async fn create<O: Replicated>(
    ctx: &Context,
    owner: &O,
    count: usize,
) -> Result<(), ReconcileError> {
    let Some(template) = owner.template() else {
        return Err(ReconcileError::invalid(format!(
            "{} {} has no template",
            O::kind(&()),
            Key::of(owner.meta())
        )));
    };
    let meta = owner.meta();
    let namespace = meta.namespace.as_deref().unwrap_or("");
    let mut pod = act::pod_from(template, namespace, owner::controller_ref(owner));
    pod.metadata.generate_name = Some(format!("{}-", meta.name.as_deref().unwrap_or("")));
    let (mut left, mut batch) = (count, 1);
    while left > 0 {
        let now = batch.min(left);
        let made =
            join_all((0..now).map(|_| act::create_pod(ctx, owner, O::COMPONENT, &pod))).await;
        if let Some(error) = made.into_iter().find_map(Result::err) {
            return Err(error);
        }
        left -= now;
        batch *= 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods(count: usize) -> Vec<Arc<Pod>> {
        (0..count)
            .map(|i| {
                Arc::new(
                    serde_json::from_value(json!({
                        "metadata": {"name": format!("p{i}"), "uid": format!("{i}"), "labels": {"app": "a"}},
                        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
                    }))
                    .unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn as_many_as_wanted() {
        let now = Timestamp::UNIX_EPOCH;
        let of = |desired, have: usize| match plan(desired, &pods(have), &[], now) {
            Plan::Nothing => 0,
            Plan::Create(n) => i64::try_from(n).unwrap(),
            Plan::Delete(pods) => -i64::try_from(pods.len()).unwrap(),
        };
        assert_eq!(
            [of(3, 3), of(3, 1), of(3, 5), of(0, 2), of(-1, 1), of(900, 0)],
            [0, 2, -2, -2, -1, 500]
        );
    }

    #[test]
    fn a_failure_shows_and_goes() {
        let now = Timestamp::UNIX_EPOCH;
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "a", "generation": 4},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}}},
        }))
        .unwrap();
        let (mut figures, _) = figures(set.template(), &pods(2), 0, now);
        figures.failure = Some(("FailedCreate", "no".into()));
        let failing = set.with_status(&figures, now);
        let status = failing.status.clone().unwrap();
        assert_eq!(
            (status.replicas, status.ready_replicas, status.observed_generation),
            (2, Some(2), Some(4))
        );
        assert_eq!(status.conditions.unwrap()[0].reason.as_deref(), Some("FailedCreate"));
        assert!(failing.same_status(&failing.with_status(&figures, Timestamp::MAX)));
        figures.failure = None;
        assert_eq!(failing.with_status(&figures, now).status.unwrap().conditions, None);
    }
}
