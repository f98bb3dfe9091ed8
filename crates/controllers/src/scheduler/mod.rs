//! The scheduler: finds a node for every pod that has none, and binds it.
//!
//! `decide` is pure: from the nodes with their pods, and the pod, to a node or the reasons why none fits.

mod affinity;
mod controller;
mod filter;
mod resources;
mod score;
mod spread;

pub(crate) use affinity::matches_node;
pub use controller::run;
pub(crate) use resources::parse as quantity;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};

use crate::selector::Labels;

/// A node with the pods that are on it, or about to be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: Arc<Node>,
    /// Without those that ended.
    pub(crate) pods: Vec<Arc<Pod>>,
}

/// The label of nodes that run the control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

impl Place {
    /// Whether the node has other duties: it is labelled so, or an API server runs on it.
    pub(crate) fn has_duties(&self, view: &View) -> bool {
        let addresses =
            self.node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
        self.label(CONTROL_PLANE).is_some()
            || addresses.iter().any(|a| view.api_servers.contains(&a.address))
    }

    pub(crate) fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or("")
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }
}

/// What a decision is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) places: Vec<Place>,
    /// For selectors of namespaces.
    pub(crate) namespaces: Vec<Arc<Namespace>>,
    /// The Services of the pod's namespace, whose pods are spread.
    pub(crate) services: Vec<Arc<Service>>,
    /// Addresses of API servers, as the Endpoints `default/kubernetes` name them.
    pub(crate) api_servers: Vec<String>,
}

impl View {
    pub(crate) fn namespace_labels(&self, name: &str) -> Labels {
        let found = self.namespaces.iter().find(|n| n.metadata.name.as_deref() == Some(name));
        found.and_then(|n| n.metadata.labels.clone())
    }
}

/// The node to take, or a message that says why there is none.
pub(crate) fn decide(view: &View, pod: &Pod) -> Result<String, String> {
    let (fitting, reasons) = filter::filter(view, pod);
    score::best(view, pod, &fitting).ok_or_else(|| message(view.places.len(), &reasons))
}

/// Kubernetes' words for a pod that fits nowhere.
fn message(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut parts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}

#[cfg(test)]
mod tests;
