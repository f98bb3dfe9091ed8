//! Deployments and the like.

use jiff::Timestamp;
use serde_json::Value;

use super::{age, format_labels, format_selector, name, or_none, with_age};
use crate::resource::value::ValueExt;

fn number(object: &Value, field: &str) -> Value {
    object.int(field).unwrap_or(0).into()
}

/// Names and images of the template's containers.
fn containers(object: &Value) -> [Value; 2] {
    let list = object.list("spec.template.spec.containers");
    let join = |field: &str| list.iter().map(|c| c.text(field)).collect::<Vec<_>>().join(",");
    [join("name").into(), join("image").into()]
}

fn ready(object: &Value) -> Value {
    let ready = object.int("status.readyReplicas").unwrap_or(0);
    format!("{ready}/{}", object.int("spec.replicas").unwrap_or(0)).into()
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = with_age(
        object,
        now,
        [
            ready(object),
            number(object, "status.updatedReplicas"),
            number(object, "status.availableReplicas"),
        ],
    );
    cells.extend(containers(object));
    cells.push(format_selector(object.at("spec.selector")));
    cells
}

/// ReplicaSets and ReplicationControllers, whose selector is a plain map.
pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = with_age(
        object,
        now,
        [
            number(object, "spec.replicas"),
            number(object, "status.replicas"),
            number(object, "status.readyReplicas"),
        ],
    );
    cells.extend(containers(object));
    cells.push(format_selector(object.at("spec.selector")));
    cells
}

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = with_age(object, now, [ready(object)]);
    cells.extend(containers(object));
    cells
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = with_age(
        object,
        now,
        [
            number(object, "status.desiredNumberScheduled"),
            number(object, "status.currentNumberScheduled"),
            number(object, "status.numberReady"),
            number(object, "status.updatedNumberScheduled"),
            number(object, "status.numberAvailable"),
            format_labels(object.at("spec.template.spec.nodeSelector")),
        ],
    );
    cells.extend(containers(object));
    cells.push(format_selector(object.at("spec.selector")));
    cells
}

pub(super) fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner = object
        .list("metadata.ownerReferences")
        .iter()
        .find(|owner| owner.flag("controller") == Some(true))
        .map(|owner| {
            let kind = owner.text("kind").to_lowercase();
            match owner.text("apiVersion").split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{}", owner.text("name")),
                None => format!("{kind}/{}", owner.text("name")),
            }
        })
        .unwrap_or_default();
    vec![
        name(object),
        or_none(&owner),
        number(object, "revision"),
        age::since(object.text("metadata.creationTimestamp"), now).into(),
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
    fn workloads() {
        let now: Timestamp = "2024-01-01T00:00:05Z".parse().unwrap();
        let object = json!({
            "metadata": {"name": "w", "creationTimestamp": "2024-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": true}]},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "w"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}]}}},
            "status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1,
                "desiredNumberScheduled": 4, "currentNumberScheduled": 3, "numberReady": 2, "updatedNumberScheduled": 1},
            "revision": 7,
        });
        assert_eq!(show(deployment(&object, now)), "w | 1/3 | 2 | 1 | 5s | a,b | x:1,y | app=w");
        assert_eq!(show(replica_set(&object, now)), "w | 3 | 2 | 1 | 5s | a,b | x:1,y | app=w");
        assert_eq!(show(stateful_set(&object, now)), "w | 1/3 | 5s | a,b | x:1,y");
        assert_eq!(
            show(daemon_set(&object, now)),
            "w | 4 | 3 | 2 | 1 | 0 | <none> | 5s | a,b | x:1,y | app=w"
        );
        assert_eq!(show(controller_revision(&object, now)), "w | statefulset.apps/s | 7 | 5s");
        let controller = json!({"metadata": {"name": "r"}, "spec": {"selector": {"a": "b"}}});
        assert_eq!(show(replica_set(&controller, now)), "r | 0 | 0 | 0 | <unknown> |  |  | a=b");
    }
}
