//! Random clusters for tests, small enough that collisions and empty Services are common.
//!
//! Only compiled for tests (feature `testing`). A seed gives the same cluster everywhere, so a
//! failure in a kernel test can be replayed in a unit test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::object::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, IpMode, LoadBalancerIngress, Node,
    ObjectName, Protocol, Service, ServicePort, ServiceType, TrafficPolicy,
};
use crate::snapshot::Event;

/// A reproducible stream of random numbers (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((self.draw() >> 32) % u64::from(bound.max(1))) as u32
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize].clone()
    }
}

/// The addresses and names that random objects are made of.
#[derive(Clone, Debug)]
pub struct Universe {
    pub services: u32,
    pub nodes: Vec<Arc<str>>,
    /// Addresses that endpoints may have, with the node they are on.
    pub endpoints: Vec<(IpAddr, Arc<str>)>,
    pub external_ips: Vec<IpAddr>,
    pub source_ranges: Vec<ipnet::IpNet>,
    pub target_ports: Vec<u16>,
    pub ipv6: bool,
}

impl Default for Universe {
    fn default() -> Self {
        let nodes: Vec<Arc<str>> = vec!["node-0".into(), "node-1".into(), "node-2".into()];
        let v4 = |node: usize, pod: usize| IpAddr::from([10, 244, node as u8, pod as u8 + 2]);
        let v6 = |node: usize, pod: usize| {
            IpAddr::from([0xfd00, 0x10, 0x244, node as u16, 0, 0, 0, pod as u16 + 2])
        };
        let places = (0..9).map(|index| (index % 3, index / 3));
        let endpoints = places
            .flat_map(|(node, pod)| [(v4(node, pod), node), (v6(node, pod), node)])
            .map(|(address, node)| (address, nodes[node].clone()))
            .collect();
        Self {
            services: 8,
            nodes,
            endpoints,
            external_ips: vec![
                "192.0.2.10".parse().unwrap(),
                "2001:db8::10".parse().unwrap(),
                "192.0.2.11".parse().unwrap(),
            ],
            source_ranges: vec![
                "10.244.0.0/24".parse().unwrap(),
                "198.51.100.0/24".parse().unwrap(),
                "2001:db8:1::/64".parse().unwrap(),
            ],
            target_ports: vec![8080, 9090],
            ipv6: true,
        }
    }
}

impl Universe {
    fn name(&self, dice: &mut Dice) -> ObjectName {
        ObjectName::new("default", format!("service-{}", dice.below(self.services)))
    }

    /// The ClusterIP that the Service of that number has.
    pub fn cluster_ip(number: u32, ipv6: bool) -> IpAddr {
        if ipv6 {
            Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, number as u16 + 1).into()
        } else {
            Ipv4Addr::new(10, 96, (number >> 8) as u8, number as u8 + 1).into()
        }
    }

    /// One random event.
    pub fn event(&self, dice: &mut Dice) -> Event {
        match dice.below(20) {
            0 => Event::ServiceDeleted(self.name(dice)),
            1 => Event::EndpointSliceDeleted(self.slice_name(dice)),
            2 => Event::Node(self.node(dice)),
            3 => match dice.below(3) {
                0 => Event::NodeDeleted(dice.pick(&self.nodes)),
                _ => Event::Node(self.node(dice)),
            },
            4..=9 => Event::Service(self.service(dice)),
            _ => Event::EndpointSlice(self.slice(dice)),
        }
    }

    fn node(&self, dice: &mut Dice) -> Node {
        let index = dice.below(self.nodes.len() as u32) as usize;
        let zone: Option<Arc<str>> =
            (!dice.once_in(3)).then(|| format!("zone-{}", dice.below(2)).into());
        Node {
            name: self.nodes[index].clone(),
            zone,
            internal_ips: vec![[172, 30, 0, index as u8 + 2].into()],
            pod_cidrs: vec![],
        }
    }

    fn slice_name(&self, dice: &mut Dice) -> ObjectName {
        let service = self.name(dice).name;
        ObjectName::new("default", format!("{service}-{}", dice.below(2)))
    }

    /// A random Service.
    pub fn service(&self, dice: &mut Dice) -> Service {
        let name = self.name(dice);
        let number: u32 = name.name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let service_type = dice.pick(&[
            ServiceType::ClusterIP,
            ServiceType::NodePort,
            ServiceType::NodePort,
            ServiceType::LoadBalancer,
        ]);
        let policy = |dice: &mut Dice| {
            if dice.once_in(3) { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
        };
        let node_ports = service_type != ServiceType::ClusterIP;
        let ports = (0..=dice.below(2)).map(|index| ServicePort {
            name: if index == 0 { "".into() } else { "other".into() },
            protocol: dice.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp]),
            port: 80 + index as u16,
            node_port: node_ports.then_some(30_000 + (number * 4 + index) as u16),
        });
        let ports = ports.collect();
        let families = if self.ipv6 { &[false, true][..] } else { &[false][..] };
        let balancer = service_type == ServiceType::LoadBalancer && !dice.once_in(4);
        Service {
            cluster_ips: families.iter().map(|v6| Self::cluster_ip(number, *v6)).collect(),
            headless: false,
            external_name: None,
            ports,
            external_ips: if dice.once_in(4) {
                vec![dice.pick(&self.external_ips)]
            } else {
                vec![]
            },
            load_balancer: if balancer {
                vec![LoadBalancerIngress {
                    ip: [203, 0, 113, number as u8 + 1].into(),
                    ip_mode: if dice.once_in(5) { IpMode::Proxy } else { IpMode::Vip },
                }]
            } else {
                vec![]
            },
            load_balancer_source_ranges: if dice.once_in(2) {
                vec![dice.pick(&self.source_ranges)]
            } else {
                vec![]
            },
            internal_traffic_policy: policy(dice),
            external_traffic_policy: policy(dice),
            health_check_node_port: (balancer && dice.once_in(2)).then_some(32_000 + number as u16),
            affinity_seconds: dice.once_in(5).then(|| dice.pick(&[60, 10_800])),
            publish_not_ready_addresses: false,
            traffic_distribution: None,
            foreign_proxy: dice.once_in(20),
            service_type,
            name,
        }
    }

    /// A random EndpointSlice of some Service.
    pub fn slice(&self, dice: &mut Dice) -> EndpointSlice {
        let name = self.slice_name(dice);
        let service =
            name.name.rsplit_once('-').map(|(service, _)| ObjectName::new("default", service));
        let ipv6 = self.ipv6 && dice.once_in(3);
        let of_family = |(address, _): &&(IpAddr, Arc<str>)| address.is_ipv6() == ipv6;
        let pods: Vec<_> = self.endpoints.iter().filter(of_family).cloned().collect();
        let hints = dice.below(4);
        let count = if dice.once_in(4) { 0 } else { dice.below(5) };
        let endpoints = (0..count).map(|_| {
            let (address, node) = dice.pick(&pods);
            let ready = !dice.once_in(3);
            let terminating = !ready && dice.once_in(2);
            Endpoint {
                address,
                ready,
                serving: ready || (terminating && !dice.once_in(3)),
                terminating,
                hostname: None,
                zone: None,
                hints_for_zones: if hints == 0 {
                    vec![dice.pick(&["zone-0", "zone-1"]).into()]
                } else {
                    vec![]
                },
                hints_for_nodes: if hints == 1 { vec![node.clone()] } else { vec![] },
                node_name: Some(node),
                pod: None,
            }
        });
        let endpoints = endpoints.collect();
        let port = dice.pick(&self.target_ports);
        let named =
            |name: &str, protocol| EndpointPort { name: name.into(), protocol, port: Some(port) };
        EndpointSlice {
            name,
            service,
            address_type: if ipv6 { AddressType::Ipv6 } else { AddressType::Ipv4 },
            ports: vec![
                named("", Protocol::Tcp),
                named("", Protocol::Udp),
                named("other", Protocol::Tcp),
                named("other", Protocol::Udp),
            ],
            endpoints,
        }
    }
}
