//! `./x bench datapath`: how long the kernel takes to follow, in each mode and at each size, beside
//! kube-proxy with as many objects.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::kube_proxy;
use super::report::{Measured, Report};
use crate::cargo::cargo;
use crate::lab::output;
use crate::steps::Steps;

/// Services, and endpoints of each.
const SIZES: [(usize, usize); 3] = [(5_000, 50), (10_000, 10), (45_000, 1)];

/// A mode, and the aim for writing 250,000 endpoints: of what the mode itself writes, since
/// `ebpf` has `nftables` beneath it.
const MODES: [(&str, &str); 2] = [("nftables", "< 500"), ("ebpf", "< 200")];

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A kube-proxy to measure beside
    #[arg(long, env = "PORTOLAN_PEER_KUBE_PROXY", value_name = "FILE")]
    kube_proxy: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report> {
    let mut steps = Steps::default();
    steps.run("building the proxy's benchmark with optimisations", |_| {
        output(proxy().args(["--no-run", "--quiet"]).stderr(Stdio::inherit()))?;
        Ok(((), "the proxy's benchmark is built".into()))
    })?;
    let mut report = Report { subject: "datapath", measured: Vec::new(), peer: Vec::new() };
    for (services, endpoints) in SIZES {
        let size = format!("{services}x{endpoints}");
        for (mode, aim) in MODES {
            steps.run(&format!("{mode}, {size}"), |_| {
                // A process of its own for each, so that the peak of its memory is its own.
                let numbers = [services, endpoints].map(|number| number.to_string());
                let said = output(proxy().args(["--quiet", "--", mode]).args(numbers))?;
                let line = said.lines().rfind(|line| line.starts_with('{'));
                let figures = serde_json::from_str(line.context("no figures")?)?;
                let aim = if (services, endpoints) == SIZES[0] { aim } else { "" };
                report.measured.extend(rows(mode, &size, &figures, aim)?);
                Ok(((), format!("{mode}, {size}: measured")))
            })?;
        }
        let Some(program) = &arguments.kube_proxy else { continue };
        steps.run(&format!("kube-proxy, {size}"), |_| {
            report.peer.extend(kube_proxy::measure(program, services, endpoints, &size)?);
            Ok(((), format!("kube-proxy, {size}: measured")))
        })?;
    }
    Ok(report)
}

/// `profile.release`, for which the dependencies are built anyway.
fn proxy() -> Command {
    let mut command = cargo();
    command.args(["bench", "--profile", "release", "-p", "portolan-node", "--bench", "proxy"]);
    command
}

fn rows(mode: &str, size: &str, figures: &Value, aim: &'static str) -> Result<Vec<Measured>> {
    let number = |pointer: &str| {
        figures.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer}"))
    };
    let row = |what: &str, pointer: &str, unit, aim| -> Result<Measured> {
        Ok(Measured::new(format!("{mode}, {size}: {what}"), number(pointer)?, unit, aim))
    };
    let mut rows = vec![
        row("full sync from empty", "/full_sync_ms", "ms", if mode == "ebpf" { "" } else { aim })?,
        row("one endpoint changed, p50", "/endpoint_replaced/all_ms/p50", "ms", "")?,
        row("one endpoint changed, p99", "/endpoint_replaced/all_ms/p99", "ms", "")?,
        row("one Service added, p50", "/service_more/all_ms/p50", "ms", "")?,
        row("one Service added, p99", "/service_more/all_ms/p99", "ms", "")?,
        row("peak memory", "/peak_mib", "MiB", "")?,
    ];
    if mode == "ebpf" {
        rows.insert(1, row("full write, socket half", "/write_own_ms", "ms", aim)?);
    }
    Ok(rows)
}
