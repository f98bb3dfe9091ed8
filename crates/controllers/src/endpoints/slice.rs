//! What the slices of a Service should hold: its pods as endpoints, by address type and ports.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ObjectReference, Pod, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
};

use super::ports;
use crate::pod;

/// What a node contributes to its endpoints; `None` for a node that does not exist.
pub(super) type ZoneOf<'a> = &'a dyn Fn(&str) -> Option<Option<String>>;

/// Endpoints that share an address type and ports, in the order of their pods.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) address_type: &'static str,
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What a Service's pods should be published as.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) groups: Vec<Group>,
    /// The address types of the Service.
    pub(super) types: Vec<&'static str>,
    /// Pods left out as their node is not known yet.
    pub(super) homeless: usize,
    /// When pods last became ready or ceased to be, by uid.
    pub(super) since: HashMap<String, Timestamp>,
}

/// The address types that a Service's slices have.
pub(super) fn address_types(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let families = spec.and_then(|s| s.ip_families.as_deref()).unwrap_or_default();
    if families.is_empty() {
        let address =
            spec.and_then(|s| s.cluster_ip.as_deref()).and_then(|ip| ip.parse::<IpAddr>().ok());
        return match address {
            Some(IpAddr::V4(_)) => vec!["IPv4"],
            Some(IpAddr::V6(_)) => vec!["IPv6"],
            // Headless and written before families existed.
            None => vec!["IPv4", "IPv6"],
        };
    }
    families
        .iter()
        .filter_map(|family| match family.as_str() {
            "IPv4" => Some("IPv4"),
            "IPv6" => Some("IPv6"),
            _ => None,
        })
        .collect()
}

/// The pod's addresses of one family.
pub(super) fn addresses(of: &Pod, address_type: &str) -> Vec<String> {
    let status = pod::status(of);
    let all: Vec<&str> = match status.pod_ips.as_deref() {
        Some(ips) if !ips.is_empty() => ips.iter().map(|ip| ip.ip.as_str()).collect(),
        _ => status.pod_ip.as_deref().into_iter().collect(),
    };
    // Printed anew, in case the pod has it in an unusual form.
    all.into_iter()
        .filter_map(|ip| ip.parse().ok())
        .filter(|ip: &IpAddr| ip.is_ipv4() == (address_type == "IPv4"))
        .map(|ip| ip.to_string())
        .collect()
}

fn has_address(of: &Pod) -> bool {
    let status = pod::status(of);
    status.pod_ip.as_ref().is_some_and(|ip| !ip.is_empty())
        || status.pod_ips.as_ref().is_some_and(|ips| !ips.is_empty())
}

/// Whether the pod is published for a Service at all.
pub(super) fn is_published(of: &Pod, include_terminating: bool) -> bool {
    !pod::is_terminal(of) && has_address(of) && (include_terminating || !pod::is_terminating(of))
}

/// The pod's host name, if its subdomain is the Service.
pub(super) fn hostname(of: &Pod, service: &Service) -> Option<String> {
    let spec = pod::spec(of);
    let hostname = spec.hostname.clone().filter(|h| !h.is_empty())?;
    (spec.subdomain == service.metadata.name && of.metadata.namespace == service.metadata.namespace)
        .then_some(hostname)
}

/// A reference to the pod, as endpoints carry it.
pub(super) fn target_ref(of: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: of.metadata.namespace.clone(),
        name: of.metadata.name.clone(),
        uid: of.metadata.uid.clone(),
        ..Default::default()
    }
}

/// Whether a Service publishes pods that are not ready.
pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses).unwrap_or(false)
}

/// When the pod last became ready or ceased to be.
pub(super) fn since(of: &Pod) -> Option<Timestamp> {
    pod::condition(of, "Ready")?.last_transition_time.as_ref().map(|time| time.0)
}

fn endpoint(of: &Pod, service: &Service, addresses: Vec<String>, zone: Option<String>) -> Endpoint {
    let serving = pod::is_ready(of);
    let terminating = pod::is_terminating(of);
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        deprecated_topology: None,
        hints: None,
        hostname: hostname(of, service),
        node_name: pod::node_name(of).map(str::to_string),
        target_ref: Some(target_ref(of)),
        zone,
    }
}

/// The ports of a pod for the Service; ports that the pod does not have are left out.
fn endpoint_ports(of: &Pod, service: &Service) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let mut found: Vec<EndpointPort> = ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                app_protocol: port.app_protocol.clone(),
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(ports::target(of, port)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            })
        })
        .collect();
    found.sort_by(|a, b| port_key(a).cmp(&port_key(b)));
    found
}

/// By what ports are sorted and compared.
pub(super) fn port_key(
    port: &EndpointPort,
) -> (Option<&str>, Option<&str>, Option<i32>, Option<&str>) {
    (
        Some(port.name.as_deref().unwrap_or("")),
        Some(port.protocol.as_deref().unwrap_or("TCP")),
        port.port,
        port.app_protocol.as_deref(),
    )
}

/// What `service` and the pods that it selects should be published as.
pub(super) fn wanted(service: &Service, pods: &[Arc<Pod>], zone_of: ZoneOf<'_>) -> Wanted {
    let types = address_types(service);
    let mut groups: BTreeMap<(usize, Vec<String>), Group> = BTreeMap::new();
    let mut homeless = HashSet::new();
    let mut times = HashMap::new();
    for of in pods.iter().filter(|p| is_published(p, true)) {
        let zone = match pod::node_name(of).and_then(zone_of) {
            Some(zone) => zone.filter(|zone| !zone.is_empty()),
            None if !publishes_not_ready(service) => {
                homeless.insert(of.metadata.uid.clone());
                continue;
            }
            None => None,
        };
        if let (Some(uid), Some(since)) = (&of.metadata.uid, since(of)) {
            times.insert(uid.clone(), since);
        }
        let ports = endpoint_ports(of, service);
        for (order, address_type) in types.iter().enumerate() {
            let addresses = addresses(of, address_type);
            if addresses.is_empty() {
                continue;
            }
            let key = ports.iter().map(|p| format!("{:?}", port_key(p))).collect();
            groups
                .entry((order, key))
                .or_insert_with(|| Group {
                    address_type,
                    ports: ports.clone(),
                    endpoints: Vec::new(),
                })
                .endpoints
                .push(endpoint(of, service, addresses, zone.clone()));
        }
    }
    let groups: Vec<Group> = groups.into_values().collect();
    Wanted { groups, types, homeless: homeless.len(), since: times }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(
            json!({"metadata": {"name": "blue", "namespace": "ns"}, "spec": spec}),
        )
        .unwrap()
    }

    fn pod(name: &str, ips: &[&str], ready: bool, extra: serde_json::Value) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"nodeName": "n1", "containers": [{"name": "a", "ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {
                "phase": "Running", "podIP": ips.first(), "podIPs": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
                "conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}],
            },
        });
        for (at, patch) in extra.as_object().unwrap() {
            value[at].as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn zone(node: &str) -> Option<Option<String>> {
        (node != "gone").then(|| Some(format!("zone-of-{node}")))
    }

    fn conditions(endpoint: &Endpoint) -> (bool, bool, bool) {
        let c = endpoint.conditions.as_ref().unwrap();
        (c.ready.unwrap(), c.serving.unwrap(), c.terminating.unwrap())
    }

    #[test]
    fn conditions_follow_the_pod() {
        let dying = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let pods = [
            pod("a", &["10.0.0.1"], true, json!({})),
            pod("b", &["10.0.0.2"], false, json!({})),
            pod("c", &["10.0.0.3"], true, dying.clone()),
            pod("d", &["10.0.0.4"], false, dying),
            pod("e", &[], true, json!({})),
            pod("f", &["10.0.0.6"], true, json!({"status": {"phase": "Succeeded"}})),
        ];
        let spec = json!({"ipFamilies": ["IPv4"], "ports": [{"port": 80, "targetPort": "web"}]});
        let seen = |spec| {
            let wanted = wanted(&service(spec), &pods, &zone);
            assert_eq!(wanted.groups.len(), 1);
            assert_eq!(wanted.groups[0].ports[0].port, Some(8080));
            wanted.groups[0].endpoints.iter().map(conditions).collect::<Vec<_>>()
        };
        assert_eq!(
            seen(spec.clone()),
            [(true, true, false), (false, false, false), (false, true, true), (false, false, true)]
        );
        let mut publishing = spec;
        publishing["publishNotReadyAddresses"] = json!(true);
        assert_eq!(
            seen(publishing),
            [(true, true, false), (true, false, false), (true, true, true), (true, false, true)]
        );
    }

    #[test]
    fn families_ports_and_nodes() {
        let other = json!({"spec": {"containers": [{"name": "a", "ports": [{"name": "web", "containerPort": 9090}]}]}});
        let pods = [
            pod("a", &["10.0.0.1", "fd00::1"], true, json!({})),
            pod("b", &["10.0.0.2"], true, other),
            pod("c", &["10.0.0.3"], true, json!({"spec": {"nodeName": "gone"}})),
            pod("d", &["10.0.0.4"], true, json!({"spec": {"hostname": "d", "subdomain": "blue"}})),
        ];
        let spec =
            json!({"ipFamilies": ["IPv6", "IPv4"], "ports": [{"port": 80, "targetPort": "web"}]});
        let wanted = wanted(&service(spec), &pods, &zone);
        let shape: Vec<_> = wanted
            .groups
            .iter()
            .map(|g| {
                (
                    g.address_type,
                    g.ports[0].port.unwrap(),
                    g.endpoints.iter().map(|e| e.addresses[0].as_str()).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            shape,
            [
                ("IPv6", 8080, vec!["fd00::1"]),
                ("IPv4", 8080, vec!["10.0.0.1", "10.0.0.4"]),
                ("IPv4", 9090, vec!["10.0.0.2"])
            ]
        );
        assert_eq!(wanted.homeless, 1);
        let last = &wanted.groups[1].endpoints[1];
        assert_eq!(last.hostname.as_deref(), Some("d"));
        assert_eq!(last.zone.as_deref(), Some("zone-of-n1"));
    }
}
