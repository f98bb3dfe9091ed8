//! The cluster's Services, EndpointSlices and Nodes as last heard, and what has changed since.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use crate::intern::Interner;
use crate::object::{Endpoint, EndpointSlice, Node, ObjectName, Protocol, Service};

/// One thing that happened to one object.
///
/// Applying an event twice, or in another order among different objects, ends in the same
/// snapshot: an event carries the object's whole new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Service(Service),
    ServiceDeleted(ObjectName),
    EndpointSlice(EndpointSlice),
    EndpointSliceDeleted(ObjectName),
    Node(Node),
    NodeDeleted(Arc<str>),
}

/// What changed since the last [`Snapshot::take_dirty`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Services that changed themselves or whose slices did, present or not.
    pub services: BTreeSet<ObjectName>,
    /// Nodes that appeared, changed or went.
    pub nodes: BTreeSet<Arc<str>>,
    /// The cluster's service ranges are others.
    pub service_ranges: bool,
    /// Endpoints that left a slice after they had begun to terminate.
    pub ended: BTreeSet<(IpAddr, u16, Protocol)>,
}

impl Dirty {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.nodes.is_empty()
            && !self.service_ranges
            && self.ended.is_empty()
    }
}

/// Every object that decides where a packet goes or what a name resolves to.
#[derive(Debug, Default)]
pub struct Snapshot {
    services: HashMap<ObjectName, Arc<Service>>,
    slices: HashMap<ObjectName, Arc<EndpointSlice>>,
    /// The names of each Service's slices; sorted, so that what is derived is deterministic. Most
    /// have one: a list without spare room, for a tree would take ten times that.
    slices_of: HashMap<ObjectName, Vec<ObjectName>>,
    nodes: HashMap<Arc<str>, Arc<Node>>,
    service_ranges: Vec<IpNet>,
    dirty: Dirty,
    strings: Interner,
}

impl Snapshot {
    /// Takes in one event. An event that changes nothing marks nothing dirty.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Service(service) => self.put_service(service),
            Event::ServiceDeleted(name) => {
                if self.services.remove(&name).is_some() {
                    self.dirty.services.insert(name);
                }
            }
            Event::EndpointSlice(slice) => self.put_slice(slice),
            Event::EndpointSliceDeleted(name) => {
                if let Some(old) = self.slices.remove(&name) {
                    self.note_ended(&old, None);
                    self.unlink(&old);
                }
            }
            Event::Node(node) => {
                if self.nodes.get(&node.name).is_none_or(|old| **old != node) {
                    self.dirty.nodes.insert(node.name.clone());
                    self.nodes.insert(node.name.clone(), Arc::new(node));
                }
            }
            Event::NodeDeleted(name) => {
                if self.nodes.remove(&name).is_some() {
                    self.dirty.nodes.insert(name);
                }
            }
        }
    }

    fn put_service(&mut self, mut service: Service) {
        self.strings.share(&mut service.name.namespace);
        for port in &mut service.ports {
            self.strings.share(&mut port.name);
        }
        if self.services.get(&service.name).is_none_or(|old| **old != service) {
            service.cluster_ips.shrink_to_fit();
            service.ports.shrink_to_fit();
            self.dirty.services.insert(service.name.clone());
            self.services.insert(service.name.clone(), Arc::new(service));
        }
    }

    fn put_slice(&mut self, mut slice: EndpointSlice) {
        if self.slices.get(&slice.name).is_some_and(|old| **old == slice) {
            return;
        }
        self.share_strings(&mut slice);
        let slice = Arc::new(slice);
        if let Some(old) = self.slices.insert(slice.name.clone(), slice.clone()) {
            self.note_ended(&old, Some(&slice));
            self.unlink(&old);
        }
        if let Some(service) = &slice.service {
            let names = self.slices_of.entry(service.clone()).or_default();
            if let Err(at) = names.binary_search(&slice.name) {
                names.reserve_exact(1);
                names.insert(at, slice.name.clone());
            }
            self.dirty.services.insert(service.clone());
        }
    }

    /// A pod that terminates and then is no endpoint any more is gone, and not just relabelled.
    fn note_ended(&mut self, old: &EndpointSlice, new: Option<&EndpointSlice>) {
        for endpoint in old.endpoints.iter().filter(|endpoint| endpoint.terminating) {
            let same = |other: &Endpoint| other.address == endpoint.address;
            if new.is_some_and(|slice| slice.endpoints.iter().any(same)) {
                continue;
            }
            let ports = old.ports.iter().filter_map(|port| Some((port.port?, port.protocol)));
            self.dirty.ended.extend(ports.map(|(port, of)| (endpoint.address, port, of)));
        }
    }

    /// Whether any slice has an endpoint with that address, whatever its condition.
    pub fn has_endpoint(&self, address: &IpAddr) -> bool {
        let mut endpoints = self.slices.values().flat_map(|slice| &slice.endpoints);
        endpoints.any(|endpoint| endpoint.address == *address)
    }

    /// Makes `ranges` those from which the cluster takes Services' addresses.
    pub fn set_service_ranges(&mut self, mut ranges: Vec<IpNet>) {
        ranges.sort();
        ranges.dedup();
        if self.service_ranges != ranges {
            self.service_ranges = ranges;
            self.dirty.service_ranges = true;
        }
    }

    /// The networks from which the cluster takes Services' addresses, as far as they are known.
    pub fn service_ranges(&self) -> &[IpNet] {
        &self.service_ranges
    }

    fn unlink(&mut self, slice: &EndpointSlice) {
        let Some(service) = &slice.service else { return };
        self.dirty.services.insert(service.clone());
        if let Some(names) = self.slices_of.get_mut(service) {
            if let Ok(at) = names.binary_search(&slice.name) {
                names.remove(at);
            }
            if names.is_empty() {
                self.slices_of.remove(service);
            }
        }
    }

    fn share_strings(&mut self, slice: &mut EndpointSlice) {
        let strings = &mut self.strings;
        strings.share(&mut slice.name.namespace);
        if let Some(service) = &mut slice.service {
            match self.services.get_key_value(service) {
                Some((known, _)) => *service = known.clone(),
                None => strings.share(&mut service.namespace),
            }
        }
        for port in &mut slice.ports {
            strings.share(&mut port.name);
        }
        for endpoint in &mut slice.endpoints {
            let hints = endpoint.hints.iter_mut();
            let hints = hints.flat_map(|hints| hints.zones.iter_mut().chain(&mut hints.nodes));
            hints.chain(&mut endpoint.node_name).for_each(|text| strings.share(text));
            if let Some(pod) = endpoint.names.iter_mut().find_map(|names| names.pod.as_mut()) {
                strings.share(&mut pod.namespace);
            }
        }
        slice.endpoints.shrink_to_fit();
        slice.ports.shrink_to_fit();
    }

    /// Makes `services` all the Services there are, as after a watch had to list again.
    pub fn replace_services(&mut self, services: Vec<Service>) {
        let keep: HashSet<_> = services.iter().map(|service| service.name.clone()).collect();
        let gone: Vec<_> =
            self.services.keys().filter(|name| !keep.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.apply(Event::ServiceDeleted(name)));
        services.into_iter().for_each(|service| self.apply(Event::Service(service)));
    }

    /// Makes `slices` all the EndpointSlices there are.
    pub fn replace_endpoint_slices(&mut self, slices: Vec<EndpointSlice>) {
        let keep: HashSet<_> = slices.iter().map(|slice| slice.name.clone()).collect();
        let gone: Vec<_> =
            self.slices.keys().filter(|name| !keep.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.apply(Event::EndpointSliceDeleted(name)));
        slices.into_iter().for_each(|slice| self.apply(Event::EndpointSlice(slice)));
    }

    /// Makes `nodes` all the Nodes there are.
    pub fn replace_nodes(&mut self, nodes: Vec<Node>) {
        let keep: HashSet<_> = nodes.iter().map(|node| node.name.clone()).collect();
        let gone: Vec<_> =
            self.nodes.keys().filter(|name| !keep.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.apply(Event::NodeDeleted(name)));
        nodes.into_iter().for_each(|node| self.apply(Event::Node(node)));
    }

    /// The Service of that name.
    pub fn service(&self, name: &ObjectName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// All Services, in no particular order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The EndpointSlices of a Service, by name; the Service itself need not exist.
    pub fn slices(&self, service: &ObjectName) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices_of.get(service).into_iter().flatten().filter_map(|name| self.slices.get(name))
    }

    /// All EndpointSlices, in no particular order.
    pub fn all_slices(&self) -> impl ExactSizeIterator<Item = &Arc<EndpointSlice>> {
        self.slices.values()
    }

    /// The EndpointSlice of that name.
    pub fn slice(&self, name: &ObjectName) -> Option<&Arc<EndpointSlice>> {
        self.slices.get(name)
    }

    /// The Node of that name.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// All Nodes, in no particular order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// What changed since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Whether anything changed since the last [`Snapshot::take_dirty`].
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{AddressType, ServiceType};

    fn service(name: &str) -> Service {
        Service {
            name: ObjectName::new("default", name),
            service_type: ServiceType::ClusterIP,
            cluster_ips: vec!["10.96.0.9".parse().unwrap()],
            headless: false,
            external_name: None,
            ports: vec![],
            external_ips: vec![],
            load_balancer: vec![],
            load_balancer_source_ranges: vec![],
            internal_traffic_policy: Default::default(),
            external_traffic_policy: Default::default(),
            health_check_node_port: None,
            affinity_seconds: None,
            publish_not_ready_addresses: false,
            traffic_distribution: None,
            foreign_proxy: false,
        }
    }

    fn slice(name: &str, of: Option<&str>) -> EndpointSlice {
        EndpointSlice {
            name: ObjectName::new("default", name),
            service: of.map(|of| ObjectName::new("default", of)),
            address_type: AddressType::Ipv4,
            ports: vec![],
            endpoints: vec![],
        }
    }

    fn blue() -> ObjectName {
        ObjectName::new("default", "blue")
    }

    #[test]
    fn an_event_heard_twice_is_news_once() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(Event::Service(service("blue")));
        assert_eq!(snapshot.take_dirty().services, [blue()].into());
        snapshot.apply(Event::Service(service("blue")));
        assert!(!snapshot.is_dirty());
    }

    #[test]
    fn a_slice_that_changes_hands_touches_both_services() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(Event::EndpointSlice(slice("a", Some("blue"))));
        snapshot.take_dirty();
        snapshot.apply(Event::EndpointSlice(slice("a", Some("green"))));
        let green = ObjectName::new("default", "green");
        assert_eq!(snapshot.take_dirty().services, [blue(), green.clone()].into());
        assert_eq!(snapshot.slices(&blue()).count(), 0);
        assert_eq!(snapshot.slices(&green).count(), 1);
    }

    #[test]
    fn a_new_list_removes_what_it_lacks() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(Event::Service(service("blue")));
        snapshot.apply(Event::Service(service("green")));
        snapshot.take_dirty();
        snapshot.replace_services(vec![service("green"), service("red")]);
        let names = ["blue", "red"].map(|name| ObjectName::new("default", name));
        assert_eq!(snapshot.take_dirty().services, names.into());
        assert!(snapshot.service(&blue()).is_none());
    }

    #[test]
    fn a_slice_may_come_before_its_service() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(Event::EndpointSlice(slice("a", Some("blue"))));
        snapshot.apply(Event::Service(service("blue")));
        assert_eq!(snapshot.slices(&blue()).count(), 1);
        snapshot.apply(Event::ServiceDeleted(blue()));
        snapshot.apply(Event::EndpointSliceDeleted(ObjectName::new("default", "a")));
        assert_eq!(snapshot.slices(&blue()).count(), 0);
        assert!(snapshot.service(&blue()).is_none());
    }
}
