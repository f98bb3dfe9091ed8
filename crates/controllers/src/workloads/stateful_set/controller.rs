//! The thin layer: claims pods and revisions, plans, writes.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{Pod, PodTemplateSpec},
};

use super::{
    identity::{self, ordinal},
    plan::{Action, Revisions, plan},
    status::status,
};
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

const COMPONENT: &str = "statefulset-controller";

fn selects(set: &StatefulSet, labels: &selector::Labels) -> bool {
    let spec = set.spec.as_ref();
    spec.is_some_and(|s| !selector::is_empty(&s.selector) && selector::matches(&s.selector, labels))
}

/// Runs the StatefulSet controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("statefulset");
    let q = queue.clone();
    ctx.caches.stateful_sets.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let (owners, q) = (ctx.caches.stateful_sets.clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        act::enqueue_owners(&owners, &q, change, |set: &StatefulSet, pod| {
            selects(set, &pod.metadata.labels) && ordinal(set, pod).is_some()
        });
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(8, shutdown, move |key| sync(ctx.clone(), key))
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(set) = ctx.caches.stateful_sets.get_key(&key) else { return Ok(None) };
    let Some(spec) = set.spec.as_ref().filter(|s| !selector::is_empty(&s.selector)) else {
        return Ok(None);
    };
    let revisions_cache = &ctx.caches.revisions;
    let mut known = act::claim(&ctx, &*set, revisions_cache, |r: &ControllerRevision| {
        selects(&set, &r.metadata.labels)
    })
    .await?;
    revision::sort(&mut known);
    let pods = act::claim(&ctx, &*set, &ctx.caches.pods, |p: &Pod| {
        selects(&set, &p.metadata.labels) && ordinal(&set, p).is_some()
    });
    let pods = pods.await?;
    let done = Box::pin(advance(&ctx, &key, &set, &spec.template, &known, &pods)).await;
    match done {
        Err(error) if error.is_namespace_terminating() => Ok(None),
        other => other,
    }
}

async fn advance(
    ctx: &Context,
    key: &Key,
    set: &Arc<StatefulSet>,
    template: &PodTemplateSpec,
    known: &[Arc<ControllerRevision>],
    pods: &[Arc<Pod>],
) -> Outcome {
    let old = set.status.clone().unwrap_or_default();
    let next = revision::next(&**set, template, known, old.collision_count);
    let update = match revision::establish(ctx, next).await {
        Err(error) if error.is_already_exists() => {
            let mut updated = (**set).clone();
            let status = updated.status.get_or_insert_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            act::write_status(ctx, &ctx.caches.stateful_sets, updated).await?;
            return Err(error);
        }
        update => update?,
    };
    let name = |r: &ControllerRevision| r.metadata.name.clone().unwrap_or_default();
    let current =
        known.iter().find(|r| old.current_revision.as_deref() == r.metadata.name.as_deref());
    let current = current.unwrap_or(&update);
    let revisions = Revisions { current: name(current), update: name(&update) };

    let now = context::now();
    let plan = plan(set, &revisions, pods, now);
    let mut failed = None;
    for action in plan.actions {
        let template_of = |name: &str| {
            let revision = if name == revisions.current { current } else { &update };
            revision::template(revision).unwrap_or_else(|| template.clone())
        };
        if let Err(error) = act_on(ctx, set, action, template_of).await {
            failed = Some(error);
            break;
        }
    }

    let pods = ctx.caches.pods.group(&pod::by_owner(set.metadata.uid.as_deref().unwrap_or("")));
    let status = status(set, &revisions, &pods, old.collision_count, now);
    let in_use = |r: &ControllerRevision| {
        let name = r.metadata.name.as_deref();
        name == status.current_revision.as_deref()
            || name == status.update_revision.as_deref()
            || pods.iter().any(|p| identity::revision_of(p) == name)
    };
    revision::truncate(
        ctx,
        known,
        set.spec.as_ref().and_then(|s| s.revision_history_limit),
        in_use,
    )
    .await?;
    if set.status.as_ref() != Some(&status) {
        let latest = ctx.caches.stateful_sets.get_key(key).unwrap_or_else(|| set.clone());
        let mut updated = (*latest).clone();
        updated.status = Some(status);
        act::write_status(ctx, &ctx.caches.stateful_sets, updated).await?;
    }
    failed.map_or(Ok(plan.again), Err)
}

async fn act_on(
    ctx: &Context,
    set: &StatefulSet,
    action: Action,
    template_of: impl Fn(&str) -> PodTemplateSpec,
) -> Result<(), ReconcileError> {
    let namespace = set.metadata.namespace.as_deref().unwrap_or("");
    let say = |kind, reason, verb: &str, pod: &str, outcome: &str| {
        let name = set.metadata.name.as_deref().unwrap_or("");
        let message = format!("{verb} Pod {pod} in StatefulSet {name} {outcome}");
        ctx.events.record(set, COMPONENT, kind, reason, message);
    };
    match action {
        Action::Create { ordinal, revision } => {
            let pod = identity::make(set, &template_of(&revision), &revision, ordinal);
            let name = identity::pod_name(set, ordinal);
            let api = ctx.api::<Pod>(namespace);
            let made = api.create(&kube::api::PostParams::default(), &pod).await;
            match crate::error::Attempt::attempt(made, || {
                format!("creating Pod {namespace}/{name}")
            }) {
                Ok(made) => {
                    ctx.caches.pods.assume(made);
                    say(Kind::Normal, "SuccessfulCreate", "create", &name, "successful");
                    Ok(())
                }
                Err(error) => {
                    if !error.is_already_exists() && !error.is_namespace_terminating() {
                        let outcome = format!("failed error: {}", error.message());
                        say(Kind::Warning, "FailedCreate", "create", &name, &outcome);
                    }
                    Err(error)
                }
            }
        }
        Action::Delete(pod) | Action::Replace(pod) => {
            let name = pod.metadata.name.as_deref().unwrap_or("");
            match act::delete(ctx, &ctx.caches.pods, &*pod).await {
                Ok(()) => {
                    say(Kind::Normal, "SuccessfulDelete", "delete", name, "successful");
                    Ok(())
                }
                Err(error) => {
                    let outcome = format!("failed error: {}", error.message());
                    say(Kind::Warning, "FailedDelete", "delete", name, &outcome);
                    Err(error)
                }
            }
        }
    }
}
