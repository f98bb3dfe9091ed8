//! One pod's life on this node: a task that looks at what is wanted and what is, and does the
//! next thing, until the pod is gone.

mod adopt;
mod finish;
mod hook;
mod member;
mod publish;
mod start;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Runtime, environment, files, probe,
    runtime::View,
    sandbox::Sandbox,
    shim::spec::Exit,
    status::{self, Role, State},
    volumes::Volumes,
};

use finish::Stopping;
use member::Member;
pub(crate) use member::Running;

/// What is wanted of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) pod: Arc<Pod>,
    /// The object is gone: end the pod and forget it.
    pub(crate) deleted: bool,
}

/// What happened to one of the pod's containers. `attempt` says in which run.
#[derive(Debug)]
enum Message {
    Exited {
        member: usize,
        attempt: u32,
        exit: Exit,
    },
    Probe {
        member: usize,
        attempt: u32,
        kind: probe::Kind,
        verdict: probe::Verdict,
    },
    /// The hook after the start failed; why.
    HookFailed {
        member: usize,
        attempt: u32,
        why: String,
    },
}

pub(crate) struct Worker {
    runtime: Arc<Runtime>,
    pod: Arc<Pod>,
    deleted: bool,
    uid: String,
    dir: PathBuf,
    orders: watch::Receiver<Order>,
    /// The pod as its volumes follow it.
    pod_changes: watch::Sender<Arc<Pod>>,
    tell: mpsc::UnboundedSender<Message>,
    messages: mpsc::UnboundedReceiver<Message>,
    sandbox: Option<Sandbox>,
    volumes: Option<Volumes>,
    members: Vec<Member>,
    start_time: Timestamp,
    /// Why the node gave up on the pod: reason and message.
    failed: Option<(String, String)>,
    /// The pod had ended before this agent saw it: nothing is to be run.
    over: bool,
    stopping: Option<Stopping>,
    done: bool,
    /// Attempts at something that did not work yet.
    failures: u32,
    published: Option<PodStatus>,
    status: watch::Sender<Option<PodStatus>>,
    /// Tasks that end with the worker.
    tasks: JoinSet<()>,
}

impl Worker {
    pub(crate) fn new(runtime: Arc<Runtime>, orders: watch::Receiver<Order>) -> Self {
        let order = orders.borrow().clone();
        let uid = order.pod.metadata.uid.clone().unwrap_or_default();
        let (tell, messages) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let status = publish::start(&mut tasks, &runtime, &order.pod);
        let held = order.pod.status.as_ref();
        let phase = held.and_then(|s| s.phase.as_deref()).unwrap_or_default();
        Self {
            dir: runtime.pod_dir(&uid),
            over: matches!(phase, "Succeeded" | "Failed"),
            start_time: held
                .and_then(|s| s.start_time.as_ref())
                .map_or_else(Timestamp::now, |t| t.0),
            members: member::members(&order.pod),
            pod_changes: watch::channel(Arc::clone(&order.pod)).0,
            pod: order.pod,
            deleted: order.deleted,
            runtime,
            uid,
            orders,
            tell,
            messages,
            sandbox: None,
            volumes: None,
            failed: None,
            stopping: None,
            done: false,
            failures: 0,
            published: None,
            status,
            tasks,
        }
    }

    /// Runs until the pod is gone. Stopping early leaves the pod's processes as they are.
    pub(crate) async fn run(mut self) {
        self.adopt().await;
        let mut images = self.runtime.image_changes.clone();
        loop {
            let wake = self.step().await;
            self.update_view();
            self.publish();
            if self.done {
                break;
            }
            let pause = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_order();
                }
                Some(message) = self.messages.recv() => self.handle(message),
                Ok(()) = images.changed(), if self.waits_for_image() => self.retry_images(),
                () = pause => {}
            }
        }
        let key = self.key();
        let mut views = self.runtime.views.lock();
        if views.get(&key).is_some_and(|v| v.uid == self.uid) {
            views.remove(&key);
        }
    }

    fn take_order(&mut self) {
        let order = self.orders.borrow_and_update().clone();
        self.pod = Arc::clone(&order.pod);
        self.deleted |= order.deleted;
        self.pod_changes.send_replace(order.pod);
    }

    /// Whether all that was running shall end.
    fn ending(&self) -> bool {
        self.deleted || self.pod.metadata.deletion_timestamp.is_some() || self.failed.is_some()
    }

    /// Does what can be done now. Returns when to look again if nothing happens before.
    async fn step(&mut self) -> Option<Instant> {
        if let Some(deadline) = self.past_deadline() {
            return Some(deadline);
        }
        if self.ending() {
            return self.wind_down().await;
        }
        if self.over || self.is_over() {
            self.over = true;
            self.release().await;
            return None;
        }
        if self.sandbox.is_none()
            && let Err(why) = self.make_sandbox().await
        {
            let text = format!("Failed to create pod sandbox: {why}");
            return self.try_later("FailedCreatePodSandBox", text);
        }
        if self.volumes.is_none() {
            let (runtime, pod, facts) =
                (Arc::clone(&self.runtime), self.pod_changes.subscribe(), self.facts());
            // The pod may be taken back while its volumes are waited for.
            let made = tokio::select! {
                made = Volumes::set_up(&runtime, &pod, &facts) => made,
                _ = self.orders.changed() => {
                    self.take_order();
                    return Some(Instant::now());
                }
            };
            match made {
                Ok(volumes) => self.volumes = Some(volumes),
                Err(why) => return self.try_later("FailedMount", why),
            }
        }
        self.failures = 0;
        self.start_members().await
    }

    fn try_later(&mut self, reason: &'static str, message: String) -> Option<Instant> {
        // The first refusals are often over in a moment: another object is still to come.
        if self.failures == 3 || self.failures > 10 && self.failures.is_multiple_of(30) {
            self.runtime.events.warning(&self.pod, "", reason, message.clone());
        }
        tracing::debug!(pod = self.key(), reason, message, "trying again");
        let pause = Duration::from_millis(25 << self.failures.min(6));
        self.failures += 1;
        Some(Instant::now() + pause)
    }

    /// Starts what is due, in order: init containers one by one, then all others.
    async fn start_members(&mut self) -> Option<Instant> {
        let mut wake = None;
        for i in 0..self.members.len() {
            let member = &self.members[i];
            let (role, finished) =
                (member.role, matches!(&member.state, State::Terminated(t) if t.code == 0));
            if role == Role::Init && finished {
                continue;
            }
            let at = self.ensure_running(i).await;
            wake = earliest(wake, at);
            let member = &self.members[i];
            let go_on = match role {
                Role::Init => matches!(&member.state, State::Terminated(t) if t.code == 0),
                Role::Sidecar => member.started,
                Role::App => true,
            };
            if !go_on {
                break;
            }
        }
        wake
    }

    /// A pod that may run for a limited time only fails when that is over.
    fn past_deadline(&mut self) -> Option<Instant> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let left = seconds - Timestamp::now().duration_since(self.start_time).as_secs();
        if left <= 0 && !self.over && self.failed.is_none() {
            let message = "Pod was active on the node longer than the specified deadline";
            self.failed = Some(("DeadlineExceeded".to_owned(), message.to_owned()));
            self.runtime.events.normal(&self.pod, "", "DeadlineExceeded", message.to_owned());
        }
        None
    }

    /// Whether all containers have ended and none will be started again.
    fn is_over(&self) -> bool {
        let phase = status::phase(&self.pod, &self.status_facts());
        let running = self.members.iter().any(|m| m.running.is_some());
        matches!(phase, "Succeeded" | "Failed") && !running
    }

    /// Makes namespaces, link and the files that all containers share.
    async fn make_sandbox(&mut self) -> Result<(), String> {
        let spec = self.pod.spec.as_ref();
        let host_network = spec.and_then(|s| s.host_network) == Some(true);
        let ips = if host_network {
            Vec::new()
        } else {
            tokio::select! {
                ips = self.runtime.allocate_ips() => ips?,
                _ = self.orders.changed() => {
                    self.take_order();
                    return Err("the pod has changed".to_owned());
                }
            }
        };
        let config = &self.runtime.config;
        let host = if host_network {
            config.node_name.clone()
        } else {
            files::hostname(&self.pod, &config.cluster_domain).0
        };
        let settings =
            spec.and_then(|s| s.security_context.as_ref()).and_then(|c| c.sysctls.clone());
        let sandbox = Sandbox {
            name: self.pod.metadata.name.clone().unwrap_or_default(),
            namespace: self.pod.metadata.namespace.clone().unwrap_or_default(),
            uid: self.uid.clone(),
            hostname: host,
            ips: ips.clone(),
            host_network,
            sysctls: settings.into_iter().flatten().map(|s| (s.name, s.value)).collect(),
        };
        let (dir, runtime, making) = (self.dir.clone(), Arc::clone(&self.runtime), sandbox.clone());
        let made = tokio::task::spawn_blocking(move || making.create(&dir, runtime.mtu())).await;
        let made = made.map_err(|e| e.to_string()).and_then(|m| m.map_err(|e| super::report(&e)));
        if let Err(why) = made {
            self.runtime.release_ips(&ips);
            return Err(why);
        }
        self.sandbox = Some(sandbox);
        self.write_files().map_err(|e| e.to_string())
    }

    /// Writes `/etc/hosts` and its like into the pod's directory.
    fn write_files(&self) -> std::io::Result<()> {
        let config = &self.runtime.config;
        let etc = self.dir.join("etc");
        std::fs::create_dir_all(&etc)?;
        let ips = self.sandbox.as_ref().map(|s| s.ips.clone()).unwrap_or_default();
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let resolver = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
        let hosts = files::hosts(&self.pod, &ips, &config.cluster_domain, &hosts);
        let resolver =
            files::resolv_conf(&self.pod, &config.cluster_dns, &config.cluster_domain, &resolver);
        let hostname = self.sandbox.as_ref().map(|s| s.hostname.clone()).unwrap_or_default();
        std::fs::write(etc.join("hosts"), hosts)?;
        std::fs::write(etc.join("resolv.conf"), resolver)?;
        std::fs::write(etc.join("hostname"), format!("{hostname}\n"))
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Exited { member, attempt, exit } => self.exited(member, attempt, &exit),
            Message::Probe { member, attempt, kind, verdict } => {
                self.probed(member, attempt, kind, verdict)
            }
            Message::HookFailed { member, attempt, why } => {
                let held = &self.members[member];
                if held.attempt == attempt && held.running.is_some() {
                    let (name, path) = (held.container.name.clone(), held.field_path());
                    self.runtime.events.warning(&self.pod, &path, "FailedPostStartHook", why);
                    self.kill(member, format!("FailedPostStartHook: container {name} is stopped"));
                }
            }
        }
    }

    fn probed(&mut self, i: usize, attempt: u32, kind: probe::Kind, verdict: probe::Verdict) {
        let member = &mut self.members[i];
        if member.attempt != attempt || member.running.is_none() {
            return;
        }
        let (name, path) = (member.container.name.clone(), member.field_path());
        match (kind, verdict) {
            (_, probe::Verdict::Failure(why)) => {
                let message = format!("{} probe failed: {why}", kind.word());
                self.runtime.events.warning(&self.pod, &path, "Unhealthy", message);
            }
            (probe::Kind::Readiness, probe::Verdict::Now(ready)) => member.ready = ready,
            (probe::Kind::Startup, probe::Verdict::Now(true)) => self.passed_startup(i),
            (_, probe::Verdict::Now(true)) => {}
            (_, probe::Verdict::Now(false)) => {
                let word = kind.word().to_lowercase();
                self.kill(i, format!("Container {name} failed {word} probe, will be restarted"));
            }
        }
    }

    /// `NAMESPACE/NAME`.
    fn key(&self) -> String {
        let meta = &self.pod.metadata;
        let text = |s: &Option<String>| s.clone().unwrap_or_default();
        format!("{}/{}", text(&meta.namespace), text(&meta.name))
    }

    fn facts(&self) -> environment::Facts {
        let config = &self.runtime.config;
        environment::Facts {
            node_name: config.node_name.clone(),
            host_ips: config.internal_ips.clone(),
            pod_ips: self.pod_ips(),
        }
    }

    fn pod_ips(&self) -> Vec<std::net::IpAddr> {
        match &self.sandbox {
            Some(sandbox) if sandbox.host_network => self.runtime.config.internal_ips.clone(),
            Some(sandbox) => sandbox.ips.clone(),
            None => Vec::new(),
        }
    }

    /// Lets logs and commands find the containers.
    fn update_view(&self) {
        let running = self
            .members
            .iter()
            .filter_map(|m| Some((m.container.name.clone(), m.running.clone()?)));
        let view = View { uid: self.uid.clone(), running: running.collect() };
        self.runtime.views.lock().insert(self.key(), view);
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("pod", &self.key())
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}
