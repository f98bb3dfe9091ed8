//! The DNS-Based Service Discovery specification 1.1, clause by clause, over a socket.

use std::collections::BTreeSet;

use std::sync::LazyLock;
use std::time::Instant;

use domain::base::Message;
use domain::base::iana::Rtype;
use domain::rdata::AllRecordData;
use proptest::prelude::*;
use serde_json::json;

use super::harness::*;
use crate::dns::config::Config;
use crate::dns::plugin::kubernetes::Kubernetes;
use crate::dns::site::{Now, Site};
use crate::dns::store::Stores;
use crate::dns::wire::{Query, Transport};

const COREFILE: &str = ".:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 30
    }
}";

fn cluster() -> Running {
    let running = start(COREFILE);
    fill(&running.stores[0]);
    running
}

/// The SOA record of a denial, its serial left out.
fn denied(text: &str) -> String {
    let Some(start) = text.find("hostmaster.") else { return text.to_owned() };
    let rest = &text[start..];
    let mut words: Vec<&str> = rest.split(' ').collect();
    words[1] = "SERIAL";
    format!("{}{}", &text[..start], words.join(" "))
}

#[test]
fn every_clause() {
    let server = cluster();
    let soa = |zone: &str| {
        format!("! {zone} 30 SOA ns.dns.{zone}. hostmaster.{zone}. SERIAL 7200 1800 86400 30\n")
    };
    let soa_local = soa("cluster.local");
    for (name, kind, expected) in [
        // 2.2 schema version
        ("dns-version.cluster.local", Rtype::TXT, "NOERROR aa\n= dns-version.cluster.local 28800 TXT \"1.1.0\"\n".into()),
        // 2.3.1 addresses of a Service with virtual addresses
        ("web.default.svc.cluster.local", Rtype::A, "NOERROR aa\n= web.default.svc.cluster.local 30 A 10.96.0.80\n".into()),
        ("web.default.svc.cluster.local", Rtype::AAAA, "NOERROR aa\n= web.default.svc.cluster.local 30 AAAA fd00:10:96::80\n".into()),
        // 2.3.2 its ports
        ("_http._tcp.web.default.svc.cluster.local", Rtype::SRV, "NOERROR aa\n\
            = _http._tcp.web.default.svc.cluster.local 30 SRV 0 50 80 web.default.svc.cluster.local\n\
            + web.default.svc.cluster.local 30 A 10.96.0.80\n\
            + web.default.svc.cluster.local 30 AAAA fd00:10:96::80\n".into()),
        ("_dns._udp.web.default.svc.cluster.local", Rtype::SRV, "NOERROR aa\n\
            = _dns._udp.web.default.svc.cluster.local 30 SRV 0 50 53 web.default.svc.cluster.local\n\
            + web.default.svc.cluster.local 30 A 10.96.0.80\n\
            + web.default.svc.cluster.local 30 AAAA fd00:10:96::80\n".into()),
        // 2.3.3 its reverse names
        ("80.0.96.10.in-addr.arpa", Rtype::PTR, "NOERROR aa\n= 80.0.96.10.in-addr.arpa 30 PTR web.default.svc.cluster.local.\n".into()),
        ("0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa", Rtype::PTR,
            "NOERROR aa\n= 0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa 30 PTR web.default.svc.cluster.local.\n".into()),
        // 2.4.1 addresses of a headless Service: the ready endpoints
        ("db.default.svc.cluster.local", Rtype::A, "NOERROR aa\n\
            = db.default.svc.cluster.local 30 A 10.244.1.3\n\
            = db.default.svc.cluster.local 30 A 10.244.1.9\n\
            = db.default.svc.cluster.local 30 A 10.244.2.3\n".into()),
        ("db-1.db.default.svc.cluster.local", Rtype::A, "NOERROR aa\n= db-1.db.default.svc.cluster.local 30 A 10.244.2.3\n".into()),
        ("10-244-1-9.db.default.svc.cluster.local", Rtype::A, "NOERROR aa\n= 10-244-1-9.db.default.svc.cluster.local 30 A 10.244.1.9\n".into()),
        ("db-2.db.default.svc.cluster.local", Rtype::A, format!("NXDOMAIN aa\n{soa_local}")),
        ("empty.default.svc.cluster.local", Rtype::A, format!("NXDOMAIN aa\n{soa_local}")),
        // 2.4.2 its ports
        ("_sql._tcp.db.default.svc.cluster.local", Rtype::SRV, "NOERROR aa\n\
            = _sql._tcp.db.default.svc.cluster.local 30 SRV 0 33 15432 db-0.db.default.svc.cluster.local\n\
            = _sql._tcp.db.default.svc.cluster.local 30 SRV 0 33 15432 db-1.db.default.svc.cluster.local\n\
            = _sql._tcp.db.default.svc.cluster.local 30 SRV 0 33 15432 10-244-1-9.db.default.svc.cluster.local\n\
            + db-0.db.default.svc.cluster.local 30 A 10.244.1.3\n\
            + db-1.db.default.svc.cluster.local 30 A 10.244.2.3\n\
            + 10-244-1-9.db.default.svc.cluster.local 30 A 10.244.1.9\n".into()),
        // 2.4.3 its reverse names
        ("3.1.244.10.in-addr.arpa", Rtype::PTR, "NOERROR aa\n= 3.1.244.10.in-addr.arpa 30 PTR db-0.db.default.svc.cluster.local.\n".into()),
        ("3.3.244.10.in-addr.arpa", Rtype::PTR, format!("NXDOMAIN aa\n{}", soa("in-addr.arpa"))),
        // 2.5 ExternalName
        ("ext.default.svc.cluster.local", Rtype::CNAME, "NOERROR aa\n= ext.default.svc.cluster.local 30 CNAME www.example.org.\n".into()),
        ("inner.default.svc.cluster.local", Rtype::A, "NOERROR aa\n\
            = inner.default.svc.cluster.local 30 CNAME web.default.svc.cluster.local.\n\
            = web.default.svc.cluster.local 30 A 10.96.0.80\n".into()),
        ("outer.default.svc.cluster.local", Rtype::AAAA, "NOERROR aa\n\
            = outer.default.svc.cluster.local 30 CNAME inner.default.svc.cluster.local.\n\
            = inner.default.svc.cluster.local 30 CNAME web.default.svc.cluster.local.\n\
            = web.default.svc.cluster.local 30 AAAA fd00:10:96::80\n".into()),
        ("lost.default.svc.cluster.local", Rtype::A, format!("NXDOMAIN aa\n\
            = lost.default.svc.cluster.local 30 CNAME nope.default.svc.cluster.local.\n{soa_local}")),
        ("circle.default.svc.cluster.local", Rtype::A, "NOERROR aa\n\
            = circle.default.svc.cluster.local 30 CNAME circle.default.svc.cluster.local.\n".into()),
        // Nobody resolves names of the outside here, the alias itself is an answer.
        ("ext.default.svc.cluster.local", Rtype::A, "NOERROR aa\n= ext.default.svc.cluster.local 30 CNAME www.example.org.\n".into()),
        // Pods, and what exists without having records.
        ("10-244-7-7.default.pod.cluster.local", Rtype::A, "NOERROR aa\n= 10-244-7-7.default.pod.cluster.local 30 A 10.244.7.7\n".into()),
        ("v4.default.svc.cluster.local", Rtype::AAAA, format!("NOERROR aa\n{soa_local}")),
        ("default.svc.cluster.local", Rtype::A, format!("NOERROR aa\n{soa_local}")),
        ("svc.cluster.local", Rtype::A, format!("NOERROR aa\n{soa_local}")),
        ("cluster.local", Rtype::A, format!("NOERROR aa\n{soa_local}")),
        ("_tcp.web.default.svc.cluster.local", Rtype::A, format!("NOERROR aa\n{soa_local}")),
        ("web.nope.svc.cluster.local", Rtype::A, format!("NXDOMAIN aa\n{soa_local}")),
        ("nope.default.svc.cluster.local", Rtype::A, format!("NXDOMAIN aa\n{soa_local}")),
        ("cluster.local", Rtype::SOA, soa("cluster.local").replacen('!', "NOERROR aa\n=", 1)),
        ("cluster.local", Rtype::NS, "NOERROR aa\n= cluster.local 30 NS ns.dns.cluster.local.\n+ ns.dns.cluster.local 30 A 127.0.0.1\n".into()),
        ("ns.dns.cluster.local", Rtype::A, "NOERROR aa\n= ns.dns.cluster.local 30 A 127.0.0.1\n".into()),
        ("web.default.svc.cluster.local", Rtype::ANY, "NOERROR aa\n= web.default.svc.cluster.local 28800 HINFO \"RFC8482\" \"\"\n".into()),
        ("example.org", Rtype::A, "REFUSED\n".into()),
    ] {
        let answer = ask(server.address, name, kind);
        assert_eq!(denied(&show(&answer)), expected, "{name} {kind}");
        let mut stream = tcp(server.address);
        std::io::Write::write_all(&mut stream, &framed(&query(name, kind, 0))).expect("sent");
        assert_eq!(denied(&show(&read_framed(&mut stream))), expected, "{name} {kind} over TCP");
    }
}

#[test]
fn a_change_shows_in_the_next_answer() {
    let server = cluster();
    let store = &server.stores[0];
    let name = "ext.default.svc.cluster.local";
    assert_eq!(data(&ask(server.address, name, Rtype::CNAME)), ["www.example.org."]);
    let serial = store.names().serial();
    let other = service("ext", json!({"type": "ExternalName", "externalName": "kubernetes.io"}));
    store.update(|names| assert!(names.upsert_service(&other)));
    assert_eq!(data(&ask(server.address, name, Rtype::CNAME)), ["kubernetes.io."]);
    assert_eq!(store.names().serial(), serial + 1);
    store.update(|names| assert!(names.remove_service(&other.name)));
    assert!(show(&ask(server.address, name, Rtype::CNAME)).starts_with("NXDOMAIN"));
}

#[test]
fn until_the_index_is_whole_nothing_is_denied() {
    let server = start(COREFILE);
    let store = &server.stores[0];
    let web = service("web", json!({"clusterIP": "10.96.0.80", "ports": [{"port": 80}]}));
    store.update(|names| assert!(names.upsert_service(&web)));
    let ask = |name| show(&ask(server.address, name, Rtype::A));
    assert!(ask("web.default.svc.cluster.local").starts_with("NOERROR"));
    assert_eq!(ask("nope.default.svc.cluster.local"), "SERVFAIL\n");
    store.set_synced();
    assert!(ask("nope.default.svc.cluster.local").starts_with("NXDOMAIN"));
}

#[test]
fn sets_are_rotated_when_the_corefile_says_so() {
    let server = start(". {\n kubernetes cluster.local\n loadbalance\n}");
    fill(&server.stores[0]);
    let first = |_| data(&ask(server.address, "db.default.svc.cluster.local", Rtype::A)).remove(0);
    assert_eq!((0..6).map(first).collect::<BTreeSet<_>>().len(), 3);
}

fn any_name() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec![
        "web",
        "db",
        "crowd",
        "ext",
        "outer",
        "db-0",
        "10-244-1-9",
        "10-245-0-7",
        "_http",
        "_sql",
        "_x",
        "_tcp",
        "_udp",
        "default",
        "nope",
        "svc",
        "pod",
        "dns",
        "ns",
        "dns-version",
        "80",
        "0",
        "96",
        "10",
        "WEB",
    ]);
    let zone = prop::sample::select(vec![
        "default.svc.cluster.local",
        "Cluster.Local",
        "svc.cluster.local",
        "in-addr.arpa",
        "ip6.arpa",
        "0.96.10.in-addr.arpa",
    ]);
    (prop::collection::vec(label, 0..5), zone).prop_map(|(mut labels, zone)| {
        labels.push(zone);
        labels.join(".")
    })
}

static CLUSTER: LazyLock<Site> = LazyLock::new(|| {
    let config = Config::read(COREFILE).expect("a Corefile").sites.remove(0).kubernetes.remove(0);
    let store = Stores::default().insert(config.store.clone());
    fill(&store);
    Site { kubernetes: vec![Kubernetes::new(config, store)], ..Site::default() }
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is asked, the answer is a whole message within its limit, and says no by an SOA.
    #[test]
    fn every_answer_is_well_formed(
        name in any_name(),
        kind in prop::sample::select(vec![1_u16, 2, 5, 6, 12, 15, 16, 28, 33, 255, 64]),
        payload in prop::sample::select(vec![0_u16, 1, 512, 1232, 4096, 65_535]),
        tcp: bool,
    ) {
        let message = query(&name, Rtype::from_int(kind), payload);
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let asked = Query::parse(&message, transport).expect("a query");
        // Answers are appended to what other answers there are.
        let mut out = vec![0xff; 33];
        let now = CLUSTER.answer_now(&asked, Instant::now(), &mut out);
        if matches!(now, Now::Later(_)) {
            prop_assert_eq!(out.len(), 33);
            return Ok(());
        }
        prop_assert!(out.len() - 33 <= asked.limit());
        let answer = Message::from_octets(out.split_off(33)).expect("a message");
        prop_assert_eq!(&answer.as_slice()[12..asked.question_end()], asked.question());
        let (_, answers, authority, additional) = answer.sections().expect("sections");
        let mut counts = [0; 3];
        for (count, section) in counts.iter_mut().zip([answers, authority, additional]) {
            for record in section.limit_to::<AllRecordData<_, _>>() {
                let record = record.expect("a record");
                *count += usize::from(record.rtype() != Rtype::OPT);
            }
        }
        let aliased = answer.answer().expect("a section").flatten().any(|r| r.rtype() == Rtype::CNAME);
        if !answer.header().tc() && !aliased {
            prop_assert_eq!(counts[0] == 0, counts[1] == 1, "{}", show(&answer));
        }
        prop_assert_eq!(answer.opt().is_some(), payload > 0);
    }
}
