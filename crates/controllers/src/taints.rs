//! Taints of nodes, and which of them a pod tolerates.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

/// Set while a node's kubelet says that it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Set while a node is silent.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Set while a node takes no new pods.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether a toleration accepts a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let some = |s: &Option<String>| s.clone().filter(|s| !s.is_empty());
    if some(&toleration.effect).is_some_and(|e| e != taint.effect) {
        return false;
    }
    if some(&toleration.key).is_some_and(|k| k != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => {
            some(&toleration.key).is_some()
                && toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("")
        }
        _ => false,
    }
}

/// The taints of a node.
pub fn of(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default()
}

/// The first of the node's taints with one of these effects that no toleration accepts.
pub fn untolerated<'a>(
    node: &'a Node,
    tolerations: &[Toleration],
    effects: &[&str],
) -> Option<&'a Taint> {
    of(node)
        .iter()
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerations() {
        let taint = Taint {
            key: "k".into(),
            value: Some("v".into()),
            effect: "NoExecute".into(),
            time_added: None,
        };
        for (expected, toleration) in [
            (true, json!({"operator": "Exists"})),
            (true, json!({"key": "k", "operator": "Exists"})),
            (true, json!({"key": "k", "value": "v"})),
            (true, json!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"})),
            (false, json!({"key": "k", "value": "w"})),
            (false, json!({"key": "l", "operator": "Exists"})),
            (false, json!({"operator": "Exists", "effect": "NoSchedule"})),
            (false, json!({})),
        ] {
            let parsed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }
}
