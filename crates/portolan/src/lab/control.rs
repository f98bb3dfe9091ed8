//! The words spoken over a lab's control socket: one JSON line asks, JSON lines answer.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::paths::Paths;
use super::plan::{Kind, Selector};
use super::restart::How;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Answered by one [`Status`].
    Status,
    /// Answered by one [`Restarted`] for each component, then the end.
    Restart { selector: Selector, how: How },
    /// Answered by an [`Exited`] whenever a component ends unasked, for as long as one listens;
    /// those that ended before come first.
    Exits,
}

/// What the supervisor knows of its components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub supervisor_pid: u32,
    /// The port of 127.0.0.1 on which the API server answers the host.
    pub api_port: u16,
    pub components: Vec<ComponentStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    pub name: String,
    pub kind: Kind,
    pub node: String,
    /// Absent while it waits to be started again.
    pub pid: Option<u32>,
    /// Starts after the first, asked for or not.
    pub restarts: u32,
    /// How it ended last, where it did.
    pub last_exit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restarted {
    Started { name: String, pid: u32 },
    Failed { message: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exited {
    pub name: String,
    /// `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub how: String,
    /// How often in a row it ended soon after its start.
    pub failures: u32,
}

/// What the supervisor says on its standard output while the lab is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Progress {
    Step(String),
    /// Every component is started.
    Started {
        api_port: u16,
    },
    Failed(String),
}

/// The answers to one request.
#[derive(Debug)]
pub struct Answers(Lines<BufReader<UnixStream>>);

impl Answers {
    /// The next answer; `None` at the end.
    pub fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        match self.0.next() {
            None => Ok(None),
            Some(line) => {
                let line = line.context("lost the connection to the lab's supervisor")?;
                let answer = serde_json::from_str(&line)
                    .with_context(|| format!("the lab's supervisor answered {line:?}"))?;
                Ok(Some(answer))
            }
        }
    }
}

/// Asks the lab's supervisor.
pub fn ask(paths: &Paths, request: &Request) -> anyhow::Result<Answers> {
    let mut stream = UnixStream::connect(paths.control())
        .context("the lab's supervisor does not answer; `portolan lab down` cleans up")?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    Ok(Answers(BufReader::new(stream).lines()))
}

/// Asks for the one [`Status`].
pub fn status(paths: &Paths) -> anyhow::Result<Status> {
    ask(paths, &Request::Status)?.next()?.context("the lab's supervisor gave no answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::proxy_mode::ProxyMode;

    #[test]
    fn requests_are_one_line_of_json() {
        let request = Request::Restart {
            selector: "proxy@worker-1".parse().expect("a selector"),
            how: How { kill: true, proxy_mode: Some(ProxyMode::Iptables) },
        };
        let text = serde_json::to_string(&request).expect("JSON");
        assert_eq!(
            text,
            r#"{"restart":{"selector":{"kind":"proxy","node":"worker-1"},"how":{"kill":true,"proxyMode":"iptables"}}}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&text).expect("the same"), request);
    }
}
