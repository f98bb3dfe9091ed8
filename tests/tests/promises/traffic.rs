//! Promises 23 to 25: loopback, traffic policies and affinity.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_tests::manifest::{pod, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, eventually};

/// Who answered how often.
fn shares(lab: &Lab, place: &str, url: &str, count: u32) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for answer in lab.answers(place, url, count) {
        *shares.entry(answer).or_insert(0) += 1;
    }
    shares
}

/// Waits until so many pods answer `url` at `place`.
fn answered_by(lab: &Lab, place: &str, url: &str, pods: usize) {
    eventually(&format!("{pods} pods answer {url} on {place}"), || {
        let words = ["curl", "-sS", "--fail", "--max-time", "2", "-H", "Connection: close"];
        let urls = format!("{url}?[1-20]");
        let outcome = lab.exec(place, &[&words[..], &["-w", "\n", &urls]].concat());
        let names: std::collections::BTreeSet<_> = outcome.lines().into_iter().collect();
        check(outcome.succeeded() && names.len() == pods, &outcome.to_string())
    });
}

fn pair(namespace: &Namespace<'_>, spec: &str) {
    let pods = pod("one", "pair", Some("worker-1"), "") + &pod("two", "pair", Some("worker-2"), "");
    let spec = format!("{spec}, selector: {{app: pair}}, ports: [{{port: 80, targetPort: http}}]");
    namespace.apply(&(pods + &service("pair", &spec))).ok();
    namespace.wait_ready(&["one", "two"]);
    namespace.wait_endpoints("pair", 2);
}

#[test]
fn promise_23_node_ports_answer_on_loopback() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p23");
    // The notes' own number; another test may have it.
    pair(&namespace, "type: NodePort");
    let port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    let url = format!("http://127.0.0.1:{port}/hostname");
    for node in lab.nodes() {
        answered_by(lab, node, &url, 2);
        let answers = shares(lab, node, &url, 40);
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["one", "two"], "{node}");
    }
    // Loopback is the node's own: not a pod's, and not for anybody outside.
    for place in ["outside".to_owned(), namespace.pod("one")] {
        assert!(!lab.curl(&place, &url).succeeded(), "{place}");
    }
    // The pods do not see a loopback address, to which they could not answer.
    let seen = lab.curl("worker-1", &format!("http://127.0.0.1:{port}/clientip")).ok();
    assert!(!seen.text().starts_with("127."), "{seen}");
}

#[test]
fn promise_24_external_policy_local_keeps_clients_and_fails_checks() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p24");
    let spec = "type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: local}, ports: [{port: 80, targetPort: http}]";
    namespace.apply(&(pod("here", "local", Some("worker-1"), "") + &service("local", spec))).ok();
    namespace.wait_ready(&["here"]);
    namespace.wait_endpoints("local", 1);
    let port = namespace.field("service", "local", ".spec.ports[0].nodePort");
    let check_port = namespace.field("service", "local", ".spec.healthCheckNodePort");
    let door = |node: &str, path: &str| format!("http://{}:{port}{path}", lab.node_address(node));
    // The half with a pod: it answers, and sees the client.
    answered_by(lab, "outside", &door("worker-1", "/hostname"), 1);
    let seen = lab.curl("outside", &door("worker-1", "/clientip")).ok();
    let outside = lab.exec("outside", &["ip", "-json", "-4", "address", "show"]).ok().stdout;
    let client = seen.text().rsplit_once(':').map(|(ip, _)| ip.to_owned()).unwrap_or_default();
    assert!(outside.contains(&format!("\"{client}\"")), "{client} is not outside: {outside}");
    // The half without: silence, not a refusal, so that a load balancer can try another node.
    for node in ["worker-2", "control-plane"] {
        let url = door(node, "/hostname");
        let answer = lab.exec("outside", &["curl", "-sS", "--max-time", "2", &url]);
        assert_eq!(answer.status, Some(28), "{node} must not answer: {answer}");
    }
    // And each tells the load balancer which half it is.
    let health = |node: &str| {
        let url = format!("http://{}:{check_port}/", lab.node_address(node));
        let words = ["curl", "-sS", "--max-time", "5", "-w", "\n%{http_code}", &url];
        let answer = lab.exec("outside", &words);
        let (body, code) = answer.stdout.rsplit_once('\n').unwrap_or_default();
        (code.to_owned(), serde_json::from_str::<serde_json::Value>(body).unwrap_or_default())
    };
    for (node, code, endpoints) in [("worker-1", "200", 1), ("worker-2", "503", 0)] {
        eventually(&format!("{node}'s health check is {code}"), || {
            let seen = health(node);
            let right = seen.0 == code
                && seen.1["localEndpoints"] == endpoints
                && seen.1["service"]["name"] == "local";
            check(right, &seen)
        });
    }
    // The pod moves, and everything with it.
    namespace.kubectl(&["delete", "pod", "here"]).ok();
    namespace.apply(&pod("there", "local", Some("worker-2"), "")).ok();
    namespace.wait_ready(&["there"]);
    eventually("the health checks follow", || {
        let seen = (health("worker-1").0, health("worker-2").0);
        check(seen == ("503".to_owned(), "200".to_owned()), &seen)
    });
    answered_by(lab, "outside", &door("worker-2", "/hostname"), 1);
    let answer =
        lab.exec("outside", &["curl", "-sS", "--max-time", "2", &door("worker-1", "/hostname")]);
    assert_eq!(answer.status, Some(28), "worker-1 must not answer any more: {answer}");
}

#[test]
fn promise_25_clients_keep_their_pod_for_its_timeout() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p25");
    let affinity = |seconds: u32| {
        format!(
            "type: NodePort, sessionAffinity: ClientIP, sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}"
        )
    };
    pair(&namespace, &affinity(3600));
    let url = format!("http://{}/hostname", namespace.cluster_ip("pair"));
    let port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    let door = format!("http://{}:{port}/hostname", lab.node_address("control-plane"));
    let pod = namespace.pod("one");
    for (place, url) in
        [("control-plane", &url), ("worker-2", &url), (&pod, &url), ("outside", &door)]
    {
        answered_by(lab, place, url, 1);
        // Half a hundred fair choices of two would be alike once in 10^15.
        let answers = shares(lab, place, url, 50);
        assert_eq!(answers.len(), 1, "{place}: {answers:?}");
    }
    // After the timeout the choice is free again. That takes a pause in which the client is away;
    // forty fair choices are alike once in 10^12.
    namespace
        .apply(&service(
            "pair",
            &format!(
                "{}, selector: {{app: pair}}, ports: [{{port: 80, targetPort: http}}]",
                affinity(1)
            ),
        ))
        .ok();
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(1500));
        *seen.entry(lab.curl("control-plane", &url).ok().text().to_owned()).or_insert(0) += 1;
        if seen.len() == 2 {
            return;
        }
    }
    panic!("the client is kept beyond its timeout: {seen:?}");
}
