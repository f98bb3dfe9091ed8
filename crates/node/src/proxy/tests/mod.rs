//! Real packets in network namespaces, against the model's oracle.

mod affinity;
mod classic;
mod connections;
mod drift;
mod ipvs;
mod kin;
mod lab;
mod life;
mod random;
mod redial;
mod relays;
mod routes;
mod socket;
mod whole;

use std::net::{IpAddr, SocketAddr};

use portolan_linux::netlink::NetlinkError;
use portolan_model::frontend::Family;
use portolan_model::node_view::NodePortAddresses;
use portolan_model::object::*;
use portolan_model::testing::Universe;
use portolan_model::{Changes, Desired, Event, NodeView, Snapshot};

use super::conntrack::Sweeper;
use super::datapath;
use super::datapath::{Applied, Datapath, MODES, Scope};
use lab::Lab;

/// Makes a test of each story in one mode; in `ipvs` only where the kernel has it.
macro_rules! in_mode {
    ($mode:ident: $($story:ident),* $(,)?) => {
        mod $mode {
            $(#[test] fn $story() {
                if let Some(lab) = crate::proxy::tests::Lab::of(stringify!($mode)) {
                    super::$story(&lab);
                }
            })*
        }
    };
}
use in_mode;

/// Makes a test of each story for each mode of which it holds: `ipvs` takes no part in those of
/// the second list.
macro_rules! in_every_mode {
    ($($story:ident),* $(,)? $(; not_ipvs: $($rest:ident),* $(,)?)?) => {
        crate::proxy::tests::in_mode! { nftables: $($story,)* $($($rest,)*)? }
        crate::proxy::tests::in_mode! { ebpf: $($story,)* $($($rest,)*)? }
        crate::proxy::tests::in_mode! { ipvs: $($story,)* }
    };
}
use in_every_mode;

#[test]
fn every_mode_is_tested() {
    let built = MODES.map(|row| row.name);
    // `iptables` and `userspace` have stories of their own, in `classic` and `relays`.
    assert_eq!(built, ["ebpf", "nftables", "iptables", "ipvs", "userspace"]);
}

/// Begins a sweep of connections and ends it; returns how many were deleted.
fn sweep(
    sweeper: &mut Sweeper,
    snapshot: &Snapshot,
    desired: &Desired,
) -> Result<usize, NetlinkError> {
    let mut sweep = sweeper.begin(desired)?;
    let mut flows = Vec::new();
    sweep.lists(&desired.view.families).read(|batch| flows.extend(batch))?;
    sweep.judge(snapshot, desired, &flows)
}

fn view() -> NodeView {
    NodeView {
        name: "node-0".into(),
        families: Family::BOTH.to_vec(),
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()],
        node_port_addresses: NodePortAddresses::All,
        loopback_node_ports: true,
        masquerade_all: false,
        masquerade_egress: true,
    }
}

/// A proxy without an API server: events in, kernel out.
struct Proxy<'l> {
    lab: &'l Lab,
    snapshot: Snapshot,
    desired: Desired,
    datapath: Box<dyn Datapath>,
    /// What the first pass did.
    first: Applied,
}

impl<'l> Proxy<'l> {
    fn start_with(lab: &'l Lab, view: NodeView, events: impl IntoIterator<Item = Event>) -> Self {
        Self::start_on(lab, lab.open(), view, events)
    }

    fn start_on(
        lab: &'l Lab,
        datapath: Box<dyn Datapath>,
        view: NodeView,
        events: impl IntoIterator<Item = Event>,
    ) -> Self {
        let loopback = datapath.capabilities().loopback_node_ports;
        let view = NodeView { loopback_node_ports: view.loopback_node_ports && loopback, ..view };
        let mut snapshot = Snapshot::default();
        snapshot.set_service_ranges(Universe::service_ranges());
        let mut proxy = Self {
            lab,
            snapshot,
            desired: Desired::new(view),
            datapath,
            first: Applied::default(),
        };
        events.into_iter().for_each(|event| proxy.snapshot.apply(event));
        proxy.update();
        proxy.first = proxy.everything();
        proxy
    }

    fn update(&mut self) -> Changes {
        let dirty = self.snapshot.take_dirty();
        self.desired.update(&self.snapshot, &dirty)
    }

    fn everything(&mut self) -> Applied {
        let (datapath, desired) = (&mut self.datapath, &self.desired);
        self.lab.node.run(|| datapath.apply(desired, Scope::Everything)).unwrap()
    }

    /// Hears of events and follows them.
    fn hear(&mut self, events: impl IntoIterator<Item = Event>) -> (Applied, Changes) {
        events.into_iter().for_each(|event| self.snapshot.apply(event));
        let changes = self.update();
        let (datapath, desired) = (&mut self.datapath, &self.desired);
        let applied =
            self.lab.node.run(|| datapath.apply(desired, Scope::Changed(&changes))).unwrap();
        (applied, changes)
    }

    /// Where the kernel differs from what it should hold.
    fn differences(&mut self) -> Vec<String> {
        self.datapath.observe().unwrap().differences(&self.desired)
    }

    /// What a stop and a start of the process is to the kernel.
    fn restart(&mut self) -> Applied {
        self.datapath = self.lab.open();
        self.everything()
    }
}

/// The Service `blue`: 10.96.0.9:80 and fd00:10:96::9, TCP and UDP, node port 30002.
fn blue() -> Service {
    let port = |name: &str, protocol, node_port| ServicePort {
        name: name.into(),
        protocol,
        port: 80,
        node_port: Some(node_port),
    };
    Service {
        name: ObjectName::new("default", "blue"),
        service_type: ServiceType::NodePort,
        cluster_ips: vec![[10, 96, 0, 9].into(), "fd00:10:96::9".parse().unwrap()],
        headless: false,
        external_name: None,
        ports: vec![port("tcp", Protocol::Tcp, 30_002), port("udp", Protocol::Udp, 30_003)],
        external_ips: vec!["192.0.2.10".parse().unwrap()],
        load_balancer: vec![],
        load_balancer_source_ranges: vec![],
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity_seconds: None,
        publish_not_ready_addresses: false,
        traffic_distribution: None,
        foreign_proxy: false,
    }
}

/// A slice of `blue`; an address's third number is its node's.
fn slice(addresses: &[&str]) -> EndpointSlice {
    let node = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets()[2].into(),
        IpAddr::V6(ip) => ip.segments()[3],
    };
    let ipv6 = addresses.iter().any(|address| address.contains(':'));
    let endpoint = |text: &&str| {
        let address = text.parse().unwrap();
        Endpoint {
            node_name: Some(format!("node-{}", node(&address)).into()),
            ..Endpoint::new(address)
        }
    };
    let port =
        |name: &str, protocol| EndpointPort { name: name.into(), protocol, port: Some(8080) };
    EndpointSlice {
        name: ObjectName::new("default", if ipv6 { "blue-v6" } else { "blue-v4" }),
        service: Some(ObjectName::new("default", "blue")),
        address_type: if ipv6 { AddressType::Ipv6 } else { AddressType::Ipv4 },
        ports: vec![port("tcp", Protocol::Tcp), port("udp", Protocol::Udp)],
        endpoints: addresses.iter().map(endpoint).collect(),
    }
}

fn with_pods(addresses: &[&str]) -> [Event; 2] {
    [Event::Service(blue()), Event::EndpointSlice(slice(addresses))]
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn to(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
