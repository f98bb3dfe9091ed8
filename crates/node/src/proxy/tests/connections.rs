//! Connections that the kernel remembers: what is cleaned up, and what is left alone.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use portolan_linux::conntrack::{self, Filter, Flow, Stage};
use portolan_linux::netlink::Socket;
use portolan_model::Event;
use portolan_model::object::{EndpointSlice, Protocol};

use super::lab::{Heard, Lab, connect};
use super::*;
use crate::proxy::conntrack::Sweeper;

in_mode! { nftables:
    a_live_connection_is_left_alone_until_its_pod_is_gone,
    a_client_that_was_never_answered_is_sent_to_another_pod,
    udp_clients_find_a_service_that_gets_its_first_pod,
    one_batch_of_changes_reads_each_list_once,
}
in_mode! { ipvs:
    a_live_connection_is_left_alone_until_its_pod_is_gone,
    a_client_that_was_never_answered_is_sent_to_another_pod,
    udp_clients_find_a_service_that_gets_its_first_pod,
}

/// The connections that the node translates, in one protocol.
fn translated(lab: &Lab, protocol: Protocol) -> Vec<Flow> {
    let mut flows = Vec::new();
    lab.node.run(|| {
        let mut socket = Socket::netfilter().unwrap();
        let filter = Filter { ipv6: Some(false), protocol: Some(protocol.number()) };
        conntrack::flows(&mut socket, filter, |flow| {
            if flow.destination_nat {
                flows.push(flow);
            }
        })
        .unwrap();
    });
    flows
}

/// Follows the events and sweeps once; returns how many connections were deleted.
fn follow(proxy: &mut Proxy<'_>, events: impl IntoIterator<Item = Event>) -> usize {
    events.into_iter().for_each(|event| proxy.snapshot.apply(event));
    let dirty = proxy.snapshot.take_dirty();
    let changes = proxy.desired.update(&proxy.snapshot, &dirty);
    let (datapath, desired) = (&mut proxy.datapath, &proxy.desired);
    proxy.lab.node.run(|| datapath.apply(desired, Scope::Changed(&changes))).unwrap();
    let mut sweeper = Sweeper::default();
    sweeper.note(&changes, dirty.ended);
    if sweeper.due().is_none() {
        return 0;
    }
    let snapshot = &proxy.snapshot;
    proxy.lab.node.run(|| sweep(&mut sweeper, snapshot, desired)).unwrap()
}

fn terminating(pod: &str, others: &[&str]) -> EndpointSlice {
    let mut all = vec![pod];
    all.extend(others);
    let mut slice = slice(&all);
    slice.endpoints[0].ready = false;
    slice.endpoints[0].terminating = true;
    slice
}

struct Talk {
    stream: TcpStream,
    lines: std::io::Lines<BufReader<TcpStream>>,
}

impl Talk {
    fn start(lab: &Lab, from: &str, at: &str) -> (Self, String) {
        let stream = lab.at(ip(from)).run(|| connect(ip(from), to(at)).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let server = lines.next().unwrap().unwrap();
        (Self { stream, lines }, server)
    }

    fn goes_on(&mut self, word: &str) {
        writeln!(self.stream, "{word}").unwrap();
        assert_eq!(self.lines.next().unwrap().unwrap(), word);
    }
}

fn a_live_connection_is_left_alone_until_its_pod_is_gone(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let (mut talk, server) = Talk::start(lab, "10.244.0.2", "10.96.0.9:80");
    assert!(server.starts_with("10.244.1.2:"), "{server}");
    // It loses its label, and is an endpoint again.
    assert_eq!(follow(&mut proxy, [Event::EndpointSlice(slice(&["10.244.1.3"]))]), 0);
    talk.goes_on("relabelled");
    assert_eq!(follow(&mut proxy, [Event::EndpointSlice(slice(&["10.244.1.2", "10.244.1.3"]))]), 0);
    // It terminates, and takes no new connection.
    let going = terminating("10.244.1.2", &["10.244.1.3"]);
    assert_eq!(follow(&mut proxy, [Event::EndpointSlice(going)]), 0);
    talk.goes_on("terminating");
    for _ in 0..5 {
        let heard = lab.dial(ip("10.244.0.3"), Protocol::Tcp, to("10.96.0.9:80"));
        assert!(matches!(heard, Heard::Answer { server, .. } if server.ip() == ip("10.244.1.3")));
    }
    let open = |flow: &&Flow| flow.reply.source == ip("10.244.1.2") && flow.stage == Stage::Open;
    assert_eq!(translated(lab, Protocol::Tcp).iter().filter(open).count(), 1);
    // It is gone: nobody will ever answer this connection.
    assert_eq!(follow(&mut proxy, [Event::EndpointSlice(slice(&["10.244.1.3"]))]), 1);
    assert_eq!(translated(lab, Protocol::Tcp).iter().filter(open).count(), 0);
}

fn a_client_that_was_never_answered_is_sent_to_another_pod(lab: &Lab) {
    // Nobody has this address: its node died.
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.2.77"]));
    let dialling = |at: &'static str| {
        lab.at(ip("10.244.0.2")).run(|| {
            let address = to(at);
            std::thread::spawn(move || {
                TcpStream::connect_timeout(&address, Duration::from_secs(20))
            })
        })
    };
    // A new thread is in its creator's namespace.
    let clients =
        [dialling("10.96.0.9:80"), dialling("172.30.0.2:30002"), dialling("192.0.2.10:80")];
    let start = Instant::now();
    while translated(lab, Protocol::Tcp).len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(20), "the connections were not begun");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut talk, _) = {
        follow(&mut proxy, [Event::EndpointSlice(slice(&["10.244.2.77", "10.244.1.2"]))]);
        loop {
            // By chance one of the two; only the living one answers.
            if let Heard::Answer { .. } =
                lab.dial(ip("10.244.0.3"), Protocol::Tcp, to("10.96.0.9:80"))
            {
                follow(&mut proxy, [Event::EndpointSlice(slice(&["10.244.1.2"]))]);
                break Talk::start(lab, "10.244.0.3", "10.96.0.9:80");
            }
        }
    };
    for client in clients {
        let stream = client.join().unwrap().expect("the repeated first packet finds the other pod");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("10.244.1.2:"), "{line}");
    }
    talk.goes_on("somebody else's connection is not touched");
}

fn udp_clients_find_a_service_that_gets_its_first_pod(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), []);
    let socket = |port: u16| {
        let at = SocketAddr::new(ip("10.244.0.3"), port);
        lab.at(ip("10.244.0.3")).run(|| std::net::UdpSocket::bind(at).unwrap())
    };
    let mut balanced = blue();
    balanced.service_type = ServiceType::LoadBalancer;
    balanced.load_balancer =
        vec![LoadBalancerIngress { ip: [203, 0, 113, 1].into(), ip_mode: IpMode::Vip }];
    let ways = ["10.96.0.9:80", "192.0.2.10:80", "203.0.113.1:80", "172.30.0.2:30003"];
    let sockets: Vec<_> = (0..4).map(|index| socket(18_000 + index)).collect();
    // Before the Service is known these go wherever routes lead, and the kernel remembers that.
    for (socket, at) in sockets.iter().zip(ways) {
        assert!(!matches!(super::lab::ask_udp(socket, to(at)), Heard::Answer { .. }), "{at}");
    }
    let events = [Event::Service(balanced), Event::EndpointSlice(slice(&["10.244.1.2"]))];
    follow(&mut proxy, events);
    for (socket, at) in sockets.iter().zip(ways) {
        let heard = super::lab::ask_udp(socket, to(at));
        assert!(
            matches!(heard, Heard::Answer { server, .. } if server == to("10.244.1.2:8080")),
            "{at}: {heard:?}"
        );
    }
    // And when that pod goes, each way leads to the next.
    let deleted = follow(&mut proxy, [Event::EndpointSlice(slice(&["10.244.2.2"]))]);
    // IPVS forgets connections together with their real server.
    assert!(deleted == 4 || lab.mode == "ipvs", "{deleted}");
    for (socket, at) in sockets.iter().zip(ways) {
        let heard = super::lab::ask_udp(socket, to(at));
        assert!(
            matches!(heard, Heard::Answer { server, .. } if server == to("10.244.2.2:8080")),
            "{at}: {heard:?}"
        );
    }
}

fn one_batch_of_changes_reads_each_list_once(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2", "10.244.1.3"]));
    proxy.snapshot.apply(Event::EndpointSlice(slice(&["10.244.1.2"])));
    proxy.snapshot.apply(Event::EndpointSlice(slice(&["10.244.2.2"])));
    let dirty = proxy.snapshot.take_dirty();
    let changes = proxy.desired.update(&proxy.snapshot, &dirty);
    let mut sweeper = Sweeper::default();
    sweeper.note(&changes, dirty.ended);
    let (snapshot, desired) = (&proxy.snapshot, &proxy.desired);
    lab.node.run(|| sweep(&mut sweeper, snapshot, desired)).unwrap();
    assert_eq!(sweeper.due(), None, "nothing is left to be done");
    // Adding endpoints to TCP alone leaves nothing stale.
    let (_, mut tcp) = proxy.hear([Event::EndpointSlice(slice(&["10.244.2.2", "10.244.2.3"]))]);
    tcp.pools.retain(|key, _| key.port.protocol == Protocol::Tcp);
    tcp.frontends.retain(|key, _| key.protocol == Protocol::Tcp);
    sweeper.note(&tcp, []);
    assert_eq!(sweeper.due(), None);
}
