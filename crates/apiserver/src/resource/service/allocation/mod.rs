//! Cluster addresses, node ports and health check ports of Services.
//!
//! Addresses and ports are given at random from the upper part of their range; the lower part is
//! left to those who ask for a particular one (KEP-3070, KEP-3668) until the upper is used up.

mod addresses;
mod band;
mod families;
mod ports;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde_json::Value;

use super::update::node_ports;
use super::{is_headless, needs_cluster_ip, needs_health_check_port, needs_node_port};
use crate::resource::value::ValueExt;
use crate::resource::{AllocateError, ClaimKey, Claims, FieldError, names};
use addresses::allocate_cluster_ips;
pub(crate) use addresses::{SHORTEST_V6, covers};
use families::init_families;
use ports::{allocate_health_check_port, allocate_node_ports};

type Errors = Vec<FieldError>;

fn invalid(error: FieldError) -> AllocateError {
    AllocateError::Invalid(vec![error])
}

/// Gives a new or changed Service what it needs and releases what it no longer holds.
pub(in crate::resource::service) fn allocate(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<(), AllocateError> {
    let owner = owner(service);
    init_families(claims, service, old).map_err(AllocateError::Invalid)?;
    allocate_cluster_ips(claims, service, old, &owner)?;
    allocate_node_ports(claims, service, old, &owner)?;
    allocate_health_check_port(claims, service, old, &owner)
}

/// Releases everything that a deleted Service held.
pub(in crate::resource::service) fn release(claims: &mut dyn Claims, old: &Value) {
    let owner = owner(old);
    for ip in held_addresses(old) {
        claims.release(ClaimKey::ClusterIp(ip), &owner);
    }
    for port in held_ports(old) {
        claims.release(ClaimKey::NodePort(port), &owner);
    }
}

/// The texts of the addresses that a Service holds, whether or not they are any.
pub(crate) fn claimed_addresses(service: &Value) -> Vec<&str> {
    if !needs_cluster_ip(service) || is_headless(service) {
        return Vec::new();
    }
    service.texts("spec.clusterIPs")
}

/// The node ports that a Service holds, a port twice that it uses twice for one protocol.
pub(crate) fn claimed_ports(service: &Value) -> Vec<u16> {
    let mut ports: Vec<(u16, &str)> = Vec::new();
    let mut all = Vec::new();
    let mut add = |port: u16, protocol| {
        let known = ports.iter().any(|(other, _)| *other == port);
        if !known || ports.contains(&(port, protocol)) {
            all.push(port);
        }
        ports.push((port, protocol));
    };
    if needs_node_port(service) {
        for port in service.list("spec.ports") {
            let number = port.int("nodePort").and_then(|number| u16::try_from(number).ok());
            if let Some(number) = number.filter(|number| *number != 0) {
                add(number, port.text("protocol"));
            }
        }
    }
    if let Some(port) = health_check_port(service) {
        add(port, "TCP");
    }
    all
}

/// `namespace/name`.
fn owner(service: &Value) -> String {
    format!("{}/{}", service.text("metadata.namespace"), service.text("metadata.name"))
}

fn held_addresses(service: &Value) -> Vec<IpAddr> {
    if !needs_cluster_ip(service) {
        return Vec::new();
    }
    service.texts("spec.clusterIPs").into_iter().filter_map(names::parse_ip_sloppy).collect()
}

/// Node ports and the health check's, each once.
fn held_ports(service: &Value) -> Vec<u16> {
    let mut ports: Vec<u16> = Vec::new();
    if needs_node_port(service) {
        ports.extend(node_ports(service).into_iter().filter_map(|p| u16::try_from(p).ok()));
    }
    ports.extend(health_check_port(service));
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn health_check_port(service: &Value) -> Option<u16> {
    if !needs_health_check_port(service) {
        return None;
    }
    let port = service.int("spec.healthCheckNodePort").unwrap_or(0);
    u16::try_from(port).ok().filter(|port| *port != 0)
}
