//! Mode `userspace`, against the same oracle and real packets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};

use portolan_model::Event;
use portolan_model::object::Protocol;
use portolan_model::oracle::{Packet, Verdict, route};
use portolan_model::testing::Dice;

use super::lab::{Heard, Lab, NODE, connect};
use super::*;
use crate::proxy::datapath::userspace::Userspace;

const EVENTS: usize = 400;

fn start<'l>(lab: &'l Lab, events: impl IntoIterator<Item = Event>) -> Proxy<'l> {
    let datapath = lab.node.run(|| -> Box<dyn Datapath> { Box::new(Userspace::open().unwrap()) });
    Proxy::start_on(lab, datapath, view(), events)
}

/// The oracle's verdict, as a relay can carry it out.
fn compare(lab: &Lab, proxy: &Proxy<'_>, dice: &mut Dice, context: &str) -> usize {
    let mut keys: Vec<_> = proxy.desired.frontends().map(|(key, _)| *key).collect();
    keys.retain(|key| key.protocol != Protocol::Sctp);
    keys.sort();
    for _ in 0..12.min(keys.len()) {
        let key = dice.pick(&keys);
        let packet = super::random::dialling(key, dice);
        let Packet { source, destination, .. } = packet;
        let verdict = route(&proxy.desired, &packet);
        let heard = lab.dial(source, key.protocol, SocketAddr::new(destination, key.port));
        let agrees = match (&verdict, heard) {
            (Verdict::Balance { choices, .. }, Heard::Answer { server, .. }) => choices
                .iter()
                .any(|it| SocketAddr::new(it.backend.address, it.backend.port) == server),
            // Nobody is let in, silently or not.
            (Verdict::Reject { .. } | Verdict::Drop { .. }, Heard::Refused | Heard::Silence) => {
                true
            }
            _ => false,
        };
        assert!(agrees, "{context}: {packet:?}: {verdict:?}, but {heard:?}");
    }
    12.min(keys.len())
}

#[test]
fn after_every_event_the_relays_do_what_the_oracle_says() {
    let seed = std::env::var("PORTOLAN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("replay with PORTOLAN_SEED={seed}");
    let lab = Lab::new("userspace");
    let mut proxy = start(&lab, []);
    let (universe, mut dice) = (Universe::default(), Dice::new(seed));
    let (mut left, mut packets) = (EVENTS, 0);
    while left > 0 {
        let count = (1 + dice.below(20) as usize).min(left);
        left -= count;
        let events: Vec<_> = (0..count).map(|_| universe.event(&mut dice)).collect();
        proxy.hear(events);
        packets += compare(&lab, &proxy, &mut dice, &format!("seed {seed}, {left} left"));
    }
    assert!(packets > 50, "only {packets} packets were compared");
    assert_eq!(proxy.everything().mended, 0, "there is nothing to mend");
}

fn server(heard: Heard) -> IpAddr {
    match heard {
        Heard::Answer { server, .. } => server.ip(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_pod_is_tried_when_one_does_not_answer() {
    let lab = Lab::new("userspace");
    // One refuses, one is silence: nobody has these addresses.
    lab.node.run(|| {
        let rtnl = portolan_linux::rtnl::Rtnl::open().unwrap();
        let black = "10.244.2.9/32".parse().unwrap();
        let action = portolan_linux::route::Action::Blackhole;
        rtnl.add_route(&portolan_linux::route::Route::discard(black, action)).unwrap();
    });
    let mut events = with_pods(&["10.244.1.2", "10.244.2.9"]).to_vec();
    let mut refusing = slice(&["10.244.0.3"]);
    refusing.name = ObjectName::new("default", "blue-refusing");
    refusing.ports.iter_mut().for_each(|port| port.port = Some(7));
    events.push(Event::EndpointSlice(refusing));
    let _proxy = start(&lab, events);
    for _ in 0..30 {
        let heard = lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("10.96.0.9:80"));
        assert_eq!(server(heard), ip("10.244.1.2"));
    }
}

#[test]
fn every_way_there_is_and_the_node_is_seen() {
    let lab = Lab::new("userspace");
    let mut proxy = start(&lab, with_pods(&["10.244.1.2"]));
    let ways = [
        ("10.244.0.2", "10.96.0.9:80", Protocol::Tcp),
        ("10.244.0.2", "10.96.0.9:80", Protocol::Udp),
        ("172.30.0.2", "10.96.0.9:80", Protocol::Tcp),
        ("198.51.100.7", "172.30.0.2:30002", Protocol::Tcp),
        ("198.51.100.7", "172.30.0.2:30003", Protocol::Udp),
        ("198.51.100.7", "192.0.2.10:80", Protocol::Tcp),
        ("127.0.0.1", "127.0.0.1:30002", Protocol::Tcp),
    ];
    for (from, at, protocol) in ways {
        let heard = lab.dial(ip(from), protocol, to(at));
        let expected = Heard::Answer { server: to("10.244.1.2:8080"), peer: NODE.into() };
        assert_eq!(heard, expected, "{protocol} {from} {at}");
    }
    let refused = |at: &str| {
        assert_eq!(lab.dial(ip("10.244.0.2"), Protocol::Tcp, to(at)), Heard::Refused, "{at}");
    };
    refused("10.96.0.9:81");
    refused("10.96.0.9:30002");
    proxy.hear([Event::EndpointSlice(slice(&[]))]);
    ways.into_iter()
        .filter(|way| way.2 == Protocol::Tcp && way.0 == "10.244.0.2")
        .for_each(|way| refused(way.1));
    for (from, at, protocol) in ways {
        assert_eq!(lab.dial(ip(from), protocol, to(at)), Heard::Refused, "{protocol} {from} {at}");
    }
}

/// Wherever it dials, the node is one client: its Pod is the same at every address of a port, and
/// source ranges mean the node's address.
#[test]
fn the_node_is_the_same_client_at_every_address() {
    let lab = Lab::new("userspace");
    let mut service = blue();
    service.affinity_seconds = Some(60);
    service.load_balancer =
        vec![LoadBalancerIngress { ip: ip("203.0.113.7"), ip_mode: IpMode::Vip }];
    service.load_balancer_source_ranges = vec!["172.30.0.0/24".parse().unwrap()];
    let pods = ["10.244.0.2", "10.244.1.2", "10.244.1.3", "10.244.2.2"];
    let mut proxy = start(&lab, [Event::Service(service), Event::EndpointSlice(slice(&pods))]);
    assert!(!proxy.datapath.may_have_drifted());
    let dial = |at: &str| {
        lab.node.run(|| {
            let stream = std::net::TcpStream::connect(at).unwrap();
            assert_eq!(stream.local_addr().unwrap().ip(), NODE, "{at}");
            BufReader::new(stream).lines().next().unwrap().unwrap()
        })
    };
    let first = dial("10.96.0.9:80");
    let same = |line: String| line.split(' ').next() == first.split(' ').next();
    for at in ["172.30.0.2:30002", "192.0.2.10:80", "203.0.113.7:80", "10.96.0.9:80"] {
        (0..5).for_each(|_| assert!(same(dial(at)), "{at}"));
    }
}

#[test]
fn a_client_is_kept_and_a_removed_pod_keeps_its_connections() {
    let lab = Lab::new("userspace");
    let mut sticky = blue();
    sticky.affinity_seconds = Some(60);
    let pods = ["10.244.0.2", "10.244.1.2", "10.244.1.3", "10.244.2.2"];
    let events = [Event::Service(sticky), Event::EndpointSlice(slice(&pods))];
    let mut proxy = start(&lab, events);
    let dial = || server(lab.dial(ip("10.244.0.3"), Protocol::Tcp, to("10.96.0.9:80")));
    let first = dial();
    (0..20).for_each(|_| assert_eq!(dial(), first));
    let stream = lab.at(ip("10.244.0.3")).run(|| connect(ip("10.244.0.3"), to("10.96.0.9:80")));
    let mut stream = stream.unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with(&format!("{first}:")));
    let left: Vec<&str> = pods.iter().filter(|pod| ip(pod) != first).copied().collect();
    proxy.hear([Event::EndpointSlice(slice(&left))]);
    writeln!(stream, "still here").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "still here");
    let second = dial();
    assert_ne!(second, first);
    (0..10).for_each(|_| assert_eq!(dial(), second));
}

/// The Service leads to one pod, where this listener is.
fn with_server_of_our_own(lab: &Lab) -> (Proxy<'_>, TcpListener) {
    let mut slice = slice(&["10.244.0.2"]);
    slice.ports.iter_mut().for_each(|port| port.port = Some(7000));
    let proxy = start(lab, [Event::Service(blue()), Event::EndpointSlice(slice)]);
    let listener = lab.at(ip("10.244.0.2")).run(|| TcpListener::bind("10.244.0.2:7000").unwrap());
    (proxy, listener)
}

#[test]
fn the_end_of_one_direction_is_not_the_end_of_the_other() {
    let lab = Lab::new("userspace");
    let (_proxy, listener) = with_server_of_our_own(&lab);
    let pod = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        write!(stream, "heard {}", all.len()).unwrap();
    });
    let stream = lab.at(ip("10.244.0.3")).run(|| connect(ip("10.244.0.3"), to("10.96.0.9:80")));
    let mut stream = stream.unwrap();
    stream.write_all(&[b'x'; 100_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "heard 100000");
    pod.join().unwrap();
}

/// Nothing but sockets is needed for node ports, and for addresses that somebody routes here.
#[test]
fn without_any_rights_node_ports_and_routed_addresses_answer() {
    let lab = Lab::new("userspace");
    lab.node.run(|| {
        let mut ip = std::process::Command::new("ip");
        let routed = ip.args(["route", "add", "local", "192.0.2.10", "dev", "lo"]).status();
        assert!(routed.unwrap().success());
        portolan_linux::sysctl::set("net.ipv4.ip_unprivileged_port_start", "80").unwrap();
    });
    let mut proxy = lab.node.run(|| {
        portolan_linux::process::unprivileged(|| {
            let datapath: Box<dyn Datapath> = Box::new(Userspace::open().unwrap());
            let mut snapshot = Snapshot::default();
            with_pods(&["10.244.1.2"]).into_iter().for_each(|event| snapshot.apply(event));
            let mut desired = Desired::new(view());
            let dirty = snapshot.take_dirty();
            desired.update(&snapshot, &dirty);
            let mut proxy =
                Proxy { lab: &lab, snapshot, desired, datapath, first: Applied::default() };
            proxy.first = proxy.datapath.apply(&proxy.desired, Scope::Everything).unwrap();
            // Connections cannot be looked at, and are not tried again for ever.
            let mut sweeper = Sweeper::default();
            sweeper.everything();
            let error = sweep(&mut sweeper, &proxy.snapshot, &proxy.desired).unwrap_err();
            sweeper.everything();
            assert!(!sweeper.failed(None, &error), "{error:?}");
            assert_eq!(sweeper.due(), None);
            proxy
        })
        .unwrap()
    });
    for (from, at) in [
        ("198.51.100.7", "172.30.0.2:30002"),
        ("127.0.0.1", "127.0.0.1:30002"),
        ("198.51.100.7", "192.0.2.10:80"),
    ] {
        assert_eq!(server(lab.dial(ip(from), Protocol::Tcp, to(at))), ip("10.244.1.2"), "{at}");
    }
    let missing = proxy.datapath.observe().unwrap().strays;
    assert!(missing.contains(&"10.96.0.9 is not delivered to this node".to_owned()), "{missing:?}");
}

/// More than pipe and sockets hold: whoever reads slowly slows down the one who writes, and loses
/// nothing.
#[test]
fn a_slow_reader_gets_every_byte() {
    const LENGTH: usize = 24 << 20;
    let lab = Lab::new("userspace");
    let (_proxy, listener) = with_server_of_our_own(&lab);
    let sent: Vec<u8> = (0..LENGTH).map(|n| (n ^ (n >> 9)) as u8).collect();
    let expected = sent.clone();
    let pod = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&sent).unwrap();
    });
    let stream = lab.at(ip("10.244.0.3")).run(|| connect(ip("10.244.0.3"), to("10.96.0.9:80")));
    let mut stream = stream.unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert!(heard == expected, "{} of {LENGTH} bytes, or others", heard.len());
    pod.join().unwrap();
}

#[test]
fn udp_clients_follow_when_their_pod_goes_in_userspace() {
    let lab = Lab::new("userspace");
    let mut proxy = start(&lab, with_pods(&["10.244.0.2"]));
    let socket =
        lab.at(ip("10.244.0.3")).run(|| std::net::UdpSocket::bind("10.244.0.3:19999").unwrap());
    let ask = || server(super::lab::ask_udp(&socket, to("10.96.0.9:80")));
    assert_eq!(ask(), ip("10.244.0.2"));
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2"]))]);
    assert_eq!(ask(), ip("10.244.1.2"));
}

#[test]
fn drift_is_mended_and_removing_leaves_nothing() {
    let lab = Lab::new("userspace");
    let mut proxy = start(&lab, with_pods(&["10.244.1.2"]));
    let run = |command: &str| {
        let mut shell = std::process::Command::new("sh");
        let output = lab.node.run(|| shell.args(["-c", command]).output().unwrap());
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!proxy.datapath.may_have_drifted());
    run("ip route del local 10.96.0.9 dev lo table local");
    assert!(proxy.datapath.may_have_drifted());
    assert!(proxy.everything().mended > 0);
    let heard = lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("10.96.0.9:80"));
    assert_eq!(server(heard), ip("10.244.1.2"));
    // A new address of the node serves node ports.
    run("ip address add 172.30.0.99/32 dev lo");
    assert!(proxy.datapath.may_have_drifted());
    proxy.everything();
    let heard = lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("172.30.0.99:30002"));
    assert_eq!(server(heard), ip("10.244.1.2"));
    assert!(!proxy.datapath.may_have_drifted());
    let datapath = &mut proxy.datapath;
    lab.node.run(|| datapath.remove().unwrap());
    let left = run("ip route show table local; ip -6 route show table local");
    assert!(!left.contains("10.96.0.") && !left.contains("fd00:10:96"), "{left}");
    // A child that another test is starting may hold a copy of a socket until it runs.
    for attempt in 0.. {
        let left = run("ss -Hltun");
        if !left.contains("10.96.0.") && !left.contains(":30002") && !left.contains("fd00:10:96") {
            break;
        }
        assert!(attempt < 100, "{left}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
