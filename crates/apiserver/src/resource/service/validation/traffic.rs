//! Load balancers and traffic policies.

use serde_json::{Value, json};

use crate::resource::meta::invalid_all;
use crate::resource::service::{
    externally_accessible, kind, needs_cluster_ip, needs_health_check_port,
};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

pub(super) fn load_balancer_fields(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let balancer = kind(service) == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    let ranges = service.texts("spec.loadBalancerSourceRanges");
    let annotation = service["metadata"]["annotations"][SOURCE_RANGES].as_str();
    if !ranges.is_empty() {
        if !balancer {
            errors.push(FieldError::forbidden("spec.loadBalancerSourceRanges", only));
        }
        for (i, range) in ranges.iter().enumerate() {
            if names::parse_cidr(range.trim()).is_none() {
                errors.push(FieldError::invalid_text(
                    format!("spec.loadBalancerSourceRanges[{i}]"),
                    range,
                    names::NOT_A_CIDR,
                ));
            }
        }
    } else if let Some(text) = annotation {
        let path = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balancer {
            errors.push(FieldError::forbidden(path.as_str(), only));
        }
        let good = text.trim().is_empty()
            || text.split(',').all(|range| names::parse_cidr(range.trim()).is_some());
        if !good {
            errors.push(FieldError::invalid_text(
                path,
                text,
                "must be a comma separated list of CIDRs e.g. 192.168.0.0/16,10.0.0.0/8",
            ));
        }
    }
    let field = "spec.allocateLoadBalancerNodePorts";
    if balancer && !service.has(field) {
        errors.push(FieldError::required(field, ""));
    } else if !balancer && service.has(field) {
        errors.push(FieldError::forbidden(field, only));
    }
    errors
}

pub(super) fn load_balancer_class(service: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = "spec.loadBalancerClass";
    let class = service.at(path);
    if let Some(old) = old
        && kind(old) == "LoadBalancer"
        && kind(service) == "LoadBalancer"
        && old.at(path) != class
    {
        errors.push(FieldError::invalid(path, class, "may not change once set"));
    }
    if let Some(name) = class.as_str() {
        if kind(service) == "LoadBalancer" {
            errors.extend(invalid_all(path, name, names::qualified_name(name)));
        } else {
            errors.push(FieldError::forbidden(
                path,
                "may only be used when `type` is 'LoadBalancer'",
            ));
        }
    }
    errors
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
        None if needs_cluster_ip(service) => errors.push(FieldError::required(path, "")),
        None | Some("Cluster" | "Local") => {}
        Some(_) => {
            errors.push(FieldError::not_supported(path, service.at(path), &["Cluster", "Local"]));
        }
    }
    let path = "spec.trafficDistribution";
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if let Some(value) = service.at(path).as_str()
        && !known.contains(&value)
    {
        errors.push(FieldError::not_supported(path, service.at(path), &known));
    }
    errors
}
