//! The subsets of an Endpoints object: addresses grouped by the ports that they share.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};

use super::{ports, repack::repack, slice};
use crate::pod;

/// The most addresses in one Endpoints object.
pub(super) const MAX_ADDRESSES: usize = 1000;

fn address(of: &Pod, service: &Service, ip: String) -> EndpointAddress {
    EndpointAddress {
        hostname: slice::hostname(of, service),
        ip,
        node_name: pod::node_name(of).map(str::to_string),
        target_ref: Some(slice::target_ref(of)),
    }
}

fn endpoint_ports(of: &Pod, service: &Service) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let found = ports.iter().filter_map(|port| {
        Some(EndpointPort {
            app_protocol: port.app_protocol.clone(),
            name: port.name.clone(),
            port: ports::target(of, port)?,
            protocol: port.protocol.clone(),
        })
    });
    found.collect()
}

/// The subsets for a Service and the pods that it selects, in their canonical layout.
pub(super) fn wanted(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let not_ready_too = slice::publishes_not_ready(service);
    let Some(family) = slice::address_types(service).first().copied() else { return Vec::new() };
    let portless = service.spec.as_ref().is_none_or(|s| s.ports.as_ref().is_none_or(Vec::is_empty));
    let published = pods.iter().filter(|p| slice::is_published(p, not_ready_too));
    let subsets = published.filter_map(|of| {
        let ip = slice::addresses(of, family).into_iter().next()?;
        let ports = endpoint_ports(of, service);
        if ports.is_empty() && !portless {
            return None;
        }
        let list = Some(vec![address(of, service, ip)]);
        let (addresses, not_ready_addresses) =
            if not_ready_too || pod::is_ready(of) { (list, None) } else { (None, list) };
        Some(EndpointSubset { addresses, not_ready_addresses, ports: Some(ports) })
    });
    repack(subsets)
}

/// Leaves out what is over [`MAX_ADDRESSES`], the addresses that are not ready first, evenly from
/// all subsets, and of each the last.
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

/// Keeps `keep` of `total` addresses: of each subset its share, rounded up, in order, while there is room.
fn shorten(
    subsets: &mut [EndpointSubset],
    keep: usize,
    total: usize,
    of: fn(&mut EndpointSubset) -> &mut Option<Vec<EndpointAddress>>,
) {
    let mut left = keep;
    for list in subsets.iter_mut().map(of) {
        let length = list.as_ref().map_or(0, Vec::len);
        let share = (length * keep).div_ceil(total.max(1)).min(left).min(length);
        left -= share;
        *list = list.take().filter(|_| share > 0);
        if let Some(list) = list {
            list.truncate(share);
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
                (80, vec![ip("10.0.0.10"), ip("10.0.0.2")], vec![ip("10.0.0.11")]),
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
