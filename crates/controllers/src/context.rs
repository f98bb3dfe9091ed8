//! What every controller works with: the client, the shared caches, the recorder of events.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    coordination::v1::Lease,
    core::v1::{
        ConfigMap, Endpoints, Namespace, Node, Pod, ReplicationController, Service, ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    networking::v1::{IPAddress, ServiceCIDR},
};
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::watcher,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{Cache, Key},
    events::Recorder,
    metrics::Metrics,
    owner, pod,
    queue::Queue,
};

/// How the controllers run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pod networks, at most one per family; each node gets a slice of each. Empty: nodes get none.
    pub cluster_cidrs: Vec<IpNet>,
    /// Prefix length of a node's slice of the IPv4 network.
    pub node_cidr_mask_size_ipv4: u8,
    /// Prefix length of a node's slice of the IPv6 network.
    pub node_cidr_mask_size_ipv6: u8,
    /// Wait for a Lease before doing anything, so that of several processes one is active.
    pub leader_elect: bool,
    /// This process's name in the Lease and in events.
    pub identity: String,
    /// Certificate authorities, PEM, that pods trust for the API server (`kube-root-ca.crt`).
    pub root_ca: Option<String>,
    /// How long a node may be silent before it is taken for unreachable.
    pub node_monitor_grace_period: Duration,
    /// How long a new node may be silent.
    pub node_startup_grace_period: Duration,
    /// How many finished pods may remain.
    pub terminated_pod_gc_threshold: usize,
    /// Figures of the work queues.
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_cidrs: Vec::new(),
            node_cidr_mask_size_ipv4: 24,
            node_cidr_mask_size_ipv6: 64,
            leader_elect: false,
            identity: "portolan-controllers".into(),
            root_ca: None,
            node_monitor_grace_period: Duration::from_secs(50),
            node_startup_grace_period: Duration::from_secs(60),
            terminated_pod_gc_threshold: 12_500,
            metrics: Metrics::default(),
        }
    }
}

/// The shared caches.
#[derive(Debug)]
pub struct Caches {
    /// Grouped by controller, node, and the controllerless of a namespace ([`pod::index`]); trimmed ([`pod::trim`]).
    pub pods: Arc<Cache<Pod>>,
    pub nodes: Arc<Cache<Node>>,
    pub services: Arc<Cache<Service>>,
    pub endpoints: Arc<Cache<Endpoints>>,
    /// Grouped by the Service they are labelled with ([`of_service`]).
    pub slices: Arc<Cache<EndpointSlice>>,
    pub namespaces: Arc<Cache<Namespace>>,
    pub deployments: Arc<Cache<Deployment>>,
    /// Grouped as pods.
    pub replica_sets: Arc<Cache<ReplicaSet>>,
    pub replication_controllers: Arc<Cache<ReplicationController>>,
    pub stateful_sets: Arc<Cache<StatefulSet>>,
    pub daemon_sets: Arc<Cache<DaemonSet>>,
    /// Grouped as pods.
    pub revisions: Arc<Cache<ControllerRevision>>,
    pub leases: Arc<Cache<Lease>>,
    /// Names only.
    pub service_accounts: Arc<Cache<PartialObjectMeta<ServiceAccount>>>,
    /// Names only.
    pub config_maps: Arc<Cache<PartialObjectMeta<ConfigMap>>>,
    pub service_cidrs: Arc<Cache<ServiceCIDR>>,
    /// Names and labels only.
    pub ip_addresses: Arc<Cache<PartialObjectMeta<IPAddress>>>,
}

/// The group of the slices of a Service.
pub fn of_service(namespace: &str, service: &str) -> String {
    format!("{namespace}/{service}")
}

/// The label that names a slice's Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

fn drop_managed_fields<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn no_groups<K>(_: &K, _: &mut Vec<String>) {}

fn by_controller<K: Resource>(object: &K, groups: &mut Vec<String>) {
    match owner::controller_of(object.meta()) {
        Some(owner) => groups.push(pod::by_owner(&owner.uid)),
        None => groups.push(pod::orphans_in(object.meta().namespace.as_deref().unwrap_or(""))),
    }
}

fn by_service(slice: &EndpointSlice, groups: &mut Vec<String>) {
    if let Some(service) = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME)) {
        groups.push(of_service(slice.metadata.namespace.as_deref().unwrap_or(""), service));
    }
}

/// Keeps what tells objects apart and who owns them.
pub(crate) fn trim_meta<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    meta.labels = None;
    meta.annotations = None;
    meta.self_link = None;
    meta.generate_name = None;
}

fn trim_node(node: &mut Node) {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    if let Some(status) = &mut node.status {
        status.images = None;
        status.node_info = None;
        status.volumes_attached = None;
        status.volumes_in_use = None;
    }
}

impl Caches {
    /// Empty caches.
    pub fn new() -> Self {
        Self {
            pods: Cache::new(pod::trim, pod::index),
            nodes: Cache::new(trim_node, no_groups),
            services: Cache::new(drop_managed_fields, no_groups),
            endpoints: Cache::new(drop_managed_fields, no_groups),
            slices: Cache::new(drop_managed_fields, by_service),
            namespaces: Cache::new(drop_managed_fields, no_groups),
            deployments: Cache::new(drop_managed_fields, no_groups),
            replica_sets: Cache::new(drop_managed_fields, by_controller),
            replication_controllers: Cache::new(drop_managed_fields, no_groups),
            stateful_sets: Cache::new(drop_managed_fields, no_groups),
            daemon_sets: Cache::new(drop_managed_fields, no_groups),
            revisions: Cache::new(drop_managed_fields, by_controller),
            leases: Cache::new(drop_managed_fields, no_groups),
            service_accounts: Cache::new(trim_meta, no_groups),
            config_maps: Cache::new(trim_meta, no_groups),
            service_cidrs: Cache::new(drop_managed_fields, no_groups),
            ip_addresses: Cache::new(drop_managed_fields, no_groups),
        }
    }

    /// Starts all watches.
    pub(crate) fn start(
        &self,
        client: &Client,
        shutdown: &CancellationToken,
        tasks: &mut tokio::task::JoinSet<()>,
    ) {
        macro_rules! follow {
            ($($field:ident),*) => {$(
                let api = Api::all(client.clone());
                tasks.spawn(self.$field.clone().run(api, watcher::Config::default(), shutdown.clone()));
            )*};
        }
        follow!(
            pods,
            nodes,
            services,
            endpoints,
            slices,
            namespaces,
            deployments,
            replica_sets,
            replication_controllers,
            stateful_sets,
            daemon_sets,
            revisions,
            leases,
            service_accounts,
            config_maps,
            service_cidrs,
            ip_addresses
        );
    }

    /// Waits until every cache is complete.
    pub(crate) async fn wait_synced(&self) {
        tokio::join!(
            self.pods.wait_synced(),
            self.nodes.wait_synced(),
            self.services.wait_synced(),
            self.endpoints.wait_synced(),
            self.slices.wait_synced(),
            self.namespaces.wait_synced(),
            self.deployments.wait_synced(),
            self.replica_sets.wait_synced(),
            self.replication_controllers.wait_synced(),
            self.stateful_sets.wait_synced(),
            self.daemon_sets.wait_synced(),
            self.revisions.wait_synced(),
            self.leases.wait_synced(),
            self.service_accounts.wait_synced(),
            self.config_maps.wait_synced(),
            self.service_cidrs.wait_synced(),
            self.ip_addresses.wait_synced(),
        );
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self::new()
    }
}

/// See the module.
pub struct Context {
    /// The only way to the cluster.
    pub client: Client,
    /// One watch per resource.
    pub caches: Caches,
    /// Events.
    pub events: Recorder,
    /// How to run.
    pub config: Config,
    /// The end.
    pub shutdown: CancellationToken,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("caches", &self.caches).finish_non_exhaustive()
    }
}

impl Context {
    /// The objects of a namespace through the API.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A queue with its figures.
    pub fn queue(&self, name: &'static str) -> Queue<Key> {
        Queue::new(self.config.metrics.queue(name))
    }
}

/// The present time in whole seconds, as objects carry it.
pub fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}
