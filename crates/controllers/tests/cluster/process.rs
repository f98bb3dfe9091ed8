//! The controllers as a process: restarts, and one of several that leads.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::Api;
use portolan_controllers::{Config, Metrics};
use serde_json::json;

use crate::support::{Cluster, config, deployment, eventually};

#[tokio::test]
async fn restarts_at_any_moment_never_make_too_many_pods() {
    let cluster = Cluster::bare(&["worker-1", "worker-2"]).await;
    cluster.create::<Deployment>(deployment("web", 0, "v1")).await;
    let mut most = 0;
    for round in 0..12u64 {
        let size = 4 + (round % 3) * 3;
        cluster.patch::<Deployment>("web", json!({"spec": {"replicas": size}})).await;
        let (stop, run) = cluster.control(config());
        for _ in 0..round * 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            most = most.max(
                cluster
                    .list::<k8s_openapi::api::core::v1::Pod>()
                    .await
                    .iter()
                    .filter(|p| p.metadata.deletion_timestamp.is_none())
                    .count(),
            );
        }
        stop.cancel();
        run.await.unwrap().unwrap();
    }
    assert!(most <= 10, "{most} pods where 10 are the most");
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 3}})).await;
    cluster.control(config());
    eventually("three pods", || async {
        (cluster.pods().await.len() == 3 && cluster.ready().await.len() == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_of_two_leads_and_the_other_follows_on() {
    let cluster = Cluster::bare(&["worker-1"]).await;
    let candidate = |name: &str| Config {
        leader_elect: true,
        identity: name.into(),
        metrics: Metrics::default(),
        ..config()
    };
    let first = candidate("first");
    let second = candidate("second");
    let (m1, m2) = (first.metrics.clone(), second.metrics.clone());
    let (stop, run) = cluster.control(first);
    eventually("the first to lead", || async { m1.health().synced.then_some(()) }).await;
    cluster.control(second);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!m2.health().leading);
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-system");
    let holder = || async {
        leases.get("kube-controller-manager").await.unwrap().spec.unwrap().holder_identity
    };
    assert_eq!(holder().await.as_deref(), Some("first"));
    stop.cancel();
    run.await.unwrap().unwrap();
    eventually("the second to lead", || async { m2.health().leading.then_some(()) }).await;
    assert_eq!(holder().await.as_deref(), Some("second"));
    cluster.create::<Deployment>(deployment("web", 1, "v1")).await;
    eventually("the second to work", || async { (cluster.ready().await.len() == 1).then_some(()) })
        .await;
    assert!(m2.health().queues.iter().any(|q| q.name == "deployment"));
}
