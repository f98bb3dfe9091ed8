//! `lab exec`: becomes a command that runs on a node, outside, or in a pod.

use std::ffi::OsString;
use std::str::FromStr;

use anyhow::{Context, bail};
use portolan_linux::cgroup::Cgroup;
use portolan_linux::netns::NetNs;
use portolan_linux::process::{Spawn, namespaces_of};
use portolan_node::pods::shim::spec::{self, SPEC, Spec};

use super::paths::Paths;
use super::plan::{OUTSIDE, Plan};
use super::{pods, requirements};

/// `WHERE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A node's name, or `outside`.
    Machine(String),
    Pod {
        namespace: String,
        name: String,
    },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(pod) = text.strip_prefix("pod/") else {
            if text.is_empty() || text.contains('/') {
                return Err("write a node's name, outside, or pod/NAMESPACE/NAME".to_owned());
            }
            return Ok(Place::Machine(text.to_owned()));
        };
        match pod.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Place::Pod { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("a pod is written as pod/NAMESPACE/NAME".to_owned()),
        }
    }
}

/// Replaces this process by the command. Returns only the reason why not.
pub fn run(lab: &str, place: &Place, command: &[OsString]) -> anyhow::Result<()> {
    requirements::root("lab exec")?;
    let (program, args) = command.split_first().context("which command?")?;
    let paths = Paths::of(lab);
    let plan = load(lab, &paths)?;
    let spawn = Spawn::new(program).args(args);
    let spawn = match place {
        Place::Machine(name) => {
            if !plan.machines().any(|machine| machine.name == *name) {
                let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
                bail!(
                    "the lab {lab} has no node {name}; it has {}, {OUTSIDE} and pod/NAMESPACE/NAME",
                    names.join(", ")
                );
            }
            let netns = NetNs::open(paths.netns(name))
                .with_context(|| format!("the node {name} has no network; is the lab up?"))?;
            // Ends with the lab; what runs on a node is among the node's processes.
            let all = match plan.node(name) {
                Some(node) => paths.node_cgroup(&node.name),
                None => paths.cgroup(),
            };
            let cgroup = Cgroup::create(all.join("exec"))?;
            spawn.netns(&netns).own_sysfs().cgroup(&cgroup)
        }
        Place::Pod { namespace, name } => {
            inside(spawn, &pods::container(&plan, &paths, namespace, name)?)?
        }
    };
    Err(anyhow::Error::from(spawn.exec()))
}

/// In everything that the container's program is in, with its environment and user.
fn inside(spawn: Spawn, container: &pods::Container) -> anyhow::Result<Spawn> {
    let described: Spec = spec::read(&container.directory.join(SPEC))
        .with_context(|| format!("cannot read how the pod {} was started", container.pod))?;
    // A variable that the user's own terminal needs.
    let terminal = std::env::var("TERM").ok().map(|value| ("TERM".to_owned(), value));
    let mut spawn = spawn
        .only_env(described.env.into_iter().chain(terminal))
        .directory(&described.directory)
        .cgroup(&Cgroup::existing(described.cgroup));
    if let Some(user) = described.user {
        spawn = spawn.user(user.uid, user.gid, user.groups);
    }
    for namespace in namespaces_of(container.pid)? {
        spawn = spawn.namespace(&namespace);
    }
    Ok(spawn)
}

/// The plan of a lab that is there.
pub fn load(lab: &str, paths: &Paths) -> anyhow::Result<Plan> {
    let text = match std::fs::read(paths.plan()) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("there is no lab named {lab}; start it with: portolan lab up --name {lab}")
        }
        Err(error) => return Err(error).context("cannot read the lab's plan"),
    };
    serde_json::from_slice(&text).context("the lab's plan is damaged; portolan lab down removes it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        assert_eq!("worker-1".parse(), Ok(Place::Machine("worker-1".to_owned())));
        let pod = Place::Pod { namespace: "default".to_owned(), name: "web-0".to_owned() };
        assert_eq!("pod/default/web-0".parse(), Ok(pod));
        for wrong in ["", "pod/web-0", "pod//web-0", "svc/a", "pod/a/b/c"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
