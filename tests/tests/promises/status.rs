//! The status of Services tells the truth: conditions, `kubectl wait` and `kubectl describe`.

use portolan_tests::manifest::{deployment, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, eventually};

/// `STATUS REASON` of a condition; empty if there is none.
fn condition(namespace: &Namespace<'_>, service: &str, kind: &str) -> String {
    let of = format!(".status.conditions[?(@.type==\"{kind}\")]");
    let path = |field: &str| namespace.field("service", service, &format!("{of}.{field}"));
    format!("{} {}", path("status"), path("reason"))
}

fn becomes(namespace: &Namespace<'_>, service: &str, kind: &str, expected: &str) {
    eventually(&format!("{kind} of {service} is {expected}"), || {
        let found = condition(namespace, service, kind);
        check(found == expected, &found)
    });
}

#[test]
fn conditions_follow_pods_and_nodes() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("status");
    let ports = "selector: {app: blue}, ports: [{port: 80, targetPort: 8080}]";
    namespace.apply(&service("blue", ports)).ok();
    becomes(&namespace, "blue", "EndpointsReady", "False NoPodsSelected");
    // The nodes say that they have it although there is nothing behind it.
    namespace
        .kubectl(&["wait", "--for=condition=Programmed", "--timeout=60s", "service/blue"])
        .ok();
    eventually("kubectl describe tells why nothing answers", || {
        let described = namespace.kubectl(&["describe", "service", "blue"]).ok().stdout;
        let told = described.lines().any(|line| {
            line.contains("NoPodsSelected") && line.contains("app=blue matches no pod")
        });
        check(told, &described)
    });

    namespace.apply(&deployment("blue", 2, "")).ok();
    let ready = "--for=condition=EndpointsReady";
    namespace.kubectl(&["wait", ready, "--timeout=60s", "service/blue"]).ok();
    becomes(&namespace, "blue", "Programmed", "True Programmed");
    namespace.kubectl(&["scale", "deployment", "blue", "--replicas=0"]).ok();
    namespace
        .kubectl(&["wait", "--for=condition=EndpointsReady=false", "--timeout=60s", "service/blue"])
        .ok();

    // Nobody serves load balancers in a lab.
    let balancer =
        "type: LoadBalancer, selector: {app: blue}, ports: [{port: 80, targetPort: 8080}]";
    namespace.apply(&service("lb", balancer)).ok();
    becomes(&namespace, "lb", "LoadBalancerReady", "False NoController");
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.44"}]}}}"#;
    let patch = ["patch", "service", "lb", "--subresource=status", "--type=merge", "-p", status];
    namespace.kubectl(&patch).ok();
    becomes(&namespace, "lb", "LoadBalancerReady", "True AddressAssigned");
}
