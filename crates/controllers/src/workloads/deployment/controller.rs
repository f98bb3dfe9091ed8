//! The thin layer: claims ReplicaSets, plans, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{Patch, PatchParams, PostParams};

use super::{annotations::REVISION, plan, set::same_template};
use crate::{
    cache::Key,
    context::{self, Context},
    error::{Attempt, ReconcileError},
    events::Kind,
    owner, pod,
    queue::Outcome,
    selector,
    workloads::act,
};

const COMPONENT: &str = "deployment-controller";

fn selects(d: &Deployment, set: &ReplicaSet) -> bool {
    let spec = d.spec.as_ref();
    spec.is_some_and(|s| {
        !selector::is_empty(&s.selector) && selector::matches(&s.selector, &set.metadata.labels)
    })
}

/// Runs the Deployment controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("deployment");
    let q = queue.clone();
    ctx.caches.deployments.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let (deployments, q) = (ctx.caches.deployments.clone(), queue.clone());
    ctx.caches.replica_sets.on_change(move |change| {
        let mut namespace = String::new();
        for set in change.both() {
            namespace = set.metadata.namespace.clone().unwrap_or_default();
            if let Some(owner) =
                owner::controller_of(&set.metadata).filter(|o| o.kind == "Deployment")
            {
                q.add(Key::new(&namespace, &owner.name));
            }
        }
        let Some(set) = change.new.filter(|s| owner::controller_of(&s.metadata).is_none()) else {
            return;
        };
        for d in deployments.list_in(&namespace).iter().filter(|d| selects(d, set)) {
            q.add(Key::of(&d.metadata));
        }
    });
    // Recreate waits for the last old pod to be gone.
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        let over = change.new.is_none_or(|p| pod::is_terminal(p));
        let Some(set) = owner::controller_of(&change.latest().metadata)
            .filter(|o| over && o.kind == "ReplicaSet")
        else {
            return;
        };
        let namespace = change.latest().metadata.namespace.as_deref().unwrap_or("");
        let set = c.caches.replica_sets.get(namespace, &set.name);
        if let Some(owner) = set.as_ref().and_then(|s| owner::controller_of(&s.metadata)) {
            q.add(Key::new(namespace, &owner.name));
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(8, shutdown, move |key| sync(ctx.clone(), key))
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(d) = ctx.caches.deployments.get_key(&key) else { return Ok(None) };
    if d.spec.as_ref().is_none_or(|s| selector::is_empty(&s.selector)) {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        ctx.events.record(&*d, COMPONENT, Kind::Warning, "SelectingAll", message);
        return Ok(None);
    }
    let sets = act::claim(&ctx, &*d, &ctx.caches.replica_sets, |s| selects(&d, s)).await?;
    let old_pods_run = |new: Option<&str>| {
        sets.iter().filter_map(|s| s.metadata.uid.as_deref()).filter(|uid| Some(*uid) != new).any(
            |uid| ctx.caches.pods.group(&pod::by_owner(uid)).iter().any(|p| !pod::is_terminal(p)),
        )
    };
    let plan = plan::plan(&d, &sets, old_pods_run, context::now());
    match Box::pin(perform(&ctx, &key, &d, plan)).await {
        Err(error) if error.is_namespace_terminating() => Ok(None),
        other => other,
    }
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

async fn perform(ctx: &Context, key: &Key, d: &Arc<Deployment>, plan: plan::Plan) -> Outcome {
    if let Some(set) = &plan.create {
        Box::pin(create(ctx, key, d, set)).await?;
    }
    for (was, set) in plan.update {
        let name = set.metadata.name.clone().unwrap_or_default();
        let api = ctx.api::<ReplicaSet>(&key.namespace);
        let written = api.replace(&name, &PostParams::default(), &set).await;
        let written =
            written.attempt(|| format!("updating ReplicaSet {}/{name}", key.namespace))?;
        ctx.caches.replica_sets.assume(written);
        let (from, to) = (size(&was), size(&set));
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
            ctx.events.record(&**d, COMPONENT, Kind::Normal, "ScalingReplicaSet", message);
        }
    }
    for set in plan.delete {
        act::delete(ctx, &ctx.caches.replica_sets, &*set).await?;
    }
    if let Some(revision) = plan.revision {
        let patch = serde_json::json!({"metadata": {"uid": d.metadata.uid, "annotations": {REVISION: revision}}});
        let api = ctx.api::<Deployment>(&key.namespace);
        let written = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        if let Some(written) =
            written.attempt_opt(|| format!("noting the revision of Deployment {key}"))?
        {
            ctx.caches.deployments.assume(written);
        }
    }
    if d.status.as_ref() != Some(&plan.status) {
        let latest = ctx.caches.deployments.get_key(key).unwrap_or_else(|| d.clone());
        let mut updated = (*latest).clone();
        updated.status = Some(plan.status);
        act::write_status(ctx, &ctx.caches.deployments, updated).await?;
    }
    Ok(plan.again)
}

/// Creates the new ReplicaSet. A foreign object of its name makes the hash collide: the next one will differ.
async fn create(
    ctx: &Context,
    key: &Key,
    d: &Deployment,
    set: &ReplicaSet,
) -> Result<(), ReconcileError> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let api = ctx.api::<ReplicaSet>(&key.namespace);
    let made = api.create(&PostParams::default(), set).await;
    match made.attempt(|| format!("creating ReplicaSet {}/{name}", key.namespace)) {
        Ok(made) => {
            ctx.caches.replica_sets.assume(made);
            let message = format!("Scaled up replica set {name} from 0 to {}", size(set));
            if size(set) > 0 {
                ctx.events.record(d, COMPONENT, Kind::Normal, "ScalingReplicaSet", message);
            }
            Ok(())
        }
        Err(error) if error.is_already_exists() => {
            let found = api
                .get_opt(&name)
                .await
                .attempt(|| format!("reading ReplicaSet {}/{name}", key.namespace))?;
            let Some(found) = found else { return Err(error) };
            let ours = owner::controller_of(&found.metadata)
                .is_some_and(|o| Some(&o.uid) == d.metadata.uid.as_ref());
            let template = |s: &ReplicaSet| s.spec.as_ref().and_then(|s| s.template.clone());
            if ours && same_template(template(&found).as_ref(), template(set).as_ref()) {
                ctx.caches.replica_sets.assume(found);
                return Ok(());
            }
            let mut updated = d.clone();
            let status = updated.status.get_or_insert_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            act::write_status(ctx, &ctx.caches.deployments, updated).await?;
            Err(error)
        }
        Err(error) => {
            let message =
                format!("Failed to create new replica set \"{name}\": {}", error.message());
            if !error.is_namespace_terminating() {
                ctx.events.record(d, COMPONENT, Kind::Warning, "ReplicaSetCreateError", message);
            }
            Err(error)
        }
    }
}
