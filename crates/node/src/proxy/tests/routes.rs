use std::collections::BTreeMap;

use portolan_model::object::*;
use portolan_model::{Event, NodeView};

use super::lab::{Heard, Lab, NODE, NODE_V6, OUTSIDE, OUTSIDE_V6};
use super::*;

in_every_mode! {
    one_pod_is_reached_every_way_there_is,
    a_pod_on_this_node_sees_its_client,
    both_families_work_alike,
    nobody_home_refuses_at_once_on_every_way,
    every_pod_gets_its_share,
    loopback_is_guarded_against_the_network,
    without_cluster_cidrs_only_the_node_itself_is_masqueraded,
    masquerade_all_hides_even_pods,
    pods_leave_the_cluster_under_the_nodes_address,
}

/// Who answered and whom it saw, as short text.
fn heard(lab: &Lab, from: IpAddr, at: &str) -> String {
    said(lab.dial(from, Protocol::Tcp, to(at)))
}

fn said(heard: Heard) -> String {
    match heard {
        Heard::Answer { server, peer } => format!("{} saw {peer}", server.ip()),
        Heard::Refused => "refused".to_owned(),
        Heard::Silence => "silence".to_owned(),
    }
}

fn one_pod_is_reached_every_way_there_is(lab: &Lab) {
    let proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let far = |peer: &str| format!("10.244.1.2 saw {peer}");
    assert_eq!(heard(lab, ip("10.244.0.2"), "10.96.0.9:80"), far("10.244.0.2"), "pod to VIP");
    assert_eq!(heard(lab, NODE.into(), "10.96.0.9:80"), far("172.30.0.2"), "node to VIP");
    assert_eq!(heard(lab, OUTSIDE.into(), "172.30.0.2:30002"), far("172.30.0.2"), "node port");
    assert_eq!(heard(lab, OUTSIDE.into(), "192.0.2.10:80"), far("172.30.0.2"), "external IP");
    assert_eq!(heard(lab, ip("10.244.0.2"), "172.30.0.2:30002"), far("172.30.0.2"));
    if proxy.datapath.capabilities().loopback_node_ports {
        let seen = heard(lab, ip("127.0.0.1"), "127.0.0.1:30002");
        assert_eq!(seen, far("172.30.0.2"), "loopback");
    }
    let udp = |from: IpAddr, at| said(lab.dial(from, Protocol::Udp, to(at)));
    assert_eq!(udp(ip("10.244.0.2"), "10.96.0.9:80"), far("10.244.0.2"));
    assert_eq!(udp(NODE.into(), "10.96.0.9:80"), far("172.30.0.2"));
    assert_eq!(udp(OUTSIDE.into(), "172.30.0.2:30003"), far("172.30.0.2"));
}

fn a_pod_on_this_node_sees_its_client(lab: &Lab) {
    let proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.0.2"]));
    let near = |peer: &str| format!("10.244.0.2 saw {peer}");
    assert_eq!(heard(lab, OUTSIDE.into(), "172.30.0.2:30002"), near("198.51.100.7"));
    assert_eq!(heard(lab, ip("10.244.0.3"), "10.96.0.9:80"), near("10.244.0.3"));
    if proxy.datapath.capabilities().loopback_node_ports {
        let seen = heard(lab, ip("127.0.0.1"), "127.0.0.1:30002");
        assert_eq!(seen, near("10.244.0.1"), "loopback");
    }
    assert_eq!(heard(lab, ip("10.244.0.2"), "10.96.0.9:80"), near("10.244.0.1"), "hairpin");
}

fn both_families_work_alike(lab: &Lab) {
    let pod = "fd00:10:244:1::2";
    let _proxy = Proxy::start_with(lab, view(), with_pods(&[pod]));
    let far = |peer: &str| format!("{pod} saw {peer}");
    let from_pod = ip("fd00:10:244::2");
    assert_eq!(heard(lab, from_pod, "[fd00:10:96::9]:80"), far("fd00:10:244::2"));
    assert_eq!(heard(lab, NODE_V6.into(), "[fd00:10:96::9]:80"), far(&NODE_V6.to_string()));
    let node_port = format!("[{NODE_V6}]:30002");
    assert_eq!(heard(lab, OUTSIDE_V6.into(), &node_port), far(&NODE_V6.to_string()));
    assert_eq!(
        heard(lab, from_pod, "10.96.0.9:80".replace("10.96.0.9", "[fd00:10:96::9]").as_str()),
        far("fd00:10:244::2")
    );
    assert_eq!(heard(lab, from_pod, "[fd00:10:96::9]:81"), "refused");
}

fn nobody_home_refuses_at_once_on_every_way(lab: &Lab) {
    let _proxy = Proxy::start_with(lab, view(), with_pods(&[]));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let refused = |from: IpAddr, at: String| {
            assert_eq!(lab.dial(from, protocol, to(&at)), Heard::Refused, "{protocol} {from} {at}");
        };
        let node_port = if protocol == Protocol::Tcp { 30_002 } else { 30_003 };
        for from in [ip("10.244.0.2"), NODE.into(), OUTSIDE.into()] {
            refused(from, "10.96.0.9:80".to_owned());
            refused(from, "10.96.0.9:81".to_owned());
            refused(from, "192.0.2.10:80".to_owned());
            refused(from, format!("172.30.0.2:{node_port}"));
        }
        refused(ip("127.0.0.1"), format!("127.0.0.1:{node_port}"));
        refused(ip("fd00:10:244::2"), "[fd00:10:96::9]:80".to_owned());
        refused(NODE_V6.into(), "[fd00:10:96::9]:80".to_owned());
    }
}

fn every_pod_gets_its_share(lab: &Lab) {
    let pods = ["10.244.0.2", "10.244.1.2", "10.244.2.3"];
    let _proxy = Proxy::start_with(lab, view(), with_pods(&pods));
    let mut counts = BTreeMap::new();
    for _ in 0..300 {
        match lab.dial(ip("10.244.0.4"), Protocol::Tcp, to("10.96.0.9:80")) {
            Heard::Answer { server, .. } => *counts.entry(server.ip()).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }
    }
    // 300 throws at 1/3: five standard deviations are 41.
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(counts.values().all(|count| (59..=141).contains(count)), "{counts:?}");
}

fn loopback_is_guarded_against_the_network(lab: &Lab) {
    let _proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let listener = lab.node.run(|| std::net::TcpListener::bind("127.0.0.1:5000").unwrap());
    listener.set_nonblocking(true).unwrap();
    lab.outside.run(|| {
        // An attacker on the same network routes the node's loopback over the node.
        sysctl_loopback();
        let rtnl = portolan_linux::rtnl::Rtnl::open().unwrap();
        let net = "127.0.0.0/8".parse().unwrap();
        let route = portolan_linux::route::Route::via(net, ip("198.51.100.1"));
        let table_local = rtnl.delete_address("lo", "127.0.0.1/8".parse().unwrap());
        assert!(table_local.is_ok(), "{table_local:?}");
        rtnl.add_route(&route).unwrap();
    });
    let attack = lab.dial(OUTSIDE.into(), Protocol::Tcp, to("127.0.0.1:5000"));
    assert_eq!(attack, Heard::Silence);
    assert!(listener.accept().is_err(), "a packet from outside reached a loopback listener");
}

fn sysctl_loopback() {
    portolan_linux::sysctl::set("net.ipv4.conf.all.route_localnet", "1").unwrap();
}

fn without_cluster_cidrs_only_the_node_itself_is_masqueraded(lab: &Lab) {
    let view = NodeView { cluster_cidrs: vec![], ..view() };
    let _proxy = Proxy::start_with(lab, view, with_pods(&["10.244.1.2"]));
    assert_eq!(heard(lab, ip("10.244.0.2"), "10.96.0.9:80"), "10.244.1.2 saw 10.244.0.2");
    assert_eq!(heard(lab, OUTSIDE.into(), "10.96.0.9:80"), "10.244.1.2 saw 198.51.100.7");
    assert_eq!(heard(lab, OUTSIDE.into(), "172.30.0.2:30002"), "10.244.1.2 saw 172.30.0.2");
}

fn masquerade_all_hides_even_pods(lab: &Lab) {
    let view = NodeView { masquerade_all: true, ..view() };
    let _proxy = Proxy::start_with(lab, view, with_pods(&["10.244.0.2"]));
    assert_eq!(heard(lab, ip("10.244.0.3"), "10.96.0.9:80"), "10.244.0.2 saw 10.244.0.1");
    assert_eq!(heard(lab, OUTSIDE.into(), "172.30.0.2:30002"), "10.244.0.2 saw 198.51.100.7");
}

/// Netfilter's own memory of UDP; at the socket, and in IPVS, it is another story.
#[test]
fn udp_clients_follow_when_their_pod_goes() {
    let lab = &Lab::new("nftables");
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.0.2"]));
    let socket =
        lab.at(ip("10.244.0.3")).run(|| std::net::UdpSocket::bind("10.244.0.3:19999").unwrap());
    let ask = || said(super::lab::ask_udp(&socket, to("10.96.0.9:80")));
    assert_eq!(ask(), "10.244.0.2 saw 10.244.0.3");
    let (_, changes) = proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2"]))]);
    let mut sweeper = crate::proxy::conntrack::Sweeper::default();
    sweeper.note(&changes, []);
    assert!(sweeper.due().is_some());
    assert_eq!(ask(), "10.244.0.2 saw 10.244.0.3", "the kernel still remembers");
    let (snapshot, desired) = (&proxy.snapshot, &proxy.desired);
    let deleted = lab.node.run(|| sweep(&mut sweeper, snapshot, desired).unwrap());
    assert_eq!(deleted, 1);
    assert_eq!(ask(), "10.244.1.2 saw 10.244.0.3");
}

fn pods_leave_the_cluster_under_the_nodes_address(lab: &Lab) {
    let node = |name: &str, address: &str| {
        Event::Node(Node { name: name.into(), internal_ips: vec![ip(address)], ..Node::default() })
    };
    let events = [node("node-0", "172.30.0.2"), node("node-1", "172.30.0.3")];
    let mut proxy = Proxy::start_with(lab, view(), events);
    let seen = |ns: &super::lab::Ns, at: &str| {
        let listener = ns.run(|| std::net::TcpListener::bind(at).unwrap());
        let _open =
            lab.at(ip("10.244.0.2")).run(|| super::lab::connect(ip("10.244.0.2"), to(at)).unwrap());
        listener.accept().unwrap().1.ip().to_string()
    };
    assert_eq!(seen(&lab.outside, "198.51.100.7:7000"), "198.51.100.1", "outside");
    assert_eq!(seen(&lab.others, "172.30.0.3:7000"), "10.244.0.2", "another node");
    assert_eq!(seen(&lab.others, "10.244.1.2:7000"), "10.244.0.2", "another node's pod");
    proxy.hear([Event::NodeDeleted("node-1".into())]);
    assert_eq!(seen(&lab.others, "172.30.0.3:7001"), "172.30.0.2", "no node any more");
}
