//! The conditions of Services follow what is so, and nothing is written while it stays so.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{Event, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::support::{Cluster, deployment, eventually, service};

async fn condition(cluster: &Cluster, service: &str, kind: &str) -> Option<Condition> {
    let service = cluster.api::<Service>().get(service).await.unwrap();
    service.status?.conditions?.into_iter().find(|c| c.type_ == kind)
}

/// Waits for the condition's reason; gives its status and message.
async fn reason(cluster: &Cluster, service: &str, kind: &str, reason: &str) -> (String, String) {
    eventually(&format!("{kind} of {service} for {reason}"), || async {
        let condition = condition(cluster, service, kind).await?;
        (condition.reason == reason).then_some((condition.status, condition.message))
    })
    .await
}

async fn version(cluster: &Cluster, service: &str) -> String {
    cluster.api::<Service>().get(service).await.unwrap().metadata.resource_version.unwrap()
}

/// The reasons of the events about a Service.
async fn told(cluster: &Cluster, service: &str) -> Vec<String> {
    let events = cluster.list::<Event>().await.into_iter();
    let mine = events.filter(|e| e.involved_object.name.as_deref() == Some(service));
    mine.filter_map(|e| e.reason).collect()
}

#[tokio::test]
async fn endpoints_ready_follows_the_pods() {
    let cluster = Cluster::start(&["worker-1"]).await;
    cluster.kubelet.broken.lock().push("blue".into());
    cluster.create::<Service>(service("blue", "blue")).await;
    let (status, message) = reason(&cluster, "blue", "EndpointsReady", "NoPodsSelected").await;
    assert_eq!((status.as_str(), message.contains("app=blue")), ("False", true), "{message}");
    cluster.create::<Deployment>(deployment("blue", 2, "v1")).await;
    let (_, message) = reason(&cluster, "blue", "EndpointsReady", "PodsNotReady").await;
    assert!(message.contains("None of the 2 pods"), "{message}");
    // It lasts, so it is told once.
    eventually("an event", || async {
        told(&cluster, "blue").await.contains(&"PodsNotReady".to_owned()).then_some(())
    })
    .await;
    let pods = cluster.pods().await;
    for pod in &pods {
        let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let patch = Patch::Strategic(patch);
        let api = cluster.api::<Pod>();
        api.patch_status(pod, &PatchParams::default(), &patch).await.unwrap();
    }
    let (status, _) = reason(&cluster, "blue", "EndpointsReady", "EndpointsReady").await;
    assert_eq!(status, "True");
    let since = condition(&cluster, "blue", "EndpointsReady").await.unwrap().last_transition_time;
    eventually("the good news", || async {
        told(&cluster, "blue").await.contains(&"EndpointsReady".to_owned()).then_some(())
    })
    .await;

    // One pod more or less is no news of the Service's.
    let before = version(&cluster, "blue").await;
    let patch =
        Patch::Strategic(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    let api = cluster.api::<Pod>();
    api.patch_status(&pods[0], &PatchParams::default(), &patch).await.unwrap();
    eventually("the slice to say so", || async {
        let slices = cluster.list::<EndpointSlice>().await;
        let endpoints = slices.iter().flat_map(|s| s.endpoints.iter().flatten());
        let ready = endpoints.filter(|e| e.conditions.as_ref().unwrap().ready == Some(true));
        // Of the API server's own Service, one more.
        (ready.filter(|e| e.target_ref.is_some()).count() == 1).then_some(())
    })
    .await;
    // Another Service of the same pods is judged later than this one.
    cluster.create::<Service>(service("late", "blue")).await;
    reason(&cluster, "late", "EndpointsReady", "EndpointsReady").await;
    assert_eq!(version(&cluster, "blue").await, before);
    let still = condition(&cluster, "blue", "EndpointsReady").await.unwrap().last_transition_time;
    assert_eq!(still, since);
    cluster.patch::<Service>("blue", json!({"spec": {"selector": {"app": "red"}}})).await;
    let (status, _) = reason(&cluster, "blue", "EndpointsReady", "NoPodsSelected").await;
    assert_eq!(status, "False");
}

/// What a node's proxy writes.
async fn report(cluster: &Cluster, node: &str, services: &str, slices: &str) {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let name = format!("portolan-proxy.{node}");
    let mut lease = json!({
        "metadata": {"name": name, "labels": {"portolan/component": "proxy"}, "annotations": {
            "portolan/applied-services": services, "portolan/applied-endpointslices": slices,
        }},
        "spec": {"holderIdentity": node},
    });
    if api.get_opt(&name).await.unwrap().is_some() {
        lease["metadata"].as_object_mut().unwrap().remove("name");
        api.patch(&name, &PatchParams::default(), &Patch::Merge(lease)).await.unwrap();
    } else {
        let lease = serde_json::from_value(lease).unwrap();
        api.create(&PostParams::default(), &lease).await.unwrap();
    }
}

#[tokio::test]
async fn programmed_waits_for_every_node() {
    let cluster = Cluster::start(&["worker-1", "worker-2"]).await;
    cluster.create::<Service>(service("blue", "blue")).await;
    let (status, _) = reason(&cluster, "blue", "Programmed", "NotReported").await;
    assert_eq!(status, "Unknown");
    let far = "1000000000";
    report(&cluster, "worker-1", far, far).await;
    report(&cluster, "worker-2", "1", "1").await;
    // The second one lags.
    cluster.patch::<Service>("blue", json!({"spec": {"ports": [{"port": 81}]}})).await;
    let (status, _) = reason(&cluster, "blue", "Programmed", "Applying").await;
    assert_eq!(status, "False");
    let (_, message) = reason(&cluster, "blue", "Programmed", "NodesLagging").await;
    assert!(message.starts_with("1 of 2") && message.ends_with(": worker-2"), "{message}");
    report(&cluster, "worker-2", far, far).await;
    let (status, _) = reason(&cluster, "blue", "Programmed", "Programmed").await;
    assert_eq!(status, "True");
    // Statuses written by others and by us are no reason to wait for anybody again.
    let before = version(&cluster, "blue").await;
    report(&cluster, "worker-2", "1000000001", far).await;
    cluster.create::<Service>(service("other", "blue")).await;
    reason(&cluster, "other", "Programmed", "Programmed").await;
    assert_eq!(version(&cluster, "blue").await, before);

    // The report goes with its node.
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.delete("worker-2", &Default::default()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    eventually("the report to go", || async {
        leases.get_opt("portolan-proxy.worker-2").await.unwrap().is_none().then_some(())
    })
    .await;
    // Where proxies have nothing to do, nothing is said.
    let mut headless = service("headless", "blue");
    headless["spec"]["clusterIP"] = json!("None");
    cluster.create::<Service>(headless).await;
    reason(&cluster, "headless", "EndpointsReady", "NoPodsSelected").await;
    assert_eq!(condition(&cluster, "headless", "Programmed").await, None);
}

#[tokio::test]
async fn a_load_balancer_says_who_is_waited_for() {
    let cluster = Cluster::start(&[]).await;
    let mut balancer = service("lb", "blue");
    balancer["spec"]["type"] = json!("LoadBalancer");
    balancer["spec"]["loadBalancerClass"] = json!("example.com/none");
    cluster.create::<Service>(balancer).await;
    reason(&cluster, "lb", "LoadBalancerReady", "Pending").await;
    let (status, message) = reason(&cluster, "lb", "LoadBalancerReady", "NoController").await;
    assert_eq!((status.as_str(), message.contains("example.com/none")), ("False", true));
    eventually("an event", || async {
        told(&cluster, "lb").await.contains(&"NoController".to_owned()).then_some(())
    })
    .await;
    // Somebody else's status and condition stay.
    let theirs = json!({"status": {
        "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
        "conditions": [{"type": "example.com/Own", "status": "True", "reason": "A", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    let api = cluster.api::<Service>();
    api.patch_status("lb", &PatchParams::default(), &Patch::Strategic(theirs)).await.unwrap();
    let (status, message) = reason(&cluster, "lb", "LoadBalancerReady", "AddressAssigned").await;
    assert_eq!((status.as_str(), message.contains("192.0.2.1")), ("True", true));
    assert!(condition(&cluster, "lb", "example.com/Own").await.is_some());
    let status = api.get("lb").await.unwrap().status.unwrap();
    assert_eq!(status.load_balancer.unwrap().ingress.unwrap()[0].ip.as_deref(), Some("192.0.2.1"));
    cluster
        .patch::<Service>("lb", json!({"spec": {"type": "ClusterIP", "loadBalancerClass": null}}))
        .await;
    eventually("the condition to go", || async {
        condition(&cluster, "lb", "LoadBalancerReady").await.is_none().then_some(())
    })
    .await;
}
