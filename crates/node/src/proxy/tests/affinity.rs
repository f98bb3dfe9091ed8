use portolan_model::Event;
use portolan_model::object::Protocol;

use super::lab::{Heard, Lab};
use super::*;

in_every_mode! {
    a_client_keeps_its_pod_until_the_pod_goes,
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
