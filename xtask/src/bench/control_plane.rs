//! `./x bench control-plane`: memory, start-up times, writes and reads of the API server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::report::{Measured, Report, median};
use crate::cargo::{PORTOLAN, PROBE, build, root};
use crate::lab::{Lab, output};
use crate::steps::Steps;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Seconds of each load
    #[arg(long, default_value_t = Self::default().seconds)]
    seconds: f64,
    /// Times that a start is measured; the median counts
    #[arg(long, default_value_t = Self::default().repeat)]
    repeat: usize,
    /// A kubeconfig of another API server, to put under the same load for comparison
    #[arg(long)]
    peer: Option<PathBuf>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { seconds: 5.0, repeat: 5, peer: None }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Report> {
    let mut steps = Steps::default();
    let (portolan, probe) = steps.run("building portolan with optimisations", |step| {
        let [portolan, probe] = build([PORTOLAN, PROBE], "release", |count, name| {
            step.note(format!("crate {count}: {name}"))
        })?;
        Ok(((portolan, probe), "portolan and the load generator are built".into()))
    })?;
    let mut measured = Vec::new();
    steps.run("portolan up", |_| {
        let times: Vec<f64> = (0..arguments.repeat)
            .map(|_| first_answer(&portolan, &probe))
            .collect::<Result<_>>()?;
        measured.push(Measured::new("up: first answer of the API", median(times), "ms", "< 300"));
        Ok(((), "portolan up is measured".into()))
    })?;
    steps.run("lab up", |_| {
        let mut times = Vec::new();
        for _ in 0..arguments.repeat {
            let started = Instant::now();
            let lab = Lab::up(&portolan, "bench", &["--workers", "2"])?;
            times.push(started.elapsed().as_secs_f64());
            lab.down()?;
        }
        measured.push(Measured::new("lab up, three nodes", median(times), "s", "< 3"));
        Ok(((), "lab up is measured".into()))
    })?;
    let lab = Lab::up(&portolan, "bench", &["--workers", "2"])?;
    steps.run("memory, a StatefulSet, loads", |step| {
        step.note("ten idle seconds");
        std::thread::sleep(Duration::from_secs(10));
        measured.extend(memory(&lab)?);
        step.note("a StatefulSet of three");
        measured.push(stateful_set(&lab)?);
        measured
            .extend(loads(&probe, &lab.kubeconfig(), arguments.seconds, |what| step.note(what))?);
        Ok(((), "the lab is measured".into()))
    })?;
    lab.down()?;
    let peer = match &arguments.peer {
        None => Vec::new(),
        Some(kubeconfig) => steps.run("the same loads on the peer", |step| {
            Ok((
                loads(&probe, kubeconfig, arguments.seconds, |what| step.note(what))?,
                "the peer is measured".into(),
            ))
        })?,
    };
    let mut report = Report::new("control-plane");
    (report.measured, report.peer) = (measured, peer);
    Ok(report)
}

/// Milliseconds from starting `portolan up`, in namespaces of its own, to the first answered request.
fn first_answer(portolan: &Path, probe: &Path) -> Result<f64> {
    let scratch = std::env::temp_dir().join(format!("portolan-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let script = r#"
        ip link set lo up
        ip link add wire type veth peer name far && ip link set far up && ip link set wire up
        ip address add 192.0.2.10/24 dev wire
        exec "$1" first-answer --kubeconfig "$3/kubeconfig" -- "$2" up --node-ip 192.0.2.10 \
            --data-dir "$3/data" --run-dir "$3/run" --kubeconfig "$3/kubeconfig""#;
    let said = output(
        Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .args([probe, portolan, scratch.as_path()])
            .stderr(Stdio::inherit()),
    );
    let _ = std::fs::remove_dir_all(&scratch);
    let said: Value = serde_json::from_str(&said?)?;
    said["first_answer_ms"].as_f64().context("the probe gave no time")
}

/// Resident memory of the control plane, idle: Rss counts shared pages in full, Pss its share of them.
fn memory(lab: &Lab) -> Result<Vec<Measured>> {
    let status: Value = serde_json::from_str(&output(
        Command::new(&lab.portolan).args(["lab", "status", "--name", &lab.name, "-o", "json"]),
    )?)?;
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for component in status["components"].as_array().context("status has no components")? {
        let name = component["name"].as_str().unwrap_or_default();
        let (true, Some(pid)) =
            (matches!(name, "apiserver" | "controllers"), component["pid"].as_u64())
        else {
            continue;
        };
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        for field in ["Rss", "Pss"] {
            let line = rollup.lines().find(|line| line.starts_with(&format!("{field}:")));
            let kib =
                line.and_then(|line| line.split_whitespace().nth(1)).context("no such field")?;
            *sums.entry(field).or_default() += kib.parse::<f64>()? / 1024.0;
        }
    }
    ensure!(!sums.is_empty(), "no process of the control plane in {status}");
    Ok(vec![
        Measured::new("control plane, idle, Rss", sums["Rss"], "MiB", "< 60"),
        Measured::new("control plane, idle, Pss", sums["Pss"], "MiB", ""),
    ])
}

/// From `kubectl apply` of a StatefulSet of three and its Service to all three answering by address and by name.
fn stateful_set(lab: &Lab) -> Result<Measured> {
    let file = root().join("examples/01-blue.yaml");
    let file = file.to_str().context("the repository's path is not UTF-8")?;
    let started = Instant::now();
    lab.kubectl(&["apply", "-f", file])?;
    lab.kubectl(&["rollout", "status", "statefulset/blue", "--timeout=60s"])?;
    let address = lab.kubectl(&["get", "service", "blue", "-o", "jsonpath={.spec.clusterIP}"])?;
    let retry =
        ["curl", "-s", "--fail", "--retry", "50", "--retry-delay", "0", "--retry-all-errors"];
    for (place, url) in [
        ("worker-1", format!("http://{address}/hostname")),
        ("pod/default/blue-0", "http://blue/hostname".into()),
    ] {
        lab.exec(place, &[&retry[..], &[&url]].concat())?;
    }
    let value = started.elapsed().as_secs_f64();
    Ok(Measured::new("StatefulSet of 3: apply to answer", value, "s", "< 3"))
}

fn loads(
    probe: &Path,
    kubeconfig: &Path,
    seconds: f64,
    note: impl Fn(&'static str),
) -> Result<Vec<Measured>> {
    let load = |what: &str, clients: &str| -> Result<f64> {
        let prefix = format!("bench-{}-{clients}", std::process::id());
        let mut command = Command::new(probe);
        command.args([
            "load",
            "--clients",
            clients,
            "--prefix",
            &prefix,
            "--seconds",
            &seconds.to_string(),
        ]);
        let said: Value =
            serde_json::from_str(&output(command.arg("--kubeconfig").arg(kubeconfig).arg(what))?)?;
        said["per_second"].as_f64().context("the probe gave no rate")
    };
    note("durable creates, one client");
    let one = load("create", "1")?;
    note("durable creates, 32 clients");
    let many = load("create", "32")?;
    note("reads, 32 clients");
    let reads = load("read", "32")?;
    Ok(vec![
        Measured::new("durable creates, 1 client", one, "/s", "> 3,915"),
        Measured::new("durable creates, 32 clients", many, "/s", "> 11,350"),
        Measured::new("reads, 32 clients", reads, "/s", "> 50,600"),
    ])
}
