//! The thin layer: takes pods without a node, decides, binds; tries those that fit nowhere again when
//! something changed that could help.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Binding, Node, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;

use super::{Place, View, decide};
use crate::{
    cache::Key,
    context::{self, Context},
    error::Attempt,
    events::Kind,
    pod,
    queue::Outcome,
};

const COMPONENT: &str = "default-scheduler";

/// Pods bound by us of which the watch has not told yet: uid to node; and pods that fit nowhere.
#[derive(Debug, Default)]
struct Memory {
    bound: HashMap<String, String>,
    waiting: HashSet<Key>,
}

fn is_ours(of: &Pod) -> bool {
    let spec = pod::spec(of);
    pod::node_name(of).is_none()
        && pod::is_active(of)
        && matches!(spec.scheduler_name.as_deref(), None | Some("" | "default-scheduler"))
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
}

/// What of a node decides where pods can go.
fn matters(old: &Node, new: &Node) -> bool {
    let allocatable = |n: &Node| n.status.as_ref().and_then(|s| s.allocatable.clone());
    let spec = |n: &Node| n.spec.as_ref().map(|s| (s.taints.clone(), s.unschedulable));
    old.metadata.labels != new.metadata.labels
        || spec(old) != spec(new)
        || allocatable(old) != allocatable(new)
}

/// Runs the scheduler.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("scheduler");
    let memory = Arc::new(Mutex::new(Memory::default()));
    let (q, m) = (queue.clone(), memory.clone());
    let try_again = move || {
        for key in m.lock().waiting.drain() {
            q.add(key);
        }
    };
    let (q, m, again) = (queue.clone(), memory.clone(), try_again.clone());
    ctx.caches.pods.on_change(move |change| {
        let latest = change.latest();
        let gone = change.new.is_none_or(|p| pod::is_terminal(p));
        let placed = pod::node_name(latest).is_some();
        if gone || placed {
            let mut memory = m.lock();
            memory.bound.remove(latest.metadata.uid.as_deref().unwrap_or(""));
            if gone {
                memory.waiting.remove(&Key::of(&latest.metadata));
            }
        }
        match (change.old, change.new) {
            (_, Some(new)) if is_ours(new) => {
                let same = |old: &Arc<Pod>| {
                    old.spec == new.spec && old.metadata.labels == new.metadata.labels
                };
                if change.old.is_none_or(|old| !same(old)) {
                    q.add(Key::of(&new.metadata));
                }
            }
            // Room is made, or a neighbour has come that somebody waits for.
            (Some(old), Some(new))
                if placed
                    && (gone
                        || pod::node_name(old).is_none()
                        || old.metadata.labels != new.metadata.labels) =>
            {
                again();
            }
            (None, Some(_)) | (Some(_), None) if placed => again(),
            _ => (),
        }
    });
    let again = try_again.clone();
    ctx.caches.nodes.on_change(move |change| {
        let news = match (change.old, change.new) {
            (Some(old), Some(new)) => matters(old, new),
            (None, new) => new.is_some(),
            (Some(_), None) => false,
        };
        if news {
            again();
        }
    });
    let again = try_again;
    ctx.caches.namespaces.on_change(move |_| again());
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(16, shutdown, move |key| schedule(ctx.clone(), memory.clone(), key))
}

fn view(ctx: &Context, memory: &Memory, of: &Pod) -> View {
    let caches = &ctx.caches;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for node in caches.nodes.list().into_iter().filter(|n| n.metadata.deletion_timestamp.is_none())
    {
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut pods = caches.pods.group(&pod::by_node(&name));
        pods.retain(|p| !pod::is_terminal(p));
        places.insert(name, Place { node, pods });
    }
    if !memory.bound.is_empty() {
        for other in caches.pods.group("unassigned") {
            let node = memory.bound.get(other.metadata.uid.as_deref().unwrap_or(""));
            if let Some(place) = node.and_then(|n| places.get_mut(n)) {
                place.pods.push(other);
            }
        }
    }
    let api_servers = caches.endpoints.get("default", "kubernetes");
    let api_servers = api_servers.iter().flat_map(|e| e.subsets.iter().flatten());
    let api_servers =
        api_servers.flat_map(|s| s.addresses.iter().flatten()).map(|a| a.ip.clone()).collect();
    View {
        api_servers,
        places: places.into_values().collect(),
        namespaces: caches.namespaces.list(),
        services: caches.services.list_in(of.metadata.namespace.as_deref().unwrap_or("")),
    }
}

async fn schedule(ctx: Arc<Context>, memory: Arc<Mutex<Memory>>, key: Key) -> Outcome {
    let Some(of) = ctx.caches.pods.get_key(&key).filter(|p| is_ours(p)) else { return Ok(None) };
    let uid = of.metadata.uid.clone().unwrap_or_default();
    let decision = {
        let mut memory = memory.lock();
        if memory.bound.contains_key(&uid) {
            return Ok(None);
        }
        let decision = decide(&view(&ctx, &memory, &of), &of);
        match &decision {
            Ok(node) => {
                memory.bound.insert(uid.clone(), node.clone());
            }
            Err(_) => {
                memory.waiting.insert(key.clone());
            }
        }
        decision
    };
    match decision {
        Ok(node) => {
            let bound = bind(&ctx, &key, &of, &node).await;
            if bound.is_err() {
                memory.lock().bound.remove(&uid);
            }
            match bound {
                Err(error) if error.is_not_found() => Ok(None),
                other => other.map(|()| None),
            }
        }
        Err(message) => tell(&ctx, &key, &of, &message).await,
    }
}

async fn bind(
    ctx: &Context,
    key: &Key,
    of: &Pod,
    node: &str,
) -> Result<(), crate::error::ReconcileError> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: of.metadata.uid.clone(),
            ..Default::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.into()),
            ..Default::default()
        },
    };
    let api = ctx.api::<Pod>(&key.namespace);
    let params = PostParams::default();
    let answer = api
        .create_subresource::<Binding, serde_json::Value>("binding", &key.name, &params, &binding)
        .await;
    answer.attempt(|| format!("binding Pod {key} to Node {node}"))?;
    let message = format!("Successfully assigned {key} to {node}");
    ctx.events.record(of, COMPONENT, Kind::Normal, "Scheduled", message);
    Ok(())
}

/// Says that a pod fits nowhere, if that is news.
async fn tell(ctx: &Context, key: &Key, of: &Pod, message: &str) -> Outcome {
    ctx.events.record(of, COMPONENT, Kind::Warning, "FailedScheduling", message);
    let old = pod::condition(of, "PodScheduled");
    if old.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(message)) {
        return Ok(None);
    }
    let since = old.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.clone());
    let patch = serde_json::json!({
        "metadata": {"uid": of.metadata.uid},
        "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": since.unwrap_or(Time(context::now())),
        }]},
    });
    let api = ctx.api::<Pod>(&key.namespace);
    let patched =
        api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    patched.attempt_opt(|| format!("writing the status of Pod {key}"))?;
    Ok(None)
}
