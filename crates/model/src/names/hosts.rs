//! The endpoints of one Service by the names that they have below it, and their ports.
//!
//! Endpoints without a name of their own are called by their address, so they are nothing but a
//! sorted list of addresses. Hosts are numbered in the order of their labels: names, then IPv4,
//! then IPv6 addresses.

use std::net::IpAddr;
use std::sync::Arc;

use super::addresses::AddressSet;
use super::answer::Addresses;
use super::label::{HostLabel, IpLabel};
use super::ports::Port;
use super::slice::Members;
use crate::object::Protocol;

#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Sorted by name.
    named: Box<[NamedHost]>,
    unnamed: AddressSet,
    ports: HostPorts,
}

#[derive(Debug)]
struct NamedHost {
    name: Arc<str>,
    addresses: HostAddresses,
}

#[derive(Debug)]
enum HostAddresses {
    One(IpAddr),
    Many(Box<AddressSet>),
}

/// Which ports the hosts have; `list` is sorted, so that the numbers of one name lie together.
#[derive(Debug, Default)]
struct HostPorts {
    list: Arc<[Port]>,
    /// Which host has which of them, sorted; `None` when all have all.
    which: Option<Box<[PortOfHost]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PortOfHost {
    port: u16,
    host: u32,
}

/// A host by its label.
#[derive(Clone, Debug)]
pub(super) struct Host<'a> {
    pub(super) label: HostLabel<'a>,
    pub(super) addresses: Addresses<'a>,
}

impl NamedHost {
    fn host(&self) -> Host<'_> {
        let addresses = match &self.addresses {
            HostAddresses::One(address) => Addresses::One(*address),
            HostAddresses::Many(set) => set.all(),
        };
        Host { label: HostLabel::Name(&self.name), addresses }
    }

    fn has(&self, address: IpAddr) -> bool {
        match &self.addresses {
            HostAddresses::One(known) => *known == address,
            HostAddresses::Many(set) => set.contains(address),
        }
    }
}

impl Hosts {
    /// Those of the slices' endpoints that are ready, or all of them.
    pub(super) fn new(slices: &[&Members], unready_too: bool) -> Self {
        let unnamed: AddressSet =
            slices.iter().flat_map(|slice| slice.unnamed(unready_too)).collect();
        let mut members: Vec<(&Arc<str>, IpAddr)> =
            slices.iter().flat_map(|slice| slice.named(unready_too)).collect();
        members.sort_unstable();
        members.dedup();
        let named = members.chunk_by(|a, b| a.0 == b.0).map(|group| NamedHost {
            name: group[0].0.clone(),
            addresses: match group {
                [(_, only)] => HostAddresses::One(*only),
                _ => HostAddresses::Many(Box::new(group.iter().map(|of| of.1).collect())),
            },
        });
        let mut hosts = Self { named: named.collect(), unnamed, ports: HostPorts::default() };
        hosts.ports = hosts.ports_of(slices, unready_too);
        hosts
    }

    fn ports_of(&self, slices: &[&Members], unready_too: bool) -> HostPorts {
        let has_hosts = |slice: &&&Members| {
            slice.unnamed(unready_too).next().is_some() || slice.named(unready_too).next().is_some()
        };
        let slices: Vec<&&Members> = slices.iter().filter(has_hosts).collect();
        let Some((first, rest)) = slices.split_first() else { return HostPorts::default() };
        if rest.iter().all(|slice| slice.ports == first.ports) {
            return HostPorts { list: first.ports.clone(), which: None };
        }
        let mut list: Vec<Port> =
            slices.iter().flat_map(|slice| slice.ports.iter()).cloned().collect();
        list.sort_unstable();
        list.dedup();
        let mut which = Vec::new();
        for slice in &slices {
            let named = slice.named(unready_too).map(|(name, _)| HostLabel::Name(name));
            let unnamed = slice.unnamed(unready_too).map(HostLabel::Ip);
            let hosts: Vec<u32> =
                named.chain(unnamed).filter_map(|label| self.number(label)).collect();
            for port in slice.ports.iter() {
                let Ok(port) = list.binary_search(port) else { continue };
                let Ok(port) = u16::try_from(port) else { continue };
                which.extend(hosts.iter().map(|host| PortOfHost { port, host: *host }));
            }
        }
        which.sort_unstable();
        which.dedup();
        HostPorts { list: list.into(), which: Some(which.into()) }
    }

    pub(super) fn count(&self) -> usize {
        self.named.len() + self.unnamed.v4.len() + self.unnamed.v6.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(super) fn get(&self, number: u32) -> Option<Host<'_>> {
        let number = number as usize;
        if let Some(named) = self.named.get(number) {
            return Some(named.host());
        }
        let address = self.unnamed.all().get(number - self.named.len())?;
        Some(Host { label: HostLabel::Ip(address), addresses: Addresses::One(address) })
    }

    fn number(&self, label: HostLabel<'_>) -> Option<u32> {
        let number = match label {
            HostLabel::Name(name) => self.named.binary_search_by(|host| (*host.name).cmp(name)),
            HostLabel::Ip(IpAddr::V4(v4)) => {
                self.unnamed.v4.binary_search(&v4).map(|at| self.named.len() + at)
            }
            HostLabel::Ip(IpAddr::V6(v6)) => {
                let before = self.named.len() + self.unnamed.v4.len();
                self.unnamed.v6.binary_search(&v6).map(|at| before + at)
            }
        };
        u32::try_from(number.ok()?).ok()
    }

    /// The host that is called `label`.
    pub(super) fn find(&self, label: &[u8]) -> Option<u32> {
        let named = std::str::from_utf8(label).ok();
        let named = named.and_then(|name| self.number(HostLabel::Name(name)));
        named.or_else(|| self.number(HostLabel::Ip(IpLabel::parse(label)?)))
    }

    /// The labels of the hosts that have `address`.
    pub(super) fn at(&self, address: IpAddr) -> impl Iterator<Item = HostLabel<'_>> {
        let named = self.named.iter().filter(move |host| host.has(address));
        let unnamed = self.unnamed.contains(address).then_some(HostLabel::Ip(address));
        named.map(|host| HostLabel::Name(&host.name)).chain(unnamed)
    }

    /// The addresses of all hosts.
    pub(super) fn addresses(&self) -> AddressSet {
        if self.named.is_empty() {
            return self.unnamed.clone();
        }
        let named = self.named.iter().flat_map(|host| {
            let addresses = host.host().addresses;
            (0..addresses.len()).filter_map(move |at| addresses.get(at))
        });
        named.chain(self.unnamed.iter()).collect()
    }

    /// The places of the ports that are called so; all when none is named.
    pub(super) fn ports(&self, wanted: Option<(&[u8], Protocol)>) -> (u16, u16) {
        let list = &self.ports.list[..self.ports.list.len().min(usize::from(u16::MAX))];
        let Some((name, protocol)) = wanted else { return (0, list.len() as u16) };
        let Some(first) = list.iter().position(|port| port.is(name, protocol)) else {
            return (0, 0);
        };
        let alike = |port: &&Port| port.name == list[first].name && port.protocol == protocol;
        let count = list[first..].iter().take_while(alike).count();
        (first as u16, (first + count) as u16)
    }

    /// The ports that some host has.
    pub(super) fn port_list(&self) -> &Arc<[Port]> {
        &self.ports.list
    }

    /// Whether there is a named port of this protocol.
    pub(super) fn has_protocol(&self, protocol: Protocol) -> bool {
        self.ports.list.iter().any(|port| port.protocol == protocol && !port.name.is_empty())
    }

    /// The numbers of these ports with their hosts: all, or the one.
    pub(super) fn services(
        &self,
        (first, end): (u16, u16),
        only: Option<u32>,
    ) -> impl Iterator<Item = (u16, u32)> {
        let list = &self.ports.list;
        let hosts = match only {
            Some(only) => only..only + 1,
            None => 0..self.count() as u32,
        };
        let all = match self.ports.which {
            None => list.get(usize::from(first)..usize::from(end)).unwrap_or_default(),
            Some(_) => &[],
        };
        let all = all.iter().flat_map(move |port| hosts.clone().map(|host| (port.number, host)));
        let which = self.ports.which.as_deref().unwrap_or_default();
        let from = which.partition_point(|of| of.port < first);
        let to = which.partition_point(|of| of.port < end);
        let some =
            which[from..to.max(from)].iter().filter(move |of| only.is_none_or(|o| o == of.host));
        let some = some.filter_map(|of| Some((list.get(usize::from(of.port))?.number, of.host)));
        all.chain(some)
    }
}
