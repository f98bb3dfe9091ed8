//! Nodes get pod networks; silent ones lose their pods.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Endpoints, Node, Pod, Service},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use portolan_controllers::Config;
use serde_json::json;

use crate::support::{Cluster, config, deployment, eventually, service};

#[tokio::test]
async fn every_node_gets_its_own_networks() {
    let names = ["n1", "n2", "n3", "n4"];
    let cluster = Cluster::start(&names).await;
    let api: Api<Node> = Api::all(cluster.client.clone());
    let nodes = eventually("all nodes to have networks", || async {
        let nodes = api.list(&Default::default()).await.unwrap().items;
        let all = nodes.iter().all(|n| {
            n.spec.as_ref().is_some_and(|s| s.pod_cidrs.as_ref().is_some_and(|c| c.len() == 2))
        });
        all.then_some(nodes)
    })
    .await;
    let first: BTreeSet<_> =
        nodes.iter().map(|n| n.spec.as_ref().unwrap().pod_cidr.clone().unwrap()).collect();
    let expected: BTreeSet<_> = (0..4).map(|i| format!("10.244.{i}.0/24")).collect();
    assert_eq!(first, expected);
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_is_placed_when_it_can() {
    let cluster = Cluster::start(&["worker-1"]).await;
    cluster
        .create::<Pod>(json!({"metadata": {"name": "picky"}, "spec": {
            "nodeSelector": {"disk": "ssd"}, "containers": [{"name": "c", "image": "i"}],
        }}))
        .await;
    eventually("the condition", || async {
        let pod = cluster.api::<Pod>().get("picky").await.unwrap();
        let conditions = pod.status?.conditions?;
        let said = conditions.iter().find(|c| c.type_ == "PodScheduled")?;
        let message =
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
        assert_eq!(
            (said.reason.as_deref(), said.message.as_deref()),
            (Some("Unschedulable"), Some(message))
        );
        Some(())
    })
    .await;
    let api: Api<Node> = Api::all(cluster.client.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"disk": "ssd"}}}));
    api.patch("worker-1", &PatchParams::default(), &label).await.unwrap();
    eventually("the pod to run", || async { (cluster.ready().await.len() == 1).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_silent_node_loses_traffic_and_pods() {
    let cluster = Cluster::bare(&["worker-1"]).await;
    cluster.control(Config { node_monitor_grace_period: Duration::from_secs(1), ..config() });
    cluster.create::<Service>(service("blue", "blue")).await;
    cluster.create::<Deployment>(deployment("blue", 1, "v1")).await;
    let api: Api<Node> = Api::all(cluster.client.clone());
    eventually("the node to be tainted", || async {
        let node = api.get("worker-1").await.unwrap();
        let ready = node.status?.conditions?.into_iter().find(|c| c.type_ == "Ready")?;
        let taints = node.spec?.taints.unwrap_or_default();
        let unreachable =
            taints.iter().filter(|t| t.key == "node.kubernetes.io/unreachable").count();
        (ready.status == "Unknown"
            && ready.reason.as_deref() == Some("NodeStatusUnknown")
            && unreachable == 2)
            .then_some(())
    })
    .await;
    eventually("no address to be ready", || async {
        let endpoints = cluster.api::<Endpoints>().get_opt("blue").await.unwrap()?;
        endpoints
            .subsets
            .iter()
            .flatten()
            .all(|s| s.addresses.as_ref().is_none_or(Vec::is_empty))
            .then_some(())
    })
    .await;
    // It speaks again: the taints go.
    let beat = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2030-01-01T00:00:00Z"}]}});
    api.patch_status("worker-1", &PatchParams::default(), &Patch::Strategic(beat)).await.unwrap();
    eventually("the taints to go", || async {
        let node = api.get("worker-1").await.unwrap();
        node.spec.unwrap_or_default().taints.unwrap_or_default().is_empty().then_some(())
    })
    .await;
}
