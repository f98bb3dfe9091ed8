//! Promises 26 and 27: the modes that the notes describe, in labs of their own.

use std::collections::BTreeSet;

use portolan_tests::manifest::{pod, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};

const PORTS: &str = "ports: [{name: http, port: 80, targetPort: http}]";

/// Pods `one` on worker-1 and `two` on worker-2 behind the Service `pair`, on a node port; returns
/// the ClusterIP.
fn pair(namespace: &Namespace<'_>) -> String {
    let pods = pod("one", "pair", Some("worker-1"), "") + &pod("two", "pair", Some("worker-2"), "");
    let spec = format!("type: NodePort, selector: {{app: pair}}, {PORTS}");
    namespace.apply(&(pods + &service("pair", &spec))).ok();
    namespace.wait_ready(&["one", "two"]);
    namespace.wait_endpoints("pair", 2);
    namespace.cluster_ip("pair")
}

fn mode_is(lab: &Lab, mode: &str) {
    for node in lab.nodes() {
        let told = lab.curl(node, "http://127.0.0.1:10249/proxyMode").ok();
        assert_eq!(told.text(), mode, "{node}");
    }
}

/// Waits until both pods have answered there.
fn both(lab: &Lab, place: &str, url: &str) {
    eventually(&format!("answers of both pods from {url} at {place}"), || {
        let answers: BTreeSet<String> = lab.answers(place, url, 20).into_iter().collect();
        check(answers.len() == 2, &answers)
    });
}

#[test]
fn promise_26_iptables_is_laid_out_as_the_notes_show() {
    let options = Options::new("ipt").with(&["--proxy-mode", "iptables"]);
    let Some(lab) = Lab::start(&options) else { return };
    mode_is(&lab, "iptables");
    let namespace = lab.namespace("p26");
    let address = pair(&namespace);
    let name = namespace.name.clone();
    let saved = || lab.exec("worker-1", &["iptables-save", "-t", "nat"]).ok().text().to_owned();
    let text = eventually("rules for both pods", || {
        let text = saved();
        check(text.matches(&format!("{name}/pair:http -> ")).count() == 2, &text)?;
        Ok(text)
    });
    let line = |parts: &[&str]| {
        let found = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        found.unwrap_or_else(|| panic!("no line with {parts:?} in\n{text}"))
    };
    let chain = |line: &str| line.rsplit_once("-j ").expect("a jump").1.to_owned();
    // KUBE-SERVICES -> KUBE-SVC-…
    let cluster = line(&[
        "-A KUBE-SERVICES ",
        &format!("-d {address}/32"),
        &format!("--comment \"{name}/pair:http cluster IP\""),
        "--dport 80",
    ]);
    let service = chain(cluster);
    assert!(
        service.starts_with("KUBE-SVC-") && service.len() == "KUBE-SVC-".len() + 16,
        "{service}"
    );
    // KUBE-SVC-… -> KUBE-SEP-…: one half, then the rest.
    let endpoints: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(&format!("-A {service} ")) && line.contains(" -> "))
        .collect();
    assert_eq!(endpoints.len(), 2, "{text}");
    assert!(endpoints[0].contains("-m statistic --mode random --probability 0.5000000"), "{text}");
    assert!(!endpoints[1].contains("statistic"), "{text}");
    let ips = [namespace.pod_ip("one"), namespace.pod_ip("two")];
    for endpoint in &endpoints {
        let separate = chain(endpoint);
        assert!(separate.starts_with("KUBE-SEP-"), "{endpoint}");
        let translate = line(&[&format!("-A {separate} "), "-j DNAT --to-destination "]);
        let to = translate.rsplit_once(' ').expect("a destination").1;
        assert!(ips.iter().any(|ip| to == format!("{ip}:8080")), "{translate}");
        assert!(endpoint.contains(&format!("-> {to}\"")), "{endpoint}");
    }
    assert!(text.contains("-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"), "{text}");
    line(&[
        "-A KUBE-SERVICES ",
        "NOTE: this must be the last rule",
        "--dst-type LOCAL",
        "-j KUBE-NODEPORTS",
    ]);
    // And it works.
    let node_port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    both(&lab, "worker-1", &format!("http://{address}/hostname"));
    both(&lab, &namespace.pod("one"), &format!("http://{address}/hostname"));
    let door = format!("http://{}:{node_port}/hostname", lab.node_address("control-plane"));
    both(&lab, "outside", &door);
    both(&lab, "worker-2", &format!("http://127.0.0.1:{node_port}/hostname"));
    // Nobody left is refused at once, and the filter table says why.
    namespace.kubectl(&["delete", "pod", "one", "two"]).ok();
    namespace.wait_endpoints("pair", 0);
    eventually("a refusal", || {
        let filter = lab.exec("worker-1", &["iptables-save", "-t", "filter"]).ok();
        check(
            filter.text().contains(&format!("\"{name}/pair:http has no endpoints\"")),
            &filter.text(),
        )
    });
    let refused = lab.curl("worker-1", &format!("http://{address}/"));
    // curl's word for a connection that was refused; a silent one ends with 28.
    assert_eq!(refused.status, Some(7), "{refused}");
}

#[test]
fn promise_27_userspace_relays_and_tries_another_pod() {
    let options = Options::new("relay").with(&["--proxy-mode", "userspace"]);
    let Some(lab) = Lab::start(&options) else { return };
    mode_is(&lab, "userspace");
    let namespace = lab.namespace("p27");
    let address = pair(&namespace);
    let url = format!("http://{address}/hostname");
    for place in ["control-plane", "worker-1", &namespace.pod("one")] {
        both(&lab, place, &url);
    }
    let node_port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    for node in lab.nodes() {
        let door = format!("http://{}:{node_port}/hostname", lab.node_address(node));
        both(&lab, "outside", &door);
    }
    // An endpoint that nobody answers at: every connection still gets through.
    let dead = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: pair-dead, labels: {kubernetes.io/service-name: pair}}\naddressType: IPv4\nports: [{name: http, port: 8080, protocol: TCP}]\nendpoints: [{addresses: [10.244.77.77], conditions: {ready: true}}]\n";
    namespace.apply(dead).ok();
    let answers = lab.answers("worker-1", &url, 20);
    assert_eq!(answers.len(), 20, "{answers:?}");
    assert!(answers.iter().all(|name| name == "one" || name == "two"), "{answers:?}");
}

/// The mode's own stories run in a virtual machine (`./x vm`), on a kernel that has IPVS. Here it
/// must work or say at once why it cannot.
#[test]
fn promise_27_ipvs_works_or_says_at_once_what_is_missing() {
    let options = Options::new("ipvs").with(&["--proxy-mode", "ipvs"]);
    let Some(up) = Lab::attempt(&options) else { return };
    let lab = match up {
        Ok(lab) => lab,
        Err(refusal) => {
            let missing = ["no IPVS", "CONFIG_IP_VS", "ip_vs", "nftables"];
            refusal.refused().says(&missing);
            return;
        }
    };
    mode_is(&lab, "ipvs");
    let namespace = lab.namespace("p27");
    let address = pair(&namespace);
    for place in ["control-plane", "worker-1", &namespace.pod("one")] {
        both(&lab, place, &format!("http://{address}/hostname"));
    }
    let node_port = namespace.field("service", "pair", ".spec.ports[0].nodePort");
    for node in lab.nodes() {
        let door = format!("http://{}:{node_port}/hostname", lab.node_address(node));
        both(&lab, "outside", &door);
    }
}
