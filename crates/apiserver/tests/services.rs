//! Services in process: addresses and ports under concurrency, over restarts and type changes.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::IPAddress;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use portolan_apiserver::store::Store;
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};
use serde_json::{Value, json};

async fn start(store: &Arc<dyn Store>) -> (ApiServer, kube::Client) {
    let api = ApiServer::start(Arc::clone(store), Config::default()).await.expect("it starts");
    let client = kube::Client::new(api.service(), "default");
    (api, client)
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
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

fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("not a status: {other}"),
    }
}

async fn addresses(client: &kube::Client) -> HashSet<String> {
    let api: Api<IPAddress> = Api::all(client.clone());
    let list = api.list(&ListParams::default()).await.expect("a list");
    list.items.into_iter().filter_map(|item| item.metadata.name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_get_different_addresses_and_ports() {
    let (_api, client) = start(&store()).await;
    let before = addresses(&client).await.len();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..100 {
        let services: Api<Service> = Api::default_namespaced(client.clone());
        tasks.spawn(async move {
            let new = service(&format!("s{i}"), json!({"type": "NodePort"}));
            services.create(&PostParams::default(), &new).await.expect("it is created")
        });
    }
    let all = tasks.join_all().await;
    let ips: HashSet<String> = all.iter().map(address).collect();
    let ports: HashSet<i32> = all.iter().filter_map(node_port).collect();
    assert_eq!((ips.len(), ports.len()), (100, 100));
    assert_eq!(addresses(&client).await.len(), before + 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_ask_for_one_address_one_gets_it() {
    let (_api, client) = start(&store()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20 {
        let services: Api<Service> = Api::default_namespaced(client.clone());
        tasks.spawn(async move {
            let new = service(&format!("s{i}"), json!({"clusterIP": "10.96.0.77"}));
            services.create(&PostParams::default(), &new).await
        });
    }
    let (good, bad): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 19));
    for error in bad {
        let text = message(error.expect_err("it is refused"));
        assert!(text.ends_with("spec.clusterIPs: Invalid value: [\"10.96.0.77\"]: failed to allocate IP 10.96.0.77: provided IP is already allocated"), "{text}");
    }
}

#[tokio::test]
async fn a_dry_run_claims_nothing_and_a_delete_frees() {
    let (_api, client) = start(&store()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let before = addresses(&client).await;
    let asked = service(
        "a",
        json!({"type": "NodePort", "clusterIP": "10.96.0.50", "ports": [{"port": 80, "nodePort": 30050}]}),
    );
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for _ in 0..2 {
        services.create(&dry, &asked).await.expect("a dry run passes");
    }
    assert_eq!(addresses(&client).await, before);
    for _ in 0..2 {
        services.create(&PostParams::default(), &asked).await.expect("it is created");
        assert!(addresses(&client).await.contains("10.96.0.50"));
        services.delete("a", &DeleteParams::default()).await.expect("it is deleted");
        assert_eq!(addresses(&client).await, before);
    }
}

#[tokio::test]
async fn a_refused_service_leaves_nothing_claimed() {
    let (_api, client) = start(&store()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let before = addresses(&client).await;
    // The address is free, the port is out of range: neither may stay claimed.
    let bad = service(
        "a",
        json!({"type": "NodePort", "clusterIP": "10.96.0.60", "ports": [{"port": 80, "nodePort": 35001}]}),
    );
    let text = message(services.create(&PostParams::default(), &bad).await.expect_err("refused"));
    assert_eq!(
        text,
        "Service \"a\" is invalid: spec.ports[0].nodePort: Invalid value: 35001: provided port is not in the valid range. The range of valid ports is 30000-32767"
    );
    assert_eq!(addresses(&client).await, before);
    let good = service("a", json!({"clusterIP": "10.96.0.60"}));
    services.create(&PostParams::default(), &good).await.expect("the address is free");
}

#[tokio::test]
async fn claims_outlive_a_restart() {
    let store = store();
    let (api, client) = start(&store).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let first = service("a", json!({"type": "NodePort"}));
    let first = services.create(&PostParams::default(), &first).await.expect("it is created");
    let before = addresses(&client).await;
    api.stop();

    let (_api, client) = start(&store).await;
    assert_eq!(addresses(&client).await, before);
    let services: Api<Service> = Api::default_namespaced(client.clone());
    for spec in [
        json!({"clusterIP": address(&first)}),
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": node_port(&first)}]}),
    ] {
        let error = services.create(&PostParams::default(), &service("b", spec)).await;
        assert!(message(error.expect_err("taken")).ends_with("is already allocated"));
    }
}

#[tokio::test]
async fn types_change_by_patches() {
    let (_api, client) = start(&store()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let none = addresses(&client).await.len();
    let made = services.create(&PostParams::default(), &service("a", json!({}))).await.unwrap();
    let patch = async |spec: Value| {
        let patch = Patch::Strategic(json!({"spec": spec}));
        services.patch("a", &PatchParams::default(), &patch).await
    };
    let node = patch(json!({"type": "NodePort"})).await.unwrap();
    assert_eq!(address(&node), address(&made));
    let port = node_port(&node).expect("a node port");
    let balancer =
        patch(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"})).await.unwrap();
    assert_eq!(node_port(&balancer), Some(port));
    assert!(balancer.spec.as_ref().unwrap().health_check_node_port.is_some());
    let plain = patch(json!({"type": "ClusterIP"})).await.unwrap();
    assert_eq!((node_port(&plain), address(&plain)), (None, address(&made)));
    let name =
        patch(json!({"type": "ExternalName", "externalName": "kubernetes.io"})).await.unwrap();
    assert_eq!(name.spec.as_ref().unwrap().cluster_ip, None);
    assert_eq!(addresses(&client).await.len(), none);
    let text = message(
        patch(json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"})).await.expect_err("refused"),
    );
    assert!(text.contains("the provided network does not match the current range"), "{text}");
    let back = patch(json!({"type": "ClusterIP"})).await.unwrap();
    assert!(address(&back).starts_with("10.96."));
    let text = message(patch(json!({"clusterIP": "10.96.0.99"})).await.expect_err("refused"));
    assert_eq!(
        text,
        "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.0.99\"]: may not change once set"
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let (_api, client) = start(&store()).await;
    let body = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80, "prot": "TCP"}]}});
    let send = async |validation: &str| {
        let request = http::Request::post(format!(
            "/api/v1/namespaces/default/services?dryRun=All&fieldValidation={validation}"
        ))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
        client.request::<Value>(request).await
    };
    let text = message(send("Strict").await.expect_err("refused"));
    assert_eq!(
        text,
        "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \"spec.ports[0].prot\""
    );
    for lenient in ["Warn", "Ignore"] {
        let made = send(lenient).await.expect("it passes");
        assert_eq!(
            made["spec"]["ports"],
            json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])
        );
    }
}

#[tokio::test]
async fn tables_are_printed_on_the_server() {
    let (_api, client) = start(&store()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let external = json!({"type": "ExternalName", "externalName": "kubernetes.io", "ports": null});
    services.create(&PostParams::default(), &service("k8s", external)).await.unwrap();
    let request = http::Request::get("/api/v1/namespaces/default/services/k8s")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let table: Value = client.request(request).await.unwrap();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(
        cells[..5],
        [
            json!("k8s"),
            json!("ExternalName"),
            json!("<none>"),
            json!("kubernetes.io"),
            json!("<none>")
        ]
    );
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]);
}

/// Every address that a Service holds has its `IPAddress`, and no other has one; no node port is
/// held twice.
async fn check_claims(client: &kube::Client, step: usize) {
    let services: Api<Service> = Api::all(client.clone());
    let all = services.list(&ListParams::default()).await.expect("a list").items;
    let specs = || all.iter().filter_map(|service| service.spec.as_ref());
    let held: Vec<String> = specs()
        .flat_map(|spec| spec.cluster_ips.clone().unwrap_or_default())
        .filter(|ip| ip != "None")
        .collect();
    let distinct: HashSet<String> = held.iter().cloned().collect();
    assert_eq!(distinct.len(), held.len(), "step {step}: an address is held twice");
    assert_eq!(addresses(client).await, distinct, "step {step}");
    // Kubernetes lets an ExternalName carry a node port, which then means nothing.
    let exposed = || specs().filter(|spec| spec.type_.as_deref() != Some("ExternalName"));
    let ports: Vec<i32> = exposed()
        .flat_map(|spec| spec.ports.clone().unwrap_or_default())
        .filter_map(|port| port.node_port)
        .chain(specs().filter_map(|spec| spec.health_check_node_port))
        .collect();
    assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len(), "step {step}: {ports:?}");
}

#[tokio::test]
async fn whatever_happens_claims_and_services_agree() {
    let store = store();
    let (mut api, mut client) = start(&store).await;
    let mut seed: u64 = 42;
    let mut below = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let (mut done, mut refused) = (0, 0);
    for step in 0..300 {
        let services: Api<Service> = Api::default_namespaced(client.clone());
        let name = format!("s{}", below(8));
        let kind = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"][below(4) as usize];
        let mut spec = json!({"type": kind, "externalName": null, "clusterIP": null});
        match below(4) {
            // A small pool of addresses and ports, so that they are often taken.
            0 => spec["clusterIP"] = format!("10.96.0.{}", 20 + below(4)).into(),
            1 => spec["clusterIP"] = "None".into(),
            2 => spec["ports"] = json!([{"port": 80, "nodePort": 30_000 + below(4)}]),
            _ => {}
        }
        if kind == "ExternalName" {
            spec["externalName"] = "example.com".into();
        }
        if kind == "LoadBalancer" && below(2) == 0 {
            spec["externalTrafficPolicy"] = "Local".into();
        }
        let outcome = match below(5) {
            0 => services.delete(&name, &DeleteParams::default()).await.map(|_| ()),
            1 | 2 => {
                let new = service(&name, spec);
                services.create(&PostParams::default(), &new).await.map(|_| ())
            }
            _ => {
                if spec["clusterIP"].is_null() {
                    spec.as_object_mut().unwrap().remove("clusterIP");
                }
                let patch = Patch::Merge(json!({"spec": spec}));
                services.patch(&name, &PatchParams::default(), &patch).await.map(|_| ())
            }
        };
        match outcome {
            Ok(()) => done += 1,
            Err(kube::Error::Api(status)) if status.code < 500 => refused += 1,
            Err(other) => panic!("step {step}: {other}"),
        }
        check_claims(&client, step).await;
        if step % 100 == 99 {
            api.stop();
            (api, client) = start(&store).await;
            check_claims(&client, step).await;
        }
    }
    assert!(done > 50 && refused > 50, "{done} done, {refused} refused");
}
