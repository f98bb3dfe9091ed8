//! The objects that a cluster starts with: its DNS, as kubeadm lays it out.

use std::net::IpAddr;

use anyhow::Context;
use kube::Client;
use serde_json::{Value, json};

/// The manifests and where each is created.
const MANIFESTS: [(&str, &str); 4] = [
    (
        "/api/v1/namespaces/kube-system/serviceaccounts",
        include_str!("manifests/serviceaccount.yaml"),
    ),
    ("/api/v1/namespaces/kube-system/configmaps", include_str!("manifests/configmap.yaml")),
    ("/apis/apps/v1/namespaces/kube-system/deployments", include_str!("manifests/deployment.yaml")),
    ("/api/v1/namespaces/kube-system/services", include_str!("manifests/service.yaml")),
];

/// What differs from cluster to cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    pub cluster_domain: String,
    /// One per family, the primary first.
    pub dns_addresses: Vec<IpAddr>,
    pub dns_replicas: u32,
}

/// The objects with the path at which to create each.
fn objects(values: &Values) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let mut objects = Vec::new();
    for (path, text) in MANIFESTS {
        let text = text
            .replace("@CLUSTER_DOMAIN@", &values.cluster_domain)
            .replace("@REPLICAS@", &values.dns_replicas.to_string());
        let mut object: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("the manifest for {path}"))?;
        if object["kind"] == "Service" {
            let families = values.dns_addresses.iter().map(|address| match address {
                IpAddr::V4(_) => "IPv4",
                IpAddr::V6(_) => "IPv6",
            });
            let policy =
                if values.dns_addresses.len() > 1 { "RequireDualStack" } else { "SingleStack" };
            object["spec"]["clusterIP"] = json!(values.dns_addresses.first());
            object["spec"]["clusterIPs"] = json!(values.dns_addresses);
            object["spec"]["ipFamilies"] = families.collect();
            object["spec"]["ipFamilyPolicy"] = json!(policy);
        }
        objects.push((path, object));
    }
    Ok(objects)
}

/// Creates the objects; those that are there stay as they are, the user may have changed them.
pub async fn create(client: &Client, values: &Values) -> anyhow::Result<()> {
    for (path, object) in objects(values)? {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&object)?)?;
        match client.request::<Value>(request).await {
            Ok(_) => {}
            Err(kube::Error::Api(status))
                if status.code == 409 && status.reason == "AlreadyExists" => {}
            Err(error) => {
                let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
                return Err(error).with_context(|| format!("cannot create {kind} {name}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_objects_of_the_cluster() {
        let values = Values {
            cluster_domain: "example.test".to_owned(),
            dns_addresses: ["10.96.0.10", "fd00::a"]
                .map(|text| text.parse().expect("address"))
                .into(),
            dns_replicas: 2,
        };
        let objects = objects(&values).expect("objects");
        let kinds: Vec<_> = objects.iter().map(|(_, object)| object["kind"].as_str()).collect();
        assert_eq!(
            kinds,
            [Some("ServiceAccount"), Some("ConfigMap"), Some("Deployment"), Some("Service")]
        );
        let corefile = objects[1].1["data"]["Corefile"].as_str().expect("a Corefile");
        assert!(corefile.contains("kubernetes example.test in-addr.arpa ip6.arpa {"), "{corefile}");
        assert_eq!(objects[2].1["spec"]["replicas"], 2);
        let service = &objects[3].1["spec"];
        assert_eq!(service["clusterIPs"], json!(["10.96.0.10", "fd00::a"]));
        assert_eq!(service["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(service["ipFamilyPolicy"], "RequireDualStack");
    }
}
