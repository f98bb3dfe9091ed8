//! Promises 40 to 45: names, asked for by dig, by a DNS client of our own, and by programs in pods.

use portolan_tests::manifest::{deployment, pod, service, stateful_set};
use portolan_tests::probe::{Background, ask};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};

/// Waits until the A records of `name` are `expected` (sorted).
fn resolves_to(lab: &Lab, name: &str, expected: &[String]) {
    eventually(&format!("{name} is {expected:?}"), || {
        let answer = lab.dig("worker-1", &["+short", name]);
        let mut addresses: Vec<String> = answer.lines().into_iter().map(str::to_owned).collect();
        addresses.sort();
        check(addresses == expected, &answer.to_string())
    });
}

fn sorted_ips(namespace: &Namespace<'_>, pods: &[&str]) -> Vec<String> {
    let mut ips: Vec<String> = pods.iter().map(|pod| namespace.pod_ip(pod)).collect();
    ips.sort();
    ips
}

#[test]
fn promise_40_a_service_has_a_name() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p40");
    let web =
        service("web", "selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]");
    namespace.apply(&(pod("one", "web", None, "") + &web)).ok();
    namespace.wait_ready(&["one"]);
    namespace.wait_endpoints("web", 1);
    let address = namespace.cluster_ip("web");
    let name = namespace.dns("web");
    resolves_to(lab, &name, std::slice::from_ref(&address));
    // From every node and pod, over UDP and TCP, with authority.
    for place in [
        "control-plane".to_owned(),
        "worker-1".to_owned(),
        "worker-2".to_owned(),
        namespace.pod("one"),
    ] {
        for transport in ["udp", "tcp"] {
            let answer = ask(lab, &place, transport, &name, "A");
            assert!(
                answer.rcode == "NOERROR" && answer.authoritative,
                "{place}, {transport}: {answer:?}"
            );
            assert_eq!(answer.answer.len(), 1, "{place}, {transport}: {answer:?}");
            assert!(
                answer.answer[0].ends_with(&format!(" IN A {address}")),
                "{place}, {transport}: {answer:?}"
            );
        }
    }
    let answer = lab.dig("worker-1", &["+short", "kubernetes.default.svc.cluster.local"]).ok();
    assert_eq!(answer.text(), "10.96.0.1");
    // Names do not care for case, and the answer repeats the question as it was asked.
    let answer = lab.dig("worker-1", &["+noall", "+answer", "WeB.p40.svc.cluster.LOCAL"]).ok();
    assert!(answer.text().contains(&address), "{answer}");

    // In a pod by the short names, through resolv.conf's search list and the C library's resolver.
    let pod = namespace.pod("one");
    let resolv = lab.exec(&pod, &["cat", "/etc/resolv.conf"]).ok();
    assert!(resolv.stdout.contains("nameserver 10.96.0.10"), "{resolv}");
    assert!(
        resolv.stdout.contains("search p40.svc.cluster.local svc.cluster.local cluster.local"),
        "{resolv}"
    );
    assert!(resolv.stdout.contains("ndots:5"), "{resolv}");
    for short in ["web", "web.p40", "web.p40.svc", name.as_str()] {
        let found = lab.exec(&pod, &["getent", "ahostsv4", short]).ok();
        assert!(found.text().starts_with(&address), "{short}: {found}");
        assert_eq!(lab.curl(&pod, &format!("http://{short}/hostname")).ok().text(), "one");
    }
    // A Service that goes takes its name along.
    namespace.kubectl(&["delete", "service", "web"]).ok();
    eventually("the name is gone", || {
        let answer = ask(lab, "worker-1", "udp", &name, "A");
        check(answer.rcode == "NXDOMAIN", &answer)
    });
}

#[test]
fn promise_41_a_headless_service_has_its_pods_addresses() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p41");
    let headless = service(
        "many",
        "clusterIP: None, selector: {app: many}, ports: [{name: http, port: 8080}]",
    );
    namespace.apply(&format!("{headless}{}", deployment("many", 3, ""))).ok();
    namespace.rolled_out("deployment/many");
    let addresses = || {
        let endpoints = namespace.endpoints("many");
        endpoints
            .iter()
            .map(|endpoint| endpoint.trim_end_matches(":8080").to_owned())
            .collect::<Vec<_>>()
    };
    namespace.wait_endpoints("many", 3);
    resolves_to(lab, &namespace.dns("many"), &addresses());
    let answer = ask(lab, "worker-2", "udp", &namespace.dns("many"), "A");
    assert_eq!(answer.answer.len(), 3, "several A records: {answer:?}");
    for scale in [5, 1] {
        namespace.kubectl(&["scale", "deployment", "many", &format!("--replicas={scale}")]).ok();
        namespace.wait_endpoints("many", scale);
        resolves_to(lab, &namespace.dns("many"), &addresses());
    }
}

#[test]
fn promise_42_a_stateful_sets_pod_has_a_name_that_stays() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p42");
    let headless =
        service("peers", "clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]");
    namespace.apply(&format!("{headless}{}", stateful_set("db", "peers", 2))).ok();
    namespace.rolled_out("statefulset/db");
    namespace.wait_endpoints("peers", 2);
    for pod in ["db-0", "db-1"] {
        resolves_to(lab, &namespace.dns(&format!("{pod}.peers")), &sorted_ips(&namespace, &[pod]));
    }
    resolves_to(lab, &namespace.dns("peers"), &sorted_ips(&namespace, &["db-0", "db-1"]));
    let answer = lab
        .exec(
            &namespace.pod("db-0"),
            &["curl", "-sS", "--max-time", "5", "http://db-1.peers:8080/hostname"],
        )
        .ok();
    assert_eq!(answer.text(), "db-1", "a pod reaches its peer by the short name");

    // It goes and comes back with another address; the name follows.
    let old = namespace.pod_ip("db-1");
    namespace.kubectl(&["delete", "pod", "db-1"]).ok();
    namespace.rolled_out("statefulset/db");
    namespace.wait_ready(&["db-1"]);
    let new = namespace.pod_ip("db-1");
    assert_ne!(old, new, "the new pod has another address");
    resolves_to(lab, &namespace.dns("db-1.peers"), &[new]);
    eventually("db-1 is reached by its name", || {
        let answer = lab.curl(&namespace.pod("db-0"), "http://db-1.peers:8080/hostname");
        check(answer.text() == "db-1", &answer.to_string())
    });
    let gone = ask(lab, "worker-1", "udp", &namespace.dns("db-2.peers"), "A");
    assert_eq!(gone.rcode, "NXDOMAIN", "no third pod: {gone:?}");
}

#[test]
fn promise_43_a_name_that_does_not_exist_is_nxdomain() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p43");
    namespace.apply(&service("there", "ports: [{name: http, port: 80}]")).ok();
    resolves_to(lab, &namespace.dns("there"), &[namespace.cluster_ip("there")]);
    let missing = [
        namespace.dns("missing"),
        "there.no-such-namespace.svc.cluster.local".to_owned(),
        namespace.dns("a.b.c.there"),
        "nonsense.cluster.local".to_owned(),
    ];
    for name in missing {
        for record in ["A", "AAAA", "SRV", "TXT"] {
            let answer = ask(lab, "worker-1", "udp", &name, record);
            assert_eq!(answer.rcode, "NXDOMAIN", "{name} {record}: {answer:?}");
            assert!(answer.answer.is_empty(), "{name} {record}: {answer:?}");
            let soa = answer
                .authority
                .iter()
                .any(|line| line.starts_with("cluster.local") && line.contains(" SOA "));
            assert!(
                soa,
                "a negative answer carries the zone's SOA (RFC 2308): {name} {record}: {answer:?}"
            );
        }
    }
    // The name exists, but not with that type: no error and no data.
    let answer = ask(lab, "worker-1", "udp", &namespace.dns("there"), "TXT");
    assert!(answer.rcode == "NOERROR" && answer.answer.is_empty(), "{answer:?}");
    let dig = lab.dig("worker-1", &[&namespace.dns("missing")]).ok();
    assert!(dig.stdout.contains("status: NXDOMAIN"), "{dig}");
    // And as soon as it exists it is found, whatever was answered before.
    namespace.apply(&service("missing", "ports: [{port: 80}]")).ok();
    resolves_to(lab, &namespace.dns("missing"), &[namespace.cluster_ip("missing")]);
}

#[test]
fn promise_44_an_external_name_is_an_alias() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p44");
    namespace
        .apply(
            &(pod("one", "client", Some("worker-2"), "")
                + &service("docs", "type: ExternalName, externalName: first.example")),
        )
        .ok();
    namespace.wait_ready(&["one"]);
    let name = namespace.dns("docs");
    let alias = |place: &str, target: &str| {
        eventually(&format!("{name} is an alias of {target} on {place}"), || {
            let answer = lab.dig(place, &["+norecurse", "+short", "CNAME", &name]);
            check(answer.text() == target, &answer.to_string())
        });
    };
    alias("worker-1", "first.example.");
    // An A question is answered with the alias, too: the client follows it.
    let answer = ask(lab, "worker-1", "udp", &name, "A");
    assert!(answer.answer.iter().any(|line| line.contains(" CNAME first.example")), "{answer:?}");

    // A change is a change for everyone at once: nobody who asks afterwards gets the old target.
    let watching = Background::start(
        lab,
        &namespace.pod("one"),
        &["dns", "10.96.0.10:53", &name, "CNAME", "--repeat"],
    );
    namespace
        .kubectl(&[
            "patch",
            "service",
            "docs",
            "-p",
            r#"{"spec":{"externalName":"second.example"}}"#,
        ])
        .ok();
    alias("worker-1", "second.example.");
    for place in ["control-plane".to_owned(), "worker-2".to_owned(), namespace.pod("one")] {
        alias(&place, "second.example.");
    }
    let seen = watching.stop();
    seen.nothing_lost("questions during the change");
    assert!(
        seen.bodies
            .keys()
            .all(|body| body.contains("first.example") || body.contains("second.example")),
        "{seen:?}"
    );

    // An alias of a Service's name in the cluster is followed to its address.
    namespace.apply(&service("here", "ports: [{port: 80}]")).ok();
    let target = namespace.dns("here");
    namespace
        .kubectl(&[
            "patch",
            "service",
            "docs",
            "-p",
            &format!(r#"{{"spec":{{"externalName":"{target}"}}}}"#),
        ])
        .ok();
    alias("worker-1", &format!("{target}."));
    let address = namespace.cluster_ip("here");
    eventually("the alias leads to the Service's address", || {
        let answer = lab.exec(&namespace.pod("one"), &["getent", "ahostsv4", "docs"]);
        check(answer.text().starts_with(&address), &answer.to_string())
    });
}

#[test]
fn promise_45_ports_addresses_and_ipv6_have_records() {
    let options = Options::new("names").with(&["--ip-families", "ipv4,ipv6", "--workers", "1"]);
    let Some(lab) = Lab::start(&options) else { return };
    let namespace = lab.namespace("p45");
    let both = "ipFamilyPolicy: RequireDualStack, selector: {app: db}";
    let ports = "ports: [{name: http, port: 80, targetPort: 8080}, \
                 {name: lines, port: 81, targetPort: 8081, protocol: UDP}]";
    let web = service("web", &format!("{both}, {ports}"));
    let peers = service("peers", &format!("{both}, clusterIP: None, {ports}"));
    namespace.apply(&format!("{web}{peers}{}", stateful_set("db", "peers", 2))).ok();
    namespace.rolled_out("statefulset/db");
    let field = |object: &str, path: &str| {
        let path = format!("jsonpath={{{path}}}");
        let words = ["get", object, "-o", &path];
        let text = namespace.kubectl(&words).ok().text().to_owned();
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let found: [String; 2] = words
            .try_into()
            .unwrap_or_else(|found| panic!("{object} has one address of each family: {found:?}"));
        found
    };
    let virtual_ips = field("service/web", ".spec.clusterIPs[*]");
    let pod_ips = field("pod/db-1", ".status.podIPs[*].ip");
    let (web, peers) = (namespace.dns("web"), namespace.dns("peers"));
    let is = |name: &str, record: &str, expected: &[String]| {
        eventually(&format!("{name} {record} is {expected:?}"), || {
            let answer = ask(&lab, "worker-1", "udp", name, record);
            let mut data: Vec<String> = answer
                .answer
                .iter()
                .filter_map(|line| line.split_once(&format!(" IN {record} ")))
                .map(|(_, data)| data.trim_end_matches('.').to_owned())
                .collect();
            data.sort();
            check(data == expected, &answer)
        });
    };

    // AAAA where the cluster has IPv6, beside A.
    for (record, index) in [("A", 0), ("AAAA", 1)] {
        is(&web, record, std::slice::from_ref(&virtual_ips[index]));
        is(&format!("db-1.{peers}"), record, std::slice::from_ref(&pod_ips[index]));
    }
    let all = ask(&lab, "worker-1", "udp", &peers, "AAAA");
    assert_eq!(all.answer.len(), 2, "{all:?}");

    // SRV for named ports: of the Service, and of each endpoint at the port that it has itself.
    is(&format!("_http._tcp.{web}"), "SRV", &[format!("0 50 80 {web}")]);
    is(&format!("_lines._udp.{web}"), "SRV", &[format!("0 50 81 {web}")]);
    let each = ["db-0", "db-1"].map(|pod| format!("0 25 8080 {pod}.{peers}"));
    is(&format!("_http._tcp.{peers}"), "SRV", &each);
    for missing in ["_http._udp", "_https._tcp"] {
        let answer = ask(&lab, "worker-1", "udp", &format!("{missing}.{web}"), "SRV");
        assert_eq!(answer.rcode, "NXDOMAIN", "{answer:?}");
    }

    // PTR for the addresses of both families, virtual ones and pods'.
    for (address, name) in virtual_ips
        .iter()
        .map(|ip| (ip, web.clone()))
        .chain(pod_ips.iter().map(|ip| (ip, format!("db-1.{peers}"))))
    {
        eventually(&format!("{address} is {name}"), || {
            let answer = lab.dig("worker-1", &["+short", "-x", address]);
            let names: Vec<_> = answer.lines();
            check(names.contains(&format!("{name}.").as_str()), &answer.to_string())
        });
    }
}
