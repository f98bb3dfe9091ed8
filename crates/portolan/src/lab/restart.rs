//! `lab restart`: ends components and waits until they run again.

use anyhow::{Context, bail};
use portolan_linux::process::Pidfd;
use serde::{Deserialize, Serialize};

use super::control::{Request, Restarted, ask};
use super::exec::load;
use super::paths::Paths;
use super::plan::{Kind, Selector};
use super::{pods, requirements};
use crate::config::proxy_mode::ProxyMode;

/// How components are restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct How {
    /// Send SIGKILL and leave it to the supervisor to notice.
    pub kill: bool,
    /// The mode of proxies from now on; without one they keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_mode: Option<ProxyMode>,
}

/// Restarts what is selected.
pub fn run(lab: &str, selector: &Selector, how: &How, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    requirements::root("lab restart")?;
    if let Some(mode) = how.proxy_mode {
        if selector.kind != Kind::Proxy {
            bail!("--proxy-mode {mode}: {selector} has none; restart proxy or proxy@NODE with it");
        }
        requirements::mode(mode)?;
    }
    let paths = Paths::of(lab);
    let plan = load(lab, &paths)?;
    if let Some(node) = &selector.node
        && plan.node(node).is_none()
    {
        let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("the lab {lab} has no node {node}; its nodes are {}", names.join(", "));
    }
    if selector.kind == Kind::Dns {
        return dns(&plan, &paths, selector, how.kill, say);
    }
    let request = Request::Restart { selector: selector.clone(), how: *how };
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
