//! Subsets in their canonical layout: ports that the same addresses offer share a subset.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

/// An address in Kubernetes' order, by its text, and the pod's uid.
type Place = (String, Option<String>);
/// Name, protocol, number and application protocol.
type Port = (String, String, i32, Option<String>);

fn place(address: &EndpointAddress) -> Place {
    let uid = address.target_ref.as_ref().and_then(|target| target.uid.clone());
    (address.ip.clone(), uid)
}

fn port(port: &EndpointPort) -> Port {
    (
        port.name.clone().unwrap_or_default(),
        port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        port.port,
        port.app_protocol.clone(),
    )
}

/// Takes subsets apart and puts them together again: every address once in a subset, not ready
/// if any says so; sorted, so that two that say the same are equal.
pub(super) fn repack(subsets: impl IntoIterator<Item = EndpointSubset>) -> Vec<EndpointSubset> {
    let mut addresses: HashMap<Place, EndpointAddress> = HashMap::new();
    // `None` stands for addresses without ports.
    let mut by_port: BTreeMap<Option<Port>, BTreeMap<Place, bool>> = BTreeMap::new();
    for subset in subsets {
        let mut ports: Vec<_> = subset.ports.iter().flatten().map(|p| Some(port(p))).collect();
        if ports.is_empty() {
            ports.push(None);
        }
        let ready = subset.addresses.into_iter().flatten().map(|a| (a, true));
        let not_ready = subset.not_ready_addresses.into_iter().flatten().map(|a| (a, false));
        let mut here = BTreeMap::new();
        for (address, ready) in ready.chain(not_ready) {
            let place = place(&address);
            here.entry(place.clone()).and_modify(|r| *r &= ready).or_insert(ready);
            addresses.entry(place).or_insert(address);
        }
        for port in ports {
            let all = by_port.entry(port).or_default();
            for (place, ready) in &here {
                all.entry(place.clone()).and_modify(|r| *r &= ready).or_insert(*ready);
            }
        }
    }
    let mut by_places: BTreeMap<BTreeMap<Place, bool>, Vec<Port>> = BTreeMap::new();
    for (port, places) in by_port {
        by_places.entry(places).or_default().extend(port);
    }
    let mut packed: Vec<_> = by_places
        .into_iter()
        .filter(|(places, _)| !places.is_empty())
        .map(|(places, ports)| (ports.clone(), subset(&addresses, places, ports)))
        .collect();
    packed.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| first(x).cmp(&first(y))));
    packed.into_iter().map(|(_, subset)| subset).collect()
}

fn first(subset: &EndpointSubset) -> Option<Place> {
    let lists = [&subset.addresses, &subset.not_ready_addresses];
    lists.into_iter().flatten().flatten().map(place).min()
}

fn subset(
    addresses: &HashMap<Place, EndpointAddress>,
    places: BTreeMap<Place, bool>,
    ports: Vec<Port>,
) -> EndpointSubset {
    let filled = |ready: bool| {
        let here = places.iter().filter(|(_, r)| **r == ready);
        let some: Vec<_> = here.filter_map(|(place, _)| addresses.get(place)).cloned().collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    #[test]
    fn ports_with_the_same_addresses_share_a_subset() {
        let subsets: Vec<EndpointSubset> = serde_json::from_value(json!([
            {"addresses": [{"ip": "10.0.0.9"}], "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
            {"addresses": [{"ip": "10.0.0.10"}], "ports": [{"name": "a", "port": 80}]},
            {"notReadyAddresses": [{"ip": "10.0.0.9"}], "ports": [{"name": "c", "port": 82}]},
            {"addresses": [{"ip": "10.0.0.9"}], "ports": [{"name": "c", "port": 82}, {"name": "d", "port": 83}]},
        ]))
        .unwrap();
        assert_eq!(
            serde_json::to_value(repack(subsets)).unwrap(),
            json!([
                {"addresses": [{"ip": "10.0.0.10"}, {"ip": "10.0.0.9"}],
                 "ports": [{"name": "a", "port": 80, "protocol": "TCP"}]},
                {"addresses": [{"ip": "10.0.0.9"}],
                 "ports": [{"name": "b", "port": 81, "protocol": "TCP"}, {"name": "d", "port": 83, "protocol": "TCP"}]},
                {"notReadyAddresses": [{"ip": "10.0.0.9"}],
                 "ports": [{"name": "c", "port": 82, "protocol": "TCP"}]},
            ])
        );
    }

    #[test]
    fn addresses_without_ports_are_kept() {
        let portless = || EndpointSubset {
            addresses: Some(vec![EndpointAddress { ip: "10.0.0.1".into(), ..Default::default() }]),
            ..Default::default()
        };
        assert_eq!(repack([portless(), portless()]), [portless()]);
    }

    proptest! {
        #[test]
        fn every_pair_of_address_and_port_stays(
            given in prop::collection::vec((prop::collection::btree_map(0..6u8, any::<bool>(), 0..5), prop::collection::btree_set(1..5i32, 1..4)), 0..6),
        ) {
            let address = |id: &u8| EndpointAddress { ip: format!("10.0.0.{id}"), ..Default::default() };
            let subsets: Vec<_> = given.iter().map(|(places, ports)| EndpointSubset {
                addresses: Some(places.iter().filter(|(_, r)| **r).map(|(id, _)| address(id)).collect()),
                not_ready_addresses: Some(places.iter().filter(|(_, r)| !**r).map(|(id, _)| address(id)).collect()),
                ports: Some(ports.iter().map(|p| EndpointPort { port: *p, ..Default::default() }).collect()),
            }).collect();
            let mut expected: BTreeMap<(String, i32), bool> = BTreeMap::new();
            for (places, ports) in &given {
                for (id, ready) in places {
                    for port in ports {
                        *expected.entry((address(id).ip, *port)).or_insert(true) &= ready;
                    }
                }
            }
            let packed = repack(subsets);
            let mut found = BTreeMap::new();
            for subset in &packed {
                let ports: Vec<_> = subset.ports.iter().flatten().map(|p| p.port).collect();
                for (list, ready) in [(&subset.addresses, true), (&subset.not_ready_addresses, false)] {
                    for (address, port) in list.iter().flatten().flat_map(|a| ports.iter().map(move |p| (a, *p))) {
                        prop_assert_eq!(found.insert((address.ip.clone(), port), ready), None, "twice");
                    }
                }
            }
            prop_assert_eq!(found, expected);
            let places: BTreeSet<_> = packed.iter().map(|s| format!("{:?}{:?}", s.addresses, s.not_ready_addresses)).collect();
            prop_assert_eq!(packed.len(), places.len());
            prop_assert_eq!(repack(packed.clone()), packed);
        }
    }
}
