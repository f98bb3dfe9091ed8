//! `metadata`: what every kind's validation starts with (`k8s.io/apimachinery/pkg/api/validation`).

use serde_json::{Map, Value};

use super::value::ValueExt;
use super::{FieldError, ip, names};

/// What a kind's objects may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// A DNS name: most kinds.
    Subdomain,
    /// A DNS label: namespaces, Services.
    Label,
    /// An address in its canonical form: `IPAddress`.
    Address,
}

impl NameRule {
    fn check(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => names::dns1123_subdomain(name),
            Self::Label => names::dns1123_label(name),
            Self::Address => ip::strict("", name).into_iter().map(|error| error.detail).collect(),
        }
    }
}

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Complaints about `metadata` of a new object.
pub(crate) fn validate(object: &Value, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let meta = object.at("metadata");
    let mut errors = Vec::new();
    let generate = meta.text("generateName");
    if !generate.is_empty() {
        // The name that will be made from it must be good, not the prefix itself.
        let sample = format!("{}x", generate.trim_end_matches('-'));
        for text in rule.check(&sample) {
            errors.push(FieldError::invalid_text("metadata.generateName", generate, text));
        }
    }
    let name = meta.text("name");
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        for text in rule.check(name) {
            errors.push(FieldError::invalid_text("metadata.name", name, text));
        }
    }
    let namespace = meta.text("namespace");
    if namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required("metadata.namespace", ""));
        } else {
            for text in names::dns1123_label(namespace) {
                errors.push(FieldError::invalid_text("metadata.namespace", namespace, text));
            }
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
    }
    errors.extend(accessors(meta));
    errors
}

/// Complaints about `metadata` of a changed object.
pub(crate) fn validate_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (object.at("metadata"), old.at("metadata"));
    let mut errors = Vec::new();
    // A client need not repeat what the server set; what it says must agree.
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if new.has(field) && !immutable_equal(new.at(field), old.at(field)) {
            errors.push(immutable(&format!("metadata.{field}"), new.at(field)));
        }
    }
    if old.has("deletionTimestamp") && new.at("deletionTimestamp") != old.at("deletionTimestamp") {
        errors.push(immutable("metadata.deletionTimestamp", new.at("deletionTimestamp")));
    }
    if old.has("deletionTimestamp") {
        let had = old.texts("finalizers");
        let added: Vec<&str> =
            new.texts("finalizers").into_iter().filter(|f| !had.contains(f)).collect();
        if !added.is_empty() {
            let mut names: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            names.sort();
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    names.join(", ")
                ),
            ));
        }
    }
    errors.extend(accessors(new));
    errors
}

fn immutable_equal(a: &Value, b: &Value) -> bool {
    a == b || (a.is_null() && b.as_str() == Some("")) || (b.is_null() && a.as_str() == Some(""))
}

/// `Invalid value: …: field is immutable`.
pub(crate) fn immutable(path: &str, value: &Value) -> FieldError {
    FieldError::invalid(path, value, "field is immutable")
}

fn accessors(meta: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(generation) = meta.int("generation")
        && generation < 0
    {
        errors.push(FieldError::invalid_number(
            "metadata.generation",
            generation,
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(labels(meta.fields("labels"), "metadata.labels"));
    errors.extend(annotations(meta.fields("annotations"), "metadata.annotations"));
    errors.extend(owner_references(meta.list("ownerReferences")));
    for (i, finalizer) in meta.list("finalizers").iter().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        errors.extend(invalid_all("metadata.finalizers", text, names::qualified_name(text)));
        let known = ["foregroundDeletion", "orphan", "kubernetes"];
        if !text.contains('/') && !known.contains(&text) {
            errors.push(FieldError::invalid_text(
                format!("metadata.finalizers[{i}]"),
                text,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    let all = meta.texts("finalizers");
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        errors.push(FieldError::invalid(
            "metadata.finalizers",
            meta.at("finalizers"),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
    errors
}

/// Complaints about a map of labels.
pub(crate) fn labels(labels: Option<&Map<String, Value>>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.into_iter().flatten() {
        errors.extend(label_key(key, path));
        let value = value.as_str().unwrap_or_default();
        for text in names::label_value(value) {
            errors.push(FieldError::invalid_text(path, value, text));
        }
    }
    errors
}

/// Complaints about the key of a label.
pub(crate) fn label_key(key: &str, path: &str) -> Vec<FieldError> {
    names::qualified_name(key)
        .into_iter()
        .map(|text| FieldError::invalid_text(path, key, text))
        .collect()
}

/// Complaints about a map of annotations.
pub(crate) fn annotations(map: Option<&Map<String, Value>>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in map.into_iter().flatten() {
        for text in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid_text(path, key, text));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
    errors
}

fn owner_references(references: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for reference in references {
        let path = "metadata.ownerReferences";
        let version = reference.text("apiVersion");
        if version.is_empty() || version.matches('/').count() > 1 {
            errors.push(FieldError::invalid_text(
                format!("{path}.apiVersion"),
                version,
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if reference.text(field).is_empty() {
                errors.push(FieldError::invalid_text(
                    format!("{path}.{field}"),
                    "",
                    "must not be empty",
                ));
            }
        }
        if version == "v1" && reference.text("kind") == "Event" {
            let mut error = FieldError::invalid(
                path,
                &Value::Null,
                "/v1, Kind=Event is disallowed from being an owner",
            );
            error.value = go_reference(reference);
            errors.push(error);
        }
        if reference.flag("controller") == Some(true) {
            let this = format!("{}/{}", reference.text("kind"), reference.text("name"));
            match &controller {
                Some(first) => {
                    let mut error = FieldError::invalid(
                        path,
                        &Value::Null,
                        format!(
                            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                        ),
                    );
                    let all: Vec<String> = references.iter().map(go_reference).collect();
                    error.value = format!("[{}]", all.join(","));
                    errors.push(error);
                }
                None => controller = Some(this),
            }
        }
    }
    errors
}

/// An owner reference with its fields in the order of Go's struct.
fn go_reference(reference: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let present = fields.into_iter().filter(|field| reference.has(field));
    let parts: Vec<String> = present.map(|f| format!("\"{f}\":{}", reference.at(f))).collect();
    format!("{{{}}}", parts.join(","))
}

/// `must be greater than or equal to 0` where the number at `path` is negative.
pub(crate) fn non_negative(object: &Value, at: &str, path: &str) -> Option<FieldError> {
    let number = object.int(at)?;
    (number < 0)
        .then(|| FieldError::invalid_number(path, number, "must be greater than or equal to 0"))
}

/// Joins messages about one text value to errors.
pub(crate) fn invalid_all(path: &str, value: &str, messages: Vec<String>) -> Vec<FieldError> {
    messages.into_iter().map(|m| FieldError::invalid_text(path, value, m)).collect()
}

/// Complaints about one address of a load balancer in a status, an IP or a host name. `known` are
/// the addresses that the old status had.
pub(crate) fn balancer_address(entry: &Value, path: &str, known: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (address, name) = (entry.text("ip"), entry.text("hostname"));
    if !address.is_empty() {
        errors.extend(ip::legacy(&format!("{path}.ip"), address, known));
    }
    if !name.is_empty() {
        let path = format!("{path}.hostname");
        errors.extend(invalid_all(&path, name, names::dns1123_subdomain(name)));
        if names::parse_ip_sloppy(name).is_some() {
            let text = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid_text(path, name, text));
        }
    }
    errors
}

/// Keeps what a status update may not change: everything but `status` and some of `metadata`.
pub(crate) fn keep_all_but_status(object: &mut Value, old: &Value) {
    let status = object.get("status").cloned();
    let meta = object.get("metadata").cloned();
    let identity: Vec<(&str, Value)> = ["apiVersion", "kind"]
        .into_iter()
        .filter_map(|field| Some((field, object.get(field)?.clone())))
        .collect();
    *object = old.clone();
    for (field, value) in identity {
        object[field] = value;
    }
    if let Some(meta) = meta {
        object["metadata"] = meta;
    }
    // Labels may be changed through a status update; what else identifies the object may not.
    for field in ["ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        object.copy_from(old, &format!("metadata.{field}"));
    }
    match status {
        Some(status) => object["status"] = status,
        None => {
            object.remove_at("status");
        }
    }
}

/// Takes the status from the old object, or removes it where there was none.
pub(crate) fn keep_status(object: &mut Value, old: &Value) {
    object.copy_from(old, "status");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn names_and_namespaces() {
        let good = json!({"metadata": {"name": "a", "namespace": "default"}});
        assert!(validate(&good, true, NameRule::Label).is_empty());
        assert_eq!(
            texts(&validate(&json!({"metadata": {}}), true, NameRule::Label)),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value"
            ]
        );
        assert_eq!(
            texts(&validate(&good, false, NameRule::Label)),
            ["metadata.namespace: Forbidden: not allowed on this type"]
        );
        let address = json!({"metadata": {"name": "2001:DB8::1"}});
        assert_eq!(
            texts(&validate(&address, false, NameRule::Address)),
            [
                "metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")"
            ]
        );
    }

    #[test]
    fn identity_may_not_change() {
        let old = json!({"metadata": {"name": "a", "uid": "1"}});
        assert!(validate_update(&json!({"metadata": {"name": "a"}}), &old).is_empty());
        assert_eq!(
            texts(&validate_update(&json!({"metadata": {"name": "b", "uid": "1"}}), &old)),
            ["metadata.name: Invalid value: \"b\": field is immutable"]
        );
    }

    #[test]
    fn finalizers_need_a_prefix() {
        let object = json!({"metadata": {"name": "a", "finalizers": ["orphan", "mine"]}});
        assert_eq!(
            texts(&validate(&object, false, NameRule::Label)),
            [
                "metadata.finalizers[1]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
            ]
        );
    }

    #[test]
    fn a_status_update_changes_the_status_alone() {
        let old =
            json!({"kind": "X", "metadata": {"name": "a"}, "spec": {"a": 1}, "status": {"b": 1}});
        let mut new = json!({"kind": "X", "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"a": 2}, "status": {"b": 2}});
        keep_all_but_status(&mut new, &old);
        assert_eq!(
            new,
            json!({"kind": "X", "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"a": 1}, "status": {"b": 2}})
        );
    }
}
