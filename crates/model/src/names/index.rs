//! The index itself: objects in, one at a time.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::label::push_label;
use super::service::{Facts, HostEntry, ServiceEntry};
use super::{NameOptions, PodMode};
use crate::object::{EndpointSlice, ObjectName, Service};

/// All names of the cluster. Every method that takes a change returns whether an answer changed.
#[derive(Debug)]
pub struct Names {
    pub(super) options: NameOptions,
    serial: u32,
    /// By `SERVICE.NAMESPACE` in wire form.
    pub(super) services: HashMap<Arc<[u8]>, ServiceEntry>,
    /// The Service that each slice belongs to, so that a changed label takes it away there.
    slice_owners: HashMap<ObjectName, Arc<[u8]>>,
    pub(super) namespaces: HashMap<Box<[u8]>, Namespace>,
    pub(super) by_cluster_ip: HashMap<IpAddr, Owners>,
    pub(super) by_endpoint: HashMap<IpAddr, Owners>,
    pods: HashMap<ObjectName, Box<[IpAddr]>>,
    /// The namespaces of the pods that have an address, as labels in wire form.
    pub(super) by_pod: HashMap<IpAddr, Owners>,
    pub(super) server_addresses: Box<[IpAddr]>,
}

#[derive(Debug, Default)]
pub(super) struct Namespace {
    /// There is a Namespace object, not only Services.
    pub(super) declared: bool,
    services: u32,
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
            services: HashMap::new(),
            slice_owners: HashMap::new(),
            namespaces: HashMap::new(),
            by_cluster_ip: HashMap::new(),
            by_endpoint: HashMap::new(),
            pods: HashMap::new(),
            by_pod: HashMap::new(),
            server_addresses: Box::default(),
        }
    }

    /// The zone's serial number (RFC 1982 arithmetic).
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How many Services there are.
    pub fn len(&self) -> usize {
        self.services.values().filter(|entry| entry.facts().is_some()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a Service is headless; `None` when there is none of that name.
    pub fn is_headless(&self, name: &ObjectName) -> Option<bool> {
        let entry = self.services.get(&*service_key(name)?)?;
        Some(entry.facts()?.kind == super::service::Kind::Headless)
    }

    /// The addresses that the server itself has: `ns.dns.ZONE` answers with the Services in front
    /// of them, or with themselves when there is none.
    pub fn server_addresses(&self) -> &[IpAddr] {
        &self.server_addresses
    }

    pub fn set_server_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.server_addresses = addresses.into();
    }

    pub fn upsert_service(&mut self, service: &Service) -> bool {
        if !self.serves(&service.name.namespace) {
            return false;
        }
        let Some(key) = service_key(&service.name) else { return false };
        self.change_facts(key, Some(Facts::new(service)))
    }

    pub fn remove_service(&mut self, name: &ObjectName) -> bool {
        service_key(name).is_some_and(|key| self.change_facts(key, None))
    }

    pub fn upsert_slice(&mut self, slice: &EndpointSlice) -> bool {
        let owner = slice.service.as_ref().filter(|name| self.serves(&name.namespace));
        let owner = owner.and_then(service_key);
        let mut changed = false;
        let known = self.slice_owners.get(&slice.name);
        if known.is_some() && known.map(|key| &**key) != owner.as_deref() {
            changed = self.remove_slice(&slice.name);
        }
        let Some(key) = owner else { return changed };
        let pod_names = self.options.endpoint_pod_names;
        let shared = self.entry(key).key().clone();
        self.slice_owners.insert(slice.name.clone(), shared.clone());
        changed | self.change(&shared, |entry| entry.set_slice(slice, pod_names))
    }

    pub fn remove_slice(&mut self, name: &ObjectName) -> bool {
        let Some(key) = self.slice_owners.remove(name) else { return false };
        self.change(&key, |entry| entry.remove_slice(&name.name))
    }

    pub fn upsert_namespace(&mut self, name: &str) -> bool {
        let Some(label) = wire_label(name).filter(|_| self.serves(name)) else { return false };
        let strict = self.options.declared_namespaces_only;
        let namespace = self.namespaces.entry(label.into()).or_default();
        let changed = namespace.is_empty() || strict && !namespace.declared;
        namespace.declared = true;
        self.moved(changed)
    }

    pub fn remove_namespace(&mut self, name: &str) -> bool {
        let Some(label) = wire_label(name) else { return false };
        let Some(namespace) = self.namespaces.get_mut(&*label) else { return false };
        let was = std::mem::replace(&mut namespace.declared, false);
        let gone = namespace.is_empty();
        if gone {
            self.namespaces.remove(&*label);
        }
        self.moved(gone || was && self.options.declared_namespaces_only)
    }

    /// Takes note of a pod's addresses; they matter in [`PodMode::Verified`] only.
    pub fn upsert_pod(&mut self, name: &ObjectName, addresses: &[IpAddr]) -> bool {
        if self.options.pods != PodMode::Verified || !self.serves(&name.namespace) {
            return false;
        }
        if self.pods.get(name).map_or(&[][..], |known| known) == addresses {
            return false;
        }
        self.remove_pod(name);
        let Some(label) = wire_label(&name.namespace) else { return false };
        let label: Arc<[u8]> = label.into();
        for address in addresses {
            add_owner(&mut self.by_pod, *address, label.clone());
        }
        self.pods.insert(name.clone(), addresses.into());
        self.moved(true)
    }

    pub fn remove_pod(&mut self, name: &ObjectName) -> bool {
        let Some(addresses) = self.pods.remove(name) else { return false };
        let Some(label) = wire_label(&name.namespace) else { return false };
        for address in &addresses {
            remove_owner(&mut self.by_pod, *address, &label);
        }
        self.moved(true)
    }

    fn serves(&self, namespace: &str) -> bool {
        self.options.namespaces.is_empty() || self.options.namespaces.contains(namespace)
    }

    fn entry(&mut self, key: Vec<u8>) -> &mut ServiceEntry {
        let key: Arc<[u8]> = key.into();
        self.services.entry(key.clone()).or_insert_with(|| ServiceEntry::new(key))
    }

    fn change_facts(&mut self, key: Vec<u8>, facts: Option<Facts>) -> bool {
        let known = self.services.get(&*key).and_then(ServiceEntry::facts);
        let (had, has) = (known.is_some(), facts.is_some());
        let old_ips: Vec<IpAddr> =
            known.map(|facts| facts.cluster_ips.to_vec()).unwrap_or_default();
        let new_ips = facts.as_ref().map(|facts| facts.cluster_ips.to_vec()).unwrap_or_default();
        if !had && !has {
            return false;
        }
        let key = self.entry(key).key().clone();
        update_owners(&mut self.by_cluster_ip, &key, old_ips, new_ips);
        self.count_service(&key, had, has);
        self.change(&key, |entry| entry.set_facts(facts))
    }

    fn count_service(&mut self, key: &[u8], had: bool, has: bool) {
        let label = &key[1 + usize::from(key[0])..];
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
    }

    /// Applies `edit` to one Service and carries the outcome into the records and the index by
    /// address.
    fn change(&mut self, key: &Arc<[u8]>, edit: impl FnOnce(&mut ServiceEntry) -> bool) -> bool {
        let Some(entry) = self.services.get_mut(&**key) else { return false };
        if !edit(entry) {
            return false;
        }
        let addresses = |hosts: &[HostEntry]| -> Vec<IpAddr> {
            hosts.iter().flat_map(HostEntry::addresses).copied().collect()
        };
        let before = addresses(entry.hosts());
        entry.derive();
        let after = addresses(entry.hosts());
        if entry.is_empty() {
            self.services.remove(&**key);
        }
        update_owners(&mut self.by_endpoint, key, before, after);
        self.moved(true)
    }

    fn moved(&mut self, changed: bool) -> bool {
        self.serial = self.serial.wrapping_add(u32::from(changed));
        changed
    }
}

/// The owners of an address, sorted; nearly always one.
#[derive(Debug)]
pub(super) enum Owners {
    One(Arc<[u8]>),
    Many(Vec<Arc<[u8]>>),
}

impl Owners {
    pub(super) fn as_slice(&self) -> &[Arc<[u8]>] {
        match self {
            Self::One(owner) => std::slice::from_ref(owner),
            Self::Many(owners) => owners,
        }
    }
}

fn add_owner(map: &mut HashMap<IpAddr, Owners>, address: IpAddr, owner: Arc<[u8]>) {
    match map.get_mut(&address) {
        None => {
            map.insert(address, Owners::One(owner));
        }
        Some(owners) => {
            let mut all = owners.as_slice().to_vec();
            let place = all.partition_point(|known| *known <= owner);
            all.insert(place, owner);
            *owners = Owners::Many(all);
        }
    }
}

fn remove_owner(map: &mut HashMap<IpAddr, Owners>, address: IpAddr, owner: &[u8]) {
    let Some(owners) = map.get_mut(&address) else { return };
    let mut rest = owners.as_slice().to_vec();
    if let Some(place) = rest.iter().position(|known| **known == *owner) {
        rest.remove(place);
    }
    match rest.len() {
        0 => {
            map.remove(&address);
        }
        1 => *owners = Owners::One(rest.remove(0)),
        _ => *owners = Owners::Many(rest),
    }
}

/// Replaces the addresses of one owner, touching only those that differ.
fn update_owners(
    map: &mut HashMap<IpAddr, Owners>,
    owner: &Arc<[u8]>,
    mut before: Vec<IpAddr>,
    mut after: Vec<IpAddr>,
) {
    for addresses in [&mut before, &mut after] {
        addresses.sort_unstable();
        addresses.dedup();
    }
    for gone in before.iter().filter(|address| after.binary_search(address).is_err()) {
        remove_owner(map, *gone, owner);
    }
    for new in after.iter().filter(|address| before.binary_search(address).is_err()) {
        add_owner(map, *new, owner.clone());
    }
}

fn wire_label(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 1);
    push_label(&mut wire, text.as_bytes())?;
    Some(wire)
}

/// `SERVICE.NAMESPACE` in wire form; `None` when one of them is no label.
fn service_key(name: &ObjectName) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(name.name.len() + name.namespace.len() + 2);
    push_label(&mut wire, name.name.as_bytes())?;
    push_label(&mut wire, name.namespace.as_bytes())?;
    Some(wire)
}
