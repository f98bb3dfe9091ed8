//! Telling the API server what the pod does.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use super::Worker;
use crate::{
    agent::backoff,
    pods::{
        Runtime, report,
        status::{self, Facts},
    },
};

/// The conditions that are this node's to write.
const OWN: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

impl Worker {
    pub(super) fn status_facts(&self) -> Facts {
        Facts {
            containers: self.members.iter().map(|m| m.shown(&self.uid)).collect(),
            pod_ips: self.pod_ips(),
            host_ips: self.runtime.config.internal_ips.clone(),
            sandbox_ready: self.sandbox.is_some(),
            start_time: self.start_time,
            failed: self.failed.clone(),
            ending: self.ending(),
        }
    }

    /// Hands the pod's status to the writer if it has changed.
    pub(super) fn publish(&mut self) {
        if self.deleted || self.over && self.untouched() {
            return;
        }
        // What was written last counts as the old status even before it comes back by the watch.
        let mut pod = (*self.pod).clone();
        if let Some(published) = &self.published {
            let held = pod.status.get_or_insert_default();
            let theirs = held
                .conditions
                .take()
                .into_iter()
                .flatten()
                .filter(|c| !OWN.contains(&c.type_.as_str()));
            let mine = published
                .conditions
                .iter()
                .flatten()
                .filter(|c| OWN.contains(&c.type_.as_str()))
                .cloned();
            held.conditions = Some(mine.chain(theirs).collect());
            held.start_time.clone_from(&published.start_time);
        }
        let mut status = status::status(&pod, &self.status_facts(), Timestamp::now());
        // Addresses are not taken back from a pod that has ended.
        if let (None, Some(old)) =
            (&status.pod_ips, self.published.as_ref().or(self.pod.status.as_ref()))
        {
            status.pod_ip.clone_from(&old.pod_ip);
            status.pod_ips.clone_from(&old.pod_ips);
        }
        let own =
            status.conditions.into_iter().flatten().filter(|c| OWN.contains(&c.type_.as_str()));
        status.conditions = Some(own.collect());
        if self.published.as_ref() != Some(&status) {
            self.published = Some(status.clone());
            self.status.send_replace(Some(status));
        }
    }

    /// Waits until the last status has reached the API server, or two seconds.
    pub(super) async fn published_for_sure(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            // The writer takes the value out when it has been written.
            let mut seen = self.status.subscribe();
            let _ = seen.wait_for(Option::is_none).await;
        })
        .await;
    }
}

/// Starts the task that writes statuses, always the newest.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    runtime: &Arc<Runtime>,
    pod: &Pod,
) -> watch::Sender<Option<PodStatus>> {
    let (sender, mut receiver) = watch::channel(None);
    let done = sender.clone();
    let meta = pod.metadata.clone();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(runtime.client.0.clone(), &namespace);
    tasks.spawn(async move {
        let mut failures = 0;
        loop {
            let status: PodStatus = match receiver.wait_for(Option::is_some).await {
                Ok(status) => match status.clone() {
                    Some(status) => status,
                    None => continue,
                },
                Err(_) => return,
            };
            let patch = Patch::Strategic(json!({"metadata": {"uid": meta.uid}, "status": status}));
            match pods.patch_status(&name, &PatchParams::default(), &patch).await {
                Ok(_) => failures = 0,
                Err(kube::Error::Api(s)) if s.code == 404 || s.code == 409 => {
                    tracing::debug!(pod = name, "the pod is gone; its status is not written");
                }
                Err(e) => {
                    if failures % 20 == 3 {
                        tracing::warn!(
                            pod = name,
                            error = report(&e),
                            "a pod's status was not written; trying again"
                        );
                    }
                    tokio::time::sleep(backoff(failures).min(Duration::from_secs(2))).await;
                    failures += 1;
                    continue;
                }
            }
            // Done with this one, unless a newer one has come meanwhile.
            done.send_if_modified(|held| {
                let same = held.as_ref() == Some(&status);
                if same {
                    *held = None;
                }
                same
            });
        }
    });
    sender
}
