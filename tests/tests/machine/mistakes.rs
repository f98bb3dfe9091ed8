//! A newcomer's mistakes: each is refused, with words that say what is wrong and what to do.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use portolan_tests::lab::{COMMAND_LIMIT, unique_name};
use portolan_tests::{Environment, Lab, Outcome};

fn portolan(arguments: &[&str]) -> Option<Outcome> {
    let environment = Environment::find()?;
    Some(Outcome::of(Command::new(&environment.portolan).args(arguments), None, COMMAND_LIMIT))
}

/// A refusal is for people: no panic, no backtrace, not too long, and not the help text alone.
#[track_caller]
fn readable(outcome: Outcome) -> Outcome {
    let outcome = outcome.refused();
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Os {", "Error {"] {
        assert!(!outcome.stderr.contains(word), "{word}: {outcome}");
    }
    assert!(!outcome.stderr.trim().is_empty(), "silence: {outcome}");
    assert!(outcome.stderr.lines().count() <= 25, "too much: {outcome}");
    outcome
}

#[test]
fn without_root() {
    let Some(environment) = Environment::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let copy = scratch.path().join("portolan");
    std::fs::copy(&environment.portolan, &copy).expect("a copy");
    for path in [scratch.path(), &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
            .expect("permissions");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
    command.args(["lab", "up", "--name", &unique_name("nobody")]);
    let outcome = readable(Outcome::of(&mut command, None, COMMAND_LIMIT));
    outcome.says(&["root"]);
}

#[test]
fn name_in_use() {
    let Some(lab) = Lab::shared() else { return };
    let again = readable(lab.portolan(&["lab", "up"]));
    again.says(&[&lab.name, "lab down"]);
    lab.kubectl(&["get", "nodes"]).ok();
}

#[test]
fn no_such_lab_node_or_pod() {
    let Some(lab) = Lab::shared() else { return };
    let name = unique_name("nolab");
    for arguments in [
        ["lab", "exec", "--name", &name, "worker-1", "--", "true"].as_slice(),
        &["lab", "status", "--name", &name],
    ] {
        let Some(outcome) = portolan(arguments) else { return };
        readable(outcome).says(&[&name, "lab up"]);
    }
    readable(lab.exec("worker-9", &["true"])).says(&["worker-9", "worker-2"]);
    readable(lab.exec("pod/default/nobody", &["true"])).says(&["nobody"]);
    readable(lab.exec("worker-1", &["no-such-program"])).says(&["no-such-program"]);
    readable(lab.portolan(&["lab", "restart", "scheduler"])).says(&["scheduler", "proxy"]);
    let moded = |part| lab.portolan(&["lab", "restart", "--proxy-mode", "nftables", part]);
    readable(moded("apiserver")).says(&["--proxy-mode", "apiserver", "proxy@NODE"]);
}

#[test]
fn bad_flags() {
    let name = unique_name("flags");
    let cases: [(&[&str], &str); 8] = [
        (&["--workers", "many"], "--workers"),
        (&["--proxy-mode", "magic"], "nftables"),
        (&["--service-cluster-ip-range", "10.96.0.0/99"], "10.96.0.0/99"),
        (&["--service-cluster-ip-range", "cats"], "cats"),
        (&["--service-node-port-range", "32767-30000"], "32767-30000"),
        (&["--cluster-cidr", "10.96.0.0/16"], "10.96.0.0/16"),
        (&["--ip-families", "ipx"], "ipx"),
        (&["--wrokers", "2"], "--workers"),
    ];
    for (flags, word) in cases {
        let Some(outcome) = portolan(&[&["lab", "up", "--name", &name], flags].concat()) else {
            return;
        };
        readable(outcome).says(&[word]);
    }
    for bad in [
        "has space",
        "UPPER/slash",
        "",
        "a-name-that-is-so-long-that-no-link-and-no-path-could-ever-be-named-after-it-really-no-way",
    ] {
        let Some(outcome) = portolan(&["lab", "up", "--name", bad]) else { return };
        readable(outcome).says(&["name"]);
    }
    // None of these left a lab behind.
    let Some(status) = portolan(&["lab", "status", "--name", &name]) else { return };
    status.refused();
}

#[test]
fn bad_yaml() {
    let Some(lab) = Lab::shared() else { return };
    let namespace = lab.namespace("yaml");
    let misspelt =
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {prots: [{port: 80}]}\n";
    namespace.apply(misspelt).refused().says(&["prots"]);
    let twice = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"x"},"spec":{"ports":[{"port":80,"port":81}]}}"#;
    let posted = lab.kubectl_with(
        &["create", "--raw", "/api/v1/namespaces/yaml/services?fieldValidation=Strict", "-f", "-"],
        twice,
    );
    posted.refused().says(&["duplicate field"]);
    let wrong_type =
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: eighty}]}\n";
    namespace.apply(wrong_type).refused().says(&["port"]);
    let unknown = "apiVersion: v1\nkind: Servcie\nmetadata: {name: x}\n";
    namespace.apply(unknown).refused().says(&["Servcie"]);
    let name = "apiVersion: v1\nkind: Service\nmetadata: {name: My_Service}\nspec: {ports: [{port: 80}]}\n";
    namespace.apply(name).refused().says(&["My_Service", "metadata.name", "lower case"]);
    let tab = "apiVersion: v1\nkind: Service\nmetadata:\n\tname: x\n";
    namespace.apply(tab).refused();
    let port =
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 99999}]}\n";
    namespace.apply(port).refused().says(&["spec.ports[0].port", "must be between 1 and 65535"]);
    assert_eq!(
        namespace.kubectl(&["get", "services", "-o", "name"]).ok().text(),
        "",
        "nothing half-written"
    );
}

#[test]
fn without_cgroup2() {
    let Some(environment) = Environment::find() else { return };
    // In a mount namespace of its own, cgroup2 is taken away.
    let script = r#"
        for point in $(awk '$3 == "cgroup2" { print $2 }' /proc/self/mounts | sort -r); do umount -l "$point"; done
        exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", script, "sh"]).arg(&environment.portolan);
    let name = unique_name("nocg");
    command.args(["lab", "up", "--workers", "0", "--name", &name]);
    let outcome = Outcome::of(&mut command, None, COMMAND_LIMIT);
    if outcome.succeeded() {
        // Mounting one itself is as good as refusing.
        portolan(&["lab", "down", "--name", &name]);
        return;
    }
    readable(outcome).says(&["cgroup2"]);
}

#[test]
fn port_taken() {
    let Some(environment) = Environment::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let mut command = Command::new(&environment.portolan);
    command
        .args(["apiserver", "--bind-address", "127.0.0.1", "--secure-port", &port, "--data-dir"])
        .arg(scratch.path());
    let outcome = Outcome::of(&mut command, None, COMMAND_LIMIT);
    readable(outcome).says(&[&port, "in use"]);
}
