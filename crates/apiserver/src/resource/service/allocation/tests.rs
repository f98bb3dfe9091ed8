//! Allocation, step by step and at random.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use proptest::prelude::*;
use serde_json::json;

use super::addresses::range;
use super::*;
use crate::resource::{ClusterConfig, Space, Strategy as _};

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
    fn ranges(&self) -> Vec<IpNet> {
        self.config.service_ranges.clone()
    }
    fn is_claimed(&self, key: &ClaimKey) -> bool {
        self.claimed.contains_key(key)
    }
    fn next_free(&self, space: Space, from: u128) -> Option<u128> {
        (from..).find(|number| {
            ClaimKey::of(space, *number).is_none_or(|key| !self.claimed.contains_key(&key))
        })
    }
    fn claim(&mut self, key: ClaimKey, owner: &str) {
        assert!(self.claimed.insert(key.clone(), owner.to_owned()).is_none(), "{key:?} twice");
    }
    fn release(&mut self, key: ClaimKey, owner: &str) {
        assert_eq!(self.claimed.remove(&key).as_deref(), Some(owner), "{key:?} was not held");
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
        Err(AllocateError::Invalid(errors)) => Err(crate::resource::aggregate(&errors)),
        Err(AllocateError::Failed(text)) => Err(text),
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
        "failed to allocate a serviceIP for Service \"more\": range is full"
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
            "spec.clusterIPs: Invalid value: [\"10.96.0.0\"]: failed to allocate IP 10.96.0.0: the provided network does not match the current range",
        ),
        (
            "10.96.255.255",
            "spec.clusterIPs: Invalid value: [\"10.96.255.255\"]: failed to allocate IP 10.96.255.255: the provided network does not match the current range",
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

/// The formulas of KEP-3070 and KEP-3668, with the sizes that they name.
#[test]
fn the_lower_band_is_left_to_those_who_ask() {
    for (net, lower) in [
        ("10.0.0.0/30", 0),
        ("10.0.0.0/28", 0),
        ("10.0.0.0/27", 16),
        ("10.0.0.0/24", 16),
        ("10.0.0.0/22", 64),
        ("10.0.0.0/20", 256),
        ("10.0.0.0/16", 256),
        ("fd00::/124", 0),
        ("fd00::/120", 16),
        ("fd00::/64", 256),
    ] {
        assert_eq!(range(&net.parse().unwrap()).lower, lower, "{net}");
    }
    for (size, lower) in [(16, 0), (17, 16), (128, 16), (1024, 32), (2768, 86), (65536, 128)] {
        assert_eq!(band::lower_band(size, 32, 128), lower, "{size} ports");
    }
}

#[test]
fn the_upper_band_is_used_up_before_the_lower_one() {
    let mut claims = Fake::new(&["10.0.0.0/27"]);
    let given: Vec<u32> = (0..30)
        .map(|i| {
            let service = write(&mut claims, &format!("s{i}"), json!({"ports": ports()}), None);
            let service = service.unwrap();
            u32::from(service.text("spec.clusterIP").parse::<Ipv4Addr>().unwrap()) & 31
        })
        .collect();
    let (upper, lower) = given.split_at(14);
    assert!(upper.iter().all(|host| (17..=30).contains(host)), "{upper:?}");
    assert!(lower.iter().all(|host| (1..=16).contains(host)), "{lower:?}");
}

#[test]
fn the_next_range_is_used_when_the_first_is_full() {
    let mut claims = Fake::new(&["10.0.0.0/30", "fd00::/120", "10.9.0.0/30"]);
    let mut given = Vec::new();
    for i in 0..4 {
        let service = write(&mut claims, &format!("s{i}"), json!({"ports": ports()}), None);
        given.push(service.unwrap().text("spec.clusterIP").to_owned());
    }
    given.sort();
    assert_eq!(given, ["10.0.0.1", "10.0.0.2", "10.9.0.1", "10.9.0.2"]);
    assert!(write(&mut claims, "more", json!({"ports": ports()}), None).is_err());
    let asked = json!({"ports": ports(), "clusterIP": "10.9.0.3"});
    let refused = write(&mut claims, "more", asked, None).unwrap_err();
    assert!(refused.ends_with("the provided network does not match the current range"));
}

#[test]
fn node_ports_run_out() {
    let mut claims = Fake::new(&["10.96.0.0/16"]);
    claims.config.node_ports = 30000..=30001;
    for name in ["a", "b"] {
        write(&mut claims, name, json!({"type": "NodePort", "ports": ports()}), None).unwrap();
    }
    assert_eq!(
        write(&mut claims, "c", json!({"type": "NodePort", "ports": ports()}), None).unwrap_err(),
        "failed to allocate a nodePort: range is full"
    );
    let local = |spec: Value| {
        let mut all = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "allocateLoadBalancerNodePorts": false, "ports": ports()});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        write(&mut claims, "d", local(json!({})), None).unwrap_err(),
        "failed to allocate a HealthCheck NodePort 0: range is full"
    );
    assert_eq!(
        write(&mut claims, "d", local(json!({"healthCheckNodePort": 30001})), None).unwrap_err(),
        "failed to allocate requested HealthCheck NodePort 30001: provided port is already allocated"
    );
}

/// A new Service's ports share a node port by their number (`initNodePorts` of
/// `pkg/registry/core/service/storage`), a changed one's by asking for what it holds.
#[test]
fn who_may_share_a_node_port() {
    let port = |name: &str, port: i64, protocol: &str, node_port: i64| json!({"name": name, "port": port, "protocol": protocol, "nodePort": node_port});
    let create = |list: Value| {
        let mut claims = Fake::new(&["10.96.0.0/16"]);
        let written = write(&mut claims, "a", json!({"type": "NodePort", "ports": list}), None);
        written.map(|service| {
            let ports = service.list("spec.ports").iter();
            (claims, service.clone(), ports.map(|p| p.int("nodePort").unwrap()).collect::<Vec<_>>())
        })
    };
    let same = json!([port("t", 53, "TCP", 30053), port("u", 53, "UDP", 30053)]);
    assert_eq!(create(same).unwrap().2, [30053, 30053]);
    let later = json!([port("t", 53, "TCP", 0), port("u", 53, "UDP", 30053)]);
    assert_eq!(create(later).unwrap().2, [30053, 30053]);
    let apart =
        json!([port("t", 53, "TCP", 30001), port("u", 53, "UDP", 30002), port("s", 53, "SCTP", 0)]);
    assert_eq!(create(apart).unwrap().2, [30001, 30002, 30001]);
    let other = json!([port("t", 53, "TCP", 30053), port("u", 54, "UDP", 30053)]);
    assert_eq!(
        create(other).err().unwrap(),
        "spec.ports[1].nodePort: Invalid value: 30053: provided port is already allocated"
    );

    // From ClusterIP to NodePort each port gets its own.
    let list = json!([port("t", 53, "TCP", 0), port("u", 53, "UDP", 0)]);
    let mut claims = Fake::new(&["10.96.0.0/16"]);
    let plain = write(&mut claims, "a", json!({"ports": list.clone()}), None).unwrap();
    let mut spec = plain["spec"].clone();
    spec["type"] = "NodePort".into();
    let node = write(&mut claims, "a", spec, Some(&plain)).unwrap();
    assert_ne!(node["spec"]["ports"][0]["nodePort"], node["spec"]["ports"][1]["nodePort"]);
    // And what it holds it may give to both.
    let mut spec = node["spec"].clone();
    spec["ports"][1]["nodePort"] = spec["ports"][0]["nodePort"].clone();
    write(&mut claims, "a", spec, Some(&node)).unwrap();
    assert_eq!(claims.claimed.len(), 2);
}

#[test]
fn a_health_check_port_stays() {
    let mut claims = Fake::new(&["10.96.0.0/16"]);
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports(),
        "healthCheckNodePort": 31000});
    let service = write(&mut claims, "a", local, None).unwrap();
    let mut spec = service["spec"].clone();
    spec["healthCheckNodePort"] = 31001.into();
    assert_eq!(
        write(&mut claims, "a", spec, Some(&service)).unwrap_err(),
        "spec.healthCheckNodePort: Forbidden: field is immutable"
    );
    let mut spec = service["spec"].clone();
    spec["externalTrafficPolicy"] = "Cluster".into();
    let cluster = write(&mut claims, "a", spec, Some(&service)).unwrap();
    assert!(!cluster.has("spec.healthCheckNodePort"));
    assert!(!claims.is_claimed(&ClaimKey::NodePort(31000)));
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
