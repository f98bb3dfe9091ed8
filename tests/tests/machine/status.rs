//! A proxy that hangs is named by the Services that it lags behind on.

use std::process::Command;

use portolan_tests::manifest::service;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Options, eventually};

/// A stopped process that goes on when this is dropped.
struct Stopped(String);

impl Stopped {
    fn stop(pid: String) -> Self {
        let status = Command::new("kill").args(["-STOP", &pid]).status();
        assert!(status.expect("kill runs").success(), "process {pid} does not stop");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0]).status();
    }
}

#[test]
fn a_proxy_that_hangs_is_named() {
    let Some(lab) = Lab::start(&Options::new("status").with(&["--workers", "1"])) else { return };
    let namespace = lab.namespace("lag");
    namespace.apply(&service("blue", "ports: [{port: 80}]")).ok();
    let wait = ["wait", "--for=condition=Programmed", "--timeout=60s", "service/blue"];
    namespace.kubectl(&wait).ok();

    let status = lab.portolan(&["lab", "status", "-o", "json"]).ok().json();
    let components = status["components"].as_array().expect("components");
    let proxy = components.iter().find(|c| c["component"] == "proxy" && c["node"] == "worker-1");
    let stopped = Stopped::stop(proxy.expect("its proxy")["pid"].to_string());
    let other = r#"{"spec":{"ports":[{"port":81}]}}"#;
    namespace.kubectl(&["patch", "service", "blue", "--type=merge", "-p", other]).ok();
    eventually("the Service names the node", || {
        let path = ".status.conditions[?(@.type==\"Programmed\")].message";
        let message = namespace.field("service", "blue", path);
        check(message.starts_with("1 of 2") && message.contains("worker-1"), &message)
    });
    drop(stopped);
    namespace.kubectl(&wait).ok();
}
