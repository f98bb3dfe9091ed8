//! Addresses, ranges and ports of Services in process: `ServiceCIDR` and `IPAddress` objects as the
//! source of truth, and what repairs them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Service};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::store::{Expect, Store, Transaction};
use portolan_apiserver::{ApiServer, Config};
use serde_json::{Value, json};

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";

/// A server whose first range is this one.
struct Cluster {
    store: Arc<dyn Store>,
    _api: ApiServer,
    client: kube::Client,
}

fn config(ranges: &[&str]) -> Config {
    let mut config = Config::default();
    config.cluster.service_ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
    config
}

impl Cluster {
    async fn start(ranges: &[&str]) -> Self {
        Self::on(Arc::new(MemoryStore::new()), config(ranges)).await
    }

    async fn on(store: Arc<dyn Store>, config: Config) -> Self {
        let api = ApiServer::start(store.clone(), config).await.expect("it starts");
        let client = kube::Client::new(api.service(), "default");
        Self { store, _api: api, client }
    }

    fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    fn addresses(&self) -> Api<IPAddress> {
        Api::all(self.client.clone())
    }

    fn ranges(&self) -> Api<ServiceCIDR> {
        Api::all(self.client.clone())
    }

    async fn create(&self, name: &str, spec: Value) -> Result<Service, kube::Error> {
        self.services().create(&PostParams::default(), &service(name, spec)).await
    }

    async fn add_range(&self, name: &str, cidrs: &[&str]) {
        let range = json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}});
        let range = serde_json::from_value(range).unwrap();
        self.ranges().create(&PostParams::default(), &range).await.expect("the range is added");
    }

    /// What the controller does to every range, so that a delete only marks it.
    async fn protect(&self, name: &str) {
        let patch =
            json!({"metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]}});
        self.ranges().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn block(&self, ip: &str) -> Result<IPAddress, kube::Error> {
        let address = json!({"metadata": {"name": ip}, "spec": {"parentRef":
            {"group": "gateway.networking.k8s.io", "resource": "gateways", "namespace": "default", "name": "g"}}});
        let address = serde_json::from_value(address).unwrap();
        self.addresses().create(&PostParams::default(), &address).await
    }

    async fn names(&self) -> BTreeSet<String> {
        let list = self.addresses().list(&ListParams::default()).await.unwrap();
        list.items.into_iter().filter_map(|item| item.metadata.name).collect()
    }

    /// The reasons and texts of the events about an object.
    async fn events(&self, name: &str) -> BTreeSet<(String, String)> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let list = events.list(&about).await.unwrap().items.into_iter();
        list.map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default())).collect()
    }
}

fn service(name: &str, spec: Value) -> Service {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().expect("an object") {
        service["spec"][field] = value.clone();
    }
    serde_json::from_value(service).expect("a service")
}

fn address(service: &Service) -> String {
    service.spec.as_ref().and_then(|s| s.cluster_ip.clone()).expect("an address")
}

fn status(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not a status: {other}"),
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_service_has_its_address_as_an_object() {
    let cluster = Cluster::start(&["10.96.0.0/16", "fd00:10:96::/112"]).await;
    let made = cluster.create("web", json!({"ipFamilyPolicy": "RequireDualStack"})).await.unwrap();
    let ips = made.spec.unwrap().cluster_ips.unwrap();
    for (ip, family) in ips.iter().zip(["IPv4", "IPv6"]) {
        let object = cluster.addresses().get(ip).await.expect("the address is an object");
        let labels = object.metadata.labels.unwrap();
        assert_eq!(labels[MANAGED_BY], "ipallocator.k8s.io");
        assert_eq!(labels["ipaddress.kubernetes.io/ip-family"], family);
        let parent = object.spec.parent_ref;
        let parent = serde_json::to_value(parent).unwrap();
        let expected =
            json!({"group": "", "resource": "services", "namespace": "default", "name": "web"});
        assert_eq!(parent, expected);
    }
    cluster.services().delete("web", &DeleteParams::default()).await.unwrap();
    assert!(cluster.names().await.is_empty());
}

#[tokio::test]
async fn a_second_range_takes_over_when_the_first_is_full() {
    let cluster = Cluster::start(&["10.0.0.0/30"]).await;
    for name in ["a", "b"] {
        assert!(address(&cluster.create(name, json!({})).await.unwrap()).starts_with("10.0.0."));
    }
    let full = status(cluster.create("c", json!({})).await.unwrap_err());
    let text =
        "Internal error occurred: failed to allocate a serviceIP for Service \"c\": range is full";
    assert_eq!(full, (500, text.to_owned()));
    let asked = json!({"clusterIP": "10.9.0.5"});
    let refused = status(cluster.create("c", asked.clone()).await.unwrap_err());
    assert!(refused.1.ends_with("the provided network does not match the current range"));

    cluster.add_range("more", &["10.9.0.0/28"]).await;
    assert!(address(&cluster.create("c", json!({})).await.unwrap()).starts_with("10.9.0."));
    let taken = cluster.create("d", asked.clone()).await;
    // A random address may have been that one.
    let (_, text) = match taken {
        Ok(_) => status(cluster.create("e", asked).await.unwrap_err()),
        Err(error) => status(error),
    };
    assert!(text.ends_with("provided IP is already allocated"), "{text}");
    cluster.services().delete("a", &DeleteParams::default()).await.unwrap();
    assert!(address(&cluster.create("a", json!({})).await.unwrap()).starts_with("10.0.0."));
}

#[tokio::test]
async fn a_range_on_its_way_out_gives_nothing() {
    let cluster = Cluster::start(&["10.0.0.0/30"]).await;
    cluster.add_range("more", &["10.9.0.0/24"]).await;
    cluster.protect("more").await;
    let kept = cluster.create("kept", json!({"clusterIP": "10.9.0.9"})).await.unwrap();
    cluster.ranges().delete("more", &DeleteParams::default()).await.unwrap();
    let marked = cluster.ranges().get("more").await.expect("it stays");
    assert!(marked.metadata.deletion_timestamp.is_some());
    let text = status(cluster.create("x", json!({"clusterIP": "10.9.0.10"})).await.unwrap_err()).1;
    assert!(text.ends_with("the provided network does not match the current range"), "{text}");
    for name in ["a", "b"] {
        cluster.create(name, json!({})).await.unwrap();
    }
    assert_eq!(status(cluster.create("c", json!({})).await.unwrap_err()).0, 500);
    // What was given from it is kept, also by an update and over a restart.
    let patch = Patch::Merge(json!({"spec": {"type": "NodePort"}}));
    let changed = cluster.services().patch("kept", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(address(&changed), address(&kept));
    let cluster = Cluster::on(cluster.store.clone(), config(&["10.0.0.0/30"])).await;
    assert!(cluster.names().await.contains("10.9.0.9"));
    assert!(cluster.events("kept").await.is_empty());
}

#[tokio::test]
async fn only_ready_ranges_are_used() {
    let cluster = Cluster::start(&["10.0.0.0/30"]).await;
    cluster.add_range("more", &["10.9.0.0/24", "fd09::/64"]).await;
    cluster.add_range("wide", &["fd0a::/48"]).await;
    let ready = async |value: &str| {
        let condition = json!({"type": "Ready", "status": value, "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        cluster.ranges().patch_status("more", &PatchParams::default(), &patch).await.unwrap();
    };
    let asked = service("x", json!({"clusterIP": "10.9.0.9"}));
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for (value, fits) in [("True", true), ("False", false), ("Unknown", false), ("True", true)] {
        ready(value).await;
        assert_eq!(cluster.services().create(&dry, &asked).await.is_ok(), fits, "{value}");
    }
}

#[tokio::test]
async fn overlapping_ranges_share_their_addresses() {
    let cluster = Cluster::start(&["10.0.0.0/29"]).await;
    cluster.add_range("inner", &["10.0.0.0/30"]).await;
    cluster.add_range("same", &["10.0.0.0/29"]).await;
    let mut given = BTreeSet::new();
    for i in 0..6 {
        given.insert(address(&cluster.create(&format!("s{i}"), json!({})).await.unwrap()));
    }
    assert_eq!(given.len(), 6);
    assert_eq!(status(cluster.create("more", json!({})).await.unwrap_err()).0, 500);
    assert_eq!(cluster.names().await, given);
}

#[tokio::test]
async fn an_address_that_somebody_made_is_blocked() {
    let cluster = Cluster::start(&["10.0.0.0/30"]).await;
    cluster.block("10.0.0.1").await.unwrap();
    let text = status(cluster.create("x", json!({"clusterIP": "10.0.0.1"})).await.unwrap_err()).1;
    let expected = "Service \"x\" is invalid: spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: \
                    failed to allocate IP 10.0.0.1: provided IP is already allocated";
    assert_eq!(text, expected);
    assert_eq!(address(&cluster.create("a", json!({})).await.unwrap()), "10.0.0.2");
    assert_eq!(status(cluster.create("b", json!({})).await.unwrap_err()).0, 500);
    // Two cannot have it the other way round either.
    let (code, text) = status(cluster.block("10.0.0.2").await.unwrap_err());
    let expected = "ipaddresses.networking.k8s.io \"10.0.0.2\" already exists";
    assert_eq!((code, &*text), (409, expected));
    cluster.addresses().delete("10.0.0.1", &DeleteParams::default()).await.unwrap();
    assert_eq!(address(&cluster.create("b", json!({})).await.unwrap()), "10.0.0.1");
}

#[tokio::test]
async fn an_address_that_somebody_deleted_comes_back() {
    let cluster = Cluster::start(&["10.96.0.0/16"]).await;
    cluster.create("web", json!({"clusterIP": "10.96.0.77"})).await.unwrap();
    let first = cluster.addresses().get("10.96.0.77").await.unwrap();
    cluster.addresses().delete("10.96.0.77", &DeleteParams::default()).await.unwrap();
    let second = eventually("the address", async || {
        cluster.addresses().get_opt("10.96.0.77").await.unwrap()
    })
    .await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert_eq!(first.spec, second.spec);
    let expected = (
        "ClusterIPNotAllocated".to_owned(),
        "Cluster IP [IPv4]: 10.96.0.77 is not allocated; repairing".to_owned(),
    );
    eventually("the event", async || cluster.events("web").await.contains(&expected).then_some(()))
        .await;
    // Labels are put right, too.
    let patch = Patch::Merge(json!({"metadata": {"labels": {MANAGED_BY: "me"}}}));
    cluster.addresses().patch("10.96.0.77", &PatchParams::default(), &patch).await.unwrap();
    eventually("the label", async || {
        let labels = cluster.addresses().get("10.96.0.77").await.unwrap().metadata.labels?;
        (labels[MANAGED_BY] == "ipallocator.k8s.io").then_some(())
    })
    .await;
}

#[tokio::test]
async fn addresses_of_others_are_left_alone() {
    let cluster = Cluster::start(&["10.96.0.0/16"]).await;
    cluster.block("10.96.0.50").await.unwrap();
    cluster.block("192.0.2.1").await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    cluster.addresses().patch("192.0.2.1", &PatchParams::default(), &patch).await.unwrap();
    let cluster = Cluster::on(cluster.store.clone(), config(&["10.96.0.0/16"])).await;
    assert_eq!(cluster.names().await, ["10.96.0.50", "192.0.2.1"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_use_a_range_to_its_last_address() {
    let cluster = Cluster::start(&["10.0.0.0/28"]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..60 {
        let services = cluster.services();
        tasks.spawn(async move {
            let new = service(&format!("s{i}"), json!({}));
            services.create(&PostParams::default(), &new).await
        });
    }
    let (good, bad): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (14, 46));
    for error in bad {
        let (code, text) = status(error.unwrap_err());
        assert!(code == 500 && text.ends_with("range is full"), "{code} {text}");
    }
    let given: BTreeSet<String> = good.iter().map(|made| address(made.as_ref().unwrap())).collect();
    assert_eq!((given.len(), cluster.names().await), (14, given));
}

#[tokio::test]
async fn writes_that_fail_or_are_dry_leave_nothing() {
    let cluster = Cluster::start(&["10.96.0.0/16"]).await;
    cluster.create("web", json!({})).await.unwrap();
    let before = cluster.names().await;
    let claims = async || cluster.store.list("/claims/").await.unwrap().records.len();
    // The name is taken.
    let asked = json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30009}]});
    let (code, _) = status(cluster.create("web", asked.clone()).await.unwrap_err());
    assert_eq!((code, cluster.names().await, claims().await), (409, before.clone(), 0));
    // Of two ports, the second is out of range.
    let ports = json!([{"name": "a", "port": 80, "nodePort": 30009}, {"name": "b", "port": 81, "nodePort": 1}]);
    let bad = json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports});
    let (code, _) = status(cluster.create("x", bad).await.unwrap_err());
    assert_eq!((code, cluster.names().await, claims().await), (422, before.clone(), 0));
    // Dry runs answer with what would do.
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let new = service("dry", json!({"type": "NodePort"}));
    let would = cluster.services().create(&dry, &new).await.unwrap();
    let ip: std::net::Ipv4Addr = address(&would).parse().unwrap();
    assert!(ip.octets()[..2] == [10, 96] && !before.contains(&ip.to_string()));
    assert!(would.spec.unwrap().ports.unwrap()[0].node_port.is_some());
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch =
        Patch::Merge(json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}));
    let would = cluster.services().patch("web", &dry, &patch).await.unwrap();
    assert!(would.spec.unwrap().health_check_node_port.is_some());
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
    cluster.services().delete("web", &dry).await.unwrap();
    assert_eq!((cluster.names().await, claims().await), (before, 0));
    cluster.create("x", asked).await.expect("address and port are free");
}

#[tokio::test]
async fn the_default_range_is_that_of_the_first_start() {
    let cluster = Cluster::start(&["10.96.0.0/16"]).await;
    let range = cluster.ranges().get("kubernetes").await.unwrap();
    let ready = &range.status.unwrap().conditions.unwrap()[0];
    assert_eq!((&*ready.type_, &*ready.status), ("Ready", "True"));
    assert_eq!(ready.message, "Kubernetes default Service CIDR is ready");
    let cidrs = async |cluster: &Cluster| {
        cluster.ranges().get("kubernetes").await.unwrap().spec.unwrap().cidrs.unwrap()
    };
    // A second family is added, anything else is only said.
    let both = ["10.96.0.0/16", "fd00:10:96::/112"];
    let cluster = Cluster::on(cluster.store.clone(), config(&both)).await;
    assert_eq!(cidrs(&cluster).await, both);
    let cluster = Cluster::on(cluster.store.clone(), config(&["10.7.0.0/16"])).await;
    assert_eq!(cidrs(&cluster).await, both);
    assert!(address(&cluster.create("a", json!({})).await.unwrap()).starts_with("10.96."));
    let told = cluster.events("kubernetes").await;
    let expected = "The default ServiceCIDR [10.96.0.0/16 fd00:10:96::/112] does not match the controller flag configurations [10.7.0.0/16]";
    let expected = ("KubernetesDefaultServiceCIDRInconsistent".to_owned(), expected.to_owned());
    assert!(told.contains(&expected), "{told:?}");
}

/// Services that no server would have made: duplicates, out of range, not claimed.
#[tokio::test]
async fn what_a_start_finds_wrong_it_says_at_the_service() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut writes = Transaction::new();
    for (name, ip, port) in [
        ("first", "10.96.0.5", 30005),
        ("second", "10.96.0.5", 30005),
        ("far", "192.0.2.9", 35000),
        ("bad", "ten", 30006),
    ] {
        let value = json!({"kind": "Service", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"type": "NodePort", "clusterIP": ip, "clusterIPs": [ip],
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": port}]}});
        let key = format!("/registry/core/services/default/{name}");
        writes = writes.put(key, value.to_string().into(), Expect::Absent);
    }
    store.commit(writes).await.unwrap();
    let cluster = Cluster::on(store.clone(), config(&["10.96.0.0/16"])).await;
    let expected: [(&str, &[(&str, &str)]); 4] = [
        (
            "first",
            &[
                (
                    "ClusterIPNotAllocated",
                    "Cluster IP [IPv4]: 10.96.0.5 is not allocated; repairing",
                ),
                ("PortNotAllocated", "Port 30005 is not allocated; repairing"),
            ],
        ),
        (
            "second",
            &[
                (
                    "ClusterIPAlreadyAllocated",
                    "Cluster IP [IPv4]:10.96.0.5 was assigned to multiple services; please recreate service",
                ),
                (
                    "PortAlreadyAllocated",
                    "Port 30005 was assigned to multiple services; please recreate service",
                ),
            ],
        ),
        (
            "far",
            &[
                (
                    "ClusterIPOutOfRange",
                    "Cluster IP [IPv4]: 192.0.2.9 is not within any configured Service CIDR; please recreate service",
                ),
                ("PortNotAllocated", "Port 35000 is not allocated; repairing"),
                (
                    "PortOutOfRange",
                    "Port 35000 is not within the port range 30000-32767; please recreate service",
                ),
            ],
        ),
        (
            "bad",
            &[
                ("ClusterIPNotValid", "Cluster IP ten is not a valid IP; please recreate Service"),
                ("PortNotAllocated", "Port 30006 is not allocated; repairing"),
            ],
        ),
    ];
    let check = async |cluster: &Cluster| {
        for (name, findings) in expected {
            let findings =
                findings.iter().map(|(reason, text)| ((*reason).to_owned(), (*text).to_owned()));
            assert_eq!(cluster.events(name).await, findings.collect(), "{name}");
        }
    };
    check(&cluster).await;
    assert_eq!(cluster.names().await, ["10.96.0.5".to_owned()].into());
    // The second start finds the rest again and counts it.
    let cluster = Cluster::on(store, config(&["10.96.0.0/16"])).await;
    check(&cluster).await;
    let events: Api<Event> = Api::default_namespaced(cluster.client.clone());
    let about = ListParams::default().fields("reason=ClusterIPAlreadyAllocated");
    let event = events.list(&about).await.unwrap().items.remove(0);
    assert_eq!((event.count, event.involved_object.uid.as_deref()), (Some(2), Some("second")));
    // Deleting the one that has nothing leaves the other what it has.
    cluster.services().delete("second", &DeleteParams::default()).await.unwrap();
    assert_eq!(cluster.names().await, ["10.96.0.5".to_owned()].into());
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30005}]});
    assert!(cluster.create("x", taken).await.is_err());
}

#[tokio::test]
async fn tables_have_the_columns_of_kubernetes() {
    let cluster = Cluster::start(&["10.96.0.0/16"]).await;
    cluster.create("web", json!({"clusterIP": "10.96.0.7"})).await.unwrap();
    let table = async |path: &str| {
        let request = http::Request::get(format!("/apis/networking.k8s.io/v1/{path}"))
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .unwrap();
        let table: Value = cluster.client.request(request).await.unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap().iter();
        let columns: Vec<String> =
            columns.map(|column| column["name"].as_str().unwrap().to_owned()).collect();
        (columns, table["rows"][0]["cells"].clone())
    };
    let (columns, cells) = table("servicecidrs").await;
    assert_eq!(columns, ["Name", "CIDRs", "Age"]);
    assert_eq!(cells.as_array().unwrap()[..2], [json!("kubernetes"), json!("10.96.0.0/16")]);
    let (columns, cells) = table("ipaddresses").await;
    assert_eq!(columns, ["Name", "ParentRef", "Age"]);
    assert_eq!(cells.as_array().unwrap()[..2], [json!("10.96.0.7"), json!("services/default/web")]);
}
