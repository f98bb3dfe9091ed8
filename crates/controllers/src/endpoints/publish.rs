//! The controllers that publish the pods a Service selects: Endpoints, and EndpointSlices.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Endpoints, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::api::{DeleteParams, PostParams, Preconditions};

use parking_lot::Mutex;

use super::{
    hints::{self, Hints},
    object, slice, slices, topology,
};
use crate::{
    cache::{Change, Key},
    context::{Context, of_service},
    error::{Attempt, ReconcileError},
    events::Kind,
    owner,
    queue::{Outcome, Queue},
    selector,
};

const MANAGER: &str = "endpointslice-controller.k8s.io";
const COMPONENT: &str = "endpoint-slice-controller";
const MAX_ENDPOINTS: usize = 100;
/// Writes under way at the same time.
const CONCURRENCY: usize = 8;

/// The label by which topology names a node's zone.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

fn zone(node: &Node) -> Option<String> {
    node.metadata.labels.as_ref().and_then(|l| l.get(ZONE)).cloned()
}

/// A Service's selector, if it has one that counts: ExternalName Services select nothing.
pub(crate) fn selector_of(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|s| !s.is_empty())
}

/// Whether the change of a pod can change what is published: heartbeats of other fields are most events.
fn matters(old: &Pod, new: &Pod) -> bool {
    let view = |p: &Pod| {
        let spec = crate::pod::spec(p);
        let status = crate::pod::status(p);
        (
            p.metadata.uid.clone(),
            crate::pod::is_terminating(p),
            crate::pod::is_terminal(p),
            crate::pod::is_ready(p),
            status.pod_ip.clone(),
            status.pod_ips.clone(),
            spec.node_name.clone(),
            spec.hostname.clone(),
            spec.subdomain.clone(),
        )
    };
    view(old) != view(new) || old.metadata.labels != new.metadata.labels
}

/// Whether the change of a Service can change what is published: statuses do not.
fn concerns(change: &Change<'_, Service>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else { return true };
    let view = |s: &Service| {
        (s.metadata.uid.clone(), s.metadata.deletion_timestamp.clone(), s.spec.clone())
    };
    view(old) != view(new)
        || old.metadata.labels != new.metadata.labels
        || old.metadata.annotations != new.metadata.annotations
}

fn watch(ctx: &Arc<Context>, queue: &Queue<Key>) {
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        if let (Some(old), Some(new)) = (change.old, change.new)
            && !matters(old, new)
        {
            return;
        }
        let namespace = change.latest().metadata.namespace.as_deref().unwrap_or("");
        for service in c.caches.services.list_in(namespace) {
            let selects = |s: &BTreeMap<String, String>| {
                change.both().any(|p| selector::matches_map(s, &p.metadata.labels))
            };
            if selector_of(&service).is_some_and(selects) {
                q.add(Key::of(&service.metadata));
            }
        }
    });
    let q = queue.clone();
    ctx.caches.services.on_change(move |change| {
        if concerns(change) {
            q.add(Key::of(&change.latest().metadata));
        }
    });
}

/// The pods that a Service selects, sorted by name.
pub(crate) fn selected(
    ctx: &Context,
    namespace: &str,
    wanted: &BTreeMap<String, String>,
) -> Vec<Arc<Pod>> {
    let mut pods = ctx.caches.pods.list_in(namespace);
    pods.retain(|p| selector::matches_map(wanted, &p.metadata.labels));
    pods
}

/// Services that were deleted while we watched, whose Endpoints are still to go.
type Deleted = Mutex<HashSet<Key>>;

/// Runs the Endpoints controller.
pub fn endpoints(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("endpoint");
    let deleted: Arc<Deleted> = Arc::default();
    let d = deleted.clone();
    // Before the handler that asks for the work.
    ctx.caches.services.on_change(move |change| {
        let key = Key::of(&change.latest().metadata);
        if change.new.is_none() {
            d.lock().insert(key);
        } else {
            d.lock().remove(&key);
        }
    });
    watch(ctx, &queue);
    let q = queue.clone();
    ctx.caches.endpoints.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(CONCURRENCY, shutdown, move |key| sync_endpoints(ctx.clone(), deleted.clone(), key))
}

async fn sync_endpoints(ctx: Arc<Context>, deleted: Arc<Deleted>, key: Key) -> Outcome {
    let api = ctx.api::<Endpoints>(&key.namespace);
    let existing = ctx.caches.endpoints.get_key(&key);
    let Some(service) = ctx.caches.services.get_key(&key) else {
        // The Endpoints of a Service go with it, hand-written ones too. Without having seen it go, only those
        // that we wrote: others may be waiting for their Service, or need none.
        let mut due = deleted.lock().contains(&key);
        due |= existing.as_ref().is_some_and(|e| object::is_managed(e));
        if let Some(existing) = existing.filter(|_| due) {
            let preconditions =
                Preconditions { uid: existing.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams::default().preconditions(preconditions);
            api.delete(&key.name, &params)
                .await
                .attempt_opt(|| format!("deleting Endpoints {key}"))?;
        }
        deleted.lock().remove(&key);
        return Ok(None);
    };
    let Some(wanted) = selector_of(&service) else { return Ok(None) };
    let pods = selected(&ctx, &key.namespace, wanted);
    let written = match object::plan(&service, &pods, existing.as_deref()) {
        None => return Ok(None),
        Some(object::Action::Create(endpoints)) => {
            let made = api.create(&PostParams::default(), &endpoints).await;
            made.attempt(|| format!("creating Endpoints {key}"))
        }
        Some(object::Action::Update(endpoints)) => {
            let made = api.replace(&key.name, &PostParams::default(), &endpoints).await;
            made.attempt(|| format!("updating Endpoints {key}"))
        }
    };
    match written {
        Ok(endpoints) => {
            ctx.caches.endpoints.assume(endpoints);
            Ok(None)
        }
        Err(error) if error.is_namespace_terminating() => Ok(None),
        Err(error) => {
            if !error.is_conflict() {
                let reason = if existing.is_some() {
                    "FailedToUpdateEndpoint"
                } else {
                    "FailedToCreateEndpoint"
                };
                let message = format!("Failed to update endpoint {key}: {}", error.message());
                ctx.events.record(&*service, "endpoint-controller", Kind::Warning, reason, message);
            }
            Err(error)
        }
    }
}

/// Runs the EndpointSlice controller.
pub fn endpoint_slices(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("endpoint_slice");
    watch(ctx, &queue);
    let q = queue.clone();
    ctx.caches.slices.on_change(move |change| {
        for slice in change.both().filter(|s| is_managed(s)) {
            if let Some(service) =
                slice.metadata.labels.as_ref().and_then(|l| l.get(crate::context::SERVICE_NAME))
            {
                q.add(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service));
            }
        }
    });
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.nodes.on_change(move |change| {
        if change.old.map(|n| topology::weight(n)) != change.new.map(|n| topology::weight(n)) {
            let all = c.caches.services.list();
            let asking = all.iter().filter(|s| hints::by_capacity(s));
            asking.for_each(|service| q.add(Key::of(&service.metadata)));
        }
        if change.old.map(|n| zone(n)) == change.new.map(|n| zone(n)) {
            return;
        }
        let name = change.latest().metadata.name.clone().unwrap_or_default();
        for pod in c.caches.pods.group(&crate::pod::by_node(&name)) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
            for service in c.caches.services.list_in(namespace) {
                if selector_of(&service)
                    .is_some_and(|s| selector::matches_map(s, &pod.metadata.labels))
                {
                    q.add(Key::of(&service.metadata));
                }
            }
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    let told: Arc<Told> = Arc::default();
    queue.run(CONCURRENCY, shutdown, move |key| sync_slices(ctx.clone(), told.clone(), key))
}

fn is_managed(slice: &EndpointSlice) -> bool {
    slice
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(slices::MANAGED_BY))
        .is_some_and(|m| m == MANAGER)
}

fn shape(service: &Service, hints: Hints) -> slices::Shape {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(object::HEADLESS);
    if object::is_headless(service) {
        labels.insert(object::HEADLESS.into(), String::new());
    }
    let meta = &service.metadata;
    slices::Shape {
        namespace: meta.namespace.clone().unwrap_or_default(),
        service: meta.name.clone().unwrap_or_default(),
        managed_by: MANAGER,
        labels,
        annotations: None,
        owner: owner::controller_ref::<Service>(service),
        adopts: false,
        grows: meta.deletion_timestamp.is_none(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        max: MAX_ENDPOINTS,
        hints,
    }
}

/// What was last said of a Service's hints by capacity, for each address type.
type Told = Mutex<HashMap<Key, BTreeMap<&'static str, Result<(), String>>>>;

async fn sync_slices(ctx: Arc<Context>, told: Arc<Told>, key: Key) -> Outcome {
    // Without the Service, its slices go by their owner reference.
    let Some(service) = ctx.caches.services.get_key(&key) else {
        told.lock().remove(&key);
        return Ok(None);
    };
    let Some(wanted) = selector_of(&service) else { return Ok(None) };
    let pods = selected(&ctx, &key.namespace, wanted);
    let zone_of = |name: &str| ctx.caches.nodes.get("", name).map(|n| zone(&n));
    let wanted = slice::wanted(&service, &pods, &zone_of);
    if wanted.homeless > 0 {
        tracing::debug!(service = %key, pods = wanted.homeless, "pods left out until their nodes are known");
    }
    let mut existing = ctx.caches.slices.group(&of_service(&key.namespace, &key.name));
    existing.retain(|s| is_managed(s));
    let shares = || topology::shares(ctx.caches.nodes.list().iter().map(|node| &**node));
    let shape = shape(&service, hints::of(&service, shares));
    let planned = slices::plan(&shape, &wanted, &existing);
    let written = write(&ctx, planned.actions).await;
    if written.is_ok() {
        tell_of_hints(&ctx, &told, &service, &existing, planned.hints);
    }
    match written {
        Err(error) if error.is_namespace_terminating() => Ok(None),
        Err(error) if error.is_conflict() => Err(error),
        Err(error) => {
            let message =
                format!("Error updating Endpoint Slices for Service {key}: {}", error.message());
            let reason = "FailedToUpdateEndpointSlices";
            ctx.events.record(&*service, COMPONENT, Kind::Warning, reason, message);
            Err(error)
        }
        Ok(()) => Ok(None),
    }
}

/// Says on the Service what became of its hints by capacity, when that changes.
fn tell_of_hints(
    ctx: &Context,
    told: &Told,
    service: &Service,
    existing: &[Arc<EndpointSlice>],
    hints: BTreeMap<&'static str, Result<(), String>>,
) {
    let mut told = told.lock();
    let key = Key::of(&service.metadata);
    let before = told.remove(&key).unwrap_or_default();
    let say = |kind, reason, message: String, address_type| {
        let message = format!("{message}, addressType: {address_type}");
        ctx.events.record(service, COMPONENT, kind, reason, message);
    };
    let enabled = "TopologyAwareHintsEnabled";
    let disabled = "TopologyAwareHintsDisabled";
    for (address_type, now) in hints.iter().filter(|(of, now)| before.get(*of) != Some(now)) {
        let mine = existing.iter().filter(|s| s.address_type == *address_type);
        match now {
            // After a restart of ours, the slices tell that it was said.
            Ok(())
                if !before.contains_key(address_type)
                    && !hints::given(mine.map(|s| &**s)).is_empty() => {}
            Ok(()) => {
                let message = "Topology Aware Hints has been enabled".to_owned();
                say(Kind::Normal, enabled, message, address_type);
            }
            Err(why) => say(Kind::Warning, disabled, why.clone(), address_type),
        }
    }
    for (address_type, _) in
        before.iter().filter(|(of, was)| was.is_ok() && !hints.contains_key(*of))
    {
        let message = "Topology Aware Hints has been disabled".to_owned();
        say(Kind::Warning, disabled, message, address_type);
    }
    if !hints.is_empty() {
        told.insert(key, hints);
    }
}

/// Writes slices; the cache learns of each write at once.
pub(super) async fn write(
    ctx: &Context,
    actions: Vec<slices::Action>,
) -> Result<(), ReconcileError> {
    for action in actions {
        match action {
            slices::Action::Create(slice) => {
                let namespace = slice.metadata.namespace.clone().unwrap_or_default();
                let made = ctx
                    .api::<EndpointSlice>(&namespace)
                    .create(&PostParams::default(), &slice)
                    .await;
                let prefix = slice.metadata.generate_name.as_deref().unwrap_or_default();
                ctx.caches.slices.assume(
                    made.attempt(|| format!("creating EndpointSlice {namespace}/{prefix}"))?,
                );
            }
            slices::Action::Update(slice) => {
                let key = Key::of(&slice.metadata);
                let api = ctx.api::<EndpointSlice>(&key.namespace);
                let made = api.replace(&key.name, &PostParams::default(), &slice).await;
                ctx.caches.slices.assume(made.attempt(|| format!("updating EndpointSlice {key}"))?);
            }
            slices::Action::Delete(slice) => {
                let key = Key::of(&slice.metadata);
                let uid = slice.metadata.uid.clone().unwrap_or_default();
                let preconditions =
                    Preconditions { uid: Some(uid.clone()), resource_version: None };
                let params = DeleteParams::default().preconditions(preconditions);
                let done =
                    ctx.api::<EndpointSlice>(&key.namespace).delete(&key.name, &params).await;
                done.attempt_opt(|| format!("deleting EndpointSlice {key}"))?;
                ctx.caches.slices.assume_removed(&key, &uid);
            }
        }
    }
    Ok(())
}
