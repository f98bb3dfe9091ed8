//! Names, numbers and keys: everything that two versions must agree on.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_linux::ipvs::ServerKey;
use portolan_model::frontend::Family;
use portolan_model::object::Protocol;

use crate::proxy::datapath::nftables::layout::{Bytes, read_ip, read_port};

/// The table, one per IP family.
pub(super) const TABLE: &str = "portolan_ipvs";
/// The link that carries Services' addresses; kube-proxy's name for it.
pub(in crate::proxy) const LINK: &str = "kube-ipvs0";
/// The protocol number of routes that stand in for that link where there is no such kind of link.
pub(super) const ROUTES: u8 = 108;

/// Marks of virtual servers for the inside of the cluster: the upper bits of all of them. The rest
/// is a number.
pub(super) const MARK: u32 = 0x6970_0000;
pub(super) const MARK_MASK: u32 = 0xfff0_0000;

/// Sets and maps whose elements are written through netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Set {
    /// Whatever is dialled: address . protocol . port
    Frontends,
    /// Those of them that are node ports; and each node port once with the address 0.
    NodePorts,
    RefusedInside,
    RefusedOutside,
    DroppedInside,
    DroppedOutside,
    /// Where even pods are masqueraded.
    Masqueraded,
    /// Who dials from inside goes to the virtual server of that mark.
    InsideMarks,
    /// Frontends that not everybody may use.
    Guarded,
    /// Who may: address . protocol . port . source network
    Allowed,
    /// Virtual servers at the node's own addresses that only let connections finish.
    Draining,
    /// Services' addresses that this node has for their sake.
    Addresses,
    ClusterIps,
    /// Addresses of this node's backends.
    LocalEndpoints,
    /// The same as pairs: a pod that reaches itself.
    Hairpin,
    /// The nodes' addresses.
    Nodes,
}

impl Set {
    pub(super) const ALL: [Self; 16] = [
        Self::Frontends,
        Self::NodePorts,
        Self::RefusedInside,
        Self::RefusedOutside,
        Self::DroppedInside,
        Self::DroppedOutside,
        Self::Masqueraded,
        Self::InsideMarks,
        Self::Guarded,
        Self::Allowed,
        Self::Draining,
        Self::Addresses,
        Self::ClusterIps,
        Self::LocalEndpoints,
        Self::Hairpin,
        Self::Nodes,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Frontends => "frontends",
            Self::NodePorts => "node_ports",
            Self::RefusedInside => "refused_inside",
            Self::RefusedOutside => "refused_outside",
            Self::DroppedInside => "dropped_inside",
            Self::DroppedOutside => "dropped_outside",
            Self::Masqueraded => "masqueraded",
            Self::InsideMarks => "inside_marks",
            Self::Guarded => "guarded",
            Self::Allowed => "allowed",
            Self::Draining => "draining",
            Self::Addresses => "addresses",
            Self::ClusterIps => "cluster_ips",
            Self::LocalEndpoints => "local_endpoints",
            Self::Hairpin => "hairpin",
            Self::Nodes => "nodes",
        }
    }
}

/// An address and port that is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Door {
    pub(super) ip: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

impl Door {
    pub(super) fn family(&self) -> Family {
        Family::of(&self.ip)
    }

    pub(super) fn server(&self) -> ServerKey {
        ServerKey::Address { ip: self.ip, protocol: self.protocol.number(), port: self.port }
    }

    pub(super) fn of_server(key: &ServerKey) -> Option<Self> {
        let ServerKey::Address { ip, protocol, port } = *key else { return None };
        Some(Self { ip, protocol: protocol_of(protocol)?, port })
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes::new().ip(&self.ip).protocol(self.protocol).port(self.port)
    }

    pub(super) fn from_bytes(family: Family, bytes: &[u8]) -> Option<Self> {
        let (ip, rest) = read_ip(family, bytes)?;
        let protocol = protocol_of(*rest.first()?)?;
        Some(Self { ip, protocol, port: read_port(rest.get(4..)?)? })
    }

    /// What stands for a node port whatever the node's addresses are.
    pub(super) fn anywhere(family: Family, protocol: Protocol, port: u16) -> Self {
        let ip = match family {
            Family::Ipv4 => IpAddr::from([0; 4]),
            Family::Ipv6 => IpAddr::from([0; 16]),
        };
        Self { ip, protocol, port }
    }

    /// The first and the last key of its clients from one network.
    pub(super) fn allowed(&self, source: &IpNet) -> (Bytes, Bytes) {
        (self.bytes().ip(&source.network()), self.bytes().ip(&source.broadcast()))
    }
}

fn protocol_of(number: u8) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|it| it.number() == number)
}

pub(super) fn is_our_mark(mark: u32) -> bool {
    mark & MARK_MASK == MARK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_survive_the_way_to_the_kernel_and_back() {
        for ip in ["10.96.0.9", "fd00:10:96::9"] {
            let door = Door { ip: ip.parse().unwrap(), protocol: Protocol::Sctp, port: 30_002 };
            assert_eq!(Door::from_bytes(door.family(), &door.bytes()), Some(door));
            assert_eq!(Door::of_server(&door.server()), Some(door));
        }
        assert_eq!(Door::from_bytes(Family::Ipv4, &[1, 2, 3]), None);
        assert_eq!(Door::of_server(&ServerKey::Mark { mark: 1, ipv6: false }), None);
    }

    #[test]
    fn marks_of_others_are_told_apart() {
        assert!(is_our_mark(MARK | 1) && is_our_mark(MARK | 0x7_ffff));
        assert!(!is_our_mark(1) && !is_our_mark(0x6980_0001) && !is_our_mark(0x4000));
    }
}
