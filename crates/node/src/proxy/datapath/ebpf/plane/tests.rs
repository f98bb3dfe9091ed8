//! What becomes of numbers when maps are outgrown.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use portolan_model::object::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, ObjectName, Protocol, Service, ServicePort,
};
use portolan_model::{Event, NodeView, Snapshot};

use super::*;

/// A cluster and the plane that follows it.
struct Node {
    snapshot: Snapshot,
    desired: Desired,
    plane: Plane,
}

impl Node {
    fn new() -> Self {
        let view = NodeView {
            families: Family::BOTH.to_vec(),
            cluster_cidrs: vec!["11.0.0.0/8".parse().unwrap()],
            ..NodeView::default()
        };
        let (snapshot, plane) = (Snapshot::default(), Plane::default());
        Self { snapshot, desired: Desired::new(view), plane }
    }

    /// Services by number, with their pods.
    fn hear(&mut self, services: impl IntoIterator<Item = (u8, std::ops::Range<u32>)>) -> Changes {
        for (number, pods) in services {
            let name = ObjectName::new("test", format!("service-{number}"));
            let port = EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: Some(8080) };
            self.snapshot.apply(Event::EndpointSlice(EndpointSlice {
                name: name.clone(),
                service: Some(name.clone()),
                address_type: AddressType::Ipv4,
                ports: vec![port],
                endpoints: pods
                    .map(|pod| Endpoint::new((0x0B00_0000 + pod).to_be_bytes().into()))
                    .collect(),
            }));
            self.snapshot.apply(Event::Service(service(name, number)));
        }
        let dirty = self.snapshot.take_dirty();
        self.desired.update(&self.snapshot, &dirty)
    }

    /// Follows as the datapath does; returns whether new maps had to be made.
    fn follow(&mut self, changes: &Changes) -> bool {
        let fits = self.plane.follow(&self.desired, changes).is_ok();
        if !fits {
            self.plane.start_over(&self.desired).unwrap();
        }
        self.check();
        !fits
    }

    fn numbers(&self) -> BTreeMap<SocketAddr, u32> {
        let members = self.plane.pools().flat_map(PoolState::members);
        members.map(|(number, address)| (address, number)).collect()
    }

    /// The plane is what the model says, and within its maps.
    fn check(&self) {
        let (plane, sizes) = (&self.plane, self.plane.sizes);
        let (mut numbers, mut slots) = (HashSet::new(), HashSet::new());
        for (key, wanted) in self.desired.pools() {
            let pool = plane.pool(plane.known[key]).unwrap();
            assert_eq!(pool.backends, wanted.backends);
            assert_eq!(pool.numbers.len(), wanted.backends.len());
            assert!(pool.number < sizes.pools && pool.first + pool.room <= sizes.slots);
            for number in &pool.numbers {
                assert!((1..sizes.backends4).contains(number) && numbers.insert(*number));
            }
            assert!((pool.first..pool.first + pool.room).all(|slot| slots.insert(slot)));
        }
        assert_eq!(plane.pools().count(), self.desired.pools().len());
    }
}

fn service(name: ObjectName, number: u8) -> Service {
    let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    Service {
        name,
        service_type: Default::default(),
        cluster_ips: vec![[10, 96, 0, number].into()],
        headless: false,
        external_name: None,
        ports: vec![port],
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

#[test]
fn who_stays_keeps_its_number_in_larger_maps() {
    let mut node = Node::new();
    let changes = node.hear([(1, 0..100), (2, 100..200)]);
    assert!(node.follow(&changes));
    let before = node.numbers();
    let changes = node.hear([(3, 200..2000)]);
    assert!(node.follow(&changes));
    let after = node.numbers();
    assert!(before.iter().all(|(address, number)| after[address] == *number));
}

#[test]
fn growth_makes_new_maps_now_and_then_only() {
    let mut node = Node::new();
    let made = (1..400).filter(|step| {
        let changes = node.hear([(1, 0..step * 100)]);
        node.follow(&changes)
    });
    let made = made.count();
    assert!((2..40).contains(&made), "{made} times for 40,000 endpoints");
}

#[test]
fn all_may_be_others_at_once() {
    let mut node = Node::new();
    let changes = node.hear((1..11).map(|number| (number, 0..1000)));
    node.follow(&changes);
    for round in 1..4 {
        let first = round * 1000;
        let changes = node.hear((1..11).map(|number| (number, first..first + 1000)));
        node.follow(&changes);
        assert!(node.plane.sizes.backends4 < 13_000, "{:?}", node.plane.sizes);
    }
}

#[test]
fn a_cluster_that_shrank_goes_on_with_the_numbers_that_it_has() {
    let mut node = Node::new();
    let changes = node.hear((1..21).map(|number| (number, 0..1000)));
    node.follow(&changes);
    let changes = node.hear((1..20).map(|number| (number, 0..0)));
    node.follow(&changes);
    let before = node.numbers();
    node.plane.start_over(&node.desired).unwrap();
    node.check();
    assert_eq!(node.numbers(), before);
}

#[test]
fn following_ends_where_starting_over_does() {
    let mut node = Node::new();
    let mut dice = portolan_model::testing::Dice::new(7);
    for _ in 0..500 {
        let services: Vec<_> = (0..1 + dice.below(3))
            .map(|_| {
                let first = dice.below(300);
                (dice.below(20) as u8, first..first + dice.below(90))
            })
            .collect();
        let changes = node.hear(services);
        node.follow(&changes);
        let mut fresh = Plane::default();
        fresh.start_over(&node.desired).unwrap();
        let keys = |plane: &Plane| -> BTreeMap<Key, bool> {
            plane.frontends.iter().map(|(key, entry)| (*key, entry.pool != 0)).collect()
        };
        assert_eq!(keys(&node.plane), keys(&fresh));
    }
}
