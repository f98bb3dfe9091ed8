//! Printing on the server: `meta.k8s.io/v1` Tables with the columns of kube-apiserver's printers.

mod age;
mod columns;
mod network;
mod node;
mod pod;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;
use crate::resource::value::ValueExt;

pub use age::human_duration;
use columns::Column;

/// How much of each object stands beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// A table of objects, with every column; clients hide those of a priority above 0.
pub fn render(
    resource: &Resource,
    objects: &[&Value],
    include_object: IncludeObject,
    now: Timestamp,
) -> Value {
    let columns = columns::of(resource);
    let definitions: Vec<Value> = columns.iter().map(definition).collect();
    let rows: Vec<Value> =
        objects.iter().map(|object| row(resource, object, include_object, now)).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn row(resource: &Resource, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let mut row = json!({"cells": cells(resource, object, now)});
    if resource.kind == "Pod"
        && let Some(conditions) = pod::row_conditions(object)
    {
        row["conditions"] = conditions;
    }
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => {
            row["object"] = json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object.at("metadata"),
            });
        }
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    match resource.kind {
        "Pod" => pod::pod(object, now),
        "Service" => network::service(object, now),
        "Endpoints" => network::endpoints(object, now),
        "EndpointSlice" => network::endpoint_slice(object, now),
        "Ingress" => network::ingress(object, now),
        "IngressClass" => network::ingress_class(object, now),
        "ServiceCIDR" => network::service_cidr(object, now),
        "IPAddress" => network::ip_address(object, now),
        "Node" => node::node(object, now),
        "Event" => node::event(object, now),
        "Deployment" => workload::deployment(object, now),
        "ReplicaSet" | "ReplicationController" => workload::replica_set(object, now),
        "StatefulSet" => workload::stateful_set(object, now),
        "DaemonSet" => workload::daemon_set(object, now),
        "ControllerRevision" => workload::controller_revision(object, now),
        "Namespace" => with_age(object, now, [object.text("status.phase").into()]),
        "ConfigMap" => {
            let keys = count(object, "data") + count(object, "binaryData");
            with_age(object, now, [keys.into()])
        }
        "Secret" => {
            with_age(object, now, [object.text("type").into(), count(object, "data").into()])
        }
        "ServiceAccount" => with_age(object, now, [object.list("secrets").len().into()]),
        "Lease" => with_age(object, now, [object.text("spec.holderIdentity").into()]),
        _ => vec![name(object), object.text("metadata.creationTimestamp").into()],
    }
}

fn name(object: &Value) -> Value {
    object.text("metadata.name").into()
}

/// The name, what is given, and the age.
fn with_age<const N: usize>(object: &Value, now: Timestamp, middle: [Value; N]) -> Vec<Value> {
    let mut cells = vec![name(object)];
    cells.extend(middle);
    cells.push(age(object, now));
    cells
}

fn age(object: &Value, now: Timestamp) -> Value {
    age::since(object.text("metadata.creationTimestamp"), now).into()
}

fn count(object: &Value, field: &str) -> usize {
    object.fields(field).map_or(0, serde_json::Map::len)
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Labels as `a=b,c=d`, or `<none>`.
fn format_labels(labels: &Value) -> Value {
    let text: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&text.join(","))
}

/// A label selector as text, or `<none>`.
fn format_selector(selector: &Value) -> Value {
    or_none(&crate::resource::scale::selector_text(selector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{find, table};

    #[test]
    fn every_stored_kind_has_as_many_cells_as_columns() {
        let now = Timestamp::UNIX_EPOCH;
        let object = json!({"metadata": {"name": "a"}});
        for row in table().iter().filter(|r| r.is_stored()) {
            assert_eq!(cells(row, &object, now).len(), columns::of(row).len(), "{row:?}");
            assert_ne!(columns::of(row).len(), 2, "{row:?} has no printer of its own");
        }
    }

    #[test]
    fn rows_carry_what_was_asked_for() {
        let secrets = find("", "v1", "secrets").unwrap();
        let secret = json!({"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": {"a": "", "b": ""},
            "metadata": {"name": "s", "creationTimestamp": "2024-01-01T00:00:00Z"}});
        let now: Timestamp = "2024-01-01T00:01:30Z".parse().unwrap();
        let table = render(secrets, &[&secret], IncludeObject::Metadata, now);
        insta::assert_json_snapshot!(table["rows"], @r#"
        [
          {
            "cells": [
              "s",
              "Opaque",
              2,
              "90s"
            ],
            "object": {
              "apiVersion": "meta.k8s.io/v1",
              "kind": "PartialObjectMetadata",
              "metadata": {
                "creationTimestamp": "2024-01-01T00:00:00Z",
                "name": "s"
              }
            }
          }
        ]
        "#);
        let full = render(secrets, &[&secret], IncludeObject::Object, now);
        assert_eq!(full["rows"][0]["object"], secret);
        assert!(
            render(secrets, &[&secret], IncludeObject::None, now)["rows"][0]
                .get("object")
                .is_none()
        );
    }
}
