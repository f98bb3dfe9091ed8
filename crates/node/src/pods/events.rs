//! Events about pods, as the kubelet writes them: repeated ones are counted, not listed again.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// Events not yet written; more are dropped rather than held in memory.
const QUEUE: usize = 256;
/// Events whose repetition is recognized.
const REMEMBERED: usize = 512;

/// Writes events in the background.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(mpsc::Sender<Record>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Record {
    namespace: String,
    name: String,
    uid: String,
    field_path: String,
    kind: &'static str,
    reason: &'static str,
    message: String,
}

impl Recorder {
    pub(crate) fn start(client: Client, node: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(client, node, receiver));
        Self(sender)
    }

    /// Says that something normal happened. `container` is a field path such as
    /// `spec.containers{name}`, or empty.
    pub(crate) fn normal(&self, pod: &Pod, container: &str, reason: &'static str, message: String) {
        self.record(pod, container, "Normal", reason, message);
    }

    /// Says that something went wrong.
    pub(crate) fn warning(
        &self,
        pod: &Pod,
        container: &str,
        reason: &'static str,
        message: String,
    ) {
        self.record(pod, container, "Warning", reason, message);
    }

    fn record(
        &self,
        pod: &Pod,
        container: &str,
        kind: &'static str,
        reason: &'static str,
        message: String,
    ) {
        let meta = &pod.metadata;
        let record = Record {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            field_path: container.to_owned(),
            kind,
            reason,
            message,
        };
        if self.0.try_send(record).is_err() {
            tracing::debug!(reason, "an event was dropped");
        }
    }
}

async fn write(client: Client, node: String, mut queue: mpsc::Receiver<Record>) {
    let mut written: HashMap<Record, (String, i32)> = HashMap::new();
    while let Some(record) = queue.recv().await {
        let events: Api<Event> = Api::namespaced(client.clone(), &record.namespace);
        let now = Timestamp::now();
        let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        if let Some((name, count)) = written.get_mut(&record) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": seconds});
            let result = events.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            if result.is_ok() {
                continue;
            }
        }
        let name = format!("{}.{:x}", record.name, now.as_nanosecond());
        let event = json!({
            "metadata": {"name": name, "namespace": record.namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": record.namespace,
                               "name": record.name, "uid": record.uid, "fieldPath": record.field_path},
            "type": record.kind, "reason": record.reason, "message": record.message,
            "source": {"component": "kubelet", "host": node},
            "reportingComponent": "kubelet", "reportingInstance": node,
            "firstTimestamp": seconds, "lastTimestamp": seconds, "count": 1,
        });
        let created = match serde_json::from_value(event) {
            Ok(event) => events.create(&PostParams::default(), &event).await.map(drop),
            Err(e) => Err(kube::Error::SerdeError(e)),
        };
        match created {
            Ok(()) => {
                if written.len() >= REMEMBERED {
                    written.clear();
                }
                written.insert(record, (name, 1));
            }
            // A namespace that is going away takes no events.
            Err(e) => tracing::debug!(
                error = super::report(&e),
                reason = record.reason,
                "an event was not written"
            ),
        }
    }
}
