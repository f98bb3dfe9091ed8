//! Mode `ebpf`: who dials. Pods that are endpoints themselves, and others that are no part of the
//! node.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use portolan_linux::sysctl;

use super::lab::{Lab, NODE, Ns};
use super::socket::{POD, VIP, talk, translated, udp};
use super::*;

/// Where the pods of these tests listen, on whatever address.
const PORT: u16 = 7070;
const GATEWAYS: [&str; 2] = ["10.244.0.1", "fd00:10:244::1"];

/// Answers as the lab's own servers do, at all addresses of a namespace.
fn serve(ns: &Ns) {
    let here = SocketAddr::from(([0_u16; 8], PORT));
    let (tcp, udp) = ns
        .handle
        .run(|| (TcpListener::bind(here).unwrap(), UdpSocket::bind(here).unwrap()))
        .unwrap();
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let (here, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            let here = SocketAddr::new(here.ip().to_canonical(), here.port());
            let _ = writeln!(stream, "{here} {}", peer.ip().to_canonical());
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 200];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("? {}", peer.ip().to_canonical()).as_bytes(), peer);
        }
    });
}

fn pods(addresses: &[&str]) -> Vec<Event> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.contains(':'));
    let slices = [v4, v6].into_iter().filter(|addresses| !addresses.is_empty()).map(|addresses| {
        let mut slice = slice(&addresses);
        slice.ports.iter_mut().for_each(|port| port.port = Some(PORT));
        Event::EndpointSlice(slice)
    });
    [Event::Service(blue())].into_iter().chain(slices).collect()
}

/// Who answers over TCP, and whom it sees.
fn dial(lab: &Lab, from: &str, to: &str) -> (SocketAddr, IpAddr) {
    let stream = lab.at(ip(from)).run(|| TcpStream::connect(to).unwrap());
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let (here, peer) = line.trim().split_once(' ').unwrap();
    (here.parse().unwrap(), peer.parse().unwrap())
}

/// Whom the server sees over UDP, from a socket that is connected or not.
fn whom(lab: &Lab, from: &str, here: &str, to: &str, connected: bool) -> IpAddr {
    let mut buffer = [0; 200];
    let length = lab.at(ip(from)).run(|| {
        let socket = UdpSocket::bind(here).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        if connected {
            socket.connect(to).unwrap();
            socket.send(b"who").unwrap();
        } else {
            socket.send_to(b"who", to).unwrap();
        }
        let (length, peer) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(peer, to.parse::<SocketAddr>().unwrap());
        length
    });
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    text.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_pod_that_dials_itself_sees_the_node() {
    let lab = Lab::new("ebpf");
    let _proxy = Proxy::start_with(&lab, view(), pods(&[POD, "fd00:10:244::2"]));
    // Datagrams first: nothing is known of the namespace yet.
    serve(lab.at(ip(POD)));
    let mapped = "[::ffff:10.96.0.9]:80";
    let vip6 = "[fd00:10:96::9]:80";
    let cases = [
        ("0.0.0.0:0", VIP, GATEWAYS[0]),
        ("10.244.0.2:0", VIP, GATEWAYS[0]),
        ("[::]:0", mapped, GATEWAYS[0]),
        ("[::]:0", vip6, GATEWAYS[1]),
        ("[fd00:10:244::2]:0", vip6, GATEWAYS[1]),
    ];
    for _ in 0..2 {
        for connected in [false, true] {
            for (here, to, seen) in cases {
                let context = format!("{here} to {to}, connected: {connected}");
                assert_eq!(whom(&lab, POD, here, to, connected), ip(seen), "{context}");
            }
        }
        for (to, seen) in [(VIP, GATEWAYS[0]), (mapped, GATEWAYS[0]), (vip6, GATEWAYS[1])] {
            assert_eq!(dial(&lab, POD, to).1, ip(seen), "{to}");
        }
    }
}

#[test]
fn its_neighbours_are_served_at_the_socket_also_when_they_listen_there() {
    let lab = Lab::new("ebpf");
    let _proxy = Proxy::start_with(&lab, view(), pods(&[POD, "fd00:10:244::2"]));
    let near = "10.244.0.4";
    serve(lab.at(ip(POD)));
    for (to, seen) in [(VIP, near), ("[fd00:10:96::9]:80", "fd00:10:244::4")] {
        assert_eq!(
            whom(&lab, near, "[::]:0", &to.replace(VIP, "[::ffff:10.96.0.9]:80"), false),
            ip(seen)
        );
    }
    serve(lab.at(ip(near)));
    for (to, seen) in
        [(VIP, near), ("[::ffff:10.96.0.9]:80", near), ("[fd00:10:96::9]:80", "fd00:10:244::4")]
    {
        assert_eq!(dial(&lab, near, to).1, ip(seen));
    }
    for connected in [true, false] {
        assert_eq!(whom(&lab, near, "0.0.0.0:0", VIP, connected), ip(near));
    }
    assert_eq!(translated(&lab), 0);
    // The node's own processes, too.
    assert_eq!(dial(&lab, &NODE.to_string(), VIP).1, ip(GATEWAYS[0]));
    assert_eq!(translated(&lab), 0);
}

#[test]
fn a_pod_becomes_an_endpoint_and_ceases_to_be_one() {
    let lab = Lab::new("ebpf");
    let mut proxy = Proxy::start_with(&lab, view(), pods(&["10.244.0.3"]));
    lab.pods.iter().for_each(serve);
    for round in 0..3 {
        assert_eq!(dial(&lab, POD, VIP), (to("10.244.0.3:7070"), ip(POD)), "round {round}");
        proxy.hear(pods(&["10.244.0.2"]));
        let itself = dial(&lab, POD, VIP);
        assert_eq!(itself, (to("10.244.0.2:7070"), ip(GATEWAYS[0])), "round {round}");
        proxy.hear(pods(&["10.244.0.3"]));
        assert_eq!(proxy.differences(), [""; 0]);
    }
    assert_eq!(proxy.restart().writes, 0);
    proxy.hear(pods(&["10.244.0.3", "10.244.0.4", "10.244.0.2"]));
    assert_eq!(proxy.restart().writes, 0, "what is local is found again");
    let mut spread = BTreeMap::new();
    for _ in 0..300 {
        let (server, seen) = dial(&lab, POD, VIP);
        let expected = if server.ip() == ip(POD) { GATEWAYS[0] } else { POD };
        assert_eq!(seen, ip(expected), "{server}");
        *spread.entry(server).or_insert(0) += 1;
    }
    // Less than 55 of 300 at a third: once in 10^8.
    assert!(spread.len() == 3 && spread.values().all(|count| *count > 55), "{spread:?}");
}

#[test]
fn where_any_address_can_be_bound_the_tables_serve() {
    let lab = Lab::new("ebpf");
    let _proxy = Proxy::start_with(&lab, view(), pods(&[POD]));
    serve(lab.at(ip(POD)));
    let near = "10.244.0.3";
    lab.at(ip(near)).run(|| sysctl::set("net.ipv4.ip_nonlocal_bind", "1").unwrap());
    assert_eq!(whom(&lab, near, "0.0.0.0:0", VIP, true), ip(near));
    // No address is left behind at the socket, and no port.
    for domain in [socket2::Domain::IPV4, socket2::Domain::IPV6] {
        let socket = lab.at(ip(near)).run(|| {
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            let mapped = "[::ffff:10.96.0.9]:80";
            let vip = if domain == socket2::Domain::IPV4 { VIP } else { mapped };
            socket.connect(&to(vip).into()).unwrap();
            socket
        });
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(own.ip().to_canonical(), ip(near));
        assert_ne!(own.port(), PORT);
    }
}

#[test]
fn a_cgroup_of_many_nodes_is_served_by_network() {
    let mut lab = Lab::new("ebpf");
    lab.host.shared = true;
    let mut proxy = Proxy::start_with(&lab, view(), with_pods(&["10.244.1.2"]));
    // Somebody else's cluster in the same cgroup, where the address is another Service's.
    let stranger = Ns::within(&lab.cgroup);
    let theirs = stranger.run(|| {
        portolan_linux::rtnl::Rtnl::open()
            .and_then(|rtnl| rtnl.add_address("lo", "10.96.0.9/32".parse().unwrap()))
            .unwrap();
        TcpListener::bind(VIP).unwrap()
    });
    let stranger_dials = || {
        let stream = stranger.run(|| TcpStream::connect(VIP).unwrap());
        let (_, peer) = theirs.accept().unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
    };
    let pod_dials = || drop(lab.at(ip(POD)).run(|| TcpStream::connect(VIP).unwrap()));
    stranger_dials();
    pod_dials();
    assert_eq!(translated(&lab), 1, "nobody has looked yet");
    lab.node.run(|| drop(TcpStream::connect(VIP).unwrap()));
    assert_eq!(translated(&lab), 1, "the node itself is known");
    assert!(!stranger.while_it_lives(|| {
        lab.at(ip(POD)).while_it_lives(|| proxy.datapath.may_have_drifted())
    }));
    stranger_dials();
    pod_dials();
    assert_eq!(translated(&lab), 1, "now it is served at the socket");
    let known = super::socket::map(&lab, "namespaces").entries().unwrap();
    let mut known: Vec<_> = known.iter().map(|(_, known)| known[0]).collect();
    known.sort_unstable();
    assert_eq!(known, [1, 2]);
    // A process with the same programs goes on with that; with another idea of the cgroup it
    // brings its own.
    assert_eq!(proxy.restart().writes, 0);
    lab.host.shared = false;
    assert!(Proxy::start_with(&lab, view(), with_pods(&["10.244.1.2"])).first.writes > 0);
}

#[test]
fn two_nodes_side_by_side_serve_their_own() {
    let labs = [Lab::new("ebpf"), Lab::new("ebpf")];
    let pods = ["10.244.1.2", "10.244.2.2"];
    let _proxies: Vec<_> = labs
        .iter()
        .zip(pods)
        .map(|(lab, pod)| Proxy::start_with(lab, view(), with_pods(&[pod])))
        .collect();
    for (lab, pod) in labs.iter().zip(pods) {
        let socket = udp(lab, "0.0.0.0:0");
        for _ in 0..5 {
            let (server, seen) = dial(lab, POD, VIP);
            assert_eq!((server.ip(), seen), (ip(pod), ip(POD)));
            assert_eq!(talk(lab, &socket, VIP).1.ip(), ip(pod));
        }
        assert_eq!(translated(lab), 0);
    }
}
