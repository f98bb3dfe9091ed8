//! Scenarios: objects, a question, an answer. One row for each clause of the DNS-Based Service
//! Discovery specification 1.1 and for each option of `kubernetes`; what [`super::specification`]
//! looks at record by record is only named here.

use std::str::FromStr;

use domain::base::iana::Rtype;
use serde_json::{Value, json};

use super::harness::*;

struct Row {
    clause: &'static str,
    /// Of the plugin, besides `ttl 30`.
    options: &'static str,
    question: &'static str,
    /// The code, then the data of the answer's records; `;` between them.
    answer: &'static str,
}

const fn row(
    clause: &'static str,
    options: &'static str,
    question: &'static str,
    answer: &'static str,
) -> Row {
    Row { clause, options, question, answer }
}

const TABLE: &[Row] = &[
    row("2.2 schema version", "", "dns-version TXT", "NOERROR \"1.1.0\""),
    row("2.3.1 A of a ClusterIP", "", "web.default.svc A", "NOERROR 10.96.0.80"),
    row("2.3.1 AAAA of a ClusterIP", "", "web.default.svc AAAA", "NOERROR fd00:10:96::80"),
    row("2.3.1 one family only", "", "v4.default.svc AAAA", "NOERROR"),
    row(
        "2.3.2 SRV of a named port",
        "",
        "_http._tcp.web.default.svc SRV",
        "NOERROR 0 50 80 web.default.svc.cluster.local",
    ),
    row("2.3.2 its protocol counts", "", "_http._udp.web.default.svc SRV", "NXDOMAIN"),
    row(
        "2.3.2 no SRV name for a port without a name",
        "",
        "_80._tcp.v4.default.svc SRV",
        "NXDOMAIN",
    ),
    row(
        "2.3.2 one number for two protocols is one record",
        "",
        "names.default.svc SRV",
        "NOERROR 0 50 53 names.default.svc.cluster.local",
    ),
    row(
        "2.3.3 PTR of a ClusterIP",
        "",
        "80.0.96.10.in-addr.arpa. PTR",
        "NOERROR web.default.svc.cluster.local.",
    ),
    row(
        "2.4.1 A of a headless Service: ready endpoints",
        "",
        "db.default.svc A",
        "NOERROR 10.244.1.3; 10.244.1.9",
    ),
    row("2.4.1 endpoint with a hostname", "", "db-0.db.default.svc A", "NOERROR 10.244.1.3"),
    row(
        "2.4.1 endpoint without one, named after its address",
        "",
        "10-244-1-9.db.default.svc A",
        "NOERROR 10.244.1.9",
    ),
    row("2.4.1 an endpoint that is not ready", "", "db-2.db.default.svc A", "NXDOMAIN"),
    row("2.4.1 publishNotReadyAddresses", "", "slow.default.svc A", "NOERROR 10.244.5.5"),
    row("2.4.1 no ready endpoint, no name", "", "empty.default.svc A", "NXDOMAIN"),
    row("2.4.1 IPv6 endpoints", "", "six.default.svc AAAA", "NOERROR fd00::7"),
    row("2.4.1 their names", "", "fd00--7.six.default.svc AAAA", "NOERROR fd00::7"),
    row(
        "2.4.2 SRV of a headless Service",
        "",
        "_sql._tcp.db.default.svc SRV",
        "NOERROR 0 50 15432 10-244-1-9.db.default.svc.cluster.local; \
         0 50 15432 db-0.db.default.svc.cluster.local",
    ),
    row(
        "2.4.3 PTR of an endpoint with a hostname",
        "",
        "3.1.244.10.in-addr.arpa. PTR",
        "NOERROR db-0.db.default.svc.cluster.local.",
    ),
    row(
        "2.4.3 PTR of an endpoint without one",
        "",
        "9.1.244.10.in-addr.arpa. PTR",
        "NOERROR 10-244-1-9.db.default.svc.cluster.local.",
    ),
    row(
        "2.4.3 PTR of an IPv6 endpoint",
        "",
        "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR",
        "NOERROR fd00--7.six.default.svc.cluster.local.",
    ),
    row("2.5 ExternalName", "", "ext.default.svc CNAME", "NOERROR www.example.org."),
    row(
        "2.5 ExternalName, addresses asked for",
        "",
        "ext.default.svc A",
        "NOERROR www.example.org.",
    ),
    row(
        "2.5 ExternalName within the cluster is followed",
        "",
        "inner.default.svc A",
        "NOERROR 10.96.0.80; web.default.svc.cluster.local.",
    ),
    row("RFC 8020: a name with names below it exists", "", "default.svc A", "NOERROR"),
    row("RFC 2308: no such Service", "", "nope.default.svc A", "NXDOMAIN"),
    row("no such namespace", "", "web.nope.svc A", "NXDOMAIN"),
    row("wildcards are not served", "", "*.default.svc A", "NXDOMAIN"),
    row("nor is any", "", "any.any.svc A", "NXDOMAIN"),
    row(
        "zone: SOA",
        "",
        "cluster.local. SOA",
        "NOERROR ns.dns.cluster.local. hostmaster.cluster.local. SERIAL 7200 1800 86400 30",
    ),
    row("zone: NS", "", "cluster.local. NS", "NOERROR ns.dns.cluster.local."),
    row("pods disabled", "pods disabled", "10-244-1-3.default.pod A", "NXDOMAIN"),
    row("pods insecure", "pods insecure", "10-1-2-3.default.pod A", "NOERROR 10.1.2.3"),
    row("pods insecure, no such namespace", "pods insecure", "10-1-2-3.nope.pod A", "NXDOMAIN"),
    row("pods verified", "pods verified", "10-244-1-3.default.pod A", "NOERROR 10.244.1.3"),
    row("pods verified, no such pod", "pods verified", "10-1-2-3.default.pod A", "NXDOMAIN"),
    row(
        "endpoint_pod_names",
        "endpoint_pod_names",
        "db-x7k.db.default.svc A",
        "NOERROR 10.244.1.9",
    ),
    row("ignore empty_service", "ignore empty_service", "web.default.svc A", "NXDOMAIN"),
    row("namespaces, one served", "namespaces default", "web.default.svc A", "NOERROR 10.96.0.80"),
    row("namespaces, one not served", "namespaces other", "web.default.svc A", "NXDOMAIN"),
    row("namespace_labels, not chosen", "namespace_labels team=x", "web.hidden.svc A", "NXDOMAIN"),
    row("fallthrough, to nobody", "fallthrough", "nope.default.svc A", "REFUSED"),
    row(
        "fallthrough of another zone",
        "fallthrough in-addr.arpa",
        "nope.default.svc A",
        "NXDOMAIN",
    ),
];

/// A Service's name and `spec`.
type Spec = (&'static str, Value);
/// A slice's name, its Service, and its contents.
type Slice = (&'static str, &'static str, Value);

fn objects() -> (Vec<Spec>, Vec<Slice>) {
    let ports = json!([{"name": "sql", "port": 5432}]);
    let services = vec![
        (
            "web",
            json!({"clusterIPs": ["10.96.0.80", "fd00:10:96::80"],
            "ports": [{"name": "http", "port": 80}]}),
        ),
        ("v4", json!({"clusterIP": "10.96.0.4", "ports": [{"port": 80}]})),
        (
            "names",
            json!({"clusterIP": "10.96.0.53", "ports": [{"name": "dns", "port": 53},
                {"name": "dns-udp", "port": 53, "protocol": "UDP"}]}),
        ),
        ("db", json!({"clusterIP": "None", "ports": ports})),
        ("six", json!({"clusterIP": "None", "ports": ports})),
        ("slow", json!({"clusterIP": "None", "ports": ports, "publishNotReadyAddresses": true})),
        ("empty", json!({"clusterIP": "None", "ports": ports})),
        ("ext", json!({"type": "ExternalName", "externalName": "www.example.org"})),
        (
            "inner",
            json!({"type": "ExternalName",
            "externalName": "web.default.svc.cluster.local"}),
        ),
    ];
    let slices = vec![
        (
            "db-1",
            "db",
            json!([{"addresses": ["10.244.1.3"], "hostname": "db-0"},
            {"addresses": ["10.244.1.9"],
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "db-x7k"}},
            {"addresses": ["10.244.3.3"], "conditions": {"ready": false}, "hostname": "db-2"}]),
        ),
        ("slow-1", "slow", json!([{"addresses": ["10.244.5.5"], "conditions": {"ready": false}}])),
        ("six-1", "six", json!([{"addresses": ["fd00::7"]}])),
    ];
    (services, slices)
}

#[test]
fn every_row_of_the_table() {
    let (services, slices) = objects();
    for Row { clause, options, question, answer } in TABLE {
        let corefile = format!(
            ". {{\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n ttl 30\n {options}\n }}\n}}"
        );
        let server = start(&corefile);
        let store = &server.stores[0];
        store.update(|names| {
            names.upsert_namespace("default");
            for (name, spec) in &services {
                names.upsert_service(&service(name, spec.clone()));
            }
            for (name, of, endpoints) in &slices {
                let ports = json!([{"name": "sql", "port": 15432}]);
                names.upsert_slice(&slice(name, of, endpoints.clone(), ports));
            }
            let pod = portolan_model::object::ObjectName::new("default", "db-0");
            names.upsert_pod(&pod, &["10.244.1.3".parse().expect("an address")]);
        });
        store.set_synced();
        let (name, kind) = question.split_once(' ').expect("a name and a type");
        let name = match name.strip_suffix('.') {
            Some(whole) => whole.to_owned(),
            None => format!("{name}.cluster.local"),
        };
        let kind = Rtype::from_str(kind).expect("a type");
        let found = ask(server.address, &name, kind);
        let mut records = data(&found);
        if kind == Rtype::SOA {
            let serial = store.names().serial().to_string();
            records[0] = records[0].replace(&serial, "SERIAL");
        }
        records.sort();
        let shown = format!("{} {}", found.header().rcode(), records.join("; "));
        assert_eq!(shown.trim_end(), *answer, "{clause}: {question}");
        let denied = records.is_empty() && found.header().rcode().to_int() != 5;
        let soa = show(&found).contains("! cluster.local 30 SOA");
        assert_eq!(denied && !name.ends_with("arpa"), soa, "{clause}: an SOA says no");
    }
}
