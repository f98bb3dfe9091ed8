//! What the index answers: values that borrow from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hosts::Host;
use super::label::HostLabel;
use super::ports::Port;
use super::service::ServiceEntry;
use super::table::Keyed;

/// A record type by its number in IANA's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    pub const A: Self = Self(1);
    pub const NS: Self = Self(2);
    pub const CNAME: Self = Self(5);
    pub const SOA: Self = Self(6);
    pub const PTR: Self = Self(12);
    pub const MX: Self = Self(15);
    pub const TXT: Self = Self(16);
    pub const AAAA: Self = Self(28);
    pub const SRV: Self = Self(33);
    pub const ANY: Self = Self(255);
}

/// What a name and type resolve to.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// The name does not exist, and nothing below it.
    NxDomain,
    /// The name exists, or a name below it, but has no record of this type.
    NoData,
    /// At least one address, all of the family asked for.
    Addresses(Addresses<'a>),
    /// At least one SRV record.
    Srv(Srv<'a>),
    /// The name is an alias of this absolute name, in wire form.
    Cname(&'a [u8]),
    /// The one string of a TXT record.
    Text(&'static str),
    /// The zone's own SOA record is asked for.
    Soa,
    /// The zone's name servers are asked for: [`super::Names::name_servers`].
    NameServer,
}

/// Addresses, each once: of IPv4 first, each family sorted.
#[derive(Clone, Debug)]
pub enum Addresses<'a> {
    One(IpAddr),
    Both(&'a [Ipv4Addr], &'a [Ipv6Addr]),
    /// Put together for this question: the rare ones that nobody keeps at hand.
    Gathered(Vec<IpAddr>),
}

impl Addresses<'_> {
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Both(v4, v6) => v4.len() + v6.len(),
            Self::Gathered(addresses) => addresses.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address at `index`, which is below [`Addresses::len`].
    pub fn get(&self, index: usize) -> Option<IpAddr> {
        match self {
            Self::One(address) => (index == 0).then_some(*address),
            Self::Both(v4, v6) => match v4.get(index) {
                Some(address) => Some(IpAddr::V4(*address)),
                None => v6.get(index - v4.len()).copied().map(IpAddr::V6),
            },
            Self::Gathered(addresses) => addresses.get(index).copied(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// The SRV records of one question.
#[derive(Clone, Copy, Debug)]
pub struct Srv<'a> {
    pub(super) service: &'a ServiceEntry,
    pub(super) records: SrvRecords<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SrvRecords<'a> {
    /// Ports of a Service with virtual addresses: all that match.
    Cluster { ports: &'a [Port], wanted: Wanted<'a> },
    /// The endpoints' ports between these places, and of the endpoints at most the one.
    Hosts { ports: (u16, u16), host: Option<u32> },
}

/// The port that a question names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) port: Option<(&'a [u8], crate::object::Protocol)>,
}

impl Wanted<'_> {
    pub(super) fn matches(&self, port: &Port) -> bool {
        self.port.is_none_or(|(name, protocol)| port.is(name, protocol))
    }
}

/// One SRV record; its priority is 0 and all records of an answer weigh the same.
#[derive(Clone, Debug)]
pub struct SrvTarget<'a> {
    pub port: u16,
    pub host: HostTarget<'a>,
}

/// A host below `svc.ZONE` that SRV records point to.
#[derive(Clone, Debug)]
pub struct HostTarget<'a> {
    /// Which of the Service's endpoints it is; `None` when it is the Service itself.
    pub number: Option<u32>,
    /// `None` when the target is the Service itself.
    pub label: Option<HostLabel<'a>>,
    /// `SERVICE.NAMESPACE` in wire form.
    pub service: &'a [u8],
    /// The target's addresses of both families, for the additional section.
    pub addresses: Addresses<'a>,
}

impl<'a> HostTarget<'a> {
    pub(super) fn of_service(service: &'a ServiceEntry) -> Self {
        let addresses = service.addresses().map_or(Addresses::Both(&[], &[]), |set| set.all());
        Self { number: None, label: None, service: service.key(), addresses }
    }

    pub(super) fn of_host(service: &'a ServiceEntry, number: u32) -> Option<Self> {
        let Host { label, addresses } = service.hosts().get(number)?;
        let (number, label) = (Some(number), Some(label));
        Some(Self { number, label, service: service.key(), addresses })
    }
}

impl<'a> Srv<'a> {
    /// How many records there are, at least one.
    pub fn len(&self) -> usize {
        self.targets().count()
    }

    /// Never: an empty set is NXDOMAIN or NODATA instead.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The weight of each record: equal shares of 100, as CoreDNS has it, which counts a target
    /// once for each of its addresses.
    pub fn weight(&self) -> u16 {
        let shares: usize = self.targets().map(|target| target.host.addresses.len()).sum();
        u16::try_from(100 / shares.max(1)).unwrap_or(0).max(1)
    }

    pub fn targets(self) -> impl Iterator<Item = SrvTarget<'a>> {
        let service = self.service;
        let (ports, wanted, places, host) = match self.records {
            SrvRecords::Cluster { ports, wanted } => (ports, wanted, (0, 0), None),
            SrvRecords::Hosts { ports, host } => (&[][..], Wanted { port: None }, ports, host),
        };
        let of_ports = ports.iter().filter(move |port| wanted.matches(port)).map(move |port| {
            SrvTarget { port: port.number, host: HostTarget::of_service(service) }
        });
        let of_hosts = service.hosts().services(places, host).filter_map(move |(port, host)| {
            Some(SrvTarget { port, host: HostTarget::of_host(service, host)? })
        });
        of_ports.chain(of_hosts)
    }
}

/// The name that an address belongs to, below `svc.ZONE`.
#[derive(Clone, Copy, Debug)]
pub struct PtrTarget<'a> {
    pub label: Option<HostLabel<'a>>,
    /// `SERVICE.NAMESPACE` in wire form.
    pub service: &'a [u8],
}
