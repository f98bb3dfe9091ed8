//! The reference for every datapath: what becomes of one packet.

use std::net::IpAddr;

use crate::backend::Backend;
use crate::desired::Desired;
use crate::frontend::{Action, Family, Frontend, FrontendAddress, FrontendKey, Scope};
use crate::node_view::Source;
use crate::object::Protocol;

/// The first packet of a connection, as it enters this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: Protocol,
    pub destination_port: u16,
    /// Whether the source address is one of this node's own.
    pub from_node: bool,
    /// Whether the destination address is one of this node's own.
    pub to_node: bool,
}

/// A backend that a packet may go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub backend: Backend,
    /// Between 0 and 1; the probabilities of a verdict's choices add up to 1.
    pub probability: f64,
    /// Whether the backend sees an address of this node instead of the client's.
    pub masquerade: bool,
}

/// Why a packet is refused or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No endpoint in the cluster would answer.
    NoEndpoint,
    /// A traffic policy of Local, and no endpoint on this node.
    NoLocalEndpoint,
    /// The ClusterIP has no such port.
    UnknownPort,
    /// The source is in none of `loadBalancerSourceRanges`.
    SourceRange,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No Service is concerned. `masquerade`: it leaves the cluster under the node's address.
    Pass {
        masquerade: bool,
    },
    Balance {
        frontend: FrontendKey,
        scope: Scope,
        choices: Vec<Choice>,
        /// A client that came within so many seconds keeps its backend.
        affinity_seconds: Option<u32>,
    },
    /// TCP gets a reset, everything else ICMP's port unreachable.
    Reject {
        frontend: Option<FrontendKey>,
        reason: Reason,
    },
    Drop {
        frontend: FrontendKey,
        reason: Reason,
    },
}

/// Decides what becomes of a packet.
pub fn route(desired: &Desired, packet: &Packet) -> Verdict {
    if !desired.view.families.contains(&Family::of(&packet.destination)) {
        return Verdict::Pass { masquerade: false };
    }
    match find(desired, packet) {
        Some((key, frontend)) => decide(desired, packet, key, frontend),
        None if desired.is_cluster_ip(&packet.destination) => {
            Verdict::Reject { frontend: None, reason: Reason::UnknownPort }
        }
        None => Verdict::Pass {
            masquerade: leaves_cluster(desired, &packet.source, &packet.destination)
                && !packet.to_node,
        },
    }
}

/// Finds the frontend that a packet dials.
pub fn find<'a>(desired: &'a Desired, packet: &Packet) -> Option<(FrontendKey, &'a Frontend)> {
    let at =
        |address| FrontendKey { address, protocol: packet.protocol, port: packet.destination_port };
    let exact = at(FrontendAddress::Ip(packet.destination));
    if let Some(frontend) = desired.frontend(&exact) {
        return Some((exact, frontend));
    }
    if desired.is_cluster_ip(&packet.destination) || !serves_node_ports(desired, packet) {
        return None;
    }
    let node = at(FrontendAddress::Node(Family::of(&packet.destination)));
    desired.frontend(&node).map(|frontend| (node, frontend))
}

fn serves_node_ports(desired: &Desired, packet: &Packet) -> bool {
    let address = &packet.destination;
    if !packet.to_node {
        return false;
    }
    if address.is_loopback() {
        return address.is_ipv4() && desired.view.loopback_node_ports;
    }
    let nets = desired.node_port_networks(Family::of(address));
    nets.iter().any(|net| net.contains(address))
}

fn decide(desired: &Desired, packet: &Packet, key: FrontendKey, frontend: &Frontend) -> Verdict {
    let barred = |nets: &std::sync::Arc<[ipnet::IpNet]>| {
        !nets.iter().any(|net| net.contains(&packet.source))
    };
    if frontend.sources.as_ref().is_some_and(barred) {
        return Verdict::Drop { frontend: key, reason: Reason::SourceRange };
    }
    let action = match desired.view.source(&packet.source, packet.from_node) {
        Source::Pod | Source::Node => frontend.inside,
        Source::Outside => frontend.outside,
    };
    let scope = match action {
        Action::Reject => {
            return Verdict::Reject { frontend: Some(key), reason: Reason::NoEndpoint };
        }
        Action::Drop => return Verdict::Drop { frontend: key, reason: Reason::NoLocalEndpoint },
        Action::Balance(scope) => scope,
    };
    let pool = desired.pool_of(&key, &frontend.port, scope);
    let backends = pool.map_or(&[][..], |pool| &pool.backends);
    let probability = 1.0 / backends.len() as f64;
    Verdict::Balance {
        frontend: key,
        scope,
        choices: backends
            .iter()
            .map(|backend| Choice {
                backend: *backend,
                probability,
                masquerade: masquerade(desired, packet, frontend, backend),
            })
            .collect(),
        affinity_seconds: pool.and_then(|pool| pool.affinity_seconds),
    }
}

/// A connection is masqueraded where its answers would otherwise miss this node, or could not be
/// delivered.
fn masquerade(desired: &Desired, packet: &Packet, frontend: &Frontend, backend: &Backend) -> bool {
    let view = &desired.view;
    let itself = packet.source == backend.address && desired.is_local_backend(&packet.source);
    if itself || packet.source.is_loopback() {
        return true;
    }
    if view.masquerade_all && desired.is_cluster_ip(&packet.destination) {
        return true;
    }
    if desired.is_local_backend(&backend.address) {
        return false;
    }
    if frontend.masquerade_pods {
        return true;
    }
    let known =
        view.cluster_cidrs.iter().any(|net| Family::of_net(net) == Family::of(&packet.source));
    match view.source(&packet.source, packet.from_node) {
        Source::Pod => leaves_cluster(desired, &packet.source, &backend.address),
        Source::Node => true,
        Source::Outside => known,
    }
}

fn leaves_cluster(desired: &Desired, source: &IpAddr, destination: &IpAddr) -> bool {
    let view = &desired.view;
    view.masquerade_egress
        && view.is_pod(source)
        && !view.is_pod(destination)
        && !desired.node_addresses().contains(destination)
        && !destination.is_multicast()
}
