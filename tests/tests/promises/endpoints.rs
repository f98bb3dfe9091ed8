//! Promises 9 to 11: Endpoints and EndpointSlices follow the pods, and kubectl shows them.

use portolan_tests::manifest::{deployment, pod, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, eventually};

#[test]
fn promise_09_endpoints_follow_the_pods() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p09");
    namespace
        .apply(&service("blue", "selector: {app: blue}, ports: [{port: 80, targetPort: 8080}]"))
        .ok();
    eventually("an empty Endpoints object", || {
        check(namespace.kubectl(&["get", "endpoints", "blue"]).succeeded(), &"no Endpoints")
    });
    assert!(namespace.endpoints("blue").is_empty());

    // Pods come.
    namespace.apply(&deployment("blue", 2, "")).ok();
    namespace.wait_endpoints("blue", 2);
    namespace.kubectl(&["scale", "deployment", "blue", "--replicas=4"]).ok();
    namespace.wait_endpoints("blue", 4);
    // One stops being ready, and is ready again.
    let names = namespace
        .kubectl(&["get", "pods", "-l", "app=blue", "-o", "jsonpath={.items[*].metadata.name}"])
        .ok();
    let sick = names.text().split_whitespace().next().expect("a pod").to_owned();
    let address = namespace.pod_ip(&sick);
    lab.exec(&namespace.pod(&sick), &["curl", "-sS", "http://127.0.0.1:8080/healthz?fail=1"]).ok();
    let left = namespace.wait_endpoints("blue", 3);
    assert!(!left.contains(&format!("{address}:8080")), "{address} is not ready, yet in {left:?}");
    lab.exec(&namespace.pod(&sick), &["curl", "-sS", "http://127.0.0.1:8080/healthz?fail=0"]).ok();
    namespace.wait_endpoints("blue", 4);
    // One loses the label: the selector no longer takes it, and the Deployment makes another.
    namespace.kubectl(&["label", "pod", &sick, "app=grey", "--overwrite"]).ok();
    eventually("the unlabelled pod is out and a new one in", || {
        let endpoints = namespace.endpoints("blue");
        check(endpoints.len() == 4 && !endpoints.contains(&format!("{address}:8080")), &endpoints)
    });
    // The selector itself changes.
    namespace
        .kubectl(&["patch", "service", "blue", "-p", r#"{"spec":{"selector":{"app":"grey"}}}"#])
        .ok();
    eventually("only the grey pod", || {
        let endpoints = namespace.endpoints("blue");
        check(endpoints == [format!("{address}:8080")], &endpoints)
    });
    namespace
        .kubectl(&["patch", "service", "blue", "-p", r#"{"spec":{"selector":{"app":"blue"}}}"#])
        .ok();
    // Pods go; then the Service goes, and its endpoints with it.
    namespace.kubectl(&["scale", "deployment", "blue", "--replicas=1"]).ok();
    namespace.wait_endpoints("blue", 1);
    namespace.kubectl(&["delete", "service", "blue"]).ok();
    eventually("no Endpoints and no slices", || {
        let left = namespace.kubectl(&["get", "endpoints,endpointslices", "-o", "name"]);
        check(left.text().is_empty(), &left.stdout)
    });
}

#[test]
fn promise_10_kubectl_shows_endpoints() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("p10");
    let pods =
        pod("blue-a", "blue", Some("worker-1"), "") + &pod("blue-b", "blue", Some("worker-2"), "");
    namespace
        .apply(
            &(pods
                + &service("blue", "selector: {app: blue}, ports: [{port: 80, targetPort: 8080}]")),
        )
        .ok();
    namespace.wait_ready(&["blue-a", "blue-b"]);
    let endpoints = namespace.wait_endpoints("blue", 2);

    let wide =
        namespace.kubectl(&["get", "pods", "-l", "app=blue", "-o", "wide", "--no-headers"]).ok();
    let mut addresses: Vec<String> = wide
        .lines()
        .iter()
        .filter_map(|line| line.split_whitespace().nth(5))
        .map(|ip| format!("{ip}:8080"))
        .collect();
    addresses.sort();
    assert_eq!(endpoints, addresses, "the addresses that `get pods -o wide` shows: {wide}");

    let described = namespace.kubectl(&["describe", "service", "blue"]).ok();
    let line = described
        .stdout
        .lines()
        .find(|line| line.starts_with("Endpoints:"))
        .expect("a line Endpoints:");
    let mut shown: Vec<String> = line
        .trim_start_matches("Endpoints:")
        .split(',')
        .map(|endpoint| endpoint.trim().to_owned())
        .collect();
    shown.sort();
    assert_eq!(shown, endpoints, "{described}");

    let table = namespace.kubectl(&["get", "endpoints", "blue"]).ok();
    let lines = table.lines();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["NAME", "ENDPOINTS", "AGE"]);
    let mut cells: Vec<&str> =
        lines[1].split_whitespace().nth(1).expect("endpoints").split(',').collect();
    cells.sort_unstable();
    assert_eq!(cells, endpoints, "{table}");

    let described = namespace.kubectl(&["describe", "endpoints", "blue"]).ok();
    let yaml = namespace.kubectl(&["get", "endpoints", "blue", "-o", "yaml"]).ok();
    for address in &addresses {
        let address = address.trim_end_matches(":8080");
        assert!(described.stdout.contains(address), "{described}");
        assert!(yaml.stdout.contains(&format!("ip: {address}")), "{yaml}");
    }
    assert!(
        yaml.stdout.contains("kind: Endpoints") && yaml.stdout.contains("name: blue-a"),
        "{yaml}"
    );
}

#[test]
fn promise_11_only_the_plural_of_endpoints_exists() {
    let Some(lab) = Lab::shared() else { return };
    let answer = lab.kubectl(&["get", "endpoint"]).refused();
    assert_eq!(
        answer.stderr.trim(),
        r#"error: the server doesn't have a resource type "endpoint""#
    );
    lab.kubectl(&["get", "endpoints"]).ok();
    lab.kubectl(&["get", "ep"]).ok();
}
