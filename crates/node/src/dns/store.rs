//! The index of the cluster's names, kept by watching the API.
//!
//! While the API server is away the index stays as it was and goes on answering; when it is back,
//! the watches resume where they were, or list anew and forget what is gone.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use portolan_model::names::{NameOptions, Names, PodMode};
use portolan_model::object::{self, ObjectName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::metrics::Histogram;
use crate::reached::Kind;

/// What makes one store different from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreOptions {
    pub(crate) names: NameOptions,
    /// Whether endpoints are watched at all.
    pub(crate) endpoints: bool,
    /// A label selector for Services and slices.
    pub(crate) labels: Option<String>,
    /// A label selector for Namespaces; others are not served.
    pub(crate) namespace_labels: Option<String>,
}

const SERVICES: u8 = 1;
const SLICES: u8 = 2;
const NAMESPACES: u8 = 4;
const PODS: u8 = 8;

/// A live index and how far it can be trusted.
#[derive(Debug)]
pub(crate) struct NameStore {
    options: StoreOptions,
    names: RwLock<Names>,
    /// The kinds whose first listing is not whole yet.
    missing: AtomicU8,
    synced: Notify,
    pub(crate) programming: Programming,
    /// Where changes wait for the node's proxy.
    gate: Option<Arc<Gate>>,
}

/// From the change of a pod to its being answered, in seconds, by the kind of its Service.
#[derive(Debug)]
pub(crate) struct Programming {
    cluster_ip: Histogram,
    headless: Histogram,
}

impl Programming {
    /// The kinds by CoreDNS's names. Slices that nobody but their author knows the pods of carry
    /// no time, so Services without a selector do not show.
    pub(crate) fn by_kind(&self) -> [(&'static str, &Histogram); 2] {
        [("cluster_ip", &self.cluster_ip), ("headless_with_selector", &self.headless)]
    }
}

impl NameStore {
    pub(crate) fn new(options: StoreOptions, gate: Option<Arc<Gate>>) -> Self {
        let mut missing = SERVICES | NAMESPACES;
        if options.endpoints {
            missing |= SLICES;
        }
        if options.names.pods == PodMode::Verified {
            missing |= PODS;
        }
        // Serials of zones that start anew must not go back (RFC 1912, 2.2).
        let serial = Timestamp::now().as_second() as u32;
        Self {
            names: RwLock::new(Names::new(options.names.clone(), serial)),
            options,
            missing: AtomicU8::new(missing),
            synced: Notify::new(),
            gate,
            programming: Programming {
                cluster_ip: Histogram::programming(),
                headless: Histogram::programming(),
            },
        }
    }

    pub(crate) fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read()
    }

    /// Changes the index by hand.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Names)) {
        change(&mut self.names.write());
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// Waits until every kind has been listed once.
    pub(crate) async fn wait_synced(&self) {
        loop {
            let notified = self.synced.notified();
            if self.is_synced() {
                return;
            }
            notified.await;
        }
    }

    fn listed(&self, kind: u8) {
        if self.missing.fetch_and(!kind, Ordering::AcqRel) & kind != 0 && self.is_synced() {
            tracing::info!(services = self.names().len(), "names of the cluster are complete");
            self.synced.notify_waiters();
        }
    }

    /// For indices that are filled by hand.
    pub(crate) fn set_synced(&self) {
        self.missing.store(0, Ordering::Release);
        self.synced.notify_waiters();
    }

    /// Watches until `stop`; the tasks belong to `tasks`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        client: &Client,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let selecting = |labels: &Option<String>| match labels {
            Some(labels) => watcher::Config::default().labels(labels),
            None => watcher::Config::default(),
        };
        let config = selecting(&self.options.labels);
        let run = |task: futures::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            tasks.spawn(async move {
                stop.run_until_cancelled(task).await;
            });
        };
        let services = watch_objects(Api::<Service>::all(client.clone()), config.clone());
        run(Box::pin(self.clone().feed(
            "services",
            SERVICES,
            services,
            apply_service,
            remove_service,
        )));
        let namespaces = selecting(&self.options.namespace_labels);
        let namespaces = watch_objects(Api::<Namespace>::all(client.clone()), namespaces);
        run(Box::pin(self.clone().feed(
            "namespaces",
            NAMESPACES,
            namespaces,
            apply_namespace,
            remove_namespace,
        )));
        if self.options.endpoints {
            let slices = watch_objects(Api::<EndpointSlice>::all(client.clone()), config);
            run(Box::pin(self.clone().feed(
                "endpointslices",
                SLICES,
                slices,
                apply_slice,
                remove_slice,
            )));
        }
        if self.options.names.pods == PodMode::Verified {
            let pods = watch_objects(Api::<Pod>::all(client.clone()), watcher::Config::default());
            run(Box::pin(self.clone().feed("pods", PODS, pods, apply_pod, remove_pod)));
        }
    }

    async fn feed<K>(
        self: Arc<Self>,
        resource: &'static str,
        kind: u8,
        events: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send,
        apply: fn(&NameStore, &K),
        remove: fn(&mut Names, &ObjectName),
    ) where
        K: kube::Resource + Debug + Send,
    {
        let events = events.backoff(Retry::default());
        pin_mut!(events);
        // The objects there are, so that a new listing shows which of them are gone.
        let mut known: HashSet<ObjectName> = HashSet::new();
        let mut unseen: HashSet<ObjectName> = HashSet::new();
        let mut failing = false;
        while let Some(event) = events.next().await {
            if failing && event.is_ok() {
                failing = false;
                tracing::info!(resource, "watching again");
            }
            if let (Some(gate), Ok(Event::Apply(object) | Event::Delete(object))) =
                (&self.gate, &event)
                && let Some((kind, revision)) = programmed(kind, object)
            {
                gate.wait(kind, revision).await;
            }
            match event {
                Ok(Event::Init) => unseen = known.clone(),
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    let name = object_name(&object);
                    unseen.remove(&name);
                    apply(&self, &object);
                    known.insert(name);
                }
                Ok(Event::Delete(object)) => {
                    let name = object_name(&object);
                    known.remove(&name);
                    self.update(|names| remove(names, &name));
                }
                Ok(Event::InitDone) => {
                    for name in std::mem::take(&mut unseen) {
                        known.remove(&name);
                        self.update(|names| remove(names, &name));
                    }
                    self.listed(kind);
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            resource,
                            error,
                            "cannot watch; answering from what is known and trying again"
                        );
                    }
                }
            }
        }
    }
}

/// What to wait for until a proxy has programmed a change of this object; `None` when proxies do
/// not look at it.
fn programmed<K: kube::Resource>(kind: u8, object: &K) -> Option<(Kind, u64)> {
    let meta = object.meta();
    let has = |label: &str| meta.labels.as_ref().is_some_and(|labels| labels.contains_key(label));
    let kind = match kind {
        SERVICES => Kind::Services,
        SLICES if !has("service.kubernetes.io/headless") => Kind::EndpointSlices,
        _ => return None,
    };
    if has("service.kubernetes.io/service-proxy-name") {
        return None;
    }
    Some((kind, meta.resource_version.as_deref()?.parse().ok()?))
}

fn object_name<K: kube::Resource>(object: &K) -> ObjectName {
    let meta = object.meta();
    ObjectName::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn apply_service(store: &NameStore, service: &Service) {
    let service = object::Service::from(service);
    store.update(|names| {
        names.upsert_service(&service);
    });
}

fn remove_service(names: &mut Names, name: &ObjectName) {
    names.remove_service(name);
}

fn apply_slice(store: &NameStore, slice: &EndpointSlice) {
    let trimmed = object::EndpointSlice::from(slice);
    let (mut changed, mut headless) = (false, None);
    store.update(|names| {
        changed = names.upsert_slice(&trimmed);
        headless = trimmed.service.as_ref().and_then(|name| names.is_headless(name));
    });
    let trigger = "endpoints.kubernetes.io/last-change-trigger-time";
    let triggered = slice.annotations().get(trigger).and_then(|text| text.parse().ok());
    if let Some(triggered) = triggered.filter(|_| changed && store.is_synced()) {
        let took: jiff::SignedDuration = Timestamp::now().duration_since(triggered);
        let programming = match headless {
            Some(true) => &store.programming.headless,
            Some(false) => &store.programming.cluster_ip,
            None => return,
        };
        programming.observe(took.as_secs_f64().max(0.0), 1);
    }
}

fn remove_slice(names: &mut Names, name: &ObjectName) {
    names.remove_slice(name);
}

fn apply_namespace(store: &NameStore, namespace: &Namespace) {
    let name = namespace.name_any();
    store.update(|names| {
        names.upsert_namespace(&name);
    });
}

fn remove_namespace(names: &mut Names, name: &ObjectName) {
    names.remove_namespace(&name.name);
}

fn apply_pod(store: &NameStore, pod: &Pod) {
    let (name, addresses) = pod_addresses(pod);
    store.update(|names| {
        names.upsert_pod(&name, &addresses);
    });
}

/// A pod and the addresses that names may have of it: none once it is on its way out.
pub(crate) fn pod_addresses(pod: &Pod) -> (ObjectName, Vec<IpAddr>) {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let finished = pod.metadata.deletion_timestamp.is_some()
        || matches!(phase, Some("Succeeded" | "Failed" | "Unknown"));
    let listed = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    let addresses =
        listed.iter().filter(|_| !finished).filter_map(|address| address.ip.parse().ok()).collect();
    (object_name(pod), addresses)
}

fn remove_pod(names: &mut Names, name: &ObjectName) {
    names.remove_pod(name);
}

/// Waits between attempts: soon at first, so that a restarted API server is not missed for long.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Duration::from_millis(50) * 2_u32.pow(self.failures.min(6));
        self.failures += 1;
        Some(wait)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The stores in use, one for each set of options; a reload finds those that it needs again.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    pub(crate) gate: Option<Arc<Gate>>,
    all: Mutex<HashMap<StoreOptions, (Arc<NameStore>, CancellationToken)>>,
}

impl Stores {
    /// Stores whose changes go through `gate`.
    pub(crate) fn new(gate: Option<Arc<Gate>>) -> Self {
        Self { gate, all: Mutex::default() }
    }

    /// The store for `options`, if there is one.
    pub(crate) fn find(&self, options: &StoreOptions) -> Option<Arc<NameStore>> {
        self.all.lock().get(options).map(|(store, _)| store.clone())
    }

    /// A store for `options` that is filled by hand.
    #[cfg(test)]
    pub(crate) fn insert(&self, options: StoreOptions) -> Arc<NameStore> {
        let store = Arc::new(NameStore::new(options.clone(), self.gate.clone()));
        self.all.lock().insert(options, (store.clone(), CancellationToken::new()));
        store
    }

    /// A new store for `options`, watched from now on.
    pub(crate) fn open(
        &self,
        options: &StoreOptions,
        client: &Client,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Arc<NameStore> {
        let mut all = self.all.lock();
        let store = Arc::new(NameStore::new(options.clone(), self.gate.clone()));
        let stop = stop.child_token();
        store.watch(client, tasks, &stop);
        all.insert(options.clone(), (store.clone(), stop));
        store
    }

    /// Stops watching for the stores that `used` does not name.
    pub(crate) fn retain(&self, used: &HashSet<StoreOptions>) {
        self.all.lock().retain(|options, (_, stop)| {
            let keep = used.contains(options);
            if !keep {
                stop.cancel();
            }
            keep
        });
    }
}
