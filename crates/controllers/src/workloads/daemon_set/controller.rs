//! The thin layer: claims pods and revisions, plans, writes.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::{Node, Pod},
};

use super::{plan::plan, pods};
use crate::{
    cache::Key,
    context::{self, Context},
    error::ReconcileError,
    events::Kind,
    pod,
    queue::Outcome,
    selector,
    workloads::{act, revision},
};

const COMPONENT: &str = "daemonset-controller";

fn selects(set: &DaemonSet, labels: &selector::Labels) -> bool {
    let spec = set.spec.as_ref();
    spec.is_some_and(|s| !selector::is_empty(&s.selector) && selector::matches(&s.selector, labels))
}

/// What of a node decides whether it gets pods.
fn matters(old: &Node, new: &Node) -> bool {
    let spec = |n: &Node| n.spec.as_ref().map(|s| (s.taints.clone(), s.unschedulable));
    old.metadata.labels != new.metadata.labels || spec(old) != spec(new)
}

/// Runs the DaemonSet controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("daemonset");
    let q = queue.clone();
    ctx.caches.daemon_sets.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let (owners, q) = (ctx.caches.daemon_sets.clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        act::enqueue_owners(&owners, &q, change, |set: &DaemonSet, pod| {
            selects(set, &pod.metadata.labels)
        });
    });
    let (owners, q) = (ctx.caches.daemon_sets.clone(), queue.clone());
    ctx.caches.nodes.on_change(move |change| {
        if let (Some(old), Some(new)) = (change.old, change.new)
            && !matters(old, new)
        {
            return;
        }
        for set in owners.list() {
            q.add(Key::of(&set.metadata));
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(4, shutdown, move |key| sync(ctx.clone(), key))
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(set) = ctx.caches.daemon_sets.get_key(&key) else { return Ok(None) };
    if set.spec.as_ref().is_none_or(|s| selector::is_empty(&s.selector)) {
        let message = "This daemon set is selecting all pods. A non-empty selector is required.";
        ctx.events.record(&*set, COMPONENT, Kind::Warning, "SelectingAll", message);
        return Ok(None);
    }
    let cache = &ctx.caches.revisions;
    let mut known =
        act::claim(&ctx, &*set, cache, |r: &ControllerRevision| selects(&set, &r.metadata.labels))
            .await?;
    revision::sort(&mut known);
    let pods =
        act::claim(&ctx, &*set, &ctx.caches.pods, |p: &Pod| selects(&set, &p.metadata.labels))
            .await?;
    match Box::pin(advance(&ctx, &key, &set, &known, &pods)).await {
        Err(error) if error.is_namespace_terminating() => Ok(None),
        other => other,
    }
}

async fn advance(
    ctx: &Context,
    key: &Key,
    set: &Arc<DaemonSet>,
    known: &[Arc<ControllerRevision>],
    pods: &[Arc<Pod>],
) -> Outcome {
    let Some(spec) = set.spec.as_ref() else { return Ok(None) };
    let collisions = set.status.as_ref().and_then(|s| s.collision_count);
    let next = revision::next(&**set, &spec.template, known, collisions);
    let current = match revision::establish(ctx, next).await {
        Err(error) if error.is_already_exists() => {
            let mut updated = (**set).clone();
            let status = updated.status.get_or_insert_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            act::write_status(ctx, &ctx.caches.daemon_sets, updated).await?;
            return Err(error);
        }
        current => current?,
    };
    let hash = revision_hash(&current);
    let now = context::now();
    let nodes = ctx.caches.nodes.list();
    let first = plan(set, &hash, &nodes, pods, now);
    for (name, node) in &first.failed {
        let message =
            format!("Found failed daemon pod {key}/{name} on node {node}, will try to kill it");
        ctx.events.record(&**set, COMPONENT, Kind::Warning, "FailedDaemonPod", message);
    }
    let deletions = first.delete.iter().map(|p| act::delete_pod(ctx, &**set, COMPONENT, p));
    let creations = first.create.iter().map(|node| {
        let pod = pods::make(set, &hash, node);
        async move { act::create_pod(ctx, &**set, COMPONENT, &pod).await }
    });
    let mut failed: Option<ReconcileError> =
        join_all(deletions).await.into_iter().find_map(Result::err);
    failed = failed.or(join_all(creations).await.into_iter().find_map(Result::err));

    let pods = ctx.caches.pods.group(&pod::by_owner(set.metadata.uid.as_deref().unwrap_or("")));
    let in_use = |r: &ControllerRevision| {
        let hash = revision_hash(r);
        r.metadata.name == current.metadata.name
            || pods.iter().any(|p| {
                p.metadata
                    .labels
                    .as_ref()
                    .and_then(|l| l.get(revision::REVISION))
                    .is_some_and(|h| *h == hash)
            })
    };
    revision::truncate(ctx, known, spec.revision_history_limit, in_use).await?;
    let status = plan(set, &hash, &nodes, &pods, now).status;
    if set.status.as_ref() != Some(&status) {
        let latest = ctx.caches.daemon_sets.get_key(key).unwrap_or_else(|| set.clone());
        let mut updated = (*latest).clone();
        updated.status = Some(status);
        act::write_status(ctx, &ctx.caches.daemon_sets, updated).await?;
    }
    failed.map_or(Ok(first.again), Err)
}

/// The hash by which a revision's pods are labelled.
fn revision_hash(revision: &ControllerRevision) -> String {
    revision
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(revision::HASH))
        .cloned()
        .unwrap_or_default()
}
