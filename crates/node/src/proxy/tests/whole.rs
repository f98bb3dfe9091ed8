//! The whole proxy, against the real API server in one process.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};
use portolan_model::object::Protocol;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::lab::{Heard, Lab, OUTSIDE, connect, patience};
use super::socket::translated;
use super::{in_every_mode, ip, to};
use crate::proxy::{Error, ProxyConfig, Query, explain, run};

in_every_mode! {
    from_the_api_server_to_the_packet,
}

fn config(lab: &Lab) -> ProxyConfig {
    ProxyConfig {
        mode: lab.mode.to_owned(),
        host: lab.host.clone(),
        node_name: "node-0".to_owned(),
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        drift_period: Duration::from_millis(50),
        ..ProxyConfig::default()
    }
}

fn start(lab: &Lab, client: &Client) -> (CancellationToken, JoinHandle<Result<(), Error>>) {
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(client.clone(), config(lab), stop.clone()));
    (stop, task)
}

/// Waits until `ready` says so; events lead there, the clock only bounds the wait.
async fn until<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) {
    let start = Instant::now();
    while !ready().await {
        assert!(start.elapsed() < patience() * 80, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Status and body of an HTTP answer.
async fn get(port: u16, path: &str) -> (u16, String) {
    get_at("127.0.0.1", port, path).await
}

/// The head of the answer of a health check.
async fn head(port: u16) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.split("\r\n\r\n").next().unwrap_or_default().to_owned()
}

async fn get_at(host: &str, port: u16, path: &str) -> (u16, String) {
    let address = format!("{host}:{port}");
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else {
        return (0, String::new());
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

async fn create<K>(client: &Client, object: serde_json::Value) -> K
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

fn green_slice(address: &str, node: &str) -> serde_json::Value {
    json!({
        "metadata": { "name": "green-1", "labels": { "kubernetes.io/service-name": "green" } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address], "nodeName": node }],
    })
}

/// The cluster autoscaler's taint makes load balancers leave, and nobody restarts the proxy for it.
async fn a_leaving_node_says_so(client: &Client) {
    let nodes: Api<core::Node> = Api::all(client.clone());
    let node = |taints: serde_json::Value| {
        serde_json::from_value::<core::Node>(json!({
            "metadata": { "name": "node-0" }, "spec": { "taints": taints },
        }))
        .unwrap()
    };
    let taint = json!([{ "key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule" }]);
    nodes.create(&PostParams::default(), &node(taint)).await.unwrap();
    until("healthz says that the node leaves", || async { get(10_256, "/healthz").await.0 == 503 })
        .await;
    let (_, body) = get(10_256, "/healthz").await;
    assert!(body.contains(r#""nodeEligible":false"#), "{body}");
    let (status, body) = get(10_256, "/livez").await;
    assert!(status == 200 && !body.contains("nodeEligible"), "{status} {body}");
    nodes.delete("node-0", &DeleteParams::default()).await.unwrap();
    until("the node stays", || async { get(10_256, "/healthz").await.0 == 200 }).await;
}

async fn an_address_of_a_pod_is_refused_aloud(lab: &Lab, client: &Client) {
    let thief = json!({
        "metadata": { "name": "thief" },
        "spec": { "externalIPs": ["10.244.0.3"], "ports": [{ "port": 8080 }] },
    });
    create::<core::Service>(client, thief).await;
    let mut slice = green_slice("10.244.1.2", "node-1");
    slice["metadata"] =
        json!({ "name": "thief-1", "labels": { "kubernetes.io/service-name": "thief" } });
    create::<discovery::EndpointSlice>(client, slice).await;
    let events: Api<core::Event> = Api::namespaced(client.clone(), "default");
    until("an event tells", || async {
        let all = events.list(&ListParams::default()).await.unwrap();
        all.iter().any(|event| {
            event.reason.as_deref() == Some(crate::proxy::events::REASON)
                && event.involved_object.name.as_deref() == Some("thief")
        })
    })
    .await;
    let (_, page) = get(10_249, "/metrics").await;
    let metric = "kubeproxy_sync_proxy_rules_refused_addresses{reason=\"pod_range\"} 1";
    assert!(page.contains(metric), "{page}");
    let theirs = lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("10.244.0.3:8080"));
    assert!(matches!(theirs, Heard::Answer { server, .. } if server.ip() == ip("10.244.0.3")));
    let query = Query {
        source: ip("10.244.0.2"),
        destination: ip("10.244.0.3"),
        port: 8080,
        protocol: Protocol::Tcp,
    };
    let explanation = explain(client, &config(lab), query).await.unwrap().to_string();
    assert!(explanation.contains("default/thief asks for 10.244.0.3"), "{explanation}");
    let services: Api<core::Service> = Api::namespaced(client.clone(), "default");
    services.delete("thief", &DeleteParams::default()).await.unwrap();
}

async fn story(lab: &Lab) {
    let api = ApiServer::start(Arc::new(MemoryStore::new()), Config::default()).await.unwrap();
    let client = Client::new(api.service(), "default");
    let (stop, task) = start(lab, &client);
    let service: core::Service = create(
        &client,
        json!({
            "metadata": { "name": "green" },
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "ports": [{ "port": 80, "nodePort": 30_002 }],
            },
        }),
    )
    .await;
    let spec = service.spec.unwrap();
    let vip = to(&format!("{}:80", spec.cluster_ip.unwrap()));
    let health = u16::try_from(spec.health_check_node_port.unwrap()).unwrap();
    let dial = |from: &str, at| lab.dial(ip(from), Protocol::Tcp, at);
    until("refused without endpoints", || async { dial("10.244.0.3", vip) == Heard::Refused })
        .await;

    create::<discovery::EndpointSlice>(&client, green_slice("10.244.0.2", "node-0")).await;
    let served = |from: &'static str, by: &'static str| {
        move || async move {
            matches!(dial(from, vip), Heard::Answer { server, .. } if server.ip() == ip(by))
        }
    };
    until("served by 10.244.0.2", served("10.244.0.3", "10.244.0.2")).await;
    let node_port = lab.dial(OUTSIDE.into(), Protocol::Tcp, to("172.30.0.2:30002"));
    assert_eq!(node_port, Heard::Answer { server: to("10.244.0.2:8080"), peer: OUTSIDE.into() });

    let (status, body) = get(health, "/").await;
    assert_eq!(status, 200, "{body}");
    let head = head(health).await.to_lowercase();
    for line in ["x-load-balancing-endpoint-weight: 1", "content-type: application/json"] {
        assert!(head.contains(line), "{line} is not in:\n{head}");
    }
    assert_eq!(get_at("[::1]", health, "/").await.0, 200, "over IPv6 too");
    assert!(body.contains(r#""localEndpoints":1"#), "{body}");
    assert_eq!(get(10_249, "/proxyMode").await, (200, lab.mode.to_owned()));
    assert_eq!(get(10_249, "/healthz").await.0, 200);
    assert_eq!(get(10_256, "/livez").await.0, 200);
    let (_, body) = get(10_256, "/healthz").await;
    assert!(body.contains("lastUpdated") && body.contains("nodeEligible"), "{body}");
    let (_, page) = get(10_249, "/metrics").await;
    for name in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count",
        "kubeproxy_network_programming_duration_seconds_bucket",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
        "kubeproxy_sync_proxy_rules_service_changes_total",
        "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
    ] {
        assert!(page.contains(name), "{name} is not in:\n{page}");
    }

    // Its pod moves to another node, where nothing answers for this one.
    let slices: Api<discovery::EndpointSlice> = Api::namespaced(client.clone(), "default");
    let moved = Patch::Merge(green_slice("10.244.1.2", "node-1"));
    slices.patch("green-1", &PatchParams::default(), &moved).await.unwrap();
    until("served by 10.244.1.2", served("10.244.0.3", "10.244.1.2")).await;
    assert_eq!(lab.dial(OUTSIDE.into(), Protocol::Tcp, to("172.30.0.2:30002")), Heard::Silence);
    until("the health check fails", || async { get(health, "/").await.0 == 503 }).await;
    let query = Query {
        source: OUTSIDE.into(),
        destination: ip("172.30.0.2"),
        port: 30_002,
        protocol: Protocol::Tcp,
    };
    let explanation = explain(&client, &config(lab), query).await.unwrap().to_string();
    let place =
        if lab.mode == "ipvs" { "virtual server TCP 172.30.0.2:30002" } else { "map node_ports" };
    for part in ["default/green", "dropped", place, "runs on another node", "holds exactly this"] {
        assert!(explanation.contains(part), "{part} is not in:\n{explanation}");
    }

    a_leaving_node_says_so(&client).await;
    an_address_of_a_pod_is_refused_aloud(lab, &client).await;

    // Somebody clears the tables: mended without being asked.
    let wipe = std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap();
    assert!(wipe.success());
    until("mended", served("10.244.0.3", "10.244.1.2")).await;

    // A connection is open while the proxy stops, is away, and starts again.
    let stream = lab.at(ip("10.244.0.4")).run(|| connect(ip("10.244.0.4"), vip).unwrap());
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(served("10.244.0.3", "10.244.1.2")().await, "nobody is needed");
    slices.delete("green-1", &DeleteParams::default()).await.unwrap();
    let (stop, task) = start(lab, &client);
    until("caught up", || async { dial("10.244.0.3", vip) == Heard::Refused }).await;
    let (mut stream, mut heard) = (stream, String::new());
    std::io::Write::write_all(&mut stream, b"still here\n").unwrap();
    let mut lines = std::io::BufReader::new(&stream);
    while heard.is_empty() || heard.starts_with("10.244.1.2") {
        heard.clear();
        std::io::BufRead::read_line(&mut lines, &mut heard).unwrap();
    }
    assert_eq!(heard, "still here\n");
    stop.cancel();
    task.await.unwrap().unwrap();
}

fn from_the_api_server_to_the_packet(lab: &Lab) {
    lab.node.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story(lab));
    });
}

/// Makes the place where maps are pinned one where nothing can be made, or undoes it.
fn write_protect(lab: &Lab, protect: bool) {
    use rustix::mount::{MountFlags, mount_remount};
    let flag = if protect { MountFlags::RDONLY } else { MountFlags::empty() };
    let place = lab.host.bpf.as_ref().unwrap();
    mount_remount(place, MountFlags::BIND | flag, "").unwrap();
}

/// Maps that are full and cannot be made larger: nothing is served wrongly, and it is said thrice.
async fn full_story(lab: &Lab) {
    let api = ApiServer::start(Arc::new(MemoryStore::new()), Config::default()).await.unwrap();
    let client = Client::new(api.service(), "default");
    let (stop, task) = start(lab, &client);
    let nodes: Api<core::Node> = Api::all(client.clone());
    let node = serde_json::from_value(json!({ "metadata": { "name": "node-0" } })).unwrap();
    let node = nodes.create(&PostParams::default(), &node).await.unwrap();
    let green = json!({ "metadata": { "name": "green" }, "spec": { "ports": [{ "port": 80 }] } });
    let service: core::Service = create(&client, green).await;
    let vip = to(&format!("{}:80", service.spec.unwrap().cluster_ip.unwrap()));
    let served = |by: &'static str| {
        move || async move {
            let heard = lab.dial(ip("10.244.0.3"), Protocol::Tcp, vip);
            matches!(heard, Heard::Answer { server, .. } if server.ip() == ip(by))
        }
    };
    create::<discovery::EndpointSlice>(&client, green_slice("10.244.1.2", "node-1")).await;
    let at_the_socket = |by: &'static str| {
        move || async move {
            let before = translated(lab);
            served(by)().await && translated(lab) == before
        }
    };
    until("served at the socket", at_the_socket("10.244.1.2")).await;
    let before = translated(lab);

    write_protect(lab, true);
    let many = |number: u32| {
        let address = |pod: u32| std::net::Ipv4Addr::from(0x0AF4_8000 + number * 1_000 + pod);
        let endpoint = |pod| json!({ "addresses": [address(pod)], "nodeName": "node-9" });
        let endpoints: Vec<_> = (0..1_000).map(endpoint).collect();
        let mut slice = green_slice("10.244.1.2", "node-1");
        slice["metadata"] = json!({
            "name": format!("large-{number}"),
            "labels": { "kubernetes.io/service-name": "large" },
        });
        slice["endpoints"] = json!(endpoints);
        slice
    };
    let large = json!({ "metadata": { "name": "large" }, "spec": { "ports": [{ "port": 80 }] } });
    create::<core::Service>(&client, large).await;
    for number in 0..2 {
        create::<discovery::EndpointSlice>(&client, many(number)).await;
    }
    let events: Api<core::Event> = Api::namespaced(client.clone(), "default");
    let told = || async {
        let all = events.list(&ListParams::default()).await.unwrap();
        let all = all.into_iter();
        all.filter(|event| event.reason.as_deref() == Some(crate::proxy::events::FULL)).collect()
    };
    until("an event tells", || async { !Vec::<core::Event>::is_empty(&told().await) }).await;
    let slices: Api<discovery::EndpointSlice> = Api::namespaced(client.clone(), "default");
    let moved = Patch::Merge(green_slice("10.244.2.2", "node-2"));
    slices.patch("green-1", &PatchParams::default(), &moved).await.unwrap();
    until("served beneath, by whom it should be", served("10.244.2.2")).await;
    assert!(translated(lab) > before);
    let (_, page) = get(10_249, "/metrics").await;
    let metric = "kubeproxy_sync_proxy_rules_full_failures_total ";
    let count = page.lines().find_map(|line| line.strip_prefix(metric)).unwrap();
    assert_ne!(count, "0", "{page}");

    write_protect(lab, false);
    until("served at the socket again", at_the_socket("10.244.2.2")).await;
    let told = told().await;
    assert_eq!(told.len(), 1, "once, however often it is tried: {told:?}");
    assert_eq!(told[0].involved_object.uid, node.metadata.uid);
    let message = told[0].message.as_deref().unwrap();
    assert!(message.contains("maps are full") && message.contains("Read-only"), "{message}");
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[test]
fn maps_that_cannot_grow_are_told_of_and_serve_nothing_stale() {
    let lab = Lab::new("ebpf");
    lab.node.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(full_story(&lab));
    });
}
