//! A node's kernel beside the model, in the mode that the node is in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use portolan_linux::netns::NetNs;
use portolan_model::frontend::{Action, Family, FrontendAddress};
use portolan_model::node_view::NodePortAddresses;
use portolan_model::{Desired, NodeView, Snapshot, desired};
use portolan_node::proxy::datapath::{self, Host, Observed};
use portolan_node::reflect;
use portolan_tests::Lab;
use portolan_tests::machine::cgroup;

/// Where a node's kernel differs from what the model makes of the cluster's objects, and what
/// other modes than its own left there.
pub(super) fn differences(lab: &Lab, node: &str, mode: &str) -> Vec<String> {
    let desired = match snapshot(lab) {
        Ok(snapshot) => desired(&snapshot, &view(node)),
        Err(error) => return vec![error],
    };
    let host = host(lab, node);
    let path = format!("/run/portolan/{}/netns/{node}", lab.name);
    let observed = NetNs::open(&path).expect("the node's namespace").run(|| {
        let mut datapath = datapath::open(mode, &host).map_err(|error| error.to_string())?;
        datapath.observe().map_err(|error| error.to_string())
    });
    let mut found = match observed.expect("the node's namespace") {
        Ok(observed) => {
            let mut found = observed.differences(&desired);
            if mode == "ebpf" {
                found.extend(not_at_the_socket(&observed, &desired));
            }
            found
        }
        Err(error) => vec![error],
    };
    found.extend(residue(lab, node, mode));
    found
}

fn view(node: &str) -> NodeView {
    NodeView {
        name: node.into(),
        families: vec![Family::Ipv4],
        cluster_cidrs: vec!["10.244.0.0/16".parse().expect("a network")],
        node_port_addresses: NodePortAddresses::All,
        loopback_node_ports: true,
        masquerade_all: false,
        masquerade_egress: true,
    }
}

/// Which part of the machine is the node's, as the lab told its proxy.
fn host(lab: &Lab, node: &str) -> Host {
    Host {
        cgroup: cgroup(&lab.name).map(|cgroup| cgroup.join("nodes").join(node)),
        bpf: Some(bpf(lab, node)),
        ..Host::default()
    }
}

fn bpf(lab: &Lab, node: &str) -> PathBuf {
    format!("/run/portolan/{}/node/{node}/bpf", lab.name).into()
}

/// ClusterIPs that the maps do not hold. Nobody would notice, as the tables beneath serve them too.
fn not_at_the_socket(observed: &Observed, desired: &Desired) -> Vec<String> {
    let mut found = Vec::new();
    for (key, frontend) in desired.frontends() {
        let FrontendAddress::Ip(ip) = &key.address else { continue };
        if !desired.is_cluster_ip(ip) || !matches!(frontend.inside, Action::Balance(_)) {
            continue;
        }
        let place = observed.frontends.get(key).map(|seen| seen.place.as_str()).unwrap_or_default();
        if !place.contains("at the socket") {
            found.push(format!("{key} is not served at the socket: {place:?}"));
        }
    }
    found
}

/// What modes have that do not run here.
fn residue(lab: &Lab, node: &str, mode: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pinned = directories(&bpf(lab, node));
    if mode == "ebpf" {
        // One namespace, and in it one set of maps and programs.
        pinned.retain(|path| !path.ends_with("portolan"));
        let namespaces = directories(&bpf(lab, node).join("portolan"));
        pinned.extend(namespaces.iter().skip(1).cloned());
        pinned.extend(namespaces.iter().flat_map(|path| directories(path).into_iter().skip(1)));
    }
    found.extend(pinned.iter().map(|path| format!("{} has BPF objects", path.display())));
    let tables = lab.exec(node, &["nft", "list", "tables"]).ok();
    let tables: BTreeSet<&str> = tables.lines().into_iter().collect();
    let ours = |table: &&&str| table.ends_with(" portolan");
    let classic = mode == "iptables";
    let strays = tables.iter().filter(|table| ours(table) == classic);
    found.extend(strays.map(|table| format!("{table} belongs to another mode")));
    found
}

/// What is in a directory; some kernels put files of their own beside.
fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn snapshot(lab: &Lab) -> Result<Snapshot, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let file = Kubeconfig::read_from(&lab.kubeconfig).expect("the lab's kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let client = Client::try_from(config.expect("the lab's kubeconfig"));
        reflect::list(&client.expect("a client")).await.map_err(|error| error.to_string())
    })
}
