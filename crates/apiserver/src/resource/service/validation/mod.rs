//! Complaints about Services, with the paths and texts of `pkg/apis/core/validation`.

mod addresses;
mod ports;
#[cfg(test)]
mod tests;
mod traffic;

use serde_json::Value;

use super::{is_headless, kind};
use crate::resource::meta::{self, NameRule, invalid_all};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};
use addresses::cluster_ip_changes;
pub(in crate::resource::service) use addresses::cluster_ips;
use ports::{duplicate_ports, validate_ports};
use traffic::{load_balancer_class, load_balancer_fields, traffic};

/// A day in seconds: how long an affinity may last.
const MAX_AFFINITY: i64 = 86_400;

pub(in crate::resource::service) fn create(service: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(service, true, NameRule::Label1035);
    errors.extend(spec(service));
    errors.extend(load_balancer_class(service, None));
    errors
}

pub(in crate::resource::service) fn update(service: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate_update(service, old);
    errors.extend(cluster_ip_changes(service, old));
    errors.extend(load_balancer_class(service, Some(old)));
    errors.extend(spec(service));
    errors
}

pub(in crate::resource::service) fn status_update(service: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate_update(service, old);
    let ingress = service.list("status.loadBalancer.ingress");
    let path = "status.loadBalancer.ingress";
    if kind(service) != "LoadBalancer" && !ingress.is_empty() {
        errors.push(FieldError::forbidden(
            path,
            "may only be used when `spec.type` is \"LoadBalancer\"",
        ));
        return errors;
    }
    for (i, entry) in ingress.iter().enumerate() {
        let ip = entry.text("ip");
        if !ip.is_empty() && names::parse_ip_sloppy(ip).is_none() {
            errors.push(FieldError::invalid_text(format!("{path}[{i}].ip"), ip, names::NOT_AN_IP));
        }
        let mode = entry.at("ipMode");
        if !ip.is_empty() && mode.is_null() {
            errors.push(FieldError::required(
                format!("{path}[{i}].ipMode"),
                "must be specified when `ip` is set",
            ));
        } else if ip.is_empty() && !mode.is_null() {
            errors.push(FieldError::forbidden(
                format!("{path}[{i}].ipMode"),
                "may not be specified when `ip` is not set",
            ));
        } else if !mode.is_null() && mode != "VIP" && mode != "Proxy" {
            errors.push(FieldError::not_supported(
                format!("{path}[{i}].ipMode"),
                mode,
                &["Proxy", "VIP"],
            ));
        }
        let name = entry.text("hostname");
        if !name.is_empty() {
            let path = format!("{path}[{i}].hostname");
            errors.extend(invalid_all(&path, name, names::dns1123_subdomain(name)));
            if names::parse_ip(name).is_some() {
                errors.push(FieldError::invalid_text(
                    path,
                    name,
                    "must be a DNS name, not an IP address",
                ));
            }
        }
    }
    errors
}

fn spec(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ports = service.list("spec.ports");
    if ports.is_empty() && !is_headless(service) && kind(service) != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    errors.extend(by_type(service));
    errors.extend(validate_ports(service));
    errors.extend(meta::labels(service.fields("spec.selector"), "spec.selector"));
    errors.extend(affinity(service));
    errors.extend(cluster_ips(service));
    for (i, ip) in service.texts("spec.externalIPs").iter().enumerate() {
        let path = format!("spec.externalIPs[{i}]");
        match names::parse_ip_sloppy(ip) {
            None => errors.push(FieldError::invalid_text(path, ip, names::NOT_AN_IP)),
            Some(parsed) => errors.extend(
                names::special_ip(parsed)
                    .into_iter()
                    .map(|text| FieldError::invalid_text(path.as_str(), ip, text)),
            ),
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
    errors.extend(load_balancer_fields(service));
    errors.extend(traffic(service));
    errors
}

fn by_type(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let headless = |type_name: &str| {
        FieldError::invalid_text(
            "spec.clusterIPs[0]",
            "None",
            format!("may not be set to 'None' for {type_name} services"),
        )
    };
    match kind(service) {
        "LoadBalancer" => {
            for (i, port) in service.list("spec.ports").iter().enumerate() {
                if port.int("port") == Some(10_250) {
                    errors.push(FieldError::invalid_number(
                        format!("spec.ports[{i}]"),
                        10_250,
                        "may not expose port 10250 externally since it is used by kubelet",
                    ));
                }
            }
            if is_headless(service) {
                errors.push(headless("LoadBalancer"));
            }
        }
        "NodePort" if is_headless(service) => errors.push(headless("NodePort")),
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

/// Texts for the `Warning` header.
pub(in crate::resource::service) fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |yes: bool, text: &str| {
        if yes {
            warnings.push(text.to_owned());
        }
    };
    let has_external_ips = !service.list("spec.externalIPs").is_empty();
    let external_name = kind(service) == "ExternalName";
    let hints = "service.kubernetes.io/topology-aware-hints";
    warn(
        service["metadata"]["annotations"].get(hints).is_some(),
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
    );
    if is_headless(service) {
        warn(
            !service.text("spec.loadBalancerIP").is_empty(),
            "spec.loadBalancerIP is ignored for headless services",
        );
        warn(has_external_ips, "spec.externalIPs is ignored for headless services");
        warn(
            service.text("spec.sessionAffinity") == "ClientIP",
            "spec.SessionAffinity is ignored for headless services",
        );
    }
    warn(
        external_name && has_external_ips,
        "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
    );
    warn(
        !external_name && !service.text("spec.externalName").is_empty(),
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
    );
    warnings
}
