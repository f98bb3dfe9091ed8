use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::object::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, ObjectName, Protocol, Service, ServicePort,
    ServiceType,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn service(name: &str, cluster_ips: &[&str]) -> Service {
    let core = k8s_openapi::api::core::v1::Service::default();
    Service {
        name: ObjectName::new("default", name),
        cluster_ips: cluster_ips.iter().map(|text| ip(text)).collect(),
        headless: cluster_ips.is_empty(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::from(&core)
    }
}

fn external(name: &str, target: &str) -> Service {
    Service {
        service_type: ServiceType::ExternalName,
        external_name: Some(target.into()),
        headless: false,
        ..service(name, &[])
    }
}

fn endpoint(address: &str, hostname: Option<&str>) -> Endpoint {
    Endpoint::new(ip(address)).with_names(hostname.map(Arc::from), None)
}

fn slice(name: &str, service: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let v6 = endpoints.iter().any(|endpoint| endpoint.address.is_ipv6());
    EndpointSlice {
        name: ObjectName::new("default", name),
        service: Some(ObjectName::new("default", service)),
        address_type: if v6 { AddressType::Ipv6 } else { AddressType::Ipv4 },
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: Some(8080),
        }],
        endpoints,
    }
}

/// What `name` answers, as text: the way tests read best.
fn ask(names: &Names, name: &str, kind: RecordType) -> String {
    let wire = to_wire(name).expect("a name");
    match names.lookup(&wire, kind) {
        Answer::NxDomain => "NXDOMAIN".into(),
        Answer::NoData => "NODATA".into(),
        Answer::Addresses(addresses) => {
            addresses.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(" ")
        }
        Answer::Cname(target) => format!("CNAME {}", to_text(target)),
        Answer::Text(text) => format!("TXT {text}"),
        Answer::Soa => "SOA".into(),
        Answer::NameServer => "NS".into(),
        Answer::Srv(srv) => {
            let one = |target: SrvTarget<'_>| {
                let name = host_name(target.host.label, target.host.service);
                let addresses: Vec<_> =
                    target.host.addresses.iter().map(|a| a.to_string()).collect();
                format!("{} {} {name}[{}]", srv.weight(), target.port, addresses.join(" "))
            };
            srv.targets().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

fn host_name(label: Option<HostLabel<'_>>, service: &[u8]) -> String {
    let mut wire = Vec::new();
    if let Some(label) = label {
        label.write(&mut wire);
    }
    wire.extend_from_slice(service);
    to_text(&wire)
}

fn a(names: &Names, name: &str) -> String {
    ask(names, name, RecordType::A)
}

fn ptr(names: &Names, address: &str) -> Vec<String> {
    names.reverse(ip(address)).map(|target| host_name(target.label, target.service)).collect()
}

fn names(options: NameOptions) -> Names {
    let mut names = Names::new(options, 1);
    names.upsert_namespace("default");
    names
}

#[test]
fn a_cluster_ip_service_has_addresses_ports_and_a_reverse_name() {
    let mut names = names(NameOptions::default());
    names.upsert_service(&service("web", &["10.96.0.10", "fd00:10:96::a"]));
    assert_eq!(a(&names, "web.default.svc"), "10.96.0.10");
    assert_eq!(a(&names, "WEB.Default.SVC"), "10.96.0.10");
    assert_eq!(ask(&names, "web.default.svc", RecordType::AAAA), "fd00:10:96::a");
    // CoreDNS counts each address as a share.
    let srv = "50 80 web.default.[10.96.0.10 fd00:10:96::a]";
    assert_eq!(ask(&names, "_http._tcp.web.default.svc", RecordType::SRV), srv);
    assert_eq!(ask(&names, "web.default.svc", RecordType::SRV), srv);
    assert_eq!(ptr(&names, "10.96.0.10"), ["web.default."]);
    assert_eq!(ptr(&names, "fd00:10:96::a"), ["web.default."]);
    assert!(ptr(&names, "10.96.0.11").is_empty());
}

#[test]
fn a_port_has_the_addresses_behind_it_with_and_without_underscores() {
    let mut names = names(NameOptions::default());
    names.upsert_service(&service("web", &["10.96.0.10"]));
    names.upsert_service(&service("db", &[]));
    let endpoints = vec![endpoint("10.244.1.3", None), endpoint("10.244.1.4", Some("db-1"))];
    names.upsert_slice(&slice("db-a", "db", endpoints));
    assert_eq!(a(&names, "_http._tcp.web.default.svc"), "10.96.0.10");
    assert_eq!(a(&names, "http.tcp.web.default.svc"), "10.96.0.10");
    assert_eq!(a(&names, "_http._tcp.db.default.svc"), "10.244.1.3 10.244.1.4");
    for nothing in ["_._tcp", "_http._", "_http._sctp", "*._tcp", "_any._tcp"] {
        assert_eq!(a(&names, &format!("{nothing}.web.default.svc")), "NXDOMAIN", "{nothing}");
    }
}

#[test]
fn only_chosen_namespaces_have_names() {
    let options = NameOptions {
        declared_namespaces_only: true,
        pods: PodMode::Insecure,
        ..NameOptions::default()
    };
    let mut names = Names::new(options, 1);
    names.upsert_service(&service("web", &["10.96.0.10"]));
    let asked = ["web.default.svc", "default.svc", "10-0-0-1.default.pod"];
    let all = |names: &Names| asked.map(|name| a(names, name));
    assert_eq!(all(&names), ["NXDOMAIN"; 3]);
    // As in CoreDNS, addresses keep their names.
    assert_eq!(ptr(&names, "10.96.0.10"), ["web.default."]);
    let serial = names.serial();
    assert!(names.upsert_namespace("default"));
    assert_eq!(all(&names), ["10.96.0.10", "NODATA", "10.0.0.1"]);
    assert!(names.remove_namespace("default"));
    assert_eq!(all(&names), ["NXDOMAIN"; 3]);
    assert_eq!(names.serial(), serial + 2);
}

#[test]
fn the_zone_s_name_servers_are_the_services_that_lead_to_this_server() {
    let mut names = names(NameOptions::default());
    names.set_server_addresses(vec![ip("10.244.1.3"), ip("192.0.2.1")]);
    let shown = |names: &Names| -> Vec<String> {
        let servers = names.name_servers();
        servers.iter().map(|server| host_name(server.label, server.service)).collect()
    };
    assert!(shown(&names).is_empty());
    assert_eq!(a(&names, "ns.dns"), "10.244.1.3 192.0.2.1");
    names.upsert_service(&service("kube-dns", &["10.96.0.10"]));
    names.upsert_slice(&slice("kube-dns-a", "kube-dns", vec![endpoint("10.244.1.3", None)]));
    names.upsert_service(&service("peers", &[]));
    names.upsert_slice(&slice("peers-a", "peers", vec![endpoint("10.244.1.3", Some("a"))]));
    assert_eq!(shown(&names), ["a.peers.default.", "kube-dns.default."]);
    assert_eq!(a(&names, "ns.dns"), "10.96.0.10 10.244.1.3");
}

#[test]
fn names_that_exist_without_the_type_are_no_data_and_others_do_not_exist() {
    let mut names = names(NameOptions::default());
    names.upsert_service(&service("web", &["10.96.0.10"]));
    for (name, kind) in [
        ("", RecordType::A),
        ("svc", RecordType::A),
        ("pod", RecordType::A),
        ("dns", RecordType::A),
        ("default.svc", RecordType::A),
        ("web.default.svc", RecordType::AAAA),
        ("web.default.svc", RecordType::MX),
        ("_tcp.web.default.svc", RecordType::A),
        ("_tcp.web.default.svc", RecordType::SRV),
        ("_http._tcp.web.default.svc", RecordType::AAAA),
        ("_http._tcp.web.default.svc", RecordType::TXT),
        ("dns-version", RecordType::A),
    ] {
        assert_eq!(ask(&names, name, kind), "NODATA", "{name} {kind:?}");
    }
    for name in [
        "nope",
        "nope.default.svc",
        "web.nope.svc",
        "nope.svc",
        "host.web.default.svc",
        "_udp.web.default.svc",
        "_http._udp.web.default.svc",
        "_grpc._tcp.web.default.svc",
        "a._http._tcp.web.default.svc",
        "a.b.c.d.e.f.g.h.svc",
        "*.default.svc",
        "default.pod",
        "10-0-0-1.default.pod",
    ] {
        assert_eq!(ask(&names, name, RecordType::SRV), "NXDOMAIN", "{name}");
        assert_eq!(a(&names, name), "NXDOMAIN", "{name}");
    }
    assert_eq!(ask(&names, "dns-version", RecordType::TXT), "TXT 1.1.0");
    assert_eq!(ask(&names, "", RecordType::SOA), "SOA");
    assert_eq!(ask(&names, "", RecordType::NS), "NS");
}

#[test]
fn a_headless_service_resolves_to_its_ready_endpoints() {
    let mut names = names(NameOptions::default());
    names.upsert_service(&service("db", &[]));
    assert_eq!(a(&names, "db.default.svc"), "NXDOMAIN");
    let mut unready = endpoint("10.244.1.9", Some("db-2"));
    unready.ready = false;
    names.upsert_slice(&slice(
        "db-1",
        "db",
        vec![endpoint("10.244.2.4", Some("db-1")), endpoint("10.244.1.3", None), unready],
    ));
    names.upsert_slice(&slice("db-6", "db", vec![endpoint("fd00::4", Some("db-1"))]));
    assert_eq!(a(&names, "db.default.svc"), "10.244.1.3 10.244.2.4");
    assert_eq!(a(&names, "db-1.db.default.svc"), "10.244.2.4");
    assert_eq!(ask(&names, "db-1.db.default.svc", RecordType::AAAA), "fd00::4");
    assert_eq!(a(&names, "10-244-1-3.db.default.svc"), "10.244.1.3");
    assert_eq!(a(&names, "db-2.db.default.svc"), "NXDOMAIN");
    assert_eq!(
        ask(&names, "_http._tcp.db.default.svc", RecordType::SRV),
        "33 8080 db-1.db.default.[10.244.2.4 fd00::4], 33 8080 10-244-1-3.db.default.[10.244.1.3]"
    );
    assert_eq!(
        ask(&names, "db-1.db.default.svc", RecordType::SRV),
        "50 8080 db-1.db.default.[10.244.2.4 fd00::4]"
    );
    assert_eq!(ptr(&names, "10.244.2.4"), ["db-1.db.default."]);
    assert_eq!(ptr(&names, "10.244.1.3"), ["10-244-1-3.db.default."]);
    assert!(ptr(&names, "10.244.1.9").is_empty());

    let publish = Service { publish_not_ready_addresses: true, ..service("db", &[]) };
    names.upsert_service(&publish);
    assert_eq!(a(&names, "db-2.db.default.svc"), "10.244.1.9");
    assert_eq!(ptr(&names, "10.244.1.9"), ["db-2.db.default."]);
}

#[test]
fn endpoints_that_share_a_hostname_answer_together() {
    let mut names = names(NameOptions::default());
    names.upsert_service(&service("db", &[]));
    let both = vec![endpoint("10.244.2.4", Some("x")), endpoint("10.244.1.4", Some("x"))];
    names.upsert_slice(&slice("s", "db", both));
    assert_eq!(a(&names, "x.db.default.svc"), "10.244.1.4 10.244.2.4");
}

#[test]
fn endpoint_pod_names_replace_addresses() {
    let options = NameOptions { endpoint_pod_names: true, ..NameOptions::default() };
    let mut names = names(options);
    names.upsert_service(&service("web", &[]));
    let of_pod = |address, name: &str| {
        endpoint(address, None).with_names(None, Some(ObjectName::new("default", name)))
    };
    let one = of_pod("10.244.1.3", "web-7d4b9");
    let long = of_pod("10.244.1.4", &"x".repeat(64));
    names.upsert_slice(&slice("s", "web", vec![one, long]));
    assert_eq!(a(&names, "web-7d4b9.web.default.svc"), "10.244.1.3");
    assert_eq!(a(&names, "10-244-1-3.web.default.svc"), "NXDOMAIN");
    assert_eq!(a(&names, "10-244-1-4.web.default.svc"), "10.244.1.4");
}

#[test]
fn an_external_name_is_an_alias_for_every_type() {
    let mut names = names(NameOptions::default());
    names.upsert_service(&external("ext", "Kubernetes.io"));
    assert_eq!(a(&names, "ext.default.svc"), "CNAME kubernetes.io.");
    assert_eq!(ask(&names, "ext.default.svc", RecordType::CNAME), "CNAME kubernetes.io.");
    assert_eq!(a(&names, "x.ext.default.svc"), "NXDOMAIN");
    assert!(names.upsert_service(&external("ext", "example.org.")));
    assert_eq!(a(&names, "ext.default.svc"), "CNAME example.org.");
    for no_name in ["10.0.0.1", "a..b", "", &"x".repeat(64)] {
        names.upsert_service(&external("ext", no_name));
        assert_eq!(a(&names, "ext.default.svc"), "NXDOMAIN", "{no_name}");
    }
}

#[test]
fn pod_names_follow_the_mode() {
    let with = |pods| names(NameOptions { pods, ..NameOptions::default() });
    let pod = "10-244-1-3.default.pod";
    assert_eq!(a(&with(PodMode::Disabled), pod), "NXDOMAIN");
    let insecure = with(PodMode::Insecure);
    assert_eq!(a(&insecure, pod), "10.244.1.3");
    assert_eq!(ask(&insecure, pod, RecordType::AAAA), "NODATA");
    assert_eq!(ask(&insecure, "fd00--3.default.pod", RecordType::AAAA), "fd00::3");
    assert_eq!(a(&insecure, "default.pod"), "NODATA");
    for none in ["nope.default.pod", "10-244-1-3.nope.pod", "x.10-244-1-3.default.pod"] {
        assert_eq!(a(&insecure, none), "NXDOMAIN", "{none}");
    }
    let mut verified = with(PodMode::Verified);
    assert_eq!(a(&verified, pod), "NXDOMAIN");
    let name = ObjectName::new("default", "p");
    assert!(verified.upsert_pod(&name, &[ip("10.244.1.3")]));
    assert_eq!(a(&verified, pod), "10.244.1.3");
    verified.upsert_namespace("other");
    assert_eq!(a(&verified, "10-244-1-3.other.pod"), "NXDOMAIN");
    assert!(verified.upsert_pod(&name, &[ip("10.244.1.4")]));
    assert_eq!(a(&verified, pod), "NXDOMAIN");
    assert!(verified.remove_pod(&name));
    assert_eq!(a(&verified, "10-244-1-4.default.pod"), "NXDOMAIN");
}

#[test]
fn pods_come_and_go() {
    let mut names = names(NameOptions { pods: PodMode::Verified, ..NameOptions::default() });
    let pod = |namespace: &str, name: &str| ObjectName::new(namespace, name);
    let at = |names: &Names, address| names.pod_namespace(ip(address)).map(to_text);
    assert!(names.upsert_pod(&pod("a", "one"), &[ip("10.0.0.1"), ip("fd00::1")]));
    assert!(!names.upsert_pod(&pod("a", "one"), &[ip("10.0.0.1"), ip("fd00::1")]));
    assert!(names.upsert_pod(&pod("a", "two"), &[ip("10.0.0.1")]));
    assert_eq!(at(&names, "10.0.0.1").as_deref(), Some("a."));
    assert!(names.upsert_pod(&pod("b", "one"), &[ip("10.0.0.1")]));
    assert_eq!(at(&names, "10.0.0.1"), None, "of two namespaces");
    assert!(names.upsert_pod(&pod("a", "one"), &[ip("10.0.0.2")]));
    assert!(names.remove_pod(&pod("a", "two")));
    assert_eq!(at(&names, "10.0.0.1").as_deref(), Some("b."));
    assert_eq!((at(&names, "fd00::1"), at(&names, "10.0.0.2").as_deref()), (None, Some("a.")));
    // One that has no address any more is none.
    assert!(names.upsert_pod(&pod("b", "one"), &[]));
    assert!(!names.remove_pod(&pod("b", "one")));
    let serial = names.serial();
    names.begin(Listed::Pods);
    assert!(names.upsert_pod(&pod("c", "new"), &[ip("10.0.0.3")]));
    assert!(names.end(Listed::Pods));
    assert_eq!(names.serial(), serial + 2);
    assert_eq!((at(&names, "10.0.0.2"), at(&names, "10.0.0.3").as_deref()), (None, Some("c.")));
}

#[test]
fn empty_services_are_hidden_when_asked_for() {
    let mut names = names(NameOptions { ignore_empty_service: true, ..NameOptions::default() });
    names.upsert_service(&service("web", &["10.96.0.10"]));
    assert_eq!(a(&names, "web.default.svc"), "NXDOMAIN");
    names.upsert_slice(&slice("s", "web", vec![endpoint("10.244.1.3", None)]));
    assert_eq!(a(&names, "web.default.svc"), "10.96.0.10");
}

#[test]
fn only_the_listed_namespaces_are_served() {
    let namespaces = BTreeSet::from(["other".into()]);
    let mut names = names(NameOptions { namespaces, ..NameOptions::default() });
    names.upsert_service(&service("web", &["10.96.0.10"]));
    names.upsert_slice(&slice("s", "web", vec![endpoint("10.244.1.3", None)]));
    assert_eq!(a(&names, "web.default.svc"), "NXDOMAIN");
    assert_eq!(a(&names, "default.svc"), "NXDOMAIN");
    assert!(ptr(&names, "10.96.0.10").is_empty());
    assert!(ptr(&names, "10.244.1.3").is_empty());
}

#[test]
fn the_name_server_is_the_service_in_front() {
    let mut names = names(NameOptions::default());
    names.set_server_addresses(vec![ip("10.244.0.2")]);
    assert_eq!(a(&names, "ns.dns"), "10.244.0.2");
    names.upsert_service(&service("kube-dns", &["10.96.0.10"]));
    names.upsert_slice(&slice("s", "kube-dns", vec![endpoint("10.244.0.2", None)]));
    assert_eq!(a(&names, "ns.dns"), "10.96.0.10");
    assert_eq!(ask(&names, "ns.dns", RecordType::AAAA), "NODATA");
}

#[test]
fn the_serial_moves_with_answers_and_with_nothing_else() {
    let mut names = names(NameOptions::default());
    let start = names.serial();
    assert!(names.upsert_service(&service("web", &["10.96.0.10"])));
    assert!(!names.upsert_service(&service("web", &["10.96.0.10"])));
    assert!(!names.remove_slice(&ObjectName::new("default", "nope")));
    assert_eq!(names.serial(), start + 1);
    assert!(names.remove_service(&ObjectName::new("default", "web")));
    assert_eq!(names.serial(), start + 2);
    assert!(!names.remove_service(&ObjectName::new("default", "web")));
}

#[derive(Clone, Debug)]
enum Change {
    Service(Service),
    NoService(u8),
    Slice(EndpointSlice),
    NoSlice(u8),
}

fn any_change() -> impl Strategy<Value = Change> {
    let svc = (0..4_u8, 0..4_u8, any::<bool>()).prop_map(|(n, shape, publish)| {
        let name = format!("s{n}");
        let mut service = match shape {
            0 => service(&name, &[]),
            1 => external(&name, "example.org"),
            2 => service(&name, &["10.96.0.1"]),
            _ => service(&name, &[&format!("10.96.1.{n}"), &format!("fd00::{n}")]),
        };
        service.publish_not_ready_addresses = publish;
        Change::Service(service)
    });
    let end = (0..6_u8, any::<bool>(), 0..3_u8, any::<bool>()).prop_map(|(n, v6, host, ready)| {
        let address = if v6 { format!("fd00::{n}") } else { format!("10.244.0.{n}") };
        let host = (host > 0).then(|| format!("h{host}"));
        Endpoint { ready, ..endpoint(&address, host.as_deref()) }
    });
    let slices = (0..5_u8, 0..5_u8, prop::collection::vec(end, 0..5)).prop_map(|(n, of, ends)| {
        let mut slice = slice(&format!("e{n}"), &format!("s{of}"), ends);
        if of == 4 {
            slice.service = None;
        }
        if n == 3 {
            // Another list of ports than the Service's other slices have.
            let port =
                EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: Some(81) };
            let udp = EndpointPort { name: "x".into(), protocol: Protocol::Udp, port: Some(8) };
            slice.ports.extend([udp, port]);
        }
        Change::Slice(slice)
    });
    prop_oneof![
        3 => svc,
        1 => (0..4_u8).prop_map(Change::NoService),
        5 => slices,
        1 => (0..5_u8).prop_map(Change::NoSlice),
    ]
}

fn apply(names: &mut Names, change: &Change) -> bool {
    match change {
        Change::Service(service) => names.upsert_service(service),
        Change::NoService(n) => names.remove_service(&ObjectName::new("default", format!("s{n}"))),
        Change::Slice(slice) => names.upsert_slice(slice),
        Change::NoSlice(n) => names.remove_slice(&ObjectName::new("default", format!("e{n}"))),
    }
}

/// Every answer that the changes above can bring about.
fn everything(names: &Names) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for service in 0..4 {
        let mut labels = vec![String::new(), "h1.".into(), "h2.".into(), "_http._tcp.".into()];
        labels.extend(["_tcp.".into(), "_x._udp.".into()]);
        for n in 0..6 {
            labels.push(format!("10-244-0-{n}."));
            labels.push(format!("fd00--{n}."));
        }
        for label in labels {
            for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV] {
                let name = format!("{label}s{service}.default.svc");
                all.insert(format!("{name} {kind:?}"), ask(names, &name, kind));
            }
        }
    }
    for n in 0..6 {
        for address in [format!("10.244.0.{n}"), format!("fd00::{n}"), format!("10.96.1.{n}")] {
            all.insert(address.clone(), ptr(names, &address).join(" "));
        }
    }
    all.insert("shared".into(), ptr(names, "10.96.0.1").join(" "));
    all
}

/// The specification's address records read off the objects, with no index.
fn expected_addresses(
    services: &BTreeMap<String, Service>,
    slices: &BTreeMap<String, EndpointSlice>,
    name: &str,
) -> BTreeSet<IpAddr> {
    let Some(service) = services.get(name) else { return BTreeSet::new() };
    if service.service_type == ServiceType::ExternalName {
        return BTreeSet::new();
    }
    if !service.headless {
        return service.cluster_ips.iter().copied().collect();
    }
    slices
        .values()
        .filter(|slice| slice.service.as_ref() == Some(&service.name))
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.ready || service.publish_not_ready_addresses)
        .map(|endpoint| endpoint.address)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However the objects came to be what they are, the answers are those of the objects alone.
    #[test]
    fn history_does_not_show(changes in prop::collection::vec(any_change(), 0..40)) {
        let mut lived = names(NameOptions::default());
        let (mut services, mut slices) = (BTreeMap::new(), BTreeMap::new());
        for change in &changes {
            let before = everything(&lived);
            let serial = lived.serial();
            let changed = apply(&mut lived, change);
            prop_assert_eq!(changed, lived.serial() != serial);
            if !changed {
                prop_assert_eq!(before, everything(&lived));
            }
            match change {
                Change::Service(service) => {
                    services.insert(service.name.name.to_string(), service.clone());
                }
                Change::NoService(n) => drop(services.remove(&format!("s{n}"))),
                Change::Slice(slice) => {
                    slices.insert(slice.name.name.to_string(), slice.clone());
                }
                Change::NoSlice(n) => drop(slices.remove(&format!("e{n}"))),
            }
        }
        let mut fresh = names(NameOptions::default());
        for slice in slices.values() {
            fresh.upsert_slice(slice);
        }
        for service in services.values() {
            fresh.upsert_service(service);
        }
        prop_assert_eq!(everything(&lived), everything(&fresh));
        prop_assert_eq!(lived.len(), services.len());
        for n in 0..4 {
            let name = format!("s{n}");
            let wire = to_wire(&format!("{name}.default.svc")).expect("a name");
            let mut found = BTreeSet::new();
            for kind in [RecordType::A, RecordType::AAAA] {
                if let Answer::Addresses(addresses) = lived.lookup(&wire, kind) {
                    found.extend(addresses.iter());
                }
            }
            prop_assert_eq!(found, expected_addresses(&services, &slices, &name));
        }
        // Nothing is left behind once everything is gone.
        for service in services.values() {
            lived.remove_service(&service.name);
        }
        for slice in slices.values() {
            lived.remove_slice(&slice.name);
        }
        lived.remove_namespace("default");
        prop_assert!(lived.services.is_empty() && lived.namespaces.is_empty());
        prop_assert!(lived.by_cluster_ip.is_empty() && lived.by_endpoint.is_empty());
    }

    /// A listing leaves what it told of, also when an earlier one has ended before its time.
    #[test]
    fn a_listing_forgets_what_is_gone(
        changes in prop::collection::vec(any_change(), 0..40),
        kept: [u8; 2],
    ) {
        let mut lived = names(NameOptions::default());
        let (mut services, mut slices) = (BTreeMap::new(), BTreeMap::new());
        for change in &changes {
            apply(&mut lived, change);
            match change {
                Change::Service(service) => drop(services.insert(service.name.clone(), service)),
                Change::Slice(slice) => drop(slices.insert(slice.name.clone(), slice)),
                Change::NoService(_) | Change::NoSlice(_) => {}
            }
        }
        let mut fresh = names(NameOptions::default());
        // The first time, something else is told of, and then the connection ends.
        for kept in kept {
            lived.begin(Listed::Services);
            lived.begin(Listed::Slices);
            fresh = names(NameOptions::default());
            let chosen = |place: usize| kept & 1 << (place % 8) != 0;
            for (_, service) in services.values().enumerate().filter(|(at, _)| chosen(*at)) {
                lived.upsert_service(service);
                fresh.upsert_service(service);
            }
            for (_, slice) in slices.values().enumerate().filter(|(at, _)| chosen(*at + 3)) {
                lived.upsert_slice(slice);
                fresh.upsert_slice(slice);
            }
        }
        let before = everything(&lived);
        let changed = [lived.end(Listed::Services), lived.end(Listed::Slices)];
        if changed == [false, false] {
            prop_assert_eq!(before, everything(&lived));
        }
        prop_assert_eq!(everything(&lived), everything(&fresh));
        prop_assert_eq!(lived.len(), fresh.len());
        prop_assert!(!lived.end(Listed::Services) && !lived.end(Listed::Slices));
        lived.begin(Listed::Namespaces);
        prop_assert_eq!(lived.end(Listed::Namespaces), fresh.is_empty());
    }

    #[test]
    fn no_question_panics(name: Vec<u8>, kind: u16) {
        let mut index = names(NameOptions { pods: PodMode::Insecure, ..NameOptions::default() });
        index.upsert_service(&service("web", &["10.96.0.10"]));
        let _ = index.lookup(&name, RecordType(kind));
    }
}
