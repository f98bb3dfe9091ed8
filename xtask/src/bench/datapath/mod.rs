//! `./x bench datapath`: how soon the kernel follows, what connections cost and what memory that
//! takes, in our modes, beside the real kube-proxy and beside connections without any Service.

mod cluster;
mod load;
mod place;
mod process;
mod proxy;
mod summary;
mod sync;
mod traffic;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result};
use serde_json::Value;

use self::proxy::{Programs, Subject};
use super::report::Report;
use crate::cargo::{PORTOLAN, Program, build};
use crate::lab::output;
use crate::steps::Steps;

pub(super) use self::load::{AgentArguments, agent};
pub(super) use self::process::{AskerArguments, asker};

/// This program, optimised: it is the API server, the clients and the servers of what it measures.
const OURSELVES: Program = Program { package: "xtask", name: "xtask" };
/// A start from so many slices, 96 endpoints in each.
const START: Size = Size { services: 2_600, endpoints: 96 };
/// The modes that connections are measured in at every size.
const FAST: [&str; 2] = ["nftables", "ebpf"];
/// Here the others are measured too, where they are quick to set up.
const FEW: usize = 10;
/// kube-proxy's mode `iptables` takes longer than anybody waits with more.
const CLASSIC_LIMIT: usize = 10_000;
const STALL_CONNECTIONS: usize = 24_000;

/// Services, and endpoints of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    services: usize,
    endpoints: usize,
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (services, endpoints) = text.split_once('x').context("give SERVICESxENDPOINTS")?;
        Ok(Self { services: services.parse()?, endpoints: endpoints.parse()? })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.services, self.endpoints)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Full passes and single changes within the library
    Sync,
    /// Whole processes: starts, changes as connections see them, memory
    Process,
    /// Connections on every path
    Traffic,
    /// Many masqueraded connections in a short time
    Stalls,
}

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A kube-proxy to measure beside
    #[arg(long, env = "PORTOLAN_PEER_KUBE_PROXY", value_name = "FILE")]
    kube_proxy: Option<PathBuf>,
    /// A portolan that is built already
    #[arg(long, value_name = "FILE")]
    portolan: Option<PathBuf>,
    /// How everything is built; only optimised programs' figures mean anything
    #[arg(long, default_value = "release")]
    profile: String,
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Services and endpoints of each, in the parts sync and process
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SERVICESxENDPOINTS",
        default_value = "5000x50,10000x10,45000x1"
    )]
    sizes: Vec<Size>,
    /// Services there are, in the part traffic
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000,30000")]
    services: Vec<usize>,
    /// Turns that every subject takes on every path
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Changes of each kind that are timed; kube-proxy, which takes seconds for one, gets a fiftieth
    #[arg(long, default_value_t = 200)]
    changes: usize,
}

/// Measures into `report`, which keeps what was found before a part failed.
pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let mut steps = Steps::default();
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let (portolan, ourselves) = steps.run("building", |step| {
        let profile = arguments.profile.as_str();
        let note = |count, name: &str| step.note(format!("crate {count}: {name}"));
        let [ours] = build([OURSELVES], profile, note)?;
        let portolan = match &arguments.portolan {
            Some(file) => file.clone(),
            None => {
                let [portolan] = build([PORTOLAN], profile, note)?;
                portolan
            }
        };
        if wanted(Part::Sync) {
            sync::build(profile)?;
        }
        Ok(((portolan, ours), "everything is built".into()))
    })?;
    let programs = Programs {
        portolan,
        kube_proxy: arguments.kube_proxy.clone(),
        run: format!("portolan-bench-{}", std::process::id()),
    };
    if wanted(Part::Sync) {
        for size in &arguments.sizes {
            for mode in FAST {
                steps.run(&format!("{mode}, {size}, in the library"), |_| {
                    sync::measure(&arguments.profile, mode, *size, report)?;
                    Ok(((), format!("{mode}, {size}, in the library: measured")))
                })?;
            }
        }
    }
    if wanted(Part::Process) {
        let start = [START].into_iter().filter(|_| arguments.sizes.len() > 1);
        for size in arguments.sizes.iter().copied().chain(start) {
            for subject in Subject::list(&programs, &FAST, &["nftables"]) {
                let what = format!("{}, {size}, as a process", subject.name());
                steps.run(&what, |_| {
                    let all = if size == START { 0 } else { arguments.changes };
                    let changes = if subject.peer { all.div_ceil(50) } else { all };
                    let part = Inner::Process {
                        mode: subject.mode.to_owned(),
                        peer: subject.peer,
                        services: size.services,
                        endpoints: size.endpoints,
                        changes,
                    };
                    let found = inside(&ourselves, &programs, &part)?;
                    summary::process(report, &subject, size, &found)?;
                    Ok(((), format!("{what}: measured")))
                })?;
            }
        }
    }
    if wanted(Part::Traffic) {
        for services in &arguments.services {
            let what = format!("connections, {services} Services");
            steps.run(&what, |_| {
                let part = Inner::Traffic { services: *services, rounds: arguments.rounds };
                let found = inside(&ourselves, &programs, &part)?;
                let left_out = summary::traffic(report, *services, &found)?;
                Ok(((), format!("{what}: measured{left_out}")))
            })?;
        }
    }
    if wanted(Part::Stalls) {
        steps.run("masqueraded connections in a short time", |_| {
            let part = Inner::Stalls { connections: STALL_CONNECTIONS };
            let found = inside(&ourselves, &programs, &part)?;
            summary::stalls(report, &found)?;
            Ok(((), "masqueraded connections in a short time: measured".into()))
        })?;
    }
    Ok(())
}

/// What runs inside namespaces of its own.
#[derive(clap::Args)]
pub(super) struct InnerArguments {
    #[command(flatten)]
    programs: Programs,
    #[command(subcommand)]
    part: Inner,
}

#[derive(clap::Subcommand)]
enum Inner {
    Process {
        mode: String,
        services: usize,
        endpoints: usize,
        changes: usize,
        #[arg(long)]
        peer: bool,
    },
    Traffic {
        services: usize,
        rounds: usize,
    },
    Stalls {
        connections: usize,
    },
}

/// Runs a part: this program again, in namespaces that end with it.
fn inside(ourselves: &std::path::Path, programs: &Programs, part: &Inner) -> Result<Value> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(ourselves)
        .args(["bench", "datapath-inside", "--run", &programs.run, "--portolan"])
        .arg(&programs.portolan)
        .stderr(Stdio::inherit());
    if let Some(file) = &programs.kube_proxy {
        command.arg("--kube-proxy").arg(file);
    }
    match part {
        Inner::Process { mode, services, endpoints, changes, peer } => {
            command.args(["process", mode]);
            command.args([services, endpoints, changes].map(|number| number.to_string()));
            command.args(peer.then_some("--peer"));
        }
        Inner::Traffic { services, rounds } => {
            command.arg("traffic").args([services, rounds].map(|number| number.to_string()));
        }
        Inner::Stalls { connections } => {
            command.args(["stalls", &connections.to_string()]);
        }
    }
    let said = output(&mut command);
    place::clear(&programs.run);
    Ok(serde_json::from_str(&said?)?)
}

pub(super) fn inner(arguments: &InnerArguments) -> Result<()> {
    place::own_run()?;
    let programs = &arguments.programs;
    let found = match &arguments.part {
        Inner::Process { mode, services, endpoints, changes, peer } => {
            let all: Vec<&'static str> = FAST.into_iter().filter(|name| name == mode).collect();
            let (ours, peers) = if *peer { (&[][..], &all[..]) } else { (&all[..], &[][..]) };
            let subjects = Subject::list(programs, ours, peers);
            let subject = subjects.first().context("no such mode")?;
            process::measure(subject, *services, *endpoints, *changes)?
        }
        Inner::Traffic { services, rounds } => {
            let mut ours = FAST.to_vec();
            if *services == FEW {
                ours.extend(["iptables", "userspace"]);
            }
            let mut peers = vec!["nftables"];
            peers.extend((*services <= CLASSIC_LIMIT).then_some("iptables"));
            traffic::measure(&Subject::list(programs, &ours, &peers), *services, *rounds)?
        }
        Inner::Stalls { connections } => {
            let subjects = Subject::list(programs, &["nftables"], &["nftables"]);
            traffic::stalls(&subjects, *connections)?
        }
    };
    println!("{found}");
    Ok(())
}
