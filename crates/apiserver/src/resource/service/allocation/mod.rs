//! Cluster addresses, node ports and health check ports of Services.
//!
//! Addresses and ports are given at random from the upper part of their range; the lower part is
//! left to those who ask for a particular one (KEP-3070, KEP-3668) until the upper is used up.

mod addresses;
mod families;
mod ports;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde_json::Value;

use super::update::node_ports;
use super::{needs_cluster_ip, needs_health_check_port, needs_node_port};
use crate::resource::value::ValueExt;
use crate::resource::{ClaimKey, Claims, FieldError, names};
use addresses::allocate_cluster_ips;
use families::init_families;
use ports::{allocate_health_check_port, allocate_node_ports};

type Errors = Vec<FieldError>;

/// Gives a new or changed Service what it needs and releases what it no longer holds.
pub(in crate::resource::service) fn allocate(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<(), Errors> {
    let owner = owner(service);
    init_families(claims, service, old)?;
    allocate_cluster_ips(claims, service, old, &owner)?;
    allocate_node_ports(claims, service, old, &owner)?;
    allocate_health_check_port(claims, service, old, &owner)
}

/// Releases everything that a deleted Service held.
pub(in crate::resource::service) fn release(claims: &mut dyn Claims, old: &Value) {
    for ip in held_addresses(old) {
        claims.release(ClaimKey::ClusterIp(ip));
    }
    for port in held_ports(old) {
        claims.release(ClaimKey::NodePort(port));
    }
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
