//! `./x demo`: the examples at work in a lab of three nodes, for somebody who has never seen it.

mod follow;
mod scenes;

use std::time::Instant;

use anyhow::{Context, Result};

use crate::cargo::{PORTOLAN, PROBE, build, root};
use crate::lab::Lab;
use crate::show;
use crate::steps::{Steps, seconds, style};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave the lab running, to play with
    #[arg(long)]
    keep: bool,
    /// The lab's name
    #[arg(long, default_value = "demo")]
    name: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("{}", style("1", "Portolan: Kubernetes Services, from the API to the packet"));
    println!(
        "A cluster of three nodes on this machine. Each node and each pod is a network namespace;"
    );
    println!("the API server, the controllers, the proxies and the DNS are this program's own.\n");
    let mut steps = Steps::default();
    let [portolan, probe] =
        steps.run("building portolan (some minutes the first time)", |step| {
            let paths = build([PORTOLAN, PROBE], crate::check::TESTED_PROFILE, |count, name| {
                step.note(format!("building portolan: crate {count}, {name}"));
            })?;
            Ok((paths, "portolan is built".to_owned()))
        })?;
    let begun = Instant::now();
    let lab = steps.run("starting a lab: control-plane, worker-1, worker-2", |_| {
        let lab = Lab::up(&portolan, &arguments.name, &["--workers", "2"])?;
        Ok((lab, "the lab is up: every node is Ready and the DNS answers".to_owned()))
    })?;
    steps.run("kubectl apply -f examples/", |_| {
        let examples = root().join("examples");
        let examples = examples.to_str().context("the repository's path is not UTF-8")?;
        let said = lab.kubectl(&["apply", "-f", examples])?;
        Ok(((), format!("examples/ is applied: {} objects", said.lines().count())))
    })?;
    steps.run("waiting for the pods", |_| {
        lab.kubectl(&["rollout", "status", "statefulset/blue", "--timeout=60s"])?;
        lab.kubectl(&["rollout", "status", "deployment/green", "--timeout=60s"])?;
        Ok(((), "5 pods are ready: blue-0 to blue-2, and two of green".to_owned()))
    })?;
    let answered = steps.run("asking the virtual address and the name", |_| {
        scenes::first_answer(&lab)?;
        Ok((begun.elapsed(), "the Service answers by address and by name".to_owned()))
    })?;

    scenes::objects(&lab)?;
    scenes::virtual_address(&lab)?;
    scenes::node_port(&lab)?;
    scenes::external_ip(&lab)?;
    scenes::names(&lab)?;
    let replaced = follow::pod_replaced(&lab, &probe)?;
    let shown = begun.elapsed();

    show::heading("Summary");
    for (what, took) in steps.done().iter().skip(1).take(3) {
        println!("  {what:<58} {:>8}", seconds(*took));
    }
    println!(
        "  {:<58} {:>8}",
        "from nothing to the first answer through a Service",
        seconds(answered)
    );
    println!(
        "  {:<58} {:>8}",
        "from deleting a pod to no traffic for it",
        seconds(replaced.withdrawn)
    );
    println!(
        "  {:<58} {:>8}",
        "from deleting a pod to its successor taking traffic",
        seconds(replaced.back)
    );
    println!(
        "  {:<58} {:>8}",
        "requests lost meanwhile",
        format!("{} of {}", replaced.lost, replaced.requests)
    );
    println!("  {:<58} {:>8}", "the whole demo", seconds(shown));
    println!();
    finish(arguments, lab, &mut steps)
}

fn finish(arguments: &Arguments, lab: Lab, steps: &mut Steps) -> Result<()> {
    let name = &arguments.name;
    let program = lab.portolan.strip_prefix(root()).unwrap_or(&lab.portolan).display().to_string();
    let flag = if name == "lab" { String::new() } else { format!(" --name {name}") };
    if !arguments.keep {
        steps.run("taking the lab down", |_| {
            lab.down()?;
            Ok(((), "the lab is down; nothing is left of it".to_owned()))
        })?;
        println!("\nTo go on playing: {}", style("1", "./x demo --keep"));
        return Ok(());
    }
    println!("The lab goes on running. To play with it:\n");
    let lines = [
        (
            format!("export KUBECONFIG={}", lab.kubeconfig().display()),
            "the host's kubectl speaks to the lab",
        ),
        ("kubectl scale statefulset blue --replicas=5".to_owned(), "the endpoints follow"),
        (
            format!("{program} lab exec{flag} worker-1 -- curl -s 127.0.0.1:30002/hostname"),
            "any program, on a node",
        ),
        (
            format!("{program} lab exec{flag} pod/default/blue-0 -- curl -s http://blue/hostname"),
            "or in a pod",
        ),
        (format!("{program} lab exec{flag} outside -- sh"), "a shell on the nodes' network"),
        (format!("{program} lab status{flag}"), "nodes, components, process ids"),
        (format!("{program} lab down{flag}"), "and away with it"),
    ];
    for (command, why) in lines {
        println!("  {command:<76} {}", style("2", &format!("# {why}")));
    }
    lab.keep();
    Ok(())
}
