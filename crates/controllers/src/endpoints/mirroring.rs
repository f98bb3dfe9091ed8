//! Hand-written Endpoints of Services without a selector, mirrored as EndpointSlices.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};

use super::{
    publish, slice,
    slices::{self, MANAGED_BY, Shape},
};
use crate::{
    cache::Key,
    context::{Context, SERVICE_NAME, of_service},
    queue::Outcome,
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The most addresses that are mirrored of one subset.
const MAX_PER_SUBSET: usize = 1000;
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotations that mean the Endpoints object alone.
const NOT_COPIED: [&str; 3] = [
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/over-capacity",
];

/// Whether Endpoints are mirrored: they belong to a Service without a selector, and nobody else cares for them.
fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    meta.labels.as_ref().and_then(|l| l.get(SKIP)).is_none_or(|v| v != "true")
        && meta.annotations.as_ref().is_none_or(|a| !a.contains_key(LEADER))
        && service
            .and_then(|s| s.spec.as_ref())
            .is_some_and(|s| s.selector.as_ref().is_none_or(BTreeMap::is_empty))
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..Default::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Default::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let copy = |p: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        app_protocol: p.app_protocol.clone(),
        name: Some(p.name.clone().unwrap_or_default()),
        port: Some(p.port),
        protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".into())),
    };
    subset.ports.iter().flatten().map(copy).collect()
}

/// What the slices of mirrored Endpoints should hold.
fn wanted(endpoints: &Endpoints) -> slice::Wanted {
    let mut groups: Vec<slice::Group> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        for (address, ready) in ready.chain(not_ready).take(MAX_PER_SUBSET) {
            let address_type = match address.ip.parse() {
                Ok(IpAddr::V4(_)) => "IPv4",
                Ok(IpAddr::V6(_)) => "IPv6",
                Err(_) => continue,
            };
            let at = groups.iter().position(|g| g.address_type == address_type && g.ports == ports);
            let at = at.unwrap_or_else(|| {
                groups.push(slice::Group {
                    address_type,
                    ports: ports.clone(),
                    endpoints: Vec::new(),
                });
                groups.len() - 1
            });
            let endpoint = endpoint(address, ready);
            if !groups[at]
                .endpoints
                .iter()
                .any(|e| e.addresses == endpoint.addresses && e.target_ref == endpoint.target_ref)
            {
                groups[at].endpoints.push(endpoint);
            }
        }
    }
    slice::Wanted { groups, types: Vec::new(), homeless: 0 }
}

fn shape(endpoints: &Endpoints) -> Shape {
    let meta = &endpoints.metadata;
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|k, _| !NOT_COPIED.contains(&k.as_str()));
    Shape {
        namespace: meta.namespace.clone().unwrap_or_default(),
        service: meta.name.clone().unwrap_or_default(),
        managed_by: MANAGER,
        labels: meta.labels.clone().unwrap_or_default(),
        annotations,
        owner: publish::owned_by(endpoints),
        max: MAX_PER_SUBSET,
    }
}

fn is_managed(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY)).is_some_and(|m| m == MANAGER)
}

/// Runs the mirroring controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("endpoint_slice_mirroring");
    let q = queue.clone();
    ctx.caches.endpoints.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let q = queue.clone();
    ctx.caches.services.on_change(move |change| {
        let selector = |s: &Arc<Service>| s.spec.as_ref().and_then(|s| s.selector.clone());
        if change.old.map(selector) != change.new.map(selector) {
            q.add(Key::of(&change.latest().metadata));
        }
    });
    let q = queue.clone();
    ctx.caches.slices.on_change(move |change| {
        for slice in change.both().filter(|s| is_managed(s)) {
            if let Some(service) = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME))
            {
                q.add(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service));
            }
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(4, shutdown, move |key| sync(ctx.clone(), key))
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let mut existing = ctx.caches.slices.group(&of_service(&key.namespace, &key.name));
    existing.retain(|s| is_managed(s));
    let endpoints = ctx.caches.endpoints.get_key(&key);
    let service = ctx.caches.services.get_key(&key);
    let mirrored = endpoints
        .filter(|e| e.metadata.deletion_timestamp.is_none() && is_mirrored(e, service.as_deref()));
    let actions = match mirrored {
        Some(endpoints) => slices::plan(&shape(&endpoints), &wanted(&endpoints), &existing),
        None => existing.into_iter().map(slices::Action::Delete).collect(),
    };
    match publish::write(&ctx, actions).await {
        Err(error) if error.is_namespace_terminating() => Ok(None),
        other => other.map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoints(meta: serde_json::Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": meta,
            "subsets": [
                {"addresses": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "1.1.1.2"}],
                 "ports": [{"port": 80}]},
                {"addresses": [{"ip": "1.1.1.3", "hostname": "c"}, {"ip": "1.1.1.1"}], "ports": [{"port": 80}]},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn every_address_once_by_family_and_ports() {
        let wanted = wanted(&endpoints(json!({"name": "a"})));
        let shape: Vec<_> = wanted
            .groups
            .iter()
            .map(|g| {
                (
                    g.address_type,
                    g.endpoints.iter().map(|e| e.addresses[0].as_str()).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            shape,
            [("IPv4", vec!["1.1.1.1", "1.1.1.2", "1.1.1.3"]), ("IPv6", vec!["fd00::1"])]
        );
        assert_eq!(wanted.groups[0].endpoints[1].conditions.as_ref().unwrap().ready, Some(false));
    }

    #[test]
    fn who_is_mirrored() {
        let service: Service = serde_json::from_value(json!({"spec": {}})).unwrap();
        let selecting: Service =
            serde_json::from_value(json!({"spec": {"selector": {"a": "b"}}})).unwrap();
        let plain = endpoints(json!({}));
        assert!(is_mirrored(&plain, Some(&service)));
        assert!(!is_mirrored(&plain, Some(&selecting)));
        assert!(!is_mirrored(&plain, None));
        assert!(!is_mirrored(&endpoints(json!({"labels": {SKIP: "true"}})), Some(&service)));
        assert!(!is_mirrored(&endpoints(json!({"annotations": {LEADER: "x"}})), Some(&service)));
    }
}
