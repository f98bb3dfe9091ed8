//! The lab's nodes with kube-proxy in place of our proxy: the scenarios are asked of both, so that
//! they say what Kubernetes does and not what we believe.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use portolan_tests::wait::check;
use portolan_tests::{Lab, eventually};

use crate::ground::Stack;

/// Ours are taken: what is stopped keeps its ports.
const METRICS: &str = "127.0.0.1:20249";
const HEALTH: &str = "0.0.0.0:20256";

/// `PORTOLAN_TESTS_KUBE_PROXY`, a program that was built elsewhere; says so where it is not given.
pub(crate) fn program() -> Option<PathBuf> {
    let program = std::env::var_os("PORTOLAN_TESTS_KUBE_PROXY").map(PathBuf::from);
    if program.is_none() {
        let test = std::thread::current().name().unwrap_or("test").to_owned();
        let why = "PORTOLAN_TESTS_KUBE_PROXY names no kube-proxy to compare with";
        // Not eprintln!: libtest would swallow it.
        let _ = writeln!(std::io::stderr(), "{test}: skipped: {why}");
    }
    program
}

/// Puts kube-proxy in the place of the proxies of a lab. It ends with the lab, as all that runs in
/// its cgroup does.
pub(crate) fn take_over(lab: &Lab, program: &Path, mode: &str, stack: Stack) {
    stop_ours(lab);
    let ours = lab.environment.portolan.display().to_string();
    let started = lab.nodes().map(|node| {
        lab.exec(node, &[ours.as_str(), "proxy", "--cleanup"]).ok();
        (node, start(lab, program, node, mode, stack))
    });
    for (node, mut process) in started {
        eventually(&format!("kube-proxy serves on {node} as {mode}"), || {
            let told = lab.curl(node, &format!("http://{METRICS}/proxyMode"));
            let ended = process.try_wait().expect("it is a child");
            check(told.text() == mode && ended.is_none(), &(&told.stdout, &told.stderr, ended))
        });
    }
}

/// A process that ends is started again by the lab's supervisor; one that is stopped is not.
fn stop_ours(lab: &Lab) {
    let status = lab.status();
    let parts = status["components"].as_array().cloned().unwrap_or_default();
    for proxy in parts.iter().filter(|part| part["component"] == "proxy") {
        let pid = proxy["pid"].to_string();
        let stopped = Command::new("kill").args(["-STOP", &pid]).status().expect("kill runs");
        assert!(stopped.success(), "{proxy} does not stop");
    }
}

fn start(lab: &Lab, program: &Path, node: &str, mode: &str, stack: Stack) -> Child {
    let path = lab.scratch().join(format!("kube-proxy-{node}.yaml"));
    fs::write(&path, configuration(lab, node, mode, stack)).expect("the configuration");
    // Where a failing test finds logs.
    let log = format!("/run/portolan/{}/log/kube-proxy@{node}.log", lab.name);
    let log = File::create(log).expect("a log");
    lab.exec_command(node)
        .arg(program)
        .arg(format!("--config={}", path.display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("kube-proxy starts")
}

/// As our own proxy is told; the limits of connection tracking are left as they are.
fn configuration(lab: &Lab, node: &str, mode: &str, stack: Stack) -> String {
    let (ranges, everywhere) = match stack {
        Stack::Ipv4 => ("10.244.0.0/16", "0.0.0.0/0"),
        Stack::Dual => ("10.244.0.0/16,fd00:10:244::/56", "0.0.0.0/0, '::/0'"),
        Stack::Ipv6 => ("fd00:10:244::/56", "'::/0'"),
    };
    let kubeconfig = format!("/run/portolan/{}/pki/proxy.kubeconfig", lab.name);
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: {mode}
hostnameOverride: {node}
clusterCIDR: {ranges}
nodePortAddresses: [{everywhere}]
metricsBindAddress: {METRICS}
healthzBindAddress: {HEALTH}
clientConnection: {{kubeconfig: {kubeconfig}}}
iptables: {{minSyncPeriod: 10ms}}
nftables: {{minSyncPeriod: 10ms}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"
    )
}
