//! Names, numbers and keys of the tables: everything that two versions must agree on.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_linux::nftables::TableFamily;
use portolan_model::frontend::{Family, FrontendAddress, FrontendKey};
use portolan_model::object::Protocol;

/// The table, one per IP family.
pub(super) const TABLE: &str = "portolan";

/// Sets and maps whose elements are written through netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Set {
    /// address . protocol . port : number
    Frontends,
    /// protocol . port : number
    NodePorts,
    /// number of a split : number for pods and the node itself
    Inside,
    /// number of a split : number for everybody else
    Outside,
    /// pool . index : address . port, of one protocol, because `nft` wants to know which
    EndpointsTcp,
    EndpointsUdp,
    EndpointsSctp,
    /// pool . index : backend number, where clients keep their backend
    Slots,
    /// backend number : address . port
    Kept,
    ClusterIps,
    /// Addresses of this node's backends.
    LocalEndpoints,
    /// The same as pairs: a pod that reaches itself.
    Hairpin,
    /// The nodes' addresses.
    Nodes,
    /// Frontends that not everybody may use.
    Guarded,
    /// Who may: address . protocol . port . source network
    Allowed,
}

impl Set {
    /// All of them. Nothing leads from an earlier one to a later one.
    pub(super) const ALL: [Self; 15] = [
        Self::EndpointsTcp,
        Self::EndpointsUdp,
        Self::EndpointsSctp,
        Self::Slots,
        Self::Kept,
        Self::Inside,
        Self::Outside,
        Self::LocalEndpoints,
        Self::Hairpin,
        Self::Nodes,
        Self::Allowed,
        Self::Guarded,
        Self::Frontends,
        Self::NodePorts,
        Self::ClusterIps,
    ];

    /// Where the backends of pools of that protocol are.
    pub(super) fn endpoints(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::EndpointsTcp,
            Protocol::Udp => Self::EndpointsUdp,
            Protocol::Sctp => Self::EndpointsSctp,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Frontends => "frontends",
            Self::NodePorts => "node_ports",
            Self::Inside => "inside",
            Self::Outside => "outside",
            Self::EndpointsTcp => "endpoints_tcp",
            Self::EndpointsUdp => "endpoints_udp",
            Self::EndpointsSctp => "endpoints_sctp",
            Self::Slots => "slots",
            Self::Kept => "kept",
            Self::ClusterIps => "cluster_ips",
            Self::LocalEndpoints => "local_endpoints",
            Self::Hairpin => "hairpin",
            Self::Nodes => "nodes",
            Self::Guarded => "guarded",
            Self::Allowed => "allowed",
        }
    }
}

/// Filled by packets: client . frontend : backend number, with a timeout.
pub(super) const AFFINITY: &str = "affinity";
/// class : goto the chain of that class
pub(super) const CHOOSE: &str = "choose";

/// What the first lookup answers: one 32-bit number that says what to do with a connection.
///
/// | bits | |
/// | --- | --- |
/// | 31 | masquerade even pods when the backend is on another node |
/// | 12..31 | id of the pool or split |
/// | 0..12 | class: what to do, see [`Class`] |
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Number(pub(super) u32);

impl Number {
    pub(super) const MASQUERADE: u32 = 1 << 31;
    pub(super) const CLASS_MASK: u32 = 0xfff;
    /// What names a pool in the key of [`Set::EndpointsTcp`] and its like.
    pub(super) const POOL_MASK: u32 = !(Self::CLASS_MASK | Self::MASQUERADE);
    pub(super) const MAX_ID: u32 = (Self::MASQUERADE >> 12) - 1;

    pub(super) fn new(id: u32, class: u16, masquerade: bool) -> Self {
        debug_assert!(id <= Self::MAX_ID && u32::from(class) <= Self::CLASS_MASK);
        Self(id << 12 | u32::from(class) | if masquerade { Self::MASQUERADE } else { 0 })
    }

    pub(super) fn id(self) -> u32 {
        (self.0 & Self::POOL_MASK) >> 12
    }

    pub(super) fn class(self) -> u16 {
        (self.0 & Self::CLASS_MASK) as u16
    }

    pub(super) fn masquerades(self) -> bool {
        self.0 & Self::MASQUERADE != 0
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes)))
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// As `nft` prints it.
impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}:{:x}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// What a class means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Class {
    /// How many backends there are to choose from.
    pub(super) count: u32,
    /// For how many seconds a client keeps its backend.
    pub(super) affinity: Option<u32>,
}

impl Class {
    /// Refuse the connection.
    pub(super) const REJECT: u16 = 0;
    /// Drop it.
    pub(super) const DROP: u16 = 1;
    /// Look again, in `inside` or `outside`.
    pub(super) const SPLIT: u16 = 2;
    /// The first class with a chain that chooses.
    pub(super) const FIRST: u16 = 3;

    pub(super) fn chain(self) -> String {
        match self.affinity {
            None => format!("choose_{}", self.count),
            Some(seconds) => format!("choose_{}_keep_{seconds}", self.count),
        }
    }

    pub(super) fn of_chain(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("choose_")?;
        match rest.split_once("_keep_") {
            None => Some(Self { count: rest.parse().ok()?, affinity: None }),
            Some((count, seconds)) => {
                Some(Self { count: count.parse().ok()?, affinity: Some(seconds.parse().ok()?) })
            }
        }
    }
}

/// A set element's key or data: components padded to four bytes, one behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::proxy::datapath) struct Bytes {
    length: u8,
    bytes: [u8; Bytes::MAX],
}

impl Bytes {
    /// `ipv6 . proto . port . ipv6`
    pub(super) const MAX: usize = 40;

    pub(in crate::proxy::datapath) fn new() -> Self {
        Self { length: 0, bytes: [0; Self::MAX] }
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.length);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.length += (bytes.len() as u8).next_multiple_of(4);
    }

    pub(in crate::proxy::datapath) fn ip(mut self, address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(ip) => self.push(&ip.octets()),
            IpAddr::V6(ip) => self.push(&ip.octets()),
        }
        self
    }

    pub(in crate::proxy::datapath) fn protocol(mut self, protocol: Protocol) -> Self {
        self.push(&[protocol.number()]);
        self
    }

    pub(in crate::proxy::datapath) fn port(mut self, port: u16) -> Self {
        self.push(&port.to_be_bytes());
        self
    }

    pub(in crate::proxy::datapath) fn number(mut self, number: u32) -> Self {
        self.push(&number.to_ne_bytes());
        self
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The set and the key under which a frontend is found.
pub(super) fn frontend_key(key: &FrontendKey) -> (Set, Bytes) {
    let bytes = Bytes::new();
    match &key.address {
        FrontendAddress::Ip(ip) => {
            (Set::Frontends, bytes.ip(ip).protocol(key.protocol).port(key.port))
        }
        FrontendAddress::Node(_) => (Set::NodePorts, bytes.protocol(key.protocol).port(key.port)),
    }
}

/// Reads a key of `frontends` or `node_ports` back.
pub(super) fn read_frontend_key(family: Family, set: Set, key: &[u8]) -> Option<FrontendKey> {
    let (address, rest) = match set {
        Set::NodePorts => (FrontendAddress::Node(family), key),
        _ => {
            let (ip, rest) = read_ip(family, key)?;
            (FrontendAddress::Ip(ip), rest)
        }
    };
    let protocol = match *rest.first()? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    Some(FrontendKey { address, protocol, port: read_port(rest.get(4..)?)? })
}

pub(in crate::proxy::datapath) fn read_ip(family: Family, bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    match family {
        Family::Ipv4 => {
            let (ip, rest) = bytes.split_first_chunk::<4>()?;
            Some((IpAddr::from(*ip), rest))
        }
        Family::Ipv6 => {
            let (ip, rest) = bytes.split_first_chunk::<16>()?;
            Some((IpAddr::from(*ip), rest))
        }
    }
}

pub(in crate::proxy::datapath) fn read_port(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The first and the last key of a frontend's clients from one network.
pub(super) fn allowed_keys(key: &FrontendKey, source: &IpNet) -> (Bytes, Bytes) {
    let (_, frontend) = frontend_key(key);
    (frontend.ip(&source.network()), frontend.ip(&source.broadcast()))
}

pub(in crate::proxy::datapath) fn table_family(family: Family) -> TableFamily {
    match family {
        Family::Ipv4 => TableFamily::Ipv4,
        Family::Ipv6 => TableFamily::Ipv6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_parts() {
        let number = Number::new(Number::MAX_ID, 0xfff, true);
        assert_eq!(
            (number.id(), number.class(), number.masquerades()),
            (Number::MAX_ID, 0xfff, true)
        );
        let number = Number::new(1, 3, false);
        assert_eq!((number.id(), number.class(), number.masquerades()), (1, 3, false));
        assert_eq!(number.to_string(), "0:1003");
    }

    #[test]
    fn a_class_is_read_off_its_chain() {
        for class in [Class { count: 7, affinity: None }, Class { count: 900, affinity: Some(60) }]
        {
            assert_eq!(Class::of_chain(&class.chain()), Some(class));
        }
        assert_eq!(Class::of_chain("choose_"), None);
        assert_eq!(Class::of_chain("refuse"), None);
    }

    #[test]
    fn frontend_keys_survive_the_way_to_the_kernel_and_back() {
        for (family, address) in [
            (Family::Ipv4, FrontendAddress::Ip([10, 96, 0, 1].into())),
            (Family::Ipv6, FrontendAddress::Ip("fd00::1".parse().unwrap())),
            (Family::Ipv6, FrontendAddress::Node(Family::Ipv6)),
        ] {
            let key = FrontendKey { address, protocol: Protocol::Sctp, port: 30_002 };
            let (set, bytes) = frontend_key(&key);
            assert_eq!(read_frontend_key(family, set, &bytes), Some(key));
        }
        assert_eq!(read_frontend_key(Family::Ipv4, Set::Frontends, &[1, 2, 3]), None);
    }
}
