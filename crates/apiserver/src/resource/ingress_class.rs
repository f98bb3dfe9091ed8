//! networking.k8s.io/v1 IngressClass.

use serde_json::Value;

use super::ingress::reference;
use super::meta::{self, NameRule, invalid_all};
use super::value::ValueExt;
use super::{FieldError, Strategy, names};

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
        errors.extend(class(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let path = "spec.controller";
        if object.text(path) != old.text(path) {
            errors.push(meta::immutable(path, &object.text(path).into()));
        }
        errors.extend(class(object));
        errors
    }
}

fn class(object: &Value) -> Vec<FieldError> {
    let path = "spec.controller";
    let controller = object.text(path);
    let mut errors = Vec::new();
    if controller.len() > 250 {
        errors.push(FieldError::too_long(path, 250));
    }
    if controller.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        let complaints = names::domain_prefixed_path(controller).into_iter();
        errors.extend(complaints.map(|(part, why)| FieldError::invalid_text(path, part, why)));
    }
    errors.extend(class_parameters(object));
    errors
}

fn class_parameters(object: &Value) -> Vec<FieldError> {
    let parameters = object.at("spec.parameters");
    let path = "spec.parameters";
    if parameters.is_null() {
        return Vec::new();
    }
    let mut errors = reference(parameters, path);
    let namespace = parameters.at("namespace").as_str();
    match parameters.text("scope") {
        "Namespace" if namespace.is_none() => errors.push(FieldError::required(
            format!("{path}.namespace"),
            "`parameters.scope` is set to 'Namespace'",
        )),
        "Namespace" => {
            let name = namespace.unwrap_or_default();
            let path = format!("{path}.namespace");
            errors.extend(invalid_all(&path, name, names::dns1123_label(name)));
        }
        "Cluster" if namespace.is_some() => errors.push(FieldError::forbidden(
            format!("{path}.namespace"),
            "`parameters.scope` is set to 'Cluster'",
        )),
        "Cluster" => {}
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
