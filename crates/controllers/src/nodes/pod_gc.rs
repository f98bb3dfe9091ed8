//! Pods that nobody cares for any more: on nodes that are gone, deleted before they had a node, and
//! ended ones beyond the threshold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};

use crate::{
    cache::Key,
    context::Context,
    error::{Attempt, ReconcileError},
    pod,
    queue::Outcome,
};

/// How long a node must be gone before its pods go: it may be registering anew.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The oldest ended pods beyond the threshold.
fn surplus(pods: &[Arc<Pod>], threshold: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<_> =
        pods.iter().filter(|p| pod::is_terminal(p) && !pod::is_terminating(p)).cloned().collect();
    ended.sort_by_key(|p| (p.metadata.creation_timestamp.clone(), Key::of(&p.metadata)));
    let over = ended.len().saturating_sub(threshold);
    ended.truncate(over);
    ended
}

/// Runs the pod garbage collector.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("pod_gc");
    let (c, q) = (ctx.clone(), queue.clone());
    let ended = Arc::new(AtomicUsize::new(0));
    ctx.caches.pods.on_change(move |change| {
        let over = |p: Option<&Arc<Pod>>| p.is_some_and(|p| pod::is_terminal(p));
        match (over(change.old), over(change.new)) {
            (false, true) => {
                let now = ended.fetch_add(1, Ordering::Relaxed) + 1;
                if now > c.config.terminated_pod_gc_threshold {
                    for of in surplus(&c.caches.pods.list(), c.config.terminated_pod_gc_threshold) {
                        q.add(Key::of(&of.metadata));
                    }
                }
            }
            (true, false) => {
                ended.fetch_sub(1, Ordering::Relaxed);
            }
            _ => (),
        }
        let Some(new) = change.new else { return };
        match pod::node_name(new) {
            None if pod::is_terminating(new) => q.add(Key::of(&new.metadata)),
            Some(node) if c.caches.nodes.is_synced() && c.caches.nodes.get("", node).is_none() => {
                q.add_after(Key::of(&new.metadata), QUARANTINE);
            }
            _ => (),
        }
    });
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.nodes.on_change(move |change| {
        if change.new.is_none() {
            let name = change.latest().metadata.name.as_deref().unwrap_or("");
            for of in c.caches.pods.group(&pod::by_node(name)) {
                q.add_after(Key::of(&of.metadata), QUARANTINE);
            }
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.clone().run(4, shutdown, move |key| {
        let ctx = ctx.clone();
        async move { sync(&ctx, &key).await }
    })
}

async fn sync(ctx: &Context, key: &Key) -> Outcome {
    let Some(of) = ctx.caches.pods.get_key(key) else { return Ok(None) };
    let reason = match pod::node_name(&of) {
        None if pod::is_terminating(&of) => "it was deleted before it had a node",
        None => return Ok(None),
        Some(node) if ctx.caches.nodes.get("", node).is_none() => {
            let api: Api<Node> = Api::all(ctx.client.clone());
            let found =
                api.get_metadata_opt(node).await.attempt(|| format!("looking for Node {node}"))?;
            if found.is_some() {
                return Ok(None);
            }
            "its node is gone"
        }
        Some(_) if !pod::is_terminal(&of) => return Ok(None),
        Some(_) => {
            let over = surplus(&ctx.caches.pods.list(), ctx.config.terminated_pod_gc_threshold);
            if !over.iter().any(|p| p.metadata.uid == of.metadata.uid) {
                return Ok(None);
            }
            "too many pods have ended"
        }
    };
    tracing::info!(pod = %key, reason, "deleting pod");
    force_delete(ctx, key, &of).await?;
    Ok(None)
}

async fn force_delete(ctx: &Context, key: &Key, of: &Pod) -> Result<(), ReconcileError> {
    let api = ctx.api::<Pod>(&key.namespace);
    if !pod::is_terminal(of) {
        let patch = serde_json::json!({"metadata": {"uid": of.metadata.uid}, "status": {"phase": "Failed"}});
        let patched =
            api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        patched.attempt_opt(|| format!("marking Pod {key} failed"))?;
    }
    let preconditions = Preconditions { uid: of.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }
        .preconditions(preconditions);
    api.delete(&key.name, &params).await.attempt_opt(|| format!("deleting Pod {key}"))?;
    ctx.caches.pods.assume_removed(key, of.metadata.uid.as_deref().unwrap_or(""));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_oldest_ended_pods_go() {
        let of = |name: &str, phase: &str, age: i64| -> Arc<Pod> {
            let created = jiff::Timestamp::from_second(1_800_000_000 - age).unwrap();
            let meta = json!({"name": name, "creationTimestamp": created.to_string()});
            Arc::new(
                serde_json::from_value(json!({"metadata": meta, "status": {"phase": phase}}))
                    .unwrap(),
            )
        };
        let pods = [
            of("a", "Succeeded", 1),
            of("b", "Failed", 3),
            of("c", "Running", 9),
            of("d", "Succeeded", 2),
        ];
        let names: Vec<_> =
            surplus(&pods, 1).iter().map(|p| p.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["b", "d"]);
        assert!(surplus(&pods, 3).is_empty());
    }
}
