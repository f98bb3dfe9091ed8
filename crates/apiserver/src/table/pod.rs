//! Pods as `kubectl get pods` shows them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, name, or_none};
use crate::resource::value::ValueExt;

/// What the containers add up to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// The latest end of a container that was restarted, or empty.
    last_restart: String,
}

pub(super) fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let mut restarts = summary.restarts.to_string();
    if summary.restarts != 0 && !summary.last_restart.is_empty() {
        let ago = age::since(&summary.last_restart, now);
        restarts.push_str(&format!(" ({ago} ago)"));
    }
    let ip = match pod.list("status.podIPs") {
        [] => pod.text("status.podIP"),
        [first, ..] => first.text("ip"),
    };
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        super::age(pod, now),
        or_none(ip),
        or_none(pod.text("spec.nodeName")),
        or_none(pod.text("status.nominatedNodeName")),
        readiness_gates(pod).into(),
    ]
}

/// The marks that let clients tell finished pods from others.
pub(super) fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match pod.text("status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod.list("status.conditions").iter().find(|c| c.text("type") == kind)
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|c| c.text("status") == "True")
}

/// Whether an init container goes on running beside the others.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    pod.list("spec.initContainers")
        .iter()
        .any(|c| c.text("name") == name && c.text("restartPolicy") == "Always")
}

/// Why a container ended, in one word.
fn ending(state: &Value) -> String {
    let terminated = state.at("terminated");
    match terminated.text("reason") {
        "" => match terminated.int("signal") {
            Some(signal) if signal != 0 => format!("Signal:{signal}"),
            _ => format!("ExitCode:{}", terminated.int("exitCode").unwrap_or(0)),
        },
        reason => reason.to_owned(),
    }
}

fn note_restart(last: &mut String, status: &Value) {
    let finished = status.text("lastState.terminated.finishedAt");
    if finished > last.as_str() {
        *last = finished.to_owned();
    }
}

fn summarize(pod: &Value) -> Summary {
    let phase = pod.text("status.phase");
    let mut reason = match pod.text("status.reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    if condition(pod, "PodScheduled").is_some_and(|c| c.text("reason") == "SchedulingGated") {
        reason = "SchedulingGated".to_owned();
    }
    let init_containers = pod.list("spec.initContainers");
    let sidecars = init_containers.iter().filter(|c| c.text("restartPolicy") == "Always").count();
    let total = pod.list("spec.containers").len() + sidecars;
    let (mut ready, mut restarts, mut last_restart) = (0, 0, String::new());
    let (mut sidecar_restarts, mut last_sidecar_restart) = (0, String::new());
    let mut initializing = false;

    for (i, status) in pod.list("status.initContainerStatuses").iter().enumerate() {
        let count = status.int("restartCount").unwrap_or(0);
        restarts += count;
        note_restart(&mut last_restart, status);
        let sidecar = is_sidecar(pod, status.text("name"));
        if sidecar {
            sidecar_restarts += count;
            note_restart(&mut last_sidecar_restart, status);
        }
        let state = status.at("state");
        let waiting = state.text("waiting.reason");
        if state.has("terminated") && state.int("terminated.exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && status.flag("started") == Some(true) {
            ready += usize::from(status.flag("ready") == Some(true));
            continue;
        }
        reason = if state.has("terminated") {
            format!("Init:{}", ending(state))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", init_containers.len())
        };
        initializing = true;
        break;
    }

    if !initializing || has_condition(pod, "Initialized") {
        restarts = sidecar_restarts;
        last_restart = last_sidecar_restart;
        let mut running = false;
        for status in pod.list("status.containerStatuses").iter().rev() {
            restarts += status.int("restartCount").unwrap_or(0);
            note_restart(&mut last_restart, status);
            let state = status.at("state");
            let waiting = state.text("waiting.reason");
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if state.has("terminated") {
                reason = ending(state);
            } else if status.flag("ready") == Some(true) && state.has("running") {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            reason = if has_condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if pod.has("metadata.deletionTimestamp") {
        if pod.text("status.reason") == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if phase != "Succeeded" && phase != "Failed" {
            reason = "Terminating".to_owned();
        }
    }
    Summary { reason, ready, total, restarts, last_restart }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = pod.list("spec.readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let passed = gates.iter().filter(|g| has_condition(pod, g.text("conditionType"))).count();
    format!("{passed}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(pod_json: Value) -> String {
        let now: Timestamp = "2024-01-01T00:10:00Z".parse().unwrap();
        let cells = pod(&pod_json, now);
        cells.iter().map(|c| c.as_str().unwrap()).collect::<Vec<_>>().join(" | ")
    }

    fn with(status: Value) -> Value {
        json!({
            "metadata": {"name": "p", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n"},
            "status": status,
        })
    }

    #[test]
    fn statuses() {
        let running = json!({"running": {"startedAt": "2024-01-01T00:00:00Z"}});
        let cases = [
            (
                with(json!({"phase": "Pending"})),
                "p | 0/2 | Pending | 0 | 10m | <none> | n | <none> | <none>",
            ),
            (
                with(
                    json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [
                    {"name": "a", "ready": true, "state": running, "restartCount": 2, "lastState": {"terminated": {"finishedAt": "2024-01-01T00:09:55Z"}}},
                    {"name": "b", "ready": true, "state": running, "restartCount": 1}]}),
                ),
                "p | 2/2 | Running | 3 (5s ago) | 10m | 10.0.0.1 | n | <none> | <none>",
            ),
            (
                with(json!({"phase": "Pending", "containerStatuses": [
                    {"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}, {"name": "b", "ready": true, "state": running}]})),
                "p | 1/2 | ErrImagePull | 0 | 10m | <none> | n | <none> | <none>",
            ),
            (
                with(
                    json!({"phase": "Running", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 4}]}),
                ),
                "p | 0/2 | CrashLoopBackOff | 4 | 10m | <none> | n | <none> | <none>",
            ),
            (
                with(
                    json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
                ),
                "p | 0/2 | Completed | 0 | 10m | <none> | n | <none> | <none>",
            ),
            (
                with(
                    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [
                    {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, {"name": "b", "ready": true, "state": running}]}),
                ),
                "p | 1/2 | NotReady | 0 | 10m | <none> | n | <none> | <none>",
            ),
            (
                with(
                    json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
                ),
                "p | 0/2 | ExitCode:3 | 0 | 10m | <none> | n | <none> | <none>",
            ),
            (
                with(json!({"phase": "Failed", "reason": "Evicted"})),
                "p | 0/2 | Evicted | 0 | 10m | <none> | n | <none> | <none>",
            ),
        ];
        for (pod_json, expected) in cases {
            assert_eq!(show(pod_json), expected);
        }
    }

    #[test]
    fn init_containers_and_deletion() {
        let mut pod_json = with(json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}));
        pod_json["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
        assert!(show(pod_json.clone()).starts_with("p | 0/2 | Init:1/2 | 0 | "));
        pod_json["status"]["initContainerStatuses"][1]["state"] =
            json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        assert!(show(pod_json.clone()).starts_with("p | 0/2 | Init:Error | 0 | "));
        pod_json["status"]["initContainerStatuses"][1]["state"] =
            json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(show(pod_json.clone()).starts_with("p | 0/2 | Init:CrashLoopBackOff | 0 | "));
        pod_json["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z".into();
        assert!(show(pod_json).starts_with("p | 0/2 | Terminating | 0 | "));
    }

    #[test]
    fn sidecars_count_and_gates_show() {
        let mut pod_json = with(json!({"phase": "Running",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "g/1", "status": "True"}],
            "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]}));
        pod_json["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}]);
        pod_json["spec"]["readinessGates"] =
            json!([{"conditionType": "g/1"}, {"conditionType": "g/2"}]);
        assert_eq!(show(pod_json), "p | 2/3 | Running | 1 | 10m | <none> | n | <none> | 1/2");
    }
}
