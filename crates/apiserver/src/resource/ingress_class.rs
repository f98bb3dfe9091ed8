//! networking.k8s.io/v1 IngressClass.

use serde_json::Value;

use super::meta::{self, NameRule, invalid_all};
use super::names;
use super::value::ValueExt;
use super::{FieldError, Strategy};

#[derive(Debug)]
pub(crate) struct IngressClass;

impl Strategy for IngressClass {
    fn apply_defaults(&self, object: &mut Value) {
        if object.at("spec.parameters").is_object() {
            object.set_default("spec.parameters.scope", "Cluster");
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Subdomain);
        let controller = object.text("spec.controller");
        let path = "spec.controller";
        if controller.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            errors.extend(invalid_all(path, controller, names::domain_prefixed_path(controller)));
        }
        if controller.len() > 250 {
            errors.push(FieldError::too_long(path, 250));
        }
        errors.extend(class_parameters(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        if object.at("spec.controller") != old.at("spec.controller") {
            errors.push(meta::immutable("spec.controller", object.at("spec.controller")));
        }
        errors.extend(class_parameters(object));
        errors
    }
}

fn class_parameters(object: &Value) -> Vec<FieldError> {
    let parameters = object.at("spec.parameters");
    let path = "spec.parameters";
    let mut errors = Vec::new();
    if parameters.is_null() {
        return errors;
    }
    for field in ["kind", "name"] {
        if parameters.text(field).is_empty() {
            errors.push(FieldError::required(
                format!("{path}.{field}"),
                format!("{field} is required"),
            ));
        }
    }
    let namespace = parameters.text("namespace");
    match parameters.text("scope") {
        "Namespace" if namespace.is_empty() => errors.push(FieldError::required(
            format!("{path}.namespace"),
            "`parameters.scope` is set to 'Namespace'",
        )),
        "Cluster" if !namespace.is_empty() => errors.push(FieldError::forbidden(
            format!("{path}.namespace"),
            "`parameters.scope` is set to 'Cluster'",
        )),
        "Namespace" | "Cluster" => {}
        "" => errors.push(FieldError::required(format!("{path}.scope"), "")),
        _ => errors.push(FieldError::not_supported(
            format!("{path}.scope"),
            parameters.at("scope"),
            &["Cluster", "Namespace"],
        )),
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn classes() {
        let class = |controller: &str| json!({"metadata": {"name": "a"}, "spec": {"controller": controller}});
        assert!(IngressClass.validate_create(&class("example.com/x")).is_empty());
        assert_eq!(
            texts(IngressClass.validate_create(&class(""))),
            ["spec.controller: Required value"]
        );
        assert_eq!(
            texts(IngressClass.validate_create(&class("x"))),
            [
                "spec.controller: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"
            ]
        );
        assert_eq!(
            texts(IngressClass.validate_update(&class("a.b/c"), &class("a.b/d"))),
            ["spec.controller: Invalid value: \"a.b/c\": field is immutable"]
        );
    }
}
