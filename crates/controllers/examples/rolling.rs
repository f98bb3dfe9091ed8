//! Rolls a Deployment of many pods behind a Service, in process against the real API server, and
//! prints what the endpoint controllers wrote for it, as one line of JSON.
//!
//! `cargo run --release -p portolan-controllers --example rolling -- 1000`

#![expect(clippy::print_stdout, reason = "the result is what it is for")]

#[path = "../tests/cluster/support.rs"]
#[allow(dead_code)]
mod support;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Endpoints, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Resource,
    runtime::watcher::{self, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use support::{Cluster, deployment, service};

const NODES: usize = 20;

/// Writes of one resource, and their size as JSON.
#[derive(Default)]
struct Writes {
    count: AtomicU64,
    bytes: AtomicU64,
    largest: AtomicU64,
}

impl Writes {
    fn note(&self, object: &impl Serialize) {
        let size = serde_json::to_vec(object).map_or(0, |bytes| bytes.len() as u64);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.largest.fetch_max(size, Ordering::Relaxed);
    }

    fn take(&self) -> serde_json::Value {
        json!({
            "writes": self.count.swap(0, Ordering::Relaxed),
            "bytes": self.bytes.swap(0, Ordering::Relaxed),
            "largest": self.largest.swap(0, Ordering::Relaxed),
        })
    }
}

/// Counts the writes of the objects that belong to the Service `blue`.
fn count<K>(cluster: &Cluster) -> Arc<Writes>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let writes = Arc::new(Writes::default());
    let counted = writes.clone();
    let mut events = watcher(cluster.api::<K>(), watcher::Config::default()).boxed();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) = event else {
                continue;
            };
            if object.meta().name.as_deref().is_some_and(|name| name.starts_with("blue")) {
                counted.note(&object);
            }
        }
    });
    writes
}

async fn all_ready(cluster: &Cluster, replicas: i32, generation: i64) {
    loop {
        let deployment = cluster.api::<Deployment>().get("blue").await.expect("the Deployment");
        let status = deployment.status.unwrap_or_default();
        if status.observed_generation == Some(generation)
            && status.updated_replicas == Some(replicas)
            && status.ready_replicas == Some(replicas)
            && status.replicas == Some(replicas)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until nothing was written for a second.
async fn quiet(writes: &[&Arc<Writes>]) {
    let sum = || writes.iter().map(|w| w.count.load(Ordering::Relaxed)).sum::<u64>();
    let mut last = sum();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = sum();
        if now == last {
            return;
        }
        last = now;
    }
}

#[tokio::main]
async fn main() {
    let pods: i32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1000);
    let names: Vec<_> = (0..NODES).map(|n| format!("worker-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cluster = Cluster::bare(&names).await;
    let enough =
        json!({"status": {"allocatable": {"cpu": "1000", "memory": "1Ti", "pods": "10000"}}});
    for name in &names {
        let nodes: kube::Api<k8s_openapi::api::core::v1::Node> =
            kube::Api::all(cluster.client.clone());
        let patch = kube::api::Patch::Merge(&enough);
        nodes.patch_status(name, &Default::default(), &patch).await.expect("room on the node");
    }
    // Nobody renews the Leases of these nodes: they would be taken for lost before a slow machine
    // has rolled its pods, and then no pod goes there any more.
    let patience = Duration::from_secs(24 * 3600);
    cluster.control(portolan_controllers::Config {
        node_monitor_grace_period: patience,
        node_startup_grace_period: patience,
        ..support::config()
    });
    let slices = count::<EndpointSlice>(&cluster);
    let endpoints = count::<Endpoints>(&cluster);
    let services = count::<Service>(&cluster);
    let changes = count::<Pod>(&cluster);
    let watched = [&slices, &endpoints, &services, &changes];
    cluster.create::<Service>(service("blue", "blue")).await;
    cluster.create::<Deployment>(deployment("blue", pods, "v1")).await;
    all_ready(&cluster, pods, 1).await;
    quiet(&watched).await;
    watched.iter().for_each(|writes| drop(writes.take()));

    let start = Instant::now();
    let image = json!({"spec": {"template": support::template("blue", "v2")}});
    cluster.patch::<Deployment>("blue", image).await;
    all_ready(&cluster, pods, 2).await;
    let took = start.elapsed();
    quiet(&watched).await;
    let held = cluster.list::<EndpointSlice>().await.into_iter();
    let held = held.filter(|s| s.metadata.generate_name.as_deref() == Some("blue-")).count();
    let result = json!({
        "pods": pods, "seconds": took.as_secs_f64(), "slices": held,
        "pod": changes.take(), "endpointSlice": slices.take(),
        "endpoints": endpoints.take(), "service": services.take(),
    });
    println!("{result}");
}
