//! Node health: a node that renews neither its Lease nor its status is unreachable.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::health_plan::{condition, ready, taints, unknown};
use crate::{
    cache::Key,
    context::{self, Context},
    error::{Attempt, ReconcileError},
    events::Kind,
    pod,
    queue::Outcome,
};

const LEASES: &str = "kube-node-lease";
const COMPONENT: &str = "node-controller";

/// The last sign of life of a node, and when we saw it by our own clock.
#[derive(Clone, Debug, PartialEq)]
struct Sign {
    renewed: Option<MicroTime>,
    heartbeat: Option<Time>,
}

type Signs = Mutex<HashMap<String, (Sign, Instant)>>;

fn renewed(lease: Option<&Lease>) -> Option<MicroTime> {
    lease?.spec.as_ref()?.renew_time.clone()
}

/// Runs the health controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("node_lifecycle_controller");
    let signs: Arc<Signs> = Arc::default();
    let q = queue.clone();
    ctx.caches.nodes.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let (q, s) = (queue.clone(), signs.clone());
    ctx.caches.leases.on_change(move |change| {
        let meta = &change.latest().metadata;
        if meta.namespace.as_deref() == Some(LEASES)
            && let Some(name) = &meta.name
        {
            // A heartbeat of a node known to be well needs no work, only the note that it came.
            let mut signs = s.lock();
            if let Some((sign, at)) = signs.get_mut(name) {
                let renewed = renewed(change.new.map(|l| &**l));
                if renewed.is_some() && renewed != sign.renewed {
                    sign.renewed = renewed;
                    *at = Instant::now();
                }
            } else {
                q.add(Key::new("", name));
            }
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(4, shutdown, move |key| sync(ctx.clone(), signs.clone(), key))
}

async fn sync(ctx: Arc<Context>, signs: Arc<Signs>, key: Key) -> Outcome {
    let Some(node) = ctx.caches.nodes.get_key(&key) else {
        signs.lock().remove(&key.name);
        return Ok(None);
    };
    let sign = Sign {
        renewed: renewed(ctx.caches.leases.get(LEASES, &key.name).as_deref()),
        heartbeat: condition(&node, "Ready").and_then(|c| c.last_heartbeat_time.clone()),
    };
    let silent = {
        let mut signs = signs.lock();
        let seen = signs.entry(key.name.clone()).or_insert_with(|| (sign.clone(), Instant::now()));
        if seen.0 != sign {
            *seen = (sign, Instant::now());
        }
        seen.1.elapsed()
    };
    let config = &ctx.config;
    let new = condition(&node, "Ready").is_none();
    let grace =
        if new { config.node_startup_grace_period } else { config.node_monitor_grace_period };
    let node = if silent >= grace { fall_silent(&ctx, &key, node).await? } else { node };
    if ready(&node) == Some("Unknown") {
        mark_pods(&ctx, &key.name).await?;
    }
    if let Some(taints) = taints(&node, context::now()) {
        let patch = serde_json::json!({
            "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        });
        let api: Api<Node> = Api::all(ctx.client.clone());
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        if let Some(patched) = patched.attempt_opt(|| format!("tainting Node {key}"))? {
            ctx.caches.nodes.assume(patched);
        }
    }
    // While it is silent, the next word from it is an event.
    Ok((silent < grace).then(|| grace - silent))
}

async fn fall_silent(
    ctx: &Context,
    key: &Key,
    node: Arc<Node>,
) -> Result<Arc<Node>, ReconcileError> {
    let conditions = unknown(&node, context::now());
    if conditions.is_empty() {
        return Ok(node);
    }
    let was_ready = ready(&node) == Some("True");
    let patch = serde_json::json!({
        "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
        "status": {"conditions": conditions},
    });
    let api: Api<Node> = Api::all(ctx.client.clone());
    let patched =
        api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    let Some(patched) = patched.attempt_opt(|| format!("writing the status of Node {key}"))? else {
        return Ok(node);
    };
    tracing::warn!(node = %key, "node fell silent: its pods take no traffic until it is back");
    if was_ready {
        let message = format!("Node {} status is now: NodeNotReady", key.name);
        ctx.events.record(&*node, COMPONENT, Kind::Normal, "NodeNotReady", message);
    }
    ctx.caches.nodes.assume(patched);
    Ok(ctx.caches.nodes.get_key(key).unwrap_or(node))
}

/// Takes readiness from the pods of a silent node, so that Services send nothing there.
async fn mark_pods(ctx: &Context, node: &str) -> Result<(), ReconcileError> {
    let pods = ctx.caches.pods.group(&pod::by_node(node));
    let mut first = Ok(());
    for of in pods.iter().filter(|p| pod::is_ready(p)) {
        let key = Key::of(&of.metadata);
        let condition = serde_json::json!([{
            "type": "Ready", "status": "False", "lastTransitionTime": Time(context::now()),
        }]);
        let patch = serde_json::json!({"metadata": {"uid": of.metadata.uid}, "status": {"conditions": condition}});
        let api = ctx.api::<Pod>(&key.namespace);
        let patched =
            api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        match patched.attempt_opt(|| format!("marking Pod {key} not ready")) {
            Ok(Some(patched)) => {
                ctx.events.record(
                    &**of,
                    COMPONENT,
                    Kind::Warning,
                    "NodeNotReady",
                    "Node is not ready",
                );
                ctx.caches.pods.assume(patched);
            }
            Ok(None) => (),
            Err(error) => first = first.and(Err(error)),
        }
    }
    first
}
