//! Workloads make, replace and remove pods.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    core::v1::{Event, Pod, ReplicationController},
};
use serde_json::json;

use crate::support::{Cluster, deployment, eventually, template};

fn reason(d: &Deployment, kind: &str) -> Option<String> {
    let conditions = d.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == kind)?.reason.clone()
}

#[tokio::test]
async fn a_deployment_spreads_heals_rolls_out_and_goes() {
    let cluster = Cluster::start(&["control-plane", "worker-1", "worker-2"]).await;
    cluster.create::<Deployment>(deployment("web", 2, "v1")).await;
    let pods = eventually("two ready pods", || async {
        Some(cluster.ready().await).filter(|p| p.len() == 2)
    })
    .await;
    let nodes: BTreeSet<_> =
        pods.iter().map(|p| p.spec.as_ref().unwrap().node_name.clone().unwrap()).collect();
    assert_eq!(nodes, ["worker-1".to_string(), "worker-2".to_string()].into());
    eventually("the rollout to be complete", || async {
        let d = cluster.api::<Deployment>().get("web").await.unwrap();
        let status = d.status.as_ref()?;
        (status.available_replicas == Some(2)
            && status.observed_generation == d.metadata.generation
            && reason(&d, "Progressing")? == "NewReplicaSetAvailable")
            .then_some(())
    })
    .await;

    let lost = pods[0].metadata.name.clone().unwrap();
    cluster.api::<Pod>().delete(&lost, &Default::default()).await.unwrap();
    eventually("the lost pod to be replaced", || async {
        let ready = cluster.ready().await;
        (ready.len() == 2 && ready.iter().all(|p| p.metadata.name.as_ref() != Some(&lost)))
            .then_some(())
    })
    .await;

    let image = json!({"spec": {"template": template("web", "v2")}});
    cluster.patch::<Deployment>("web", image).await;
    eventually("all pods to be new", || async {
        let d = cluster.api::<Deployment>().get("web").await.unwrap();
        let new = |p: &Pod| p.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("v2");
        let pods = cluster.list::<Pod>().await;
        (pods.len() == 2 && pods.iter().all(new) && d.status?.updated_replicas == Some(2))
            .then_some(())
    })
    .await;
    let sets = cluster.list::<ReplicaSet>().await;
    let sizes: BTreeSet<_> =
        sets.iter().map(|s| s.spec.as_ref().unwrap().replicas.unwrap()).collect();
    assert_eq!((sets.len(), sizes), (2, [0, 2].into()));
    let d = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(d.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "2");

    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 5}})).await;
    eventually("five pods", || async { (cluster.ready().await.len() == 5).then_some(()) }).await;
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 1}})).await;
    eventually("one pod", || async { (cluster.pods().await.len() == 1).then_some(()) }).await;

    eventually("events that tell of it", || async {
        let said: BTreeSet<_> =
            cluster.list::<Event>().await.into_iter().filter_map(|e| e.reason).collect();
        ["ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete", "Scheduled"]
            .iter()
            .all(|r| said.contains(*r))
            .then_some(())
    })
    .await;

    cluster.api::<Deployment>().delete("web", &Default::default()).await.unwrap();
    eventually("everything of it to be gone", || async {
        (cluster.pods().await.is_empty() && cluster.list::<ReplicaSet>().await.is_empty())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stateful_set_keeps_names_and_order() {
    let cluster = Cluster::start(&["worker-1", "worker-2"]).await;
    cluster
        .create::<StatefulSet>(json!({
            "metadata": {"name": "db"},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template("db", "v1")},
        }))
        .await;
    let pods =
        eventually("three pods", || async { Some(cluster.ready().await).filter(|p| p.len() == 3) })
            .await;
    let mut last = None;
    for (ordinal, pod) in pods.iter().enumerate() {
        let name = format!("db-{ordinal}");
        assert_eq!(pod.metadata.name.as_deref(), Some(name.as_str()));
        let labels = pod.metadata.labels.as_ref().unwrap();
        assert_eq!(labels["statefulset.kubernetes.io/pod-name"], name);
        assert_eq!(labels["apps.kubernetes.io/pod-index"], ordinal.to_string());
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(
            (spec.hostname.as_deref(), spec.subdomain.as_deref()),
            (Some(name.as_str()), Some("db"))
        );
        let version: u64 = pod.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        assert!(last.is_none_or(|l| l < version), "in order");
        last = Some(version);
    }

    let uid = pods[1].metadata.uid.clone();
    cluster.api::<Pod>().delete("db-1", &Default::default()).await.unwrap();
    eventually("db-1 to be back", || async {
        let ready = cluster.ready().await;
        ready
            .iter()
            .any(|p| p.metadata.name.as_deref() == Some("db-1") && p.metadata.uid != uid)
            .then_some(())
    })
    .await;

    cluster.patch::<StatefulSet>("db", json!({"spec": {"template": template("db", "v2")}})).await;
    let set = eventually("the update to be complete", || async {
        let set = cluster.api::<StatefulSet>().get("db").await.unwrap();
        let status = set.status.as_ref()?;
        (status.updated_replicas == Some(3)
            && status.ready_replicas == Some(3)
            && status.observed_generation == set.metadata.generation
            && status.current_revision == status.update_revision)
            .then_some(set)
    })
    .await;
    for pod in cluster.ready().await {
        assert_eq!(pod.spec.as_ref().unwrap().containers[0].image.as_deref(), Some("v2"));
        let revision =
            pod.metadata.labels.as_ref().unwrap().get("controller-revision-hash").cloned();
        assert_eq!(revision, set.status.as_ref().unwrap().update_revision);
    }

    cluster.patch::<StatefulSet>("db", json!({"spec": {"replicas": 1}})).await;
    eventually("only db-0 to be left", || async {
        (cluster.pods().await == ["db-0"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replication_controller_adopts_and_releases() {
    let cluster = Cluster::start(&["worker-1"]).await;
    let loose = json!({"metadata": {"name": "loose", "labels": {"app": "old"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}});
    cluster.create::<Pod>(loose).await;
    cluster
        .create::<ReplicationController>(json!({
            "metadata": {"name": "rc"}, "spec": {"replicas": 2, "selector": {"app": "old"}, "template": template("old", "v1")},
        }))
        .await;
    eventually("the loose pod and one more", || async {
        let pods = cluster.ready().await;
        let owned = pods
            .iter()
            .all(|p| p.metadata.owner_references.as_ref().is_some_and(|o| o[0].name == "rc"));
        (pods.len() == 2 && owned).then_some(())
    })
    .await;
    cluster.patch::<Pod>("loose", json!({"metadata": {"labels": {"app": "free"}}})).await;
    eventually("the pod to be let go, and replaced", || async {
        let pods = cluster.ready().await;
        let loose = pods.iter().find(|p| p.metadata.name.as_deref() == Some("loose"))?;
        (pods.len() == 3 && loose.metadata.owner_references.as_ref().is_none_or(Vec::is_empty))
            .then_some(())
    })
    .await;
    eventually("the status to say so", || async {
        let rc = cluster.api::<ReplicationController>().get("rc").await.unwrap();
        (rc.status?.ready_replicas == Some(2)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_daemon_set_runs_on_every_node_that_it_fits() {
    let cluster = Cluster::start(&["worker-1", "worker-2"]).await;
    let set = |image: &str| {
        json!({
            "metadata": {"name": "agent"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", image)},
        })
    };
    cluster.create::<DaemonSet>(set("v1")).await;
    let nodes = |pods: &[Pod]| -> BTreeSet<String> {
        pods.iter().filter_map(|p| p.spec.as_ref()?.node_name.clone()).collect()
    };
    eventually("a pod on each node", || async {
        (nodes(&cluster.ready().await).len() == 2).then_some(())
    })
    .await;
    cluster.add_node("worker-3").await;
    eventually("a pod on the new node", || async {
        (nodes(&cluster.ready().await).len() == 3).then_some(())
    })
    .await;
    cluster.patch::<DaemonSet>("agent", set("v2")).await;
    eventually("the update to be complete", || async {
        let set = cluster.api::<DaemonSet>().get("agent").await.unwrap();
        let status = set.status?;
        let new = |p: &Pod| p.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("v2");
        let done = status.updated_number_scheduled == Some(3)
            && status.number_available == Some(3)
            && status.observed_generation == set.metadata.generation;
        (done && cluster.list::<Pod>().await.iter().all(new)).then_some(())
    })
    .await;
    cluster.api::<DaemonSet>().delete("agent", &Default::default()).await.unwrap();
    eventually("its pods to go", || async { cluster.pods().await.is_empty().then_some(()) }).await;
}
