//! `ipFamilyPolicy` and `ipFamilies`: one family or two.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::Errors;
use crate::resource::service::validation::cluster_ips;
use crate::resource::service::{kind, needs_cluster_ip};
use crate::resource::value::ValueExt;
use crate::resource::{Claims, FieldError, names};

pub(super) fn family(net: &IpNet) -> &'static str {
    if matches!(net, IpNet::V6(_)) { "IPv6" } else { "IPv4" }
}

fn other_family(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

/// Completes `ipFamilyPolicy` and `ipFamilies` from what was asked for and what the cluster has.
pub(super) fn init_families(
    claims: &dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<(), Errors> {
    if kind(service) == "ExternalName" || keeps_preferred_stack(service, old) {
        return Ok(());
    }
    let configured: Vec<&str> = claims.config().service_ranges.iter().map(family).collect();
    let bare_headless = service.text("spec.clusterIP") == "None"
        && service.fields("spec.selector").is_none_or(serde_json::Map::is_empty);

    if !service.has("spec.ipFamilyPolicy") {
        let policy = match old.map(|o| o.at("spec.ipFamilyPolicy")) {
            Some(Value::String(policy)) => policy.clone(),
            _ if bare_headless => "RequireDualStack".to_owned(),
            _ => "SingleStack".to_owned(),
        };
        *service.slot("spec.ipFamilyPolicy") = policy.into();
    }
    let errors = cluster_ips(service, old);
    if !errors.is_empty() {
        return Err(errors);
    }
    let single = service.text("spec.ipFamilyPolicy") == "SingleStack";
    if let Some(old) = old {
        shrink_or_refuse(service, old, single)?;
    }
    let mut errors = Vec::new();
    let policy_error = |service: &Value, text: &str| {
        FieldError::invalid("spec.ipFamilyPolicy", service.at("spec.ipFamilyPolicy"), text)
    };
    if single {
        if service.list("spec.clusterIPs").len() == 2 {
            errors.push(policy_error(service, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"));
        }
        if service.list("spec.ipFamilies").len() == 2 {
            errors.push(policy_error(service, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"));
        }
    }
    let mut families: Vec<String> =
        service.texts("spec.ipFamilies").into_iter().map(str::to_owned).collect();
    for (i, address) in service.texts("spec.clusterIPs").into_iter().enumerate() {
        let Some(ip) = names::parse_ip_sloppy(address) else { break };
        if i < families.len() {
            continue;
        }
        let wanted = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
        if configured.contains(&wanted) {
            families.push(wanted.to_owned());
        } else {
            errors.push(FieldError::invalid(
                format!("spec.clusterIPs[{i}]"),
                service.at("spec.clusterIPs"),
                format!("{wanted} is not configured on this cluster"),
            ));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let default_family = configured.first().copied().unwrap_or("IPv4").to_owned();

    if bare_headless {
        // Its endpoints are the user's own and may be of either family, whatever the cluster has.
        if families.is_empty() {
            families.push(default_family);
        }
        if families.len() < 2 && !single {
            families.push(other_family(&families[0]).to_owned());
        }
        *service.slot("spec.ipFamilies") = families.into();
        return Ok(());
    }

    if service.text("spec.ipFamilyPolicy") == "RequireDualStack" && configured.len() < 2 {
        errors
            .push(policy_error(service, "this cluster is not configured for dual-stack services"));
    }
    for (i, wanted) in families.iter().enumerate() {
        if !configured.contains(&wanted.as_str()) {
            errors.push(FieldError::invalid_text(
                format!("spec.ipFamilies[{i}]"),
                wanted,
                "not configured on this cluster",
            ));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if families.is_empty() {
        families.push(default_family);
    }
    if !single && families.len() == 1 && configured.len() == 2 {
        families.push(other_family(&families[0]).to_owned());
    }
    *service.slot("spec.ipFamilies") = families.into();
    Ok(())
}

/// A Service that prefers two families is not changed by an update that does not speak of them.
fn keeps_preferred_stack(service: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else { return false };
    needs_cluster_ip(service)
        && kind(service) == kind(old)
        && service.text("spec.ipFamilyPolicy") == "PreferDualStack"
        && ["spec.ipFamilyPolicy", "spec.clusterIPs", "spec.ipFamilies"]
            .iter()
            .all(|field| service.at(field) == old.at(field))
}

/// Going back to one family: clear intent shortens the lists, anything else is refused.
fn shrink_or_refuse(service: &mut Value, old: &Value, single: bool) -> Result<(), Errors> {
    let mut errors = Vec::new();
    for (field, what) in [("spec.clusterIPs", "cluster IP"), ("spec.ipFamilies", "IP family")] {
        let (now, was) = (service.list(field).len(), old.list(field).len());
        if single {
            if now > 1 && service.at(field) == old.at(field) {
                *service.slot(field) = json!([service.list(field)[0]]);
            }
        } else if now != 0 && now < was {
            errors.push(FieldError::invalid(
                "spec.ipFamilyPolicy",
                service.at("spec.ipFamilyPolicy"),
                format!("must be 'SingleStack' to release the secondary {what}"),
            ));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
