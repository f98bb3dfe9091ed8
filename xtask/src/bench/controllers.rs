//! `./x bench controllers`: what rolling a Deployment of many pods behind a Service costs.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::{Measured, Report};
use crate::cargo::cargo;
use crate::lab::output;
use crate::steps::Steps;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Pods of the Deployment
    #[arg(long, default_value_t = 1000)]
    pods: u32,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report> {
    let mut steps = Steps::default();
    let mut report = Report::new("controllers");
    let example = |what: &str| {
        let mut command = cargo();
        command.args([what, "--quiet", "--release", "-p", "portolan-controllers"]);
        command.args(["--example", "rolling"]);
        command
    };
    steps.run("building the controllers with optimisations", |_| {
        output(example("build").stderr(Stdio::inherit()))?;
        Ok(((), "the controllers are built".into()))
    })?;
    let pods = arguments.pods.to_string();
    let figures: Value = steps.run(&format!("rolling {pods} pods"), |_| {
        let said = output(example("run").args(["--", &pods]))?;
        let line = said.lines().rfind(|line| line.starts_with('{')).context("no figures")?;
        Ok((serde_json::from_str(line)?, format!("{pods} pods are rolled")))
    })?;
    let number = |pointer: &str| {
        figures.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer}"))
    };
    let mut measured = vec![Measured::new("rolled within", number("/seconds")?, "s", "")];
    for (name, key) in [
        ("Pod", "pod"),
        ("EndpointSlice", "endpointSlice"),
        ("Endpoints", "endpoints"),
        ("Service", "service"),
    ] {
        let writes = number(&format!("/{key}/writes"))?;
        measured.push(Measured::new(format!("{name}: writes"), writes, "", ""));
        let bytes = number(&format!("/{key}/bytes"))? / 1e6;
        measured.push(Measured::new(format!("{name}: written"), bytes, "MB", ""));
    }
    measured.push(Measured::new("EndpointSlices at the end", number("/slices")?, "", ""));
    report.measured = measured;
    Ok(report)
}
