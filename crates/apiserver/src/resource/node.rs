//! core/v1 Node.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::meta::{self, NameRule, invalid_all};
use super::value::ValueExt;
use super::{FieldError, Strategy, ip, names};

/// What Kubernetes writes into every node, known or not.
const NODE_INFO: [&str; 10] = [
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
];

#[derive(Debug)]
pub(crate) struct Node;

impl Strategy for Node {
    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        meta::keep_status(object, old);
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Subdomain);
        errors.extend(node(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(node(object));
        let was = old.list("spec.podCIDRs");
        if !was.is_empty() && object.list("spec.podCIDRs") != was {
            errors.push(FieldError::forbidden(
                "spec.podCIDRs",
                "node updates may not change podCIDR except from \"\" to valid",
            ));
        }
        let was = old.text("spec.providerID");
        if !was.is_empty() && object.text("spec.providerID") != was {
            errors.push(FieldError::forbidden(
                "spec.providerID",
                "node updates may not change providerID except from \"\" to valid",
            ));
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let addresses = object.list("status.addresses");
        for (i, address) in addresses.iter().enumerate() {
            if addresses[..i].contains(address) {
                let mut error =
                    FieldError::duplicate(format!("status.addresses[{i}]"), &Value::Null);
                let (kind, text) = (address.at("type"), address.at("address"));
                error.value = format!("{{\"Type\":{kind},\"Address\":{text}}}");
                errors.push(error);
            }
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if object.has("spec.configSource") {
            warnings.push("spec.configSource: the feature is removed".to_owned());
        }
        if !object.text("spec.externalID").is_empty() {
            warnings.push(
                "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
            );
        }
        for (i, range) in object.texts("spec.podCIDRs").into_iter().enumerate() {
            warnings.extend(ip::cidr_warnings(&format!("spec.podCIDRs[{i}]"), range));
        }
        warnings
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn apply_defaults(&self, object: &mut Value) {
        // The single range and the list say the same; where they do not, the single one counts.
        let single = object.text("spec.podCIDR").to_owned();
        let first = object.list("spec.podCIDRs").first().cloned();
        match first {
            Some(first) if single.is_empty() => *object.slot("spec.podCIDR") = first,
            Some(first) if first == *single => {}
            _ if !single.is_empty() => *object.slot("spec.podCIDRs") = json!([single]),
            _ => {}
        }
        let spec = object.slot("spec");
        if !spec.is_object() {
            *spec = json!({});
        }
        if spec.flag("unschedulable") == Some(false) {
            spec.remove_at("unschedulable");
        }
        for field in NODE_INFO {
            let slot = object.slot("status").slot("nodeInfo").slot(field);
            if slot.is_null() {
                *slot = "".into();
            }
        }
        let port = object.slot("status.daemonEndpoints.kubeletEndpoint.Port");
        if port.is_null() {
            *port = 0.into();
        }
        if object.has("status.capacity") && !object.has("status.allocatable") {
            *object.slot("status.allocatable") = object.at("status.capacity").clone();
        }
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        (field == "spec.unschedulable").then(|| object.flag(field).unwrap_or(false).to_string())
    }
}

fn node(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, taint) in object.list("spec.taints").iter().enumerate() {
        let path = format!("metadata.taints[{i}]");
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        errors.extend(meta::label_key(key, &format!("{path}.key")));
        errors.extend(invalid_all(&format!("{path}.value"), value, names::label_value(value)));
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if effect.is_empty() {
            errors.push(FieldError::required(format!("{path}.effect"), ""));
        } else if !effects.contains(&effect) {
            errors.push(FieldError::not_supported_in_order(
                format!("{path}.effect"),
                taint.at("effect"),
                &effects,
            ));
        }
        if !seen.insert((key, effect)) {
            let mut error = FieldError::duplicate(path, &Value::Null);
            error.value = format!(
                "{{\"Key\":{key:?},\"Value\":{value:?},\"Effect\":{effect:?},\"TimeAdded\":{}}}",
                taint.at("timeAdded")
            );
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    let ranges = object.texts("spec.podCIDRs");
    for (i, range) in ranges.iter().enumerate() {
        errors.extend(ip::legacy_cidr(&format!("spec.podCIDRs[{i}]"), range, &[]));
    }
    let v6 = |range: &&&str| range.contains(':');
    if ranges.len() > 2 || ranges.len() == 2 && ranges.iter().filter(v6).count() != 1 {
        errors.push(FieldError::invalid(
            "spec.podCIDRs",
            object.at("spec.podCIDRs"),
            "may specify no more than one CIDR for each IP family",
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn nodes() {
        let mut node =
            json!({"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}});
        Node.apply_defaults(&mut node);
        assert_eq!(node["spec"]["podCIDR"], "10.0.0.0/24");
        assert!(Node.validate_create(&node).is_empty());
        let mut other = node.clone();
        other["spec"]["podCIDRs"] = json!(["10.0.1.0/24"]);
        assert_eq!(
            texts(Node.validate_update(&other, &node)),
            [
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"
            ]
        );
        let tainted = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "Never"}]}});
        assert_eq!(
            texts(Node.validate_create(&tainted)),
            [
                "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""
            ]
        );
    }
}
