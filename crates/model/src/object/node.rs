use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};

/// What the model reads of a `v1.Node`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: Arc<str>,
    /// From the label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `status.addresses` of type InternalIP.
    pub internal_ips: Vec<IpAddr>,
    /// `status.addresses` of type ExternalIP.
    pub external_ips: Vec<IpAddr>,
    pub pod_cidrs: Vec<IpNet>,
    /// It is being deleted, or the cluster autoscaler is about to: load balancers are to leave it.
    pub leaving: bool,
}

/// The taint by which the cluster autoscaler announces that it takes a node away.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

impl From<&core::Node> for Node {
    fn from(object: &core::Node) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let several = spec.pod_cidrs.filter(|cidrs| !cidrs.is_empty());
        let cidrs = several.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
        let listed = object.status.as_ref().and_then(|status| status.addresses.as_deref());
        let addresses = |kind: &str| -> Vec<IpAddr> {
            let of_kind = listed.unwrap_or_default().iter().filter(|item| item.type_ == kind);
            of_kind.filter_map(|item| item.address.parse().ok()).collect()
        };
        let taints = spec.taints.unwrap_or_default();
        Self {
            name: object.metadata.name.as_deref().unwrap_or_default().into(),
            zone: object
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get("topology.kubernetes.io/zone"))
                .map(|zone| Arc::from(zone.as_str())),
            internal_ips: addresses("InternalIP"),
            external_ips: addresses("ExternalIP"),
            leaving: object.metadata.deletion_timestamp.is_some()
                || taints.iter().any(|taint| taint.key == TO_BE_DELETED),
            pod_cidrs: cidrs.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }
}
