//! Keeping traffic near: the hints that the EndpointSlice controller left in the slices.
//!
//! As kube-proxy 1.36 does: node hints win over zone hints, and hints are only followed when every
//! ready endpoint has one and at least one of them is for this node or zone.

use crate::object::Endpoint;

/// How far the cluster-wide pool reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Everywhere,
    SameZone,
    SameNode,
}

/// Decides the reach from the ready endpoints.
pub fn reach<'a>(
    ready: impl Iterator<Item = &'a Endpoint> + Clone,
    node: &str,
    zone: Option<&str>,
) -> Reach {
    let mut by_node = (true, false);
    let mut by_zone = (true, false);
    for endpoint in ready {
        by_node.0 &= !endpoint.node_hints().is_empty();
        by_node.1 |= hinted_for_node(endpoint, node);
        by_zone.0 &= !endpoint.zone_hints().is_empty();
        by_zone.1 |= hinted_for_zone(endpoint, zone);
    }
    match (by_node, by_zone) {
        ((true, true), _) => Reach::SameNode,
        (_, (true, true)) => Reach::SameZone,
        _ => Reach::Everywhere,
    }
}

/// Whether an endpoint is within reach.
pub fn within(endpoint: &Endpoint, reach: Reach, node: &str, zone: Option<&str>) -> bool {
    match reach {
        Reach::Everywhere => true,
        Reach::SameZone => hinted_for_zone(endpoint, zone),
        Reach::SameNode => hinted_for_node(endpoint, node),
    }
}

fn hinted_for_node(endpoint: &Endpoint, node: &str) -> bool {
    endpoint.node_hints().iter().any(|hint| **hint == *node)
}

fn hinted_for_zone(endpoint: &Endpoint, zone: Option<&str>) -> bool {
    zone.is_some_and(|zone| endpoint.zone_hints().iter().any(|hint| **hint == *zone))
}
