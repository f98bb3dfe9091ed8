//! Affinity: of a pod to nodes, and to the neighbourhood of other pods.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm, WeightedPodAffinityTerm,
};

use super::{Place, View};
use crate::{pod, selector};

fn satisfies(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |v: &str| values.iter().any(|w| w == v);
    let number = |v: &str| v.parse::<i64>().ok();
    let limit = values.first().and_then(|v| number(v));
    match requirement.operator.as_str() {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => matches!((found.and_then(number), limit), (Some(v), Some(l)) if v > l),
        "Lt" => matches!((found.and_then(number), limit), (Some(v), Some(l)) if v < l),
        _ => false,
    }
}

/// Whether a node satisfies a term; a term without any requirement matches nothing.
fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|r| satisfies(r, labels.and_then(|l| l.get(&r.key)).map(String::as_str)))
        && fields
            .iter()
            .all(|r| r.key == "metadata.name" && satisfies(r, node.metadata.name.as_deref()))
}

/// Whether a node satisfies the pod's node selector and its required node affinity.
pub(crate) fn matches_node(of: &Pod, node: &Node) -> bool {
    let spec = pod::spec(of);
    let selected =
        spec.node_selector.as_ref().is_none_or(|s| selector::matches_map(s, &node.metadata.labels));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|t| matches_term(t, node)))
}

/// The sum of the weights of the node preferences that a node satisfies.
pub(super) fn preference(of: &Pod, node: &Node) -> i64 {
    let preferred = pod::spec(of)
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let preferred = preferred.unwrap_or_default().iter();
    preferred.filter(|p| matches_term(&p.preference, node)).map(|p| i64::from(p.weight)).sum()
}

/// The required terms of a pod, towards others and away from them.
pub(super) fn required(of: &Pod, away: bool) -> &[PodAffinityTerm] {
    let Some(affinity) = pod::spec(of).affinity.as_ref() else { return &[] };
    let terms = if away {
        affinity
            .pod_anti_affinity
            .as_ref()
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
    } else {
        affinity
            .pod_affinity
            .as_ref()
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
    };
    terms.unwrap_or_default()
}

/// The preferred terms of a pod.
fn preferred(of: &Pod, away: bool) -> &[WeightedPodAffinityTerm] {
    let Some(affinity) = pod::spec(of).affinity.as_ref() else { return &[] };
    let terms = if away {
        affinity
            .pod_anti_affinity
            .as_ref()
            .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref())
    } else {
        affinity
            .pod_affinity
            .as_ref()
            .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref())
    };
    terms.unwrap_or_default()
}

/// Whether a term of `holder` means the pod `other`.
pub(super) fn means(view: &View, holder: &Pod, term: &PodAffinityTerm, other: &Pod) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or("");
    let listed = term.namespaces.as_deref().unwrap_or_default();
    let named = listed.iter().any(|n| n == namespace);
    let selected = term.namespace_selector.as_ref().is_some_and(|s| {
        selector::is_empty(s) || selector::matches(s, &view.namespace_labels(namespace))
    });
    let own = listed.is_empty()
        && term.namespace_selector.is_none()
        && holder.metadata.namespace == other.metadata.namespace;
    (named || selected || own)
        && term
            .label_selector
            .as_ref()
            .is_some_and(|s| selector::matches(s, &other.metadata.labels))
}

/// The values of the term's topology key where pods are that it means.
pub(super) fn domains<'a>(view: &'a View, of: &Pod, term: &PodAffinityTerm) -> HashSet<&'a str> {
    let holds = |place: &Place| place.pods.iter().any(|p| means(view, of, term, p));
    view.places.iter().filter(|p| holds(p)).filter_map(|p| p.label(&term.topology_key)).collect()
}

/// Where no pod may go as a pod that is there does not want it near: pairs of topology key and value.
pub(super) fn forbidden_by_others<'a>(view: &'a View, of: &Pod) -> HashSet<(&'a str, &'a str)> {
    let mut forbidden = HashSet::new();
    for place in &view.places {
        for other in &place.pods {
            for term in required(other, true).iter().filter(|t| means(view, other, t, of)) {
                if let Some(value) = place.label(&term.topology_key) {
                    forbidden.insert((term.topology_key.as_str(), value));
                }
            }
        }
    }
    forbidden
}

/// How much the pod wants to be at `place` for the pods of its neighbourhood.
pub(super) fn company(view: &View, of: &Pod, place: &Place) -> i64 {
    let near = |term: &PodAffinityTerm| {
        let here = place.label(&term.topology_key);
        let neighbours =
            view.places.iter().filter(|p| here.is_some() && p.label(&term.topology_key) == here);
        let meant = |p: &&Arc<Pod>| means(view, of, term, p);
        i64::try_from(neighbours.flat_map(|p| &p.pods).filter(meant).count()).unwrap_or(i64::MAX)
    };
    let sum = |away| -> i64 {
        preferred(of, away).iter().map(|t| i64::from(t.weight) * near(&t.pod_affinity_term)).sum()
    };
    sum(false) - sum(true)
}
