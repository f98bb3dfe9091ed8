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
                // This node's own, which is as good as any other.
                "172.30.0.2".parse().unwrap(),
                "2001:db8:0:30::2".parse().unwrap(),
                // What others would lose: a pod, another node, a ClusterIP, loopback, link-local.
                "10.244.0.3".parse().unwrap(),
                "fd00:10:244:1::2".parse().unwrap(),
                "172.30.0.3".parse().unwrap(),
                "10.96.0.2".parse().unwrap(),
                "fd00:10:96::3".parse().unwrap(),
                "127.0.0.1".parse().unwrap(),
                "169.254.20.10".parse().unwrap(),
                "fe80::1".parse().unwrap(),
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

/// TCP most often.
const PROTOCOLS: [Protocol; 7] = {
    use Protocol::{Sctp, Tcp, Udp};
    [Tcp, Tcp, Tcp, Tcp, Udp, Udp, Sctp]
};

impl Universe {
    fn name(&self, dice: &mut Dice) -> ObjectName {
        ObjectName::new("default", format!("service-{}", dice.below(self.services)))
    }

    /// The networks of [`Universe::cluster_ip`].
    pub fn service_ranges() -> Vec<ipnet::IpNet> {
        ["10.96.0.0/16", "fd00:10:96::/112"].iter().filter_map(|net| net.parse().ok()).collect()
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
            internal_ips: vec![
                [172, 30, 0, index as u8 + 2].into(),
                [0x2001, 0xdb8, 0, 0x30, 0, 0, 0, index as u16 + 2].into(),
            ],
            external_ips: vec![],
            pod_cidrs: vec![],
            leaving: dice.once_in(8),
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
            protocol: dice.pick(&PROTOCOLS),
            port: 80 + index as u16,
            node_port: node_ports.then_some(30_000 + (number * 4 + index) as u16),
        });
        let ports = ports.collect();
        let families = if self.ipv6 { &[false, true][..] } else { &[false][..] };
        let cluster_ips = families.iter().map(|v6| Self::cluster_ip(number, *v6));
        let headless = service_type == ServiceType::ClusterIP && dice.once_in(8);
        let balancer = service_type == ServiceType::LoadBalancer && !dice.once_in(4);
        Service {
            cluster_ips: if headless { vec![] } else { cluster_ips.collect() },
            headless,
            external_name: None,
            ports,
            external_ips: self.external_ips(dice),
            load_balancer: if balancer { self.load_balancer(number, dice) } else { vec![] },
            load_balancer_source_ranges: match dice.below(4) {
                0 => vec![dice.pick(&self.source_ranges)],
                1 => vec![dice.pick(&self.source_ranges), dice.pick(&self.source_ranges)],
                _ => vec![],
            },
            internal_traffic_policy: policy(dice),
            external_traffic_policy: policy(dice),
            health_check_node_port: (balancer && dice.once_in(2)).then_some(32_000 + number as u16),
            affinity_seconds: dice.once_in(5).then(|| dice.pick(&[60, 10_800])),
            publish_not_ready_addresses: dice.once_in(6),
            traffic_distribution: None,
            foreign_proxy: dice.once_in(20),
            service_type,
            name,
        }
    }

    fn external_ips(&self, dice: &mut Dice) -> Vec<IpAddr> {
        let count = if dice.once_in(3) { 1 + dice.below(2) } else { 0 };
        (0..count).map(|_| dice.pick(&self.external_ips)).collect()
    }

    /// Usually an address of its own, sometimes one that it must not have, now and then two.
    fn load_balancer(&self, number: u32, dice: &mut Dice) -> Vec<LoadBalancerIngress> {
        let mut ips: Vec<IpAddr> = vec![[203, 0, 113, number as u8 + 1].into()];
        if self.ipv6 && dice.once_in(2) {
            ips.push([0x2001, 0xdb8, 0, 0x113, 0, 0, 0, number as u16 + 1].into());
        }
        if dice.once_in(4) {
            ips.push(dice.pick(&self.external_ips));
        }
        let ingress = ips.into_iter().map(|ip| LoadBalancerIngress {
            ip,
            ip_mode: if dice.once_in(5) { IpMode::Proxy } else { IpMode::Vip },
        });
        ingress.collect()
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
                ready,
                serving: ready || (terminating && !dice.once_in(3)),
                terminating,
                node_name: Some(node.clone()),
                ..Endpoint::new(address)
            }
            .with_hints(
                match hints {
                    0 => [dice.pick(&["zone-0", "zone-1"]).into()].into(),
                    _ => [].into(),
                },
                if hints == 1 { [node].into() } else { [].into() },
            )
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
                named("", Protocol::Sctp),
                named("other", Protocol::Sctp),
            ],
            endpoints,
        }
    }
}
