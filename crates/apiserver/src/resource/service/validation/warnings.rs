//! What kubectl prints in yellow (`pkg/api/service/warnings.go`).

use serde_json::Value;

use super::{TOPOLOGY_HINTS, TOPOLOGY_MODE};
use crate::resource::ip;
use crate::resource::service::{is_headless, kind, needs_cluster_ip};
use crate::resource::value::ValueExt;

pub(in crate::resource::service) fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if service["metadata"]["annotations"].get(TOPOLOGY_HINTS).is_some() {
        warnings.push(format!(
            "annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"
        ));
    }
    if needs_cluster_ip(service) && !is_headless(service) {
        warnings.extend(addresses(service, "spec.clusterIPs"));
    }
    let headless = kind(service) == "ClusterIP" && service.text("spec.clusterIP") == "None";
    let external_name = kind(service) == "ExternalName";
    let has_external_ips = !service.list("spec.externalIPs").is_empty();
    let balancer_ip = service.text("spec.loadBalancerIP");
    let mut warn = |yes: bool, text: &str| {
        if yes {
            warnings.push(text.to_owned());
        }
    };
    warn(
        headless && !balancer_ip.is_empty(),
        "spec.loadBalancerIP is ignored for headless services",
    );
    warn(headless && has_external_ips, "spec.externalIPs is ignored for headless services");
    warn(
        headless && service.text("spec.sessionAffinity") != "None",
        "spec.SessionAffinity is ignored for headless services",
    );
    warnings.extend(addresses(service, "spec.externalIPs"));
    if has_external_ips && !headless && !external_name {
        warnings.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
                .to_owned(),
        );
    }
    warnings.extend(ip::warnings("spec.loadBalancerIP", balancer_ip));
    for (i, range) in service.texts("spec.loadBalancerSourceRanges").into_iter().enumerate() {
        warnings.extend(ip::cidr_warnings(&format!("spec.loadBalancerSourceRanges[{i}]"), range));
    }
    let mut warn = |yes: bool, text: &str| {
        if yes {
            warnings.push(text.to_owned());
        }
    };
    warn(
        external_name && has_external_ips,
        "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
    );
    warn(
        !external_name && !service.text("spec.externalName").is_empty(),
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
    );
    warn(
        service.text("spec.trafficDistribution") == "PreferClose",
        "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
    );
    warnings
}

/// Addresses in a list that should be written otherwise.
fn addresses(service: &Value, path: &str) -> Vec<String> {
    let all = service.texts(path).into_iter().enumerate();
    all.filter_map(|(i, address)| ip::warnings(&format!("{path}[{i}]"), address)).collect()
}

pub(in crate::resource::service) fn status_warnings(service: &Value) -> Vec<String> {
    let path = "status.loadBalancer.ingress";
    let all = service.list(path).iter().enumerate();
    all.filter_map(|(i, entry)| ip::warnings(&format!("{path}[{i}]"), entry.text("ip"))).collect()
}
