//! Full passes and single changes within the library: from an event to the kernel's answer,
//! without the API. Each mode and size is a process of its own, so that its peak of memory is too.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Size;
use crate::bench::report::{Measured, Report};
use crate::cargo::cargo;
use crate::lab::output;

/// The most endpoints, for which there are aims.
const MOST: usize = 250_000;

pub(super) fn build(profile: &str) -> Result<()> {
    output(proxy(profile).args(["--no-run", "--quiet"]).stderr(Stdio::inherit())).map(drop)
}

fn proxy(profile: &str) -> Command {
    let mut command = cargo();
    command.args(["bench", "--profile", profile, "-p", "portolan-node", "--bench", "proxy"]);
    command
}

pub(super) fn measure(profile: &str, mode: &str, size: Size, report: &mut Report) -> Result<()> {
    let numbers = [size.services, size.endpoints].map(|number| number.to_string());
    let said = output(proxy(profile).args(["--quiet", "--", mode]).args(numbers))?;
    let line = said.lines().rfind(|line| line.starts_with('{'));
    let figures: Value = serde_json::from_str(line.context("no figures")?)?;
    let number = |pointer: &str| {
        figures.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer}"))
    };
    let mut row = |what: &str, pointer: &str, unit, aim| -> Result<()> {
        let name = format!("{mode}, {size}: {what}");
        report.measured.push(Measured::new(name, number(pointer)?, unit, aim));
        Ok(())
    };
    // An aim for what the mode itself writes: `ebpf` has `nftables` beneath it.
    let most = size.services * size.endpoints == MOST || size.services == 45_000;
    let aim = |aim| if most { aim } else { "" };
    row(
        "full sync from empty",
        "/full_sync_ms",
        "ms",
        aim(if mode == "ebpf" { "" } else { "< 500" }),
    )?;
    if mode == "ebpf" {
        row("full write, socket half", "/write_own_ms", "ms", aim("< 200"))?;
    }
    for (what, key) in
        [("one endpoint changed", "endpoint_replaced"), ("one Service added", "service_more")]
    {
        row(&format!("{what}, p50"), &format!("/{key}/all_ms/p50"), "ms", "")?;
        row(&format!("{what}, p99"), &format!("/{key}/all_ms/p99"), "ms", "< 1")?;
    }
    row("peak memory, library", "/peak_mib", "MiB", "")
}
