//! core/v1 Namespace, Node and Event; coordination.k8s.io/v1 Lease; events.k8s.io/v1 Event.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::meta::{self, NameRule, invalid_all, non_negative};
use super::names;
use super::value::ValueExt;
use super::{FieldError, Strategy};

#[derive(Debug)]
pub(crate) struct Namespace;

impl Strategy for Namespace {
    fn apply_defaults(&self, object: &mut Value) {
        // Every namespace can be selected by its name.
        let name = object.text("metadata.name").to_owned();
        if !name.is_empty() {
            let labels = object.slot("metadata.labels");
            if !labels.is_object() {
                *labels = json!({});
            }
            labels["kubernetes.io/metadata.name"] = name.into();
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Active"});
        let finalizers = object.slot("spec.finalizers");
        match finalizers {
            Value::Array(list) if list.contains(&json!("kubernetes")) => {}
            Value::Array(list) => list.push("kubernetes".into()),
            other => *other = json!(["kubernetes"]),
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        meta::keep_status(object, old);
        object.copy_from(old, "spec.finalizers");
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Label);
        for (i, finalizer) in object.texts("spec.finalizers").iter().enumerate() {
            let path = format!("spec.finalizers[{i}]");
            errors.extend(invalid_all(&path, finalizer, names::qualified_name(finalizer)));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let deleting = object.has("metadata.deletionTimestamp");
        let phase = object.text("status.phase");
        let path = "status.phase";
        if deleting && phase != "Terminating" {
            errors.push(FieldError::invalid_text(
                path,
                phase,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            ));
        } else if !deleting && phase != "Active" {
            errors.push(FieldError::invalid_text(
                path,
                phase,
                "may only be 'Active' if `deletionTimestamp` is empty",
            ));
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        (field == "status.phase").then(|| object.text(field).to_owned())
    }
}

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
                errors.push(FieldError::duplicate(format!("status.addresses[{i}]"), address));
            }
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn apply_defaults(&self, object: &mut Value) {
        // The single range and the list say the same.
        let single = object.text("spec.podCIDR").to_owned();
        if !single.is_empty() && object.list("spec.podCIDRs").is_empty() {
            *object.slot("spec.podCIDRs") = json!([single]);
        } else if single.is_empty()
            && let Some(first) = object.list("spec.podCIDRs").first().cloned()
        {
            *object.slot("spec.podCIDR") = first;
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
            errors.push(FieldError::not_supported(
                format!("{path}.effect"),
                taint.at("effect"),
                &effects,
            ));
        }
        if !seen.insert((key, effect)) {
            let mut error = FieldError::duplicate(path, taint);
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    let ranges = object.texts("spec.podCIDRs");
    for (i, range) in ranges.iter().enumerate() {
        if names::parse_cidr(range).is_none() {
            errors.push(FieldError::invalid_text(
                format!("spec.podCIDRs[{i}]"),
                range,
                names::NOT_A_CIDR,
            ));
        }
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

#[derive(Debug)]
pub(crate) struct Lease;

impl Strategy for Lease {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(lease(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(lease(object));
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

fn lease(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(seconds) = object.int("spec.leaseDurationSeconds")
        && seconds <= 0
    {
        errors.push(FieldError::invalid_number(
            "spec.leaseDurationSeconds",
            seconds,
            "must be greater than 0",
        ));
    }
    errors.extend(non_negative(object, "spec.leaseTransitions", "spec.leaseTransitions"));
    errors
}

/// Events of the core group, as they are stored.
#[derive(Debug)]
pub(crate) struct CoreEvent;

/// Events of `events.k8s.io`: the same objects under newer names.
#[derive(Debug)]
pub(crate) struct NewEvent;

/// Newer name, core name: the other fields are called the same in both.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let Value::Object(fields) = object else { return };
    for (from, to) in pairs {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

fn event(object: &Value, reference: &str) -> Vec<FieldError> {
    let namespace = object.text("metadata.namespace");
    let about = object.at(reference).text("namespace");
    // Events about objects without a namespace stand in `default`, or where they were reported.
    if about.is_empty() || about == namespace {
        return Vec::new();
    }
    vec![FieldError::invalid_text(
        format!("{reference}.namespace"),
        about,
        "does not match event.namespace",
    )]
}

/// Both groups' names: a selector runs over stored objects, whichever group it was sent to.
const EVENT_SELECTORS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingComponent",
    "reportingController",
    "source",
    "type",
];

/// The value of a field of a stored event.
fn event_field(object: &Value, field: &str) -> Option<String> {
    if !EVENT_SELECTORS.contains(&field) {
        return None;
    }
    let stored = match field {
        "source" if object.text("source.component").is_empty() => "reportingComponent".to_owned(),
        "source" => "source.component".to_owned(),
        "reportingController" => "reportingComponent".to_owned(),
        _ => match field.strip_prefix("regarding.") {
            Some(rest) => format!("involvedObject.{rest}"),
            None => field.to_owned(),
        },
    };
    Some(object.text(&stored).to_owned())
}

impl Strategy for CoreEvent {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(event(object, "involvedObject"));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(event(object, "involvedObject"));
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        EVENT_SELECTORS
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        event_field(object, field)
    }
}

impl Strategy for NewEvent {
    fn to_storage(&self, object: &mut Value) {
        rename(object, EVENT_FIELDS.into_iter());
        object["apiVersion"] = "v1".into();
    }

    fn to_served(&self, object: &mut Value) {
        rename(object, EVENT_FIELDS.into_iter().map(|(new, core)| (core, new)));
        object["apiVersion"] = "events.k8s.io/v1".into();
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        CoreEvent.validate_create(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        CoreEvent.validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        EVENT_SELECTORS
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        event_field(object, field)
    }
}

/// core/v1 ServiceAccount.
#[derive(Debug)]
pub(crate) struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        meta::validate(object, true, NameRule::Subdomain)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn apply_defaults(&self, object: &mut Value) {
        // Nothing to fill in; an empty list is no list.
        for field in ["secrets", "imagePullSecrets"] {
            if object.at(field).as_array().is_some_and(Vec::is_empty) {
                object.as_object_mut().map(|map: &mut Map<String, Value>| map.remove(field));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn namespaces() {
        let mut namespace = json!({"metadata": {"name": "a"}});
        Namespace.apply_defaults(&mut namespace);
        Namespace.prepare_for_create(&mut namespace);
        assert_eq!(
            namespace,
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
        );
        let mut update = json!({"metadata": {"name": "a"}});
        Namespace.prepare_for_update(&mut update, &namespace);
        assert_eq!(update["spec"]["finalizers"], json!(["kubernetes"]));
        assert!(
            texts(Namespace.validate_create(&json!({"metadata": {"name": "a.b"}})))[0]
                .contains("must not contain dots")
        );
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
                "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\""
            ]
        );
    }

    #[test]
    fn leases() {
        let lease = |seconds: i64| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"leaseDurationSeconds": seconds}});
        assert!(Lease.validate_create(&lease(40)).is_empty());
        assert_eq!(
            texts(Lease.validate_create(&lease(0))),
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
        );
    }

    #[test]
    fn events_change_their_names_and_back() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "d"},
            "regarding": {"kind": "Pod", "namespace": "d"}, "note": "n", "reportingController": "c", "reportingInstance": "i", "eventTime": "2024-01-01T00:00:00.000000Z"});
        let mut stored = new.clone();
        NewEvent.to_storage(&mut stored);
        assert_eq!(stored["involvedObject"]["kind"], "Pod");
        assert_eq!(stored["message"], "n");
        assert_eq!(stored["reportingComponent"], "c");
        assert_eq!(stored["apiVersion"], "v1");
        assert!(CoreEvent.validate_create(&stored).is_empty());
        assert_eq!(NewEvent.selectable_field(&stored, "regarding.kind").as_deref(), Some("Pod"));
        NewEvent.to_served(&mut stored);
        assert_eq!(stored, new);
        let elsewhere = json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"namespace": "x"}});
        assert_eq!(
            texts(CoreEvent.validate_create(&elsewhere)),
            ["involvedObject.namespace: Invalid value: \"x\": does not match event.namespace"]
        );
    }
}
