//! The index of the cluster's names, kept by watching the API.
//!
//! While the API server is away the index stays as it was and goes on answering; when it is back,
//! the watches resume where they were, or list anew and forget what is gone.

mod objects;

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use portolan_model::names::{Listed, NameOptions, Names, PodMode};
use portolan_model::object::{self, ObjectName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::metrics::Histogram;
use crate::reached::Kind;
pub(crate) use objects::{Pod, Slice};

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

fn bit(kind: Listed) -> u8 {
    1 << kind as u8
}

/// How many objects a list brings at once: pages are held whole, and a slice may have a hundred
/// endpoints.
fn page_size(kind: Listed) -> u32 {
    match kind {
        Listed::Slices => 100,
        Listed::Services | Listed::Namespaces | Listed::Pods => 250,
    }
}

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
        let mut missing = bit(Listed::Services) | bit(Listed::Namespaces);
        if options.endpoints {
            missing |= bit(Listed::Slices);
        }
        if options.names.pods == PodMode::Verified {
            missing |= bit(Listed::Pods);
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

    fn listed(&self, kind: Listed) {
        let was = self.missing.fetch_and(!bit(kind), Ordering::AcqRel);
        if was & bit(kind) != 0 && self.is_synced() {
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
        let config = |kind: Listed, labels: &Option<String>| {
            let config = watcher::Config::default().page_size(page_size(kind));
            match labels {
                Some(labels) => config.labels(labels),
                None => config,
            }
        };
        let run = |task: futures::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            tasks.spawn(async move {
                stop.run_until_cancelled(task).await;
            });
        };
        let labels = &self.options.labels;
        let kind = Listed::Services;
        let services = watch_objects(Api::<Service>::all(client.clone()), config(kind, labels));
        let feed = self.clone().feed(kind, services, apply_service, Names::remove_service);
        run(Box::pin(feed));
        let kind = Listed::Namespaces;
        let labels_of_namespaces = config(kind, &self.options.namespace_labels);
        let namespaces = watch_objects(Api::<Namespace>::all(client.clone()), labels_of_namespaces);
        let remove = |names: &mut Names, name: &ObjectName| names.remove_namespace(&name.name);
        run(Box::pin(self.clone().feed(kind, namespaces, apply_namespace, remove)));
        if self.options.endpoints {
            let kind = Listed::Slices;
            let slices = watch_objects(Api::<Slice>::all(client.clone()), config(kind, labels));
            let feed = self.clone().feed(kind, slices, apply_slice, Names::remove_slice);
            run(Box::pin(feed));
        }
        if self.options.names.pods == PodMode::Verified {
            let kind = Listed::Pods;
            let pods = watch_objects(Api::<Pod>::all(client.clone()), config(kind, &None));
            run(Box::pin(self.clone().feed(kind, pods, apply_pod, Names::remove_pod)));
        }
    }

    async fn feed<K>(
        self: Arc<Self>,
        kind: Listed,
        events: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send,
        apply: fn(&NameStore, &K),
        remove: fn(&mut Names, &ObjectName) -> bool,
    ) where
        K: kube::Resource + Debug + Send,
        K::DynamicType: Default,
    {
        let events = events.backoff(Retry::default());
        pin_mut!(events);
        let resource = K::plural(&K::DynamicType::default()).into_owned();
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
                Ok(Event::Init) => self.update(|names| names.begin(kind)),
                Ok(Event::InitApply(object) | Event::Apply(object)) => apply(&self, &object),
                Ok(Event::Delete(object)) => {
                    let name = object_name(&object);
                    self.update(|names| {
                        remove(names, &name);
                    });
                }
                Ok(Event::InitDone) => {
                    self.update(|names| {
                        names.end(kind);
                    });
                    self.listed(kind);
                    // Pages of the list leave holes behind.
                    portolan_linux::memory::give_back();
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
fn programmed<K: kube::Resource>(kind: Listed, object: &K) -> Option<(Kind, u64)> {
    let meta = object.meta();
    let has = |label: &str| meta.labels.as_ref().is_some_and(|labels| labels.contains_key(label));
    let kind = match kind {
        Listed::Services => Kind::Services,
        Listed::Slices if !has("service.kubernetes.io/headless") => Kind::EndpointSlices,
        _ => return None,
    };
    if has("service.kubernetes.io/service-proxy-name") {
        return None;
    }
    Some((kind, meta.resource_version.as_deref()?.parse().ok()?))
}

pub(crate) fn object_name<K: kube::Resource>(object: &K) -> ObjectName {
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

fn apply_slice(store: &NameStore, slice: &Slice) {
    let trimmed = slice.trimmed(store.options.names.endpoint_pod_names);
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

fn apply_namespace(store: &NameStore, namespace: &Namespace) {
    let name = namespace.name_any();
    store.update(|names| {
        names.upsert_namespace(&name);
    });
}

fn apply_pod(store: &NameStore, pod: &Pod) {
    let name = object_name(pod);
    store.update(|names| {
        names.upsert_pod(&name, &pod.addresses);
    });
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The lists that a store asks for, with the size of their pages.
    async fn asked(pods: PodMode, endpoints: bool) -> BTreeMap<String, String> {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let _ = send.send(request.uri().to_string());
            let nobody: tower::BoxError = "nobody is there".into();
            std::future::ready(Err::<http::Response<kube::client::Body>, _>(nobody))
        });
        let client = Client::new(service, "default");
        let names = NameOptions { pods, ..NameOptions::default() };
        let options = StoreOptions { names, endpoints, labels: None, namespace_labels: None };
        let store = Arc::new(NameStore::new(options, None));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        store.watch(&client, &tasks, &stop);
        let (mut lists, mut of_services) = (BTreeMap::new(), 0);
        // Who has been told no twice has given everybody else a turn.
        while of_services < 3 {
            let uri = receive.recv().await.expect("somebody asks");
            let (path, query) = uri.split_once('?').expect("a query");
            let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
            of_services += usize::from(resource == "services");
            let limit = query.split('&').find_map(|pair| pair.strip_prefix("limit="));
            lists.insert(resource, limit.unwrap_or("all").to_owned());
        }
        stop.cancel();
        lists
    }

    #[tokio::test]
    async fn only_what_is_needed_is_asked_for_and_in_pages() {
        let lists = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(name, limit)| (name.to_string(), limit.to_string())).collect()
        };
        let few = [("namespaces", "250"), ("services", "250")];
        let slices = ("endpointslices", "100");
        assert_eq!(asked(PodMode::Insecure, true).await, lists(&[few[0], few[1], slices]));
        assert_eq!(asked(PodMode::Disabled, false).await, lists(&few));
        let all = [few[0], few[1], slices, ("pods", "250")];
        assert_eq!(asked(PodMode::Verified, true).await, lists(&all));
    }
}
