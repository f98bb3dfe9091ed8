//! `lab status`: the nodes and components of a lab, and how they are.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use portolan_linux::netns::NetNs;
use serde::Serialize;

use super::control::{self, ComponentStatus};
use super::exec::load;
use super::paths::Paths;
use super::plan::{CONTROL_PLANE, Kind, Machine, Plan};
use super::up::is_ready;
use super::{http, pods};

/// How long a question may take: a lab that is ill shall still be shown.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// The lab as `-o json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LabStatus {
    name: String,
    proxy_mode: String,
    kubeconfig: PathBuf,
    cluster_domain: String,
    dns_addresses: Vec<IpAddr>,
    supervisor: SupervisorStatus,
    nodes: Vec<NodeStatus>,
    outside: MachineStatus,
    components: Vec<ComponentHealth>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SupervisorStatus {
    /// Absent when it died: then `lab down` or `lab up` cleans up.
    pid: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MachineStatus {
    name: String,
    addresses: Vec<IpAddr>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    #[serde(flatten)]
    machine: MachineStatus,
    /// Absent when the API server does not answer or does not know the node.
    ready: Option<bool>,
    pod_cidrs: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ComponentHealth {
    name: String,
    component: &'static str,
    node: String,
    pid: Option<u32>,
    healthy: bool,
    /// Of a proxy that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_mode: Option<String>,
    restarts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_exit: Option<String>,
    log: PathBuf,
}

pub fn run(lab: &str, format: Format) -> anyhow::Result<String> {
    super::requirements::root("lab status")?;
    let paths = Paths::of(lab);
    let plan = load(lab, &paths)?;
    let status = gather(&plan, &paths)?;
    match format {
        Format::Json => Ok(serde_json::to_string_pretty(&status)?),
        Format::Text => Ok(text(&status)),
    }
}

fn gather(plan: &Plan, paths: &Paths) -> anyhow::Result<LabStatus> {
    let supervised = control::status(paths).ok();
    let runtime = crate::runtime::small()?;
    let nodes = runtime.block_on(nodes(paths));
    let components = supervised.as_ref().map(|status| status.components.clone());
    let mut healths = Vec::new();
    for component in components.unwrap_or_default() {
        healths.push(health(component, paths, nodes.as_deref()));
    }
    healths.extend(dns(plan, paths));
    Ok(LabStatus {
        name: plan.spec.name.clone(),
        proxy_mode: mode_of(CONTROL_PLANE, &healths)
            .unwrap_or_else(|| plan.spec.proxy_mode.to_string()),
        kubeconfig: plan.spec.kubeconfig.clone().unwrap_or_else(|| paths.kubeconfig()),
        cluster_domain: plan.spec.cluster_domain.clone(),
        dns_addresses: plan.dns_addresses.clone(),
        supervisor: SupervisorStatus { pid: supervised.map(|status| status.supervisor_pid) },
        nodes: plan.nodes.iter().map(|node| node_status(node, nodes.as_deref())).collect(),
        outside: machine(&plan.outside),
        components: healths,
    })
}

fn machine(machine: &Machine) -> MachineStatus {
    MachineStatus { name: machine.name.clone(), addresses: machine.ips() }
}

/// The Node objects; absent when the API server does not answer.
async fn nodes(paths: &Paths) -> Option<Vec<Node>> {
    let list = async {
        let client = crate::config::kubeconfig::client(&paths.kubeconfig()).await?;
        let nodes = Api::<Node>::all(client).list(&kube::api::ListParams::default()).await?;
        anyhow::Ok(nodes.items)
    };
    tokio::time::timeout(PATIENCE, list).await.ok()?.ok()
}

fn named<'n>(nodes: Option<&'n [Node]>, name: &str) -> Option<&'n Node> {
    nodes?.iter().find(|node| node.metadata.name.as_deref() == Some(name))
}

fn node_status(planned: &Machine, nodes: Option<&[Node]>) -> NodeStatus {
    let node = named(nodes, &planned.name);
    let pod_cidrs = node.and_then(|node| node.spec.as_ref()?.pod_cidrs.clone());
    NodeStatus {
        machine: machine(planned),
        ready: node.map(is_ready),
        pod_cidrs: pod_cidrs.unwrap_or_default(),
    }
}

/// Asks a component by the way it tells its health.
fn health(component: ComponentStatus, paths: &Paths, nodes: Option<&[Node]>) -> ComponentHealth {
    let healthy = component.pid.is_some()
        && match component.kind {
            Kind::Apiserver => nodes.is_some(),
            Kind::Controllers | Kind::Dns => true,
            Kind::Node => named(nodes, &component.node).is_some_and(is_ready),
            Kind::Proxy => proxy_answers(paths, &component.node, "/healthz").is_some(),
        };
    let proxy_mode = match component.kind {
        Kind::Proxy => proxy_answers(paths, &component.node, "/proxyMode")
            .map(|mode| mode.trim().to_owned())
            .filter(|mode| !mode.is_empty()),
        _ => None,
    };
    let log = paths.logs().join(format!("{}.log", component.name));
    ComponentHealth {
        component: component.kind.name(),
        name: component.name,
        node: component.node,
        pid: component.pid,
        healthy,
        proxy_mode,
        restarts: component.restarts,
        last_exit: component.last_exit,
        log,
    }
}

/// The DNS pods, which the nodes' agents supervise.
fn dns(plan: &Plan, paths: &Paths) -> Vec<ComponentHealth> {
    let mut healths = Vec::new();
    for node in &plan.nodes {
        for pods::Container { pod, pid, restarts, .. } in pods::dns(paths, &node.name) {
            let netns = NetNs::of_process(pid);
            let ready = netns.ok().and_then(|netns| {
                netns.run(|| http::get(local(8181), "/ready", PATIENCE)).ok()?.ok()
            });
            healths.push(ComponentHealth {
                name: format!("dns@{}", node.name),
                component: Kind::Dns.name(),
                node: node.name.clone(),
                pid: Some(pid),
                healthy: ready.is_some(),
                proxy_mode: None,
                restarts,
                last_exit: None,
                log: PathBuf::from(format!("kubectl logs -n kube-system {pod}")),
            });
        }
    }
    healths
}

fn local(port: u16) -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}

fn proxy_answers(paths: &Paths, node: &str, path: &str) -> Option<String> {
    let netns = NetNs::open(paths.netns(node)).ok()?;
    netns.run(|| http::get(local(10249), path, PATIENCE)).ok()?.ok()
}

/// The mode that the proxy of a node is in.
fn mode_of(node: &str, components: &[ComponentHealth]) -> Option<String> {
    let modes = components.iter().filter(|component| component.node == node);
    modes.filter_map(|component| component.proxy_mode.clone()).next()
}

/// The modes of all proxies: that of the control plane, and where another one is.
fn modes(status: &LabStatus) -> String {
    let mut text = status.proxy_mode.clone();
    for component in &status.components {
        if let Some(mode) = component.proxy_mode.as_ref().filter(|mode| **mode != status.proxy_mode)
        {
            let _ = write!(text, ", {mode} on {}", component.node);
        }
    }
    text
}

fn text(status: &LabStatus) -> String {
    let mut out = String::new();
    let supervisor = match status.supervisor.pid {
        Some(pid) => format!("running, process {pid}"),
        None => format!(
            "dead; portolan lab down --name {0} removes what is left, portolan lab up --name {0} starts afresh",
            status.name
        ),
    };
    let _ = writeln!(out, "Lab:         {}", status.name);
    let _ = writeln!(out, "Supervisor:  {supervisor}");
    let _ = writeln!(out, "Proxy mode:  {}", modes(status));
    let _ = writeln!(out, "Kubeconfig:  {}\n", status.kubeconfig.display());
    let mut nodes = table(["NODE", "STATUS", "ADDRESSES", "POD CIDRS"]);
    for node in &status.nodes {
        let ready = match node.ready {
            Some(true) => "Ready",
            Some(false) => "NotReady",
            None => "Unknown",
        };
        let cidrs = node.pod_cidrs.join(",");
        nodes.add_row([node.machine.name.as_str(), ready, &list(&node.machine.addresses), &cidrs]);
    }
    nodes.add_row([status.outside.name.as_str(), "-", &list(&status.outside.addresses), ""]);
    let mut components = table(["COMPONENT", "PID", "HEALTH", "RESTARTS"]);
    for component in &status.components {
        let pid = component.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let health = if component.healthy { "healthy" } else { "unhealthy" };
        components.add_row([&component.name, &pid, health, &component.restarts.to_string()]);
    }
    let _ = write!(out, "{nodes}\n\n{components}");
    // The table pads its last column.
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

fn table(header: [&str; 4]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table
}
