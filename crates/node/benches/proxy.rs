//! How long the kernel takes to follow: full passes and single changes at scale, for every mode, in
//! a network namespace of its own. Run as root:
//! `cargo bench -p portolan-node --bench proxy -- [MODE…] [SERVICES ENDPOINTS]`.
//!
//! For each mode and size, a line of JSON follows what people read; `./x bench datapath` takes
//! those.

#![allow(clippy::print_stdout)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use portolan_linux::cgroup::Cgroup;
use portolan_linux::mount;
use portolan_linux::netns::{self, NetNs};
use portolan_model::frontend::Family;
use portolan_model::object::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, Node, ObjectName, Protocol, Service,
    ServicePort, ServiceType,
};
use portolan_model::{Desired, Event, NodeView, Snapshot};
use portolan_node::proxy::datapath::{self, Applied, Host, MODES, Scope};
use serde_json::{Value, json};

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let sizes = match numbers[..] {
        [services, endpoints] => vec![(services, endpoints)],
        _ => vec![(5_000, 50), (10_000, 10), (45_000, 1)],
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cgroup = Cgroup::create(format!("portolan-bench-{}", std::process::id()))
        .expect("root makes cgroups");
    let asked: Vec<_> = std::env::args().collect();
    let built = MODES.map(|row| row.name);
    let chosen: Vec<_> =
        built.iter().filter(|mode| asked.iter().any(|word| word == *mode)).collect();
    let modes = if chosen.is_empty() { built.iter().collect() } else { chosen };
    for mode in modes {
        for (services, endpoints) in &sizes {
            let path = dir.path().join(format!("{mode}-{services}x{endpoints}"));
            let bpf = dir.path().join(format!("{mode}-{services}x{endpoints}-bpf"));
            let host = Host {
                cgroup: Some(cgroup.path().to_owned()),
                bpf: Some(bpf.clone()),
                ..Host::default()
            };
            let ns = NetNs::create(&path).expect("root makes network namespaces");
            let figures = ns.run(|| measure(mode, &host, *services, *endpoints));
            println!("{}", figures.expect("to enter the namespace"));
            drop(ns);
            mount::detach_below(&bpf).expect("to unmount the BPF file system");
            netns::remove(&path).expect("to remove the namespace");
        }
    }
    cgroup.remove().expect("to remove the cgroup");
}

/// Where there are two layers, what each took.
fn layers(applied: &Applied) -> String {
    if applied.beneath.is_zero() {
        return String::new();
    }
    let own = applied.took.saturating_sub(applied.beneath);
    format!("   {own:.1?} at the socket, {:.1?} beneath", applied.beneath)
}

fn service(number: u32) -> Service {
    let [_, high, middle, low] = number.to_be_bytes();
    Service {
        name: ObjectName::new("bench", format!("service-{number}")),
        service_type: ServiceType::ClusterIP,
        cluster_ips: vec![[10, 96 + high, middle, low].into()],
        headless: false,
        external_name: None,
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        external_ips: vec![],
        load_balancer: vec![],
        load_balancer_source_ranges: vec![],
        internal_traffic_policy: Default::default(),
        external_traffic_policy: Default::default(),
        health_check_node_port: None,
        affinity_seconds: None,
        publish_not_ready_addresses: false,
        traffic_distribution: None,
        foreign_proxy: false,
    }
}

/// The slice of a Service; `shift` moves its first endpoint elsewhere.
fn slice(number: u32, endpoints: u32, shift: u32) -> EndpointSlice {
    let endpoint = |index: u32| {
        let pod = number * endpoints + index + if index == 0 { shift << 21 } else { 0 };
        let address: IpAddr = (0x0B00_0000_u32 + pod).to_be_bytes().into();
        Endpoint {
            node_name: Some(format!("node-{}", pod % 1000).into()),
            ..Endpoint::new(address)
        }
    };
    EndpointSlice {
        name: ObjectName::new("bench", format!("service-{number}-x")),
        service: Some(ObjectName::new("bench", format!("service-{number}"))),
        address_type: AddressType::Ipv4,
        ports: vec![EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: Some(8080) }],
        endpoints: (0..endpoints).map(endpoint).collect(),
    }
}

fn resident() -> f64 {
    memory("VmRSS:")
}

/// A field of proc_pid_status(5) in MiB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("  {what:<42} {:>10.1?}   {:6.1} MiB resident", start.elapsed(), resident());
    result
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort();
    let (low, high) = (times[0], times[times.len() - 1]);
    format!("{:.1?} [{low:.1?} {high:.1?}]", times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Percentiles in milliseconds.
fn spread(times: &[Duration]) -> Value {
    let mut times = times.to_vec();
    times.sort();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).map(|time| milliseconds(*time))
    };
    json!({"p50": at(50), "p99": at(99)})
}

fn measure(mode: &str, host: &Host, services: u32, endpoints: u32) -> Value {
    println!("{mode}: {services} Services x {endpoints} endpoints");
    let mut snapshot = Snapshot::default();
    timed("objects to snapshot", || {
        snapshot.apply(Event::Node(Node {
            name: "node-1".into(),
            zone: None,
            internal_ips: vec![[172, 30, 0, 2].into()],
            external_ips: vec![],
            leaving: false,
            pod_cidrs: vec![],
        }));
        for number in 0..services {
            snapshot.apply(Event::Service(service(number)));
            snapshot.apply(Event::EndpointSlice(slice(number, endpoints, 0)));
        }
    });
    let view = NodeView {
        name: "node-1".into(),
        families: vec![Family::Ipv4],
        cluster_cidrs: vec!["11.0.0.0/8".parse().expect("a network")],
        ..NodeView::default()
    };
    let mut desired = Desired::new(view.clone());
    let mut datapath = datapath::open(mode, host).expect("the mode");
    let start = Instant::now();
    timed("snapshot to desired", || {
        let dirty = snapshot.take_dirty();
        desired.update(&snapshot, &dirty)
    });
    let applied = timed("desired to kernel, from nothing", || {
        datapath.apply(&desired, Scope::Everything).expect("to write")
    });
    let full = start.elapsed();
    println!(
        "  = full sync, snapshot to kernel            {full:>10.1?}   {} entries{}",
        applied.writes,
        layers(&applied)
    );
    let mut figures = json!({
        "mode": mode, "services": services, "endpoints": endpoints, "entries": applied.writes,
        "full_sync_ms": milliseconds(full), "write_ms": milliseconds(applied.took),
        "write_own_ms": milliseconds(applied.took.saturating_sub(applied.beneath)),
    });
    let mut change = |what: &str, events: &dyn Fn(u32) -> Vec<Event>| {
        let mut own = Vec::new();
        let times = (1..102).map(|step| {
            let events = events(step);
            let start = Instant::now();
            events.into_iter().for_each(|event| snapshot.apply(event));
            let dirty = snapshot.take_dirty();
            let changes = desired.update(&snapshot, &dirty);
            let applied = datapath.apply(&desired, Scope::Changed(&changes)).expect("to write");
            own.extend((!applied.beneath.is_zero()).then(|| applied.took - applied.beneath));
            start.elapsed()
        });
        let times: Vec<Duration> = times.collect();
        let spread = json!({"all_ms": spread(&times), "own_ms": spread(&own)});
        println!("  {what:<42} {}", median(times));
        if !own.is_empty() {
            println!("    of that at the socket                    {}", median(own));
        }
        spread
    };
    figures["endpoint_replaced"] = change("one endpoint replaced", &|step| {
        vec![Event::EndpointSlice(slice(7, endpoints, step % 8))]
    });
    figures["endpoint_more"] = change("one endpoint more, one less", &|step| {
        vec![Event::EndpointSlice(slice(9, endpoints + step % 2, 0))]
    });
    figures["service_more"] = change("one Service more", &|step| {
        let number = services + step;
        vec![Event::Service(service(number)), Event::EndpointSlice(slice(number, endpoints, 0))]
    });
    timed("comparing everything with the kernel", || {
        datapath.apply(&desired, Scope::Everything).expect("to read")
    });
    let mut next = datapath::open(mode, host).expect("the mode");
    let applied = timed("a restart adopting it", || {
        next.apply(&desired, Scope::Everything).expect("to read")
    });
    println!("  entries written by the restart             {:>10}", applied.writes);
    timed("asking whether somebody meddled", || next.may_have_drifted());
    figures["peak_mib"] = json!(memory("VmHWM:"));
    figures
}
