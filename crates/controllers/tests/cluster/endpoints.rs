//! Endpoints and slices follow Services and pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{EndpointSubset, Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    api::{ListParams, Patch, PatchParams},
    runtime::watcher::{Event, watcher},
};
use serde_json::json;

use crate::support::{Cluster, deployment, eventually, service, status};

/// Address, port and readiness, as Endpoints have them.
async fn in_endpoints(cluster: &Cluster, name: &str) -> Option<BTreeSet<(String, i32, bool)>> {
    let endpoints = cluster.api::<Endpoints>().get_opt(name).await.unwrap()?;
    let mut found = BTreeSet::new();
    for subset in endpoints.subsets.iter().flatten() {
        for port in subset.ports.iter().flatten() {
            for address in subset.addresses.iter().flatten() {
                assert!(found.insert((address.ip.clone(), port.port, true)), "twice in Endpoints");
            }
            for address in subset.not_ready_addresses.iter().flatten() {
                assert!(found.insert((address.ip.clone(), port.port, false)), "twice in Endpoints");
            }
        }
    }
    Some(found)
}

async fn slices_of(cluster: &Cluster, service: &str) -> Vec<EndpointSlice> {
    let labels = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    cluster.api::<EndpointSlice>().list(&labels).await.unwrap().items
}

/// Address, port, readiness and whether it terminates, as slices have them.
async fn in_slices(cluster: &Cluster, name: &str) -> BTreeSet<(String, i32, bool, bool)> {
    let mut found = BTreeSet::new();
    for slice in slices_of(cluster, name).await {
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            for port in slice.ports.iter().flatten() {
                for address in &endpoint.addresses {
                    let ready = conditions.ready.unwrap_or(true);
                    let terminating = conditions.terminating.unwrap_or(false);
                    let new =
                        found.insert((address.clone(), port.port.unwrap(), ready, terminating));
                    assert!(new, "twice in slices");
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn a_service_follows_its_pods() {
    let cluster = Cluster::start(&["worker-1", "worker-2"]).await;
    cluster.create::<Service>(service("blue", "blue")).await;
    eventually("an empty object and an empty slice", || async {
        let endpoints = in_endpoints(&cluster, "blue").await?;
        let slices = cluster.list::<EndpointSlice>().await;
        let mine =
            slices.iter().filter(|s| s.metadata.generate_name.as_deref() == Some("blue-")).count();
        (endpoints.is_empty() && mine == 1).then_some(())
    })
    .await;

    cluster.create::<Deployment>(deployment("blue", 2, "v1")).await;
    let pods = eventually("two ready pods", || async {
        Some(cluster.ready().await).filter(|p| p.len() == 2)
    })
    .await;
    let ip = |p: &Pod| p.status.as_ref().unwrap().pod_ip.clone().unwrap();
    let expected: BTreeSet<_> = pods.iter().map(|p| (ip(p), 8080, true)).collect();
    eventually("both to be published", || async {
        let slices = in_slices(&cluster, "blue")
            .await
            .into_iter()
            .map(|(ip, port, ready, _)| (ip, port, ready))
            .collect();
        (in_endpoints(&cluster, "blue").await? == expected && expected == slices).then_some(())
    })
    .await;
    let slice = &slices_of(&cluster, "blue").await[0];
    assert_eq!(slice.address_type, "IPv4");
    assert_eq!(
        slice.metadata.labels.as_ref().unwrap()["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(slice.metadata.owner_references.as_ref().unwrap()[0].kind, "Service");
    for endpoint in slice.endpoints.iter().flatten() {
        let node = endpoint.node_name.clone().unwrap();
        assert_eq!(endpoint.zone, Some(format!("zone-of-{node}")));
    }

    // A pod that is going is kept, not ready, until it is gone.
    let going = pods[0].metadata.name.clone().unwrap();
    cluster.kubelet.held.lock().push(going.clone());
    cluster.api::<Pod>().delete(&going, &Default::default()).await.unwrap();
    eventually("the pod to terminate in the slice and to leave Endpoints", || async {
        let slices = in_slices(&cluster, "blue").await;
        let endpoints = in_endpoints(&cluster, "blue").await?;
        (slices.contains(&(ip(&pods[0]), 8080, false, true))
            && !endpoints.iter().any(|(a, ..)| *a == ip(&pods[0])))
        .then_some(())
    })
    .await;

    // Another label, and the pod is none of the Service's any more.
    let other = pods[1].metadata.name.clone().unwrap();
    cluster.patch::<Pod>(&other, json!({"metadata": {"labels": {"app": "red"}}})).await;
    eventually("the pod to leave", || async {
        let slices = in_slices(&cluster, "blue").await;
        (!slices.iter().any(|(a, ..)| *a == ip(&pods[1]))).then_some(())
    })
    .await;

    cluster.api::<Service>().delete("blue", &Default::default()).await.unwrap();
    eventually("its endpoints and slices to go", || async {
        let slices = slices_of(&cluster, "blue").await;
        (in_endpoints(&cluster, "blue").await.is_none() && slices.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hand_written_endpoints_are_mirrored() {
    let cluster = Cluster::start(&[]).await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "ext"}, "spec": {"ports": [{"port": 80}]}}))
        .await;
    cluster
        .create::<Endpoints>(json!({
            "metadata": {"name": "ext", "labels": {"my": "label"}},
            "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 9000}]}],
        }))
        .await;
    eventually("the mirror", || async {
        let expected = [
            ("192.0.2.1".to_string(), 9000, true, false),
            ("192.0.2.2".to_string(), 9000, false, false),
        ];
        (in_slices(&cluster, "ext").await == expected.into()).then_some(())
    })
    .await;
    let labels = slices_of(&cluster, "ext").await[0].metadata.labels.clone().unwrap();
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    assert_eq!(labels["my"], "label");
    cluster
        .patch::<Endpoints>(
            "ext",
            json!({"subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 9000}]}]}),
        )
        .await;
    eventually("the mirror to follow", || async {
        (in_slices(&cluster, "ext").await == [("192.0.2.7".to_string(), 9000, true, false)].into())
            .then_some(())
    })
    .await;
    cluster.api::<Endpoints>().delete("ext", &Default::default()).await.unwrap();
    eventually("the mirror to go", || async {
        in_slices(&cluster, "ext").await.is_empty().then_some(())
    })
    .await;
    // The API server's own Service was left alone.
    let own = cluster.api::<Service>().get("kubernetes").await.unwrap();
    assert!(own.spec.unwrap().selector.is_none());
}

/// For how many endpoints each zone is, of the Service's slices.
async fn hinted(cluster: &Cluster, service: &str) -> BTreeMap<String, usize> {
    let mut zones = BTreeMap::new();
    for slice in slices_of(cluster, service).await {
        for endpoint in slice.endpoints.iter().flatten() {
            let hints = endpoint.hints.clone().unwrap_or_default();
            for zone in hints.for_zones.into_iter().flatten() {
                *zones.entry(zone.name).or_default() += 1;
            }
        }
    }
    zones
}

#[tokio::test]
async fn hints_by_capacity_follow_nodes_and_annotation() {
    let cluster = Cluster::start(&["worker-1", "worker-2"]).await;
    let mut blue = service("blue", "blue");
    blue["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    // The annotation goes before the field.
    blue["spec"]["trafficDistribution"] = json!("PreferSameNode");
    cluster.create::<Service>(blue).await;
    cluster.create::<Deployment>(deployment("blue", 6, "v1")).await;
    let both = |a, b| [("zone-of-worker-1".to_owned(), a), ("zone-of-worker-2".to_owned(), b)];
    eventually("equal shares", || async {
        (hinted(&cluster, "blue").await == both(3, 3).into()).then_some(())
    })
    .await;
    // Twice the processors, twice the endpoints.
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.client.clone());
    let more = Patch::Merge(json!({"status": {"allocatable": {"cpu": "16"}}}));
    nodes.patch_status("worker-1", &PatchParams::default(), &more).await.unwrap();
    eventually("shares by processors", || async {
        (hinted(&cluster, "blue").await == both(4, 2).into()).then_some(())
    })
    .await;
    cluster
        .patch::<Service>(
            "blue",
            json!({"metadata": {"annotations": null}, "spec": {"trafficDistribution": null}}),
        )
        .await;
    eventually("no hints", || async { hinted(&cluster, "blue").await.is_empty().then_some(()) })
        .await;
    eventually("the events", || async {
        let events = cluster.list::<k8s_openapi::api::core::v1::Event>().await;
        let told = |reason: &str| events.iter().any(|e| e.reason.as_deref() == Some(reason));
        (told("TopologyAwareHintsEnabled") && told("TopologyAwareHintsDisabled")).then_some(())
    })
    .await;
}

/// Load balancers' finalizers can keep a Service for long.
#[tokio::test]
async fn a_service_that_waits_for_its_finalizer_is_still_followed() {
    let cluster = Cluster::start(&["worker-1"]).await;
    let mut blue = service("blue", "blue");
    blue["metadata"]["finalizers"] = json!(["example.com/wait"]);
    cluster.create::<Service>(blue).await;
    cluster.create::<Deployment>(deployment("blue", 2, "v1")).await;
    eventually("two endpoints", || async {
        (in_slices(&cluster, "blue").await.len() == 2).then_some(())
    })
    .await;
    cluster.api::<Service>().delete("blue", &Default::default()).await.unwrap();
    cluster.patch::<Deployment>("blue", json!({"spec": {"replicas": 1}})).await;
    eventually("one endpoint", || async {
        (in_slices(&cluster, "blue").await.len() == 1).then_some(())
    })
    .await;
    cluster.patch::<Service>("blue", json!({"metadata": {"finalizers": null}})).await;
    eventually("nothing", || async { slices_of(&cluster, "blue").await.is_empty().then_some(()) })
        .await;
}

/// A generator of numbers that is the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What one look at Services and pods says should be published: Endpoints by name, slices by name.
async fn naive(
    cluster: &Cluster,
    service: &Service,
) -> (BTreeSet<(String, i32, bool)>, BTreeSet<(String, i32, bool, bool)>) {
    let spec = service.spec.as_ref().unwrap();
    let (mut endpoints, mut slices) = (BTreeSet::new(), BTreeSet::new());
    for pod in cluster.list::<Pod>().await {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        let selected = spec.selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let (Some(ip), true, false) = (status.pod_ip, selected, ended) else { continue };
        let port =
            pod.spec.as_ref().unwrap().containers[0].ports.as_ref().unwrap()[0].container_port;
        let serving =
            status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let all = spec.publish_not_ready_addresses == Some(true);
        slices.insert((ip.clone(), port, all || (serving && !terminating), terminating));
        if all || !terminating {
            endpoints.insert((ip, port, all || serving));
        }
    }
    (endpoints, slices)
}

#[tokio::test]
async fn random_events_end_in_what_one_look_says() {
    for seed in 1..4 {
        let cluster = Cluster::start(&["worker-1", "worker-2"]).await;
        cluster.kubelet.held.lock().push(String::new());
        let mut dice = Dice(seed);
        let apps = ["a", "b", "c"];
        let (mut serial, mut pods): (u64, Vec<String>) = (0, Vec::new());
        for round in 0..6 {
            for _ in 0..40 {
                let app = apps[usize::try_from(dice.roll(3)).unwrap()];
                let pick = (!pods.is_empty())
                    .then(|| pods[usize::try_from(dice.roll(pods.len() as u64)).unwrap()].clone());
                match (dice.roll(10), pick) {
                    (0..=2, _) | (_, None) => {
                        serial += 1;
                        let name = format!("p{serial}");
                        let node = format!("worker-{}", 1 + dice.roll(2));
                        let port = 8080 + dice.roll(3);
                        let ports = json!([{"name": "web", "containerPort": port}]);
                        cluster
                            .create::<Pod>(json!({
                                "metadata": {"name": name, "labels": {"app": app}},
                                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i", "ports": ports}]},
                            }))
                            .await;
                        pods.push(name);
                    }
                    (3..=4, Some(name)) => {
                        let ready = dice.roll(2) == 0;
                        // An address of its own, now and then another one.
                        let ip = format!("10.9.{}.{}", dice.roll(2), &name[1..]);
                        let patch = Patch::Merge(status(&ip, ready));
                        let _ = cluster
                            .api::<Pod>()
                            .patch_status(&name, &PatchParams::default(), &patch)
                            .await;
                    }
                    (5, Some(name)) => {
                        let label = Patch::Merge(json!({"metadata": {"labels": {"app": app}}}));
                        let _ = cluster
                            .api::<Pod>()
                            .patch(&name, &PatchParams::default(), &label)
                            .await;
                    }
                    (6, Some(name)) => {
                        let _ = cluster.api::<Pod>().delete(&name, &Default::default()).await;
                    }
                    (7, Some(name)) => {
                        let now = kube::api::DeleteParams {
                            grace_period_seconds: Some(0),
                            ..Default::default()
                        };
                        let _ = cluster.api::<Pod>().delete(&name, &now).await;
                        pods.retain(|p| *p != name);
                    }
                    (8, Some(_)) => {
                        let name = format!("s-{app}");
                        if cluster.api::<Service>().get_opt(&name).await.unwrap().is_some() {
                            cluster
                                .api::<Service>()
                                .delete(&name, &Default::default())
                                .await
                                .unwrap();
                        } else {
                            let mut new = service(&name, app);
                            new["spec"]["publishNotReadyAddresses"] = json!(dice.roll(2) == 0);
                            cluster.create::<Service>(new).await;
                        }
                    }
                    (_, Some(_)) => {
                        let name = format!("s-{app}");
                        if cluster.api::<Service>().get_opt(&name).await.unwrap().is_some() {
                            let other = apps[usize::try_from(dice.roll(3)).unwrap()];
                            cluster
                                .patch::<Service>(
                                    &name,
                                    json!({"spec": {"selector": {"app": other}}}),
                                )
                                .await;
                        }
                    }
                }
            }
            for app in apps {
                let name = format!("s-{app}");
                let Some(service) = cluster.api::<Service>().get_opt(&name).await.unwrap() else {
                    eventually("nothing to be left of a deleted Service", || async {
                        let none = in_endpoints(&cluster, &name).await.is_none();
                        (none && in_slices(&cluster, &name).await.is_empty()).then_some(())
                    })
                    .await;
                    continue;
                };
                let start = Instant::now();
                loop {
                    let wanted = naive(&cluster, &service).await;
                    let found = (
                        in_endpoints(&cluster, &name).await.unwrap_or_default(),
                        in_slices(&cluster, &name).await,
                    );
                    if found == wanted {
                        break;
                    }
                    let late = start.elapsed().as_secs() > 20;
                    assert!(
                        !late,
                        "seed {seed} round {round} {name}: {found:#?} is not {wanted:#?}"
                    );
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn hand_written_endpoints_go_with_their_service() {
    let cluster = Cluster::start(&[]).await;
    let endpoints = |name: &str| json!({"metadata": {"name": name}, "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 9000}]}]});
    cluster.create::<Endpoints>(endpoints("early")).await;
    cluster.create::<Endpoints>(endpoints("ext")).await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "ext"}, "spec": {"ports": [{"port": 80}]}}))
        .await;
    eventually("the mirror", || async {
        (in_slices(&cluster, "ext").await.len() == 1).then_some(())
    })
    .await;
    cluster.api::<Service>().delete("ext", &Default::default()).await.unwrap();
    eventually("both to go", || async {
        let none = in_endpoints(&cluster, "ext").await.is_none();
        (none && in_slices(&cluster, "ext").await.is_empty()).then_some(())
    })
    .await;
    assert!(in_endpoints(&cluster, "early").await.is_some(), "it may be waiting for its Service");
}

/// The time from a pod's readiness to both objects that publish it.
#[tokio::test]
async fn a_change_is_published_within_milliseconds() {
    let cluster = Cluster::start(&["worker-1"]).await;
    cluster.create::<Service>(service("blue", "blue")).await;
    cluster.create::<Deployment>(deployment("blue", 1, "v1")).await;
    let pod = eventually("a ready pod", || async { cluster.ready().await.pop() }).await;
    let name = pod.metadata.name.unwrap();
    let mut endpoints = watcher(cluster.api::<Endpoints>(), Default::default()).boxed();
    let mut slices = watcher(cluster.api::<EndpointSlice>(), Default::default()).boxed();
    let is = |ready: bool, subsets: &Option<Vec<EndpointSubset>>| {
        subsets
            .iter()
            .flatten()
            .any(|s| if ready { s.addresses.is_some() } else { s.not_ready_addresses.is_some() })
    };
    let mut took = Vec::new();
    for round in 0..31 {
        let ready = round % 2 == 1;
        let state = if ready { "True" } else { "False" };
        let patch = Patch::Strategic(
            json!({"status": {"conditions": [{"type": "Ready", "status": state}]}}),
        );
        let start = Instant::now();
        cluster.api::<Pod>().patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        let in_endpoints = async {
            loop {
                if let Some(Ok(Event::Apply(e) | Event::InitApply(e))) = endpoints.next().await
                    && e.metadata.name.as_deref() == Some("blue")
                    && is(ready, &e.subsets)
                {
                    return;
                }
            }
        };
        let in_slices = async {
            loop {
                if let Some(Ok(Event::Apply(s) | Event::InitApply(s))) = slices.next().await
                    && s.metadata.generate_name.as_deref() == Some("blue-")
                    && s.endpoints
                        .iter()
                        .flatten()
                        .any(|e| e.conditions.as_ref().unwrap().ready == Some(ready))
                {
                    return;
                }
            }
        };
        let both = async { tokio::join!(in_endpoints, in_slices) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("published");
        took.push(start.elapsed());
    }
    took.sort();
    let median = took[took.len() / 2];
    eprintln!("published after {median:?} (median of {})", took.len());
}
