//! Topology hints: for whom an endpoint is meant.
//!
//! `trafficDistribution` decides endpoint by endpoint; `service.kubernetes.io/topology-mode: Auto`
//! gives each zone a share by its processors ([`super::topology`]).

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointHints, EndpointSlice, ForNode, ForZone},
};

use super::{slices::Draft, topology};

/// Asks for shares by capacity; the older name goes before the newer one.
const MODE: [&str; 2] =
    ["service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"];

/// Which hints a Service's endpoints have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hints {
    /// None.
    None,
    /// Each ready endpoint for its own zone.
    SameZone,
    /// Each ready endpoint for its own node, and its own zone.
    SameNode,
    /// Each zone its share of the endpoints, if that can be done fairly.
    ByCapacity(Result<topology::Shares, String>),
}

/// Whether a Service asks for shares by capacity.
pub(super) fn by_capacity(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let value = MODE.iter().find_map(|name| annotations?.get(*name));
    value.is_some_and(|value| value == "Auto" || value == "auto")
}

/// What a Service asks for; `shares` are the zones' shares of the cluster's processors.
pub(super) fn of(
    service: &Service,
    shares: impl FnOnce() -> Result<topology::Shares, String>,
) -> Hints {
    if by_capacity(service) {
        return Hints::ByCapacity(shares());
    }
    let distribution = service.spec.as_ref().and_then(|s| s.traffic_distribution.as_deref());
    match distribution {
        Some("PreferClose" | "PreferSameZone") => Hints::SameZone,
        Some("PreferSameNode") => Hints::SameNode,
        _ => Hints::None,
    }
}

pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true)
}

pub(super) fn for_zone(zone: &str) -> EndpointHints {
    EndpointHints { for_zones: Some(vec![ForZone { name: zone.to_owned() }]), for_nodes: None }
}

/// The hints of one endpoint that depend on nothing else.
fn wanted(hints: &Hints, endpoint: &Endpoint) -> Option<EndpointHints> {
    if !is_ready(endpoint) {
        return None;
    }
    let zone = endpoint.zone.as_deref().map(for_zone);
    match hints {
        Hints::None | Hints::ByCapacity(_) => None,
        Hints::SameZone => zone,
        Hints::SameNode => match &endpoint.node_name {
            Some(node) => Some(EndpointHints {
                for_nodes: Some(vec![ForNode { name: node.clone() }]),
                ..zone.unwrap_or_default()
            }),
            None => zone,
        },
    }
}

pub(super) fn endpoints(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

/// The endpoints of all slices of a draft that are written.
pub(super) fn written(draft: &mut Draft) -> impl Iterator<Item = &mut Endpoint> {
    let slices = draft.create.iter_mut().chain(&mut draft.update);
    slices.flat_map(|slice| slice.endpoints.iter_mut().flatten())
}

/// Gives the endpoints of a draft their hints; slices that would be kept but have others are
/// written. With shares by capacity, says whether they could be given.
pub(super) fn apply(hints: &Hints, draft: &mut Draft) -> Option<Result<(), String>> {
    let shared = match hints {
        Hints::ByCapacity(shares) => Some(
            shares.as_ref().map_err(Clone::clone).and_then(|shares| topology::give(shares, draft)),
        ),
        _ => None,
    };
    if matches!(shared, Some(Ok(()))) {
        return shared;
    }
    let wrong = draft.keep.extract_if(.., |slice| {
        endpoints(slice).iter().any(|endpoint| endpoint.hints != wanted(hints, endpoint))
    });
    draft.update.extend(wrong.map(|slice| (*slice).clone()));
    for endpoint in written(draft) {
        endpoint.hints = wanted(hints, endpoint);
    }
    shared
}

/// How many endpoints each zone was given, of slices as they are.
pub(super) fn given<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> BTreeMap<&'a str, usize> {
    let mut given = BTreeMap::new();
    let ready = slices.into_iter().flat_map(endpoints).filter(|e| is_ready(e));
    let hints = ready.filter_map(|e| e.hints.as_ref()).flat_map(|h| h.for_zones.iter().flatten());
    for zone in hints {
        *given.entry(zone.name.as_str()).or_default() += 1;
    }
    given
}
