//! Taking over what an earlier agent started.

use std::time::Duration;

use portolan_linux::{cgroup::Cgroup, mount, process::Pidfd};

use super::{
    Running, Worker,
    member::{MEMORY, Memory},
};
use crate::pods::{
    sandbox::Sandbox,
    shim::spec::{self, EXIT, Exit, RUNNING, SPEC, Spec},
    status::State,
};

impl Worker {
    /// Finds the pod's sandbox and containers as they are. What did not survive a restart of the
    /// machine is cleared away and made anew.
    pub(super) async fn adopt(&mut self) {
        self.restarts_from_status();
        let Some(sandbox) = Sandbox::load(&self.dir) else {
            return;
        };
        let uts = self.dir.join("uts");
        if !mount::table().is_ok_and(|t| t.iter().any(|m| m.target == uts)) {
            tracing::info!(pod = self.key(), "the machine was restarted; the pod starts anew");
            let _ = std::fs::remove_dir_all(&self.dir);
            return;
        }
        self.sandbox = Some(sandbox);
        for i in 0..self.members.len() {
            self.adopt_member(i).await;
        }
        if let Err(e) = self.write_files() {
            tracing::warn!(pod = self.key(), error = %e, "the pod's files are not up to date");
        }
    }

    async fn adopt_member(&mut self, i: usize) {
        let member = &mut self.members[i];
        let Ok(memory) = spec::read::<Memory>(&member.dir(&self.dir).join(MEMORY)) else { return };
        member.attempt = memory.attempt;
        member.restarts = memory.restarts;
        member.crashes = memory.crashes;
        member.last = memory.last;
        let name = member.container.image.clone().unwrap_or_default();
        member.image = self.runtime.image(&name).ok().flatten();
        if let Some(ended) = memory.ended {
            member.state = State::Terminated(ended);
            return;
        }
        let run = member.run_dir(&self.dir);
        let described = spec::read::<Spec>(&run.join(SPEC));
        let cgroup = described.map(|s| s.cgroup).unwrap_or_default();
        if let Ok(exit) = spec::read::<Exit>(&run.join(EXIT)) {
            let attempt = member.attempt;
            self.exited(i, attempt, &exit);
            return;
        }
        let found = spec::read::<spec::Running>(&run.join(RUNNING)).ok().and_then(|r| {
            let shim = Pidfd::open_started(r.shim, r.shim_start).ok()?;
            Some((r, shim))
        });
        match found {
            Some((r, shim)) => {
                let running = Running {
                    pid: r.pid,
                    start: r.start,
                    directory: run,
                    cgroup,
                    started_at: r.started_at,
                };
                let held = self.pod.status.as_ref();
                let lists = held.map(|s| {
                    s.container_statuses
                        .iter()
                        .flatten()
                        .chain(s.init_container_statuses.iter().flatten())
                });
                let id = member.id(&self.uid);
                let shown =
                    lists.into_iter().flatten().find(|c| c.container_id.as_deref() == Some(&id));
                // It stays as ready as it was until a probe says otherwise.
                member.started = shown
                    .and_then(|s| s.started)
                    .unwrap_or(member.container.startup_probe.is_none());
                member.ready =
                    shown.map_or(member.container.readiness_probe.is_none(), |s| s.ready);
                self.now_running(i, (running, shim), false);
            }
            None => {
                // The agent died while it started the container, or somebody killed the shim.
                if !cgroup.as_os_str().is_empty() {
                    let group = Cgroup::existing(cgroup);
                    let _ =
                        tokio::task::spawn_blocking(move || group.destroy(Duration::from_secs(5)))
                            .await;
                }
                let exit = spec::read::<Exit>(&run.join(EXIT)).unwrap_or(Exit {
                    code: 137,
                    signal: Some(9),
                    finished_at: jiff::Timestamp::now(),
                    start_error: None,
                });
                let attempt = self.members[i].attempt;
                self.exited(i, attempt, &exit);
            }
        }
    }

    /// Restarts that only the API server remembers, after the machine was restarted.
    fn restarts_from_status(&mut self) {
        let Some(status) = self.pod.status.clone() else { return };
        let shown: Vec<_> = status
            .container_statuses
            .into_iter()
            .flatten()
            .chain(status.init_container_statuses.into_iter().flatten())
            .collect();
        for member in &mut self.members {
            let held = shown.iter().find(|s| s.name == member.container.name);
            if let Some(held) = held.filter(|h| h.container_id.is_some()) {
                member.restarts = held.restart_count;
                // The next run is not the first one.
                member.attempt = u32::try_from(held.restart_count).unwrap_or(0) + 1;
            }
        }
    }
}
