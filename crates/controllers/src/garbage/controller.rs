//! The thin layer: every watched resource feeds the graph; what the graph points at is looked at, decided, done.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{ApiResource, PartialObjectMeta},
    runtime::watcher,
};
use parking_lot::RwLock;
use tokio::task::JoinSet;

use super::{
    decide::{Dependents, Owner, Verdict, decide},
    discovery::{Discovered, discover},
    graph::{FOREGROUND, Graph, Node, ORPHAN, waits},
};
use crate::{
    cache::{Cache, Key},
    context::{Context, trim_meta},
    error::{Attempt, ReconcileError},
    queue::{Outcome, Queue},
};

type Metadata = PartialObjectMeta<DynamicObject>;
/// Looks into the cache of one resource for the uid of an object, and whether it waits for its dependents.
type Lookup = Box<dyn Fn(&Key) -> Option<(String, bool)> + Send + Sync>;

/// One watched resource.
struct Source {
    resource: ApiResource,
    namespaced: bool,
    lookup: Lookup,
}

/// What the collector knows.
struct Collector {
    ctx: Arc<Context>,
    graph: Graph,
    sources: RwLock<Vec<Source>>,
    queue: Queue<String>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("graph", &self.graph).finish_non_exhaustive()
    }
}

fn attach<K: Resource + Send + Sync + 'static>(
    collector: &Arc<Collector>,
    cache: &Arc<Cache<K>>,
    resource: ApiResource,
    namespaced: bool,
) {
    let number = {
        let mut sources = collector.sources.write();
        let cache = cache.clone();
        let lookup: Lookup = Box::new(move |key| {
            let found = cache.get_key(key)?;
            let meta = found.meta();
            Some((meta.uid.clone()?, waits(meta) == Some(FOREGROUND)))
        });
        sources.push(Source { resource, namespaced, lookup });
        sources.len() - 1
    };
    let weak = Arc::downgrade(collector);
    cache.on_change(move |change| {
        let Some(collector) = weak.upgrade() else { return };
        let look = match (change.new, change.old) {
            (Some(new), _) => collector.graph.put(number, new.meta()),
            (None, Some(old)) => collector.graph.remove(old.meta()),
            (None, None) => Vec::new(),
        };
        for uid in look {
            collector.queue.add(uid);
        }
    });
}

/// Runs the garbage collector.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue: Queue<String> = Queue::new(ctx.config.metrics.queue("garbage_collector"));
    let collector = Arc::new(Collector {
        ctx: ctx.clone(),
        graph: Graph::default(),
        sources: RwLock::default(),
        queue: queue.clone(),
    });
    macro_rules! attach {
        ($($field:ident: $namespaced:expr),* $(,)?) => {$(
            attach(&collector, &ctx.caches.$field, erased(&ctx.caches.$field), $namespaced);
        )*};
    }
    attach!(
        pods: true, services: true, endpoints: true, slices: true, deployments: true, replica_sets: true,
        replication_controllers: true, stateful_sets: true, daemon_sets: true, revisions: true, leases: true,
        service_accounts: true, config_maps: true, nodes: false, namespaces: false,
    );
    let ctx = ctx.clone();
    async move {
        let mut watches = JoinSet::new();
        tokio::select! {
            () = ctx.shutdown.cancelled() => return,
            () = watch_the_rest(&collector, &mut watches) => (),
        }
        let shutdown = ctx.shutdown.clone();
        queue
            .run(8, shutdown, move |uid| {
                let collector = collector.clone();
                async move { Box::pin(process(&collector, uid)).await }
            })
            .await;
        watches.join_all().await;
    }
}

fn erased<K: Resource<DynamicType = ()>>(_: &Cache<K>) -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// Watches the metadata of every resource that no controller watches anyway.
async fn watch_the_rest(collector: &Arc<Collector>, watches: &mut JoinSet<()>) {
    let ctx = &collector.ctx;
    let resources = loop {
        match discover(&ctx.client).await {
            Ok(resources) => break resources,
            Err(error) => {
                tracing::debug!(%error, "discovery failed, trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    let known: HashSet<(String, String)> = {
        let sources = collector.sources.read();
        sources.iter().map(|s| (s.resource.group.clone(), s.resource.plural.clone())).collect()
    };
    let watched = |d: &&Discovered| {
        let name = (d.resource.group.clone(), d.resource.plural.clone());
        ["list", "watch", "delete"].iter().all(|verb| d.can(verb))
            && d.resource.plural != "events"
            && !known.contains(&name)
    };
    let mut caches = Vec::new();
    for Discovered { resource, namespaced, .. } in resources.iter().filter(watched) {
        let cache: Arc<Cache<Metadata>> = Cache::new(trim_meta, |_, _| ());
        attach(collector, &cache, resource.clone(), *namespaced);
        let api = Api::all_with(ctx.client.clone(), resource);
        watches.spawn(cache.clone().run(api, watcher::Config::default(), ctx.shutdown.clone()));
        caches.push(cache);
    }
    for cache in caches {
        cache.wait_synced().await;
    }
}

impl Collector {
    fn api(&self, number: usize, key: &Key) -> (Api<Metadata>, String) {
        let sources = self.sources.read();
        let Source { resource, namespaced, .. } = &sources[number];
        let client = self.ctx.client.clone();
        let api = if *namespaced {
            Api::namespaced_with(client, &key.namespace, resource)
        } else {
            Api::all_with(client, resource)
        };
        (api, format!("{} {key}", resource.kind))
    }

    /// The number of the resource that an owner reference means, and the owner's key.
    fn owner_at(&self, owner: &OwnerReference, dependent: &Key) -> Option<(usize, Key)> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let sources = self.sources.read();
        let number = sources
            .iter()
            .position(|s| s.resource.group == group && s.resource.kind == owner.kind)?;
        let namespace = if sources[number].namespaced { dependent.namespace.as_str() } else { "" };
        Some((number, Key::new(namespace, &owner.name)))
    }

    /// What the caches say of an owner; they may lag.
    fn cached(&self, owner: &OwnerReference, dependent: &Key) -> Owner {
        // Nothing is known of kinds that do not exist, so nothing is deleted for them.
        let Some((number, key)) = self.owner_at(owner, dependent) else { return Owner::Solid };
        match (self.sources.read()[number].lookup)(&key) {
            Some((uid, _)) if uid != owner.uid => Owner::Absent,
            Some((_, true)) => Owner::WaitsForUs,
            Some((_, false)) => Owner::Solid,
            None => Owner::Absent,
        }
    }

    /// What the API server itself says of an owner.
    async fn live(&self, owner: &OwnerReference, dependent: &Key) -> Result<Owner, ReconcileError> {
        let Some((number, key)) = self.owner_at(owner, dependent) else { return Ok(Owner::Solid) };
        let (api, what) = self.api(number, &key);
        let found =
            api.get_opt(&key.name).await.attempt(|| format!("looking for the owner {what}"))?;
        Ok(match found {
            Some(found) if found.metadata.uid.as_deref() == Some(&owner.uid) => {
                if waits(&found.metadata) == Some(FOREGROUND) {
                    Owner::WaitsForUs
                } else {
                    Owner::Solid
                }
            }
            _ => Owner::Absent,
        })
    }
}

async fn process(collector: &Arc<Collector>, uid: String) -> Outcome {
    let Some(node) = collector.graph.get(&uid) else { return Ok(None) };
    // Most objects have all their owners: the caches suffice to see that.
    let settled = |o: &OwnerReference| collector.cached(o, &node.key) == Owner::Solid;
    if !node.waits_for_dependents() && node.owners.iter().all(settled) {
        return Ok(None);
    }
    let (api, what) = collector.api(node.resource, &node.key);
    let found = api.get_opt(&node.key.name).await.attempt(|| format!("looking at {what}"))?;
    let Some(meta) = found.map(|f| f.metadata).filter(|m| m.uid.as_deref() == Some(&uid)) else {
        return Ok(None);
    };
    let mut states = Vec::new();
    for owner in meta.owner_references.iter().flatten() {
        let state = match collector.cached(owner, &node.key) {
            Owner::Absent => collector.live(owner, &node.key).await?,
            known => known,
        };
        states.push((owner.uid.clone(), state));
    }
    let state = |o: &OwnerReference| {
        states.iter().find(|(uid, _)| *uid == o.uid).map_or(Owner::Solid, |(_, s)| *s)
    };
    let dependents = collector.graph.dependents(&uid);
    let dependents = Dependents {
        any: !dependents.is_empty(),
        waiting: dependents.iter().any(|(_, n)| n.waits_for_dependents()),
    };
    match decide(&meta, state, dependents) {
        Verdict::Leave => (),
        Verdict::Unlink(owners) => unlink(&api, &what, &node.key, &uid, &owners).await?,
        Verdict::Delete(policy) => delete(&api, &what, &meta, policy).await?,
        Verdict::DeleteWithDependents { unblock: circle } => {
            if circle {
                unblock(&api, &what, &node.key, &uid).await?;
            }
            delete(&api, &what, &meta, PropagationPolicy::Foreground).await?;
        }
        Verdict::AwaitDependents => {
            let blocks = |n: &Node| {
                n.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true))
            };
            let left: Vec<_> =
                collector.graph.dependents(&uid).into_iter().filter(|(_, n)| blocks(n)).collect();
            if left.is_empty() {
                drop_finalizer(&api, &what, &meta, FOREGROUND).await?;
            }
            for (dependent, _) in left {
                collector.queue.add(dependent);
            }
        }
        Verdict::ReleaseDependents => {
            for (dependent, place) in collector.graph.dependents(&uid) {
                let (api, what) = collector.api(place.resource, &place.key);
                unlink(&api, &what, &place.key, &dependent, std::slice::from_ref(&uid)).await?;
            }
            drop_finalizer(&api, &what, &meta, ORPHAN).await?;
        }
    }
    Ok(None)
}

async fn delete(
    api: &Api<Metadata>,
    what: &str,
    meta: &ObjectMeta,
    policy: PropagationPolicy,
) -> Result<(), ReconcileError> {
    let preconditions =
        Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
    let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    let params = params.preconditions(preconditions);
    let name = meta.name.as_deref().unwrap_or("");
    match api
        .delete(name, &params)
        .await
        .attempt_opt(|| format!("deleting {what}, whose owners are gone"))
    {
        // Somebody changed it: look again.
        Err(error) if error.is_conflict() => Err(error),
        done => {
            tracing::debug!(object = what, "deleted, as its owners are gone");
            done.map(drop)
        }
    }
}

async fn unlink(
    api: &Api<Metadata>,
    what: &str,
    key: &Key,
    uid: &str,
    owners: &[String],
) -> Result<(), ReconcileError> {
    change(api, what, key, uid, |meta| {
        let old = meta.owner_references.clone().unwrap_or_default();
        let kept: Vec<_> = old.iter().filter(|o| !owners.contains(&o.uid)).cloned().collect();
        (kept.len() != old.len()).then(|| serde_json::json!({"ownerReferences": kept}))
    })
    .await
}

/// Takes from an object the power to block its owners' deletion.
async fn unblock(
    api: &Api<Metadata>,
    what: &str,
    key: &Key,
    uid: &str,
) -> Result<(), ReconcileError> {
    change(api, what, key, uid, |meta| {
        let mut owners = meta.owner_references.clone().unwrap_or_default();
        let mut changed = false;
        for reference in owners.iter_mut().filter(|o| o.block_owner_deletion == Some(true)) {
            reference.block_owner_deletion = Some(false);
            changed = true;
        }
        changed.then(|| serde_json::json!({"ownerReferences": owners}))
    })
    .await
}

async fn drop_finalizer(
    api: &Api<Metadata>,
    what: &str,
    meta: &ObjectMeta,
    finalizer: &str,
) -> Result<(), ReconcileError> {
    change(api, what, &Key::of(meta), meta.uid.as_deref().unwrap_or(""), |meta| {
        let old = meta.finalizers.clone().unwrap_or_default();
        let kept: Vec<_> = old.iter().filter(|f| *f != finalizer).cloned().collect();
        (kept.len() != old.len()).then(|| serde_json::json!({"finalizers": kept}))
    })
    .await
}

/// Reads an object and patches its metadata as `new` says, if it is still the same object and needs it.
async fn change(
    api: &Api<Metadata>,
    what: &str,
    key: &Key,
    uid: &str,
    new: impl Fn(&ObjectMeta) -> Option<serde_json::Value>,
) -> Result<(), ReconcileError> {
    let found = api.get_opt(&key.name).await.attempt(|| format!("looking at {what}"))?;
    let Some(found) = found.filter(|f| f.metadata.uid.as_deref() == Some(uid)) else {
        return Ok(());
    };
    let Some(mut metadata) = new(&found.metadata) else { return Ok(()) };
    metadata["resourceVersion"] = serde_json::json!(found.metadata.resource_version);
    metadata["uid"] = serde_json::json!(uid);
    let patch = Patch::Merge(serde_json::json!({"metadata": metadata}));
    let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
    patched.attempt_opt(|| format!("changing the owners or finalizers of {what}")).map(drop)
}
