//! What the index of names takes: resident memory after each kind of object, at the size that
//! CoreDNS's own table of memory ends with (150,000 pods and 8,200 Services).
//!
//! ```text
//! cargo run --release -p portolan-model --example names_memory [SERVICES [ENDPOINTS]]
//! ```
#![allow(clippy::print_stdout)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portolan_model::names::{NameOptions, Names, PodMode};
use portolan_model::object::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, ObjectName, Protocol, Service, ServicePort,
};

/// Kibibytes that are resident now.
fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a64_0000 + number).into()
}

fn service(name: &ObjectName, number: u32) -> Service {
    Service {
        name: name.clone(),
        cluster_ips: vec![Ipv4Addr::from(0x0a60_0000 + number).into()],
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::from(&k8s_openapi::api::core::v1::Service::default())
    }
}

fn slice(service: &ObjectName, number: u32, endpoints: u32) -> EndpointSlice {
    let endpoint = |n: u32| {
        let pod = ObjectName::new(service.namespace.clone(), format!("{}-{n}", service.name));
        Endpoint::new(address(number * endpoints + n)).with_names(None, Some(pod))
    };
    EndpointSlice {
        name: ObjectName::new(service.namespace.clone(), format!("{}-x1y2z", service.name)),
        service: Some(service.clone()),
        address_type: AddressType::Ipv4,
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: Some(8080),
        }],
        endpoints: (0..endpoints).map(endpoint).collect(),
    }
}

fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let (services, endpoints) = (sizes.next().unwrap_or(8200), sizes.next().unwrap_or(18));
    let name = |n: u32| {
        ObjectName::new(Arc::from(format!("ns{}", n % 100)), Arc::from(format!("service-{n}")))
    };
    let options = NameOptions { pods: PodMode::Verified, ..NameOptions::default() };
    let mut names = Names::new(options, 1);
    let mut before = resident();
    let mut tell = |what: &str, count: u32| {
        let now = resident();
        let each = (now - before) * 1024 / i64::from(count.max(1));
        println!("{what}: {count}, {} KiB, {each} octets each", now - before);
        before = now;
    };
    for n in 0..services {
        names.upsert_service(&service(&name(n), n));
    }
    tell("Services", services);
    for n in 0..services {
        names.upsert_slice(&slice(&name(n), n, endpoints));
    }
    tell("endpoints", services * endpoints);
    for n in 0..services * endpoints {
        let pod = ObjectName::new(
            name(n / endpoints).namespace,
            format!("service-{}-6b7f9c5d8-{n}", n / endpoints),
        );
        names.upsert_pod(&pod, &[address(n)]);
    }
    tell("pods", services * endpoints);
}
