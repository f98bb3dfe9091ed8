//! The pod of a DaemonSet on one node, and whether the node should have it.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{
        Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
        Toleration,
    },
};

use crate::{
    owner, pod, scheduler, taints,
    workloads::{act, revision},
};

/// Taints that pods of every DaemonSet tolerate: they keep their node working.
const TOLERATED: [(&str, &str); 6] = [
    (taints::NOT_READY, "NoExecute"),
    (taints::UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    (taints::UNSCHEDULABLE, "NoSchedule"),
];

/// The label that counts changes of the template, for old clients.
const GENERATION: &str = "pod-template-generation";

/// The pod for `node`, of the revision with this hash.
pub(super) fn make(set: &DaemonSet, hash: &str, node: &str) -> Pod {
    let namespace = set.metadata.namespace.as_deref().unwrap_or("");
    let template = set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let mut pod = act::pod_from(&template, namespace, owner::controller_ref(set));
    pod.metadata.generate_name = Some(format!("{}-", set.metadata.name.as_deref().unwrap_or("")));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(revision::REVISION.into(), hash.into());
    let annotations = set.metadata.annotations.as_ref();
    if let Some(generation) =
        annotations.and_then(|a| a.get("deprecated.daemonset.template.generation"))
    {
        labels.insert(GENERATION.into(), generation.clone());
    }
    let spec = pod.spec.get_or_insert_default();
    let host_network = spec.host_network.unwrap_or(false);
    let tolerations = spec.tolerations.get_or_insert_default();
    let network = host_network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Default::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    pin(spec.affinity.get_or_insert_default(), node);
    pod
}

/// Lets every alternative of the required node affinity mean this one node.
fn pin(affinity: &mut Affinity, node: &str) {
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    let only = NodeSelectorTerm { match_fields: Some(vec![requirement]), match_expressions: None };
    let required = &mut affinity
        .node_affinity
        .get_or_insert_with(NodeAffinity::default)
        .required_during_scheduling_ignored_during_execution;
    // As Kubernetes: the node was found to fit before, so its name replaces the terms.
    *required = Some(NodeSelector { node_selector_terms: vec![only] });
}

/// The node that a pod is for: the one that it is on, or the one that its affinity names.
pub(super) fn node_of(of: &Pod) -> Option<&str> {
    if let Some(node) = pod::node_name(of) {
        return Some(node);
    }
    let affinity = pod::spec(of).affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut fields =
        required.node_selector_terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    let named = fields.find(|f| f.key == "metadata.name" && f.operator == "In")?;
    named.values.as_ref()?.first().map(String::as_str)
}

/// Whether a node should have a pod, and whether one that it has may stay.
pub(super) fn fits(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let name = node.metadata.name.as_deref().unwrap_or("");
    let pod = make(set, "", name);
    let Some(template) = set.spec.as_ref().map(|s| &s.template) else { return (false, false) };
    // By the affinity as the user wrote it: the pod's own is pinned already.
    let asked = Pod { spec: template.spec.clone(), ..Default::default() };
    if pod::spec(&asked).node_name.as_deref().is_some_and(|n| !n.is_empty() && n != name) {
        return (false, false);
    }
    if !scheduler::matches_node(&asked, node) {
        return (false, false);
    }
    let tolerations = pod::spec(&pod).tolerations.as_deref().unwrap_or_default();
    let run = taints::untolerated(node, tolerations, &["NoSchedule", "NoExecute"]).is_none();
    let stay = taints::untolerated(node, tolerations, &["NoExecute"]).is_none();
    (run, stay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(spec: serde_json::Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "agent", "namespace": "ns", "uid": "u"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec}},
        }))
        .unwrap()
    }

    fn node(labels: serde_json::Value, taints: serde_json::Value) -> Node {
        serde_json::from_value(
            json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}}),
        )
        .unwrap()
    }

    #[test]
    fn a_pod_is_for_one_node() {
        let pod = make(&set(json!({"containers": []})), "abc", "n1");
        assert_eq!(node_of(&pod), Some("n1"));
        assert!(scheduler::matches_node(&pod, &node(json!({}), json!([]))));
        assert_eq!(pod.metadata.labels.unwrap()["controller-revision-hash"], "abc");
    }

    #[test]
    fn which_nodes() {
        let plain = set(json!({"containers": []}));
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        assert_eq!(fits(&plain, &node(json!({}), json!([]))), (true, true));
        assert_eq!(
            fits(&plain, &node(json!({}), taint(taints::UNREACHABLE, "NoExecute"))),
            (true, true)
        );
        assert_eq!(fits(&plain, &node(json!({}), taint("mine", "NoSchedule"))), (false, true));
        assert_eq!(fits(&plain, &node(json!({}), taint("mine", "NoExecute"))), (false, false));
        let picky = set(json!({"containers": [], "nodeSelector": {"disk": "ssd"}}));
        assert_eq!(fits(&picky, &node(json!({}), json!([]))), (false, false));
        assert_eq!(fits(&picky, &node(json!({"disk": "ssd"}), json!([]))), (true, true));
    }
}
