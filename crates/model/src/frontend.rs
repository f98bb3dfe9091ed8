//! What a client dials, and what is to become of it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::object::{ObjectName, Protocol};

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The family of a network.
    pub fn of_net(net: &IpNet) -> Self {
        Self::of(&net.addr())
    }
}

/// One port of a Service, in one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortName {
    pub service: ObjectName,
    /// Empty for the only port of a Service.
    pub port: Arc<str>,
    pub protocol: Protocol,
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.port {
            "" => self.service.fmt(f),
            port => write!(f, "{}:{port}", self.service),
        }
    }
}

/// Where a frontend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FrontendAddress {
    Ip(IpAddr),
    /// Every address of the node that serves node ports.
    Node(Family),
}

/// What a client dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrontendKey {
    pub address: FrontendAddress,
    pub protocol: Protocol,
    pub port: u16,
}

impl FrontendKey {
    pub fn family(&self) -> Family {
        match &self.address {
            FrontendAddress::Ip(address) => Family::of(address),
            FrontendAddress::Node(family) => *family,
        }
    }
}

impl fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            FrontendAddress::Ip(IpAddr::V6(ip)) => {
                write!(f, "[{ip}]:{}/{}", self.port, self.protocol)
            }
            FrontendAddress::Ip(ip) => write!(f, "{ip}:{}/{}", self.port, self.protocol),
            FrontendAddress::Node(_) => write!(f, "NODE:{}/{}", self.port, self.protocol),
        }
    }
}

/// Why a frontend exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FrontendKind {
    ClusterIp,
    NodePort,
    ExternalIp,
    LoadBalancerIp,
}

impl FrontendKind {
    /// Whether it is meant for clients outside the cluster: `externalTrafficPolicy` governs it.
    pub fn is_external(self) -> bool {
        self != Self::ClusterIp
    }
}

/// Which of a Service port's endpoints a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Any node's, narrowed by topology.
    Cluster,
    /// This node's.
    Local,
}

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It goes to a backend of that pool of the frontend's port.
    Balance(Scope),
    /// It is refused at once: nobody in the cluster would answer.
    Reject,
    /// It is dropped: only other nodes would answer, and a load balancer is to notice.
    Drop,
}

/// What a frontend does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    pub kind: FrontendKind,
    pub port: Arc<PortName>,
    /// For connections from pods and from the node itself.
    pub inside: Action,
    /// For everybody else's.
    pub outside: Action,
    /// Even a pod's connection is masqueraded when its backend runs on another node: the answer
    /// could otherwise reach the pod without passing this node.
    pub masquerade_pods: bool,
    /// The networks that may connect, aggregated; `None` means everybody.
    pub sources: Option<Arc<[IpNet]>>,
}

/// A pool's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolKey {
    pub port: Arc<PortName>,
    pub family: Family,
    pub scope: Scope,
}
