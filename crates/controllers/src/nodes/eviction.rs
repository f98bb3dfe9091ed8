//! Taint-based eviction: pods that do not tolerate a `NoExecute` taint of their node are deleted, at once
//! or after the time for which they do.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use crate::{
    cache::Key,
    context::{self, Context},
    events::Kind,
    pod,
    queue::Outcome,
    taints,
    workloads::act,
};

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    For(Duration),
}

fn executing(node: &Node) -> impl Iterator<Item = &Taint> {
    taints::of(node).iter().filter(|t| t.effect == "NoExecute")
}

/// How long a pod may stay on its node from now on.
fn stay(of: &Pod, node: &Node, now: Timestamp) -> Stay {
    let tolerations = pod::spec(of).tolerations.as_deref().unwrap_or_default();
    let mut shortest = Stay::Forever;
    for taint in executing(node) {
        let accepting: Vec<_> =
            tolerations.iter().filter(|t| taints::tolerates(t, taint)).collect();
        if accepting.is_empty() {
            return Stay::For(Duration::ZERO);
        }
        let Some(seconds) = accepting.iter().filter_map(|t| t.toleration_seconds).min() else {
            continue;
        };
        let since = taint.time_added.as_ref().map_or(now, |t| t.0);
        let left = seconds.max(0).saturating_sub(now.as_second() - since.as_second());
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        shortest = match shortest {
            Stay::Forever => Stay::For(left),
            Stay::For(other) => Stay::For(other.min(left)),
        };
    }
    shortest
}

/// Runs the evictor.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("noexec_taint_pod");
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.nodes.on_change(move |change| {
        let taints = |n: &Arc<Node>| executing(n).cloned().collect::<Vec<_>>();
        let (old, new) = (
            change.old.map(taints).unwrap_or_default(),
            change.new.map(taints).unwrap_or_default(),
        );
        if old != new {
            let name = change.latest().metadata.name.as_deref().unwrap_or("");
            for of in c.caches.pods.group(&pod::by_node(name)) {
                q.add(Key::of(&of.metadata));
            }
        }
    });
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        let Some(new) = change.new else { return };
        let came = change.old.is_none_or(|old| pod::node_name(old) != pod::node_name(new));
        let node = pod::node_name(new).filter(|_| came).and_then(|n| c.caches.nodes.get("", n));
        if node.is_some_and(|n| executing(&n).next().is_some()) {
            q.add(Key::of(&new.metadata));
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(8, shutdown, move |key| sync(ctx.clone(), key))
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(of) = ctx.caches.pods.get_key(&key).filter(|p| pod::is_active(p)) else {
        return Ok(None);
    };
    let Some(node) = pod::node_name(&of).and_then(|n| ctx.caches.nodes.get("", n)) else {
        return Ok(None);
    };
    match stay(&of, &node, context::now()) {
        Stay::Forever => Ok(None),
        Stay::For(time) if !time.is_zero() => Ok(Some(time)),
        Stay::For(_) => {
            let message = format!("Marking for deletion Pod {key}");
            ctx.events.record(
                &*of,
                "taint-eviction-controller",
                Kind::Normal,
                "TaintManagerEviction",
                message,
            );
            act::delete(&ctx, &ctx.caches.pods, &*of).await?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_shortest_toleration_counts() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let added = "2027-01-15T07:58:20Z"; // 100 s before
        assert_eq!(now.as_second() - added.parse::<Timestamp>().unwrap().as_second(), 100);
        let node: Node = serde_json::from_value(json!({"spec": {"taints": [
            {"key": "a", "effect": "NoExecute", "timeAdded": added}, {"key": "b", "effect": "NoSchedule"},
        ]}}))
        .unwrap();
        let of = |tolerations: Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}}))
                .unwrap()
        };
        let tolerate = |seconds: Value| json!([{"key": "a", "operator": "Exists", "tolerationSeconds": seconds}]);
        assert_eq!(stay(&of(json!([])), &node, now), Stay::For(Duration::ZERO));
        assert_eq!(
            stay(&of(tolerate(json!(300))), &node, now),
            Stay::For(Duration::from_secs(200))
        );
        assert_eq!(stay(&of(tolerate(json!(50))), &node, now), Stay::For(Duration::ZERO));
        assert_eq!(stay(&of(tolerate(Value::Null)), &node, now), Stay::Forever);
        assert_eq!(stay(&of(json!([])), &Node::default(), now), Stay::Forever);
    }
}
