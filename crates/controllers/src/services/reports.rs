//! What the nodes' proxies say that they have applied.
//!
//! Each proxy keeps a Lease in `kube-node-lease`; its annotations carry the resource versions up
//! to which its node has programmed the Services and the EndpointSlices. Resource versions of one
//! resource are comparable numbers since Kubernetes 1.35 (KEP-5504).

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;

/// The namespace of the Leases.
pub(super) const NAMESPACE: &str = "kube-node-lease";
/// Marks them.
const COMPONENT: (&str, &str) = ("portolan/component", "proxy");
const SERVICES: &str = "portolan/applied-services";
const SLICES: &str = "portolan/applied-endpointslices";

/// Resource versions of Services and of EndpointSlices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Revisions {
    pub(super) services: u64,
    pub(super) slices: u64,
}

impl Revisions {
    pub(super) fn covers(self, other: Self) -> bool {
        self.services >= other.services && self.slices >= other.slices
    }
}

/// The node whose proxy writes this Lease.
pub(super) fn node_of(lease: &Lease) -> Option<&str> {
    let (name, value) = COMPONENT;
    let labels = lease.metadata.labels.as_ref()?;
    let ours = lease.metadata.namespace.as_deref() == Some(NAMESPACE)
        && labels.get(name).is_some_and(|v| v == value);
    ours.then(|| lease.spec.as_ref()?.holder_identity.as_deref()).flatten()
}

/// What a Lease reports; `None` if it says nothing that can be compared.
pub(super) fn read(lease: &Lease) -> Option<Revisions> {
    let annotations: &BTreeMap<_, _> = lease.metadata.annotations.as_ref()?;
    let number = |name| annotations.get(name)?.parse().ok();
    Some(Revisions { services: number(SERVICES)?, slices: number(SLICES)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn leases_are_told_apart_and_read() {
        let mut value = json!({
            "metadata": {
                "namespace": NAMESPACE, "name": "portolan-proxy.a", "labels": {"portolan/component": "proxy"},
                "annotations": {SERVICES: "12", SLICES: "13"},
            },
            "spec": {"holderIdentity": "a"},
        });
        let lease =
            |value: &serde_json::Value| -> Lease { serde_json::from_value(value.clone()).unwrap() };
        assert_eq!(node_of(&lease(&value)), Some("a"));
        let read_ = read(&lease(&value)).unwrap();
        assert_eq!(read_, Revisions { services: 12, slices: 13 });
        assert!(!read_.covers(Revisions { services: 12, slices: 14 }));
        value["metadata"]["annotations"][SLICES] = json!("opaque");
        assert_eq!(read(&lease(&value)), None);
        value["metadata"]["labels"] = json!({});
        assert_eq!(node_of(&lease(&value)), None, "a node's own heartbeat");
    }
}
