//! A lab goes without a trace, and leaves the host's network alone while it is there.

use portolan_tests::alone::alone;
use portolan_tests::lab::unique_name;
use portolan_tests::machine::{Machine, cgroup, kill_everything};
use portolan_tests::manifest::{deployment, service};
use portolan_tests::wait::check;
use portolan_tests::{Environment, Lab, Options, Outcome, eventually};

use crate::bpf::{BpfObjects, bpf_objects, still_there};

/// A lab in which something happened: pods, Services of several kinds.
fn busy(lab: &Lab) {
    let namespace = lab.namespace("busy");
    let spec = "type: NodePort, externalIPs: [1.2.3.4], selector: {app: web}, ports: [{port: 80, targetPort: 8080}]";
    namespace.apply(&(service("web", spec) + &deployment("web", 3, ""))).ok();
    namespace.rolled_out("deployment/web");
    let url = format!("http://{}/hostname", namespace.cluster_ip("web"));
    eventually("an answer", || {
        let answer = lab.curl("worker-1", &url);
        check(answer.succeeded(), &answer.to_string())
    });
    // The namespace stays: whatever it holds must go with the lab.
    std::mem::forget(namespace);
}

/// What a lab's proxies have in the kernel's BPF; none in other modes.
fn programs(lab: &Lab) -> BpfObjects {
    let found = bpf_objects(&lab.name);
    let expected = lab.status()["proxyMode"] == "ebpf";
    assert_eq!(!found.is_empty(), expected, "{found:?}");
    assert_eq!(still_there(&found), found, "this test sees what is there");
    found
}

/// The kernel lets go of programs a moment after their last user.
fn no_program_left(programs: &BpfObjects) {
    eventually("no BPF object is left", || {
        let left = still_there(programs);
        check(left.is_empty(), &left)
    });
}

/// Waits until nothing is here that was not there before (what is dying may take a moment to be gone).
fn nothing_left(name: &str, before: &Machine) {
    eventually("nothing is left", || {
        let left = Machine::look(name).since(before);
        check(left.is_empty(), &left)
    });
}

#[test]
fn lab_down_leaves_nothing() {
    alone("leftovers::lab_down_leaves_nothing", || {
        // A first look, so that what looking itself needs (nft's modules) is there before.
        let _ = Machine::look("none");
        let options = Options::new("gone");
        let before = Machine::look("gone-");
        let Some(lab) = Lab::start(&options) else { return };
        busy(&lab);
        let during = Machine::look("gone-");
        let programs = programs(&lab);
        assert_eq!(during.network(), before.network(), "the host's own network is not touched");
        assert!(!during.since(&before).is_empty(), "this test sees a lab that is there");
        lab.down().ok();
        let scratch_and_guard =
            |line: &String| line.contains("lab down --name") || line.ends_with("process: cat");
        eventually("nothing is left", || {
            let mut left = Machine::look("gone-").since(&before);
            left.retain(|line| !scratch_and_guard(line) && !line.contains(" cat"));
            check(left.is_empty(), &left)
        });
        no_program_left(&programs);
        // Once more is no error.
        lab.down().ok();
        drop(lab);
        nothing_left("gone-", &before);
    });
}

#[test]
fn lab_down_after_kill_9_leaves_nothing() {
    alone("leftovers::lab_down_after_kill_9_leaves_nothing", || {
        let _ = Machine::look("none");
        let before = Machine::look("killed-");
        let Some(lab) = Lab::start(&Options::new("killed")) else { return };
        busy(&lab);
        let programs = programs(&lab);
        kill_everything(&lab.name);
        eventually("everything in the lab is dead", || {
            let kubectl = lab.kubectl(&["--request-timeout=1s", "get", "nodes"]);
            check(!kubectl.succeeded(), &kubectl.stdout)
        });
        lab.down().ok();
        assert_eq!(cgroup(&lab.name), None);
        no_program_left(&programs);
        drop(lab);
        nothing_left("killed-", &before);
    });
}

#[test]
fn lab_up_mends_stale_leftovers() {
    let Some(lab) = Lab::start(&Options::new("stale").with(&["--workers", "1"])) else { return };
    busy(&lab);
    kill_everything(&lab.name);
    // As after a crash: namespaces, mounts, cgroups and files are there, nobody is alive.
    let mut again = std::process::Command::new(&lab.environment.portolan);
    again
        .args(["lab", "up", "--workers", "1", "--name", &lab.name, "--kubeconfig"])
        .arg(&lab.kubeconfig);
    let again = Outcome::of(&mut again, None, portolan_tests::lab::COMMAND_LIMIT);
    if !again.succeeded() {
        // Refusing is as good, if it says what to do and that works.
        again.refused().says(&["lab down", &lab.name]);
        lab.down().ok();
        lab.portolan(&[
            "lab",
            "up",
            "--workers",
            "1",
            "--kubeconfig",
            &lab.kubeconfig.to_string_lossy(),
        ])
        .ok();
    }
    lab.kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=60s"]).ok();
    busy_again(&lab);
}

fn busy_again(lab: &Lab) {
    lab.kubectl(&["delete", "namespace", "busy", "--ignore-not-found"]).ok();
    busy(lab);
}

#[test]
fn labs_run_side_by_side() {
    let options = Options::new("left").with(&["--workers", "1"]);
    let Some(left) = Lab::start(&options) else { return };
    let Some(right) = Lab::start(&Options::new("right").with(&["--workers", "1"])) else { return };
    for lab in [&left, &right] {
        busy(lab);
    }
    // Two clusters, not one.
    let uid = |lab: &Lab| {
        lab.kubectl(&["get", "namespace", "default", "-o", "jsonpath={.metadata.uid}"]).ok().stdout
    };
    assert_ne!(uid(&left), uid(&right));
    left.down().ok();
    right.kubectl(&["get", "nodes"]).ok();
    let url = format!(
        "http://{}/hostname",
        right
            .kubectl(&["get", "service", "web", "-n", "busy", "-o", "jsonpath={.spec.clusterIP}"])
            .ok()
            .text()
    );
    right.curl("worker-1", &url).ok();
}

#[test]
fn lab_down_of_a_lab_that_never_was_is_no_error() {
    let Some(environment) = Environment::find() else { return };
    let mut down = std::process::Command::new(&environment.portolan);
    down.args(["lab", "down", "--name", &unique_name("never")]);
    Outcome::of(&mut down, None, portolan_tests::lab::COMMAND_LIMIT).ok();
}
