//! The `scale` subresource (autoscaling/v1 `Scale`) of workloads.

use serde_json::{Value, json};

use super::FieldError;
use super::value::ValueExt;

/// The `Scale` that a workload shows.
pub fn read(object: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut status = json!({"replicas": object.int("status.replicas").unwrap_or(0)});
    let selector = selector_text(object.at("spec.selector"));
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": object.int("spec.replicas").unwrap_or(0)},
        "status": status,
    })
}

/// Writes the wanted number into the workload.
pub fn write(object: &mut Value, replicas: i64) {
    *object.slot("spec.replicas") = replicas.into();
}

/// Complaints about a `Scale` that was sent.
pub fn validate(scale: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(replicas) = scale.int("spec.replicas")
        && replicas < 0
    {
        errors.push(FieldError::invalid_number(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        ));
    }
    errors
}

/// A selector as text: `a=b,c in (d,e)`. Plain maps are those of ReplicationControllers.
pub fn selector_text(selector: &Value) -> String {
    let expressions = selector.get("matchExpressions").is_some();
    let labels = selector.get("matchLabels");
    let plain = labels.is_none() && !expressions;
    let map = if plain { selector.as_object() } else { labels.and_then(Value::as_object) };
    let mut terms: Vec<(String, String)> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    for expression in selector.list("matchExpressions") {
        let key = expression.text("key");
        let mut values = expression.texts("values");
        values.sort_unstable();
        let values = values.join(",");
        let text = match expression.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => continue,
        };
        terms.push((key.to_owned(), text));
    }
    terms.sort_by(|a, b| a.0.cmp(&b.0));
    terms.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_replicas() {
        let mut deployment = json!({
            "metadata": {"name": "a", "namespace": "b", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["z", "y"]}]}},
            "status": {"replicas": 2},
        });
        assert_eq!(
            read(&deployment),
            json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": {"name": "a", "namespace": "b"}, "spec": {"replicas": 3},
                "status": {"replicas": 2, "selector": "app=a,tier in (y,z)"}})
        );
        write(&mut deployment, 5);
        assert_eq!(deployment["spec"]["replicas"], 5);
    }

    #[test]
    fn plain_selectors_are_read_too() {
        assert_eq!(selector_text(&json!({"b": "2", "a": "1"})), "a=1,b=2");
        assert_eq!(validate(&json!({"spec": {"replicas": -1}})).len(), 1);
    }
}
