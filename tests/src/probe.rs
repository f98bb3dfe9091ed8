//! The probe (`portolan-probe`) in a lab: clients that go on while something else happens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use crate::{Lab, Outcome};

/// What a background client saw, from its start to [`Background::stop`].
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    /// How many requests were answered as they should be.
    pub answered: u64,
    /// How often each body came.
    pub bodies: BTreeMap<String, u64>,
    /// What went wrong, each with the milliseconds since the start; at most a hundred.
    pub failures: Vec<String>,
    /// How many went wrong.
    pub failed: u64,
    /// The longest time between a request and its answer, in milliseconds.
    pub slowest_ms: f64,
}

/// A probe that runs until it is stopped.
#[derive(Debug)]
pub struct Background {
    /// Who answered the first request.
    pub peer: String,
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Background {
    /// Starts `portolan-probe` with `arguments` in `place` and waits until its first request was answered.
    #[track_caller]
    pub fn start(lab: &Lab, place: &str, arguments: &[&str]) -> Self {
        let mut command = lab.exec_command(place);
        command.arg(&lab.environment.probe).args(arguments);
        Self::spawn(command)
    }

    #[track_caller]
    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("portolan starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        output.read_line(&mut first).expect("the probe's output");
        let peer = first
            .trim()
            .strip_prefix("ready")
            .unwrap_or_else(|| panic!("the probe {command:?} did not begin"));
        Self { peer: peer.trim().to_owned(), child, output }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Ends the probe by closing its standard input, and returns what it saw.
    #[track_caller]
    pub fn stop(mut self) -> Seen {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("the probe's output");
        let status = self.child.wait().expect("the probe ends");
        serde_json::from_str(&rest)
            .unwrap_or_else(|error| panic!("the probe ended with {status}, {error}: {rest:?}"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seen {
    /// Fails the test if anything was lost.
    #[track_caller]
    pub fn nothing_lost(&self, what: &str) {
        assert!(self.answered > 0, "{what}: nothing was answered: {self:?}");
        assert!(
            self.failed == 0,
            "{what}: {} lost, {} answered: {:#?}",
            self.failed,
            self.answered,
            self.failures
        );
    }
}

/// One DNS answer as the probe's own client (the crate `domain`) read it.
#[derive(Debug, Clone, Deserialize)]
pub struct DnsAnswer {
    /// `NOERROR`, `NXDOMAIN`, …
    pub rcode: String,
    pub authoritative: bool,
    pub truncated: bool,
    /// `NAME TTL CLASS TYPE DATA`, sorted
    pub answer: Vec<String>,
    pub authority: Vec<String>,
    pub additional: Vec<String>,
}

/// Asks the cluster's DNS at 10.96.0.10 from `place`; `transport` is `udp` or `tcp`.
#[track_caller]
pub fn ask(lab: &Lab, place: &str, transport: &str, name: &str, record: &str) -> DnsAnswer {
    let probe = lab.environment.probe.to_string_lossy().into_owned();
    let outcome: Outcome = lab
        .exec(
            place,
            &[probe.as_str(), "dns", "--transport", transport, "10.96.0.10:53", name, record],
        )
        .ok();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}
