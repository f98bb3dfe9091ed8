//! One Service with its slices, and the records that follow from them.

use std::net::IpAddr;
use std::sync::Arc;

use super::addresses::AddressSet;
use super::hosts::Hosts;
use super::label::to_wire;
use super::ports::{Port, PortLists};
use super::slice::{Members, Slice};
use super::table::Keyed;
use crate::object::{Service, ServiceType};

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
    pub(super) ports: Arc<[Port]>,
    pub(super) cluster_ips: AddressSet,
    publish_not_ready: bool,
}

impl Facts {
    pub(super) fn new(service: &Service, lists: &mut PortLists) -> Self {
        let kind = match (service.service_type, service.headless) {
            (ServiceType::ExternalName, _) => external(service.external_name.as_deref()),
            (_, true) => Kind::Headless,
            (_, false) => Kind::Cluster,
        };
        let cluster_ips = match kind {
            Kind::Cluster => service.cluster_ips.iter().copied().collect(),
            _ => AddressSet::default(),
        };
        // In the order that the Service has them in.
        let ports = service.ports.iter().map(|port| Port {
            name: port.name.clone(),
            protocol: port.protocol,
            number: port.port,
        });
        Self {
            kind,
            ports: lists.share(ports.collect()),
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

/// A Service, or the slices of one that has not been seen yet.
#[derive(Debug)]
pub(super) struct ServiceEntry {
    key: Box<[u8]>,
    /// The listing that told of the Service last.
    pub(super) seen: u32,
    facts: Option<Facts>,
    slices: Vec<Slice>,
    /// What the name of a headless Service resolves to.
    headless: Option<Box<AddressSet>>,
    /// Published endpoints.
    hosts: Hosts,
}

impl Keyed for ServiceEntry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl ServiceEntry {
    pub(super) fn new(key: Box<[u8]>) -> Self {
        Self {
            key,
            seen: 0,
            facts: None,
            slices: Vec::new(),
            headless: None,
            hosts: Hosts::default(),
        }
    }

    /// Its namespace, a label in wire form.
    pub(super) fn namespace(&self) -> &[u8] {
        &self.key[1 + usize::from(self.key[0])..]
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    pub(super) fn cluster_ips(&self) -> AddressSet {
        self.facts.as_ref().map_or_else(AddressSet::default, |facts| facts.cluster_ips.clone())
    }

    /// What its own name resolves to.
    pub(super) fn addresses(&self) -> Option<&AddressSet> {
        match &self.facts {
            Some(Facts { kind: Kind::Cluster, cluster_ips, .. }) => Some(cluster_ips),
            _ => self.headless.as_deref(),
        }
    }

    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
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

    pub(super) fn set_slice(&mut self, name: &str, seen: u32, members: Members) -> bool {
        match self.slices.iter_mut().find(|known| &*known.name == name) {
            Some(known) => {
                known.seen = seen;
                let changed = known.members != members;
                known.members = members;
                changed
            }
            None => {
                // Most Services have one slice, and few have another soon.
                self.slices.reserve_exact(1);
                self.slices.push(Slice { name: name.into(), seen, members });
                true
            }
        }
    }

    pub(super) fn remove_slice(&mut self, name: &str) -> bool {
        let before = self.slices.len();
        self.slices.retain(|slice| &*slice.name != name);
        self.slices.len() != before
    }

    pub(super) fn has_slice(&self, name: &str) -> bool {
        self.slices.iter().any(|slice| &*slice.name == name)
    }

    /// The slices that the listing `now` has not told of.
    pub(super) fn unseen_slices(&self, now: u32) -> impl Iterator<Item = &str> {
        self.slices.iter().filter(move |slice| slice.seen != now).map(|slice| &*slice.name)
    }

    /// Makes the records anew.
    pub(super) fn derive(&mut self) {
        let members: Vec<&Members> = self.slices.iter().map(|slice| &slice.members).collect();
        (self.hosts, self.headless) = match &self.facts {
            Some(Facts { kind: Kind::Cluster, publish_not_ready, .. }) => {
                (Hosts::new(&members, *publish_not_ready), None)
            }
            Some(Facts { kind: Kind::Headless, publish_not_ready, .. }) => {
                let hosts = Hosts::new(&members, *publish_not_ready);
                let addresses = hosts.addresses();
                (hosts, Some(Box::new(addresses)))
            }
            _ => (Hosts::default(), None),
        };
    }
}
