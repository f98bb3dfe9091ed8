//! Hand-written Endpoints of Services without a selector, mirrored as EndpointSlices.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};

use super::{
    hints::Hints,
    publish,
    repack::repack,
    slice,
    slices::{self, MANAGED_BY, Shape},
};
use crate::{
    cache::Key,
    context::{Context, SERVICE_NAME, of_service},
    events::Kind,
    owner,
    queue::Outcome,
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The most addresses that are mirrored of one subset.
const MAX_PER_SUBSET: usize = 1000;
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotations that mean the Endpoints object alone.
const NOT_COPIED: [&str; 2] =
    [slices::TRIGGERED, "kubectl.kubernetes.io/last-applied-configuration"];

/// Whether Endpoints are mirrored: they belong to a Service without a selector, and nobody else cares for them.
fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    meta.labels.as_ref().and_then(|l| l.get(SKIP)).is_none_or(|v| v != "true")
        && meta.annotations.as_ref().is_none_or(|a| !a.contains_key(LEADER))
        && service
            .and_then(|s| s.spec.as_ref())
            .is_some_and(|s| s.selector.as_ref().is_none_or(BTreeMap::is_empty))
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
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

/// What mirroring leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Skipped {
    /// Addresses that are none.
    invalid: usize,
    /// All that were left out.
    total: usize,
}

/// What the slices of mirrored Endpoints should hold: one for each subset and family.
fn wanted(endpoints: &Endpoints) -> (slice::Wanted, Skipped) {
    let mut skipped = Skipped::default();
    let mut groups: Vec<slice::Group> = Vec::new();
    for subset in repack(endpoints.subsets.iter().flatten().cloned()) {
        let ports = ports(&subset);
        let families = ["IPv4", "IPv6"].map(|address_type| slice::Group {
            address_type,
            ports: ports.clone(),
            endpoints: Vec::new(),
        });
        let [mut v4, mut v6] = families;
        let mut count = 0;
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        for (address, ready) in ready.chain(not_ready) {
            if count >= MAX_PER_SUBSET {
                skipped.total += 1;
                continue;
            }
            let Ok(ip) = address.ip.parse() else {
                skipped.invalid += 1;
                skipped.total += 1;
                continue;
            };
            let group = if matches!(ip, IpAddr::V4(_)) { &mut v4 } else { &mut v6 };
            group.endpoints.push(endpoint(address, ip, ready));
            count += 1;
        }
        groups.extend([v4, v6].into_iter().filter(|group| !group.endpoints.is_empty()));
    }
    let types = vec!["IPv4", "IPv6"];
    (slice::Wanted { groups, types, ..Default::default() }, skipped)
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
        annotations: Some(annotations),
        owner: owner::controller_ref::<Endpoints>(endpoints),
        adopts: true,
        grows: meta.deletion_timestamp.is_none(),
        created: None,
        max: MAX_PER_SUBSET,
        hints: Hints::None,
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
    let actions = match endpoints.filter(|e| is_mirrored(e, service.as_deref())) {
        Some(endpoints) => {
            let (wanted, skipped) = wanted(&endpoints);
            let actions = slices::plan(&shape(&endpoints), &wanted, &existing).actions;
            if !actions.is_empty() {
                warn(&ctx, &endpoints, skipped);
            }
            actions
        }
        None => existing.into_iter().map(slices::Action::Delete).collect(),
    };
    match publish::write(&ctx, actions).await {
        Err(error) if error.is_namespace_terminating() => Ok(None),
        other => other.map(|()| None),
    }
}

/// Says on the Endpoints what was left out.
fn warn(ctx: &Context, endpoints: &Endpoints, skipped: Skipped) {
    let say = |reason, message| {
        let component = "endpoint-slice-mirroring-controller";
        ctx.events.record(endpoints, component, Kind::Warning, reason, message);
    };
    let Skipped { invalid, total } = skipped;
    if invalid > 0 {
        let message =
            format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
        say("InvalidIPAddress", message);
    }
    if total > invalid {
        let message = format!(
            "A max of {MAX_PER_SUBSET} addresses can be mirrored to EndpointSlices per Endpoints subset. {total} addresses were skipped"
        );
        say("TooManyAddressesToMirror", message);
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
        let (wanted, skipped) = wanted(&endpoints(json!({"name": "a"})));
        assert_eq!(skipped, Skipped::default());
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
            [("IPv4", vec!["1.1.1.1", "1.1.1.3", "1.1.1.2"]), ("IPv6", vec!["fd00::1"])]
        );
        assert_eq!(wanted.groups[0].endpoints[2].conditions.as_ref().unwrap().ready, Some(false));
    }

    #[test]
    fn a_thousand_of_a_subset_are_mirrored() {
        let ips = |from: u32, to: u32| -> Vec<_> {
            (from..to).map(|n| json!({"ip": format!("10.0.{}.{}", n / 250, n % 250)})).collect()
        };
        // Two subsets of the same ports are one.
        let many: Endpoints = serde_json::from_value(json!({"subsets": [
            {"addresses": ips(0, 600), "ports": [{"port": 80}]},
            {"addresses": ips(600, 900), "notReadyAddresses": ips(900, 1200), "ports": [{"port": 80}]},
            {"addresses": [{"ip": "fd00::1"}, {"ip": "nonsense"}], "ports": [{"port": 81}]},
        ]}))
        .unwrap();
        let (wanted, skipped) = wanted(&many);
        let sizes: Vec<_> =
            wanted.groups.iter().map(|g| (g.address_type, g.endpoints.len())).collect();
        assert_eq!(sizes, [("IPv4", 1000), ("IPv6", 1)]);
        assert_eq!(skipped, Skipped { invalid: 1, total: 201 });
    }

    #[test]
    fn the_mirror_has_the_annotations_of_the_original() {
        let of = |annotations: serde_json::Value| {
            endpoints(
                json!({"name": "a", "namespace": "ns", "uid": "u", "annotations": annotations}),
            )
        };
        let plan = |endpoints: &Endpoints, existing: &[Arc<EndpointSlice>]| {
            slices::plan(&shape(endpoints), &wanted(endpoints).0, existing).actions
        };
        let before = of(json!({"a": "1", "b": "2", slices::TRIGGERED: "2026-01-01T00:00:00Z"}));
        let made: Vec<_> = plan(&before, &[])
            .into_iter()
            .map(|action| match action {
                slices::Action::Create(slice) => {
                    assert_eq!(slice.metadata.annotations.as_ref().unwrap().len(), 2);
                    Arc::new(*slice)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(plan(&before, &made).is_empty());
        let actions = plan(&of(json!({"a": "1"})), &made);
        assert_eq!(actions.len(), 2, "one is gone");
        // Another object of the same name takes the mirror over.
        let mut heir = before.clone();
        heir.metadata.uid = Some("v".into());
        assert!(plan(&heir, &made).iter().all(|a| matches!(a, slices::Action::Update(_))));
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
