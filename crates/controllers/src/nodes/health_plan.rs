//! What a node's silence and its own words mean: conditions and taints.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::taints::{self, NOT_READY, UNREACHABLE, UNSCHEDULABLE};

/// Conditions that become unknown when a node falls silent.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Taints for other conditions: type, status, taint.
const BY_CONDITION: [(&str, &str, &str); 4] = [
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// The status of the node's `Ready` condition.
pub(super) fn ready(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|c| c.status.as_str())
}

/// The conditions to write for a node that fell silent.
pub(super) fn unknown(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let kinds = CONDITIONS
        .iter()
        .filter(|kind| condition(node, kind).is_none_or(|c| c.status != "Unknown"));
    kinds
        .map(|kind| {
            let old = condition(node, kind);
            let (reason, message) = match old {
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
            };
            NodeCondition {
                type_: (*kind).into(),
                status: "Unknown".into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_heartbeat_time: old
                    .and_then(|c| c.last_heartbeat_time.clone())
                    .or_else(|| node.metadata.creation_timestamp.clone()),
                last_transition_time: Some(Time(now)),
            }
        })
        .collect()
}

/// The node's taints as they should be; `None` if they are so already.
pub(super) fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let mut wanted: Vec<(&str, &str)> = match ready(node) {
        Some("True") => vec![],
        Some("Unknown") => vec![(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")],
        Some(_) => vec![(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
        None => vec![(NOT_READY, "NoSchedule")],
    };
    for (kind, status, taint) in BY_CONDITION {
        if condition(node, kind).is_some_and(|c| c.status == status) {
            wanted.push((taint, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |t: &Taint| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&t.key.as_str())
            || BY_CONDITION.iter().any(|(_, _, key)| *key == t.key)
    };
    let old = taints::of(node);
    let is = |t: &Taint, w: &(&str, &str)| t.key == w.0 && t.effect == w.1;
    let mut new: Vec<Taint> =
        old.iter().filter(|t| !ours(t) || wanted.iter().any(|w| is(t, w))).cloned().collect();
    for missing in wanted.iter().filter(|w| !old.iter().any(|t| is(t, w))) {
        new.push(Taint {
            key: missing.0.into(),
            effect: missing.1.into(),
            value: None,
            time_added: Some(Time(now)),
        });
    }
    (new != old).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(ready: &str, taints: Value, unschedulable: bool) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"}, "spec": {"taints": taints, "unschedulable": unschedulable},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "True"}]},
        }))
        .unwrap()
    }

    fn keys(taints: Option<Vec<Taint>>) -> Vec<String> {
        taints.into_iter().flatten().map(|t| format!("{}:{}", t.key, t.effect)).collect()
    }

    #[test]
    fn taints_follow_conditions_and_foreign_ones_stay() {
        let now = Timestamp::UNIX_EPOCH;
        let foreign = json!([{"key": "mine", "effect": "NoSchedule"}]);
        let down = node("Unknown", foreign, true);
        let tainted = taints(&down, now);
        assert_eq!(
            keys(tainted.clone()),
            [
                "mine:NoSchedule",
                "node.kubernetes.io/unreachable:NoSchedule",
                "node.kubernetes.io/unreachable:NoExecute",
                "node.kubernetes.io/disk-pressure:NoSchedule",
                "node.kubernetes.io/unschedulable:NoSchedule"
            ]
        );
        let mut settled = down.clone();
        settled.spec.as_mut().unwrap().taints = tainted;
        assert_eq!(taints(&settled, Timestamp::MAX), None);
        let mut up = settled;
        up.spec.as_mut().unwrap().unschedulable = None;
        up.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "True".into();
        assert_eq!(
            keys(taints(&up, now)),
            ["mine:NoSchedule", "node.kubernetes.io/disk-pressure:NoSchedule"]
        );
    }

    #[test]
    fn silence_makes_conditions_unknown_once() {
        let mut silent = node("True", json!([]), false);
        let conditions = unknown(&silent, Timestamp::UNIX_EPOCH);
        let reasons: Vec<_> =
            conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_deref().unwrap())).collect();
        assert_eq!(
            reasons,
            [
                ("Ready", "NodeStatusUnknown"),
                ("MemoryPressure", "NodeStatusNeverUpdated"),
                ("DiskPressure", "NodeStatusUnknown"),
                ("PIDPressure", "NodeStatusNeverUpdated")
            ]
        );
        silent.status.as_mut().unwrap().conditions = Some(conditions);
        assert!(unknown(&silent, Timestamp::UNIX_EPOCH).is_empty());
    }
}
