//! Load and who bears it: processes, each in its network namespace and on one processor. A client
//! takes orders as lines of JSON and answers with lines of JSON.

mod client;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::place::{Group, Place, move_into};
pub(super) use server::PORT;

/// What a connection's first octet asks for: one answer, an echo of everything, nothing.
const ONCE: u8 = b'o';
const PONG: u8 = b'p';
const BULK: u8 = b'b';

/// The processor on which all ends of a measured path are.
const PROCESSOR: usize = 0;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    OneByOne { to: SocketAddr, count: usize },
    AtOnce { to: SocketAddr, count: usize, flight: usize },
    PingPong { to: SocketAddr, count: usize },
    Bulk { to: SocketAddr, milliseconds: u64 },
}

impl Order {
    fn carry_out(&self) -> Result<Value> {
        match self {
            Self::OneByOne { to, count } => client::one_by_one(*to, *count),
            Self::AtOnce { to, count, flight } => client::at_once(*to, *count, *flight),
            Self::PingPong { to, count } => client::ping_pong(*to, *count),
            Self::Bulk { to, milliseconds } => {
                client::bulk(*to, Duration::from_millis(*milliseconds))
            }
        }
    }
}

/// How such a process is started.
#[derive(clap::Args)]
pub(in crate::bench) struct AgentArguments {
    netns: PathBuf,
    #[arg(long)]
    group: Option<PathBuf>,
    #[arg(long)]
    serve: bool,
}

pub(in crate::bench) fn agent(arguments: &AgentArguments) -> Result<()> {
    if let Some(group) = &arguments.group {
        Group::join(group)?;
    }
    move_into(&arguments.netns)?;
    let mut processors = CpuSet::new();
    processors.set(PROCESSOR);
    sched_setaffinity(None, &processors)?;
    // Whatever else the machine does is to wait, as far as that can be had.
    rustix::process::setpriority_process(None, -15)?;
    if arguments.serve {
        return server::serve();
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        match order.carry_out() {
            Ok(found) => println!("{found}"),
            Err(error) => println!("{}", serde_json::json!({"error": format!("{error:#}")})),
        }
    }
    Ok(())
}

/// A process under our orders; killed when dropped.
pub(super) struct Agent {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    pub(super) fn start(place: &Place, group: Option<&Path>, serve: bool) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "datapath-agent"]).arg(place.path());
        if let Some(group) = group {
            command.arg("--group").arg(group);
        }
        if serve {
            command.arg("--serve");
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("starting ourselves")?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("no pipes")
        };
        let mut agent = Self { process, input, output: BufReader::new(output) };
        ensure!(agent.line()? == "ready", "a process of ours does not start");
        Ok(agent)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Has it do something and returns what it found.
    pub(super) fn order(&mut self, order: &Order) -> Result<Value> {
        writeln!(self.input, "{}", serde_json::to_string(order)?)?;
        let found: Value = serde_json::from_str(&self.line()?).context("a process of ours ends")?;
        match found["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => Ok(found),
        }
    }
}
