//! One Service with its slices, and the records that follow from them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::label::{HostLabel, IpLabel, to_wire};
use crate::object::{
    AddressType, Endpoint, EndpointSlice, Protocol, Service, ServicePort, ServiceType,
};

/// What a Service's own name answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cluster,
    Headless,
    /// The target of an ExternalName in wire form.
    External(Box<[u8]>),
    /// An ExternalName that is no DNS name, or spells an address: it resolves to nothing.
    Unresolvable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) ports: Box<[ServicePort]>,
    pub(super) cluster_ips: Box<[IpAddr]>,
    publish_not_ready: bool,
}

impl Facts {
    pub(super) fn new(service: &Service) -> Self {
        let kind = match (service.service_type, service.headless) {
            (ServiceType::ExternalName, _) => external(service.external_name.as_deref()),
            (_, true) => Kind::Headless,
            (_, false) => Kind::Cluster,
        };
        let cluster_ips = match kind {
            Kind::Cluster => service.cluster_ips.as_slice().into(),
            _ => Box::default(),
        };
        Self {
            kind,
            // Node ports and the like do not show in any name.
            ports: service
                .ports
                .iter()
                .map(|port| ServicePort { node_port: None, ..port.clone() })
                .collect(),
            cluster_ips,
            publish_not_ready: service.publish_not_ready_addresses,
        }
    }
}

fn external(target: Option<&str>) -> Kind {
    let target = target.unwrap_or_default();
    if target.parse::<IpAddr>().is_ok() {
        return Kind::Unresolvable;
    }
    match to_wire(target) {
        Some(wire) if !wire.is_empty() => Kind::External(wire.into()),
        _ => Kind::Unresolvable,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Slice {
    name: Arc<str>,
    ports: Box<[(Arc<str>, Protocol, u16)]>,
    members: Box<[Member]>,
}

#[derive(Debug, PartialEq, Eq)]
struct Member {
    address: IpAddr,
    name: Option<Arc<str>>,
    ready: bool,
}

/// An endpoint by the name it has below its Service.
#[derive(Debug)]
pub(super) struct HostEntry {
    pub(super) label: HostLabel,
    addresses: HostAddresses,
}

#[derive(Debug)]
enum HostAddresses {
    One(IpAddr),
    Many(Box<[IpAddr]>),
}

impl HostEntry {
    pub(super) fn addresses(&self) -> &[IpAddr] {
        match &self.addresses {
            HostAddresses::One(address) => std::slice::from_ref(address),
            HostAddresses::Many(addresses) => addresses,
        }
    }
}

/// One SRV record of an endpoint: which of `srv_ports`, the port's number, which of `hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SrvEntry {
    port: u16,
    pub(super) number: u16,
    pub(super) host: u32,
}

/// A Service, or the slices of one that has not been seen yet.
#[derive(Debug)]
pub(super) struct ServiceEntry {
    key: Arc<[u8]>,
    facts: Option<Facts>,
    slices: Vec<Slice>,
    /// What the Service's own name resolves to.
    pub(super) v4: Box<[Ipv4Addr]>,
    pub(super) v6: Box<[Ipv6Addr]>,
    /// Published endpoints, sorted by label.
    hosts: Box<[HostEntry]>,
    srv_ports: Box<[(Arc<str>, Protocol)]>,
    /// Sorted by port, so that one port's records lie together.
    srv: Box<[SrvEntry]>,
}

impl ServiceEntry {
    pub(super) fn new(key: Arc<[u8]>) -> Self {
        Self {
            key,
            facts: None,
            slices: Vec::new(),
            v4: Box::default(),
            v6: Box::default(),
            hosts: Box::default(),
            srv_ports: Box::default(),
            srv: Box::default(),
        }
    }

    pub(super) fn key(&self) -> &Arc<[u8]> {
        &self.key
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    pub(super) fn cluster_ips(&self) -> &[IpAddr] {
        self.facts.as_ref().map_or(&[], |facts| &facts.cluster_ips)
    }

    /// Nothing is known of it any more.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_none() && self.slices.is_empty()
    }

    /// Returns whether anything changed; records follow with [`ServiceEntry::derive`].
    pub(super) fn set_facts(&mut self, facts: Option<Facts>) -> bool {
        let changed = self.facts != facts;
        self.facts = facts;
        changed
    }

    pub(super) fn set_slice(&mut self, slice: &EndpointSlice, pod_names: bool) -> bool {
        let slice = trimmed(slice, pod_names);
        match self.slices.iter_mut().find(|known| known.name == slice.name) {
            Some(known) if *known == slice => false,
            Some(known) => {
                *known = slice;
                true
            }
            None => {
                self.slices.push(slice);
                true
            }
        }
    }

    pub(super) fn remove_slice(&mut self, name: &str) -> bool {
        let before = self.slices.len();
        self.slices.retain(|slice| &*slice.name != name);
        self.slices.len() != before
    }

    pub(super) fn hosts(&self) -> &[HostEntry] {
        &self.hosts
    }

    pub(super) fn host(&self, index: u32) -> Option<&HostEntry> {
        self.hosts.get(index as usize)
    }

    /// The endpoint that is called `label`.
    pub(super) fn find_host(&self, label: &[u8]) -> Option<u32> {
        let by_name = |host: &HostEntry| match &host.label {
            HostLabel::Name(name) => name.as_bytes().cmp(label),
            HostLabel::Ip(_) => std::cmp::Ordering::Greater,
        };
        let found = self.hosts.binary_search_by(by_name).ok().or_else(|| {
            let wanted = HostLabel::Ip(IpLabel::parse(label)?);
            self.hosts.binary_search_by(|host| host.label.cmp(&wanted)).ok()
        })?;
        u32::try_from(found).ok()
    }

    /// The endpoints that have `address`.
    pub(super) fn hosts_at(&self, address: IpAddr) -> impl Iterator<Item = &HostEntry> {
        let names = self.hosts.partition_point(|host| matches!(host.label, HostLabel::Name(_)));
        let wanted = HostLabel::Ip(address);
        let unnamed = self.hosts[names..]
            .binary_search_by(|host| host.label.cmp(&wanted))
            .ok()
            .map(|index| &self.hosts[names + index]);
        self.hosts[..names]
            .iter()
            .filter(move |host| host.addresses().contains(&address))
            .chain(unnamed)
    }

    /// SRV records of the endpoints' port `name`; all ports when none is given.
    pub(super) fn srv_entries(&self, port: Option<(&[u8], Protocol)>) -> &[SrvEntry] {
        let Some((name, protocol)) = port else { return &self.srv };
        let known = self
            .srv_ports
            .iter()
            .position(|(known, of)| *of == protocol && known.as_bytes().eq_ignore_ascii_case(name));
        let Some(index) = known.and_then(|index| u16::try_from(index).ok()) else { return &[] };
        let start = self.srv.partition_point(|entry| entry.port < index);
        let end = self.srv.partition_point(|entry| entry.port <= index);
        &self.srv[start..end]
    }

    /// Whether the endpoints have a named port of this protocol.
    pub(super) fn has_protocol(&self, protocol: Protocol) -> bool {
        self.srv_ports.iter().any(|(name, of)| *of == protocol && !name.is_empty())
    }

    /// Makes the records anew.
    pub(super) fn derive(&mut self) {
        let (hosts, srv_ports, srv) = match &self.facts {
            Some(Facts { kind: Kind::Cluster | Kind::Headless, publish_not_ready, .. }) => {
                hosts(&self.slices, *publish_not_ready)
            }
            _ => Default::default(),
        };
        let (hosts, srv_ports, srv) =
            (hosts.into_boxed_slice(), srv_ports.into_boxed_slice(), srv.into_boxed_slice());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut add = |address: &IpAddr| match address {
            IpAddr::V4(address) => v4.push(*address),
            IpAddr::V6(address) => v6.push(*address),
        };
        match self.facts.as_ref().map(|facts| &facts.kind) {
            Some(Kind::Headless) => hosts.iter().flat_map(HostEntry::addresses).for_each(&mut add),
            Some(Kind::Cluster) => self.cluster_ips().iter().for_each(&mut add),
            _ => {}
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        (self.v4, self.v6) = (v4.into(), v6.into());
        (self.hosts, self.srv_ports, self.srv) = (hosts, srv_ports, srv);
    }
}

type Hosts = (Vec<HostEntry>, Vec<(Arc<str>, Protocol)>, Vec<SrvEntry>);

fn hosts(slices: &[Slice], publish_not_ready: bool) -> Hosts {
    let mut members: Vec<(HostLabel, IpAddr, usize)> = Vec::new();
    for (index, slice) in slices.iter().enumerate() {
        let published = slice.members.iter().filter(|member| member.ready || publish_not_ready);
        members.extend(published.map(|member| (label(member), member.address, index)));
    }
    members.sort_unstable();
    let mut ports: Vec<(Arc<str>, Protocol)> = slices
        .iter()
        .flat_map(|slice| slice.ports.iter())
        .map(|(name, protocol, _)| (name.clone(), *protocol))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let index_of = |name: &Arc<str>, protocol: Protocol| {
        let found = ports.binary_search_by(|(known, of)| (known, of).cmp(&(name, &protocol)));
        found.ok().and_then(|index| u16::try_from(index).ok())
    };
    let mut hosts: Vec<HostEntry> = Vec::new();
    let mut srv = Vec::new();
    for group in members.chunk_by(|a, b| a.0 == b.0) {
        let Ok(host) = u32::try_from(hosts.len()) else { break };
        let mut addresses: Vec<IpAddr> = group.iter().map(|member| member.1).collect();
        addresses.dedup();
        let addresses = match addresses[..] {
            [only] => HostAddresses::One(only),
            _ => HostAddresses::Many(addresses.into()),
        };
        hosts.push(HostEntry { label: group[0].0.clone(), addresses });
        for &(_, _, slice) in group {
            srv.extend(slices[slice].ports.iter().filter_map(|(name, protocol, number)| {
                Some(SrvEntry { port: index_of(name, *protocol)?, number: *number, host })
            }));
        }
    }
    srv.sort_unstable();
    srv.dedup();
    (hosts, ports, srv)
}

fn label(member: &Member) -> HostLabel {
    match &member.name {
        Some(name) => HostLabel::Name(name.clone()),
        None => HostLabel::Ip(member.address),
    }
}

fn trimmed(slice: &EndpointSlice, pod_names: bool) -> Slice {
    let is_ip = slice.address_type != AddressType::Fqdn;
    Slice {
        name: slice.name.name.clone(),
        ports: slice
            .ports
            .iter()
            .filter_map(|port| Some((port.name.clone(), port.protocol, port.port?)))
            .collect(),
        members: slice
            .endpoints
            .iter()
            .filter(|_| is_ip)
            .map(|endpoint| Member {
                address: endpoint.address,
                name: own_name(endpoint, pod_names),
                ready: endpoint.ready,
            })
            .collect(),
    }
}

/// The endpoint's hostname, else its pod's name if those are wanted; only what fits in one label.
pub(super) fn own_name(endpoint: &Endpoint, pod_names: bool) -> Option<Arc<str>> {
    let pod = endpoint.pod.as_ref().filter(|_| pod_names).map(|pod| &pod.name.name);
    let name = endpoint.hostname.as_ref().or(pod)?;
    if name.is_empty() || name.len() > 63 || name.contains('.') {
        return None;
    }
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return Some(name.to_ascii_lowercase().into());
    }
    Some(name.clone())
}
