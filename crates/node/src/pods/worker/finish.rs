//! Ending containers and pods.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use portolan_linux::{cgroup::Cgroup, mount, process::Pidfd};
use tokio::{sync::watch, time::Instant};

use super::{Worker, hook};
use crate::pods::{
    report,
    status::{Role, State},
};

/// A hook that used up the grace period leaves the container this long to end by itself.
const AFTER_HOOK: Duration = Duration::from_secs(2);

/// How long a pod whose object was removed by force may take to end, in seconds.
const AFTER_REMOVAL: i64 = 1;

/// A pod on its way out.
#[derive(Debug)]
pub(super) struct Stopping {
    grace: i64,
    /// When what still runs is killed.
    deadline: watch::Sender<Instant>,
}

impl Worker {
    /// Brings the pod nearer to its end: containers first, then all else.
    pub(super) async fn wind_down(&mut self) -> Option<Instant> {
        let grace = self.grace_seconds();
        let deadline = Instant::now() + Duration::from_secs(grace.max(0).cast_unsigned());
        match &mut self.stopping {
            None => self.stopping = Some(Stopping { grace, deadline: watch::channel(deadline).0 }),
            // Asked again, with less patience.
            Some(stopping) if grace < stopping.grace => {
                stopping.grace = grace;
                stopping.deadline.send_replace(deadline);
            }
            Some(_) => {}
        }
        // Sidecars stay until those that they serve have ended, the last one goes first.
        let main_runs = self.members.iter().any(|m| m.running.is_some() && m.role != Role::Sidecar);
        let mut running = false;
        for i in (0..self.members.len()).rev() {
            let member = &self.members[i];
            if member.running.is_none() {
                continue;
            }
            running = true;
            if !main_runs || member.role != Role::Sidecar {
                let name = member.container.name.clone();
                self.kill(i, format!("Stopping container {name}"));
                if !main_runs {
                    break;
                }
            }
        }
        if running {
            return None;
        }
        self.finish().await
    }

    fn grace_seconds(&self) -> i64 {
        let spec = self.pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
        let grace = self.pod.metadata.deletion_grace_period_seconds.or(spec).unwrap_or(30);
        // Once its object is gone, another pod may take its place at any moment.
        if self.deleted { grace.min(AFTER_REMOVAL) } else { grace }
    }

    /// Ends a running container: hook, signal, and after the grace period the kill. Its end comes
    /// as a message.
    pub(super) fn kill(&mut self, i: usize, message: String) {
        let ip = self.pod_ips().first().copied();
        let grace = self.grace_seconds();
        let deadline = match &self.stopping {
            Some(stopping) => stopping.deadline.subscribe(),
            None => {
                watch::channel(Instant::now() + Duration::from_secs(grace.max(0).cast_unsigned())).1
            }
        };
        let member = &mut self.members[i];
        let Some(running) = member.running.clone().filter(|_| !member.killing) else { return };
        member.killing = true;
        // The readiness probe goes on asking: a pod that still serves while it ends shows it.
        member.tasks.abort_all();
        let path = member.field_path();
        self.runtime.events.normal(&self.pod, &path, "Killing", message);
        let (container, pod) = (member.container.clone(), Arc::clone(&self.pod));
        let signal = stop_signal(member);
        let events = self.runtime.events.clone();
        self.tasks.spawn(async move {
            let mut deadline = deadline;
            let Ok(process) = Pidfd::open_started(running.pid, running.start) else { return };
            let before = container.lifecycle.as_ref().and_then(|l| l.pre_stop.clone());
            let mut extra = Duration::ZERO;
            if let Some(handler) = before.filter(|_| *deadline.borrow() > Instant::now()) {
                tokio::select! {
                    done = hook::run(&handler, &container, running.clone(), ip) => {
                        if let Err(why) = done {
                            events.warning(&pod, &path, "FailedPreStopHook", why);
                        }
                    }
                    () = passed(&mut deadline) => extra = AFTER_HOOK,
                    _ = process.end() => return,
                }
            }
            let hurried = *deadline.borrow() <= Instant::now() && extra.is_zero();
            if !hurried {
                let _ = process.signal(signal);
                let patience = async {
                    passed(&mut deadline).await;
                    tokio::time::sleep(extra).await;
                };
                tokio::select! {
                    _ = process.end() => return,
                    () = patience => {}
                }
            }
            if let Err(e) = Cgroup::existing(&running.cgroup).kill_all() {
                tracing::warn!(error = report(&e), "a container cannot be killed as a group");
            }
            let _ = process.signal(9);
        });
    }

    /// All containers have ended: shows it, lets go of everything and has the object removed.
    async fn finish(&mut self) -> Option<Instant> {
        // The hook of a container that never ran has nothing to wait for.
        self.over = true;
        self.release().await;
        if !self.deleted {
            self.publish();
            self.published_for_sure().await;
            // A pod that failed on its own keeps its object.
            self.pod.metadata.deletion_timestamp.as_ref()?;
            if !self.delete_object().await {
                return Some(Instant::now() + Duration::from_secs(1));
            }
        }
        self.forget().await;
        self.done = true;
        None
    }

    /// Removes the object, now that nothing of it runs. False: to be tried again.
    async fn delete_object(&self) -> bool {
        let meta = &self.pod.metadata;
        let (name, namespace) =
            (meta.name.clone().unwrap_or_default(), meta.namespace.clone().unwrap_or_default());
        let pods: Api<Pod> = Api::namespaced(self.runtime.client.0.clone(), &namespace);
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        match pods.delete(&name, &params).await {
            Ok(_) => true,
            // Gone, or another pod of that name is there by now.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => true,
            Err(e) => {
                tracing::debug!(error = report(&e), pod = name, "the ended pod was not removed");
                false
            }
        }
    }

    /// Lets go of the pod's namespaces, link, addresses, volumes and control group.
    pub(super) async fn release(&mut self) {
        self.volumes = None;
        let Some(sandbox) = self.sandbox.take() else { return };
        let (dir, runtime, uid) = (self.dir.clone(), Arc::clone(&self.runtime), self.uid.clone());
        let released = tokio::task::spawn_blocking(move || {
            Cgroup::existing(runtime.config.cgroup_parent.join(format!("pod{uid}")))
                .destroy(Duration::from_secs(10))?;
            sandbox.remove(&dir)?;
            mount::detach_below(&dir)?;
            mount::detach_below(runtime.pod_data(&uid))?;
            let _ = std::fs::remove_file(dir.join("sandbox.json"));
            runtime.release_ips(&sandbox.ips);
            Ok::<_, portolan_linux::Failed>(())
        });
        if let Ok(Err(e)) = released.await {
            tracing::warn!(
                pod = self.key(),
                error = report(&e),
                "something of an ended pod is left"
            );
        }
    }

    async fn forget(&self) {
        let (runtime, uid) = (Arc::clone(&self.runtime), self.uid.clone());
        let removed = tokio::task::spawn_blocking(move || runtime.forget(&uid));
        if let Ok(Err(e)) = removed.await {
            tracing::warn!(pod = self.key(), error = report(&e), "files of an ended pod are left");
        }
    }

    /// Whether nothing was ever started, so that nothing has to be shown as ended.
    pub(super) fn untouched(&self) -> bool {
        self.members.iter().all(|m| m.attempt == 0 && matches!(m.state, State::Waiting { .. }))
    }
}

/// Returns once the deadline, which may still be moved, is over.
async fn passed(deadline: &mut watch::Receiver<Instant>) {
    loop {
        let at = *deadline.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(at) => return,
            changed = deadline.changed() => {
                if changed.is_err() {
                    tokio::time::sleep_until(at).await;
                    return;
                }
            }
        }
    }
}

/// The signal that asks the container to end: its own wish, its image's, or SIGTERM.
fn stop_signal(member: &super::Member) -> i32 {
    let own = member.container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone());
    let image = member.image.as_ref().map(|i| i.stop_signal.clone());
    let name = own.or(image).unwrap_or_default();
    signal_number(&name).unwrap_or(15)
}

fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ABRT" => 6,
        "KILL" => 9,
        "USR1" => 10,
        "USR2" => 12,
        "TERM" => 15,
        "WINCH" => 28,
        _ => return None,
    })
}
