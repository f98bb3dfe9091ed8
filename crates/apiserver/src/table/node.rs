//! Nodes and events.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{age, name, or_none};
use crate::resource::value::ValueExt;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

pub(super) fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    let ready = node.list("status.conditions").iter().find(|c| c.text("type") == "Ready");
    let mut status = match ready.map(|c| c.text("status")) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if node.flag("spec.unschedulable") == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    let info = |field: &str| -> Value {
        match node.at("status.nodeInfo").text(field) {
            "" => "<unknown>".into(),
            text => text.into(),
        }
    };
    vec![
        name(node),
        status.into(),
        or_none(&roles(node)),
        super::age(node, now),
        node.text("status.nodeInfo.kubeletVersion").into(),
        or_none(address(node, "InternalIP")),
        or_none(address(node, "ExternalIP")),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    node.list("status.addresses")
        .iter()
        .find(|a| a.text("type") == kind)
        .map_or("", |a| a.text("address"))
}

fn roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in node.fields("metadata.labels").into_iter().flatten() {
        if let Some(role) = key.strip_prefix(ROLE_PREFIX) {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.insert(value.as_str().unwrap_or_default());
        }
    }
    roles.remove("");
    roles.into_iter().collect::<Vec<_>>().join(",")
}

/// An event of either group: `events.k8s.io` names the same things differently.
pub(super) fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let either = |core: &str, new: &str| match event.text(core) {
        "" => event.text(new).to_owned(),
        text => text.to_owned(),
    };
    let time = |text: &str| age::since(text, now);
    let first = match either("firstTimestamp", "deprecatedFirstTimestamp").as_str() {
        "" => time(event.text("eventTime")),
        text => time(text),
    };
    let mut last = match either("lastTimestamp", "deprecatedLastTimestamp").as_str() {
        "" => first.clone(),
        text => time(text),
    };
    let mut count = event.int("count").or(event.int("deprecatedCount")).unwrap_or(0);
    if event.has("series") {
        last = time(event.text("series.lastObservedTime"));
        count = event.int("series.count").unwrap_or(0);
    }
    let object = if event.has("involvedObject") { "involvedObject" } else { "regarding" };
    let object = event.at(object);
    let kind = object.text("kind").to_lowercase();
    let target = match object.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = match either("source.component", "deprecatedSource.component").as_str() {
        "" => either("reportingComponent", "reportingController"),
        text => text.to_owned(),
    };
    let host = match either("source.host", "deprecatedSource.host").as_str() {
        "" => event.text("reportingInstance").to_owned(),
        text => text.to_owned(),
    };
    let source = if host.is_empty() { component } else { format!("{component}, {host}") };
    vec![
        last.into(),
        event.text("type").into(),
        event.text("reason").into(),
        target.into(),
        object.text("fieldPath").into(),
        source.into(),
        either("message", "note").trim().into(),
        first.into(),
        count.max(1).into(),
        name(event),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn show(cells: Vec<Value>) -> String {
        cells
            .iter()
            .map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn nodes() {
        let now: Timestamp = "2024-01-01T01:00:00Z".parse().unwrap();
        let full = json!({
            "metadata": {"name": "n", "creationTimestamp": "2024-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "portolan://1"}},
        });
        assert_eq!(
            show(node(&full, now)),
            "n | Ready,SchedulingDisabled | control-plane,edge | 60m | v1.36.0 | 10.0.0.1 | <none> | Debian | 6.1 | portolan://1"
        );
        assert_eq!(
            show(node(&json!({"metadata": {"name": "n"}}), now)),
            "n | Unknown | <none> | <unknown> |  | <none> | <none> | <unknown> | <unknown> | <unknown>"
        );
        let gone = json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        assert!(show(node(&gone, now)).starts_with("n | NotReady | "));
    }

    #[test]
    fn events_of_both_groups() {
        let now: Timestamp = "2024-01-01T00:01:00Z".parse().unwrap();
        let core = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": " failed \n", "count": 3,
            "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:00:50Z",
            "source": {"component": "kubelet", "host": "n"},
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"}});
        assert_eq!(
            show(event(&core, now)),
            "10s | Warning | BackOff | pod/p | spec.containers{a} | kubelet, n | failed | 60s | 3 | e"
        );
        let new = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Scheduled", "note": "done", "eventTime": "2024-01-01T00:00:30.000000Z",
            "reportingController": "default-scheduler", "reportingInstance": "s-1", "regarding": {"kind": "Pod", "name": "p"}});
        assert_eq!(
            show(event(&new, now)),
            "30s | Normal | Scheduled | pod/p |  | default-scheduler, s-1 | done | 30s | 1 | e"
        );
    }
}
