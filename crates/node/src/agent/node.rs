//! The Node object, its status and its Lease; and the other Nodes, which pods must be able to
//! reach.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use futures::StreamExt;
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{AgentConfig, AgentError, backoff, network};
use crate::pods::report;

const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i64 = 40;
/// How often the status is written even if nothing changed, as the kubelet does.
const REPORT: Duration = Duration::from_secs(300);

/// Registers the node, follows all Nodes, and keeps status and Lease fresh. `ready` gets the
/// node's part of the cluster's pod addresses once the pod network stands.
pub(super) async fn run(
    client: Client,
    config: Arc<AgentConfig>,
    ready: watch::Sender<Option<Vec<IpNet>>>,
) -> Result<(), AgentError> {
    let nodes: Api<Node> = Api::all(client.clone());
    let beats = heartbeat(client, &config);
    let follow = async {
        register(&nodes, &config).await;
        follow(nodes, &config, ready).await
    };
    tokio::select! {
        result = follow => result,
        () = beats => Ok(()),
    }
}

/// Creates the Node, or brings its labels up to date. Tries until the API server agrees.
async fn register(nodes: &Api<Node>, config: &AgentConfig) {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": config.node_name, "labels": labels(config)},
        "status": status(config, false, Timestamp::now(), None),
    });
    for attempt in 0.. {
        let typed = match serde_json::from_value(node.clone()) {
            Ok(typed) => typed,
            Err(e) => {
                tracing::error!(error = %e, "the Node of this machine cannot be described");
                return;
            }
        };
        let result = match nodes.create(&PostParams::default(), &typed).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                let labels = json!({"metadata": {"labels": labels(config)}});
                nodes.patch(&config.node_name, &PatchParams::default(), &Patch::Merge(labels)).await
            }
            other => other,
        };
        match result {
            Ok(_) => {
                tracing::info!(node = config.node_name, "node registered");
                return;
            }
            Err(e) => {
                if attempt % 20 == 5 {
                    tracing::warn!(
                        error = report(&e),
                        "the node cannot be registered yet; is the API server up?"
                    );
                }
                tokio::time::sleep(backoff(attempt).min(Duration::from_secs(1))).await;
            }
        }
    }
}

/// Watches the Nodes: sets up the network once this one has its range, keeps the routes to the
/// others, and answers when somebody writes that this node is not ready.
async fn follow(
    nodes: Api<Node>,
    config: &AgentConfig,
    ready: watch::Sender<Option<Vec<IpNet>>>,
) -> Result<(), AgentError> {
    let mut events = std::pin::pin!(watcher(nodes.clone(), watcher::Config::default()));
    let mut peers: BTreeMap<String, network::Peer> = BTreeMap::new();
    let mut listed: BTreeMap<String, network::Peer> = BTreeMap::new();
    let mut next_report = Instant::now() + REPORT;
    let mut started: Option<Timestamp> = None;
    let mut failures = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = tokio::time::sleep_until(next_report) => {
                next_report = Instant::now() + REPORT;
                if let Some(since) = started {
                    post_status(&nodes, config, since).await;
                }
                continue;
            }
        };
        let mut own = None;
        let mut complete = true;
        match event {
            Some(Ok(watcher::Event::Init)) => {
                listed.clear();
                complete = false;
            }
            Some(Ok(watcher::Event::InitApply(node))) => {
                if let Some((name, peer)) = network::peer(&node) {
                    listed.insert(name.clone(), peer);
                    own = (name == config.node_name).then_some(node);
                }
                complete = false;
            }
            Some(Ok(watcher::Event::InitDone)) => peers = std::mem::take(&mut listed),
            Some(Ok(watcher::Event::Apply(node))) => {
                if let Some((name, peer)) = network::peer(&node) {
                    own = (name == config.node_name).then_some(node);
                    complete = peers.insert(name, peer.clone()) != Some(peer);
                }
            }
            Some(Ok(watcher::Event::Delete(node))) => {
                if let Some((name, _)) = network::peer(&node) {
                    if name == config.node_name {
                        tracing::warn!(
                            node = name,
                            "the Node was deleted while its machine runs; registering it again"
                        );
                        register(&nodes, config).await;
                    }
                    peers.remove(&name);
                }
            }
            Some(Err(e)) => {
                failures += 1;
                tracing::debug!(error = report(&e), "the watch on Nodes broke");
                tokio::time::sleep(backoff(failures).min(Duration::from_secs(2))).await;
                continue;
            }
            None => return Ok(()),
        }
        failures = 0;
        if let Some(node) = own {
            let cidrs = network::peer(&node).map(|(_, p)| p.pod_cidrs).unwrap_or_default();
            if started.is_none() && !cidrs.is_empty() {
                network::set_up(config, &cidrs).map_err(AgentError::Network)?;
                started = Some(Timestamp::now());
                ready.send_replace(Some(cidrs));
            }
            if let Some(since) = started
                && !is_ready(&node)
            {
                post_status(&nodes, config, since).await;
            }
        }
        if complete && started.is_some() {
            // A route that cannot be set now will be tried at the next change of any Node.
            if let Err(e) = network::sync_routes(&config.node_name, &peers) {
                tracing::warn!(error = report(&e), "routes to other nodes are not up to date");
            }
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

async fn post_status(nodes: &Api<Node>, config: &AgentConfig, since: Timestamp) {
    for attempt in 0..10 {
        let mut status = status(config, true, since, Some(Timestamp::now()));
        // Addresses merge by type, and of a type there may be one of each family.
        if let Some(addresses) = status["addresses"].as_array_mut() {
            addresses.insert(0, json!({"$patch": "replace"}));
        }
        let patch = json!({"status": status});
        match nodes
            .patch_status(&config.node_name, &PatchParams::default(), &Patch::Strategic(patch))
            .await
        {
            Ok(_) => return,
            Err(e) => {
                tracing::debug!(error = report(&e), "the node's status was not written");
                tokio::time::sleep(backoff(attempt)).await;
            }
        }
    }
}

/// Renews the node's Lease for ever.
async fn heartbeat(client: Client, config: &AgentConfig) {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let mut failures = 0;
    loop {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let spec = json!({"holderIdentity": config.node_name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now});
        let patch = Patch::Merge(json!({"spec": spec}));
        let result = match leases.patch(&config.node_name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let lease = json!({"metadata": {"name": config.node_name}, "spec": spec});
                match serde_json::from_value(lease) {
                    Ok(lease) => leases.create(&PostParams::default(), &lease).await,
                    Err(e) => Err(kube::Error::SerdeError(e)),
                }
            }
            other => other,
        };
        match result {
            Ok(_) => {
                failures = 0;
                tokio::time::sleep(HEARTBEAT).await;
            }
            Err(e) => {
                failures += 1;
                tracing::debug!(error = report(&e), "the node's lease was not renewed");
                tokio::time::sleep(backoff(failures).min(Duration::from_secs(2))).await;
            }
        }
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(config: &AgentConfig) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), config.node_name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), architecture().to_owned()),
    ]);
    labels.extend(config.labels.clone());
    labels
}

/// The Node's status. `heartbeat` is left out where the object is first made.
fn status(
    config: &AgentConfig,
    ready: bool,
    since: Timestamp,
    heartbeat: Option<Timestamp>,
) -> Value {
    let at = |t: Timestamp| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let beat = at(heartbeat.unwrap_or(since));
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        json!({"type": kind, "status": if status { "True" } else { "False" }, "reason": reason,
               "message": message, "lastHeartbeatTime": beat, "lastTransitionTime": at(since)})
    };
    let last = if ready {
        condition("Ready", true, "KubeletReady", "kubelet is posting ready status")
    } else {
        condition("Ready", false, "KubeletNotReady", "the pod network waits for the node's podCIDR")
    };
    let mut addresses: Vec<Value> = config
        .internal_ips
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip.to_string()}))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": config.node_name}));
    let read =
        |path: &str| std::fs::read_to_string(path).map(|s| s.trim().to_owned()).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = memory_kib(&read("/proc/meminfo"));
    let resources = json!({"cpu": cpus.to_string(), "memory": format!("{memory}Ki"), "pods": "110",
                           "ephemeral-storage": "10Gi", "hugepages-2Mi": "0", "hugepages-1Gi": "0"});
    let os = read("/etc/os-release");
    let os = os
        .lines()
        .find_map(|l| l.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"');
    json!({
        "addresses": addresses,
        "capacity": resources,
        "allocatable": resources,
        "conditions": [
            condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            last,
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.kubelet_port}},
        "nodeInfo": {
            "architecture": architecture(),
            "operatingSystem": "linux",
            "kernelVersion": read("/proc/sys/kernel/osrelease"),
            "osImage": os,
            "containerRuntimeVersion": concat!("portolan://", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": "v1.36.0+portolan",
            "kubeProxyVersion": "v1.36.0+portolan",
            "bootID": read("/proc/sys/kernel/random/boot_id"),
            "machineID": read("/etc/machine-id"),
            "systemUUID": system_uuid(config),
        },
    })
}

/// A number of its own for every node, also where several share a machine.
fn system_uuid(config: &AgentConfig) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let name = format!("{}/{}", machine.trim(), config.node_name);
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes()).to_string()
}

fn memory_kib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The addresses of a Node by which other nodes reach it.
pub(super) fn internal_ips(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    let internal = addresses.into_iter().flatten().filter(|a| a.type_ == "InternalIP");
    internal.filter_map(|a| a.address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_describes_itself_as_a_kubelet_would() {
        let config = AgentConfig::new(
            "worker-1",
            vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            "/x",
        );
        let value = status(&config, true, Timestamp::UNIX_EPOCH, None);
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": "worker-1"}, "status": value}))
                .unwrap();
        assert!(is_ready(&node));
        assert_eq!(internal_ips(&node), config.internal_ips);
        let info = node.status.unwrap().node_info.unwrap();
        assert_eq!(info.kubelet_version, "v1.36.0+portolan");
        assert_eq!(labels(&config)["kubernetes.io/hostname"], "worker-1");
        assert_eq!(memory_kib("Foo: 1 kB\nMemTotal:       24684096 kB\n"), 24_684_096);
        let other = AgentConfig::new("worker-2", vec![], "/x");
        assert_ne!(system_uuid(&config), system_uuid(&other));
    }
}
