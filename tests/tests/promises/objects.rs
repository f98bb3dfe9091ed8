//! Promises 12, 13 and 15: what kubectl prints, workloads that keep their pods, and what is stored stays.

use std::collections::BTreeSet;

use portolan_tests::manifest::{deployment, pod, service, stateful_set};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};

#[test]
fn promise_12_kubectl_get_svc_prints_as_anywhere() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p12");
    let services = [
        service("a-cluster", "ports: [{port: 80}]"),
        service(
            "b-headless",
            "clusterIP: None, ports: [{name: web, port: 80}, {name: dns, port: 53, protocol: UDP}]",
        ),
        service("c-node", "type: NodePort, ports: [{port: 80, nodePort: 30699}]"),
        service("d-balanced", "type: LoadBalancer, ports: [{port: 443, nodePort: 30698}]"),
        service("e-name", "type: ExternalName, externalName: kubernetes.io"),
        service("f-external", "externalIPs: [198.51.100.9], ports: [{port: 80}]"),
    ];
    namespace.apply(&services.concat()).ok();
    let table = namespace.kubectl(&["get", "svc"]).ok();
    let lines = table.lines();
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(lines[0]), ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    let address = |name: &str| namespace.cluster_ip(name);
    let expected = [
        ["a-cluster", "ClusterIP", &address("a-cluster"), "<none>", "80/TCP"],
        ["b-headless", "ClusterIP", "None", "<none>", "80/TCP,53/UDP"],
        ["c-node", "NodePort", &address("c-node"), "<none>", "80:30699/TCP"],
        ["d-balanced", "LoadBalancer", &address("d-balanced"), "<pending>", "443:30698/TCP"],
        ["e-name", "ExternalName", "<none>", "kubernetes.io", "<none>"],
        ["f-external", "ClusterIP", &address("f-external"), "198.51.100.9", "80/TCP"],
    ];
    assert_eq!(lines.len(), expected.len() + 1, "{table}");
    for (line, expected) in lines[1..].iter().zip(expected) {
        assert_eq!(cells(line)[..5], expected, "{table}");
    }
    // Columns stand one below the other, as kubectl lays them out from the server's table.
    let column = lines[0].find("CLUSTER-IP").expect("a column");
    assert!(
        table
            .stdout
            .lines()
            .skip(1)
            .all(|line| line.as_bytes()[column - 1] == b' ' && line.as_bytes()[column] != b' ')
    );
    let kubernetes =
        lab.kubectl(&["get", "service", "kubernetes", "-n", "default", "--no-headers"]).ok();
    assert_eq!(
        cells(kubernetes.text())[..5],
        ["kubernetes", "ClusterIP", "10.96.0.1", "<none>", "443/TCP"]
    );
}

/// The pods that a label selects: name, uid.
fn pods(namespace: &Namespace<'_>, app: &str) -> BTreeSet<(String, String)> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let listed = namespace.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", path]).ok();
    listed
        .lines()
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, uid)| (name.into(), uid.into()))
        .collect()
}

#[test]
fn promise_13_workloads_keep_their_pods() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p13");
    let headless =
        service("ordered", "clusterIP: None, selector: {app: ordered}, ports: [{port: 8080}]");
    let set = deployment("plain", 2, "").replace("kind: Deployment", "kind: ReplicaSet");
    let controller = deployment("old", 2, "")
        .replace(
            "apiVersion: apps/v1\nkind: Deployment",
            "apiVersion: v1\nkind: ReplicationController",
        )
        .replace("selector: {matchLabels: {app: old}}", "selector: {app: old}");
    let manifests = [
        headless + &stateful_set("ordered", "ordered", 3),
        deployment("green", 2, ""),
        set,
        controller,
    ];
    namespace.apply(&manifests.join("\n---\n")).ok();
    namespace.rolled_out("statefulset/ordered");
    namespace.rolled_out("deployment/green");
    for kind in ["replicaset/plain", "replicationcontroller/old"] {
        eventually(&format!("{kind} has two ready"), || {
            let ready = namespace.kubectl(&["get", kind, "-o", "jsonpath={.status.readyReplicas}"]);
            check(ready.text() == "2", &ready.stdout)
        });
    }

    // -o wide: pods, their addresses, their nodes.
    let wide = namespace.kubectl(&["get", "pod", "-o", "wide"]).ok();
    let header: Vec<&str> = wide.lines()[0].split_whitespace().collect();
    assert_eq!(header[..7], ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]);
    for line in &wide.lines()[1..] {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert!(
            cells[1] == "1/1" && cells[2] == "Running" && cells[5].starts_with("10.244."),
            "{wide}"
        );
        assert!(lab.nodes().contains(&cells[6]), "{wide}");
    }
    let names =
        |app: &str| pods(&namespace, app).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("ordered"), ["ordered-0", "ordered-1", "ordered-2"]);

    // A container that dies is started again in the same pod. (As the first process of its namespace
    // it cannot be killed from within by SIGKILL; it ends itself on SIGTERM.)
    let before = pods(&namespace, "ordered");
    lab.exec(&namespace.pod("ordered-1"), &["sh", "-c", "kill -KILL -1; kill -TERM 1"]);
    eventually("a restart of the container in ordered-1", || {
        let count =
            namespace.field("pod", "ordered-1", ".status.containerStatuses[0].restartCount");
        check(count.parse::<u32>().is_ok_and(|count| count > 0), &count)
    });
    namespace.wait_ready(&["ordered-1"]);
    assert_eq!(pods(&namespace, "ordered"), before, "the same pods by name and uid");
    // A pod that dies is replaced: by one of its own name in a StatefulSet, by any elsewhere.
    namespace.kubectl(&["delete", "pod", "ordered-1"]).ok();
    for app in ["green", "plain", "old"] {
        let victim = names(app)[0].clone();
        namespace.kubectl(&["delete", "pod", &victim]).ok();
        eventually(&format!("{app} replaces {victim}"), || {
            let ready = namespace
                .kubectl(&["get", "pods", "-l", &format!("app={app}"), "--no-headers"])
                .ok();
            let running = ready.lines().iter().filter(|line| line.contains("1/1")).count();
            check(running == 2 && !ready.stdout.contains(&victim), &ready.stdout)
        });
    }
    namespace.rolled_out("statefulset/ordered");
    let after = pods(&namespace, "ordered");
    assert_eq!(names("ordered"), ["ordered-0", "ordered-1", "ordered-2"]);
    assert_eq!(after.intersection(&before).count(), 2, "two untouched, one new: {after:?}");
}

#[test]
fn promise_15_what_is_acknowledged_is_stored_and_heard() {
    let Some(lab) = Lab::start(&Options::new("stored").with(&["--workers", "1"])) else { return };
    let namespace = lab.namespace("p15");
    namespace
        .apply(
            &(pod("one", "kept", Some("worker-1"), "")
                + &service("kept", "selector: {app: kept}, ports: [{port: 80, targetPort: 8080}]")),
        )
        .ok();
    namespace.wait_ready(&["one"]);
    namespace.wait_endpoints("kept", 1);
    // What was acknowledged to us; the status, and with it the revision, is the controllers'.
    let acknowledged = || {
        let mut object = namespace.get("service", "kept");
        object["metadata"]["resourceVersion"].take();
        object["status"].take();
        object
    };
    let before = acknowledged();

    for round in 0..3 {
        let name = format!("note-{round}");
        namespace.kubectl(&["create", "configmap", &name, "--from-literal=said=acknowledged"]).ok();
        lab.portolan(&["lab", "restart", "--kill", "apiserver"]).ok();
        eventually("the API answers again", || {
            let ready = lab.kubectl(&["get", "--raw", "/readyz"]);
            check(ready.succeeded(), &ready.stderr)
        });
        assert_eq!(
            namespace.field("configmap", &name, ".data.said"),
            "acknowledged",
            "lost after kill -9"
        );
        // The proxy goes on serving, and hears of what happens next by watching.
        let url = format!(
            "http://{}/hostname",
            before["spec"]["clusterIP"].as_str().expect("an address")
        );
        assert_eq!(lab.curl("control-plane", &url).ok().text(), "one");
        let next = format!("next-{round}");
        namespace
            .apply(&service(&next, "selector: {app: kept}, ports: [{port: 81, targetPort: 8080}]"))
            .ok();
        let url = format!("http://{}:81/hostname", namespace.cluster_ip(&next));
        eventually("the proxy hears of a new Service", || {
            let answer = lab.curl("control-plane", &url);
            check(answer.text() == "one", &answer.to_string())
        });
    }
    assert_eq!(acknowledged(), before, "the same object after three crashes");
}
