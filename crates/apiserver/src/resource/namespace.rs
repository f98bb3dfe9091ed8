//! core/v1 Namespace.

use serde_json::{Value, json};

use super::meta::{self, NameRule, invalid_all};
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
}
