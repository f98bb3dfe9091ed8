//! Topology spread constraints: how unevenly matching pods may lie over zones, nodes, …

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};

use super::{Place, View, affinity::matches_node};
use crate::{pod, selector, taints};

/// Why a constraint keeps a pod from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The node lacks the topology key.
    MissingLabel,
    /// Too many matching pods are there already.
    Skew,
}

/// One constraint, counted over all nodes.
pub(super) struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    per_domain: BTreeMap<&'a str, i64>,
    itself: i64,
}

fn matches(of: &Pod, constraint: &TopologySpreadConstraint, other: &Pod) -> bool {
    let key_matches = |key: &String| {
        let value = |p: &Pod| p.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
        value(of).is_none() || value(of) == value(other)
    };
    other.metadata.namespace == of.metadata.namespace
        && constraint
            .label_selector
            .as_ref()
            .is_some_and(|s| selector::matches(s, &other.metadata.labels))
        && constraint.match_label_keys.iter().flatten().all(key_matches)
}

/// The constraints of a pod with the given `whenUnsatisfiable`, counted.
pub(super) fn count<'a>(view: &'a View, of: &'a Pod, when_unsatisfiable: &str) -> Vec<Counted<'a>> {
    let constraints = pod::spec(of).topology_spread_constraints.as_deref().unwrap_or_default();
    let constraints: Vec<_> =
        constraints.iter().filter(|c| c.when_unsatisfiable == when_unsatisfiable).collect();
    let has_all_keys =
        |place: &Place| constraints.iter().all(|c| place.label(&c.topology_key).is_some());
    let tolerations = pod::spec(of).tolerations.as_deref().unwrap_or_default();
    constraints
        .iter()
        .map(|constraint| {
            let by_affinity =
                constraint.node_affinity_policy.as_deref().unwrap_or("Honor") == "Honor";
            let by_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
            let mut per_domain = BTreeMap::new();
            for place in view.places.iter().filter(|p| has_all_keys(p)) {
                let counts = (!by_affinity || matches_node(of, &place.node))
                    && (!by_taints
                        || taints::untolerated(
                            &place.node,
                            tolerations,
                            &["NoSchedule", "NoExecute"],
                        )
                        .is_none());
                if let Some(domain) = place.label(&constraint.topology_key).filter(|_| counts) {
                    let meant =
                        |p: &&Arc<Pod>| !pod::is_terminating(p) && matches(of, constraint, p);
                    let here =
                        i64::try_from(place.pods.iter().filter(meant).count()).unwrap_or(i64::MAX);
                    *per_domain.entry(domain).or_insert(0) += here;
                }
            }
            Counted { constraint, per_domain, itself: i64::from(matches(of, constraint, of)) }
        })
        .collect()
}

impl Counted<'_> {
    /// How much more a domain would hold than the least filled one.
    fn skew(&self, domain: &str) -> i64 {
        let domains = i32::try_from(self.per_domain.len()).unwrap_or(i32::MAX);
        let too_few = self.constraint.min_domains.is_some_and(|min| domains < min);
        let least = if too_few { 0 } else { self.per_domain.values().copied().min().unwrap_or(0) };
        self.per_domain.get(domain).copied().unwrap_or(0) + self.itself - least
    }

    /// What keeps the pod from a node, if anything.
    pub(super) fn obstacle(&self, place: &Place) -> Option<Obstacle> {
        match place.label(&self.constraint.topology_key) {
            None => Some(Obstacle::MissingLabel),
            Some(domain) => {
                (self.skew(domain) > i64::from(self.constraint.max_skew)).then_some(Obstacle::Skew)
            }
        }
    }

    /// How uneven a node would make it, for constraints that only ask.
    pub(super) fn unevenness(&self, place: &Place) -> i64 {
        place
            .label(&self.constraint.topology_key)
            .map_or(i64::MAX / 1024, |domain| self.skew(domain))
    }
}
