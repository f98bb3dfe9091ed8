//! The Endpoints object of a Service: whether it must be written, and what.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use k8s_openapi::{
    api::core::v1::{EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{slice, slices::TRIGGERED, subsets};

/// Marks the objects of headless Services.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";
/// Says who writes an Endpoints object (Kubernetes 1.33).
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// Says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// What to do with a Service's Endpoints.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create(Box<Endpoints>),
    Update(Box<Endpoints>),
}

/// Whether a Service has no virtual address.
pub(super) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref());
    matches!(address, None | Some("" | "None"))
}

/// Whether we wrote an object, by its label.
pub(super) fn is_managed(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY)).is_some_and(|m| m == MANAGER)
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

/// Subsets in an order of their own, so that another writer's order makes no difference.
fn canonical(subsets: Option<&Vec<EndpointSubset>>) -> Vec<EndpointSubset> {
    let mut subsets = subsets.cloned().unwrap_or_default();
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses] {
            *list = list.take().filter(|l| !l.is_empty());
            if let Some(list) = list {
                list.sort_by(|a, b| a.ip.cmp(&b.ip).then_with(|| uid(a).cmp(&uid(b))));
            }
        }
        subset.ports = subset.ports.take().filter(|p| !p.is_empty());
        if let Some(ports) = &mut subset.ports {
            for port in ports.iter_mut() {
                port.name = port.name.take().filter(|n| !n.is_empty());
            }
            ports.sort_by(|a, b| {
                (&a.name, &a.protocol, a.port).cmp(&(&b.name, &b.protocol, b.port))
            });
        }
    }
    subsets.sort_by_cached_key(|s| format!("{:?}", s.ports));
    subsets
}

fn uid(address: &k8s_openapi::api::core::v1::EndpointAddress) -> Option<&str> {
    address.target_ref.as_ref()?.uid.as_deref()
}

/// Plans the write for a Service, the pods that it selects, and its Endpoints as they are.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: Option<&Endpoints>,
) -> Option<Action> {
    let mut subsets = subsets::wanted(service, pods);
    let truncated = subsets::truncate(&mut subsets);
    let labels = labels(service);
    let Some(existing) = existing else {
        let mut annotations = BTreeMap::new();
        if let Some(created) = &service.metadata.creation_timestamp {
            annotations.insert(TRIGGERED.to_owned(), created.0.to_string());
        }
        if truncated {
            annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        }
        return Some(Action::Create(Box::new(Endpoints {
            metadata: ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: Some(annotations),
                ..Default::default()
            },
            subsets: (!subsets.is_empty()).then_some(subsets),
        })));
    };
    let annotated =
        existing.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(OVER_CAPACITY));
    let same = canonical(existing.subsets.as_ref()) == canonical(Some(&subsets))
        && existing.metadata.labels.as_ref() == Some(&labels)
        && annotated == truncated;
    if same {
        return None;
    }
    let mut update = existing.clone();
    update.metadata.labels = Some(labels);
    let annotations = update.metadata.annotations.get_or_insert_default();
    if truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    match triggered(existing, &subsets, pods) {
        Some(time) => annotations.insert(TRIGGERED.into(), time.to_string()),
        None => annotations.remove(TRIGGERED),
    };
    update.subsets = (!subsets.is_empty()).then_some(subsets);
    Some(Action::Update(Box::new(update)))
}

/// The address, the pod's uid, and whether it is ready.
type Told<'a> = (&'a str, Option<&'a str>, bool);

fn told(subsets: &[EndpointSubset]) -> impl Iterator<Item = Told<'_>> {
    subsets.iter().flat_map(|subset| {
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        ready.chain(not_ready).map(|(a, ready)| (a.ip.as_str(), uid(a), ready))
    })
}

/// The earliest change of a pod that the update tells of.
fn triggered(
    existing: &Endpoints,
    subsets: &[EndpointSubset],
    pods: &[Arc<Pod>],
) -> Option<Timestamp> {
    let known: HashSet<_> = told(existing.subsets.as_deref().unwrap_or_default()).collect();
    let since: HashMap<_, _> =
        pods.iter().filter_map(|p| Some((p.metadata.uid.as_deref()?, slice::since(p)?))).collect();
    let new = told(subsets).filter(|address| !known.contains(address));
    new.filter_map(|(_, uid, _)| since.get(uid?).copied()).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn created_once_then_left_alone_until_something_changes() {
        let mut service: Service = serde_json::from_value(json!({
            "metadata": {"name": "blue", "namespace": "ns", "labels": {"app": "blue"}},
            "spec": {"clusterIP": "None", "ipFamilies": ["IPv4"], "ports": [{"port": 80}]},
        }))
        .unwrap();
        let Some(Action::Create(made)) = plan(&service, &[], None) else { panic!("not created") };
        let labels = made.metadata.labels.clone().unwrap();
        assert_eq!(
            labels.keys().map(String::as_str).collect::<Vec<_>>(),
            ["app", MANAGED_BY, HEADLESS]
        );
        assert_eq!(plan(&service, &[], Some(&made)), None);
        service.metadata.labels = None;
        assert!(matches!(plan(&service, &[], Some(&made)), Some(Action::Update(_))));
    }

    #[test]
    fn updates_tell_which_change_they_follow() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "blue", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"], "ports": [{"port": 80}]},
        }))
        .unwrap();
        let pod = |id: u8, ready: bool, at: &str| -> Arc<Pod> {
            let ready = if ready { "True" } else { "False" };
            let ip = format!("10.0.0.{id}");
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": format!("p{id}"), "namespace": "ns", "uid": format!("u{id}")},
                    "spec": {"containers": []},
                    "status": {"podIP": ip, "podIPs": [{"ip": ip}],
                        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at}]},
                }))
                .unwrap(),
            )
        };
        let (noon, one) = ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z");
        let steps = [
            (vec![pod(1, true, noon)], Some("2026-01-01T00:00:00Z")),
            (vec![pod(1, true, noon), pod(2, false, one)], Some(one)),
            (vec![pod(2, false, one)], None),
            (vec![pod(2, true, noon)], Some(noon)),
        ];
        let mut existing: Option<Endpoints> = None;
        for (pods, expected) in steps {
            let written = match plan(&service, &pods, existing.as_ref()) {
                Some(Action::Create(e) | Action::Update(e)) => *e,
                None => panic!("nothing written"),
            };
            let annotations = written.metadata.annotations.clone().unwrap_or_default();
            assert_eq!(annotations.get(TRIGGERED).map(String::as_str), expected);
            assert_eq!(plan(&service, &pods, Some(&written)), None);
            existing = Some(written);
        }
    }
}
