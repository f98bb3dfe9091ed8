use proptest::prelude::*;

use super::*;
use crate::frontend::{Action, Family, FrontendAddress, FrontendKind, Scope};
use crate::node_view::NodePortAddresses;
use crate::object::*;
use crate::oracle::{Packet, Verdict, route};
use crate::snapshot::Event;
use crate::testing::{Dice, Universe};

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

fn events(seed: u64, count: usize) -> Vec<Event> {
    let (universe, mut dice) = (Universe::default(), Dice::new(seed));
    (0..count).map(|_| universe.event(&mut dice)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn following_changes_ends_where_starting_over_does(seed: u64, step in 1_usize..9) {
        let mut snapshot = Snapshot::default();
        let mut followed = Desired::new(view());
        let mut mirror = Desired::new(view());
        for batch in events(seed, 120).chunks(step) {
            batch.iter().cloned().for_each(|event| snapshot.apply(event));
            let before = desired_clone(&mirror);
            let changes = { let dirty = snapshot.take_dirty(); followed.update(&snapshot, &dirty) };
            let fresh = desired(&snapshot, &view());
            prop_assert_eq!(diff(&followed, &fresh), Changes::default());
            for external in [false, true] {
                let dropping = followed.frontends().filter(|(_, frontend)| {
                    frontend.kind.is_external() == external && frontend.outside == Action::Drop
                });
                prop_assert_eq!(followed.dropping(external), dropping.count());
            }
            let mut expected = diff(&before, &fresh);
            expected.services = changes.services;
            prop_assert_eq!(&changes.frontends, &expected.frontends);
            prop_assert_eq!(&changes.pools, &expected.pools);
            prop_assert_eq!(&changes.cluster_ips, &expected.cluster_ips);
            prop_assert_eq!(&changes.local_addresses, &expected.local_addresses);
            prop_assert_eq!(&changes.node_addresses, &expected.node_addresses);
            mirror = fresh;
        }
    }

    #[test]
    fn duplicates_and_order_among_objects_do_not_matter(seed: u64, shuffle: u64) {
        let mut last = std::collections::BTreeMap::new();
        let mut one = Snapshot::default();
        for event in events(seed, 100) {
            one.apply(event.clone());
            last.insert(object_of(&event), event);
        }
        let mut final_events: Vec<_> = last.into_values().collect();
        let mut dice = Dice::new(shuffle);
        for index in (1..final_events.len()).rev() {
            final_events.swap(index, dice.below(index as u32 + 1) as usize);
        }
        let mut other = Snapshot::default();
        for event in &final_events {
            other.apply(event.clone());
            if dice.once_in(2) {
                other.apply(event.clone());
            }
        }
        prop_assert_eq!(diff(&desired(&one, &view()), &desired(&other, &view())), Changes::default());
    }

    #[test]
    fn probabilities_are_even_and_add_up(seed: u64) {
        let mut snapshot = Snapshot::default();
        events(seed, 80).into_iter().for_each(|event| snapshot.apply(event));
        let desired = desired(&snapshot, &view());
        for (key, _) in desired.frontends() {
            for source in ["10.244.0.9", "10.244.1.9", "198.51.100.7", "fd00:10:244::9", "2001:db8:1::7"] {
                let source: IpAddr = source.parse().unwrap();
                let (destination, to_node) = match key.address {
                    FrontendAddress::Ip(ip) => (ip, false),
                    FrontendAddress::Node(Family::Ipv4) => ("172.30.0.2".parse().unwrap(), true),
                    FrontendAddress::Node(Family::Ipv6) => ("2001:db8::2".parse().unwrap(), true),
                };
                if source.is_ipv4() != destination.is_ipv4() {
                    continue;
                }
                let packet = Packet {
                    source, destination, protocol: key.protocol, destination_port: key.port,
                    from_node: false, to_node,
                };
                match route(&desired, &packet) {
                    Verdict::Balance { choices, .. } => {
                        prop_assert!(!choices.is_empty());
                        let sum: f64 = choices.iter().map(|choice| choice.probability).sum();
                        prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
                        let first = choices[0].probability;
                        prop_assert!(choices.iter().all(|choice| choice.probability == first));
                    }
                    Verdict::Pass { .. } => prop_assert!(false, "{key} passes"),
                    _ => {}
                }
            }
        }
    }
}

fn desired_clone(from: &Desired) -> Desired {
    let mut copy = Desired::new(view());
    copy.frontends = from.frontends.clone();
    copy.pools = from.pools.clone();
    let mut ignored = BTreeMap::new();
    from.cluster_ips.iter().for_each(|ip| copy.cluster_ips.add(*ip, &mut ignored));
    from.local_addresses.iter().for_each(|ip| copy.local_addresses.add(*ip, &mut ignored));
    copy.node_addresses = from.node_addresses.clone();
    copy
}

fn object_of(event: &Event) -> (u8, ObjectName) {
    let node = |name: &Arc<str>| (2, ObjectName::new("", name.clone()));
    match event {
        Event::Service(Service { name, .. }) | Event::ServiceDeleted(name) => (0, name.clone()),
        Event::EndpointSlice(EndpointSlice { name, .. }) | Event::EndpointSliceDeleted(name) => {
            (1, name.clone())
        }
        Event::Node(item) => node(&item.name),
        Event::NodeDeleted(name) => node(name),
    }
}

fn service(ports: &[(u16, Option<u16>)]) -> Service {
    Service {
        name: ObjectName::new("default", "blue"),
        service_type: ServiceType::NodePort,
        cluster_ips: vec!["10.96.0.9".parse().unwrap()],
        headless: false,
        external_name: None,
        ports: ports
            .iter()
            .map(|(port, node_port)| ServicePort {
                name: "".into(),
                protocol: Protocol::Tcp,
                port: *port,
                node_port: *node_port,
            })
            .collect(),
        external_ips: vec![],
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

fn slice(pods: &[(&str, &str)]) -> EndpointSlice {
    EndpointSlice {
        name: ObjectName::new("default", "blue-x"),
        service: Some(ObjectName::new("default", "blue")),
        address_type: AddressType::Ipv4,
        ports: vec![EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: Some(8080) }],
        endpoints: pods
            .iter()
            .map(|(address, node)| Endpoint {
                node_name: Some((*node).into()),
                ..Endpoint::new(address.parse().unwrap())
            })
            .collect(),
    }
}

fn of(service: Service, pods: &[(&str, &str)]) -> Desired {
    let mut snapshot = Snapshot::default();
    snapshot.apply(Event::Service(service));
    snapshot.apply(Event::EndpointSlice(slice(pods)));
    desired(&snapshot, &view())
}

fn packet(source: &str, destination: &str, port: u16) -> Packet {
    let own = |text: &str| text == "172.30.0.2" || text.starts_with("127.");
    Packet {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::Tcp,
        destination_port: port,
        from_node: own(source),
        to_node: own(destination),
    }
}

/// The backends' last octets, with `m` where the connection is masqueraded.
fn outcome(desired: &Desired, packet: Packet) -> String {
    match route(desired, &packet) {
        Verdict::Balance { choices, .. } => choices
            .iter()
            .map(|choice| {
                let masquerade = if choice.masquerade { "m" } else { "" };
                format!("{}{masquerade}", choice.backend)
            })
            .collect::<Vec<_>>()
            .join(" "),
        Verdict::Reject { reason, .. } => format!("reject {reason:?}"),
        Verdict::Drop { reason, .. } => format!("drop {reason:?}"),
        Verdict::Pass { masquerade } => format!("pass {masquerade}"),
    }
}

const HERE: (&str, &str) = ("10.244.0.5", "node-0");
const THERE: (&str, &str) = ("10.244.1.5", "node-1");

#[test]
fn a_cluster_ip_masquerades_only_what_would_miss_this_node() {
    let desired = of(service(&[(80, None)]), &[HERE, THERE]);
    let to = |source| outcome(&desired, packet(source, "10.96.0.9", 80));
    assert_eq!(to("10.244.0.7"), "10.244.0.5:8080 10.244.1.5:8080");
    assert_eq!(to("10.244.0.5"), "10.244.0.5:8080m 10.244.1.5:8080", "hairpin");
    assert_eq!(to("172.30.0.2"), "10.244.0.5:8080 10.244.1.5:8080m", "from the node");
    assert_eq!(to("198.51.100.7"), "10.244.0.5:8080 10.244.1.5:8080m", "from outside");
    assert_eq!(outcome(&desired, packet("10.244.0.7", "10.96.0.9", 81)), "reject UnknownPort");
    assert_eq!(outcome(&desired, packet("10.244.0.7", "10.96.0.8", 80)), "pass true");
}

#[test]
fn a_node_port_answers_on_every_node_and_on_loopback() {
    let desired = of(service(&[(80, Some(30_002))]), &[HERE, THERE]);
    let to = |source, at| outcome(&desired, packet(source, at, 30_002));
    assert_eq!(to("198.51.100.7", "172.30.0.2"), "10.244.0.5:8080 10.244.1.5:8080m");
    assert_eq!(to("10.244.0.7", "172.30.0.2"), "10.244.0.5:8080 10.244.1.5:8080m");
    assert_eq!(to("127.0.0.1", "127.0.0.1"), "10.244.0.5:8080m 10.244.1.5:8080m");
    assert_eq!(to("198.51.100.7", "172.30.0.3"), "pass false", "another node's address");
}

#[test]
fn external_policy_local_keeps_the_client_and_serves_the_inside_everywhere() {
    let mut local = service(&[(80, Some(30_002))]);
    local.external_traffic_policy = TrafficPolicy::Local;
    let here = of(local.clone(), &[HERE, THERE]);
    let to = |desired: &Desired, source| outcome(desired, packet(source, "172.30.0.2", 30_002));
    assert_eq!(to(&here, "198.51.100.7"), "10.244.0.5:8080");
    assert_eq!(to(&here, "10.244.0.7"), "10.244.0.5:8080 10.244.1.5:8080");
    let there = of(local.clone(), &[THERE]);
    assert_eq!(to(&there, "198.51.100.7"), "drop NoLocalEndpoint");
    assert_eq!(to(&there, "172.30.0.2"), "10.244.1.5:8080m");
    assert_eq!(to(&of(local, &[]), "198.51.100.7"), "reject NoEndpoint");
}

#[test]
fn internal_policy_local_drops_without_a_local_endpoint() {
    let mut local = service(&[(80, None)]);
    local.internal_traffic_policy = TrafficPolicy::Local;
    assert_eq!(
        outcome(&of(local.clone(), &[THERE]), packet("10.244.0.7", "10.96.0.9", 80)),
        "drop NoLocalEndpoint"
    );
    assert_eq!(
        outcome(&of(local.clone(), &[HERE, THERE]), packet("10.244.0.7", "10.96.0.9", 80)),
        "10.244.0.5:8080"
    );
    assert_eq!(
        outcome(&of(local, &[]), packet("10.244.0.7", "10.96.0.9", 80)),
        "reject NoEndpoint"
    );
}

#[test]
fn source_ranges_bar_everybody_else_from_the_balancer_address_alone() {
    let mut balanced = service(&[(80, Some(30_002))]);
    balanced.service_type = ServiceType::LoadBalancer;
    balanced.load_balancer =
        vec![LoadBalancerIngress { ip: [203, 0, 113, 1].into(), ip_mode: IpMode::Vip }];
    balanced.load_balancer_source_ranges = vec!["198.51.100.0/24".parse().unwrap()];
    let desired = of(balanced, &[HERE]);
    let to = |source, at, port| outcome(&desired, packet(source, at, port));
    assert_eq!(to("198.51.100.7", "203.0.113.1", 80), "10.244.0.5:8080");
    assert_eq!(to("198.51.101.7", "203.0.113.1", 80), "drop SourceRange");
    assert_eq!(to("198.51.101.7", "172.30.0.2", 30_002), "10.244.0.5:8080");
    assert_eq!(to("10.244.0.7", "10.96.0.9", 80), "10.244.0.5:8080");
}

#[test]
fn two_services_at_one_external_address_take_turns_by_name() {
    let mut snapshot = Snapshot::default();
    let mut blue = service(&[(80, None)]);
    blue.external_ips = vec![[192, 0, 2, 10].into()];
    let amber =
        Service { name: ObjectName::new("default", "amber"), cluster_ips: vec![], ..blue.clone() };
    let mut desired = Desired::new(view());
    let key = FrontendKey {
        address: FrontendAddress::Ip([192, 0, 2, 10].into()),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let mut step = |event| {
        snapshot.apply(event);
        let dirty = snapshot.take_dirty();
        desired.update(&snapshot, &dirty);
        desired.frontend(&key).map(|frontend| frontend.port.service.name.to_string())
    };
    assert_eq!(step(Event::Service(blue.clone())).as_deref(), Some("blue"));
    assert_eq!(step(Event::Service(amber.clone())).as_deref(), Some("amber"));
    assert_eq!(step(Event::ServiceDeleted(amber.name.clone())).as_deref(), Some("blue"));
    assert_eq!(step(Event::Service(amber.clone())).as_deref(), Some("amber"));
    assert_eq!(step(Event::ServiceDeleted(blue.name.clone())).as_deref(), Some("amber"));
    assert_eq!(step(Event::ServiceDeleted(amber.name)), None);
}

#[test]
fn a_frontend_knows_its_kind_and_its_pool() {
    let desired = of(service(&[(80, Some(30_002))]), &[HERE]);
    let kinds: BTreeSet<_> = desired.frontends().map(|(_, frontend)| frontend.kind).collect();
    assert_eq!(kinds, [FrontendKind::ClusterIp, FrontendKind::NodePort].into());
    // The node port has a frontend for each family, and nobody home for IPv6.
    let mut frontends = desired.frontends();
    let (key, frontend) = frontends.find(|(_, f)| f.kind == FrontendKind::ClusterIp).unwrap();
    assert_eq!(frontend.inside, Action::Balance(Scope::Cluster));
    assert_eq!(desired.pool_of(key, &frontend.port, Scope::Cluster).unwrap().backends.len(), 1);
    assert!(desired.pool_of(key, &frontend.port, Scope::Local).is_none());
}

/// Three nodes, service ranges, and the Service `blue` with these external and load-balancer
/// addresses; `node-0` decides.
fn asking(external: &[&str], balanced: &[&str]) -> Desired {
    let mut snapshot = Snapshot::default();
    snapshot.set_service_ranges(Universe::service_ranges());
    for (index, name) in ["node-0", "node-1"].into_iter().enumerate() {
        snapshot.apply(Event::Node(Node {
            name: name.into(),
            internal_ips: vec![[172, 30, 0, index as u8 + 2].into()],
            external_ips: vec![[192, 0, 2, index as u8 + 100].into()],
            pod_cidrs: vec![format!("10.50.{index}.0/24").parse().unwrap()],
            ..Node::default()
        }));
    }
    let mut blue = service(&[(80, None)]);
    blue.external_ips = external.iter().map(|text| text.parse().unwrap()).collect();
    blue.load_balancer = balanced
        .iter()
        .map(|text| LoadBalancerIngress { ip: text.parse().unwrap(), ip_mode: IpMode::Vip })
        .collect();
    snapshot.apply(Event::Service(blue));
    snapshot.apply(Event::EndpointSlice(slice(&[HERE])));
    desired(&snapshot, &view())
}

#[test]
fn what_belongs_to_the_cluster_is_nobodys_external_address() {
    let cases = [
        ("127.0.0.1", Refusal::Loopback),
        ("::1", Refusal::Loopback),
        ("169.254.169.254", Refusal::LinkLocal),
        ("fe80::1", Refusal::LinkLocal),
        ("0.0.0.0", Refusal::NotUnicast),
        ("224.0.0.1", Refusal::NotUnicast),
        ("255.255.255.255", Refusal::NotUnicast),
        ("10.96.0.10", Refusal::ServiceRange),
        ("fd00:10:96::a", Refusal::ServiceRange),
        ("::ffff:10.96.0.10", Refusal::ServiceRange),
        ("10.244.0.5", Refusal::PodRange),
        ("10.50.1.7", Refusal::PodRange),
        ("172.30.0.3", Refusal::OtherNode),
        ("192.0.2.101", Refusal::OtherNode),
    ];
    for (address, why) in cases {
        for desired in [asking(&[address], &[]), asking(&[], &[address])] {
            let refused: Vec<_> =
                desired.refused().map(|(_, one)| (one.address, one.why)).collect();
            assert_eq!(refused, [(address.parse().unwrap(), why)]);
            let key = FrontendKey {
                address: FrontendAddress::Ip(address.parse().unwrap()),
                protocol: Protocol::Tcp,
                port: 80,
            };
            assert!(desired.frontend(&key).is_none(), "{address}");
        }
    }
    // This node's own addresses and the world's are served.
    for address in ["172.30.0.2", "192.0.2.100", "1.2.3.4", "2001:db8::7"] {
        let desired = asking(&[address], &[]);
        assert_eq!(desired.refused().count(), 0, "{address}");
        assert_eq!(
            desired.frontends().filter(|(_, f)| f.kind == FrontendKind::ExternalIp).count(),
            1
        );
    }
    // Mode Proxy asks for nothing.
    let mut snapshot = Snapshot::default();
    let mut proxied = service(&[(80, None)]);
    proxied.load_balancer =
        vec![LoadBalancerIngress { ip: [127, 0, 0, 1].into(), ip_mode: IpMode::Proxy }];
    snapshot.apply(Event::Service(proxied));
    assert_eq!(desired(&snapshot, &view()).refused().count(), 0);
}

#[test]
fn refusals_follow_the_nodes_and_the_ranges() {
    let mut snapshot = Snapshot::default();
    let mut blue = service(&[(80, None)]);
    blue.external_ips = vec![[172, 30, 0, 9].into(), [10, 97, 0, 1].into()];
    snapshot.apply(Event::Service(blue));
    let mut followed = Desired::new(view());
    let mut step = |event: Option<Event>, ranges: &[&str]| {
        event.into_iter().for_each(|event| snapshot.apply(event));
        snapshot.set_service_ranges(ranges.iter().map(|net| net.parse().unwrap()).collect());
        let dirty = snapshot.take_dirty();
        let changes = followed.update(&snapshot, &dirty);
        assert_eq!(diff(&followed, &desired(&snapshot, &view())), Changes::default());
        let all: Vec<_> = followed.refused().map(|(_, one)| one.address.to_string()).collect();
        (changes.refused, all.join(" "))
    };
    assert_eq!(step(None, &[]), (false, String::new()));
    let node = Node {
        name: "node-9".into(),
        internal_ips: vec![[172, 30, 0, 9].into()],
        ..Node::default()
    };
    assert_eq!(step(Some(Event::Node(node)), &[]), (true, "172.30.0.9".into()));
    assert_eq!(step(None, &["10.97.0.0/16"]), (true, "10.97.0.1 172.30.0.9".into()));
    assert_eq!(step(None, &["10.97.0.0/16"]), (false, "10.97.0.1 172.30.0.9".into()));
    assert_eq!(
        step(Some(Event::NodeDeleted("node-9".into())), &["10.97.0.0/16"]),
        (true, "10.97.0.1".into())
    );
}

#[test]
fn nobody_takes_a_cluster_ip_even_where_the_ranges_are_unknown() {
    let blue = service(&[(80, None)]);
    let mut amber = service(&[(80, None)]);
    amber.name = ObjectName::new("default", "amber");
    amber.cluster_ips = vec![[10, 96, 0, 1].into()];
    amber.external_ips = vec![[10, 96, 0, 9].into()];
    let key = FrontendKey {
        address: FrontendAddress::Ip([10, 96, 0, 9].into()),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let holder = |order: [&Service; 2]| {
        let mut snapshot = Snapshot::default();
        let mut desired = Desired::new(view());
        for one in order {
            snapshot.apply(Event::Service(one.clone()));
            let dirty = snapshot.take_dirty();
            desired.update(&snapshot, &dirty);
        }
        desired.frontend(&key).map(|frontend| frontend.port.service.name.to_string())
    };
    assert_eq!(holder([&blue, &amber]).as_deref(), Some("blue"));
    assert_eq!(holder([&amber, &blue]).as_deref(), Some("blue"));
}

#[test]
fn node_ports_answer_where_the_flag_says() {
    let mut snapshot = Snapshot::default();
    snapshot.apply(Event::Node(Node {
        name: "node-0".into(),
        internal_ips: ["172.30.0.2", "2001:db8::2", "10.1.1.1"]
            .map(|ip| ip.parse().unwrap())
            .into(),
        ..Node::default()
    }));
    let nets = |addresses: NodePortAddresses| {
        let view = NodeView { node_port_addresses: addresses, ..view() };
        let desired = desired(&snapshot, &view);
        Family::BOTH.map(|family| {
            let nets = desired.node_port_networks(family);
            nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        })
    };
    assert_eq!(nets(NodePortAddresses::All), ["0.0.0.0/0", "::/0"]);
    // The first of each family.
    assert_eq!(nets(NodePortAddresses::Primary), ["172.30.0.2/32", "2001:db8::2/128"]);
    let within = |text: &str| NodePortAddresses::Within(vec![text.parse().unwrap()]);
    assert_eq!(nets(within("10.0.0.0/8")), ["10.0.0.0/8", "::/0"], "nothing said about IPv6");
    assert_eq!(nets(within("2001:db8::/32")), ["0.0.0.0/0", "2001:db8::/32"]);
}

#[test]
fn what_ended_after_terminating_is_told_from_what_was_relabelled() {
    let mut snapshot = Snapshot::default();
    let mut going = slice(&[HERE, THERE]);
    snapshot.apply(Event::EndpointSlice(going.clone()));
    going.endpoints.remove(1);
    snapshot.apply(Event::EndpointSlice(going.clone()));
    assert!(snapshot.take_dirty().ended.is_empty(), "still ready when it left: a label changed");
    going.endpoints[0].ready = false;
    going.endpoints[0].terminating = true;
    snapshot.apply(Event::EndpointSlice(going.clone()));
    assert!(snapshot.take_dirty().ended.is_empty(), "still there");
    snapshot.apply(Event::EndpointSliceDeleted(going.name.clone()));
    let here = (HERE.0.parse().unwrap(), 8080, Protocol::Tcp);
    assert_eq!(snapshot.take_dirty().ended, [here].into());
    assert!(!snapshot.has_endpoint(&here.0));
}

#[test]
fn a_pod_of_two_families_is_one_endpoint_for_the_health_check() {
    let mut local = service(&[(80, Some(30_002))]);
    local.external_traffic_policy = TrafficPolicy::Local;
    local.health_check_node_port = Some(32_000);
    let mut snapshot = Snapshot::default();
    snapshot.apply(Event::Service(local.clone()));
    snapshot.apply(Event::EndpointSlice(slice(&[HERE, THERE])));
    let mut six = slice(&[("fd00:10:244::5", "node-0"), ("fd00:10:244:1::5", "node-1")]);
    six.name = ObjectName::new("default", "blue-y");
    six.address_type = AddressType::Ipv6;
    snapshot.apply(Event::EndpointSlice(six));
    let desired = desired(&snapshot, &view());
    let check = desired.health_checks()[&local.name];
    assert_eq!((check.port, check.local_endpoints), (32_000, 1));
}
