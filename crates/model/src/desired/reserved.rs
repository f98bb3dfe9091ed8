//! Addresses that belong to the cluster itself, and so to nobody's external address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::refused::Refusal;
use crate::node_view::NodeView;
use crate::snapshot::Snapshot;

/// What must not be an external address on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// From which the cluster takes Services' addresses.
    service_ranges: Vec<IpNet>,
    /// From which it takes pods' addresses.
    pod_ranges: BTreeSet<IpNet>,
    /// The other nodes' addresses.
    others: BTreeSet<IpAddr>,
    /// This node's own, which are usual external addresses.
    own: BTreeSet<IpAddr>,
}

impl Reserved {
    /// Reads them off the cluster.
    pub fn new(snapshot: &Snapshot, view: &NodeView) -> Self {
        let own = |name: &str| *name == *view.name;
        let addresses = |mine: bool| {
            let nodes = snapshot.nodes().filter(move |node| own(&node.name) == mine);
            nodes.flat_map(|node| node.internal_ips.iter().chain(&node.external_ips)).copied()
        };
        let pod_ranges = snapshot.nodes().flat_map(|node| &node.pod_cidrs);
        Self {
            service_ranges: snapshot.service_ranges().to_vec(),
            pod_ranges: pod_ranges.chain(&view.cluster_cidrs).map(IpNet::trunc).collect(),
            own: addresses(true).collect(),
            others: addresses(false).collect(),
        }
    }

    /// Why the address cannot be an external one; `None` if it can.
    pub fn refusal(&self, address: &IpAddr) -> Option<Refusal> {
        let mapped = address.to_canonical();
        let within = |net: &IpNet| net.contains(address) || net.contains(&mapped);
        if let Some(special) = special(&mapped) {
            return Some(special);
        }
        if self.service_ranges.iter().any(within) {
            return Some(Refusal::ServiceRange);
        }
        // Where nodes' and pods' addresses come from one network, the node's own stay usable.
        if self.own.contains(address) {
            return None;
        }
        if self.others.contains(address) {
            return Some(Refusal::OtherNode);
        }
        self.pod_ranges.iter().any(within).then_some(Refusal::PodRange)
    }
}

fn special(address: &IpAddr) -> Option<Refusal> {
    let link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let broadcast = matches!(address, IpAddr::V4(ip) if ip.is_broadcast());
    match () {
        () if address.is_loopback() => Some(Refusal::Loopback),
        () if link_local => Some(Refusal::LinkLocal),
        () if address.is_unspecified() || address.is_multicast() || broadcast => {
            Some(Refusal::NotUnicast)
        }
        () => None,
    }
}
