//! Node ports and health check ports.

use serde_json::Value;

use super::{Errors, health_check_port};
use crate::resource::service::update::node_ports;
use crate::resource::service::{kind, needs_health_check_port, needs_node_port};
use crate::resource::value::ValueExt;
use crate::resource::{ClaimKey, Claims, FieldError};

pub(super) fn allocate_node_ports(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
    owner: &str,
) -> Result<(), Errors> {
    let held: Vec<i64> = match old {
        Some(old) if needs_node_port(old) => node_ports(old).into_iter().collect(),
        _ => Vec::new(),
    };
    let mut mine: Vec<i64> = Vec::new();
    if needs_node_port(service) {
        let automatic = kind(service) == "NodePort"
            || service.flag("spec.allocateLoadBalancerNodePorts") != Some(false);
        // Those asked for come first, as with addresses.
        let asked: Vec<(usize, i64)> = service
            .list("spec.ports")
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((i, p.int("nodePort").filter(|n| *n != 0)?)))
            .collect();
        for (i, number) in asked {
            if !held.contains(&number) && !mine.contains(&number) {
                claim_port(claims, number, owner).map_err(|why| {
                    vec![FieldError::invalid_number(
                        format!("spec.ports[{i}].nodePort"),
                        number,
                        why,
                    )]
                })?;
            }
            mine.push(number);
        }
        if automatic {
            let creating = old.is_none_or(|old| !needs_node_port(old));
            fill_node_ports(claims, service, owner, &mut mine, creating)?;
        }
    }
    for number in held.into_iter().filter(|n| !mine.contains(n)) {
        if let Ok(port) = u16::try_from(number) {
            claims.release(ClaimKey::NodePort(port));
        }
    }
    Ok(())
}

/// Gives node ports to the ports without one. When all of them are new, TCP and UDP of one port
/// share a number.
fn fill_node_ports(
    claims: &mut dyn Claims,
    service: &mut Value,
    owner: &str,
    mine: &mut Vec<i64>,
    creating: bool,
) -> Result<(), Errors> {
    let mut by_port: Vec<(i64, String, i64)> = service
        .list("spec.ports")
        .iter()
        .filter_map(|p| Some((p.int("port")?, p.text("protocol").to_owned(), p.int("nodePort")?)))
        .collect();
    for port in service.list_mut("spec.ports") {
        if port.int("nodePort").unwrap_or(0) != 0 {
            continue;
        }
        let number = port.int("port").unwrap_or(0);
        let protocol = port.text("protocol").to_owned();
        let shared = by_port
            .iter()
            .filter(|_| creating)
            .find(|(n, _, node)| {
                *n == number && !by_port.iter().any(|(_, p, m)| m == node && *p == protocol)
            })
            .map(|(_, _, node)| *node);
        let node_port = match shared {
            Some(node_port) => node_port,
            None => {
                let free = random_port(claims).ok_or_else(|| {
                    vec![FieldError::internal(
                        "spec.ports",
                        "failed to allocate a nodePort: range is full",
                    )]
                })?;
                claims.claim(ClaimKey::NodePort(free), owner);
                i64::from(free)
            }
        };
        port["nodePort"] = node_port.into();
        by_port.push((number, protocol, node_port));
        mine.push(node_port);
    }
    Ok(())
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

/// How many ports at the start of the range are left to those who ask: a thirty-second, at least
/// 16 and at most 128.
fn static_ports(size: u32) -> u32 {
    if size <= 16 { 0 } else { (size / 32).clamp(16, 128) }
}

fn random_port(claims: &mut dyn Claims) -> Option<u16> {
    let range = claims.config().node_ports.clone();
    let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
    if first > last {
        return None;
    }
    let border = first + static_ports(last - first + 1);
    let dynamic = free_port(claims, border, last);
    dynamic.or_else(|| free_port(claims, first, border.checked_sub(1)?))
}

fn free_port(claims: &mut dyn Claims, first: u32, last: u32) -> Option<u16> {
    if first > last {
        return None;
    }
    let size = last - first + 1;
    let start = u32::try_from(claims.random() % u64::from(size)).ok()?;
    (0..size)
        .filter_map(|i| u16::try_from(first + (start + i) % size).ok())
        .find(|port| !claims.is_claimed(&ClaimKey::NodePort(*port)))
}

pub(super) fn allocate_health_check_port(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
    owner: &str,
) -> Result<(), Errors> {
    let held = old.and_then(health_check_port);
    if !needs_health_check_port(service) {
        service.remove_at("spec.healthCheckNodePort");
        if let Some(port) = held {
            claims.release(ClaimKey::NodePort(port));
        }
        return Ok(());
    }
    let asked = service.int("spec.healthCheckNodePort").unwrap_or(0);
    if asked == 0 {
        let port = random_port(claims).ok_or_else(|| {
            vec![FieldError::internal(
                "spec.healthCheckNodePort",
                "failed to allocate a HealthCheck NodePort: range is full",
            )]
        })?;
        claims.claim(ClaimKey::NodePort(port), owner);
        *service.slot("spec.healthCheckNodePort") = port.into();
    } else if held.map(i64::from) != Some(asked) {
        if held.is_some() {
            return Err(vec![FieldError::invalid_number(
                "spec.healthCheckNodePort",
                asked,
                "field is immutable",
            )]);
        }
        claim_port(claims, asked, owner).map_err(|why| {
            vec![FieldError::invalid_number(
                "spec.healthCheckNodePort",
                asked,
                format!("failed to allocate requested HealthCheck NodePort {asked}: {why}"),
            )]
        })?;
    }
    Ok(())
}
