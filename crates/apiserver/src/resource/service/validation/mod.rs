//! Complaints about Services, with the paths and texts of `pkg/apis/core/validation`.

mod addresses;
mod ports;
mod traffic;
mod warnings;

use serde_json::Value;

use super::{is_headless, kind, needs_health_check_port};
use crate::resource::meta::{self, NameRule, invalid_all};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, ip, names};
pub(in crate::resource::service) use addresses::cluster_ips;
use addresses::{cluster_ip_changes, family_changes};
use ports::{duplicate_ports, validate_ports};
use traffic::{load_balancer_class, load_balancer_class_changes, load_balancer_fields, traffic};
pub(in crate::resource::service) use warnings::{status_warnings, warnings};

/// A day in seconds: how long an affinity may last.
const MAX_AFFINITY: i64 = 86_400;
/// The old name of [`TOPOLOGY_MODE`].
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

pub(in crate::resource::service) fn create(service: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(service, true, NameRule::Label);
    errors.extend(spec(service, None));
    errors
}

pub(in crate::resource::service) fn update(service: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate_update(service, old);
    errors.extend(cluster_ip_changes(service, old));
    errors.extend(family_changes(service, old));
    errors.extend(load_balancer_class_changes(service, old));
    let path = "spec.healthCheckNodePort";
    if needs_health_check_port(service)
        && needs_health_check_port(old)
        && service.int(path).unwrap_or(0) != old.int(path).unwrap_or(0)
    {
        errors.push(FieldError::forbidden(path, "field is immutable"));
    }
    errors.extend(spec(service, Some(old)));
    errors
}

pub(in crate::resource::service) fn status_update(service: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate_update(service, old);
    let path = "status.loadBalancer.ingress";
    let ingress = service.list(path);
    if kind(service) != "LoadBalancer" && !ingress.is_empty() {
        errors.push(FieldError::forbidden(
            path,
            "may only be used when `spec.type` is 'LoadBalancer'",
        ));
        return errors;
    }
    let known: Vec<&str> = old.list(path).iter().map(|entry| entry.text("ip")).collect();
    for (i, entry) in ingress.iter().enumerate() {
        let path = format!("{path}[{i}]");
        errors.extend(meta::balancer_address(entry, &path, &known));
        let (address, mode) = (entry.text("ip"), entry.at("ipMode"));
        let path = format!("{path}.ipMode");
        if !address.is_empty() && mode.is_null() {
            errors.push(FieldError::required(path, "must be specified when `ip` is set"));
        } else if address.is_empty() && !mode.is_null() {
            errors.push(FieldError::forbidden(path, "may not be specified when `ip` is not set"));
        } else if !mode.is_null() && mode != "VIP" && mode != "Proxy" {
            errors.push(FieldError::not_supported(path, mode, &["Proxy", "VIP"]));
        }
    }
    errors
}

fn spec(service: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(topology_annotations(service));
    let ports = service.list("spec.ports");
    if ports.is_empty() && !is_headless(service) && kind(service) != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    errors.extend(by_type(service));
    errors.extend(validate_ports(service));
    errors.extend(meta::labels(service.fields("spec.selector"), "spec.selector"));
    errors.extend(affinity(service));
    errors.extend(cluster_ips(service, old));
    let known = old.map(|old| old.texts("spec.externalIPs")).unwrap_or_default();
    for (i, address) in service.texts("spec.externalIPs").iter().enumerate() {
        let path = format!("spec.externalIPs[{i}]");
        let malformed = ip::legacy(&path, address, &known);
        let good = malformed.is_empty();
        errors.extend(malformed);
        if good {
            errors.extend(ip::dialable(&path, address));
        }
    }
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if kind(service).is_empty() {
        errors.push(FieldError::required("spec.type", ""));
    } else if !types.contains(&kind(service)) {
        errors.push(FieldError::not_supported("spec.type", service.at("spec.type"), &types));
    }
    if kind(service) == "ClusterIP" {
        for (i, port) in ports.iter().enumerate() {
            if port.int("nodePort").unwrap_or(0) != 0 {
                errors.push(FieldError::forbidden(
                    format!("spec.ports[{i}].nodePort"),
                    "may not be used when `type` is 'ClusterIP'",
                ));
            }
        }
    }
    errors.extend(duplicate_ports(ports));
    errors.extend(load_balancer_fields(service, old));
    errors.extend(load_balancer_class(service));
    errors.extend(traffic(service));
    errors
}

/// The annotation has two names; who uses both must say the same.
fn topology_annotations(service: &Value) -> Option<FieldError> {
    let annotations = &service["metadata"]["annotations"];
    let (hints, mode) = (&annotations[TOPOLOGY_HINTS], &annotations[TOPOLOGY_MODE]);
    (hints.is_string() && mode.is_string() && hints != mode).then(|| {
        FieldError::invalid(
            format!("metadata.annotations[{TOPOLOGY_MODE}]"),
            mode,
            format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"),
        )
    })
}

fn by_type(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match kind(service) {
        name @ ("LoadBalancer" | "NodePort") if is_headless(service) => {
            errors.push(FieldError::invalid_text(
                "spec.clusterIPs[0]",
                "None",
                format!("may not be set to 'None' for {name} services"),
            ));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let value = service.at("spec").at(field);
                let set = value.as_array().map_or(!value.is_null(), |list| !list.is_empty());
                if set {
                    errors.push(FieldError::forbidden(
                        format!("spec.{field}"),
                        "may not be set for ExternalName services",
                    ));
                }
            }
            let full = service.text("spec.externalName");
            let name = full.strip_suffix('.').unwrap_or(full);
            if name.is_empty() {
                errors.push(FieldError::required("spec.externalName", ""));
            } else {
                errors.extend(invalid_all(
                    "spec.externalName",
                    name,
                    names::dns1123_subdomain(name),
                ));
            }
        }
        _ => {}
    }
    errors
}

fn affinity(service: &Value) -> Vec<FieldError> {
    let path = "spec.sessionAffinityConfig";
    let config = service.at(path);
    match service.text("spec.sessionAffinity") {
        "" => vec![FieldError::required("spec.sessionAffinity", "")],
        "None" if config.is_null() => Vec::new(),
        "None" => {
            vec![FieldError::forbidden(path, "must not be set when session affinity is None")]
        }
        "ClientIP" => {
            let timeout_path = format!("{path}.clientIP.timeoutSeconds");
            match service.int(&timeout_path) {
                None => vec![FieldError::required(
                    timeout_path,
                    "when session affinity type is ClientIP",
                )],
                Some(seconds) if seconds <= 0 || seconds > MAX_AFFINITY => {
                    vec![FieldError::invalid_number(
                        timeout_path,
                        seconds,
                        format!("must be greater than 0 and less than {MAX_AFFINITY}"),
                    )]
                }
                Some(_) => Vec::new(),
            }
        }
        _ => vec![FieldError::not_supported(
            "spec.sessionAffinity",
            service.at("spec.sessionAffinity"),
            &["ClientIP", "None"],
        )],
    }
}
