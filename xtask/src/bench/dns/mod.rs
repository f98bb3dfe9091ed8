//! `./x bench dns`: the cluster's DNS beside CoreDNS and beside a bare echo, over the same objects
//! of the same API, each server alone on one processor and dnsperf on another.

pub(super) mod api;
pub(super) mod client;
mod objects;
mod server;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use self::api::{Api, Objects};
use self::client::{Upstream, paced, percentile, query};
use self::server::{Program, Server};
use super::report::{Measured, Report};
use crate::cargo::{PORTOLAN, build, root};
use crate::lab::output;
use crate::steps::Steps;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Seconds of each load
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Changes whose way into the answers is timed
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// A CoreDNS to put under the same loads
    #[arg(long, env = "PORTOLAN_PEER_COREDNS", value_name = "FILE")]
    coredns: Option<PathBuf>,
    /// A portolan that is built already
    #[arg(long, value_name = "FILE")]
    portolan: Option<PathBuf>,
}

/// A load's name, and its n-th question.
type Load = (&'static str, fn(usize) -> String);

/// What is asked.
const LOADS: [Load; 6] = [
    ("hits", |n| {
        let n = n * 7919 % 10_000;
        format!("s{n}.ns{}.svc.cluster.local A", n % 100)
    }),
    ("SRV", |n| {
        let n = n * 7919 % 10_000;
        format!("_http._tcp.s{n}.ns{}.svc.cluster.local SRV", n % 100)
    }),
    ("headless set of 100", |_| "crowd.ns0.svc.cluster.local A".into()),
    ("NXDOMAIN", |n| format!("web.s{n}.ns{}.svc.cluster.local A", n % 100)),
    ("PTR", |n| {
        let n = n * 7919 % 10_000;
        format!("{}.{}.96.10.in-addr.arpa PTR", n % 250 + 1, n / 250)
    }),
    ("forwarded and cached", |n| format!("w{}.example.org A", n % 1000)),
];

pub(super) fn run(arguments: &Arguments) -> Result<Report> {
    let mut steps = Steps::default();
    let portolan = match &arguments.portolan {
        Some(file) => file.clone(),
        None => steps.run("building portolan with optimisations", |step| {
            let [portolan] = build([PORTOLAN], "release", |count, name| {
                step.note(format!("crate {count}: {name}"))
            })?;
            Ok((portolan, "portolan is built".into()))
        })?,
    };
    let echo = steps.run("building the echo", |_| {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root()).args(["build", "--quiet", "--release", "-p", "portolan-linux"]);
        output(cargo.args(["--example", "datagram_echo"]))?;
        Ok((root().join("target/release/examples/datagram_echo"), "the echo is built".into()))
    })?;
    let upstream = Upstream::start()?;
    let mut report = Report::new("dns");
    let mut programs = vec![(Program::Portolan(portolan), false)];
    programs.extend(arguments.coredns.clone().map(|file| (Program::CoreDns(file), true)));
    steps.run("10,000 Services and 100,000 endpoints", |step| {
        let api = Api::start(Objects::of(10_000, 10))?;
        let mut servers = Vec::new();
        for (program, is_peer) in &programs {
            step.note(format!("{} loads", program.name()));
            let server = Server::start(program, &api, upstream.address)?;
            report.push(*is_peer, "loading", server.loaded.as_secs_f64(), "s", "");
            report.push(*is_peer, "resident, 100,000 endpoints", server.resident()?, "MiB", "");
            servers.push((server, *is_peer));
        }
        let echo = Server::echo(&echo)?;
        for (load, question) in LOADS {
            let questions: Vec<String> = (0..20_000).map(question).collect();
            let mut slowest = f64::INFINITY;
            for (server, is_peer) in &servers {
                step.note(format!("{load}, {}", server.name));
                let rate = report.load(*is_peer, load, server, &questions, arguments.seconds)?;
                slowest = slowest.min(rate);
            }
            // All at the same rate, which leaves each of them idle half of the time.
            let pace = slowest / 2.0;
            report.push(false, &format!("{load}: pace"), pace, "queries/s", "");
            for (server, is_peer) in &servers {
                step.note(format!("{load}, {}, {pace:.0} a second", server.name));
                report.latency(*is_peer, load, server, &questions, pace)?;
            }
            report.latency(
                false,
                &format!("echo at the pace of {load}"),
                &echo,
                &questions,
                pace,
            )?;
        }
        step.note("the bare echo");
        let questions: Vec<String> = (0..20_000).map(LOADS[0].1).collect();
        report.load(false, "echo", &echo, &questions, arguments.seconds)?;
        for (server, is_peer) in &servers {
            step.note(format!("changes, {}", server.name));
            let times = changes(&api, server, arguments.changes)?;
            let aim = if *is_peer { "" } else { "< 5" };
            report.push(*is_peer, "change to answer, p50", percentile(&times, 50), "ms", "");
            report.push(*is_peer, "change to answer, p99", percentile(&times, 99), "ms", aim);
            api.relist();
            std::thread::sleep(Duration::from_secs(3));
            report.push(*is_peer, "peak after listing anew", server.peak()?, "MiB", "");
        }
        Ok(((), "rates, latencies and changes are measured".into()))
    })?;
    steps.run("8,200 Services and 150,000 pods", |step| {
        let api = Api::start(Objects::of(8200, 18))?;
        for pods in ["insecure", "verified"] {
            for (program, is_peer) in &programs {
                step.note(format!("{} loads, pods {pods}", program.name()));
                let server = Server::with_pods(program, &api, upstream.address, pods)?;
                std::thread::sleep(Duration::from_secs(2));
                let aim = if *is_peer { "" } else { "1/5 of the peer's" };
                let what = |name: &str| format!("{name}, 150,000 pods {pods}");
                report.push(*is_peer, &what("resident"), server.resident()?, "MiB", aim);
                report.push(*is_peer, &what("peak"), server.peak()?, "MiB", "");
                api.relist();
                std::thread::sleep(Duration::from_secs(4));
                report.push(*is_peer, &what("listed anew"), server.resident()?, "MiB", aim);
                report.push(*is_peer, &what("peak, listed anew"), server.peak()?, "MiB", "");
            }
        }
        Ok(((), "memory is measured".into()))
    })?;
    Ok(report)
}

impl Report {
    fn push(&mut self, peer: bool, name: &str, value: f64, unit: &'static str, aim: &'static str) {
        let rows = if peer { &mut self.peer } else { &mut self.measured };
        rows.push(Measured::new(name, value, unit, aim));
    }

    /// Puts a server under as much of one load as it takes; returns how much that is.
    fn load(
        &mut self,
        peer: bool,
        load: &str,
        server: &Server,
        questions: &[String],
        seconds: u32,
    ) -> Result<f64> {
        let file = std::env::temp_dir().join(format!("portolan-bench-{}", std::process::id()));
        std::fs::write(&file, questions.join("\n") + "\n")?;
        let perf = |seconds: u32| -> Result<(f64, f64)> {
            let before = server.cpu()?;
            let said = output(
                Command::new("taskset")
                    .args(["-c", "1", "dnsperf", "-s", "127.0.0.1", "-e", "-T", "1"])
                    .args(["-c", "16", "-q", "256", "-p", &server.address.port().to_string()])
                    .args(["-l", &seconds.to_string(), "-d"])
                    .arg(&file),
            )?;
            let used = server.cpu()? - before;
            let field = |label: &str| -> Result<f64> {
                let line = said.lines().find_map(|line| line.trim().strip_prefix(label));
                let word = line.and_then(|rest| rest.split_whitespace().next());
                word.and_then(|word| word.parse().ok())
                    .with_context(|| format!("no {label} in {said}"))
            };
            Ok((field("Queries per second:")?, used * 1e6 / field("Queries completed:")?))
        };
        // What is forwarded is in the cache after this.
        perf(1)?;
        let (rate, cpu) = perf(seconds)?;
        let _ = std::fs::remove_file(&file);
        // Nothing is asked of the peer and the echo.
        let aim = |aim: &'static str| if peer || load == "echo" { "" } else { aim };
        self.push(peer, &format!("{load}: rate"), rate, "queries/s", aim("5 times the peer's"));
        self.push(
            peer,
            &format!("{load}: processor time"),
            cpu,
            "us/query",
            aim("1/5 of the peer's, 1.5 times the echo's"),
        );
        Ok(rate)
    }

    /// Asks a server at a fixed rate.
    fn latency(
        &mut self,
        peer: bool,
        load: &str,
        server: &Server,
        questions: &[String],
        pace: f64,
    ) -> Result<()> {
        // Half a minute at most, and enough for a hundred above the 99th percentile.
        let count = (pace * 30.0).clamp(1000.0, 20_000.0) as usize;
        let (times, lost) = paced(server.address, questions, pace, count)?;
        anyhow::ensure!(lost * 100 < count, "{} lost {lost} of {count}: {load}", server.name);
        let aim = if peer || load.starts_with("echo") { "" } else { "1/3 of the peer's" };
        self.push(peer, &format!("{load}: p50"), percentile(&times, 50), "us", "");
        self.push(peer, &format!("{load}: p99"), percentile(&times, 99), "us", aim);
        Ok(())
    }
}

/// Milliseconds from each change of a headless Service's one endpoint to its being answered.
fn changes(api: &Api, server: &Server, count: usize) -> Result<Vec<f64>> {
    let name = "one.ns0.svc.cluster.local A";
    (0..count)
        .map(|n| {
            let address = [10, 99, (n / 250) as u8, (n % 250 + 1) as u8];
            let begun = std::time::Instant::now();
            api.change_one(address)?;
            loop {
                let answer = query(server.address, name)?;
                if answer.ends_with(&address) {
                    return Ok(begun.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::ensure!(begun.elapsed().as_secs() < 10, "a change does not show");
            }
        })
        .collect()
}
