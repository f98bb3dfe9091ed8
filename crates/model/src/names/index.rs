//! The index itself: objects in, one at a time.

use std::hash::BuildHasher;
use std::net::IpAddr;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::addresses::AddressMap;
use super::label::push_label;
use super::pods::Pods;
use super::ports::PortLists;
use super::service::{Facts, Kind, ServiceEntry};
use super::slice::Members;
use super::table::{Keyed, Table};
use super::{NameOptions, PodMode};
use crate::object::{EndpointSlice, ObjectName, Service};

/// The kinds of objects that names are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    Services,
    Slices,
    Namespaces,
    Pods,
}

/// All names of the cluster. Every method that takes a change returns whether an answer changed.
#[derive(Debug)]
pub struct Names {
    pub(super) options: NameOptions,
    serial: u32,
    /// By `SERVICE.NAMESPACE` in wire form.
    pub(super) services: Table<Box<ServiceEntry>>,
    /// The Service that each slice belongs to, by the hash of its name, so that a changed label
    /// takes it away there.
    slice_owners: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
    pub(super) namespaces: HashMap<Box<[u8]>, Namespace>,
    pub(super) by_cluster_ip: AddressMap,
    pub(super) by_endpoint: AddressMap,
    pub(super) pods: Pods,
    pub(super) server_addresses: Box<[IpAddr]>,
    ports: PortLists,
    /// The number of the last listing of each kind.
    listings: [u32; 4],
}

#[derive(Debug, Default)]
pub(super) struct Namespace {
    /// There is a Namespace object, not only Services.
    pub(super) declared: bool,
    services: u32,
    seen: u32,
}

impl Namespace {
    fn is_empty(&self) -> bool {
        !self.declared && self.services == 0
    }
}

impl Names {
    /// An empty index whose zone has `serial`; it moves on with every change of an answer.
    pub fn new(options: NameOptions, serial: u32) -> Self {
        Self {
            options,
            serial,
            services: Table::default(),
            slice_owners: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            namespaces: HashMap::new(),
            by_cluster_ip: AddressMap::default(),
            by_endpoint: AddressMap::default(),
            pods: Pods::default(),
            server_addresses: Box::default(),
            ports: PortLists::default(),
            listings: [0; 4],
        }
    }

    /// The zone's serial number (RFC 1982 arithmetic).
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How many Services there are.
    pub fn len(&self) -> usize {
        self.services.iter().filter(|(_, entry)| entry.facts().is_some()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a Service is headless; `None` when there is none of that name.
    pub fn is_headless(&self, name: &ObjectName) -> Option<bool> {
        let entry = self.services.get(&service_key(name)?)?;
        Some(entry.facts()?.kind == Kind::Headless)
    }

    /// The addresses that the server itself has: `ns.dns.ZONE` answers with the Services in front
    /// of them, or with themselves when there is none.
    pub fn server_addresses(&self) -> &[IpAddr] {
        &self.server_addresses
    }

    pub fn set_server_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.server_addresses = addresses.into();
    }

    /// All objects of a kind are going to be told of; those that are not, until [`Names::end`],
    /// are gone then.
    pub fn begin(&mut self, kind: Listed) {
        let listing = &mut self.listings[kind as usize];
        *listing = listing.wrapping_add(1);
    }

    /// The objects of a kind have all been told of.
    pub fn end(&mut self, kind: Listed) -> bool {
        let now = self.listings[kind as usize];
        let before = self.serial;
        match kind {
            Listed::Services => {
                let all = &self.services;
                for number in all.numbers(|it| it.facts().is_some() && it.seen != now) {
                    self.change_facts(number, None);
                }
            }
            Listed::Slices => {
                let all = &self.services;
                for number in all.numbers(|it| it.unseen_slices(now).next().is_some()) {
                    self.sweep_slices(number, now);
                }
            }
            Listed::Namespaces => {
                let gone = self.namespaces.iter().filter(|(_, of)| of.declared && of.seen != now);
                let gone: Vec<Box<[u8]>> = gone.map(|(label, _)| label.clone()).collect();
                for label in gone {
                    self.undeclare(&label);
                }
            }
            Listed::Pods => {
                let gone = self.pods.sweep(now);
                self.serial = self.serial.wrapping_add(gone);
            }
        }
        self.serial != before
    }

    pub fn upsert_service(&mut self, service: &Service) -> bool {
        if !self.serves(&service.name.namespace) {
            return false;
        }
        let Some(key) = service_key(&service.name) else { return false };
        let facts = Facts::new(service, &mut self.ports);
        let Some(number) = self.entry(key) else { return false };
        if let Some(entry) = self.services.at_mut(number) {
            entry.seen = self.listings[Listed::Services as usize];
        }
        self.change_facts(number, Some(facts))
    }

    pub fn remove_service(&mut self, name: &ObjectName) -> bool {
        let number = service_key(name).and_then(|key| self.services.find(&key));
        number.is_some_and(|number| self.change_facts(number, None))
    }

    pub fn upsert_slice(&mut self, slice: &EndpointSlice) -> bool {
        let owner = slice.service.as_ref().filter(|name| self.serves(&name.namespace));
        let owner = owner.and_then(service_key);
        let known = self.slice_owner(&slice.name);
        let stays = known.and_then(|number| self.services.at(number));
        let stays = stays.is_some_and(|entry| owner.as_deref() == Some(entry.key()));
        let changed = known.is_some() && !stays && self.remove_slice(&slice.name);
        let Some(number) = owner.and_then(|key| self.entry(key)) else { return changed };
        if !stays {
            let hash = self.slice_hash(&slice.name);
            self.slice_owners.insert_unique(hash, (hash, number), |known| known.0);
        }
        let seen = self.listings[Listed::Slices as usize];
        let members = Members::new(slice, self.options.endpoint_pod_names, &mut self.ports);
        let name = &slice.name.name;
        changed | self.change(number, |entry| entry.set_slice(name, seen, members))
    }

    pub fn remove_slice(&mut self, name: &ObjectName) -> bool {
        let Some(number) = self.slice_owner(name) else { return false };
        let hash = self.slice_hash(name);
        if let Ok(entry) = self.slice_owners.find_entry(hash, |known| *known == (hash, number)) {
            entry.remove();
        }
        self.change(number, |entry| entry.remove_slice(&name.name))
    }

    /// Takes away the slices of a Service that the listing `now` has not told of.
    fn sweep_slices(&mut self, number: u32, now: u32) {
        let Some(entry) = self.services.at(number) else { return };
        let namespace = String::from_utf8_lossy(&entry.namespace()[1..]).into_owned();
        let gone: Vec<_> =
            entry.unseen_slices(now).map(|name| ObjectName::new(&*namespace, name)).collect();
        for name in gone {
            self.remove_slice(&name);
        }
    }

    fn slice_hash(&self, name: &ObjectName) -> u64 {
        self.hasher.hash_one((name.namespace.to_ascii_lowercase(), &*name.name))
    }

    fn slice_owner(&self, name: &ObjectName) -> Option<u32> {
        let hash = self.slice_hash(name);
        let namespace = name.namespace.as_bytes();
        let has = |(known, number): &(u64, u32)| {
            *known == hash
                && self.services.at(*number).is_some_and(|entry| {
                    entry.namespace()[1..].eq_ignore_ascii_case(namespace)
                        && entry.has_slice(&name.name)
                })
        };
        self.slice_owners.find(hash, has).map(|(_, number)| *number)
    }

    pub fn upsert_namespace(&mut self, name: &str) -> bool {
        let Some(label) = wire_label(name).filter(|_| self.serves(name)) else { return false };
        let strict = self.options.declared_namespaces_only;
        let namespace = self.namespaces.entry(label.into()).or_default();
        let changed = namespace.is_empty() || strict && !namespace.declared;
        namespace.declared = true;
        namespace.seen = self.listings[Listed::Namespaces as usize];
        self.moved(changed)
    }

    pub fn remove_namespace(&mut self, name: &str) -> bool {
        wire_label(name).is_some_and(|label| self.undeclare(&label))
    }

    fn undeclare(&mut self, label: &[u8]) -> bool {
        let Some(namespace) = self.namespaces.get_mut(label) else { return false };
        let was = std::mem::replace(&mut namespace.declared, false);
        let gone = namespace.is_empty();
        if gone {
            self.namespaces.remove(label);
        }
        self.moved(gone || was && self.options.declared_namespaces_only)
    }

    /// Takes note of a pod's addresses; they matter in [`PodMode::Verified`] only.
    pub fn upsert_pod(&mut self, name: &ObjectName, addresses: &[IpAddr]) -> bool {
        if self.options.pods != PodMode::Verified || !self.serves(&name.namespace) {
            return false;
        }
        let changed = self.pods.upsert(name, addresses, self.listings[Listed::Pods as usize]);
        self.moved(changed)
    }

    pub fn remove_pod(&mut self, name: &ObjectName) -> bool {
        let changed = self.pods.remove(name);
        self.moved(changed)
    }

    fn serves(&self, namespace: &str) -> bool {
        self.options.namespaces.is_empty() || self.options.namespaces.contains(namespace)
    }

    fn entry(&mut self, key: Box<[u8]>) -> Option<u32> {
        let known = self.services.find(&key);
        known.or_else(|| self.services.add(Box::new(ServiceEntry::new(key))))
    }

    fn change_facts(&mut self, number: u32, facts: Option<Facts>) -> bool {
        let Some(entry) = self.services.at(number) else { return false };
        if entry.facts() == facts.as_ref() {
            return false;
        }
        let (had, has) = (entry.facts().is_some(), facts.is_some());
        let after = facts.as_ref().map(|facts| facts.cluster_ips.clone()).unwrap_or_default();
        self.by_cluster_ip.update(number, &entry.cluster_ips(), &after);
        let label = entry.namespace();
        if has && !had {
            self.namespaces.entry_ref(label).or_default().services += 1;
        } else if had
            && !has
            && let Some(namespace) = self.namespaces.get_mut(label)
        {
            namespace.services -= 1;
            if namespace.is_empty() {
                self.namespaces.remove(label);
            }
        }
        self.change(number, |entry| entry.set_facts(facts))
    }

    /// Applies `edit` to one Service and carries the outcome into the records and the index by
    /// address.
    fn change(&mut self, number: u32, edit: impl FnOnce(&mut ServiceEntry) -> bool) -> bool {
        let Some(entry) = self.services.at_mut(number) else { return false };
        if !edit(entry) {
            return false;
        }
        let before = entry.hosts().addresses();
        entry.derive();
        let after = entry.hosts().addresses();
        self.by_endpoint.update(number, &before, &after);
        if entry.is_empty() {
            self.services.remove(number);
        }
        self.moved(true)
    }

    fn moved(&mut self, changed: bool) -> bool {
        self.serial = self.serial.wrapping_add(u32::from(changed));
        changed
    }
}

fn wire_label(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 1);
    push_label(&mut wire, text.as_bytes())?;
    Some(wire)
}

/// `SERVICE.NAMESPACE` in wire form; `None` when one of them is no label.
fn service_key(name: &ObjectName) -> Option<Box<[u8]>> {
    let mut wire = Vec::with_capacity(name.name.len() + name.namespace.len() + 2);
    push_label(&mut wire, name.name.as_bytes())?;
    push_label(&mut wire, name.namespace.as_bytes())?;
    Some(wire.into())
}
