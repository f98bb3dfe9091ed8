//! External addresses that would take traffic away from somebody else in the cluster.
//!
//! Whoever may write a Service may ask for any external IP, and whoever may write its status for
//! any load-balancer address (CVE-2020-8554). Those that are the cluster's own are not served:
//! otherwise a Service could catch what others send to another Service, to a pod, to another
//! node or to the loopback of this one.

use std::net::IpAddr;

use super::reserved::Reserved;
use crate::frontend::{Family, FrontendAddress, FrontendKind};
use crate::node_view::NodeView;
use crate::object::{IpMode, Service};

/// An address that a Service asks for and does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Refused {
    pub address: IpAddr,
    /// ExternalIp or LoadBalancerIp.
    pub kind: FrontendKind,
    pub why: Refusal,
}

/// Why an address is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    Loopback,
    LinkLocal,
    /// Unspecified, multicast or broadcast.
    NotUnicast,
    ServiceRange,
    PodRange,
    OtherNode,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Loopback,
        Self::LinkLocal,
        Self::NotUnicast,
        Self::ServiceRange,
        Self::PodRange,
        Self::OtherNode,
    ];

    /// The reason as a phrase that completes "not served: …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "it is a loopback address",
            Self::LinkLocal => "it is a link-local address",
            Self::NotUnicast => "it is no unicast address",
            Self::ServiceRange => "it lies in the cluster's service range",
            Self::PodRange => "it lies in the range of the pods' addresses",
            Self::OtherNode => "it is another node's address, which that node serves itself",
        }
    }

    /// The reason as a label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::NotUnicast => "not_unicast",
            Self::ServiceRange => "service_range",
            Self::PodRange => "pod_range",
            Self::OtherNode => "other_node",
        }
    }

    /// Whether somebody has to change something. Another node's address is served there.
    pub fn is_mistake(self) -> bool {
        self != Self::OtherNode
    }
}

/// The addresses that the Service asks for and that this node must not serve.
pub(super) fn refused(service: &Service, view: &NodeView, reserved: &Reserved) -> Vec<Refused> {
    let balancers = service.load_balancer.iter().filter(|ingress| ingress.ip_mode == IpMode::Vip);
    let external = service.external_ips.iter().map(|ip| (*ip, FrontendKind::ExternalIp));
    let balancers = balancers.map(|ingress| (ingress.ip, FrontendKind::LoadBalancerIp));
    let mut found: Vec<Refused> = external
        .chain(balancers)
        .filter(|(address, _)| view.families.contains(&Family::of(address)))
        .filter_map(|(address, kind)| {
            Some(Refused { address, kind, why: reserved.refusal(&address)? })
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

pub(super) fn is_refused(
    refused: &[Refused],
    kind: FrontendKind,
    address: &FrontendAddress,
) -> bool {
    let FrontendAddress::Ip(ip) = address else { return false };
    kind.is_external() && refused.iter().any(|one| one.address == *ip)
}
