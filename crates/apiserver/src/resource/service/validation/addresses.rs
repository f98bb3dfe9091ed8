//! `spec.clusterIP` and its relatives.

use serde_json::Value;

use crate::resource::service::{is_headless, kind};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, ip};

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` together.
pub(in crate::resource::service) fn cluster_ips(
    service: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
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
    } else if first.is_empty() {
        let text = "must be empty when `clusterIP` is not specified";
        errors.push(FieldError::invalid(path, list, text));
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

    let known = old.map(|old| old.texts(path)).unwrap_or_default();
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
        let complaints = ip::legacy(&format!("{path}[{i}]"), address, &known);
        malformed |= !complaints.is_empty();
        errors.extend(complaints);
    }
    if addresses.len() > 2 {
        errors.push(FieldError::invalid(path, list, "may only hold up to 2 values"));
    }
    if malformed {
        return errors;
    }
    if addresses.len() > 1 {
        let v4 = addresses.iter().filter(|address| ip::is_family(address, "IPv4")).count();
        if v4 == 0 || v4 == addresses.len() {
            errors.push(FieldError::invalid(
                path,
                list,
                "may specify no more than one IP for each IP family",
            ));
        }
    }
    if !is_headless(service) {
        for (i, (address, family)) in addresses.iter().zip(families).enumerate() {
            let Some(expected @ ("IPv4" | "IPv6")) = family.as_str() else { continue };
            if !ip::is_family(address, expected) {
                errors.push(FieldError::invalid_text(
                    format!("{path}[{i}]"),
                    address,
                    format!("expected an {expected} value as indicated by `ipFamilies[{i}]`"),
                ));
            }
        }
    }
    errors
}

/// Whether addresses and families of both may be compared at all.
fn both_have_addresses(service: &Value, old: &Value) -> bool {
    kind(service) != "ExternalName" && kind(old) != "ExternalName"
}

/// An address, once given, stays as long as the type needs one.
pub(super) fn cluster_ip_changes(service: &Value, old: &Value) -> Vec<FieldError> {
    if !both_have_addresses(service, old) || is_headless(service) && is_headless(old) {
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
    if new.is_empty() {
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            list,
            "primary clusterIP can not be unset",
        ));
    }
    if let (Some(a), Some(b)) = (new.first(), was.first())
        && a != b
    {
        errors.push(changed(0));
    }
    if new.len() < was.len() {
        errors.extend(releases(service, new.len(), "clusterIP"));
    }
    errors
}

/// The families stay with the addresses.
pub(super) fn family_changes(service: &Value, old: &Value) -> Vec<FieldError> {
    let headless = is_headless(service) || is_headless(old);
    if headless || !both_have_addresses(service, old) {
        return Vec::new();
    }
    let path = "spec.ipFamilies";
    let first = "spec.ipFamilies[0]";
    let (new, was) = (service.texts(path), old.texts(path));
    let text = "may not change once set";
    if new.len() == was.len() {
        let changed = new.iter().zip(&was).filter(|(a, b)| a != b);
        return changed.map(|_| FieldError::invalid(first, service.at(path), text)).collect();
    }
    let mut errors = Vec::new();
    let addresses = service.at("spec.clusterIPs");
    if new.len() < was.len() && service.list("spec.clusterIPs").is_empty() {
        let text = "primary ipFamily can not be unset";
        errors.push(FieldError::invalid(first, service.at(path), text));
    }
    if let (Some(a), Some(b)) = (new.first(), was.first())
        && a != b
    {
        // Kubernetes shows the addresses here, not the families.
        errors.push(FieldError::invalid(first, addresses, text));
    }
    if new.len() < was.len() {
        errors.extend(releases(service, new.len(), "ipFamily"));
    }
    errors
}

/// Who drops the second of two says so by the policy.
fn releases(service: &Value, left: usize, what: &str) -> Option<FieldError> {
    let path = "spec.ipFamilyPolicy";
    (left == 1 && service.text(path) != "SingleStack").then(|| {
        FieldError::invalid(
            path,
            service.at(path),
            format!("must be set to 'SingleStack' when releasing the secondary {what}"),
        )
    })
}
