//! Cluster addresses, node ports and health check ports of Services.
//!
//! Addresses and ports are given at random from the upper part of their range; the lower part is
//! left to those who ask for a particular one (KEP-3070, KEP-3668) until the upper is used up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::update::node_ports;
use super::validation::cluster_ips;
use super::{is_headless, kind, needs_cluster_ip, needs_health_check_port, needs_node_port};
use crate::resource::value::ValueExt;
use crate::resource::{ClaimKey, Claims, FieldError, names};

type Errors = Vec<FieldError>;

/// Gives a new or changed Service what it needs and releases what it no longer holds.
pub(super) fn allocate(
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
pub(super) fn release(claims: &mut dyn Claims, old: &Value) {
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

// ---- families -------------------------------------------------------------------------------

fn family(net: &IpNet) -> &'static str {
    if matches!(net, IpNet::V6(_)) { "IPv6" } else { "IPv4" }
}

fn other_family(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

/// Completes `ipFamilyPolicy` and `ipFamilies` from what was asked for and what the cluster has.
fn init_families(
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
    let errors = cluster_ips(service);
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
        } else if now == 1 && was == 2 && service.list(field)[0] == old.list(field)[0] {
            errors.push(FieldError::invalid(
                "spec.ipFamilyPolicy",
                service.at("spec.ipFamilyPolicy"),
                format!("must be 'SingleStack' to release the secondary {what}"),
            ));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

// ---- addresses ------------------------------------------------------------------------------

fn allocate_cluster_ips(
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

// ---- node ports -----------------------------------------------------------------------------

fn allocate_node_ports(
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

fn allocate_health_check_port(
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::resource::{ClusterConfig, Resource, Strategy as _};

    struct Fake {
        config: ClusterConfig,
        claimed: HashMap<ClaimKey, String>,
        seed: u64,
    }

    impl Fake {
        fn new(ranges: &[&str]) -> Self {
            Self {
                config: ClusterConfig {
                    service_ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(),
                    node_ports: 30000..=32767,
                },
                claimed: HashMap::new(),
                seed: 1,
            }
        }
    }

    impl Claims for Fake {
        fn config(&self) -> &ClusterConfig {
            &self.config
        }
        fn is_claimed(&self, key: &ClaimKey) -> bool {
            self.claimed.contains_key(key)
        }
        fn owner(&self, key: &ClaimKey) -> Option<String> {
            self.claimed.get(key).cloned()
        }
        fn claim(&mut self, key: ClaimKey, owner: &str) {
            assert!(self.claimed.insert(key.clone(), owner.to_owned()).is_none(), "{key:?} twice");
        }
        fn release(&mut self, key: ClaimKey) {
            assert!(self.claimed.remove(&key).is_some(), "{key:?} was not held");
        }
        fn get(&self, _: &Resource, _: &str, _: &str) -> Option<Arc<Value>> {
            None
        }
        fn random(&mut self) -> u64 {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.seed >> 16
        }
    }

    /// A create or an update, as the API server runs it.
    fn write(
        claims: &mut Fake,
        name: &str,
        spec: Value,
        old: Option<&Value>,
    ) -> Result<Value, String> {
        let strategy = super::super::Service;
        let mut service = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        strategy.apply_defaults(&mut service);
        let errors = match old {
            None => {
                strategy.prepare_for_create(&mut service);
                strategy.validate_create(&service)
            }
            Some(old) => {
                strategy.prepare_for_update(&mut service, old);
                strategy.validate_update(&service, old)
            }
        };
        if !errors.is_empty() {
            return Err(crate::resource::aggregate(&errors));
        }
        match strategy.allocate(claims, Some(&mut service), old) {
            Ok(()) => Ok(service),
            Err(errors) => Err(crate::resource::aggregate(&errors)),
        }
    }

    fn ports() -> Value {
        json!([{"port": 80}])
    }

    #[test]
    fn addresses_are_given_from_the_upper_part() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        for i in 0..50 {
            let service =
                write(&mut claims, &format!("s{i}"), json!({"ports": ports()}), None).unwrap();
            let ip: Ipv4Addr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
            assert!(u32::from(ip) > u32::from(Ipv4Addr::new(10, 96, 1, 0)), "{ip}");
            assert_eq!(service["spec"]["clusterIPs"], json!([ip.to_string()]));
            assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4"]));
            assert_eq!(service["spec"]["ipFamilyPolicy"], "SingleStack");
        }
        assert_eq!(claims.claimed.len(), 50);
    }

    #[test]
    fn a_small_range_is_used_to_its_last_address() {
        let mut claims = Fake::new(&["10.0.0.0/28"]);
        for i in 0..14 {
            write(&mut claims, &format!("s{i}"), json!({"ports": ports()}), None).unwrap();
        }
        assert_eq!(
            write(&mut claims, "more", json!({"ports": ports()}), None).unwrap_err(),
            "spec.clusterIPs: Internal error: failed to allocate a serviceIP: range is full"
        );
        for taken in ["10.0.0.0", "10.0.0.15"] {
            assert!(!claims.is_claimed(&ClaimKey::ClusterIp(taken.parse().unwrap())), "{taken}");
        }
    }

    #[test]
    fn addresses_asked_for_are_given_or_refused() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let asked = |ip: &str| json!({"ports": ports(), "clusterIP": ip});
        let service = write(&mut claims, "a", asked("10.96.0.10"), None).unwrap();
        assert_eq!(service["spec"]["clusterIP"], "10.96.0.10");
        for (ip, expected) in [
            (
                "10.96.0.10",
                "spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated",
            ),
            (
                "10.0.0.1",
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: failed to allocate IP 10.0.0.1: the provided network does not match the current range",
            ),
            (
                "10.96.0.0",
                "spec.clusterIPs: Invalid value: [\"10.96.0.0\"]: failed to allocate IP 10.96.0.0: the provided IP (10.96.0.0) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
            ),
            (
                "10.96.255.255",
                "spec.clusterIPs: Invalid value: [\"10.96.255.255\"]: failed to allocate IP 10.96.255.255: the provided IP (10.96.255.255) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
            ),
            (
                "fd00::1",
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
        ] {
            assert_eq!(write(&mut claims, "b", asked(ip), None).unwrap_err(), expected, "{ip}");
        }
    }

    #[test]
    fn headless_and_external_names_get_nothing() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let headless = write(
            &mut claims,
            "a",
            json!({"clusterIP": "None", "selector": {"a": "b"}, "ports": ports()}),
            None,
        )
        .unwrap();
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        assert_eq!(headless["spec"]["ipFamilies"], json!(["IPv4"]));
        let bare = write(&mut claims, "b", json!({"clusterIP": "None"}), None).unwrap();
        assert_eq!(bare["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(bare["spec"]["ipFamilyPolicy"], "RequireDualStack");
        let name = write(
            &mut claims,
            "c",
            json!({"type": "ExternalName", "externalName": "k8s.io"}),
            None,
        )
        .unwrap();
        assert!(
            name["spec"].get("clusterIP").is_none() && name["spec"].get("ipFamilies").is_none()
        );
        assert!(claims.claimed.is_empty());
    }

    #[test]
    fn two_families() {
        let mut claims = Fake::new(&["10.96.0.0/16", "fd00:10:96::/112"]);
        let both = json!({"ports": ports(), "ipFamilyPolicy": "RequireDualStack"});
        let service = write(&mut claims, "a", both, None).unwrap();
        assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(service["spec"]["clusterIPs"].as_array().unwrap().len(), 2);
        assert!(service["spec"]["clusterIPs"][1].as_str().unwrap().starts_with("fd00:10:96::"));
        let v6 = write(&mut claims, "b", json!({"ports": ports(), "ipFamilies": ["IPv6"]}), None)
            .unwrap();
        assert!(v6["spec"]["clusterIP"].as_str().unwrap().contains(':'));
        let prefer = write(
            &mut claims,
            "c",
            json!({"ports": ports(), "ipFamilyPolicy": "PreferDualStack"}),
            None,
        )
        .unwrap();
        assert_eq!(prefer["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(claims.claimed.len(), 5);
        // Back to one, and the second is released.
        let mut spec = service["spec"].clone();
        spec["ipFamilyPolicy"] = "SingleStack".into();
        let one = write(&mut claims, "a", spec, Some(&service)).unwrap();
        assert_eq!(one["spec"]["clusterIPs"], json!([service["spec"]["clusterIP"]]));
        assert_eq!(claims.claimed.len(), 4);
        // And forth again.
        let mut spec = one["spec"].clone();
        spec["ipFamilyPolicy"] = "PreferDualStack".into();
        let two = write(&mut claims, "a", spec, Some(&one)).unwrap();
        assert_eq!(two["spec"]["clusterIPs"].as_array().unwrap().len(), 2);

        let mut single = Fake::new(&["10.96.0.0/16"]);
        assert_eq!(
            write(
                &mut single,
                "a",
                json!({"ports": ports(), "ipFamilyPolicy": "RequireDualStack"}),
                None
            )
            .unwrap_err(),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
        );
        assert_eq!(
            write(&mut single, "a", json!({"ports": ports(), "ipFamilies": ["IPv6"]}), None)
                .unwrap_err(),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
        );
        let prefer = write(
            &mut single,
            "a",
            json!({"ports": ports(), "ipFamilyPolicy": "PreferDualStack"}),
            None,
        )
        .unwrap();
        assert_eq!(prefer["spec"]["ipFamilies"], json!(["IPv4"]));
    }

    #[test]
    fn node_ports_are_given_or_refused() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let service =
            write(&mut claims, "a", json!({"type": "NodePort", "ports": ports()}), None).unwrap();
        let port = service["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
        assert!((30000 + 86..=32767).contains(&port), "{port}");
        let asked = |n: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": n}]});
        write(&mut claims, "b", asked(30002), None).unwrap();
        assert_eq!(
            write(&mut claims, "c", asked(30002), None).unwrap_err(),
            "spec.ports[0].nodePort: Invalid value: 30002: provided port is already allocated"
        );
        assert_eq!(
            write(&mut claims, "c", asked(35001), None).unwrap_err(),
            "spec.ports[0].nodePort: Invalid value: 35001: provided port is not in the valid range. The range of valid ports is 30000-32767"
        );
    }

    #[test]
    fn tcp_and_udp_of_one_port_share_a_node_port() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let spec = json!({"type": "NodePort", "ports": [
            {"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}, {"name": "w", "port": 80}]});
        let service = write(&mut claims, "dns", spec, None).unwrap();
        let ports = service["spec"]["ports"].as_array().unwrap();
        assert_eq!(ports[0]["nodePort"], ports[1]["nodePort"]);
        assert_ne!(ports[0]["nodePort"], ports[2]["nodePort"]);
    }

    #[test]
    fn types_change_and_nothing_leaks() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let first = write(&mut claims, "a", json!({"ports": ports()}), None).unwrap();
        let with = |old: &Value, changes: Value| {
            let mut spec = old["spec"].clone();
            for (field, value) in changes.as_object().unwrap() {
                spec[field] = value.clone();
            }
            spec
        };
        let address = first["spec"]["clusterIP"].clone();
        let node = write(&mut claims, "a", with(&first, json!({"type": "NodePort"})), Some(&first))
            .unwrap();
        assert_eq!(node["spec"]["clusterIP"], address);
        assert_eq!(claims.claimed.len(), 2);
        let balancer = write(
            &mut claims,
            "a",
            with(&node, json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"})),
            Some(&node),
        )
        .unwrap();
        assert_eq!(balancer["spec"]["ports"], node["spec"]["ports"]);
        assert!(balancer["spec"]["healthCheckNodePort"].as_i64().unwrap() >= 30000);
        assert_eq!(claims.claimed.len(), 3);
        let plain =
            write(&mut claims, "a", with(&balancer, json!({"type": "ClusterIP"})), Some(&balancer))
                .unwrap();
        assert_eq!(plain["spec"]["clusterIP"], address);
        assert!(plain["spec"].get("healthCheckNodePort").is_none());
        assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
        assert_eq!(claims.claimed.len(), 1);
        let name = write(
            &mut claims,
            "a",
            with(&plain, json!({"type": "ExternalName", "externalName": "x.y"})),
            Some(&plain),
        )
        .unwrap();
        assert!(claims.claimed.is_empty());
        let back = write(&mut claims, "a", with(&name, json!({"type": "ClusterIP"})), Some(&name))
            .unwrap();
        assert_eq!(claims.claimed.len(), 1);
        super::super::Service.allocate(&mut claims, None, Some(&back)).unwrap();
        assert!(claims.claimed.is_empty());
    }

    #[test]
    fn balancers_may_do_without_node_ports() {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let spec = json!({"type": "LoadBalancer", "ports": ports(), "allocateLoadBalancerNodePorts": false});
        let service = write(&mut claims, "a", spec, None).unwrap();
        assert!(service["spec"]["ports"][0].get("nodePort").is_none());
    }

    proptest! {
        /// Whatever is created, changed and deleted: nothing is given twice (the fake refuses
        /// that), and at the end all is free again.
        #[test]
        fn allocations_and_objects_agree(steps in proptest::collection::vec((0..4usize, 0..5usize, 0..3u8), 1..40)) {
            let mut claims = Fake::new(&["10.96.0.0/24", "fd00::/120"]);
            let mut live: HashMap<usize, Value> = HashMap::new();
            for (name, kind, families) in steps {
                let old = live.get(&name).cloned();
                if kind == 4 {
                    if let Some(old) = live.remove(&name) {
                        super::super::Service.allocate(&mut claims, None, Some(&old)).unwrap();
                    }
                    continue;
                }
                let type_name = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"][kind];
                let mut spec = json!({"type": type_name, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
                if type_name == "ExternalName" {
                    spec["externalName"] = "a.b".into();
                } else {
                    spec["ipFamilyPolicy"] = ["SingleStack", "PreferDualStack", "RequireDualStack"][usize::from(families)].into();
                }
                if let Ok(written) = write(&mut claims, &format!("s{name}"), spec, old.as_ref()) {
                    live.insert(name, written);
                }
                let mut expected = 0;
                for service in live.values() {
                    expected += held_addresses(service).len() + held_ports(service).len();
                }
                prop_assert_eq!(claims.claimed.len(), expected);
            }
            for old in live.values() {
                super::super::Service.allocate(&mut claims, None, Some(old)).unwrap();
            }
            prop_assert!(claims.claimed.is_empty());
        }
    }
}
