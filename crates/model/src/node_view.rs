//! What the model has to know about the node it decides for.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::frontend::Family;

/// The addresses of the node on which node ports answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// All of them.
    #[default]
    All,
    /// The Node object's InternalIPs.
    Primary,
    /// Those in these networks.
    Within(Vec<IpNet>),
}

/// The node's own configuration; what comes from its Node object is read from the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    pub name: Arc<str>,
    /// The IP families that this node serves.
    pub families: Vec<Family>,
    /// Where pods' addresses come from; empty means unknown.
    pub cluster_cidrs: Vec<IpNet>,
    pub node_port_addresses: NodePortAddresses,
    /// Whether node ports answer on 127.0.0.0/8 too.
    pub loopback_node_ports: bool,
    /// Masquerade every connection to a ClusterIP.
    pub masquerade_all: bool,
    /// Masquerade pods' connections that leave the cluster.
    pub masquerade_egress: bool,
}

/// Who sent a packet, as far as policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Pod,
    Node,
    Outside,
}

impl NodeView {
    /// Whether the address is a pod's; never true where the pods' networks are unknown.
    pub fn is_pod(&self, address: &IpAddr) -> bool {
        self.cluster_cidrs.iter().any(|net| net.contains(address))
    }

    /// Classifies a sender; `own` says whether the address is one of the node's own.
    pub fn source(&self, address: &IpAddr, own: bool) -> Source {
        match (self.is_pod(address), own) {
            (true, _) => Source::Pod,
            (false, true) => Source::Node,
            (false, false) => Source::Outside,
        }
    }
}
