//! Load balancers and traffic policies.

use serde_json::{Value, json};

use crate::resource::meta::invalid_all;
use crate::resource::service::{externally_accessible, kind, needs_health_check_port};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, ip, names};

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Kubernetes itself writes this path with a capital letter.
const RANGES_PATH: &str = "spec.LoadBalancerSourceRanges";

pub(super) fn load_balancer_fields(service: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let balancer = kind(service) == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    let field = "spec.loadBalancerSourceRanges";
    let ranges = service.texts(field);
    let annotation = |service: &Value| {
        service["metadata"]["annotations"][SOURCE_RANGES].as_str().map(str::to_owned)
    };
    if !ranges.is_empty() {
        if !balancer {
            errors.push(FieldError::forbidden(RANGES_PATH, only));
        }
        // Spaces around a range are part of the API.
        let known = old.map(|old| old.texts(field)).unwrap_or_default();
        let known: Vec<&str> = known.into_iter().map(str::trim).collect();
        for (i, range) in ranges.iter().enumerate() {
            errors.extend(ip::legacy_cidr(&format!("{RANGES_PATH}[{i}]"), range.trim(), &known));
        }
    } else if let Some(text) = annotation(service) {
        let path = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balancer {
            errors.push(FieldError::forbidden(path.as_str(), only));
        }
        let unchanged = old.and_then(annotation).as_deref() == Some(&*text);
        if !unchanged && !text.trim().is_empty() {
            for range in text.trim().split(',') {
                errors.extend(ip::legacy_cidr(&path, range.trim(), &[]));
            }
        }
    }
    let field = "spec.allocateLoadBalancerNodePorts";
    if balancer && !service.has(field) {
        errors.push(FieldError::required("allocateLoadBalancerNodePorts", ""));
    } else if !balancer && service.has(field) {
        errors.push(FieldError::forbidden(field, only));
    }
    errors
}

pub(super) fn load_balancer_class(service: &Value) -> Vec<FieldError> {
    let path = "spec.loadBalancerClass";
    match service.at(path).as_str() {
        None => Vec::new(),
        Some(name) if kind(service) == "LoadBalancer" => {
            invalid_all(path, name, names::qualified_name(name))
        }
        Some(_) => {
            let only = "may only be used when `type` is 'LoadBalancer'";
            vec![FieldError::forbidden(path, only)]
        }
    }
}

/// The class decides who serves the Service: it stays as long as the type does.
pub(super) fn load_balancer_class_changes(service: &Value, old: &Value) -> Option<FieldError> {
    let path = "spec.loadBalancerClass";
    let both = kind(service) == "LoadBalancer" && kind(old) == "LoadBalancer";
    (both && service.at(path) != old.at(path))
        .then(|| FieldError::invalid(path, service.at(path), "may not change once set"))
}

pub(super) fn traffic(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let external = service.text("spec.externalTrafficPolicy");
    let path = "spec.externalTrafficPolicy";
    if !externally_accessible(service) {
        if !external.is_empty() {
            errors.push(FieldError::invalid_text(
                path,
                external,
                "may only be set for externally-accessible services",
            ));
        }
    } else if external.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if external != "Cluster" && external != "Local" {
        errors.push(FieldError::not_supported(path, &json!(external), &["Cluster", "Local"]));
    }
    // A port that is needed and not given is allocated later.
    let port = service.int("spec.healthCheckNodePort").unwrap_or(0);
    if port != 0 {
        if needs_health_check_port(service) {
            for text in names::port_number(port) {
                errors.push(FieldError::invalid_number("spec.healthCheckNodePort", port, text));
            }
        } else {
            errors.push(FieldError::invalid_number(
                "spec.healthCheckNodePort",
                port,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ));
        }
    }
    let path = "spec.internalTrafficPolicy";
    match service.at(path).as_str() {
        None if matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer") => {
            errors.push(FieldError::required(path, ""))
        }
        None | Some("Cluster" | "Local") => {}
        Some(_) => {
            errors.push(FieldError::not_supported(path, service.at(path), &["Cluster", "Local"]));
        }
    }
    let path = "spec.trafficDistribution";
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    if let Some(value) = service.at(path).as_str()
        && !known.contains(&value)
    {
        errors.push(FieldError::not_supported_in_order(path, service.at(path), &known));
    }
    errors
}
