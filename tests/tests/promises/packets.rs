//! Promises 20 to 22, 28 and 29: where connections go.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_tests::manifest::{pod, service};
use portolan_tests::probe::Background;
use portolan_tests::wait::{check, within};
use portolan_tests::{Lab, Namespace, Options, eventually};

/// Pods `one` on worker-1 and `two` on worker-2 behind the Service `pair`, ready and answering.
fn pair(namespace: &Namespace<'_>, spec: &str) -> String {
    let pods = pod("one", "pair", Some("worker-1"), "") + &pod("two", "pair", Some("worker-2"), "");
    namespace
        .apply(&(pods + &service("pair", &format!("{spec}selector: {{app: pair}}, {PORTS}"))))
        .ok();
    namespace.wait_ready(&["one", "two"]);
    namespace.wait_endpoints("pair", 2);
    let address = namespace.cluster_ip("pair");
    for node in namespace.lab.nodes() {
        answered(namespace.lab, node, &format!("http://{address}/hostname"));
    }
    address
}

const PORTS: &str = "ports: [{name: http, port: 80, targetPort: http}, {name: lines, port: 81, targetPort: lines, protocol: UDP}, {name: tcp, port: 82, targetPort: tcp}]";

/// Waits until `url` answers with 200 at `place`.
fn answered(lab: &Lab, place: &str, url: &str) -> String {
    eventually(&format!("an answer from {url} on {place}"), || {
        let answer = lab.exec(place, &["curl", "-sS", "--fail", "--max-time", "2", url]);
        check(answer.succeeded(), &answer.to_string())?;
        Ok(answer.text().to_owned())
    })
}

fn shares(answers: Vec<String>) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for answer in answers {
        *shares.entry(answer).or_insert(0) += 1;
    }
    shares
}

#[test]
fn promise_20_the_cluster_ip_answers_inside_only() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p20");
    let address = pair(&namespace, "");
    let url = format!("http://{address}/hostname");
    let probe = lab.environment.probe.display().to_string();
    let inside =
        [lab.nodes().map(str::to_owned).to_vec(), vec![namespace.pod("one"), namespace.pod("two")]]
            .concat();
    for place in &inside {
        let answers = shares(lab.answers(place, &url, 30));
        assert!(answers.keys().all(|name| name == "one" || name == "two"), "{place}: {answers:?}");
        // UDP, too; a pod reaches itself through the Service like any other.
        let udp = lab
            .exec(place, &[&probe, "udp", &format!("{address}:81"), "--count", "30"])
            .ok()
            .json();
        assert_eq!(
            (udp["answered"].as_u64(), udp["failed"].as_u64()),
            (Some(30), Some(0)),
            "{place}: {udp}"
        );
        assert_eq!(
            udp["bodies"].as_object().map(serde_json::Map::len),
            Some(2),
            "both pods answer: {place}: {udp}"
        );
    }
    // On the Service's own ports only, not on the pods'.
    for port in [8080, 8081, 8082, 443] {
        let answer = lab.curl("worker-1", &format!("http://{address}:{port}/hostname"));
        assert!(!answer.succeeded(), "port {port} must not answer: {answer}");
    }
    // From nowhere else.
    let answer = lab.curl("outside", &url);
    assert!(!answer.succeeded(), "outside: {answer}");
    // And what a pod sees of another pod is that pod's own address.
    let seen = lab
        .curl(&namespace.pod("one"), &format!("http://{}:8080/clientip", namespace.pod_ip("two")))
        .ok();
    assert_eq!(
        seen.text().rsplit_once(':').map(|(ip, _)| ip),
        Some(namespace.pod_ip("one").as_str())
    );
}

#[test]
fn promise_21_connections_are_spread_evenly() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p21");
    let address = pair(&namespace, "type: NodePort, ");
    let node_port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    let door = format!("http://{}:{node_port}/hostname", lab.node_address("control-plane"));
    let inside = format!("http://{address}/hostname");
    let clients = [
        ("control-plane".to_owned(), &inside),
        ("worker-1".to_owned(), &inside),
        ("worker-2".to_owned(), &inside),
        (namespace.pod("one"), &inside),
        ("outside".to_owned(), &door),
    ];
    for (place, url) in clients {
        let shares = shares(lab.answers(&place, url, 200));
        // With p = 1/2 the standard deviation is 7: one in a billion even tests is out of these bounds.
        let fair = |name: &str| (56..=144).contains(shares.get(name).unwrap_or(&0));
        assert!(fair("one") && fair("two"), "{place}: {shares:?}");
    }
}

#[test]
fn promise_22_node_ports_outlive_nodes() {
    let Some(lab) = Lab::start(&Options::new("ports")) else { return };
    let namespace = lab.namespace("p22");
    pair(&namespace, "type: NodePort, ");
    let port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    let url = |node: &str| format!("http://{}:{port}/hostname", lab.node_address(node));
    let urls: Vec<String> = lab.nodes().iter().map(|node| url(node)).collect();
    for (node, url) in lab.nodes().iter().zip(&urls) {
        for place in ["outside", "control-plane"] {
            let shares = shares(lab.answers(place, url, 40));
            assert_eq!(
                shares.len(),
                2,
                "both pods answer through {node}, from {place}: {shares:?}"
            );
        }
    }
    // A node without a single pod of the Service serves it as well.
    namespace.kubectl(&["delete", "pod", "one"]).ok();
    namespace.wait_endpoints("pair", 1);
    for url in &urls {
        eventually("only the pod two answers", || {
            let shares = shares(lab.answers("outside", url, 10));
            check(shares.len() == 1 && shares.contains_key("two"), &shares)
        });
    }
    namespace.apply(&pod("one", "pair", Some("worker-1"), "")).ok();
    namespace.wait_endpoints("pair", 2);

    // worker-2 dies: its cable is pulled. Its pods are soon no endpoints, and the others' doors stay open.
    let device = lab
        .exec("worker-2", &["ip", "-json", "route", "get", &lab.node_address("control-plane")])
        .ok()
        .json();
    let device = device[0]["dev"].as_str().expect("a device").to_owned();
    lab.exec("worker-2", &["ip", "link", "set", &device, "down"]).ok();
    within(Duration::from_secs(180), "worker-2's pod is no endpoint any more", || {
        let endpoints = namespace.slice_addresses("pair");
        check(endpoints.len() == 1, &endpoints)
    });
    for url in &urls[..2] {
        answered(&lab, "outside", url);
        let shares = shares(lab.answers("outside", url, 20));
        assert_eq!(shares.keys().collect::<Vec<_>>(), ["one"], "{url}");
    }
}

/// Waits until a connection from `place` to `address` is refused: an answer, if not the one hoped for.
fn refused(lab: &Lab, place: &str, address: &str) {
    let probe = lab.environment.probe.display().to_string();
    eventually(&format!("{address} refuses on {place}"), || {
        let seen = lab.exec(place, &[&probe, "requests", address, "--count", "1"]).ok().json();
        let failure = seen["failures"][0].as_str().unwrap_or_default();
        check(failure.contains("Connection refused"), &seen.to_string())
    });
}

#[test]
fn promise_28_no_endpoint_means_refused_at_once() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p28");
    let spec = "type: NodePort, externalIPs: [198.51.100.28], selector: {app: nobody}, ports: [{port: 80}]";
    namespace
        .apply(&(pod("client", "client", Some("worker-1"), "") + &service("empty", spec)))
        .ok();
    namespace.wait_ready(&["client"]);
    let vip = format!("{}:80", namespace.cluster_ip("empty"));
    let port = namespace.field("service", "empty", ".spec.ports[0].nodePort");
    let door = format!("{}:{port}", lab.node_address("worker-2"));
    refused(lab, "control-plane", &vip);
    refused(lab, "worker-1", &vip);
    refused(lab, &namespace.pod("client"), &vip);
    refused(lab, "outside", &door);
    refused(lab, "worker-1", &door);
    refused(lab, "worker-1", "198.51.100.28:80");
    // An endpoint that is not ready is none; one that is ready ends the refusing, and its going restores it.
    let one = pod("one", "nobody", Some("worker-2"), "")
        .replace("--http=8080", "--http=80")
        .replace("8080", "80");
    namespace.apply(&one).ok();
    namespace.wait_ready(&["one"]);
    answered(lab, "control-plane", &format!("http://{vip}/hostname"));
    answered(lab, "outside", &format!("http://{door}/hostname"));
    lab.exec(&namespace.pod("one"), &["curl", "-sS", "http://127.0.0.1/healthz?fail=1"]).ok();
    refused(lab, "control-plane", &vip);
    refused(lab, "outside", &door);
}

#[test]
fn promise_29_a_pod_that_goes_finishes_what_it_has() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p29");
    // A pod that takes its time to go, as one does that finishes its work first.
    let slow = "lifecycle: {preStop: {exec: {command: [sleep, '6']}}}";
    let patient = |name: &str, node: &str| {
        pod(name, "going", Some(node), slow)
            .replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 20")
    };
    let pods = patient("one", "worker-1") + &patient("two", "worker-2");
    namespace
        .apply(&(pods + &service("going", &format!("selector: {{app: going}}, {PORTS}"))))
        .ok();
    namespace.wait_ready(&["one", "two"]);
    namespace.wait_endpoints("going", 2);
    let address = namespace.cluster_ip("going");
    let url = format!("http://{address}/hostname");
    answered(lab, "control-plane", &url);

    // Connections to both pods, until there is one to each.
    let mut held: BTreeMap<String, Background> = BTreeMap::new();
    eventually("a connection to each pod", || {
        let connection =
            Background::start(lab, "control-plane", &["hold", &format!("{address}:82")]);
        held.insert(connection.peer.clone(), connection);
        check(held.len() == 2, &held.keys().collect::<Vec<_>>())
    });
    namespace.kubectl(&["delete", "pod", "one", "--wait=false"]).ok();
    // No new connection for it, while it is still there.
    eventually("one is out of the endpoints", || {
        let endpoints = namespace.endpoints("going");
        check(
            endpoints
                .iter()
                .all(|endpoint| !endpoint.starts_with(&format!("{}:", namespace.pod_ip("one")))),
            &endpoints,
        )
    });
    eventually("only two answers", || {
        let shares = shares(lab.answers("control-plane", &url, 10));
        check(shares.len() == 1 && shares.contains_key("two"), &shares)
    });
    let late = shares(lab.answers("control-plane", &url, 50));
    assert_eq!(late.keys().collect::<Vec<_>>(), ["two"]);
    // The connections that were there go on, through the deleted pod as well.
    let slices = namespace.kubectl(&["get", "endpointslices", "-o", "json"]).ok().json();
    let terminating = slices["items"][0]["endpoints"].as_array().into_iter().flatten();
    let terminating: Vec<_> =
        terminating.filter(|endpoint| endpoint["conditions"]["terminating"] == true).collect();
    assert_eq!(terminating.len(), 1, "the pod is still there, terminating: {slices}");
    for (name, mut connection) in held {
        assert!(connection.is_running(), "the connection to {name} ended");
        connection.stop().nothing_lost(&format!("the connection to {name}"));
    }
}
