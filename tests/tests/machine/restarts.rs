//! Parts die and come back; connections, requests and questions do not notice.

use std::collections::BTreeSet;

use portolan_tests::manifest::{deployment, pod, service};
use portolan_tests::probe::Background;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};

/// Clients that run while something dies, each of another kind.
pub(crate) struct Clients {
    running: Vec<(String, Background)>,
}

impl Clients {
    pub(crate) fn start(namespace: &Namespace<'_>) -> Self {
        let lab = namespace.lab;
        let address = namespace.cluster_ip("steady");
        let node_port = namespace.field("service", "steady", ".spec.ports[0].nodePort");
        let (http, lines, tcp) =
            (format!("{address}:80"), format!("{address}:81"), format!("{address}:82"));
        let door = format!("{}:{node_port}", lab.node_address("worker-2"));
        let client = namespace.pod("client");
        let name = namespace.dns("steady");
        let kinds: [(&str, &str, Vec<&str>); 6] = [
            ("a connection from a node", "control-plane", vec!["hold", &tcp]),
            ("a connection from a pod", &client, vec!["hold", &tcp]),
            ("requests from a pod", &client, vec!["requests", &http]),
            ("requests from outside to a node port", "outside", vec!["requests", &door]),
            ("a UDP flow from a node", "worker-1", vec!["udp", &lines, "--one-socket"]),
            // As resolvers do, each question is asked up to three times.
            (
                "questions from a pod",
                &client,
                vec![
                    "dns",
                    "10.96.0.10:53",
                    &name,
                    "--repeat",
                    "--attempts",
                    "3",
                    "--timeout-ms",
                    "1500",
                ],
            ),
        ];
        let running = kinds
            .into_iter()
            .map(|(what, place, words)| (what.to_owned(), Background::start(lab, place, &words)));
        Self { running: running.collect() }
    }

    #[track_caller]
    pub(crate) fn nothing_lost(self, during: &str) {
        for (what, client) in self.running {
            client.stop().nothing_lost(&format!("{what} while {during}"));
        }
    }
}

pub(crate) fn steady<'lab>(lab: &'lab Lab, name: &str) -> Namespace<'lab> {
    let namespace = lab.namespace(name);
    let ports = "ports: [{name: http, port: 80, targetPort: http}, {name: lines, port: 81, targetPort: lines, protocol: UDP}, {name: tcp, port: 82, targetPort: tcp}]";
    let service = service("steady", &format!("type: NodePort, selector: {{app: steady}}, {ports}"));
    namespace
        .apply(
            &(pod("client", "client", Some("worker-1"), "")
                + &service
                + &deployment("steady", 3, "")),
        )
        .ok();
    namespace.rolled_out("deployment/steady");
    namespace.wait_ready(&["client"]);
    namespace.wait_endpoints("steady", 3);
    namespace
}

/// Kills `component` everywhere, waits until it is back, and shows that what happens next is heard.
fn killed(component: &str) {
    killed_by(component, |lab| {
        lab.portolan(&["lab", "restart", "--kill", component]).ok();
    });
}

fn killed_by(component: &str, kill: impl Fn(&Lab)) {
    let Some(lab) = Lab::start(&Options::new("kill")) else { return };
    let namespace = steady(&lab, "restarts");
    let uids =
        namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]).ok().stdout;
    let clients = Clients::start(&namespace);
    for round in 0..2 {
        kill(&lab);
        eventually("the API answers", || {
            let ready = lab.kubectl(&["get", "--raw", "/readyz"]);
            check(ready.succeeded(), &ready.stderr)
        });
        // A change that needs every part: a new Service and a new pod, asked for by name.
        let name = format!("new-{round}");
        let spec = format!("selector: {{app: {name}}}, ports: [{{port: 80, targetPort: http}}]");
        namespace.apply(&(pod(&name, &name, None, "") + &service(&name, &spec))).ok();
        namespace.wait_ready(&[&name]);
        for place in lab.nodes().map(str::to_owned).into_iter().chain([namespace.pod("client")]) {
            let host =
                if place.starts_with("pod/") { name.clone() } else { namespace.cluster_ip(&name) };
            eventually(&format!("{name} answers on {place}"), || {
                let answer = lab.curl(&place, &format!("http://{host}/hostname"));
                check(answer.text() == name, &answer.to_string())
            });
        }
    }
    clients.nothing_lost(&format!("{component} was killed twice"));
    let after =
        namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]).ok().stdout;
    for uid in uids.split_whitespace() {
        assert!(after.contains(uid), "pod {uid} did not survive");
    }
    let restarts = namespace
        .kubectl(&[
            "get",
            "pods",
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        ])
        .ok();
    assert!(
        restarts.text().split_whitespace().all(|count| count == "0"),
        "containers were started again: {restarts}"
    );
}

#[test]
fn killing_the_proxy_loses_nothing() {
    killed("proxy");
}

#[test]
fn killing_the_apiserver_loses_nothing() {
    killed("apiserver");
}

#[test]
fn killing_the_controllers_loses_nothing() {
    killed("controllers");
}

#[test]
fn killing_the_node_agents_loses_nothing() {
    killed("node");
}

#[test]
fn killing_the_dns_loses_nothing() {
    // One pod after the other, each while the other serves; both at once can only be asked in vain.
    killed_by("dns", |lab| {
        for (pod, node) in dns_pods(lab) {
            let container = || {
                let path = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
                lab.kubectl(&["get", "pod", "-n", "kube-system", &pod, "-o", path])
                    .ok()
                    .text()
                    .to_owned()
            };
            let count =
                |text: &str| text.split(' ').next().and_then(|count| count.parse::<u32>().ok());
            let before = count(&container());
            lab.portolan(&["lab", "restart", "--kill", &format!("dns@{node}")]).ok();
            eventually(&format!("{pod} was started again and is ready"), || {
                let now = container();
                check(count(&now) > before && now.ends_with("true"), &now)
            });
        }
    });
}

/// The DNS pods and their nodes.
fn dns_pods(lab: &Lab) -> Vec<(String, String)> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
    let listed = lab
        .kubectl(&["get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", path])
        .ok();
    let pods: Vec<_> = listed
        .lines()
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(pod, node)| (pod.into(), node.into()))
        .collect();
    let nodes: BTreeSet<&str> =
        pods.iter().map(|(_, node): &(String, String)| node.as_str()).collect();
    assert!(pods.len() >= 2, "one DNS pod cannot stand in for another: {listed}");
    assert_eq!(nodes.len(), pods.len(), "one node's death must not take all DNS pods: {listed}");
    pods
}

#[test]
fn dns_comes_back_after_all_of_it_was_killed() {
    let Some(lab) = Lab::start(&Options::new("alldns").with(&["--workers", "1"])) else { return };
    let killed = lab.portolan(&["lab", "restart", "--kill", "dns"]).ok();
    eventually("the DNS answers again", || {
        let answer = lab.dig("worker-1", &["+short", "kubernetes.default.svc.cluster.local"]);
        check(answer.text() == "10.96.0.1", &(&killed.stdout, &answer.stdout))
    });
}
