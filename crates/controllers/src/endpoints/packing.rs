//! Endpoints that share their ports, packed into slices.
//!
//! As in Kubernetes: endpoints stay where they are; new ones go into slices that are written
//! anyway, the fullest first; what is left goes into the one slice that it fills best, or into
//! new ones. Slices are never merged, as that would be writes for nothing.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{
    slice::Group,
    slices::{Draft, Shape},
};

/// What makes two endpoints the same one: their target and addresses.
#[derive(PartialEq, Eq, Hash)]
struct Identity<'a> {
    uid: Option<&'a str>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    addresses: &'a [String],
}

fn identity(endpoint: &Endpoint) -> Identity<'_> {
    let target = endpoint.target_ref.as_ref();
    Identity {
        uid: target.and_then(|t| t.uid.as_deref()),
        namespace: target.and_then(|t| t.namespace.as_deref()),
        name: target.and_then(|t| t.name.as_deref()),
        addresses: &endpoint.addresses,
    }
}

/// Whether two endpoints are equal; hints are looked at afterwards.
fn equal(a: &Endpoint, b: &Endpoint) -> bool {
    a.addresses == b.addresses
        && a.conditions == b.conditions
        && a.deprecated_topology == b.deprecated_topology
        && a.hostname == b.hostname
        && a.node_name == b.node_name
        && a.target_ref == b.target_ref
        && a.zone == b.zone
}

struct Filling {
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    write: bool,
}

/// Plans the slices of one address type and set of ports.
pub(super) fn pack(
    shape: &Shape,
    group: &Group,
    existing: &[Arc<EndpointSlice>],
    since: &HashMap<String, Timestamp>,
    draft: &mut Draft,
) {
    let mut missing: HashMap<Identity<'_>, &Endpoint> =
        group.endpoints.iter().map(|e| (identity(e), e)).collect();
    let mut triggered = draft.triggered;
    let mut changed = |endpoint: &Endpoint| {
        let uid = endpoint.target_ref.as_ref().and_then(|t| t.uid.as_ref());
        triggered = triggered.into_iter().chain(uid.and_then(|uid| since.get(uid)).copied()).min();
    };
    let serving = |e: &Endpoint| e.conditions.as_ref().and_then(|c| c.serving);
    let mut fillings: Vec<Filling> = Vec::with_capacity(existing.len());
    for slice in existing {
        let mut write = !shape.fits(slice);
        let mut endpoints = Vec::new();
        let mut same = true;
        for endpoint in slice.endpoints.iter().flatten() {
            // Of a slice over the limit, the rest moves.
            let fits = endpoints.len() < shape.max;
            let Some(wanted) = fits.then(|| missing.remove(&identity(endpoint))).flatten() else {
                same = false;
                continue;
            };
            if serving(wanted) != serving(endpoint) {
                changed(wanted);
            }
            same &= equal(wanted, endpoint);
            endpoints.push(wanted);
        }
        write |= !same;
        let endpoints: Vec<Endpoint> = if write {
            endpoints.into_iter().cloned().collect()
        } else {
            slice.endpoints.clone().unwrap_or_default()
        };
        fillings.push(Filling { slice: slice.clone(), endpoints, write });
    }
    // In the pods' order, each once.
    let mut rest: Vec<Endpoint> = Vec::with_capacity(missing.len());
    for endpoint in &group.endpoints {
        if let Some(endpoint) = missing.remove(&identity(endpoint)) {
            changed(endpoint);
            rest.push(endpoint.clone());
        }
    }
    draft.triggered = triggered;
    rest.reverse();

    fillings.sort_by(|a, b| {
        b.endpoints
            .len()
            .cmp(&a.endpoints.len())
            .then_with(|| a.slice.metadata.name.cmp(&b.slice.metadata.name))
    });
    // Those that are written anyway, the emptied ones last.
    for filling in fillings.iter_mut().filter(|f| f.write || f.endpoints.is_empty()) {
        let room = shape.max.saturating_sub(filling.endpoints.len()).min(rest.len());
        filling.write |= room > 0;
        filling.endpoints.extend(rest.drain(rest.len() - room..).rev());
    }
    while !rest.is_empty() {
        let fullest =
            fillings.iter_mut().find(|f| !f.write && f.endpoints.len() + rest.len() <= shape.max);
        if let Some(filling) = fullest {
            filling.endpoints.extend(rest.drain(..).rev());
            filling.write = true;
        } else {
            let count = rest.len().min(shape.max);
            let endpoints = rest.drain(rest.len() - count..).rev().collect();
            draft.create.push(shape.slice(group.address_type, &group.ports, endpoints));
        }
    }
    for Filling { slice, endpoints, write } in fillings {
        if endpoints.is_empty() {
            draft.delete.push(slice);
        } else if write {
            draft.update.push(shape.rewritten(&slice, None, endpoints));
        } else {
            draft.keep.push(slice);
        }
    }
}
