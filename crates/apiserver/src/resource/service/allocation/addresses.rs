//! Cluster addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::band::{Range, lower_band};
use super::families::family;
use super::{held_addresses, invalid};
use crate::resource::service::{is_headless, needs_cluster_ip};
use crate::resource::value::ValueExt;
use crate::resource::{AllocateError, ClaimKey, Claims, FieldError, Space, names};

/// The shortest prefix of an IPv6 range that addresses are given from.
pub(crate) const SHORTEST_V6: u8 = 64;

pub(super) fn allocate_cluster_ips(
    claims: &mut dyn Claims,
    service: &mut Value,
    old: Option<&Value>,
    owner: &str,
) -> Result<(), AllocateError> {
    let held = old.map(held_addresses).unwrap_or_default();
    // Validation refuses another address in the place of one that is held, or of none by choice.
    let fixed = old
        .filter(|old| needs_cluster_ip(old))
        .map_or(0, |old| if is_headless(old) { usize::MAX } else { held.len() });
    let mut kept: Vec<IpAddr> = Vec::new();
    if needs_cluster_ip(service) && !is_headless(service) {
        let families: Vec<String> =
            service.texts("spec.ipFamilies").into_iter().map(str::to_owned).collect();
        let asked: Vec<String> =
            service.texts("spec.clusterIPs").into_iter().map(str::to_owned).collect();
        let mut addresses: Vec<String> = Vec::new();
        // Those asked for come first: a random one must not take their place.
        for (i, text) in asked.iter().enumerate() {
            let Some(ip) = names::parse_ip_sloppy(text) else { continue };
            if !held.contains(&ip) && i >= fixed {
                claim_address(claims, ip, owner).map_err(|why| {
                    invalid(FieldError::invalid(
                        "spec.clusterIPs",
                        &json!(asked),
                        format!("failed to allocate IP {text}: {why}"),
                    ))
                })?;
            }
            kept.push(ip);
            addresses.push(text.clone());
        }
        for family in families.iter().skip(asked.len()) {
            let Some(ip) = random_address(claims, family) else {
                let name = service.text("metadata.name");
                return Err(AllocateError::Failed(format!(
                    "failed to allocate a serviceIP for Service {name:?}: range is full"
                )));
            };
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
        claims.release(ClaimKey::ClusterIp(ip), owner);
    }
    Ok(())
}

fn claim_address(claims: &mut dyn Claims, ip: IpAddr, owner: &str) -> Result<(), &'static str> {
    let key = ClaimKey::ClusterIp(ip);
    if !claims.ranges().iter().any(|net| range(net).contains(&key)) {
        return Err("the provided network does not match the current range");
    }
    if claims.is_claimed(&key) {
        return Err("provided IP is already allocated");
    }
    claims.claim(key, owner);
    Ok(())
}

/// The addresses of a network that may be given: not the network's own, and under IPv4 not the
/// broadcast address.
pub(super) fn range(net: &IpNet) -> Range {
    let number = |ip| ClaimKey::ClusterIp(ip).number();
    let (network, last) = (number(net.network()), number(net.broadcast()));
    let size = (last - network).saturating_add(1);
    let (space, last) = match net {
        IpNet::V4(_) => (Space::Ipv4, last.saturating_sub(1)),
        IpNet::V6(_) => (Space::Ipv6, last),
    };
    Range { space, first: network.saturating_add(1), last, lower: lower_band(size, 16, 256) }
}

/// Whether Services can have an address from a network and be given this one.
pub(crate) fn covers(net: &IpNet, ip: IpAddr) -> bool {
    range(net).contains(&ClaimKey::ClusterIp(ip))
}

fn random_address(claims: &mut dyn Claims, family_name: &str) -> Option<IpAddr> {
    let ranges = claims.ranges();
    let of_family = ranges.iter().filter(|net| family(net) == family_name);
    of_family.map(range).find_map(|range| match range.choose(claims)? {
        ClaimKey::ClusterIp(ip) => Some(ip),
        ClaimKey::NodePort(_) => None,
    })
}
