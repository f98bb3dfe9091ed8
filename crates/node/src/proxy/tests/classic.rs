//! Mode `iptables`, with both kinds of iptables, against the same oracle and real packets.

use std::process::Command;

use portolan_linux::iptables::{Kind, Programs};
use portolan_model::Event;
use portolan_model::object::Protocol;
use portolan_model::testing::Dice;

use super::lab::{Heard, Lab, NODE, NODE_V6, OUTSIDE};
use super::random::packets_agree;
use super::*;
use crate::proxy::datapath::iptables::Iptables;

const EVENTS: usize = 250;

/// The suffix of the programs' names, and the programs, if they are installed.
fn kind(kind: Kind) -> Option<(&'static str, Programs)> {
    let found = Programs::installed().into_iter().find(|programs| programs.kind == kind);
    if found.is_none() {
        eprintln!("skipped: iptables of kind {kind:?} is not installed");
    }
    Some((if kind == Kind::Nft { "nft" } else { "legacy" }, found?))
}

fn open(lab: &Lab, programs: &Programs) -> Box<dyn Datapath> {
    lab.node.run(|| -> Box<dyn Datapath> {
        Box::new(Iptables::with(programs.clone(), &lab.host).unwrap())
    })
}

fn start<'l>(
    lab: &'l Lab,
    programs: &Programs,
    view: NodeView,
    events: impl IntoIterator<Item = Event>,
) -> Proxy<'l> {
    Proxy::start_on(lab, open(lab, programs), view, events)
}

fn run(lab: &Lab, command: &str) -> String {
    let output = lab.node.run(|| Command::new("sh").args(["-c", command]).output().unwrap());
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn agrees(which: Kind) {
    let Some((_, programs)) = kind(which) else { return };
    let seed = std::env::var("PORTOLAN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("replay with PORTOLAN_SEED={seed}");
    let lab = Lab::new("iptables");
    let (universe, mut dice) = (Universe::default(), Dice::new(seed));
    let node_port_addresses = dice.pick(&[
        NodePortAddresses::All,
        NodePortAddresses::All,
        NodePortAddresses::Primary,
        NodePortAddresses::Within(vec!["172.30.0.0/16".parse().unwrap()]),
        NodePortAddresses::Within(vec!["192.168.0.0/16".parse().unwrap()]),
    ]);
    let view = NodeView { node_port_addresses, masquerade_all: dice.once_in(4), ..view() };
    let mut proxy = start(&lab, &programs, view, []);
    let (mut left, mut packets) = (EVENTS, 0);
    while left > 0 {
        let count = (1 + dice.below(20) as usize).min(left);
        left -= count;
        let events: Vec<_> = (0..count).map(|_| universe.event(&mut dice)).collect();
        proxy.hear(events);
        assert_eq!(proxy.differences(), [""; 0], "seed {seed}, {left} events left");
        packets += packets_agree(&lab, &proxy, &mut dice, &format!("seed {seed}, {left} left"));
        if dice.once_in(10) {
            proxy.datapath = open(&lab, &programs);
            assert_eq!(proxy.everything().writes, 0, "seed {seed}, {left} events left, restarted");
        }
    }
    assert!(packets > 50, "only {packets} packets were compared");
}

#[test]
fn after_every_event_nft_is_what_the_oracle_says() {
    agrees(Kind::Nft);
}

#[test]
fn after_every_event_legacy_is_what_the_oracle_says() {
    agrees(Kind::Legacy);
}

fn said(lab: &Lab, from: IpAddr, at: &str) -> String {
    match lab.dial(from, Protocol::Tcp, to(at)) {
        Heard::Answer { server, peer } => format!("{} saw {peer}", server.ip()),
        Heard::Refused => "refused".to_owned(),
        Heard::Silence => "silence".to_owned(),
    }
}

#[test]
fn every_way_there_is() {
    for which in [Kind::Nft, Kind::Legacy] {
        let Some((_, programs)) = kind(which) else { continue };
        let lab = Lab::new("iptables");
        let mut proxy = start(&lab, &programs, view(), with_pods(&["10.244.1.2"]));
        let far = |peer: &str| format!("10.244.1.2 saw {peer}");
        assert_eq!(said(&lab, ip("10.244.0.2"), "10.96.0.9:80"), far("10.244.0.2"));
        assert_eq!(said(&lab, NODE.into(), "10.96.0.9:80"), far("172.30.0.2"));
        assert_eq!(said(&lab, OUTSIDE.into(), "172.30.0.2:30002"), far("172.30.0.2"));
        assert_eq!(said(&lab, OUTSIDE.into(), "192.0.2.10:80"), far("172.30.0.2"));
        assert_eq!(said(&lab, ip("127.0.0.1"), "127.0.0.1:30002"), far("172.30.0.2"));
        assert_eq!(said(&lab, ip("10.244.0.2"), "10.96.0.9:81"), "refused");
        assert_eq!(said(&lab, NODE.into(), "10.96.0.9:81"), "refused");
        // A pod of this node sees its client, but for itself and what came over loopback.
        proxy.hear([Event::EndpointSlice(slice(&["10.244.0.2"]))]);
        let near = |peer: &str| format!("10.244.0.2 saw {peer}");
        assert_eq!(said(&lab, OUTSIDE.into(), "172.30.0.2:30002"), near("198.51.100.7"));
        assert_eq!(said(&lab, ip("10.244.0.3"), "10.96.0.9:80"), near("10.244.0.3"));
        assert_eq!(said(&lab, ip("127.0.0.1"), "127.0.0.1:30002"), near("10.244.0.1"));
        assert_eq!(said(&lab, ip("10.244.0.2"), "10.96.0.9:80"), near("10.244.0.1"));
        // Nobody is left.
        proxy.hear([Event::EndpointSlice(slice(&[]))]);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let node_port = if protocol == Protocol::Tcp { 30_002 } else { 30_003 };
            for from in [ip("10.244.0.2"), NODE.into(), OUTSIDE.into()] {
                for at in ["10.96.0.9:80", "192.0.2.10:80", &format!("172.30.0.2:{node_port}")] {
                    let heard = lab.dial(from, protocol, to(at));
                    assert_eq!(heard, Heard::Refused, "{which:?} {protocol} {from} {at}");
                }
            }
            for from in [ip("fd00:10:244::2"), NODE_V6.into()] {
                let heard = lab.dial(from, protocol, to("[fd00:10:96::9]:80"));
                assert_eq!(heard, Heard::Refused, "{which:?} {protocol} {from}");
            }
        }
    }
}

#[test]
fn pods_are_known_by_their_networks() {
    let Some((_, programs)) = kind(Kind::Nft) else { return };
    let lab = Lab::new("iptables");
    let unknown = NodeView { cluster_cidrs: vec![], ..view() };
    let proxy = start(&lab, &programs, unknown, with_pods(&["10.244.1.2"]));
    assert_eq!(said(&lab, ip("10.244.0.2"), "10.96.0.9:80"), "10.244.1.2 saw 10.244.0.2");
    assert_eq!(said(&lab, OUTSIDE.into(), "10.96.0.9:80"), "10.244.1.2 saw 198.51.100.7");
    assert_eq!(said(&lab, OUTSIDE.into(), "172.30.0.2:30002"), "10.244.1.2 saw 172.30.0.2");
    drop(proxy);
    let two = ["10.244.0.0/24", "10.244.1.0/24"].map(|net| net.parse().unwrap()).to_vec();
    let apart = NodeView { cluster_cidrs: two, ..view() };
    let proxy = start(&lab, &programs, apart, with_pods(&["10.244.1.2"]));
    assert_eq!(said(&lab, ip("10.244.0.2"), "10.96.0.9:80"), "10.244.1.2 saw 10.244.0.2");
    assert_eq!(said(&lab, OUTSIDE.into(), "10.96.0.9:80"), "10.244.1.2 saw 172.30.0.2");
    drop(proxy);
    let all = NodeView { masquerade_all: true, ..view() };
    let _proxy = start(&lab, &programs, all, with_pods(&["10.244.0.2"]));
    assert_eq!(said(&lab, ip("10.244.0.3"), "10.96.0.9:80"), "10.244.0.2 saw 10.244.0.1");
    assert_eq!(said(&lab, OUTSIDE.into(), "172.30.0.2:30002"), "10.244.0.2 saw 198.51.100.7");
}

#[test]
fn a_client_keeps_its_pod_until_it_goes() {
    for which in [Kind::Nft, Kind::Legacy] {
        let Some((_, programs)) = kind(which) else { continue };
        let lab = Lab::new("iptables");
        let mut sticky = blue();
        sticky.affinity_seconds = Some(60);
        let pods = ["10.244.0.2", "10.244.1.2", "10.244.1.3", "10.244.2.2"];
        let events = [Event::Service(sticky), Event::EndpointSlice(slice(&pods))];
        let mut proxy = start(&lab, &programs, view(), events);
        let server = || said(&lab, ip("10.244.0.3"), "10.96.0.9:80");
        let first = server();
        (0..20).for_each(|_| assert_eq!(server(), first));
        let serves = |pod: &&&str| first.starts_with(&format!("{pod} "));
        let other = pods.iter().find(|pod| !serves(pod)).unwrap();
        let mut now: Vec<&str> = pods.iter().filter(|pod| *pod != other).copied().collect();
        now.push("10.244.2.3");
        proxy.hear([Event::EndpointSlice(slice(&now))]);
        (0..10).for_each(|_| assert_eq!(server(), first));
        // A new process takes over.
        proxy.datapath = open(&lab, &programs);
        assert_eq!(proxy.everything().writes, 0, "adopted as it is");
        assert_eq!(server(), first);
        let left: Vec<&str> = now.iter().filter(|pod| !serves(pod)).copied().collect();
        proxy.hear([Event::EndpointSlice(slice(&left))]);
        let second = server();
        assert_ne!(second, first);
        (0..10).for_each(|_| assert_eq!(server(), second));
        assert_eq!(proxy.differences(), [""; 0]);
    }
}

#[test]
fn meddling_is_mended_and_others_rules_are_left_alone() {
    for which in [Kind::Nft, Kind::Legacy] {
        let Some((suffix, programs)) = kind(which) else { continue };
        let lab = Lab::new("iptables");
        let theirs = format!(
            "iptables-{suffix} -t nat -N THEIRS && iptables-{suffix} -t nat -A THEIRS -p icmp -j RETURN && iptables-{suffix} -t nat -A OUTPUT -j THEIRS"
        );
        run(&lab, &theirs);
        let mut proxy = start(&lab, &programs, view(), with_pods(&["10.244.1.2"]));
        let meddlers = [
            "-t nat -F KUBE-SERVICES",
            "-t nat -D POSTROUTING 1",
            "-t nat -A KUBE-MARK-MASQ -j RETURN",
            "-t filter -F",
            "-t nat -F PREROUTING",
        ];
        for meddler in meddlers {
            assert!(!proxy.datapath.may_have_drifted(), "{which:?}: before {meddler}");
            run(&lab, &format!("iptables-{suffix} {meddler}"));
            if which == Kind::Nft {
                // Not even changes of our own hide it.
                proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2", "10.244.1.3"]))]);
                proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2"]))]);
            }
            assert!(proxy.datapath.may_have_drifted(), "{which:?}: after {meddler}");
            assert!(proxy.everything().mended > 0, "{which:?}: {meddler}");
            assert_eq!(proxy.differences(), [""; 0], "{which:?}: {meddler}");
            assert_eq!(said(&lab, ip("10.244.0.2"), "10.96.0.9:80"), "10.244.1.2 saw 10.244.0.2");
            assert_eq!(proxy.everything().mended, 0, "{which:?}: {meddler}");
        }
        // Sets and tables of others do not matter.
        if which == Kind::Nft {
            run(
                &lab,
                "nft 'add table ip other; add set ip other s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }'",
            );
            assert!(!proxy.datapath.may_have_drifted());
            assert_eq!(proxy.everything().mended, 0);
        }
        let kept = run(&lab, &format!("iptables-{suffix}-save -t nat"));
        assert!(
            kept.contains("-A THEIRS -p icmp -j RETURN") && kept.contains("-A OUTPUT -j THEIRS")
        );
        let datapath = &mut proxy.datapath;
        lab.node.run(|| datapath.remove().unwrap());
        let left = run(&lab, &format!("iptables-{suffix}-save; ip6tables-{suffix}-save"));
        assert!(!left.contains("KUBE-") && !left.contains("PORTOLAN-"), "{left}");
        assert!(
            left.contains("-A THEIRS -p icmp -j RETURN") && left.contains("-A OUTPUT -j THEIRS")
        );
    }
}

#[test]
fn removing_leaves_nothing() {
    let Some((_, programs)) = kind(Kind::Nft) else { return };
    let lab = Lab::new("iptables");
    let mut proxy = start(&lab, &programs, view(), with_pods(&["10.244.1.2"]));
    let localnet = || run(&lab, "cat /proc/sys/net/ipv4/conf/all/route_localnet").trim().to_owned();
    assert_eq!(localnet(), "1");
    let datapath = &mut proxy.datapath;
    lab.node.run(|| datapath.remove().unwrap());
    assert_eq!(run(&lab, "nft list ruleset"), "");
    assert_eq!(localnet(), "0");
    lab.node.run(|| datapath.remove().unwrap());
    lab.node.run(|| Iptables::clear().unwrap());
    assert_eq!(run(&lab, "nft list ruleset"), "");
}

/// Tables go in a second step, before which somebody may have died.
#[test]
fn tables_that_somebody_was_about_to_remove_are_removed() {
    let Some((_, programs)) = kind(Kind::Nft) else { return };
    let lab = Lab::new("iptables");
    let mut proxy = start(&lab, &programs, view(), with_pods(&["10.244.1.2"]));
    run(&lab, "iptables-nft -t filter -N THEIRS");
    let datapath = &mut proxy.datapath;
    lab.node.run(|| datapath.remove().unwrap());
    let theirs = run(&lab, "nft list ruleset");
    assert!(theirs.contains("table ip filter") && theirs.contains("chain THEIRS"), "{theirs}");
    for table in ["table ip nat", "table ip6", "table ip mangle", "PORTOLAN", "KUBE"] {
        assert!(!theirs.contains(table), "{theirs}");
    }
    let die = || {
        for program in ["iptables-nft", "ip6tables-nft"] {
            for table in ["nat", "filter", "mangle"] {
                let note = "-N PORTOLAN-REMOVED";
                run(&lab, &format!("{program} -t {table} {note}; {program} -t {table} -L"));
            }
        }
    };
    die();
    drop(start(&lab, &programs, view(), with_pods(&["10.244.1.2"])));
    let again = run(&lab, "iptables-nft-save -t nat; ip6tables-nft-save -t filter");
    assert!(again.contains("KUBE-SERVICES") && !again.contains("REMOVED"), "{again}");
    lab.node.run(|| Iptables::clear().unwrap());
    die();
    lab.node.run(|| Iptables::clear().unwrap());
    assert_eq!(run(&lab, "nft list ruleset"), theirs);
    // What nobody of ours was in is left alone.
    run(&lab, "iptables-nft -t nat -L; iptables-nft -t filter -X THEIRS");
    let empty = run(&lab, "nft list ruleset");
    lab.node.run(|| Iptables::clear().unwrap());
    assert_eq!(run(&lab, "nft list ruleset"), empty);
}

#[test]
fn loopback_is_guarded() {
    let Some((_, programs)) = kind(Kind::Nft) else { return };
    let lab = Lab::new("iptables");
    let _proxy = start(&lab, &programs, view(), with_pods(&["10.244.1.2"]));
    let listener = lab.node.run(|| std::net::TcpListener::bind("127.0.0.1:5000").unwrap());
    listener.set_nonblocking(true).unwrap();
    lab.outside.run(|| {
        portolan_linux::sysctl::set("net.ipv4.conf.all.route_localnet", "1").unwrap();
        let rtnl = portolan_linux::rtnl::Rtnl::open().unwrap();
        rtnl.delete_address("lo", "127.0.0.1/8".parse().unwrap()).unwrap();
        let net = "127.0.0.0/8".parse().unwrap();
        rtnl.add_route(&portolan_linux::route::Route::via(net, ip("198.51.100.1"))).unwrap();
    });
    assert_eq!(lab.dial(OUTSIDE.into(), Protocol::Tcp, to("127.0.0.1:5000")), Heard::Silence);
    assert!(listener.accept().is_err(), "a packet from outside reached a loopback listener");
}
