//! What an update of a Service keeps, fills in and clears before it is validated
//! (`pkg/registry/core/service` of Kubernetes: patching of allocated values, normalisation of
//! `clusterIPs`, dropping of fields that depend on the type).

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    externally_accessible, kind, needs_cluster_ip, needs_health_check_port, needs_node_port,
};
use crate::resource::meta;
use crate::resource::value::ValueExt;

pub(super) fn prepare(service: &mut Value, old: &Value) {
    meta::keep_status(service, old);
    keep_allocated(service, old);
    normalize_cluster_ips(service, old);
    drop_what_the_type_lacks(service, old);
    if kind(service) != "LoadBalancer" {
        service["status"]["loadBalancer"] = json!({});
    }
}

/// A client that replaces the object need not repeat what was allocated.
fn keep_allocated(service: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(service) {
        if service.text("spec.clusterIP").is_empty() {
            service.copy_from(old, "spec.clusterIP");
        }
        if service.list("spec.clusterIPs").is_empty() {
            service.copy_from(old, "spec.clusterIPs");
        }
    }
    if gets_node_ports(old) && gets_node_ports(service) {
        let used: HashSet<i64> =
            node_ports(old).intersection(&node_ports(service)).copied().collect();
        let by_name: Vec<(String, i64)> = old
            .list("spec.ports")
            .iter()
            .map(|p| (p.text("name").to_owned(), p.int("nodePort").unwrap_or(0)))
            .collect();
        for port in service.list_mut("spec.ports") {
            if port.int("nodePort").unwrap_or(0) != 0 {
                continue;
            }
            let known = by_name.iter().rev().find(|(name, _)| name == port.text("name"));
            if let Some((_, number)) = known
                && *number != 0
                && !used.contains(number)
            {
                port["nodePort"] = (*number).into();
            }
        }
    }
    if needs_health_check_port(old)
        && needs_health_check_port(service)
        && service.int("spec.healthCheckNodePort").unwrap_or(0) == 0
    {
        service.copy_from(old, "spec.healthCheckNodePort");
    }
}

/// Whether its ports are given node ports without asking.
fn gets_node_ports(service: &Value) -> bool {
    needs_node_port(service) && service.flag("spec.allocateLoadBalancerNodePorts") != Some(false)
}

/// The first of `clusterIPs` is `clusterIP`: a client that changes one alone means both.
fn normalize_cluster_ips(service: &mut Value, old: &Value) {
    let was = old.text("spec.clusterIP");
    let now = service.text("spec.clusterIP").to_owned();
    if was == now || service.list("spec.clusterIPs") != old.list("spec.clusterIPs") {
        return;
    }
    if now.is_empty() {
        service.remove_at("spec.clusterIPs");
    } else {
        *service.slot("spec.clusterIPs") = json!([now]);
    }
}

fn same(service: &Value, old: &Value, field: &str) -> bool {
    service.at(field) == old.at(field)
}

/// Clears what came with the old type and was not touched by the client.
fn drop_what_the_type_lacks(service: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && !needs_cluster_ip(service) {
        if same(service, old, "spec.clusterIPs") {
            service.remove_at("spec.clusterIP");
            service.remove_at("spec.clusterIPs");
        }
        for field in ["spec.ipFamilies", "spec.ipFamilyPolicy"] {
            if same(service, old, field) {
                service.remove_at(field);
            }
        }
    }
    if needs_node_port(old)
        && !needs_node_port(service)
        && node_ports(old).is_superset(&node_ports(service))
    {
        for port in service.list_mut("spec.ports") {
            port.remove_at("nodePort");
        }
    }
    if needs_health_check_port(old)
        && !needs_health_check_port(service)
        && same(service, old, "spec.healthCheckNodePort")
    {
        service.remove_at("spec.healthCheckNodePort");
    }
    if kind(old) == "LoadBalancer" && kind(service) != "LoadBalancer" {
        for field in ["spec.allocateLoadBalancerNodePorts", "spec.loadBalancerClass"] {
            if same(service, old, field) {
                service.remove_at(field);
            }
        }
    }
    if externally_accessible(old)
        && !externally_accessible(service)
        && same(service, old, "spec.externalTrafficPolicy")
    {
        service.remove_at("spec.externalTrafficPolicy");
    }
}

/// The node ports of a Service's ports.
pub(super) fn node_ports(service: &Value) -> HashSet<i64> {
    service
        .list("spec.ports")
        .iter()
        .filter_map(|p| p.int("nodePort"))
        .filter(|number| *number != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_port() -> Value {
        json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"],
            "externalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}]},
            "status": {"loadBalancer": {}}})
    }

    #[test]
    fn a_replacement_keeps_what_was_allocated() {
        let old = node_port();
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"name": "b", "port": 90}, {"name": "c", "port": 91}]}});
        prepare(&mut new, &old);
        assert_eq!(new["spec"]["clusterIP"], "10.0.0.9");
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.9"]));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30002);
        assert!(new["spec"]["ports"][1].get("nodePort").is_none());
    }

    #[test]
    fn a_node_port_that_moved_is_not_given_twice() {
        let old = node_port();
        let mut new = json!({"spec": {"type": "NodePort",
            "ports": [{"name": "a", "port": 80}, {"name": "x", "port": 81, "nodePort": 30001}]}});
        prepare(&mut new, &old);
        assert!(new["spec"]["ports"][0].get("nodePort").is_none());
    }

    #[test]
    fn changing_the_type_clears_what_the_new_one_lacks() {
        let old = node_port();
        let mut plain = old.clone();
        plain["spec"]["type"] = "ClusterIP".into();
        prepare(&mut plain, &old);
        assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
        assert!(plain["spec"].get("externalTrafficPolicy").is_none());
        assert_eq!(plain["spec"]["clusterIP"], "10.0.0.9");

        let mut name = old.clone();
        name["spec"]["type"] = "ExternalName".into();
        name["spec"]["externalName"] = "k8s.io".into();
        prepare(&mut name, &old);
        for gone in
            ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy"]
        {
            assert!(name["spec"].get(gone).is_none(), "{gone}");
        }

        // A node port that the client changed as well is left for validation to refuse.
        let mut changed = old.clone();
        changed["spec"]["type"] = "ClusterIP".into();
        changed["spec"]["ports"][0]["nodePort"] = 30009.into();
        prepare(&mut changed, &old);
        assert_eq!(changed["spec"]["ports"][0]["nodePort"], 30009);
    }

    #[test]
    fn clusterip_alone_may_be_given() {
        let old = json!({"spec": {"type": "ExternalName"}});
        let mut new = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.5"}});
        prepare(&mut new, &old);
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.5"]));
        let mut changed = node_port();
        changed["spec"]["clusterIP"] = "10.0.0.10".into();
        prepare(&mut changed, &node_port());
        assert_eq!(changed["spec"]["clusterIPs"], json!(["10.0.0.10"]));
    }
}
