//! What goes with its owner or its namespace, and what stays.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Pod, ServiceAccount},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::support::{Cluster, deployment, eventually};

#[tokio::test]
async fn foreground_deletion_ends_with_the_owner() {
    let cluster = Cluster::start(&["worker-1"]).await;
    cluster.create::<Deployment>(deployment("web", 2, "v1")).await;
    eventually("two ready pods", || async { (cluster.ready().await.len() == 2).then_some(()) })
        .await;
    cluster.kubelet.held.lock().push("web-".into());
    cluster.api::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    eventually("the pods to be deleted", || async {
        let pods = cluster.list::<Pod>().await;
        pods.iter().all(|p| p.metadata.deletion_timestamp.is_some()).then_some(())
    })
    .await;
    assert!(
        cluster.api::<Deployment>().get_opt("web").await.unwrap().is_some(),
        "it waits for its pods"
    );
    cluster.kubelet.held.lock().clear();
    for name in cluster.pods().await {
        let now = DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
        let _ = cluster.api::<Pod>().delete(&name, &now).await;
    }
    eventually("the owner to go", || async {
        cluster.api::<Deployment>().get_opt("web").await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(cluster.list::<ReplicaSet>().await.is_empty());
}

#[tokio::test]
async fn orphans_stay() {
    let cluster = Cluster::start(&["worker-1"]).await;
    cluster.create::<Deployment>(deployment("web", 1, "v1")).await;
    eventually("a ready pod", || async { (cluster.ready().await.len() == 1).then_some(()) }).await;
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..Default::default()
    };
    cluster.api::<Deployment>().delete("web", &orphan).await.unwrap();
    let set = eventually("the set without its owner", || async {
        let gone = cluster.api::<Deployment>().get_opt("web").await.unwrap().is_none();
        let set = cluster.list::<ReplicaSet>().await.pop()?;
        (gone && set.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)).then_some(set)
    })
    .await;
    // A new Deployment of the same selector takes it over.
    cluster.create::<Deployment>(deployment("web", 1, "v1")).await;
    eventually("the set to be adopted", || async {
        let now =
            cluster.api::<ReplicaSet>().get(set.metadata.name.as_ref().unwrap()).await.unwrap();
        now.metadata.owner_references.is_some_and(|o| !o.is_empty()).then_some(())
    })
    .await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 1);
}

#[tokio::test]
async fn an_object_whose_owner_never_was_goes() {
    let cluster = Cluster::start(&[]).await;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "0000"}]);
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "child", "ownerReferences": owner}}))
        .await;
    eventually("it to go", || async {
        cluster.api::<ConfigMap>().get_opt("child").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_namespace_has_its_things_and_goes_with_all_of_them() {
    let cluster = Cluster::start(&["worker-1"]).await;
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let new: Namespace = serde_json::from_value(json!({"metadata": {"name": "tmp"}})).unwrap();
    api.create(&PostParams::default(), &new).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "tmp");
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "tmp");
    eventually("account and CA", || async {
        let ca = maps.get_opt("kube-root-ca.crt").await.unwrap()?.data?;
        assert_eq!(ca["ca.crt"], "the CA");
        accounts.get_opt("default").await.unwrap()
    })
    .await;
    maps.delete("kube-root-ca.crt", &Default::default()).await.unwrap();
    eventually("the CA to be back", || async { maps.get_opt("kube-root-ca.crt").await.unwrap() })
        .await;

    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "tmp");
    let new: Deployment = serde_json::from_value(deployment("web", 2, "v1")).unwrap();
    deployments.create(&PostParams::default(), &new).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "tmp");
    eventually("pods", || async {
        let pods = pods.list(&Default::default()).await.unwrap().items;
        (pods.len() == 2 && pods.iter().all(portolan_controllers::pod::is_ready)).then_some(())
    })
    .await;
    api.delete("tmp", &Default::default()).await.unwrap();
    eventually("the namespace to go", || async {
        api.get_opt("tmp").await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(pods.list(&Default::default()).await.unwrap().items.is_empty());
    assert!(deployments.list(&Default::default()).await.unwrap().items.is_empty());
}

/// Random forests of owners lose random trees: what remains has an owner that lives, or never had one.
#[tokio::test]
async fn what_remains_has_an_owner_that_lives() {
    let cluster = Cluster::start(&[]).await;
    for seed in 1..4u64 {
        let mut dice = seed;
        let mut roll = |sides: usize| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(dice >> 33).unwrap() % sides
        };
        let (mut alive, mut owners): (Vec<(String, String)>, Vec<Vec<usize>>) =
            (Vec::new(), Vec::new());
        for at in 0..30 {
            let name = format!("s{seed}-{at:02}");
            let mut mine: Vec<usize> = Vec::new();
            if at > 5 {
                mine = (0..=roll(2)).map(|_| roll(at)).collect();
                mine.sort_unstable();
                mine.dedup();
            }
            let reference = |o: &usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": alive[*o].0, "uid": alive[*o].1, "blockOwnerDeletion": true});
            let references: Vec<_> = mine.iter().map(reference).collect();
            let made = cluster
                .create::<ConfigMap>(
                    json!({"metadata": {"name": name, "ownerReferences": references}}),
                )
                .await;
            alive.push((name, made.metadata.uid.unwrap()));
            owners.push(mine);
        }
        let mut gone: Vec<bool> = vec![false; alive.len()];
        for _ in 0..4 {
            let at = roll(alive.len());
            gone[at] = true;
            let params =
                if roll(2) == 0 { DeleteParams::foreground() } else { DeleteParams::background() };
            let _ = cluster.api::<ConfigMap>().delete(&alive[at].0, &params).await;
        }
        // Owners come before what they own.
        for at in 0..alive.len() {
            gone[at] |= !owners[at].is_empty() && owners[at].iter().all(|o| gone[*o]);
        }
        let expected: Vec<_> =
            alive.iter().zip(&gone).filter(|(_, g)| !**g).map(|((n, _), _)| n.clone()).collect();
        eventually("the others to go", || async {
            let prefix = format!("s{seed}-");
            let maps =
                cluster.list::<ConfigMap>().await.into_iter().filter_map(|m| m.metadata.name);
            let mut left: Vec<_> = maps.filter(|n| n.starts_with(&prefix)).collect();
            left.sort();
            (left == expected).then_some(())
        })
        .await;
    }
}
