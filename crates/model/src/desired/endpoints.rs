//! A Service port's endpoints, gathered from the Service's slices.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::backend::Backend;
use crate::frontend::{Family, PortName};
use crate::object::{AddressType, Endpoint, EndpointSlice};
use crate::traffic_policy::Candidate;

/// Finds the endpoints of a port in one family, sorted by address and port.
///
/// Slices are matched by port name and protocol. While the controller moves an endpoint between
/// slices it may be listed twice; the more usable of the two counts.
pub fn candidates<'a>(
    slices: &'a [Arc<EndpointSlice>],
    port: &PortName,
    family: Family,
    node: &str,
) -> Vec<Candidate<'a>> {
    let address_type = match family {
        Family::Ipv4 => AddressType::Ipv4,
        Family::Ipv6 => AddressType::Ipv6,
    };
    let mut found: Vec<Candidate<'a>> = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == address_type) {
        let numbers = slice
            .ports
            .iter()
            .filter(|item| item.name == port.port && item.protocol == port.protocol)
            .filter_map(|item| item.port.filter(|number| *number != 0));
        for number in numbers {
            let usable = slice.endpoints.iter().filter(|endpoint| {
                Family::of(&endpoint.address) == family && !endpoint.address.is_unspecified()
            });
            found.extend(usable.map(|endpoint| Candidate {
                backend: Backend {
                    address: endpoint.address,
                    port: number,
                    local: endpoint.node_name.as_deref() == Some(node),
                },
                endpoint,
            }));
        }
    }
    found.sort_by_key(|item| (item.backend.address, item.backend.port, worth(item.endpoint)));
    found.dedup_by_key(|item| (item.backend.address, item.backend.port));
    found
}

/// Sorts the more usable endpoint first.
fn worth(endpoint: &Endpoint) -> (bool, bool, bool) {
    (!endpoint.ready, !endpoint.serving, endpoint.node_name.is_none())
}

/// How many ready endpoints run on this node, over all ports: what a load balancer's health check
/// is told. A pod of two families is one endpoint.
pub(super) fn ready_local(slices: &[Arc<EndpointSlice>], node: &str) -> usize {
    let mut addresses = [BTreeSet::new(), BTreeSet::new()];
    for endpoint in slices.iter().flat_map(|slice| &slice.endpoints) {
        if endpoint.ready && endpoint.node_name.as_deref() == Some(node) {
            addresses[usize::from(endpoint.address.is_ipv6())].insert(endpoint.address);
        }
    }
    addresses.iter().map(BTreeSet::len).max().unwrap_or(0)
}
