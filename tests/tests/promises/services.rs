//! Promises 1 to 8: what a Service is and which types there are.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::OnceLock;

use portolan_tests::manifest::{deployment, pod, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, Outcome, eventually};
use serde_json::{Value, json};

/// `kubectl proxy` on a socket: plain HTTP to the API with kubectl's credentials.
struct ApiProxy {
    child: std::process::Child,
    socket: String,
}

impl ApiProxy {
    fn start(namespace: &Namespace<'_>) -> Self {
        let socket =
            namespace.lab.scratch().join(format!("{}.sock", namespace.name)).display().to_string();
        let child = namespace
            .lab
            .kubectl_command()
            .args(["proxy", "--unix-socket", &socket])
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl starts");
        eventually("kubectl proxy's socket", || {
            check(std::path::Path::new(&socket).exists(), &socket)
        });
        Self { child, socket }
    }

    fn post(&self, path: &str, content_type: &str, body: &str) -> (u16, Value) {
        let mut command = std::process::Command::new("curl");
        command.args([
            "-sS",
            "--unix-socket",
            &self.socket,
            "-X",
            "POST",
            "-w",
            "\n%{http_code}",
            "--data-binary",
            "@-",
        ]);
        command.args([
            "-H",
            &format!("Content-Type: {content_type}"),
            &format!("http://localhost{path}"),
        ]);
        let answer = Outcome::of(&mut command, Some(body), portolan_tests::lab::COMMAND_LIMIT).ok();
        let (body, code) = answer.stdout.rsplit_once('\n').expect("a body and a code");
        (code.parse().expect("a code"), serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_in(address: &str, network: [u8; 2]) -> bool {
    address.parse::<Ipv4Addr>().is_ok_and(|address| address.octets()[..2] == network)
}

/// A lab of one node with other ranges than the usual ones.
fn other_ranges() -> Option<&'static Lab> {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let ranges = [
        "--workers",
        "0",
        "--service-cluster-ip-range",
        "10.111.0.0/16",
        "--service-node-port-range",
        "30000-36000",
    ];
    LAB.get_or_init(|| Lab::start(&Options::new("ranges").with(&ranges))).as_ref()
}

#[test]
fn promise_01_services_are_posted_as_json_or_yaml() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p01");
    let api = ApiProxy::start(&namespace);
    let path = "/api/v1/namespaces/p01/services";

    let body = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "json"},
        "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}});
    let (code, created) = api.post(path, "application/json", &body.to_string());
    assert_eq!(code, 201, "{created}");
    assert_eq!(
        created["spec"]["ports"][0]["targetPort"], 80,
        "targetPort defaults to port: {created}"
    );
    assert_eq!(created["spec"]["ports"][0]["protocol"], "TCP");
    let yaml = "kind: Service\napiVersion: v1\nmetadata:\n  name: yaml\nspec:\n  ports:\n  - port: 81\n    targetPort: web\n";
    let (code, created) = api.post(path, "application/yaml", yaml);
    assert_eq!(code, 201, "no selector and no type are needed: {created}");
    assert_eq!(created["spec"]["ports"][0]["targetPort"], "web");
    namespace.kubectl(&["get", "service", "json", "yaml"]).ok();

    // Both are required: ports by the API, kind by whoever must know what it reads.
    let (code, status) = api.post(
        path,
        "application/json",
        r#"{"kind":"Service","metadata":{"name":"none"},"spec":{}}"#,
    );
    assert_eq!(code, 422, "{status}");
    assert_eq!(status["reason"], "Invalid");
    assert!(
        status["message"].as_str().is_some_and(|text| text.contains("spec.ports: Required value")),
        "{status}"
    );
    assert_eq!(status["details"]["causes"][0]["field"], "spec.ports", "{status}");
    let (code, status) = api.post(
        path,
        "application/json",
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"no"}}"#,
    );
    assert_eq!(code, 400, "a Pod is no Service: {status}");
    namespace
        .create_from("apiVersion: v1\nmetadata: {name: kindless}\nspec: {ports: [{port: 80}]}\n")
        .refused();
    namespace
        .create_from(&service("portless", "selector: {app: x}"))
        .refused()
        .says(&["spec.ports: Required value"]);

    // A port's name as the target is looked up in each pod.
    namespace
        .apply(
            &(pod("one", "named", None, "")
                + &service(
                    "named",
                    "selector: {app: named}, ports: [{port: 80, targetPort: tcp}]",
                )),
        )
        .ok();
    namespace.wait_ready(&["one"]);
    let endpoints = namespace.wait_endpoints("named", 1);
    assert_eq!(endpoints, [format!("{}:8082", namespace.pod_ip("one"))]);
}

#[test]
fn promise_02_cluster_ips_come_from_the_range() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p02");
    namespace.apply(&service("any", "ports: [{port: 80}]")).ok();
    assert_eq!(namespace.field("service", "any", ".spec.type"), "ClusterIP", "the default type");
    let address = namespace.cluster_ip("any");
    assert!(is_in(&address, [10, 96]), "{address}");

    let asked = |name: &str, address: &str| {
        service(name, &format!("clusterIP: {address}, ports: [{{port: 80}}]"))
    };
    namespace.create_from(&asked("asked", "10.96.77.77")).ok();
    assert_eq!(namespace.cluster_ip("asked"), "10.96.77.77");
    let taken = namespace.create_from(&asked("taken", "10.96.77.77")).refused();
    taken.says(&["spec.clusterIPs", "10.96.77.77", "provided IP is already allocated"]);
    let foreign = namespace.create_from(&asked("foreign", "192.0.2.1")).refused();
    foreign.says(&["192.0.2.1", "does not match the current range"]);
    namespace.create_from(&asked("nonsense", "10.96.1")).refused().says(&["10.96.1"]);
    // Free again once its Service is gone.
    namespace.kubectl(&["delete", "service", "asked"]).ok();
    namespace.create_from(&asked("taken", "10.96.77.77")).ok();

    let Some(other) = other_ranges() else { return };
    let namespace = other.namespace("p02");
    namespace.apply(&service("any", "ports: [{port: 80}]")).ok();
    let address = namespace.cluster_ip("any");
    assert!(is_in(&address, [10, 111]), "{address} with --service-cluster-ip-range 10.111.0.0/16");
    namespace
        .create_from(&asked("usual", "10.96.5.5"))
        .refused()
        .says(&["10.96.5.5", "does not match the current range"]);
}

#[test]
fn promise_03_node_ports_come_from_the_range() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p03");
    let asked = |name: &str, port: u32| {
        service(name, &format!("type: NodePort, ports: [{{port: 80, nodePort: {port}}}]"))
    };
    namespace.apply(&service("any", "type: NodePort, ports: [{port: 80}]")).ok();
    assert!(is_in(&namespace.cluster_ip("any"), [10, 96]), "a NodePort has a ClusterIP too");
    let port: u32 =
        namespace.field("service", "any", ".spec.ports[0].nodePort").parse().expect("a port");
    assert!((30000..=32767).contains(&port), "{port}");

    namespace.create_from(&asked("asked", 31234)).ok();
    assert_eq!(namespace.field("service", "asked", ".spec.ports[0].nodePort"), "31234");
    namespace
        .create_from(&asked("taken", 31234))
        .refused()
        .says(&["31234", "provided port is already allocated"]);
    let outside = namespace.create_from(&asked("outside", 35001)).refused();
    outside.says(&["35001", "provided port is not in the valid range", "30000-32767"]);
    namespace.kubectl(&["delete", "service", "asked"]).ok();
    namespace.create_from(&asked("taken", 31234)).ok();

    let Some(other) = other_ranges() else { return };
    let namespace = other.namespace("p03");
    let backend = pod("one", "far", None, "");
    let spec = "type: NodePort, selector: {app: far}, ports: [{port: 80, targetPort: http, nodePort: 35001}]";
    namespace.apply(&(backend + &service("far", spec))).ok();
    namespace.wait_ready(&["one"]);
    let url = format!("http://{}:35001/hostname", other.node_address("control-plane"));
    eventually("an answer on port 35001", || {
        let answer = other.curl("outside", &url);
        check(answer.text() == "one", &answer.to_string())
    });
}

#[test]
fn promise_04_load_balancers_wait_for_somebody() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p04");
    let spec = "type: LoadBalancer, selector: {app: lb}, ports: [{port: 80, targetPort: http}]";
    namespace.apply(&(pod("one", "lb", None, "") + &service("balanced", spec))).ok();
    assert!(is_in(&namespace.cluster_ip("balanced"), [10, 96]));
    let port: u32 = namespace
        .field("service", "balanced", ".spec.ports[0].nodePort")
        .parse()
        .expect("a node port");
    assert!((30000..=32767).contains(&port));
    let external = |namespace: &Namespace<'_>| {
        let table = namespace.kubectl(&["get", "service", "balanced", "--no-headers"]).ok();
        table.text().split_whitespace().nth(3).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(external(&namespace), "<pending>");

    // As a controller writes it: once more where the conditions were written in between.
    let write = |balancer: Value| {
        eventually("the status is written", || {
            let mut object = namespace.get("service", "balanced");
            object["status"]["loadBalancer"] = balancer.clone();
            let path = "/api/v1/namespaces/p04/services/balanced/status";
            let words = ["replace", "--raw", path, "-f", "-"];
            let written = lab.kubectl_with(&words, &object.to_string());
            let conflict = written.stderr.contains("the object has been modified");
            assert!(written.succeeded() || conflict, "{written}");
            check(written.succeeded(), &written.stderr)
        });
    };
    write(json!({"ingress": [{"ip": "203.0.113.40"}]}));
    assert_eq!(external(&namespace), "203.0.113.40");
    // And what comes to a node for that address is served.
    namespace.wait_ready(&["one"]);
    namespace.wait_endpoints("balanced", 1);
    eventually("an answer at the load balancer's address", || {
        let answer = lab.curl("worker-1", "http://203.0.113.40/hostname");
        check(answer.text() == "one", &answer.to_string())
    });
    // As a load balancer would send it: routed to a node that has not even a pod of it.
    let node = lab.node_address("control-plane");
    lab.exec("outside", &["ip", "route", "replace", "203.0.113.40/32", "via", &node]).ok();
    eventually("an answer through the load balancer's address", || {
        let answer = lab.curl("outside", "http://203.0.113.40/hostname");
        check(answer.text() == "one", &answer.to_string())
    });
    lab.exec("outside", &["ip", "route", "del", "203.0.113.40/32"]).ok();
    // Whoever wrote it takes it back.
    write(json!({}));
    assert_eq!(external(&namespace), "<pending>");
}

#[test]
fn promise_05_external_names_are_only_names() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p05");
    namespace
        .kubectl(&["create", "service", "externalname", "k8s", "--external-name", "kubernetes.io"])
        .ok();
    let object = namespace.get("service", "k8s");
    assert_eq!(object["spec"]["type"], "ExternalName");
    assert_eq!(object["spec"]["externalName"], "kubernetes.io");
    assert!(
        object["spec"]["clusterIP"].as_str().unwrap_or_default().is_empty(),
        "no address: {object}"
    );
    let table = namespace.kubectl(&["get", "service", "k8s", "--no-headers"]).ok();
    let cells: Vec<&str> = table.text().split_whitespace().collect();
    assert_eq!(cells[..5], ["k8s", "ExternalName", "<none>", "kubernetes.io", "<none>"], "{table}");

    let answer =
        lab.dig("worker-1", &["+norecurse", "+short", "CNAME", &namespace.dns("k8s")]).ok();
    assert_eq!(answer.text(), "kubernetes.io.");
    // Another Service's endpoints come; this one's do not.
    namespace
        .apply(
            &(pod("one", "other", None, "")
                + &service("other", "selector: {app: other}, ports: [{port: 80}]")),
        )
        .ok();
    namespace.wait_ready(&["one"]);
    namespace.wait_endpoints("other", 1);
    assert!(namespace.endpoints("k8s").is_empty() && namespace.slice_addresses("k8s").is_empty());
}

#[test]
fn promise_06_headless_services_have_no_address() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p06");
    namespace.apply(&deployment("many", 3, "")).ok();
    namespace.rolled_out("deployment/many");
    namespace.kubectl(&["expose", "deployment", "many", "--port=8080", "--cluster-ip=None"]).ok();
    assert_eq!(namespace.cluster_ip("many"), "None");
    let pods: Vec<String> = namespace
        .wait_endpoints("many", 3)
        .iter()
        .map(|endpoint| endpoint.trim_end_matches(":8080").to_owned())
        .collect();
    eventually("an A record for each pod", || {
        let answer = lab.dig("worker-1", &["+short", &namespace.dns("many")]);
        let mut addresses: Vec<String> = answer.lines().into_iter().map(str::to_owned).collect();
        addresses.sort();
        check(addresses == pods, &(addresses, &pods))
    });
    // Nothing in any proxy speaks of it: its only addresses are the pods'.
    let rules = lab.exec("worker-1", &["nft", "list", "ruleset"]).ok();
    assert!(!rules.stdout.contains("p06/many"), "the proxy has rules for a headless Service");
}

#[test]
fn promise_07_external_ips_lead_to_the_service() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p07");
    // The port is the Service's: expose without --target-port means the pods listen on 80.
    let manifest = deployment("my-little-deploy", 2, "")
        .replace("--http=8080", "--http=80")
        .replace("8080", "80");
    namespace.apply(&manifest).ok();
    namespace
        .kubectl(&["expose", "deploy", "my-little-deploy", "--port=80", "--external-ip=1.2.3.4"])
        .ok();
    namespace.rolled_out("deployment/my-little-deploy");
    namespace.wait_endpoints("my-little-deploy", 2);
    let table = namespace.kubectl(&["get", "service", "my-little-deploy", "--no-headers"]).ok();
    assert_eq!(table.text().split_whitespace().nth(3), Some("1.2.3.4"), "{table}");

    // From nodes and pods at once, from outside once a route leads to a node.
    let node = lab.node_address("worker-2");
    lab.exec("outside", &["ip", "route", "replace", "1.2.3.4/32", "via", &node]).ok();
    let pods = namespace.kubectl(&["get", "pods", "-o", "name"]).ok();
    let first = pods.lines()[0].trim_start_matches("pod/").to_owned();
    for place in [
        "control-plane".to_owned(),
        "worker-1".to_owned(),
        "outside".to_owned(),
        namespace.pod(&first),
    ] {
        eventually(&format!("an answer from 1.2.3.4:80 on {place}"), || {
            let answer = lab.curl(&place, "http://1.2.3.4/hostname");
            check(answer.text().starts_with("my-little-deploy-"), &answer.to_string())
        });
    }
    lab.exec("outside", &["ip", "route", "del", "1.2.3.4/32"]).ok();

    let both = "type: LoadBalancer, externalIPs: [1.2.3.5], selector: {app: my-little-deploy}, ports: [{port: 80}]";
    namespace.apply(&service("both", both)).ok();
    for place in ["control-plane", &namespace.pod(&first)] {
        eventually(&format!("an answer from 1.2.3.5:80 on {place}"), || {
            let answer = lab.curl(place, "http://1.2.3.5/hostname");
            check(answer.text().starts_with("my-little-deploy-"), &answer.to_string())
        });
    }
    let table = namespace.kubectl(&["get", "service", "both", "--no-headers"]).ok();
    let external = table.text().split_whitespace().nth(3).unwrap_or_default().to_owned();
    assert!(external.split(',').any(|address| address == "1.2.3.5"), "{table}");
}

#[test]
fn promise_08_without_a_selector_the_users_endpoints_are_used() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p08");
    let backend =
        pod("one", "hidden", Some("worker-1"), "") + &pod("two", "hidden", Some("worker-2"), "");
    let bare = service("bare", "ports: [{port: 80, targetPort: 8080}]")
        + &service("sliced", "ports: [{name: web, port: 80, targetPort: 8080}]");
    namespace.apply(&(backend + &bare)).ok();
    namespace.wait_ready(&["one", "two"]);
    let (one, two) = (namespace.pod_ip("one"), namespace.pod_ip("two"));
    assert!(
        namespace.endpoints("bare").is_empty() && namespace.slice_addresses("bare").is_empty(),
        "none of its own"
    );

    // As an Endpoints object (mirrored into a slice) and as an EndpointSlice.
    let endpoints = format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: bare}}\nsubsets: [{{addresses: [{{ip: {one}}}], ports: [{{port: 8080}}]}}]\n"
    );
    let slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: sliced-mine, labels: {{kubernetes.io/service-name: sliced}}}}\n\
         addressType: IPv4\nports: [{{name: web, port: 8080, protocol: TCP}}]\nendpoints: [{{addresses: [{two}], conditions: {{ready: true}}}}]\n"
    );
    namespace.apply(&format!("{endpoints}---\n{slice}")).ok();
    for (name, pod) in [("bare", "one"), ("sliced", "two")] {
        let url = format!("http://{}/hostname", namespace.cluster_ip(name));
        eventually(&format!("{name} answers from {pod}"), || {
            let answer = lab.curl("control-plane", &url);
            check(answer.text() == pod, &answer.to_string())
        });
    }
    // The user's objects stay the user's.
    assert_eq!(namespace.endpoints("bare"), [format!("{one}:8080")]);
    assert_eq!(namespace.slice_addresses("sliced"), [two]);
}
