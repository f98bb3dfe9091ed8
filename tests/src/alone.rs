//! Tests that compare the whole machine before and after get a machine of their own: namespaces
//! for processes, mounts and the network, so that nothing else running here is in the picture.

use std::process::Command;
use std::time::Duration;

use crate::{Environment, Outcome};

const INSIDE: &str = "PORTOLAN_TESTS_ALONE";

/// Runs `body` in this test's executable, started again under `unshare`; `test` is the test's own name.
///
/// Whatever `body` leaves behind ends with it, as its PID namespace does.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == *test) {
        return body();
    }
    if Environment::find().is_none() {
        return;
    }
    let executable = std::env::current_exe().expect("the path of the test");
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--net",
            "--ipc",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "--",
        ])
        .args(["sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"])
        .arg(executable)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, test);
    let outcome = Outcome::of(&mut command, None, Duration::from_secs(300));
    eprintln!("{outcome}");
    outcome.ok();
}
