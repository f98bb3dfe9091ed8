//! `portolan explain`: what becomes of one packet, by the model that the proxies follow, checked
//! against what the kernel of the deciding node holds.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use portolan_linux::cgroup;
use portolan_linux::netns::NetNs;
use portolan_node::proxy::datapath::Host;
use portolan_node::proxy::{Explanation, ProxyConfig, Query, explain};

use crate::cli::explain::{Args, Sender, Target};
use crate::config::kubeconfig;
use crate::lab::exec::load;
use crate::lab::paths::Paths;
use crate::lab::plan::Plan;

/// A packet, who sends it, and the node that decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Case {
    /// `pod default/web-0`.
    sender: String,
    node: String,
    query: Query,
}

/// The explanation, for people.
pub fn run(args: &Args) -> anyhow::Result<String> {
    crate::lab::requirements::root("explain")?;
    let runtime = crate::runtime::small()?;
    if let Some(path) = &args.kubeconfig {
        // Another cluster: this machine is the node that is asked about.
        let client = runtime.block_on(kubeconfig::client(path))?;
        let case = runtime.block_on(case(args, &client, &[]))?;
        let config = config(&case, None, Host::default());
        let explanation = runtime.block_on(explain(&client, &config, case.query))?;
        return Ok(text(&case, &explanation));
    }
    let paths = Paths::of(&args.name);
    let plan = load(&args.name, &paths)?;
    let case = runtime.block_on(async {
        let client = kubeconfig::client(&paths.kubeconfig()).await?;
        case(args, &client, &plan.outside.ips()).await
    })?;
    let netns = NetNs::open(paths.netns(&case.node))?;
    let host = Host {
        cgroup: Some(cgroup::root()?.join(paths.node_cgroup(&case.node))),
        bpf: Some(paths.bpf(&case.node)),
        ..Host::default()
    };
    let explanation = netns.run(|| -> anyhow::Result<Explanation> {
        // Inside the node's network, as its proxy: the kernel that is read is the node's.
        let runtime = crate::runtime::small()?;
        runtime.block_on(async {
            let client = kubeconfig::client(&paths.component_kubeconfig("proxy")).await?;
            Ok(explain(&client, &config(&case, Some(&plan), host), case.query).await?)
        })
    })??;
    Ok(text(&case, &explanation))
}

/// The proxy's configuration on the deciding node.
fn config(case: &Case, plan: Option<&Plan>, host: Host) -> ProxyConfig {
    ProxyConfig {
        node_name: case.node.clone(),
        mode: plan.map_or_else(|| "auto".to_owned(), |plan| plan.spec.proxy_mode.to_string()),
        cluster_cidrs: plan.map(|plan| plan.spec.cluster_cidrs.clone()).unwrap_or_default(),
        masquerade_egress: plan.is_some(),
        host,
        ..ProxyConfig::default()
    }
}

fn text(case: &Case, explanation: &Explanation) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} sends a packet; the node {} decides:", case.sender, case.node);
    let _ = write!(text, "{explanation}");
    text
}

/// A node as far as a packet's way depends on it.
struct Place {
    name: String,
    addresses: Vec<IpAddr>,
}

async fn places(client: &Client) -> anyhow::Result<Vec<Place>> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let place = |node: Node| Place {
        name: node.metadata.name.unwrap_or_default(),
        addresses: node
            .status
            .and_then(|status| status.addresses)
            .into_iter()
            .flatten()
            .filter(|address| address.type_ == "InternalIP")
            .filter_map(|address| address.address.parse().ok())
            .collect(),
    };
    Ok(nodes.items.into_iter().map(place).collect())
}

async fn case(args: &Args, client: &Client, outside: &[IpAddr]) -> anyhow::Result<Case> {
    let Target { address, protocol } = args.to;
    let destination = address.ip();
    let places = places(client).await.context("cannot read the cluster's nodes")?;
    let (sender, node, source) = match &args.from {
        Sender::Node(name) => {
            let place = find(&places, name)?;
            let source = of_family(&place.addresses, destination, || format!("the node {name}"))?;
            (format!("node {name}"), place, source)
        }
        Sender::Pod { namespace, name } => {
            let pod = Api::<Pod>::namespaced(client.clone(), namespace).get(name).await?;
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let node = node.with_context(|| format!("the pod {name} is on no node yet"))?;
            let who = || format!("the pod {namespace}/{name}");
            let source = of_family(&pod_addresses(&pod), destination, who)?;
            (format!("pod {namespace}/{name}"), find(&places, node)?, source)
        }
        Sender::Outside => {
            let place = match &args.via {
                Some(name) => find(&places, name)?,
                None => places
                    .iter()
                    .find(|place| place.addresses.contains(&destination))
                    .context("which node does the packet reach? give it with --via NODE")?,
            };
            let source = match args.source {
                Some(source) => source,
                None => of_family(outside, destination, || "the client (see --source)".to_owned())?,
            };
            ("a client outside".to_owned(), place, source)
        }
    };
    let query = Query { source, destination, port: address.port(), protocol };
    Ok(Case { sender, node: node.name.clone(), query })
}

fn find<'p>(places: &'p [Place], name: &str) -> anyhow::Result<&'p Place> {
    if let Some(place) = places.iter().find(|place| place.name == name) {
        return Ok(place);
    }
    let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
    bail!("the cluster has no node {name}; it has {}", names.join(", "))
}

fn of_family(
    addresses: &[IpAddr],
    like: IpAddr,
    who: impl FnOnce() -> String,
) -> anyhow::Result<IpAddr> {
    let found = addresses.iter().copied().find(|address| address.is_ipv4() == like.is_ipv4());
    found.with_context(|| {
        let family = if like.is_ipv4() { "IPv4" } else { "IPv6" };
        format!("{} has no {family} address", who())
    })
}

fn pod_addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let all = status.pod_ip.as_deref().into_iter().chain(listed);
    all.filter_map(|text| text.parse().ok()).collect()
}
