//! Promise 45: the records besides A and CNAME, in a lab of both families.

use portolan_tests::manifest::{pod, service, stateful_set};
use portolan_tests::probe::ask;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Options, eventually};

#[test]
fn promise_45_srv_ptr_and_aaaa_records() {
    let options = Options::new("records").with(&["--ip-families", "ipv4,ipv6", "--workers", "1"]);
    let Some(lab) = Lab::start(&options) else { return };
    let namespace = lab.namespace("p45");
    let ports = "ports: [{name: http, port: 80, targetPort: http}, {name: lines, port: 81, targetPort: lines, protocol: UDP}]";
    let both = format!("ipFamilyPolicy: RequireDualStack, selector: {{app: web}}, {ports}");
    let named = format!("clusterIP: None, {}", both.replace("app: web", "app: set"));
    let manifest = pod("one", "web", None, "")
        + &service("web", &both)
        + &service("set", &named)
        + &stateful_set("set", "set", 2);
    namespace.apply(&manifest).ok();
    namespace.wait_ready(&["one"]);
    namespace.rolled_out("statefulset/set");
    let question = |name: &str, kind: &str| ask(&lab, "worker-1", "udp", name, kind);
    let data = |name: &str, kind: &str| -> Vec<String> {
        let mark = format!(" IN {kind} ");
        let answer = question(name, kind);
        let mut all: Vec<String> = answer
            .answer
            .iter()
            .filter_map(|one| one.split_once(&mark))
            .map(|(_, data)| data.trim_end_matches('.').to_owned())
            .collect();
        all.sort();
        all
    };
    let is = |name: &str, kind: &str, expected: Vec<String>| {
        eventually(&format!("{kind} of {name} is {expected:?}"), || {
            let seen = data(name, kind);
            check(seen == expected, &seen)
        });
    };
    // AAAA beside A.
    let addresses = namespace.field("service", "web", ".spec.clusterIPs[*]");
    let mut addresses = addresses.split_whitespace().map(str::to_owned);
    let (four, six) = (addresses.next().expect("IPv4"), addresses.next().expect("IPv6"));
    let web = namespace.dns("web");
    is(&web, "A", vec![four.clone()]);
    is(&web, "AAAA", vec![six.clone()]);
    // SRV for each named port, of both protocols; none for a port that is not there.
    is(&format!("_http._tcp.{web}"), "SRV", vec![format!("0 100 80 {web}")]);
    is(&format!("_lines._udp.{web}"), "SRV", vec![format!("0 100 81 {web}")]);
    assert_eq!(question(&format!("_lines._tcp.{web}"), "SRV").rcode, "NXDOMAIN");
    // PTR for both addresses.
    let back = |address: &str| {
        let short = lab.dig("worker-1", &["+short", "-x", address]).ok();
        short.text().trim_end_matches('.').to_owned()
    };
    assert_eq!((back(&four), back(&six)), (web.clone(), web.clone()));
    // A headless Service: SRV leads to each pod's own name, and the address back to it.
    let set = namespace.dns("set");
    let pods = [format!("set-0.{set}"), format!("set-1.{set}")];
    eventually("an SRV record for each pod", || {
        let seen = data(&format!("_http._tcp.{set}"), "SRV");
        let whole = seen.len() >= 2
            && pods.iter().all(|pod| seen.iter().any(|one| one.ends_with(&format!(" 8080 {pod}"))));
        check(whole, &seen)
    });
    for (index, name) in pods.iter().enumerate() {
        let ips = namespace.field("pod", &format!("set-{index}"), ".status.podIPs[*].ip");
        let ips: Vec<&str> = ips.split_whitespace().collect();
        is(name, "A", vec![ips[0].to_owned()]);
        is(name, "AAAA", vec![ips[1].to_owned()]);
        for ip in ips {
            assert_eq!(back(ip), *name, "{ip}");
        }
    }
}
