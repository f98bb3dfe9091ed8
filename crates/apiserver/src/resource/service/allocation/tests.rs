//! Allocation, step by step and at random.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

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
fn write(claims: &mut Fake, name: &str, spec: Value, old: Option<&Value>) -> Result<Value, String> {
    let strategy = crate::resource::service::Service;
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
    let name =
        write(&mut claims, "c", json!({"type": "ExternalName", "externalName": "k8s.io"}), None)
            .unwrap();
    assert!(name["spec"].get("clusterIP").is_none() && name["spec"].get("ipFamilies").is_none());
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
    let v6 =
        write(&mut claims, "b", json!({"ports": ports(), "ipFamilies": ["IPv6"]}), None).unwrap();
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
    let node =
        write(&mut claims, "a", with(&first, json!({"type": "NodePort"})), Some(&first)).unwrap();
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
    let back =
        write(&mut claims, "a", with(&name, json!({"type": "ClusterIP"})), Some(&name)).unwrap();
    assert_eq!(claims.claimed.len(), 1);
    crate::resource::service::Service.allocate(&mut claims, None, Some(&back)).unwrap();
    assert!(claims.claimed.is_empty());
}

#[test]
fn balancers_may_do_without_node_ports() {
    let mut claims = Fake::new(&["10.96.0.0/16"]);
    let spec =
        json!({"type": "LoadBalancer", "ports": ports(), "allocateLoadBalancerNodePorts": false});
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
                    crate::resource::service::Service.allocate(&mut claims, None, Some(&old)).unwrap();
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
            crate::resource::service::Service.allocate(&mut claims, None, Some(old)).unwrap();
        }
        prop_assert!(claims.claimed.is_empty());
    }
}
