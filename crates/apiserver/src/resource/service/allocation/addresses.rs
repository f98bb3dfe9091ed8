//! Cluster addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::families::family;
use super::{Errors, held_addresses};
use crate::resource::service::{is_headless, needs_cluster_ip};
use crate::resource::value::ValueExt;
use crate::resource::{ClaimKey, Claims, FieldError, names};

pub(super) fn allocate_cluster_ips(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
    owner: &str,
) -> Result<(), Errors> {
    let held = old.map(held_addresses).unwrap_or_default();
    let mut kept: Vec<IpAddr> = Vec::new();
    if needs_cluster_ip(service) && !is_headless(service) {
        let families: Vec<String> =
            service.texts("spec.ipFamilies").into_iter().map(str::to_owned).collect();
        let asked: Vec<String> =
            service.texts("spec.clusterIPs").into_iter().map(str::to_owned).collect();
        let mut addresses: Vec<String> = Vec::new();
        // Those asked for come first: a random one must not take their place.
        for text in &asked {
            let Some(ip) = names::parse_ip_sloppy(text) else { continue };
            if !held.contains(&ip) {
                claim_address(claims, ip, owner).map_err(|why| {
                    vec![FieldError::invalid(
                        "spec.clusterIPs",
                        &json!(asked),
                        format!("failed to allocate IP {text}: {why}"),
                    )]
                })?;
            }
            kept.push(ip);
            addresses.push(text.clone());
        }
        for family in families.iter().skip(asked.len()) {
            let ip = random_address(claims, family).ok_or_else(|| {
                vec![FieldError::internal(
                    "spec.clusterIPs",
                    "failed to allocate a serviceIP: range is full",
                )]
            })?;
            claims.claim(ClaimKey::ClusterIp(ip), owner);
            kept.push(ip);
            addresses.push(ip.to_string());
        }
        if let Some(first) = addresses.first() {
            *service.slot("spec.clusterIP") = first.as_str().into();
        }
        *service.slot("spec.clusterIPs") = addresses.into();
    }
    for ip in held.into_iter().filter(|ip| !kept.contains(ip)) {
        claims.release(ClaimKey::ClusterIp(ip));
    }
    Ok(())
}

fn claim_address(claims: &mut dyn Claims, ip: IpAddr, owner: &str) -> Result<(), String> {
    let range = claims.config().service_ranges.iter().find(|net| net.contains(&ip)).copied();
    let Some(net) = range else {
        return Err("the provided network does not match the current range".to_owned());
    };
    let (first, last) = usable(&net);
    let number = to_number(ip);
    if number < first || number > last {
        return Err(format!(
            "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {net}"
        ));
    }
    let key = ClaimKey::ClusterIp(ip);
    // A claim that names this very Service is one that an interrupted write left behind.
    if claims.is_claimed(&key) && claims.owner(&key).as_deref() != Some(owner) {
        return Err("provided IP is already allocated".to_owned());
    }
    claims.claim(key, owner);
    Ok(())
}

/// The first and the last address that may be given: not the network's own, and under IPv4 not
/// the broadcast address.
fn usable(net: &IpNet) -> (u128, u128) {
    let first = to_number(net.network()) + 1;
    let last = to_number(net.broadcast());
    match net {
        IpNet::V4(_) => (first, last.saturating_sub(1)),
        IpNet::V6(_) => (first, last),
    }
}

/// How many of `size` addresses at the start of a range are left to those who ask:
/// a sixteenth, at least 16 and at most 256; none in a range that small.
fn static_addresses(size: u128) -> u128 {
    if size <= 16 { 0 } else { (size / 16).clamp(16, 256) }
}

fn random_address(claims: &mut dyn Claims, family_name: &str) -> Option<IpAddr> {
    let net = *claims.config().service_ranges.iter().find(|net| family(net) == family_name)?;
    let (first, last) = usable(&net);
    if first > last {
        return None;
    }
    let border = first + static_addresses(last - first + 1);
    let dynamic = free_address(claims, border, last, family_name);
    dynamic.or_else(|| free_address(claims, first, border.checked_sub(1)?, family_name))
}

/// A free address in `first..=last`, searched upwards from a random one and around.
fn free_address(claims: &mut dyn Claims, first: u128, last: u128, family: &str) -> Option<IpAddr> {
    if first > last {
        return None;
    }
    let size = last - first + 1;
    let start = u128::from(claims.random()) % size;
    (0..size)
        .map(|i| to_address(first + (start + i) % size, family))
        .find(|ip| !claims.is_claimed(&ClaimKey::ClusterIp(*ip)))
}

fn to_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn to_address(number: u128, family: &str) -> IpAddr {
    match u32::try_from(number) {
        Ok(small) if family == "IPv4" => IpAddr::V4(Ipv4Addr::from(small)),
        _ => IpAddr::V6(Ipv6Addr::from(number)),
    }
}
