//! What only sockets can show: mode `ebpf`, whose programs run where a connection is opened.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use portolan_linux::bpf::{Link, Map};
use portolan_model::Event;
use portolan_model::object::{Node, ObjectName, Protocol, ServiceType};

use super::lab::{Heard, Lab, NODE, connect};
use super::*;

pub(super) const POD: &str = "10.244.0.2";
pub(super) const VIP: &str = "10.96.0.9:80";

fn node_event() -> Event {
    Event::Node(Node { name: "node-0".into(), internal_ips: vec![NODE.into()], ..Node::default() })
}

/// A pod's UDP socket that gives up soon.
pub(super) fn udp(lab: &Lab, address: &str) -> UdpSocket {
    let socket = lab.at(ip(POD)).run(|| UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

/// Sends to `to` without connecting; who answered, and what it said of itself.
pub(super) fn talk(lab: &Lab, socket: &UdpSocket, to: &str) -> (SocketAddr, SocketAddr) {
    lab.at(ip(POD)).run(|| socket.send_to(b"who", to).unwrap());
    let mut buffer = [0; 200];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    (from, text.split_whitespace().next().unwrap().parse().unwrap())
}

fn pinned(lab: &Lab, prefix: &str) -> Vec<std::path::PathBuf> {
    let root = lab.host.bpf.as_ref().unwrap().join("portolan");
    let node = std::fs::read_dir(root).unwrap().next().unwrap().unwrap().path();
    let all = std::fs::read_dir(node).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect()
}

pub(super) fn map(lab: &Lab, name: &str) -> Map {
    let generations = pinned(lab, "maps_");
    assert_eq!(generations.len(), 1, "{generations:?}");
    Map::open(generations[0].join(name)).unwrap()
}

/// A Service with so many pods that nobody dials; the length of its name is in its address.
pub(super) fn crowd(name: &str, pods: u32) -> [Event; 2] {
    let mut service = blue();
    service.name = ObjectName::new("default", name);
    service.service_type = ServiceType::ClusterIP;
    service.cluster_ips = vec![[10, 96, 1, name.len() as u8].into()];
    service.external_ips = vec![];
    let mut slice = slice(&[]);
    slice.name = ObjectName::new("default", format!("{name}-v4"));
    slice.service = Some(service.name.clone());
    let pod = |number: u32| std::net::Ipv4Addr::from(0x0AF4_8000 + number).to_string();
    let pods: Vec<_> = (0..pods).map(pod).collect();
    let pods: Vec<_> = pods.iter().map(String::as_str).collect();
    slice.endpoints = super::slice(&pods).endpoints;
    [Event::Service(service), Event::EndpointSlice(slice)]
}

/// How many connections the tables beneath have translated.
pub(super) fn translated(lab: &Lab) -> usize {
    lab.node.run(|| {
        let mut socket = portolan_linux::netlink::Socket::netfilter().unwrap();
        let mut count = 0;
        for protocol in [6, 17] {
            for ipv6 in [false, true] {
                portolan_linux::conntrack::flows(&mut socket, ipv6, protocol, |flow| {
                    count += usize::from(flow.destination_nat);
                })
                .unwrap();
            }
        }
        count
    })
}

#[test]
fn a_socket_is_handed_its_pod_and_knows_only_the_service() {
    let lab = Lab::new("ebpf");
    let mut events = with_pods(&["10.244.1.2"]).to_vec();
    events.push(Event::EndpointSlice(slice(&["fd00:10:244:1::2"])));
    let proxy = Proxy::start_with(&lab, view(), events);
    for vip in [VIP, "[fd00:10:96::9]:80", "[::ffff:10.96.0.9]:80"] {
        let vip: SocketAddr = vip.parse().unwrap();
        let mut stream = lab.at(ip(POD)).run(|| {
            let stream = TcpStream::connect(vip).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), vip);
            stream
        });
        let mut hello = [0; 10];
        stream.read_exact(&mut hello).unwrap();
    }
    assert_eq!(translated(&lab), 0, "nothing was left to the tables beneath");
    // The same from a process that no program sees: the tables beneath serve it.
    lab.at(ip(POD)).handle.run(|| TcpStream::connect(VIP).unwrap()).unwrap();
    assert_eq!(translated(&lab), 1);
    drop(proxy);
}

#[test]
fn udp_answers_come_from_the_service() {
    let lab = Lab::new("ebpf");
    let mut events = with_pods(&["10.244.1.2", "10.244.2.2"]).to_vec();
    events.push(Event::EndpointSlice(slice(&["fd00:10:244:1::2"])));
    let _proxy = Proxy::start_with(&lab, view(), events);
    for (here, vip) in
        [("0.0.0.0:0", VIP), ("[::]:0", "[fd00:10:96::9]:80"), ("[::]:0", "[::ffff:10.96.0.9]:80")]
    {
        let socket = udp(&lab, here);
        let (from, first) = talk(&lab, &socket, vip);
        assert_eq!(from, vip.parse().unwrap(), "unconnected");
        for _ in 0..10 {
            assert_eq!(talk(&lab, &socket, vip).1, first, "one socket stays with one pod");
        }
        let socket = udp(&lab, here);
        let mut buffer = [0; 200];
        lab.at(ip(POD)).run(|| socket.connect(vip).unwrap());
        socket.send(b"who").unwrap();
        let from = lab.at(ip(POD)).run(|| socket.recv_from(&mut buffer).unwrap().1);
        assert_eq!(from, vip.parse().unwrap(), "connected");
        assert_eq!(lab.at(ip(POD)).run(|| socket.peer_addr().unwrap()), vip.parse().unwrap());
    }
    assert_eq!(translated(&lab), 0);
    // Who is spoken to directly answers under its own name, also on a socket that knows the VIP.
    let socket = udp(&lab, "0.0.0.0:0");
    let (_, server) = talk(&lab, &socket, VIP);
    assert_eq!(talk(&lab, &socket, &server.to_string()), (server, server));
}

#[test]
fn refused_at_once_without_endpoints_or_port() {
    let lab = Lab::new("ebpf");
    let _proxy = Proxy::start_with(&lab, view(), with_pods(&[]));
    for at in [VIP, "10.96.0.9:81", "[fd00:10:96::9]:80"] {
        let error = lab.at(ip(POD)).run(|| TcpStream::connect(at).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{at}");
        let socket = udp(&lab, if at.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" });
        lab.at(ip(POD)).run(|| socket.connect(at).unwrap());
        socket.send(b"who").unwrap();
        let error = socket.recv(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{at}, UDP");
    }
}

#[test]
fn node_ports_are_dialled_at_the_socket_and_kept_free_of_listeners() {
    let lab = Lab::new("ebpf");
    let mut events = with_pods(&["10.244.0.2"]).to_vec();
    events.push(node_event());
    let mut proxy = Proxy::start_with(&lab, view(), events);
    assert_eq!(proxy.differences(), [""; 0]);
    let dial = |from: &str| lab.dial(ip(from), Protocol::Tcp, to("172.30.0.2:30002"));
    assert!(matches!(dial("10.244.0.3"), Heard::Answer { .. }));
    assert_eq!(translated(&lab), 0, "all pods are on this node, so nobody is masqueraded");
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2"]))]);
    let far = Heard::Answer { server: to("10.244.1.2:8080"), peer: NODE.into() };
    assert_eq!(dial("10.244.0.3"), far, "a pod is masqueraded, which the tables beneath do");
    assert_eq!(translated(&lab), 1);
    assert_eq!(dial("172.30.0.2"), far, "the node itself need not be");
    assert_eq!(translated(&lab), 1);

    let listen = |at: &str| TcpListener::bind(at).map(drop).map_err(|error| error.kind());
    lab.node.run(|| {
        assert_eq!(listen("0.0.0.0:30002"), Err(ErrorKind::AddrInUse));
        assert_eq!(listen("[::]:30002"), Err(ErrorKind::AddrInUse));
        assert_eq!(listen("172.30.0.2:30002"), Err(ErrorKind::AddrInUse));
        assert_eq!(listen("0.0.0.0:30003"), Ok(()), "that one is UDP's");
        assert_eq!(listen("127.0.0.1:30002"), Ok(()));
    });
    lab.at(ip(POD)).run(|| assert_eq!(listen("0.0.0.0:30002"), Ok(()), "a pod is no node"));
    proxy.hear([Event::ServiceDeleted(ObjectName::new("default", "blue"))]);
    lab.node.run(|| assert_eq!(listen("0.0.0.0:30002"), Ok(())));
}

#[test]
fn a_restart_keeps_programs_maps_and_what_sockets_know() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), with_pods(&["10.244.1.2"]));
    let stream = lab.at(ip(POD)).run(|| TcpStream::connect(VIP).unwrap());
    let programs = || -> Vec<_> {
        let mut links = pinned(&lab, "link_");
        links.sort();
        links.iter().map(|path| Link::open(path).unwrap().state().unwrap()).collect()
    };
    let (before, maps) = (programs(), pinned(&lab, "maps_"));
    assert_eq!(before.len(), 11);
    assert_eq!(proxy.restart().writes, 0);
    assert_eq!((programs(), pinned(&lab, "maps_")), (before, maps));
    assert_eq!(lab.at(ip(POD)).run(|| stream.peer_addr().unwrap()), to(VIP));
}

#[test]
fn maps_grow_before_they_are_full_and_nobody_notices() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), with_pods(&["10.244.1.2"]));
    let stream = lab.at(ip(POD)).run(|| TcpStream::connect(VIP).unwrap());
    let room = map(&lab, "backends4").shape().max_entries;
    for name in ["a", "bb", "ccc", "dddd"] {
        proxy.hear(crowd(name, 700));
        assert_eq!(proxy.differences(), [""; 0], "{name}");
        assert!(matches!(lab.dial(ip(POD), Protocol::Tcp, to(VIP)), Heard::Answer { .. }));
    }
    assert!(map(&lab, "backends4").shape().max_entries > room, "they were too small");
    assert_eq!(lab.at(ip(POD)).run(|| stream.peer_addr().unwrap()), to(VIP));
    assert_eq!(translated(&lab), 0);
    // Sizes are found again, and what goes makes room.
    assert_eq!(proxy.restart().writes, 0);
    let grown = pinned(&lab, "maps_");
    for round in 0..4 {
        for name in ["a", "bb", "ccc", "dddd"] {
            proxy.hear([Event::ServiceDeleted(ObjectName::new("default", name))]);
            proxy.hear(crowd(name, 700));
        }
        assert_eq!(proxy.differences(), [""; 0], "round {round}");
    }
    assert_eq!(pinned(&lab, "maps_"), grown, "churn alone needs no larger maps");
}

#[test]
fn meddling_with_programs_and_maps_is_noticed_and_mended() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), with_pods(&["10.244.1.2"]));
    let key = |lab: &Lab| -> Vec<u8> {
        let entries = map(lab, "frontends").entries().unwrap();
        let wanted = ip("10.96.0.9").to_string();
        let v4 = |key: &[u8]| std::net::Ipv4Addr::new(key[12], key[13], key[14], key[15]);
        entries.iter().find(|(key, _)| v4(key).to_string() == wanted).unwrap().0.to_vec()
    };
    let zeroes = |map: &Map| vec![0; map.shape().value];
    type Meddler<'m> = (&'m str, &'m dyn Fn(&Lab));
    let meddlers: [Meddler<'_>; 6] = [
        ("a frontend deleted", &|lab| map(lab, "frontends").delete(&key(lab)).unwrap()),
        ("a frontend led astray", &|lab| {
            let frontends = map(lab, "frontends");
            frontends.put(&key(lab), &zeroes(&frontends)).unwrap();
        }),
        ("a stranger added", &|lab| {
            let frontends = map(lab, "frontends");
            frontends.put(&vec![9; frontends.shape().key], &zeroes(&frontends)).unwrap();
        }),
        ("a pool emptied", &|lab| {
            let pools = map(lab, "pools");
            for number in 1..8_u32 {
                pools.put(&number.to_ne_bytes(), &zeroes(&pools)).unwrap();
            }
        }),
        ("backends wiped", &|lab| {
            let backends = map(lab, "backends4");
            for number in 1..8_u32 {
                backends.put(&number.to_ne_bytes(), &zeroes(&backends)).unwrap();
            }
        }),
        ("a program detached", &|lab| {
            std::fs::remove_file(&pinned(lab, "link_connect4")[0]).unwrap();
        }),
    ];
    for (what, meddle) in meddlers {
        assert!(!proxy.datapath.may_have_drifted(), "before: {what}");
        meddle(&lab);
        assert!(proxy.datapath.may_have_drifted(), "after: {what}");
        assert_ne!(proxy.differences(), [""; 0], "{what}");
        // Whatever it is, the tables beneath go on.
        assert!(
            matches!(lab.dial(ip(POD), Protocol::Tcp, to(VIP)), Heard::Answer { .. }),
            "{what}"
        );
        assert!(proxy.everything().mended > 0, "{what}");
        assert_eq!(proxy.differences(), [""; 0], "{what}");
        let before = translated(&lab);
        lab.at(ip(POD)).run(|| TcpStream::connect(VIP).unwrap());
        assert_eq!(translated(&lab), before, "served at the socket again after {what}");
    }
}

#[test]
fn modes_take_over_from_each_other_and_leave_nothing() {
    let mut lab = Lab::new("nftables");
    let clear = |lab: &Lab| lab.node.run(|| datapath::clear(Some(lab.mode), &lab.host).unwrap());
    let works = |lab: &Lab| {
        assert!(matches!(lab.dial(ip(POD), Protocol::Tcp, to(VIP)), Heard::Answer { .. }));
    };
    let pods = with_pods(&["10.244.1.2"]);
    let mut streams = Vec::new();
    for mode in ["nftables", "ebpf", "nftables", "ebpf"] {
        lab.mode = mode;
        let mut proxy = Proxy::start_with(&lab, view(), pods.clone());
        clear(&lab);
        works(&lab);
        assert_eq!(proxy.differences(), [""; 0], "{mode}");
        streams.push(lab.at(ip(POD)).run(|| connect(ip(POD), to(VIP)).unwrap()));
        let half = lab.host.bpf.as_ref().is_some_and(|path| path.join("portolan").exists());
        assert_eq!(half, mode == "ebpf", "{mode}");
    }
    // Each connection lives on, whichever mode opened it.
    for mut stream in streams {
        std::io::Write::write_all(&mut stream, b"still here\n").unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
        assert!(lines.any(|line| line.unwrap() == "still here"));
    }
    lab.node.run(|| datapath::clear(None, &lab.host).unwrap());
    let refused = lab.dial(ip(POD), Protocol::Tcp, to(VIP));
    assert_eq!(refused, Heard::Silence, "nobody serves it any more");
    assert!(!lab.host.bpf.as_ref().unwrap().join("portolan").exists());
}

#[test]
fn what_is_missing_is_said_with_its_remedy() {
    let lab = Lab::new("ebpf");
    let said = |host: datapath::Host| {
        let error = lab.node.run(|| datapath::open("ebpf", &host)).err().unwrap();
        let source = std::error::Error::source(&error).and_then(|error| error.source());
        source.unwrap().to_string()
    };
    let whole = lab.host.clone();
    let nowhere = datapath::Host { cgroup: Some("/proc".into()), ..whole.clone() };
    assert!(said(nowhere).contains("mount the unified hierarchy"));
    let everybody = datapath::Host { cgroup: None, ..whole.clone() };
    assert!(said(everybody).contains("--cgroup"));
    let nothing = datapath::Host { bpf: Some("/proc/bpf".into()), ..whole };
    assert!(said(nothing).contains("mount -t bpf"));
}
