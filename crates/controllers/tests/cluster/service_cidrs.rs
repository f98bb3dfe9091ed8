//! Ranges become ready, and stay as long as an address needs them.

use k8s_openapi::api::{core::v1::Service, networking::v1::ServiceCIDR};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::support::{Cluster, eventually};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

struct Ranges(Api<ServiceCIDR>);

impl Ranges {
    async fn add(&self, name: &str, cidr: &str) {
        let range = json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
        let range = serde_json::from_value(range).unwrap();
        self.0.create(&PostParams::default(), &range).await.expect("the range is added");
    }

    /// Status, reason and message of the condition, once the finalizer is there too.
    async fn ready(&self, name: &str) -> Option<(String, String, String)> {
        let range = self.0.get(name).await.unwrap();
        let ready = range.status?.conditions?.into_iter().find(|c| c.type_ == "Ready")?;
        let protected = range.metadata.finalizers?.iter().any(|finalizer| finalizer == FINALIZER);
        protected.then_some((ready.status, ready.reason, ready.message))
    }

    async fn becomes(&self, name: &str, expected: (&str, &str, &str)) {
        let (status, reason, message) = expected;
        let expected = (status.to_owned(), reason.to_owned(), message.to_owned());
        eventually("the condition", || async {
            (self.ready(name).await.as_ref() == Some(&expected)).then_some(())
        })
        .await;
    }
}

const READY: (&str, &str, &str) = ("True", "", "Kubernetes Service CIDR is ready");
const TERMINATING: (&str, &str, &str) = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
);

#[tokio::test]
async fn a_range_stays_until_its_last_address_is_free() {
    let cluster = Cluster::start(&[]).await;
    let ranges = Ranges(Api::all(cluster.client.clone()));
    ranges.becomes("kubernetes", READY).await;
    ranges.add("more", "10.97.0.0/24").await;
    ranges.becomes("more", READY).await;
    let spec = json!({"clusterIP": "10.97.0.5", "ports": [{"port": 80}]});
    cluster.create::<Service>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    ranges.0.delete("more", &DeleteParams::default()).await.unwrap();
    ranges.becomes("more", TERMINATING).await;
    cluster.api::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    eventually("the range to go", || async {
        ranges.0.get_opt("more").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_range_goes_when_another_takes_its_addresses() {
    let cluster = Cluster::start(&[]).await;
    let ranges = Ranges(Api::all(cluster.client.clone()));
    ranges.add("small", "10.97.0.0/24").await;
    ranges.becomes("small", READY).await;
    let spec = json!({"clusterIP": "10.97.0.5", "ports": [{"port": 80}]});
    cluster.create::<Service>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    ranges.0.delete("small", &DeleteParams::default()).await.unwrap();
    ranges.becomes("small", TERMINATING).await;
    ranges.add("large", "10.97.0.0/16").await;
    eventually("the range to go", || async {
        ranges.0.get_opt("small").await.unwrap().is_none().then_some(())
    })
    .await;
    ranges.becomes("large", READY).await;
    assert_eq!(
        cluster.api::<Service>().get("web").await.unwrap().spec.unwrap().cluster_ip.as_deref(),
        Some("10.97.0.5")
    );
}
