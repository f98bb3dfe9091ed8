//! A node's proxy goes over to another mode while connections are open.

use portolan_tests::probe::Background;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Options, eventually};

use crate::restarts::steady;

#[test]
fn a_proxy_goes_over_to_another_mode_and_stays_in_it() {
    let options = Options::new("over").with(&["--workers", "1", "--proxy-mode", "nftables"]);
    let Some(lab) = Lab::start(&options) else { return };
    let namespace = steady(&lab, "over");
    let to = format!("{}:82", namespace.cluster_ip("steady"));
    let place = namespace.pod("client");
    let serves_as = |mode: &str| {
        eventually(&format!("worker-1 serves as {mode}"), || {
            let text = lab.portolan(&["lab", "status"]).ok();
            let all = match mode {
                "nftables" => "Proxy mode:  nftables\n".to_owned(),
                _ => format!("Proxy mode:  nftables, {mode} on worker-1\n"),
            };
            check(text.stdout.contains(&all), &text.stdout)
        });
    };
    let mut connections = Vec::new();
    for mode in ["iptables", "ebpf", "iptables", "nftables", "ebpf", "nftables"] {
        connections.push((mode, Background::start(&lab, &place, &["hold", &to])));
        let told = lab.portolan(&["lab", "restart", "--proxy-mode", mode, "proxy@worker-1"]).ok();
        assert!(told.text().starts_with("proxy@worker-1 runs again"), "{told}");
        serves_as(mode);
        // Nobody says it again.
        lab.portolan(&["lab", "restart", "--kill", "proxy"]).ok();
        serves_as(mode);
    }
    for (mode, connection) in connections {
        connection.stop().nothing_lost(&format!("a connection from before mode {mode}"));
    }
}
