//! `lab restart`: ends components and waits until they run again.

use anyhow::{Context, bail};
use portolan_linux::process::Pidfd;

use super::control::{Request, Restarted, ask};
use super::exec::load;
use super::paths::Paths;
use super::plan::{Kind, Selector};
use super::{pods, requirements};

/// Restarts what is selected; `kill` sends SIGKILL and leaves it to the supervisor to notice.
pub fn run(lab: &str, selector: &Selector, kill: bool, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    requirements::root("lab restart")?;
    let paths = Paths::of(lab);
    let plan = load(lab, &paths)?;
    if let Some(node) = &selector.node
        && plan.node(node).is_none()
    {
        let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("the lab {lab} has no node {node}; its nodes are {}", names.join(", "));
    }
    if selector.kind == Kind::Dns {
        return dns(&plan, &paths, selector, kill, say);
    }
    let request = Request::Restart { selector: selector.clone(), kill };
    let mut answers = ask(&paths, &request)?;
    while let Some(answer) = answers.next()? {
        match answer {
            Restarted::Started { name, pid } => say(&format!("{name} runs again, process {pid}")),
            Restarted::Failed { message } => bail!("{message}"),
        }
    }
    Ok(())
}

/// The DNS runs in pods: its process is ended, and the node's agent starts the container again.
fn dns(
    plan: &super::plan::Plan,
    paths: &Paths,
    selector: &Selector,
    kill: bool,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let signal = if kill { rustix::process::Signal::KILL } else { rustix::process::Signal::TERM };
    let mut any = false;
    for node in &plan.nodes {
        if selector.node.as_ref().is_some_and(|name| *name != node.name) {
            continue;
        }
        for pods::Container { pod, pid, .. } in pods::dns(paths, &node.name) {
            any = true;
            Pidfd::open(pid)
                .and_then(|process| process.signal(signal.as_raw()))
                .with_context(|| format!("cannot stop the DNS pod {pod}"))?;
            say(&format!("the DNS pod {pod} on {} was told to stop, process {pid}", node.name));
        }
    }
    if any { Ok(()) } else { bail!("no DNS pod runs there") }
}
