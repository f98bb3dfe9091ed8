//! Node ports and health check ports.

use std::collections::HashMap;

use serde_json::Value;

use super::band::{Range, lower_band};
use super::{health_check_port, invalid};
use crate::resource::service::update::node_ports;
use crate::resource::service::{kind, needs_health_check_port, needs_node_port};
use crate::resource::value::ValueExt;
use crate::resource::{AllocateError, ClaimKey, Claims, FieldError, Space};

pub(super) fn allocate_node_ports(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
    owner: &str,
) -> Result<(), AllocateError> {
    let held: Vec<i64> = match old {
        Some(old) if needs_node_port(old) => node_ports(old).into_iter().collect(),
        _ => Vec::new(),
    };
    let mut kept = Vec::new();
    if needs_node_port(service) {
        match old {
            None => give_to_new(claims, service, owner)?,
            Some(_) => give_to_changed(claims, service, &held, owner)?,
        }
        kept.extend(node_ports(service));
    }
    for number in held.into_iter().filter(|n| !kept.contains(n)) {
        if let Ok(port) = u16::try_from(number) {
            claims.release(ClaimKey::NodePort(port), owner);
        }
    }
    Ok(())
}

/// Whether ports that ask for nothing get a node port.
fn is_automatic(service: &Value) -> bool {
    kind(service) == "NodePort" || service.flag("spec.allocateLoadBalancerNodePorts") != Some(false)
}

/// A new Service: ports of one number (TCP and UDP, say) share a node port, unless they ask for
/// different ones. As in kube-apiserver, no others may.
fn give_to_new(
    claims: &mut dyn Claims,
    service: &mut Value,
    owner: &str,
) -> Result<(), AllocateError> {
    let automatic = is_automatic(service);
    let mut asked: HashMap<i64, i64> = HashMap::new();
    for port in service.list("spec.ports") {
        if let (Some(number), Some(node_port)) = (port.int("port"), wish(port)) {
            asked.entry(number).or_insert(node_port);
        }
    }
    let mut given: HashMap<i64, i64> = HashMap::new();
    // Those asked for come first: a random one must not take their place.
    for (i, port) in service.list_mut("spec.ports").iter_mut().enumerate() {
        let number = port.int("port").unwrap_or(0);
        let own = wish(port);
        let Some(first) = asked.get(&number).filter(|_| own.is_some() || automatic) else {
            continue;
        };
        let shared = given.get(&number).copied();
        let node_port = match (shared, own) {
            (None, _) => *first,
            (Some(shared), None) => shared,
            (Some(_), Some(own)) => own,
        };
        if shared != Some(node_port) {
            claim_node_port(claims, i, node_port, owner)?;
        }
        given.entry(number).or_insert(node_port);
        port["nodePort"] = node_port.into();
    }
    if !automatic {
        return Ok(());
    }
    for port in service.list_mut("spec.ports") {
        if wish(port).is_some() {
            continue;
        }
        let number = port.int("port").unwrap_or(0);
        let node_port = match given.get(&number) {
            Some(shared) => *shared,
            None => random_node_port(claims, owner)?,
        };
        given.insert(number, node_port);
        port["nodePort"] = node_port.into();
    }
    Ok(())
}

/// A changed Service: what it holds it may use as it likes, what is missing is given one by one.
fn give_to_changed(
    claims: &mut dyn Claims,
    service: &mut Value,
    held: &[i64],
    owner: &str,
) -> Result<(), AllocateError> {
    let mut mine = held.to_vec();
    let asked: Vec<(usize, i64)> = service
        .list("spec.ports")
        .iter()
        .enumerate()
        .filter_map(|(i, port)| Some((i, wish(port)?)))
        .collect();
    for (i, node_port) in asked {
        if !mine.contains(&node_port) {
            claim_node_port(claims, i, node_port, owner)?;
            mine.push(node_port);
        }
    }
    if is_automatic(service) {
        for port in service.list_mut("spec.ports") {
            if wish(port).is_none() {
                port["nodePort"] = random_node_port(claims, owner)?.into();
            }
        }
    }
    Ok(())
}

/// The node port that a port has or asks for.
fn wish(port: &Value) -> Option<i64> {
    port.int("nodePort").filter(|number| *number != 0)
}

fn claim_node_port(
    claims: &mut dyn Claims,
    at: usize,
    node_port: i64,
    owner: &str,
) -> Result<(), AllocateError> {
    claim_port(claims, node_port, owner).map_err(|why| {
        invalid(FieldError::invalid_number(format!("spec.ports[{at}].nodePort"), node_port, why))
    })
}

fn random_node_port(claims: &mut dyn Claims, owner: &str) -> Result<i64, AllocateError> {
    let full = || AllocateError::Failed("failed to allocate a nodePort: range is full".to_owned());
    random_port(claims, owner).map(i64::from).ok_or_else(full)
}

fn claim_port(claims: &mut dyn Claims, number: i64, owner: &str) -> Result<(), String> {
    let range = claims.config().node_ports.clone();
    let port = u16::try_from(number).ok().filter(|port| range.contains(port)).ok_or_else(|| {
        format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            range.start(),
            range.end()
        )
    })?;
    let key = ClaimKey::NodePort(port);
    if claims.is_claimed(&key) {
        return Err("provided port is already allocated".to_owned());
    }
    claims.claim(key, owner);
    Ok(())
}

fn random_port(claims: &mut dyn Claims, owner: &str) -> Option<u16> {
    let ports = claims.config().node_ports.clone();
    let (first, last) = (u128::from(*ports.start()), u128::from(*ports.end()));
    let lower = lower_band((last + 1).checked_sub(first)?, 32, 128);
    let key = Range { space: Space::NodePorts, first, last, lower }.choose(claims)?;
    let ClaimKey::NodePort(port) = key else { return None };
    claims.claim(key, owner);
    Some(port)
}

pub(super) fn allocate_health_check_port(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
    owner: &str,
) -> Result<(), AllocateError> {
    let held = old.and_then(health_check_port);
    if !needs_health_check_port(service) {
        service.remove_at("spec.healthCheckNodePort");
        if let Some(port) = held {
            claims.release(ClaimKey::NodePort(port), owner);
        }
        return Ok(());
    }
    let asked = service.int("spec.healthCheckNodePort").unwrap_or(0);
    if asked == 0 {
        // The zero is the port that kube-apiserver's text names.
        let port = random_port(claims, owner).ok_or_else(|| {
            AllocateError::Failed(
                "failed to allocate a HealthCheck NodePort 0: range is full".to_owned(),
            )
        })?;
        *service.slot("spec.healthCheckNodePort") = port.into();
    } else if held.map(i64::from) != Some(asked) {
        if held.is_some() {
            return Err(invalid(FieldError::forbidden(
                "spec.healthCheckNodePort",
                "field is immutable",
            )));
        }
        claim_port(claims, asked, owner).map_err(|why| {
            AllocateError::Failed(format!(
                "failed to allocate requested HealthCheck NodePort {asked}: {why}"
            ))
        })?;
    }
    Ok(())
}
