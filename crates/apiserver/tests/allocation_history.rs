//! Random histories of Services, ranges and addresses, over a store that fails now and then and a
//! server that restarts: nothing is given twice, claims are what the Services hold at every moment,
//! and requests are granted and refused as a simple reference says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::store::{
    CommitError, Listing, Record, Revision, Sink, Store, StoreError, Transaction, WatchError,
};
use portolan_apiserver::{ApiServer, Config};
use proptest::prelude::*;
use serde_json::{Value, json};

const PORTS: std::ops::RangeInclusive<u16> = 30000..=30017;
/// Ranges that come and go, the first of a server included.
const RANGES: [&[&str]; 4] = [
    &["10.0.0.0/29", "fd00::/125"],
    &["10.1.0.0/30"],
    &["10.0.0.0/28"],
    &["10.2.0.0/30", "fd02::/126"],
];

/// A store whose next commit may be told to fail: without a trace, or after it was done.
#[derive(Debug, Default)]
struct Shaky {
    inner: MemoryStore,
    next: AtomicU8,
}

const REFUSE: u8 = 1;
const LOSE_THE_ANSWER: u8 = 2;

#[async_trait]
impl Store for Shaky {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.inner.list(prefix).await
    }
    async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        match self.next.swap(0, Ordering::SeqCst) {
            REFUSE => Err(StoreError::Closed.into()),
            LOSE_THE_ANSWER => {
                self.inner.commit(transaction).await?;
                Err(StoreError::Closed.into())
            }
            _ => self.inner.commit(transaction).await,
        }
    }
    async fn watch(&self, after: Revision, sink: Box<dyn Sink>) -> Result<(), WatchError> {
        self.inner.watch(after, sink).await
    }
    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }
    fn revision(&self) -> Revision {
        self.inner.revision()
    }
    fn compacted(&self) -> Revision {
        self.inner.compacted()
    }
}

struct Cluster {
    store: Arc<Shaky>,
    api: ApiServer,
    client: kube::Client,
}

/// What the objects say, read through the API and the store.
#[derive(Debug, Default, PartialEq)]
struct Held {
    /// Address to Service.
    addresses: BTreeMap<String, String>,
    ports: BTreeMap<u16, String>,
}

impl Cluster {
    async fn start(store: Arc<Shaky>) -> Self {
        let mut config = Config::default();
        config.cluster.service_ranges = RANGES[0].iter().map(|net| net.parse().unwrap()).collect();
        config.cluster.node_ports = PORTS;
        let api = ApiServer::start(store.clone(), config).await.expect("it starts");
        let client = kube::Client::new(api.service(), "default");
        Self { store, api, client }
    }

    fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    async fn services_hold(&self) -> Result<(Held, BTreeMap<String, Service>), String> {
        let list = self.services().list(&ListParams::default()).await.unwrap().items;
        let mut held = Held::default();
        for service in &list {
            let name = service.metadata.name.clone().unwrap();
            let spec = service.spec.as_ref().unwrap();
            if spec.type_.as_deref() == Some("ExternalName") {
                continue;
            }
            for ip in spec.cluster_ips.iter().flatten().filter(|ip| *ip != "None") {
                if let Some(other) = held.addresses.insert(ip.clone(), name.clone()) {
                    return Err(format!("{ip} is held by {other} and {name}"));
                }
            }
            let own: BTreeSet<i32> =
                spec.ports.iter().flatten().filter_map(|p| p.node_port).collect();
            for port in own.into_iter().chain(spec.health_check_node_port) {
                if let Some(other) = held.ports.insert(port.try_into().unwrap(), name.clone()) {
                    return Err(format!("port {port} is held by {other} and {name}"));
                }
            }
        }
        let by_name = list.into_iter().map(|s| (s.metadata.name.clone().unwrap(), s)).collect();
        Ok((held, by_name))
    }

    /// What the claims say, and the addresses that belong to others.
    async fn claims(&self) -> (Held, BTreeSet<String>) {
        let mut claims = Held::default();
        let mut others = BTreeSet::new();
        let api: Api<IPAddress> = Api::all(self.client.clone());
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.unwrap();
            let labels = object.metadata.labels.unwrap_or_default();
            if labels.contains_key("ipaddress.kubernetes.io/managed-by") {
                claims.addresses.insert(name, object.spec.parent_ref.name);
            } else {
                others.insert(name);
            }
        }
        for record in self.store.list("/claims/nodeports/").await.unwrap().records {
            let port = record.key.rsplit('/').next().unwrap().parse().unwrap();
            let owner = String::from_utf8(record.value.to_vec()).unwrap();
            claims.ports.insert(port, owner.strip_prefix("default/").unwrap().to_owned());
        }
        (claims, others)
    }

    /// Everything that must be true at every moment.
    async fn check(&self, blocked: &BTreeSet<String>) -> Result<(), String> {
        let (held, _) = self.services_hold().await?;
        let (claims, others) = self.claims().await;
        if held != claims || others != *blocked {
            return Err(format!("{held:?} is held, {claims:?} claimed, {others:?} blocked"));
        }
        Ok(())
    }

    /// The ranges that addresses are given from.
    async fn ready(&self) -> Vec<IpNet> {
        let api: Api<ServiceCIDR> = Api::all(self.client.clone());
        let list = api.list(&ListParams::default()).await.unwrap().items.into_iter();
        list.filter(|range| range.metadata.deletion_timestamp.is_none())
            .flat_map(|range| range.spec.unwrap().cidrs.unwrap())
            .map(|cidr| cidr.parse().unwrap())
            .collect()
    }
}

/// The addresses of the ranges that nobody has.
fn free(ready: &[IpNet], held: &Held, blocked: &BTreeSet<String>) -> BTreeSet<IpAddr> {
    let usable = |net: &IpNet| -> Vec<IpAddr> {
        let all = net.addr().is_ipv6().then(|| net.broadcast());
        net.hosts().filter(|ip| *ip != net.network()).chain(all).collect()
    };
    let all = ready.iter().flat_map(usable);
    all.filter(|ip| {
        let text = ip.to_string();
        !held.addresses.contains_key(&text) && !blocked.contains(&text)
    })
    .collect()
}

const POOL: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.12", "10.1.0.1", "10.2.0.2", "10.0.0.0"];

fn spec_of(a: u8, b: u8, c: u8) -> Value {
    let kind = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"][usize::from(a % 4)];
    let mut spec = json!({"type": kind, "ports": [
        {"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]});
    if kind == "ExternalName" {
        spec["externalName"] = "a.example".into();
        return spec;
    }
    match b % 4 {
        0 => spec["clusterIP"] = POOL[usize::from(b / 4) % POOL.len()].into(),
        1 => spec["ipFamilyPolicy"] = "RequireDualStack".into(),
        _ => {}
    }
    if kind != "ClusterIP" && c.is_multiple_of(3) {
        spec["ports"][0]["nodePort"] = (30000 + i32::from(c / 3 % 20)).into();
    }
    if kind == "LoadBalancer" && c.is_multiple_of(2) {
        spec["externalTrafficPolicy"] = "Local".into();
    }
    spec
}

/// Whether a new Service can have what it asks for.
fn grantable(spec: &Value, free: &BTreeSet<IpAddr>, held: &Held) -> bool {
    if spec["type"] == "ExternalName" {
        return true;
    }
    let some = |v6: bool| free.iter().any(|ip| ip.is_ipv6() == v6);
    let address = match spec["clusterIP"].as_str() {
        Some(asked) => free.contains(&asked.parse().unwrap()),
        None if spec["ipFamilyPolicy"] == "RequireDualStack" => some(false) && some(true),
        None => some(false),
    };
    if spec["type"] == "ClusterIP" {
        return address;
    }
    let left = PORTS.filter(|port| !held.ports.contains_key(port)).count();
    let asked = spec["ports"][0]["nodePort"].as_i64().map(|port| u16::try_from(port).unwrap());
    let granted = asked.is_none_or(|port| PORTS.contains(&port) && !held.ports.contains_key(&port));
    // TCP and UDP share one, the health check has its own.
    let needed = 1 + usize::from(spec["externalTrafficPolicy"] == "Local");
    address && granted && left >= needed
}

async fn step(cluster: &mut Cluster, blocked: &mut BTreeSet<String>, (kind, a, b, c, fault): Step) {
    let name = format!("s{}", a / 4 % 10);
    let (held, services) = cluster.services_hold().await.unwrap();
    let services_api = cluster.services();
    let post = PostParams::default();
    let addresses: Api<IPAddress> = Api::all(cluster.client.clone());
    let ranges: Api<ServiceCIDR> = Api::all(cluster.client.clone());
    let range = usize::from(a) % RANGES.len();
    let range_name = if range == 0 { "kubernetes".to_owned() } else { format!("r{range}") };
    let failing = if kind < 7 { fault } else { 0 };
    if matches!(failing, REFUSE | LOSE_THE_ANSWER) {
        cluster.store.next.store(failing, Ordering::SeqCst);
    }
    match kind {
        0..=2 => {
            let spec = spec_of(a, b, c);
            let fits = grantable(&spec, &free(&cluster.ready().await, &held, blocked), &held);
            let new = json!({"metadata": {"name": name}, "spec": spec});
            let new = serde_json::from_value(new).unwrap();
            let dry_run = c % 5 == 4;
            let params = PostParams { dry_run, ..PostParams::default() };
            let made = services_api.create(&params, &new).await;
            let expected = fits && !services.contains_key(&name);
            // A store that fails may refuse anything.
            if failing == 0 || dry_run {
                assert_eq!(made.is_ok(), expected, "{made:?}");
            }
        }
        3 | 4 => {
            let mut spec = spec_of(a, b, c);
            spec["clusterIP"] = Value::Null;
            let fields = spec.as_object_mut().unwrap();
            fields.remove("clusterIP");
            let patch = Patch::Merge(json!({"spec": spec}));
            let dry_run = c % 5 == 4;
            let params = PatchParams { dry_run, ..PatchParams::default() };
            let _ = services_api.patch(&name, &params, &patch).await;
        }
        5 | 6 => {
            let _ = services_api.delete(&name, &DeleteParams::default()).await;
        }
        7 => {
            let new = json!({"metadata": {"name": range_name}, "spec": {"cidrs": RANGES[range]}});
            let _ = ranges.create(&post, &serde_json::from_value(new).unwrap()).await;
        }
        8 => {
            // Some are only marked, as the controller's finalizer does it; the first never goes for
            // good, or the server would make it again at a time of its own.
            if range == 0 || b % 2 == 0 {
                let patch = json!({"metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]}});
                let params = PatchParams::default();
                let _ = ranges.patch(&range_name, &params, &Patch::Merge(patch)).await;
            }
            let _ = ranges.delete(&range_name, &DeleteParams::default()).await;
            let patch = json!({"metadata": {"finalizers": null}});
            if range != 0 && b % 3 == 0 {
                let params = PatchParams::default();
                let _ = ranges.patch(&range_name, &params, &Patch::Merge(patch)).await;
            }
        }
        9 => {
            let ip = POOL[usize::from(a) % POOL.len()];
            if blocked.contains(ip) {
                addresses.delete(ip, &DeleteParams::default()).await.unwrap();
                blocked.remove(ip);
            } else {
                let new = json!({"metadata": {"name": ip}, "spec": {"parentRef":
                    {"group": "g.example", "resource": "things", "name": "x"}}});
                let made = addresses.create(&post, &serde_json::from_value(new).unwrap()).await;
                assert_eq!(made.is_ok(), !held.addresses.contains_key(ip));
                if made.is_ok() {
                    blocked.insert(ip.to_owned());
                }
            }
        }
        10 => meddle(cluster, &addresses, &held, blocked, a).await,
        _ => {
            cluster.api.stop();
            *cluster = Cluster::start(cluster.store.clone()).await;
        }
    }
    cluster.store.next.store(0, Ordering::SeqCst);
}

/// Takes an address away from its Service, which gets it back while some range holds it.
async fn meddle(
    cluster: &Cluster,
    addresses: &Api<IPAddress>,
    held: &Held,
    blocked: &BTreeSet<String>,
    a: u8,
) {
    let nets: Vec<IpNet> = {
        let api: Api<ServiceCIDR> = Api::all(cluster.client.clone());
        let list = api.list(&ListParams::default()).await.unwrap().items.into_iter();
        let cidrs = list.flat_map(|range| range.spec.unwrap().cidrs.unwrap());
        cidrs.map(|cidr| cidr.parse().unwrap()).collect()
    };
    let covered = |text: &&String| {
        let ip: IpAddr = text.parse().unwrap();
        nets.iter().any(|net| {
            net.contains(&ip) && ip != net.network() && (ip.is_ipv6() || ip != net.broadcast())
        })
    };
    let all: Vec<&String> = held.addresses.keys().filter(covered).collect();
    let Some(ip) = all.get(usize::from(a) % all.len().max(1)) else { return };
    addresses.delete(ip, &DeleteParams::default()).await.unwrap();
    let began = Instant::now();
    while let Err(why) = cluster.check(blocked).await {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never mended: {why}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

type Step = (u8, u8, u8, u8, u8);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn claims_are_what_the_services_hold_at_every_moment(
        steps in prop::collection::vec((0..12u8, any::<u8>(), any::<u8>(), any::<u8>(), 0..8u8), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut cluster = Cluster::start(Arc::new(Shaky::default())).await;
            let mut blocked = BTreeSet::new();
            for (at, step_) in steps.into_iter().enumerate() {
                step(&mut cluster, &mut blocked, step_).await;
                let checked = cluster.check(&blocked).await;
                assert!(checked.is_ok(), "step {at}, {step_:?}: {checked:?}");
            }
            // Read again from the store, it is the same.
            let before = cluster.claims().await;
            cluster.api.stop();
            let cluster = Cluster::start(cluster.store.clone()).await;
            assert_eq!(cluster.claims().await, before);
            // And when all is deleted, nothing is left.
            let (_, services) = cluster.services_hold().await.unwrap();
            for name in services.keys() {
                cluster.services().delete(name, &DeleteParams::default()).await.unwrap();
            }
            assert_eq!(cluster.claims().await, (Held::default(), blocked));
        });
    }
}
