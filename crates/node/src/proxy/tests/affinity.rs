use std::net::TcpStream;

use portolan_model::Event;
use portolan_model::object::Protocol;

use super::lab::{Heard, Lab, NODE_V6, OUTSIDE, OUTSIDE_V6};
use super::socket::{crowd, map, translated};
use super::*;

in_every_mode! {
    a_client_keeps_its_pod_until_the_pod_goes;
    not_ipvs:
    // There a client is kept at each address by itself, and for as long as the kernel remembers
    // any of its connections.
    a_client_is_known_at_every_address_of_a_port,
    a_client_that_stays_away_too_long_is_forgotten,
}

fn server(lab: &Lab, from: &str) -> IpAddr {
    match lab.dial(ip(from), Protocol::Tcp, to("10.96.0.9:80")) {
        Heard::Answer { server, .. } => server.ip(),
        other => panic!("{other:?}"),
    }
}

fn a_client_keeps_its_pod_until_the_pod_goes(lab: &Lab) {
    let mut sticky = blue();
    sticky.affinity_seconds = Some(60);
    let pods = ["10.244.0.2", "10.244.1.2", "10.244.1.3", "10.244.2.2"];
    let events = [Event::Service(sticky), Event::EndpointSlice(slice(&pods))];
    let mut proxy = Proxy::start_with(lab, view(), events);
    assert_eq!(proxy.differences(), [""; 0]);
    let first = server(lab, "10.244.0.3");
    for _ in 0..20 {
        assert_eq!(server(lab, "10.244.0.3"), first);
    }
    // Another pod comes, another goes: the client stays.
    let other = pods.iter().find(|pod| ip(pod) != first).unwrap();
    let mut now: Vec<&str> = pods.iter().filter(|pod| *pod != other).copied().collect();
    now.push("10.244.2.3");
    proxy.hear([Event::EndpointSlice(slice(&now))]);
    assert_eq!(proxy.differences(), [""; 0]);
    for _ in 0..10 {
        assert_eq!(server(lab, "10.244.0.3"), first);
    }
    // A new process takes over: the client stays.
    assert_eq!(proxy.restart().writes, 0, "adopted as it is");
    assert_eq!(server(lab, "10.244.0.3"), first);
    // Its pod goes: another one, and then that one.
    let left: Vec<&str> = now.iter().filter(|pod| ip(pod) != first).copied().collect();
    proxy.hear([Event::EndpointSlice(slice(&left))]);
    let second = server(lab, "10.244.0.3");
    assert_ne!(second, first);
    for _ in 0..10 {
        assert_eq!(server(lab, "10.244.0.3"), second);
    }
}

#[test]
fn maps_for_clients_are_made_when_needed_and_wander_along() {
    let lab = Lab::new("ebpf");
    let pods = ["10.244.1.2", "10.244.1.3", "10.244.2.2"];
    let mut proxy = Proxy::start_with(&lab, view(), with_pods(&pods));
    let stream = lab.at(ip("10.244.0.3")).run(|| TcpStream::connect("10.96.0.9:80").unwrap());
    let room = |name| map(&lab, name).shape().max_entries;
    assert_eq!(room("affinity"), 1, "nobody is kept");
    let mut sticky = blue();
    sticky.affinity_seconds = Some(60);
    proxy.hear([Event::Service(sticky)]);
    assert_eq!(room("affinity"), 16_384);
    let first = server(&lab, "10.244.0.3");
    let before = room("backends4");
    for name in ["a", "bb"] {
        proxy.hear(crowd(name, 700));
        // What goes meanwhile leaves numbers free that the client's pod does not take.
        proxy.hear([Event::EndpointSlice(slice(&[&pods[..], &["10.244.2.3"]].concat()))]);
        proxy.hear([Event::EndpointSlice(slice(&pods))]);
    }
    assert!(room("backends4") > before, "there are new maps");
    assert!((0..20).all(|_| server(&lab, "10.244.0.3") == first));
    assert_eq!(proxy.restart().writes, 0);
    assert_eq!(translated(&lab), 0);
    drop(stream);
}

/// Who answers a client at that address.
fn at(lab: &Lab, from: IpAddr, protocol: Protocol, address: &str) -> IpAddr {
    match lab.dial(from, protocol, to(address)) {
        Heard::Answer { server, .. } => server.ip(),
        other => panic!("{address}: {other:?}"),
    }
}

fn a_client_is_known_at_every_address_of_a_port(lab: &Lab) {
    let mut sticky = blue();
    sticky.affinity_seconds = Some(600);
    let pods = ["10.244.0.2", "10.244.0.3", "10.244.1.2", "10.244.1.3", "10.244.2.2"];
    let pods_v6 = pods.map(|pod| {
        let mut parts = pod.split('.').skip(2);
        format!("fd00:10:244:{}::{}", parts.next().unwrap(), parts.next().unwrap())
    });
    let pods_v6: Vec<&str> = pods_v6.iter().map(String::as_str).collect();
    let events = [
        Event::Service(sticky),
        Event::EndpointSlice(slice(&pods)),
        Event::EndpointSlice(slice(&pods_v6)),
    ];
    let _proxy = Proxy::start_with(lab, view(), events);
    let client = IpAddr::from(OUTSIDE);
    let first = at(lab, client, Protocol::Tcp, "10.96.0.9:80");
    for address in ["172.30.0.2:30002", "192.0.2.10:80", "10.96.0.9:80"] {
        for _ in 0..6 {
            assert_eq!(at(lab, client, Protocol::Tcp, address), first, "{address}");
        }
    }
    // Each port of the Service keeps its own.
    let lines = at(lab, client, Protocol::Udp, "10.96.0.9:80");
    for address in ["172.30.0.2:30003", "192.0.2.10:80"] {
        for _ in 0..6 {
            assert_eq!(at(lab, client, Protocol::Udp, address), lines, "{address}");
        }
    }
    let client = IpAddr::from(OUTSIDE_V6);
    let first = at(lab, client, Protocol::Tcp, "[fd00:10:96::9]:80");
    for _ in 0..6 {
        let again = at(lab, client, Protocol::Tcp, &format!("[{NODE_V6}]:30002"));
        assert_eq!(again, first);
    }
}

fn a_client_that_stays_away_too_long_is_forgotten(lab: &Lab) {
    let mut sticky = blue();
    sticky.affinity_seconds = Some(1);
    let pods = ["10.244.0.2", "10.244.1.2", "10.244.1.3", "10.244.2.2"];
    let events = [Event::Service(sticky), Event::EndpointSlice(slice(&pods))];
    let _proxy = Proxy::start_with(lab, view(), events);
    let first = server(lab, "10.244.0.3");
    // Of so many fresh choices among four, all are the same once in a billion.
    let moved = (0..15).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        server(lab, "10.244.0.3") != first
    });
    assert!(moved, "the client is kept for ever");
}
