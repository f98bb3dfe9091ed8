//! A backend is replaced, pod by pod, under load: no request is lost, whoever makes it.

use portolan_tests::manifest::{deployment, pod, service};
use portolan_tests::probe::Background;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Options, eventually};

/// Pods that keep serving for a while after they were told to go, as every rolling update needs:
/// between the telling and the last node's hearing of it, connections still come.
fn graceful(replicas: u32) -> String {
    deployment("web", replicas, "lifecycle: {preStop: {exec: {command: [sleep, '3']}}}")
        .replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 20")
}

#[test]
fn a_rolling_restart_under_load_loses_nothing() {
    let Some(lab) = Lab::start(&Options::new("roll")) else { return };
    let namespace = lab.namespace("rolling");
    let ports = "ports: [{port: 80, targetPort: http}]";
    let web = service("web", &format!("type: NodePort, selector: {{app: web}}, {ports}"));
    let client = pod("client", "client", Some("worker-2"), "");
    namespace.apply(&(client + &web + &graceful(3))).ok();
    namespace.rolled_out("deployment/web");
    namespace.wait_ready(&["client"]);
    namespace.wait_endpoints("web", 3);
    let address = namespace.cluster_ip("web");
    let port = namespace.field("service", "web", ".spec.ports[0].nodePort");
    let http = format!("{address}:80");
    let door = |node: &str| format!("{}:{port}", lab.node_address(node));
    let (near, far) = (door("control-plane"), door("worker-1"));
    let pod = namespace.pod("client");
    let often = ["--interval-ms", "4"];
    let clients: Vec<(&str, Background)> = [
        ("requests from a pod", pod.as_str(), "requests", &http),
        ("requests from a node", "worker-1", "requests", &http),
        ("requests from outside", "outside", "requests", &near),
        ("requests from outside through another node", "outside", "requests", &far),
    ]
    .into_iter()
    .map(|(what, place, kind, to)| {
        (what, Background::start(&lab, place, &[kind, to, often[0], often[1]]))
    })
    .collect();
    for round in 0..2 {
        let before = namespace.endpoints("web");
        namespace.kubectl(&["rollout", "restart", "deployment/web"]).ok();
        namespace.rolled_out("deployment/web");
        eventually(&format!("round {round}: three new pods, and the old ones gone"), || {
            let pods = namespace.kubectl(&["get", "pods", "-l", "app=web", "-o", "name"]).ok();
            let now = namespace.endpoints("web");
            let new = !now.iter().any(|one| before.contains(one));
            check(pods.lines().len() == 3 && new && !now.is_empty(), &(&before, now, pods.stdout))
        });
    }
    for (what, client) in clients {
        client.stop().nothing_lost(&format!("{what} during two rolling restarts"));
    }
}
