//! What names need of an EndpointSlice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::ports::{Port, PortLists};
use crate::object::{AddressType, Endpoint, EndpointSlice};

#[derive(Debug)]
pub(super) struct Slice {
    pub(super) name: Box<str>,
    /// The listing that told of it last.
    pub(super) seen: u32,
    pub(super) members: Members,
}

/// The endpoints of a slice. Those without a name of their own are just their addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Members {
    /// Sorted, each once.
    pub(super) ports: Arc<[Port]>,
    ready: Unnamed,
    unready: Unnamed,
    named: Box<[Named]>,
}

/// Boxed only where there are any: most slices have endpoints of one family, and all are ready.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unnamed {
    v4: Box<[Ipv4Addr]>,
    v6: Option<Box<Box<[Ipv6Addr]>>>,
}

impl Unnamed {
    fn new(addresses: impl Iterator<Item = IpAddr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        let v6 = (!v6.is_empty()).then(|| Box::new(v6.into_boxed_slice()));
        Self { v4: v4.into(), v6 }
    }

    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.v6.iter().flat_map(|v6| v6.iter()).copied().map(IpAddr::V6);
        self.v4.iter().copied().map(IpAddr::V4).chain(v6)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Named {
    name: Arc<str>,
    address: IpAddr,
    ready: bool,
}

impl Members {
    pub(super) fn new(slice: &EndpointSlice, pod_names: bool, lists: &mut PortLists) -> Self {
        let ports = slice.ports.iter().filter_map(|port| {
            Some(Port { name: port.name.clone(), protocol: port.protocol, number: port.port? })
        });
        let mut ports: Vec<Port> = ports.collect();
        ports.sort_unstable();
        ports.dedup();
        let is_ip = slice.address_type != AddressType::Fqdn;
        let endpoints = slice.endpoints.iter().filter(|_| is_ip);
        let endpoints = endpoints.map(|endpoint| (own_name(endpoint, pod_names), endpoint));
        let (mut named, mut rest) = (Vec::new(), Vec::new());
        for (name, Endpoint { address, ready, .. }) in endpoints {
            match name {
                Some(name) => named.push(Named { name, address: *address, ready: *ready }),
                None => rest.push((*address, *ready)),
            }
        }
        let unnamed = |wanted: bool| {
            Unnamed::new(rest.iter().filter(|(_, ready)| *ready == wanted).map(|(at, _)| *at))
        };
        Self {
            ports: lists.share(ports),
            ready: unnamed(true),
            unready: unnamed(false),
            named: named.into(),
        }
    }

    /// The addresses of those that have no name of their own, and are to be told of.
    pub(super) fn unnamed(&self, unready_too: bool) -> impl Iterator<Item = IpAddr> {
        self.ready.iter().chain(self.unready.iter().filter(move |_| unready_too))
    }

    /// The names of the others, with their addresses.
    pub(super) fn named(&self, unready_too: bool) -> impl Iterator<Item = (&Arc<str>, IpAddr)> {
        let published = self.named.iter().filter(move |member| member.ready || unready_too);
        published.map(|member| (&member.name, member.address))
    }
}

/// The endpoint's hostname, else its pod's name if those are wanted; only what fits in one label.
pub(super) fn own_name(endpoint: &Endpoint, pod_names: bool) -> Option<Arc<str>> {
    let pod = endpoint.pod().filter(|_| pod_names).map(|pod| &pod.name);
    let name = endpoint.hostname().or(pod)?;
    if name.is_empty() || name.len() > 63 || name.contains('.') {
        return None;
    }
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return Some(name.to_ascii_lowercase().into());
    }
    Some(name.clone())
}
