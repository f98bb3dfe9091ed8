//! Ranges and addresses as objects: a full range, a second one, and how one goes.

use portolan_tests::manifest::{pod, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Options, eventually};

const RANGE: &str = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: more}\nspec: {cidrs: [10.113.0.0/24]}\n";

#[test]
fn a_second_range_is_used_and_stays_for_its_addresses() {
    let ranges = ["--workers", "0", "--service-cluster-ip-range", "10.112.0.0/28"];
    let Some(lab) = Lab::start(&Options::new("cidrs").with(&ranges)) else { return };
    let namespace = lab.namespace("cidrs");
    let kubectl = |arguments: &[&str]| namespace.kubectl(arguments);
    let shows = |arguments: &[&str], parts: &[&str]| {
        let outcome = kubectl(arguments).ok();
        for part in parts {
            assert!(outcome.stdout.contains(part), "{part:?} is not shown: {outcome}");
        }
    };
    shows(&["get", "servicecidrs"], &["NAME", "CIDRS", "AGE", "10.112.0.0/28"]);
    let parents = ["services/default/kubernetes", "services/kube-system/kube-dns"];
    shows(&["get", "ipaddresses"], &["NAME", "PARENTREF", "10.112.0.1 ", parents[0], parents[1]]);

    // Fourteen addresses, of which the cluster itself has some.
    let plain = "ports: [{port: 80}]";
    let refused = (0..15).find_map(|i| {
        let made = namespace.create_from(&service(&format!("s{i}"), plain));
        (!made.succeeded()).then_some(made)
    });
    refused.expect("the range is full").says(&["failed to allocate a serviceIP", "range is full"]);

    namespace.create_from(RANGE).ok();
    kubectl(&["wait", "--for=condition=Ready", "servicecidr/more", "--timeout=60s"]).ok();
    let web = pod("one", "web", None, "")
        + &service("web", "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]");
    namespace.apply(&web).ok();
    let address = namespace.cluster_ip("web");
    assert!(address.starts_with("10.113.0."), "{address}");
    shows(&["get", "ipaddress", &address], &["services/cidrs/web"]);
    namespace.wait_ready(&["one"]);
    namespace.wait_endpoints("web", 1);
    eventually("an answer from the second range", || {
        let answer = lab.curl("control-plane", &format!("http://{address}/hostname"));
        check(answer.succeeded() && answer.stdout.trim() == "one", &answer)
    });

    kubectl(&["delete", "servicecidr", "more", "--wait=false"]).ok();
    let reason = r#"{.status.conditions[?(@.type=="Ready")].reason}"#;
    let reason = format!("jsonpath={reason}");
    eventually("the range to wait for its address", || {
        let outcome = kubectl(&["get", "servicecidr", "more", "-o", &reason]);
        check(outcome.stdout.trim() == "Terminating", &outcome)
    });
    let late = service("late", "clusterIP: 10.113.0.77, ports: [{port: 80}]");
    namespace.create_from(&late).refused().says(&["does not match the current range"]);
    kubectl(&["delete", "service", "web"]).ok();
    kubectl(&["wait", "--for=delete", "servicecidr/more", "--timeout=120s"]).ok();

    // What somebody deletes comes back, and the Service says so.
    kubectl(&["delete", "ipaddress", &namespace.cluster_ip("s0")]).ok();
    eventually("the event", || {
        let outcome = kubectl(&["describe", "service", "s0"]);
        check(outcome.text().contains("ClusterIPNotAllocated"), &outcome)
    });
    kubectl(&["get", "ipaddress", &namespace.cluster_ip("s0")]).ok();
}
