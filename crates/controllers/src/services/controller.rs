//! Writes the conditions of Services, and records events for the same.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Service},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    conditions::{
        self, Difference, ENDPOINTS_READY, LOAD_BALANCER_READY, PROGRAMMED, Say, Verdict,
    },
    endpoints, load_balancer,
    memory::Memory,
    programming::{self, Programming},
    reports::{self, Revisions},
};
use crate::{
    cache::{Change, Key, version},
    context::{self, Context, SERVICE_NAME, of_service},
    endpoints::{selected, selector_of},
    error::Attempt,
    events::Kind,
    queue::{Outcome, Queue},
    selector,
};

const COMPONENT: &str = "service-status-controller";
const CONCURRENCY: usize = 4;
/// Changes of endpoints come in flocks, and soon after their Service: one write says it all.
const GATHER: Duration = Duration::from_millis(100);

#[derive(Default)]
struct State {
    programming: Programming,
    memories: HashMap<Key, Memory>,
    /// Services without ready endpoints: their pods say why.
    unready: BTreeSet<Key>,
}

type Shared = Arc<Mutex<State>>;

/// What of a Service concerns proxies.
fn programs(service: &Service) -> impl PartialEq {
    (
        service.metadata.uid.clone(),
        service.spec.clone(),
        service.status.as_ref().and_then(|s| s.load_balancer.clone()),
        programming::concerns(service),
    )
}

/// Whether a change of a Service can change what is to be said: what we said is none.
fn matters(change: &Change<'_, Service>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else { return true };
    programs(old) != programs(new)
        || old.metadata.finalizers != new.metadata.finalizers
        || conditions::all(old) != conditions::all(new)
}

/// Runs the controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("service_status");
    let state = Shared::default();
    watch_services(ctx, &queue, &state);
    watch_pods(ctx, &queue, &state);
    watch_nodes(ctx, &queue, &state);
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(CONCURRENCY, shutdown, move |key| sync(ctx.clone(), state.clone(), key))
}

fn watch_services(ctx: &Arc<Context>, queue: &Queue<Key>, state: &Shared) {
    let (c, q, s) = (ctx.clone(), queue.clone(), state.clone());
    ctx.caches.services.on_change(move |change| {
        let key = Key::of(&change.latest().metadata);
        match (change.old, change.new) {
            (_, None) => s.lock().programming.forget_service(&key),
            (old, Some(new)) if old.is_none_or(|old| programs(old) != programs(new)) => {
                let cold = !c.caches.services.is_synced();
                // Its slices may have been heard of first.
                let slices = c.caches.slices.group(&of_service(&key.namespace, &key.name));
                let slices = slices.iter().map(|slice| version(&slice.metadata)).max();
                let revisions =
                    Revisions { services: version(&new.metadata), slices: slices.unwrap_or(0) };
                let now = Instant::now();
                s.lock().programming.service_changed(key.clone(), revisions, now, cold);
            }
            _ => {}
        }
        if matters(change) {
            q.add_after(key, GATHER);
        }
    });
    let (c, q, s) = (ctx.clone(), queue.clone(), state.clone());
    ctx.caches.slices.on_change(move |change| {
        let revision = match change.new {
            Some(new) => version(&new.metadata),
            None => c.caches.slices.reached(),
        };
        let mut last = None;
        for slice in change.both() {
            let labels = slice.metadata.labels.as_ref();
            let Some(service) = labels.and_then(|l| l.get(SERVICE_NAME)) else { continue };
            let key = Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service);
            if last.as_ref() == Some(&key) {
                continue;
            }
            s.lock().programming.slice_changed(key.clone(), revision, Instant::now());
            q.add_after(key.clone(), GATHER);
            last = Some(key);
        }
    });
}

fn watch_pods(ctx: &Arc<Context>, queue: &Queue<Key>, state: &Shared) {
    let (c, q, s) = (ctx.clone(), queue.clone(), state.clone());
    ctx.caches.pods.on_change(move |change| {
        let namespace = change.latest().metadata.namespace.as_deref().unwrap_or("");
        let mine = |key: &&Key| {
            let service = c.caches.services.get_key(key);
            service.as_deref().and_then(selector_of).is_some_and(|wanted| {
                change.both().any(|p| selector::matches_map(wanted, &p.metadata.labels))
            })
        };
        let state = s.lock();
        let near = state.unready.range(Key::new(namespace, "")..);
        let near = near.take_while(|key| key.namespace == namespace);
        let concerned: Vec<Key> = near.filter(mine).cloned().collect();
        drop(state);
        concerned.into_iter().for_each(|key| q.add_after(key, GATHER));
    });
}

fn watch_nodes(ctx: &Arc<Context>, queue: &Queue<Key>, state: &Shared) {
    let (c, q, s) = (ctx.clone(), queue.clone(), state.clone());
    ctx.caches.nodes.on_change(move |change| {
        let counts = |node: Option<&Arc<Node>>| node.is_some_and(|n| programming::counts(n));
        if counts(change.old) != counts(change.new) {
            s.lock().programming.waiting().for_each(|key| q.add(key.clone()));
        }
        if let (None, Some(name)) = (change.new, &change.latest().metadata.name) {
            remove_report(&c, name);
        }
    });
    let (c, q, s) = (ctx.clone(), queue.clone(), state.clone());
    ctx.caches.leases.on_change(move |change| {
        let Some(node) = reports::node_of(change.latest()) else { return };
        let mut state = s.lock();
        match change.new {
            Some(lease) => state.programming.report(node, reports::read(lease)),
            None => state.programming.forget_node(node),
        }
        if !c.caches.nodes.is_synced() {
            return;
        }
        let satisfied = state.programming.satisfied(&c.caches.nodes.list());
        drop(state);
        satisfied.into_iter().for_each(|key| q.add(key));
    });
}

/// Removes the report of a node that is gone.
fn remove_report(ctx: &Arc<Context>, node: &str) {
    let leases = ctx.caches.leases.list_in(reports::NAMESPACE);
    let name = leases.iter().find(|l| reports::node_of(l) == Some(node));
    let Some(name) = name.and_then(|l| l.metadata.name.clone()) else { return };
    let api: Api<Lease> = ctx.api(reports::NAMESPACE);
    tokio::spawn(async move {
        if let Err(error) = api.delete(&name, &DeleteParams::default()).await {
            tracing::debug!(%error, lease = name, "the report of a node that is gone was not removed");
        }
    });
}

async fn sync(ctx: Arc<Context>, state: Shared, key: Key) -> Outcome {
    let Some(service) = ctx.caches.services.get_key(&key) else {
        let mut state = state.lock();
        state.memories.remove(&key);
        state.unready.remove(&key);
        state.programming.forget_service(&key);
        return Ok(None);
    };
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let now = Instant::now();
    let (say, mut again) = decide(&ctx, &state, &service, &key, now);
    let mut write = false;
    {
        let mut state = state.lock();
        let memory = state.memories.entry(key.clone()).or_default();
        for (kind, say) in &say {
            let old = conditions::get(&service, kind).map(|c| c.reason.as_str());
            let (telling, later) = memory.tell(kind, say, old, now);
            again = again.into_iter().chain(later).min();
            if let Some(telling) = telling {
                let kind = if telling.warning { Kind::Warning } else { Kind::Normal };
                ctx.events.record(&*service, COMPONENT, kind, telling.reason, telling.message);
            }
        }
        let differences = say
            .iter()
            .map(|(kind, say)| conditions::difference(conditions::get(&service, kind), say));
        let most = differences.max().unwrap_or(Difference::None);
        if most > Difference::None {
            match memory.may_write(most, now) {
                Ok(()) => {
                    memory.wrote(now);
                    write = true;
                }
                Err(later) => again = again.into_iter().chain([later]).min(),
            }
        }
    }
    if write && let Some(patch) = conditions::patch(&service, &say, context::now()) {
        let api = ctx.api::<Service>(&key.namespace);
        let patch = Patch::Strategic(patch);
        let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        let written = written.attempt_opt(|| format!("writing the conditions of Service {key}"))?;
        if let Some(service) = written {
            ctx.caches.services.assume(service);
        }
    }
    Ok(again)
}

/// What is to be said of a Service, and when to look again without being asked.
fn decide(
    ctx: &Context,
    state: &Shared,
    service: &Service,
    key: &Key,
    now: Instant,
) -> (Vec<(&'static str, Say)>, Option<Duration>) {
    let pods = selector_of(service).map(|wanted| selected(ctx, &key.namespace, wanted));
    let slices = ctx.caches.slices.group(&of_service(&key.namespace, &key.name));
    let endpoints = endpoints::decide(service, &pods.unwrap_or_default(), &slices);
    let nodes = ctx.caches.nodes.list();

    let mut state = state.lock();
    match &endpoints {
        Say::This(Verdict { status: "False", .. }) => state.unready.insert(key.clone()),
        _ => state.unready.remove(key),
    };
    let said = conditions::get(service, PROGRAMMED).is_some();
    let (programmed, mut again) = if programming::concerns(service) {
        state.programming.decide(key, &nodes, said, now)
    } else {
        state.programming.forget_service(key);
        (Say::Nothing, None)
    };
    let memory = state.memories.entry(key.clone()).or_default();
    let waited =
        memory.pending.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    // After a restart of ours, it has waited long enough.
    let long_ago = conditions::get(service, LOAD_BALANCER_READY)
        .is_some_and(|c| c.reason == "NoController")
        .then_some(load_balancer::PATIENCE);
    let waited = waited.max(long_ago.unwrap_or_default());
    let balancer = load_balancer::decide(service, waited);
    match &balancer {
        Say::This(Verdict { reason: "Pending", .. }) => {
            memory.pending.get_or_insert(now);
            let left = load_balancer::PATIENCE.saturating_sub(waited);
            again = again.into_iter().chain((!left.is_zero()).then_some(left)).min();
        }
        Say::This(Verdict { status: "True", .. }) | Say::Nothing => memory.pending = None,
        _ => {}
    }
    let say = vec![
        (ENDPOINTS_READY, endpoints),
        (PROGRAMMED, programmed),
        (LOAD_BALANCER_READY, balancer),
    ];
    (say, again)
}
