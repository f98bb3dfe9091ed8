use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use portolan_model::NodeView;
use portolan_model::frontend::Family;
use portolan_model::node_view::NodePortAddresses;

use super::datapath::Host;
use super::tuning::Conntrack;

/// How this node's proxy works; the fields are kube-proxy's flags where it has them.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The name of this node's Node object (`--hostname-override`).
    pub node_name: String,
    /// `--proxy-mode`; see [`super::MODES`].
    pub mode: String,
    /// Where pods' addresses come from; empty means unknown, and nothing is known to be a pod.
    pub cluster_cidrs: Vec<IpNet>,
    /// The node's addresses on which node ports answer.
    pub nodeport_addresses: NodePortAddresses,
    /// Whether node ports answer on 127.0.0.1 where the mode can do that.
    pub localhost_node_ports: bool,
    /// Masquerade every connection to a ClusterIP.
    pub masquerade_all: bool,
    /// Masquerade pods' connections that leave the cluster; for networks where nobody else does.
    pub masquerade_egress: bool,
    /// IP families to serve; empty means those of `cluster_cidrs`, or both.
    pub families: Vec<Family>,
    /// Where `/metrics` and `/proxyMode` are served.
    pub metrics_bind_address: Option<SocketAddr>,
    /// Where `/healthz` and `/livez` are served.
    pub healthz_bind_address: Option<SocketAddr>,
    /// How often to look whether others touched the kernel's tables.
    pub drift_period: Duration,
    /// Which part of the machine is this node's.
    pub host: Host,
    /// How the kernel tracks connections.
    pub conntrack: Conntrack,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            mode: "auto".to_owned(),
            cluster_cidrs: vec![],
            nodeport_addresses: NodePortAddresses::All,
            localhost_node_ports: true,
            masquerade_all: false,
            masquerade_egress: false,
            families: vec![],
            metrics_bind_address: Some(([127, 0, 0, 1], 10249).into()),
            healthz_bind_address: Some(([0, 0, 0, 0], 10256).into()),
            drift_period: Duration::from_secs(5),
            host: Host::default(),
            conntrack: Conntrack::default(),
        }
    }
}

impl ProxyConfig {
    /// As with kube-proxy, 127.0.0.1 is one of the node's addresses that may be left out.
    fn loopback_asked_for(&self) -> bool {
        if !self.localhost_node_ports {
            return false;
        }
        let local = std::net::IpAddr::from([127, 0, 0, 1]);
        match &self.nodeport_addresses {
            NodePortAddresses::All => true,
            NodePortAddresses::Primary => false,
            NodePortAddresses::Within(nets) => {
                let mut nets = nets.iter().filter(|net| net.addr().is_ipv4()).peekable();
                nets.peek().is_none() || nets.any(|net| net.contains(&local))
            }
        }
    }

    /// The model's view of this node; `loopback` says whether node ports can answer on 127.0.0.1.
    pub(super) fn view(&self, loopback: bool) -> NodeView {
        let mut families = self.families.clone();
        if families.is_empty() {
            families = self.cluster_cidrs.iter().map(Family::of_net).collect();
        }
        if families.is_empty() {
            families = Family::BOTH.to_vec();
        }
        families.sort_unstable();
        families.dedup();
        NodeView {
            name: self.node_name.as_str().into(),
            families,
            cluster_cidrs: self.cluster_cidrs.iter().map(IpNet::trunc).collect(),
            node_port_addresses: self.nodeport_addresses.clone(),
            loopback_node_ports: loopback && self.loopback_asked_for(),
            masquerade_all: self.masquerade_all,
            masquerade_egress: self.masquerade_egress,
        }
    }
}
