use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};

/// What the model reads of a `v1.Node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: Arc<str>,
    /// From the label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `status.addresses` of type InternalIP.
    pub internal_ips: Vec<IpAddr>,
    pub pod_cidrs: Vec<IpNet>,
}

impl From<&core::Node> for Node {
    fn from(object: &core::Node) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let listed = spec.pod_cidrs.filter(|cidrs| !cidrs.is_empty());
        let cidrs = listed.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
        let addresses = object.status.as_ref().and_then(|status| status.addresses.as_deref());
        Self {
            name: object.metadata.name.as_deref().unwrap_or_default().into(),
            zone: object
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get("topology.kubernetes.io/zone"))
                .map(|zone| Arc::from(zone.as_str())),
            internal_ips: addresses
                .unwrap_or_default()
                .iter()
                .filter(|address| address.type_ == "InternalIP")
                .filter_map(|address| address.address.parse().ok())
                .collect(),
            pod_cidrs: cidrs.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }
}
