//! What controllers ask of a pod: conditions, phases, and which one to delete first.

use std::{cmp::Ordering, collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};

/// The annotation by which a user says which pods to delete first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Drops what no controller reads of a pod.
pub fn trim(pod: &mut Pod) {
    let meta = &mut pod.metadata;
    meta.managed_fields = None;
    if let Some(annotations) = meta.annotations.take()
        && let Some(cost) = annotations.get(DELETION_COST)
    {
        meta.annotations = Some([(DELETION_COST.to_string(), cost.clone())].into());
    }
    if let Some(spec) = &mut pod.spec {
        spec.volumes = None;
        spec.security_context = None;
        spec.dns_config = None;
        spec.host_aliases = None;
        spec.image_pull_secrets = None;
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
        {
            container.args = None;
            container.command = None;
            container.env = None;
            container.env_from = None;
            container.image = None;
            container.lifecycle = None;
            container.liveness_probe = None;
            container.readiness_probe = None;
            container.startup_probe = None;
            container.security_context = None;
            container.termination_message_path = None;
            container.termination_message_policy = None;
            container.image_pull_policy = None;
            container.volume_mounts = None;
        }
    }
    if let Some(status) = &mut pod.status {
        status.init_container_statuses = None;
        status.ephemeral_container_statuses = None;
        for container in status.container_statuses.iter_mut().flatten() {
            container.image = String::new();
            container.image_id = String::new();
            container.container_id = None;
            container.last_state = None;
            container.state = None;
            container.volume_mounts = None;
            container.allocated_resources = None;
            container.resources = None;
        }
    }
}

/// The groups of a pod in its cache: its controller or the controllerless of its namespace, and its node.
pub fn index(pod: &Pod, groups: &mut Vec<String>) {
    match crate::owner::controller_of(&pod.metadata) {
        Some(owner) => groups.push(by_owner(&owner.uid)),
        None => groups.push(orphans_in(pod.metadata.namespace.as_deref().unwrap_or(""))),
    }
    match node_name(pod) {
        Some(node) => groups.push(by_node(node)),
        None => groups.push("unassigned".into()),
    }
}

/// The group of the pods that an object controls.
pub fn by_owner(uid: &str) -> String {
    format!("owner/{uid}")
}

/// The group of the pods on a node.
pub fn by_node(node: &str) -> String {
    format!("node/{node}")
}

/// The group of the pods of a namespace without a controller.
pub fn orphans_in(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// The pod's specification, empty if there is none.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The pod's status, empty if there is none.
pub fn status(pod: &Pod) -> &PodStatus {
    static EMPTY: std::sync::LazyLock<PodStatus> = std::sync::LazyLock::new(PodStatus::default);
    pod.status.as_ref().unwrap_or(&EMPTY)
}

/// The node that the pod was bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    spec(pod).node_name.as_deref().filter(|n| !n.is_empty())
}

/// The phase; a pod without one is pending.
pub fn phase(pod: &Pod) -> &str {
    status(pod).phase.as_deref().unwrap_or("Pending")
}

/// Whether the pod will never run again.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod is being deleted.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts for its controller: neither over nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// A condition by its type.
pub fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    status(pod).conditions.as_ref()?.iter().find(|c| c.type_ == name)
}

/// Whether the pod's `Ready` condition holds.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready")
        .filter(|c| c.status == "True")?
        .last_transition_time
        .as_ref()
        .map(|t| t.0)
}

/// Whether the pod has been ready for `min_ready_seconds`; if it is ready but not yet for so long, what remains.
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    if min_ready_seconds <= 0 {
        return Availability::Yes;
    }
    let Some(since) = ready_since(pod) else { return Availability::No };
    let remaining =
        i64::from(min_ready_seconds) * 1000 - (now.as_millisecond() - since.as_millisecond());
    match u64::try_from(remaining) {
        Ok(0) | Err(_) => Availability::Yes,
        Ok(remaining) => Availability::In(Duration::from_millis(remaining)),
    }
}

/// See [`availability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Not ready.
    No,
    /// Ready, and available after this time.
    In(Duration),
    /// Available.
    Yes,
}

/// Sums of what the pods of a workload are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pods whose `Ready` condition holds.
    pub ready: i32,
    /// Pods that have been ready for long enough.
    pub available: i32,
    /// When the next ready pod becomes available.
    pub next: Option<Duration>,
}

/// Counts ready and available pods.
pub fn tally<'a>(
    pods: impl IntoIterator<Item = &'a Arc<Pod>>,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Tally {
    let mut tally = Tally::default();
    for pod in pods {
        match availability(pod, min_ready_seconds, now) {
            Availability::No => continue,
            Availability::Yes => tally.available += 1,
            Availability::In(time) => tally.next = Some(tally.next.map_or(time, |t| t.min(time))),
        }
        tally.ready += 1;
    }
    tally
}

fn deletion_cost(pod: &Pod) -> i32 {
    let cost = pod.metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST));
    cost.and_then(|c| c.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    status(pod).container_statuses.iter().flatten().map(|c| c.restart_count).max().unwrap_or(0)
}

/// An age by powers of two seconds, so that a small difference does not decide (KEP-2185).
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> Option<u32> {
    let age = now.as_second() - since?.as_second();
    Some(if age <= 0 { 0 } else { age.ilog2() + 1 })
}

/// Sorts pods by how well they can be spared, first the one to delete first.
///
/// `related` are the pods of the same purpose (for a ReplicaSet, those of all ReplicaSets of its Deployment):
/// the more of them a node holds, the sooner its pod goes.
pub fn rank_for_deletion(pods: &mut [Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) {
    let mut per_node: HashMap<String, usize> = HashMap::new();
    for pod in related.iter().filter(|p| is_active(p)) {
        if let Some(node) = node_name(pod) {
            *per_node.entry(node.to_string()).or_default() += 1;
        }
    }
    let crowd = |pod: &Pod| node_name(pod).and_then(|n| per_node.get(n)).copied().unwrap_or(0);
    let order = |phase: &str| match phase {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    pods.sort_by(|a, b| {
        let younger = |a: Option<Timestamp>, b: Option<Timestamp>| match (
            magnitude(a, now),
            magnitude(b, now),
        ) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => x.cmp(&y),
        };
        let created = |p: &Pod| p.metadata.creation_timestamp.as_ref().map(|t| t.0);
        node_name(a)
            .is_some()
            .cmp(&node_name(b).is_some())
            .then_with(|| order(phase(a)).cmp(&order(phase(b))))
            .then_with(|| is_ready(a).cmp(&is_ready(b)))
            .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
            .then_with(|| crowd(b).cmp(&crowd(a)))
            .then_with(|| {
                if is_ready(a) { younger(ready_since(a), ready_since(b)) } else { Ordering::Equal }
            })
            .then_with(|| restarts(b).cmp(&restarts(a)))
            .then_with(|| younger(created(a), created(b)))
            .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn pod(
        name: &str,
        node: Option<&str>,
        phase: &str,
        ready_for: Option<i64>,
        cost: i32,
        age: i64,
    ) -> Arc<Pod> {
        let at = |ago: i64| Time(Timestamp::from_second(NOW - ago).unwrap());
        let conditions = ready_for.map_or(
            json!([]),
            |ago| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at(ago)}]),
        );
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "creationTimestamp": at(age),
                    "annotations": {DELETION_COST: cost.to_string()}},
                "spec": {"containers": [], "nodeName": node},
                "status": {"phase": phase, "conditions": conditions},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let now = Timestamp::from_second(NOW).unwrap();
        let mut pods = vec![
            pod("old", Some("n1"), "Running", Some(5000), 0, 5000),
            pod("dear", Some("n3"), "Running", Some(5), 10, 5),
            pod("young", Some("n1"), "Running", Some(10), 0, 10),
            pod("crowded", Some("n2"), "Running", Some(9000), 0, 9000),
            pod("unready", Some("n1"), "Running", None, 0, 10),
            pod("pending", Some("n1"), "Pending", None, 0, 10),
            pod("unassigned", None, "Pending", None, 0, 10),
        ];
        let related: Vec<_> = pods
            .iter()
            .cloned()
            .chain((0..9).map(|i| pod(&format!("r{i}"), Some("n2"), "Running", None, 0, 1)))
            .collect();
        rank_for_deletion(&mut pods, &related, now);
        let names: Vec<_> = pods.iter().map(|p| p.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "crowded", "young", "old", "dear"]);
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let now = Timestamp::from_second(NOW).unwrap();
        let of =
            |ready_for, min| availability(&pod("a", None, "Running", ready_for, 0, 100), min, now);
        assert_eq!(of(None, 0), Availability::No);
        assert_eq!(of(Some(0), 0), Availability::Yes);
        assert_eq!(of(Some(4), 10), Availability::In(Duration::from_secs(6)));
        assert_eq!(of(Some(10), 10), Availability::Yes);
    }
}
