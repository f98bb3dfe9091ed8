//! `spec.clusterIP` and its relatives.

use std::net::IpAddr;

use serde_json::Value;

use crate::resource::service::{is_headless, kind, needs_cluster_ip};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` together.
pub(in crate::resource::service) fn cluster_ips(service: &Value) -> Vec<FieldError> {
    if kind(service) == "ExternalName" {
        return Vec::new();
    }
    let mut errors = Vec::new();
    let path = "spec.clusterIPs";
    let list = service.at(path);
    let addresses = service.texts(path);
    let first = service.text("spec.clusterIP");
    if addresses.is_empty() {
        if !first.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    } else if addresses[0] != first {
        errors.push(FieldError::invalid(path, list, "first value must match `clusterIP`"));
    }
    let families = service.list("spec.ipFamilies");
    for (i, family) in families.iter().enumerate() {
        let path = format!("spec.ipFamilies[{i}]");
        if family != "IPv4" && family != "IPv6" {
            errors.push(FieldError::not_supported(path.as_str(), family, &["IPv4", "IPv6"]));
        }
        if families[..i].contains(family) {
            errors.push(FieldError::duplicate(path, family));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = service.at("spec.ipFamilyPolicy");
    if !policy.is_null() && !policies.contains(&policy.as_str().unwrap_or_default()) {
        errors.push(FieldError::not_supported("spec.ipFamilyPolicy", policy, &policies));
    }

    let mut malformed = false;
    for (i, address) in addresses.iter().enumerate() {
        if i == 0 && *address == "None" {
            if addresses.len() > 1 {
                malformed = true;
                errors.push(FieldError::invalid(
                    path,
                    list,
                    "'None' must be the first and only value",
                ));
            }
            continue;
        }
        if names::parse_ip_sloppy(address).is_none() {
            malformed = true;
            errors.push(FieldError::invalid_text(
                format!("{path}[{i}]"),
                address,
                names::NOT_AN_IP,
            ));
        }
    }
    if addresses.len() > 2 {
        errors.push(FieldError::invalid(path, list, "may only hold up to 2 values"));
    }
    if malformed {
        return errors;
    }
    let parsed: Vec<IpAddr> = addresses.iter().filter_map(|a| names::parse_ip_sloppy(a)).collect();
    if addresses.len() > 1 {
        let v6 = parsed.iter().filter(|ip| ip.is_ipv6()).count();
        if v6 == 0 || v6 == parsed.len() {
            errors.push(FieldError::invalid(
                path,
                list,
                "may specify no more than one IP for each IP family",
            ));
        }
    }
    if errors.is_empty() && !is_headless(service) {
        for (i, (ip, family)) in parsed.iter().zip(families).enumerate() {
            let expected = family.as_str().unwrap_or_default();
            if ip.is_ipv6() != (expected == "IPv6") {
                errors.push(FieldError::invalid_text(
                    format!("{path}[{i}]"),
                    addresses[i],
                    format!("expected an {expected} value as indicated by `ipFamilies[{i}]`"),
                ));
            }
        }
    }
    errors
}

/// An address, once given, stays as long as the type needs one.
pub(super) fn cluster_ip_changes(service: &Value, old: &Value) -> Vec<FieldError> {
    if !needs_cluster_ip(service) || !needs_cluster_ip(old) {
        return Vec::new();
    }
    if is_headless(service) && is_headless(old) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    let (new, was) = (service.texts("spec.clusterIPs"), old.texts("spec.clusterIPs"));
    let list = service.at("spec.clusterIPs");
    let changed = |i: usize| {
        FieldError::invalid(format!("spec.clusterIPs[{i}]"), list, "may not change once set")
    };
    if new.len() == was.len() {
        errors.extend((0..new.len()).filter(|i| new[*i] != was[*i]).map(changed));
        return errors;
    }
    if new.len() < was.len() {
        if new.is_empty() {
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                list,
                "primary clusterIP can not be unset",
            ));
        } else if service.text("spec.ipFamilyPolicy") != "SingleStack" {
            errors.push(FieldError::invalid(
                "spec.ipFamilyPolicy",
                service.at("spec.ipFamilyPolicy"),
                "must be set to 'SingleStack' when releasing the secondary clusterIP",
            ));
        }
    }
    if let (Some(a), Some(b)) = (new.first(), was.first())
        && a != b
    {
        errors.push(changed(0));
    }
    errors
}
