//! What users and other programs rely on: the lab's commands, the images, the addresses that each part serves.

use portolan_tests::lab::COMMAND_LIMIT;
use portolan_tests::manifest::pod;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Options, Outcome, eventually};

/// The mode of the tests' labs; a machine that they run on has all that the best one needs.
fn mode() -> String {
    std::env::var("PORTOLAN_TESTS_PROXY_MODE")
        .ok()
        .filter(|mode| mode != "auto")
        .unwrap_or_else(|| "ebpf".to_owned())
}

#[test]
fn lab_up_prints_how_to_use_it() {
    let Some(lab) = Lab::shared() else { return };
    let line = format!("export KUBECONFIG={}", lab.kubeconfig.display());
    assert!(lab.up.stdout.contains(&line), "{}", lab.up);
    let nodes = lab.kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    let mut names: Vec<&str> = nodes.text().split_whitespace().collect();
    names.sort_unstable();
    assert_eq!(names, lab.nodes());
    // Ready means ready: no test has to wait after `lab up`.
    for node in lab.nodes() {
        let object = lab.kubectl(&["get", "node", node, "-o", "json"]).ok().json();
        assert_eq!(object["metadata"]["labels"]["kubernetes.io/hostname"], node);
        assert!(
            object["spec"]["podCIDR"].as_str().is_some_and(|cidr| cidr.starts_with("10.244.")),
            "{object}"
        );
        let conditions = object["status"]["conditions"].as_array().expect("conditions");
        assert!(
            conditions
                .iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
            "{object}"
        );
    }
}

#[test]
fn lab_status_lists_nodes_and_components() {
    let Some(lab) = Lab::shared() else { return };
    let status = lab.status();
    let text = status.to_string();
    for word in
        ["control-plane", "worker-1", "worker-2", "apiserver", "controllers", "proxy", &mode()]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    for node in lab.nodes() {
        assert!(text.contains(&lab.node_address(node)), "{node}: {text}");
    }
    let people = lab.portolan(&["lab", "status"]).ok();
    assert!(people.stdout.contains("worker-2") && people.stdout.contains("apiserver"), "{people}");
}

#[test]
fn lab_exec_passes_input_output_and_status_through() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("execs");
    namespace.apply(&pod("one", "one", Some("worker-1"), "")).ok();
    namespace.wait_ready(&["one"]);
    for place in ["control-plane", "worker-2", "outside", &namespace.pod("one")] {
        let mut command = lab.exec_command(place);
        command.args(["sh", "-c", "cat; echo to-stderr >&2; exit 7"]);
        let outcome = Outcome::of(&mut command, Some("through and through"), COMMAND_LIMIT);
        assert_eq!(outcome.status, Some(7), "{place}: {outcome}");
        assert_eq!(outcome.stdout, "through and through", "{place}: {outcome}");
        assert_eq!(outcome.stderr, "to-stderr\n", "{place}: {outcome}");
        // Arguments stay apart, whatever is in them.
        let spaced = lab.exec(place, &["printf", "%s|", "a b", "", "--name", "$HOME"]).ok();
        assert_eq!(spaced.stdout, "a b||--name|$HOME|", "{place}: {spaced}");
    }
    let host = lab.exec(&namespace.pod("one"), &["hostname"]).ok();
    assert_eq!(host.text(), "one", "a pod has its own name");
    let inside = lab
        .exec(&namespace.pod("one"), &["ip", "-o", "-4", "address", "show", "scope", "global"])
        .ok();
    assert!(inside.stdout.contains(&namespace.pod_ip("one")), "{inside}");
}

#[test]
fn outside_has_no_route_to_the_cluster() {
    let Some(lab) = Lab::shared() else { return };
    let dns = lab
        .kubectl(&[
            "get",
            "pods",
            "-n",
            "kube-system",
            "-l",
            "k8s-app=kube-dns",
            "-o",
            "jsonpath={.items[0].status.podIP}",
        ])
        .ok();
    for address in [dns.text(), "10.96.0.10"] {
        let route = lab.exec("outside", &["ip", "route", "get", address]);
        let probe = lab.exec(
            "outside",
            &["curl", "-sS", "--max-time", "2", &format!("http://{address}:8181/ready")],
        );
        assert!(!probe.succeeded(), "outside reaches {address}: {route} {probe}");
    }
    // It does reach the nodes themselves, on a port of their own.
    for node in lab.nodes() {
        let url = format!("http://{}:10256/livez", lab.node_address(node));
        lab.exec("outside", &["curl", "-sS", "--fail", "--max-time", "5", &url]).ok();
    }
}

#[test]
fn each_proxy_serves_health_and_metrics() {
    let Some(lab) = Lab::shared() else { return };
    for node in lab.nodes() {
        let mode = lab.curl(node, "http://127.0.0.1:10249/proxyMode").ok();
        assert_eq!(mode.text(), self::mode(), "{node}");
        lab.exec(node, &["curl", "-sS", "--fail", "http://127.0.0.1:10249/healthz"]).ok();
        let metrics = lab.curl(node, "http://127.0.0.1:10249/metrics").ok();
        assert!(
            metrics.stdout.contains("kubeproxy_sync_proxy_rules_duration_seconds"),
            "{node}: {metrics}"
        );
        for path in ["healthz", "livez"] {
            let url = format!("http://{}:10256/{path}", lab.node_address(node));
            lab.exec("outside", &["curl", "-sS", "--fail", "--max-time", "5", &url]).ok();
        }
    }
}

#[test]
fn dns_pods_serve_health_and_follow_their_corefile() {
    let Some(lab) = Lab::start(&Options::new("dns").with(&["--workers", "1"])) else { return };
    let dns = lab
        .kubectl(&[
            "get",
            "pods",
            "-n",
            "kube-system",
            "-l",
            "k8s-app=kube-dns",
            "-o",
            "jsonpath={.items[*].status.podIP}",
        ])
        .ok();
    let pods: Vec<&str> = dns.text().split_whitespace().collect();
    assert!(!pods.is_empty(), "{dns}");
    for pod in pods {
        for url in [format!("http://{pod}:8080/health"), format!("http://{pod}:8181/ready")] {
            lab.exec("worker-1", &["curl", "-sS", "--fail", "--max-time", "5", &url]).ok();
        }
        let metrics = lab.curl("worker-1", &format!("http://{pod}:9153/metrics")).ok();
        assert!(metrics.stdout.contains("coredns_dns_requests_total"), "{metrics}");
    }
    let service = lab
        .kubectl(&[
            "get",
            "service",
            "kube-dns",
            "-n",
            "kube-system",
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])
        .ok();
    assert_eq!(service.text(), "10.96.0.10");

    let mut config = lab
        .kubectl(&["get", "configmap", "coredns", "-n", "kube-system", "-o", "json"])
        .ok()
        .json();
    let corefile = config["data"]["Corefile"].as_str().expect("a Corefile").to_owned();
    let hosts = "    hosts {\n        192.0.2.77 lighthouse.example\n        fallthrough\n    }\n    kubernetes ";
    config["data"]["Corefile"] = corefile.replacen("    kubernetes ", hosts, 1).into();
    lab.kubectl_with(&["replace", "-f", "-"], &config.to_string()).ok();
    portolan_tests::wait::within(
        std::time::Duration::from_secs(180),
        "the new host is known",
        || {
            let answer = lab.dig("worker-1", &["+short", "lighthouse.example"]);
            check(answer.text() == "192.0.2.77", &answer.to_string())
        },
    );
    let answer = lab.dig("worker-1", &["+short", "kubernetes.default.svc.cluster.local"]).ok();
    assert_eq!(answer.text(), "10.96.0.1", "and the cluster's names go on");
}

#[test]
fn images_are_built_in_added_or_missing_with_a_reason() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("images");
    lab.portolan(&[
        "lab",
        "image",
        "add",
        "beacon:1",
        "--",
        "sh",
        "-c",
        "echo lit on $HOSTNAME; exec sleep 1000",
    ])
    .ok();
    let bare = |name: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{terminationGracePeriodSeconds: 1, containers: [{{name: c, image: '{image}'}}]}}\n---\n"
        )
    };
    let missing = "registry.invalid/no/such:image";
    namespace
        .apply(
            &(bare("beacon", "beacon:1")
                + &bare("paused", "portolan/pause")
                + &bare("missing", missing)),
        )
        .ok();
    namespace.wait_ready(&["beacon", "paused"]);
    eventually("the added image's output in its log", || {
        let log = namespace.kubectl(&["logs", "beacon"]);
        check(log.text() == "lit on beacon", &log.to_string())
    });
    // Read-only, but the host's own programs.
    let written = lab.exec(&namespace.pod("beacon"), &["touch", "/usr/written"]);
    assert!(!written.succeeded(), "the image's file system is read-only");
    eventually("ErrImagePull or ImagePullBackOff", || {
        let reason =
            namespace.field("pod", "missing", ".status.containerStatuses[0].state.waiting.reason");
        check(["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()), &reason)
    });
    eventually("an event says why", || {
        let events = namespace.kubectl(&[
            "get",
            "events",
            "--field-selector",
            "involvedObject.name=missing",
        ]);
        check(
            events.stdout.contains("Failed") && events.stdout.contains("registry.invalid"),
            &events.stdout,
        )
    });
}

#[test]
fn the_echo_image_answers_as_described() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("echoes");
    namespace.apply(&pod("one", "one", Some("worker-1"), "")).ok();
    namespace.wait_ready(&["one"]);
    let address = namespace.pod_ip("one");
    let get = |path: &str| {
        lab.curl("worker-1", &format!("http://{address}:8080{path}")).ok().text().to_owned()
    };
    assert_eq!(get("/hostname"), "one");
    assert_eq!(get("/echo?msg=ahoy"), "ahoy");
    assert_eq!(
        get("/sleep?ms=50").lines().count().min(1),
        get("/sleep?ms=1").lines().count().min(1)
    );
    let header = lab
        .exec(
            "worker-1",
            &[
                "curl",
                "-sS",
                "-H",
                "X-Flag: up",
                &format!("http://{address}:8080/header?key=X-Flag"),
            ],
        )
        .ok();
    assert_eq!(header.text(), "up");
    let peer: std::net::SocketAddr = get("/clientip").parse().expect("IP:PORT");
    assert!(peer.port() > 0);
    let probe = lab.environment.probe.display().to_string();
    for (line, expected) in [("hostname", "one"), ("echo ahoy", "ahoy")] {
        let udp = lab
            .exec("worker-1", &[&probe, "udp", &format!("{address}:8081"), line, "--count", "1"])
            .ok()
            .json();
        assert_eq!(udp["bodies"][expected], 1, "{udp}");
    }
}
