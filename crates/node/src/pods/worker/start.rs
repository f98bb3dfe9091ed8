//! Starting a container: image, configuration, shim, probes.

mod describe;

use std::{collections::HashMap, sync::Arc, time::Duration};

use portolan_linux::{
    cgroup::Cgroup,
    process::{Pidfd, Spawn},
};
use tokio::time::Instant;

use super::{Message, Running, Worker, hook};
use crate::pods::{
    environment::{self, Data},
    images::Image,
    probe, report,
    shim::{
        READY_FD,
        spec::{self, EXIT, Exit, RUNNING, SPEC, Spec},
    },
    status::{self, Role, State, Terminated},
};

/// How long a refused pull shows as such before it becomes a back-off.
const SHOW_PULL_ERROR: Duration = Duration::from_secs(2);
/// A run that lasted this long makes earlier crashes forgotten. In seconds.
const STABLE: i64 = 600;

impl Worker {
    /// Starts the container if it should run and does not. Returns when to look again.
    pub(super) async fn ensure_running(&mut self, i: usize) -> Option<Instant> {
        let member = &mut self.members[i];
        if member.running.is_some() {
            return None;
        }
        if let State::Terminated(ended) = &member.state {
            if !status::restarts(&self.pod, member.role, ended.code) {
                return None;
            }
            let ended = ended.clone();
            let pause = member.backoff();
            member.last = Some(ended);
            member.not_before = (!pause.is_zero()).then(|| Instant::now() + pause);
            if !pause.is_zero() {
                let meta = &self.pod.metadata;
                let place = format!(
                    "{}_{}",
                    meta.name.as_deref().unwrap_or_default(),
                    meta.namespace.as_deref().unwrap_or_default()
                );
                let (name, path, uid) =
                    (member.container.name.clone(), member.field_path(), &self.uid);
                let message = format!(
                    "back-off {} restarting failed container={name} pod={place}({uid})",
                    go_duration(pause)
                );
                member.state = State::Waiting { reason: "CrashLoopBackOff", message };
                member.remember(&self.dir);
                let message =
                    format!("Back-off restarting failed container {name} in pod {place}({uid})");
                self.runtime.events.warning(&self.pod, &path, "BackOff", message);
            }
        }
        let member = &mut self.members[i];
        if let Some(at) = member.not_before
            && Instant::now() < at
        {
            return Some(at);
        }
        member.not_before = None;
        let image = match self.find_image(i) {
            Ok(image) => image,
            Err(at) => return Some(at),
        };
        match self.configure(i, &image).await {
            Ok(spec) => {
                self.launch(i, image, spec).await;
                // What ended at once is looked at again at once.
                self.members[i].running.is_none().then(Instant::now)
            }
            Err(why) => {
                let member = &mut self.members[i];
                let retry = Instant::now() + Duration::from_secs(1);
                member.not_before = Some(retry);
                let state =
                    State::Waiting { reason: "CreateContainerConfigError", message: why.clone() };
                if member.state != state {
                    let path = member.field_path();
                    member.state = state;
                    self.runtime.events.warning(
                        &self.pod,
                        &path,
                        "Failed",
                        format!("Error: {why}"),
                    );
                }
                Some(retry)
            }
        }
    }

    /// The container's image, or when to try again.
    fn find_image(&mut self, i: usize) -> Result<Image, Instant> {
        let events = self.runtime.events.clone();
        let member = &mut self.members[i];
        let (name, path) =
            (member.container.image.clone().unwrap_or_default(), member.field_path());
        let policy = member.container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let later = |member: &mut super::Member, pause: u64| {
            let at = Instant::now() + Duration::from_secs(pause);
            member.not_before = Some(at);
            Err(at)
        };
        match self.runtime.image(&name) {
            Ok(Some(image)) => {
                member.pulls = 0;
                let message = format!("Container image \"{name}\" already present on machine");
                events.normal(&self.pod, &path, "Pulled", message);
                Ok(image)
            }
            Err(e) => {
                let message = format!("Failed to apply default image tag \"{name}\": {e}");
                events.warning(&self.pod, &path, "InspectFailed", message.clone());
                events.warning(&self.pod, &path, "Failed", "Error: InvalidImageName".to_owned());
                member.state = State::Waiting { reason: "InvalidImageName", message };
                later(member, 60)
            }
            Ok(None) if policy == "Never" => {
                let message =
                    format!("Container image \"{name}\" is not present with pull policy of Never");
                events.warning(&self.pod, &path, "ErrImageNeverPull", message.clone());
                events.warning(&self.pod, &path, "Failed", "Error: ErrImageNeverPull".to_owned());
                member.state = State::Waiting { reason: "ErrImageNeverPull", message };
                later(member, 60)
            }
            Ok(None) if matches!(member.state, State::Waiting { reason: "ErrImagePull", .. }) => {
                let pause = (10_u64 << member.pulls.saturating_sub(1).min(5)).min(300);
                let message = format!("Back-off pulling image \"{name}\"");
                events.normal(&self.pod, &path, "BackOff", message.clone());
                events.warning(&self.pod, &path, "Failed", "Error: ImagePullBackOff".to_owned());
                member.state = State::Waiting { reason: "ImagePullBackOff", message };
                later(member, pause)
            }
            Ok(None) => {
                member.pulls += 1;
                events.normal(&self.pod, &path, "Pulling", format!("Pulling image \"{name}\""));
                let why = format!(
                    "Failed to pull image \"{name}\": this node reaches no registry; add the image with `portolan lab image add` or load its archive with `portolan lab load`"
                );
                events.warning(&self.pod, &path, "Failed", why.clone());
                events.warning(&self.pod, &path, "Failed", "Error: ErrImagePull".to_owned());
                member.state = State::Waiting { reason: "ErrImagePull", message: why };
                later(member, SHOW_PULL_ERROR.as_secs())
            }
        }
    }

    /// Whether a new image might help.
    pub(super) fn waits_for_image(&self) -> bool {
        self.members.iter().any(|m| {
            m.pulls > 0 || matches!(m.state, State::Waiting { reason: "ErrImageNeverPull", .. })
        })
    }

    /// Looks again now for images that were not there.
    pub(super) fn retry_images(&mut self) {
        for member in &mut self.members {
            let here = |name: &str| matches!(self.runtime.image(name), Ok(Some(_)));
            let waits =
                matches!(member.state, State::Waiting { reason, .. } if reason.contains("Image"));
            if waits && member.container.image.as_deref().is_some_and(here) {
                member.not_before = None;
            }
        }
    }

    /// Everything that the shim must know, from the pod and the objects that it refers to.
    async fn configure(&mut self, i: usize, image: &Image) -> Result<Spec, String> {
        let container = self.members[i].container.clone();
        let namespace = self.pod.metadata.namespace.clone().unwrap_or_default();
        let links = self.pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
        let runtime = Arc::clone(&self.runtime);
        let gather = async {
            let mut data: Data = HashMap::new();
            for (kind, name) in environment::references(&container) {
                let object = runtime.objects.get(kind, &namespace, &name).await;
                data.insert((kind, name), object);
            }
            (data, runtime.services(&namespace, links).await)
        };
        let (data, services) = tokio::select! {
            gathered = gather => gathered,
            _ = self.orders.changed() => {
                self.take_order();
                return Err("the pod has changed".to_owned());
            }
        };
        let facts = self.facts();
        let services = services?;
        let variables =
            environment::variables(&self.pod, &container, image, &facts, &services, &data)?;
        let argv = environment::command_line(&container, image, &variables);
        self.describe(i, image, argv, variables)
    }

    /// Starts the shim and waits until the container's program runs, or cannot.
    async fn launch(&mut self, i: usize, image: Image, spec: Spec) {
        let dir = self.dir.clone();
        let member = &mut self.members[i];
        let again = member.attempt > 0;
        member.attempt += 1;
        if again {
            member.restarts += 1;
            member.crashes += 1;
        }
        member.image = Some(image);
        let (name, path, directory) =
            (member.container.name.clone(), member.field_path(), member.run_dir(&dir));
        describe::forget_old_runs(&member.dir(&dir), member.attempt);
        // A pod whose directory was lost with the machine is not new.
        member.remember(&dir);
        self.runtime.events.normal(
            &self.pod,
            &path,
            "Created",
            format!("Created container: {name}"),
        );
        let config = Arc::clone(&self.runtime.config);
        let (pod_dir, uid, run) = (dir.clone(), self.uid.clone(), directory.clone());
        let started = tokio::task::spawn_blocking(move || {
            let shim_cgroup =
                Cgroup::at(config.cgroup_parent.join(format!("pod{uid}")).join("shim"))?;
            start_shim(&config.program, &config.shim_command, &run, &pod_dir, &spec, &shim_cgroup)
        });
        let result = match started.await {
            Ok(Ok(result)) => result,
            Ok(Err(e)) => Err(report(&e)),
            Err(e) => Err(e.to_string()),
        };
        match result {
            Ok(running) => {
                self.runtime.events.normal(
                    &self.pod,
                    &path,
                    "Started",
                    format!("Started container {name}"),
                );
                self.now_running(i, running, true);
            }
            Err(why) => {
                let message = format!("failed to start container \"{name}\": {why}");
                self.runtime.events.warning(
                    &self.pod,
                    &path,
                    "Failed",
                    format!("Error: {message}"),
                );
                let ended = Terminated {
                    code: 128,
                    signal: None,
                    reason: "StartError".to_owned(),
                    message,
                    started_at: None,
                    finished_at: jiff::Timestamp::now(),
                    container_id: self.members[i].id(&self.uid),
                };
                self.members[i].state = State::Terminated(ended);
                self.members[i].remember(&dir);
            }
        }
    }

    /// Follows a container that runs: its end, its probes and, if it is `new`, its start hook.
    pub(super) fn now_running(&mut self, i: usize, started: (Running, Pidfd), new: bool) {
        let (running, shim) = started;
        let ip = self.pod_ips().first().copied();
        let member = &mut self.members[i];
        let attempt = member.attempt;
        member.state = State::Running { started_at: running.started_at };
        member.killing = false;
        member.running = Some(running.clone());
        if new {
            member.started = member.container.startup_probe.is_none();
            member.ready = member.started && member.container.readiness_probe.is_none();
            member.remember(&self.dir);
        }
        let (tell, directory) = (self.tell.clone(), running.directory.clone());
        let cgroup = Cgroup::existing(&running.cgroup);
        self.tasks.spawn(async move {
            let exit = end_of(&shim, &directory).await;
            // Whatever the container's first process left behind ends with it.
            let _ =
                tokio::task::spawn_blocking(move || cgroup.destroy(Duration::from_secs(5))).await;
            let _ = tell.send(Message::Exited { member: i, attempt, exit });
        });
        let member = &mut self.members[i];
        let after = member.container.lifecycle.as_ref().and_then(|l| l.post_start.clone());
        if let Some(handler) = after.filter(|_| new) {
            let (tell, container) = (self.tell.clone(), member.container.clone());
            let running = running.clone();
            member.tasks.spawn(async move {
                if let Err(why) = hook::run(&handler, &container, running, ip).await {
                    let _ = tell.send(Message::HookFailed { member: i, attempt, why });
                }
            });
        }
        if member.started {
            self.start_probes(i, &[probe::Kind::Liveness, probe::Kind::Readiness]);
        } else {
            self.start_probes(i, &[probe::Kind::Startup]);
        }
    }

    /// The startup probe has had its answer: now the others may ask.
    pub(super) fn passed_startup(&mut self, i: usize) {
        let member = &mut self.members[i];
        member.started = true;
        member.ready = member.container.readiness_probe.is_none();
        self.start_probes(i, &[probe::Kind::Liveness, probe::Kind::Readiness]);
    }

    fn start_probes(&mut self, i: usize, kinds: &[probe::Kind]) {
        let Some(ip) = self.pod_ips().first().copied() else { return };
        let member = &mut self.members[i];
        let Some(running) = member.running.clone() else { return };
        for kind in kinds.iter().copied() {
            let Some(asked) = kind.of(&member.container).cloned() else { continue };
            let (tell, attempt) = (self.tell.clone(), member.attempt);
            let initially = match kind {
                probe::Kind::Readiness => member.ready,
                probe::Kind::Liveness => true,
                probe::Kind::Startup => false,
            };
            let said = move |verdict| {
                let _ = tell.send(Message::Probe { member: i, attempt, kind, verdict });
            };
            let task = probe::run(
                kind,
                asked,
                member.container.clone(),
                running.clone(),
                ip,
                initially,
                said,
            );
            let set = if kind == probe::Kind::Readiness {
                &mut member.readiness
            } else {
                &mut member.tasks
            };
            set.spawn(task);
        }
    }

    /// A run of a container is over.
    pub(super) fn exited(&mut self, i: usize, attempt: u32, exit: &Exit) {
        let member = &mut self.members[i];
        if member.attempt != attempt {
            return;
        }
        let started_at = member.running.take().map(|r| r.started_at);
        member.tasks.abort_all();
        member.readiness.abort_all();
        (member.ready, member.started, member.killing) = (false, false, false);
        let lasted = started_at.map_or(0, |s| exit.finished_at.duration_since(s).as_secs());
        if lasted >= STABLE {
            member.crashes = 0;
        }
        let ended = describe::terminated(member, &self.dir, &self.uid, started_at, exit);
        member.state = State::Terminated(ended);
        member.remember(&self.dir);
        if member.role == Role::Init && exit.code == 0 {
            tracing::debug!(container = member.container.name, "init container finished");
        }
    }
}

/// Writes the description down and starts the shim with it. The inner error is the shim's: why
/// the container's program does not run.
fn start_shim(
    program: &std::path::Path,
    arguments: &[String],
    run: &std::path::Path,
    pod: &std::path::Path,
    spec: &Spec,
    shim_cgroup: &Cgroup,
) -> portolan_linux::Attempt<Result<(Running, Pidfd), String>> {
    use std::io::Read;
    let io = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| portolan_linux::Failed::new(what, e)
    };
    std::fs::create_dir_all(run).map_err(io("create the container's directory"))?;
    if let spec::Root::Image { upper, work, .. } = &spec.root {
        std::fs::create_dir_all(upper).map_err(io("create the container's layer"))?;
        std::fs::create_dir_all(work).map_err(io("create the container's layer"))?;
    }
    std::fs::write(run.join("termination-log"), "").map_err(io("create the termination log"))?;
    spec::write(&run.join(SPEC), spec).map_err(io("describe the container"))?;
    Cgroup::at(&spec.cgroup)?;
    let (mut ready, told) = std::io::pipe().map_err(io("make a pipe"))?;
    let mut shim = Spawn::new(program)
        .args(arguments)
        .arg(run)
        .only_env([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
        .cgroup(shim_cgroup)
        .new_session()
        .output_to(pod.join("shim.log"))
        .directory("/")
        .descriptor(&told, READY_FD)
        .spawn()?;
    drop(told);
    let mut why = String::new();
    ready.read_to_string(&mut why).map_err(io("hear of the shim"))?;
    let running = spec::read::<spec::Running>(&run.join(RUNNING));
    match running {
        Ok(r) if why.is_empty() => {
            let running = Running {
                pid: r.pid,
                start: r.start,
                directory: run.to_owned(),
                cgroup: spec.cgroup.clone(),
                started_at: r.started_at,
            };
            Ok(Ok((running, shim.into_pidfd())))
        }
        _ => {
            let _ = shim.wait();
            if why.is_empty() {
                why = "the shim ended without a word; see shim.log".to_owned();
            }
            Ok(Err(why))
        }
    }
}

/// Waits for the shim's end and reads how its container ended.
pub(super) async fn end_of(shim: &Pidfd, directory: &std::path::Path) -> Exit {
    if let Err(e) = shim.end().await {
        tracing::error!(error = report(&e), "a container cannot be followed");
        std::future::pending::<()>().await;
    }
    shim.reap();
    spec::read(&directory.join(EXIT)).unwrap_or_else(|_| Exit {
        // Somebody killed the shim, and the kernel the container with it.
        code: 137,
        signal: Some(9),
        finished_at: jiff::Timestamp::now(),
        start_error: None,
    })
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}
