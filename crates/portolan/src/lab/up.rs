//! `lab up`: claims the name, starts the supervisor, and waits until the cluster can be used.

mod ready;

pub(crate) use ready::is_ready;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use portolan_linux::cgroup::Cgroup;
use portolan_linux::process::Spawn;

use super::control::Progress;
use super::paths::Paths;
use super::plan::Plan;
use super::spec::LabSpec;
use super::{down, process, requirements, supervisor};

/// How long everything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a lab that came up says about itself.
#[derive(Debug)]
pub struct Up {
    pub kubeconfig: std::path::PathBuf,
    pub plan: Plan,
    pub took: Duration,
}

/// Builds the lab and waits for it; on failure nothing of it stays.
pub fn run(spec: LabSpec, say: &dyn Fn(&str)) -> anyhow::Result<Up> {
    requirements::all("lab up")?;
    requirements::mode(spec.proxy_mode)?;
    let started = Instant::now();
    let paths = Paths::of(&spec.name);
    let name = spec.name.clone();
    check_kubeconfig(&spec)?;
    let lock = claim(&name, &paths, say)?;
    let plan = Plan::new(spec);
    match bring_up(&plan, &paths, lock, say, started + DEADLINE) {
        Ok(kubeconfig) => Ok(Up { kubeconfig, plan, took: started.elapsed() }),
        Err(error) => {
            if let Err(leftover) = down::remove(&name) {
                say(&format!("and cleaning up failed: {leftover:#}"));
            }
            Err(error)
        }
    }
}

/// Takes the name: refuses where its lab runs, removes what a dead one left.
fn claim(name: &str, paths: &Paths, say: &dyn Fn(&str)) -> anyhow::Result<OwnedFd> {
    for _ in 0..3 {
        let left_over = paths.plan().exists() || down::any_process(paths);
        fs::create_dir_all(paths.root())
            .with_context(|| format!("cannot create {}", paths.root().display()))?;
        let Some(lock) = supervisor::lock(paths)? else {
            bail!(
                "a lab named {name} is running already; use it (portolan lab status --name {name}), end it (portolan lab down --name {name}) or choose another --name"
            );
        };
        if left_over {
            say(&format!("cleaning up after a lab named {name} that died"));
            down::remove(name)?;
            continue;
        }
        if is_same_file(&lock, &paths.lock()) {
            return Ok(lock);
        }
    }
    bail!("another process keeps creating or removing the lab {name}; try again");
}

/// Whether the locked file still is the one by that name: `down` removes it.
fn is_same_file(lock: &OwnedFd, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let there = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let held = rustix::fs::fstat(lock).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((there, held), (Ok(there), Ok(held)) if there == held)
}

/// A path that cannot be written is better known before than after.
fn check_kubeconfig(spec: &LabSpec) -> anyhow::Result<()> {
    let Some(path) = &spec.kubeconfig else { return Ok(()) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.is_dir()) || path.is_dir() {
        bail!("--kubeconfig {}: give a file in a directory that exists", path.display());
    }
    Ok(())
}

fn bring_up(
    plan: &Plan,
    paths: &Paths,
    lock: OwnedFd,
    say: &dyn Fn(&str),
    deadline: Instant,
) -> anyhow::Result<std::path::PathBuf> {
    fs::create_dir_all(paths.logs())?;
    fs::create_dir_all(paths.images())?;
    fs::write(paths.plan(), serde_json::to_vec_pretty(plan)?)?;
    start_supervisor(plan, paths, lock, say)?;
    let kubeconfig = match &plan.spec.kubeconfig {
        None => paths.kubeconfig(),
        Some(path) => {
            fs::copy(paths.kubeconfig(), path)
                .with_context(|| format!("--kubeconfig: cannot write {}", path.display()))?;
            path.clone()
        }
    };
    ready::wait(plan, paths, say, deadline)?;
    Ok(kubeconfig)
}

fn start_supervisor(
    plan: &Plan,
    paths: &Paths,
    lock: OwnedFd,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let log = paths.logs().join("supervisor.log");
    let errors = fs::File::create(&log)?;
    let cgroup = Cgroup::create(paths.cgroup().join("supervisor"))?;
    let mut supervisor = Spawn::new(process::program())
        .arg0("portolan")
        .args(["supervise", &plan.spec.name])
        .env("MALLOC_ARENA_MAX", "2")
        .env("RUST_LOG", crate::telemetry::filter())
        .stdin(lock)
        .stdout(std::process::Stdio::piped())
        .stderr(errors)
        .directory("/")
        .cgroup(&cgroup)
        .new_session()
        .spawn()
        .context("cannot start the lab's supervisor")?;
    let output = supervisor.take_stdout().context("the supervisor's output is no pipe")?;
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?)? {
            Progress::Step(step) => say(&step),
            Progress::Started { .. } => return Ok(()),
            Progress::Failed(message) => bail!("{message}"),
        }
    }
    bail!("the lab's supervisor ended unexpectedly:\n{}", process::last_lines(&log, 20));
}
