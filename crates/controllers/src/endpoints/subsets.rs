//! The subsets of an Endpoints object: addresses grouped by the ports that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};

use super::{ports, slice};
use crate::pod;

/// The most addresses in one Endpoints object.
pub(super) const MAX_ADDRESSES: usize = 1000;

/// A port in an order of its own.
type PortKey = (String, String, i32, Option<String>);
/// Ready addresses and others, by address and the pod's uid.
type Addresses = BTreeMap<(Vec<u8>, Option<String>), (EndpointAddress, bool)>;

fn address(of: &Pod, service: &Service, ip: String) -> EndpointAddress {
    EndpointAddress {
        hostname: slice::hostname(of, service),
        ip,
        node_name: pod::node_name(of).map(str::to_string),
        target_ref: Some(slice::target_ref(of)),
    }
}

/// Sorts addresses as numbers, IPv4 before IPv6.
fn ip_key(ip: &str) -> Vec<u8> {
    match ip.parse() {
        Ok(std::net::IpAddr::V4(v4)) => v4.octets().to_vec(),
        Ok(std::net::IpAddr::V6(v6)) => v6.octets().to_vec(),
        Err(_) => ip.as_bytes().to_vec(),
    }
}

fn port_keys(of: &Pod, service: &Service) -> BTreeSet<PortKey> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let key = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        Some((
            port.name.clone().unwrap_or_default(),
            protocol,
            ports::target(of, port)?,
            port.app_protocol.clone(),
        ))
    };
    ports.iter().filter_map(key).collect()
}

/// The subsets for a Service and the pods that it selects, sorted and packed: pods with the same ports
/// share a subset, and in it every address is ready or not.
pub(super) fn wanted(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let not_ready_too = slice::publishes_not_ready(service);
    let Some(family) = slice::address_types(service).first().copied() else { return Vec::new() };
    let portless = service.spec.as_ref().is_none_or(|s| s.ports.as_ref().is_none_or(Vec::is_empty));
    let mut subsets: BTreeMap<BTreeSet<PortKey>, Addresses> = BTreeMap::new();
    for of in pods.iter().filter(|p| slice::is_published(p, not_ready_too)) {
        let Some(ip) = slice::addresses(of, family).into_iter().next() else { continue };
        let keys = port_keys(of, service);
        if keys.is_empty() && !portless {
            continue;
        }
        let ready = not_ready_too || pod::is_ready(of);
        subsets
            .entry(keys)
            .or_default()
            .insert((ip_key(&ip), of.metadata.uid.clone()), (address(of, service, ip), ready));
    }
    subsets.into_iter().map(|(ports, addresses)| subset(ports, addresses)).collect()
}

fn subset(ports: BTreeSet<PortKey>, addresses: Addresses) -> EndpointSubset {
    let filled = |ready: bool| {
        let some: Vec<_> =
            addresses.values().filter(|(_, r)| *r == ready).map(|(a, _)| a.clone()).collect();
        (!some.is_empty()).then_some(some)
    };
    let ports: Vec<_> = ports
        .into_iter()
        .map(|(name, protocol, port, app_protocol)| EndpointPort {
            app_protocol,
            name: (!name.is_empty()).then_some(name),
            port,
            protocol: Some(protocol),
        })
        .collect();
    EndpointSubset {
        addresses: filled(true),
        not_ready_addresses: filled(false),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// Leaves out what is over [`MAX_ADDRESSES`], the addresses that are not ready first, evenly from all subsets.
/// Returns whether it had to.
pub(super) fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let count = |subsets: &[EndpointSubset], ready: bool| -> usize {
        subsets
            .iter()
            .filter_map(
                |s| if ready { s.addresses.as_ref() } else { s.not_ready_addresses.as_ref() },
            )
            .map(Vec::len)
            .sum()
    };
    let (ready, not_ready) = (count(subsets, true), count(subsets, false));
    if ready + not_ready <= MAX_ADDRESSES {
        return false;
    }
    let ready_kept = ready.min(MAX_ADDRESSES);
    shorten(subsets, ready_kept, ready, |s| &mut s.addresses);
    shorten(subsets, MAX_ADDRESSES - ready_kept, not_ready, |s| &mut s.not_ready_addresses);
    subsets.retain(|s| s.addresses.is_some() || s.not_ready_addresses.is_some());
    true
}

fn shorten(
    subsets: &mut [EndpointSubset],
    keep: usize,
    total: usize,
    of: fn(&mut EndpointSubset) -> &mut Option<Vec<EndpointAddress>>,
) {
    let mut left = keep;
    let lengths: Vec<usize> =
        subsets.iter_mut().map(|s| of(s).as_ref().map_or(0, Vec::len)).collect();
    let mut shares: Vec<usize> =
        lengths.iter().map(|l| (l * keep).checked_div(total).unwrap_or(0)).collect();
    left -= shares.iter().sum::<usize>();
    for (share, length) in shares.iter_mut().zip(&lengths) {
        let more = left.min(length - *share);
        *share += more;
        left -= more;
    }
    for (subset, share) in subsets.iter_mut().zip(shares) {
        let addresses = of(subset);
        if let Some(list) = addresses {
            list.truncate(share);
        }
        if share == 0 {
            *addresses = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(id: usize, ready: bool, port: i32) -> Arc<Pod> {
        let ip = format!("10.0.{}.{}", id / 250, id % 250 + 1);
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": format!("p{id}"), "namespace": "ns", "uid": format!("u{id}")},
                "spec": {"nodeName": "n", "containers": [{"name": "a", "ports": [{"name": "web", "containerPort": port}]}]},
                "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                    "conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]},
            }))
            .unwrap(),
        )
    }

    fn service(ports: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "blue", "namespace": "ns"}, "spec": {"ipFamilies": ["IPv4"], "ports": ports},
        }))
        .unwrap()
    }

    #[test]
    fn addresses_are_packed_by_ports() {
        let pods = [pod(9, true, 80), pod(10, false, 80), pod(2, true, 90), pod(1, true, 80)];
        let subsets = wanted(&service(json!([{"port": 1, "targetPort": "web"}])), &pods);
        let shape: Vec<_> = subsets
            .iter()
            .map(|s| {
                let ips = |l: &Option<Vec<EndpointAddress>>| {
                    l.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>()
                };
                (s.ports.as_ref().unwrap()[0].port, ips(&s.addresses), ips(&s.not_ready_addresses))
            })
            .collect();
        let ip = |s: &str| s.to_string();
        assert_eq!(
            shape,
            [
                (80, vec![ip("10.0.0.2"), ip("10.0.0.10")], vec![ip("10.0.0.11")]),
                (90, vec![ip("10.0.0.3")], vec![])
            ]
        );
        let portless = wanted(&service(json!([])), &pods);
        assert_eq!((portless.len(), portless[0].ports.as_ref()), (1, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn truncation_keeps_a_thousand_and_prefers_ready(ready in 0..1500usize, not_ready in 0..1500usize, split in 1..5usize) {
            let pods: Vec<_> = (0..ready + not_ready).map(|i| pod(i, i < ready, 80 + i32::try_from(i % split).unwrap())).collect();
            let mut subsets = wanted(&service(json!([{"port": 1, "targetPort": "web"}])), &pods);
            prop_assert_eq!(truncate(&mut subsets), ready + not_ready > MAX_ADDRESSES);
            let kept_ready: usize = subsets.iter().flat_map(|s| &s.addresses).map(Vec::len).sum();
            let kept: usize = kept_ready + subsets.iter().flat_map(|s| &s.not_ready_addresses).map(Vec::len).sum::<usize>();
            prop_assert_eq!(kept, (ready + not_ready).min(MAX_ADDRESSES));
            prop_assert_eq!(kept_ready, ready.min(MAX_ADDRESSES));
        }
    }
}
