//! The annotations by which a Deployment and its ReplicaSets remember revisions and sizes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;

use super::set::Set;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its ReplicaSets do not inherit.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
];

fn map(set: &mut Set) -> &mut BTreeMap<String, String> {
    set.set.metadata.annotations.get_or_insert_default()
}

fn number<T: std::str::FromStr>(set: &Set, name: &str) -> Option<T> {
    set.set.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}

/// The revision of a ReplicaSet, 0 if it has none.
pub(super) fn revision(set: &Set) -> i64 {
    number(set, REVISION).unwrap_or(0)
}

/// The size of the Deployment when the ReplicaSet was last scaled.
pub(super) fn desired(set: &Set) -> Option<i32> {
    number(set, DESIRED)
}

/// The most pods the Deployment could have when the ReplicaSet was last scaled.
pub(super) fn max(set: &Set) -> Option<i32> {
    number(set, MAX)
}

/// Remembers the Deployment's size.
pub(super) fn set_sizes(set: &mut Set, desired: i32, max: i32) {
    let map = map(set);
    map.insert(DESIRED.into(), desired.to_string());
    map.insert(MAX.into(), max.to_string());
}

/// Gives a new ReplicaSet, or one that is used again, its revision and what it inherits.
pub(super) fn inherit(d: &Deployment, set: &mut Set, new_revision: i64) {
    for (key, value) in d.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            map(set).insert(key.clone(), value.clone());
        }
    }
    let old = set.set.metadata.annotations.as_ref().and_then(|a| a.get(REVISION)).cloned();
    let old_number = old.as_deref().and_then(|o| o.parse::<i64>().ok()).unwrap_or(0);
    if old_number >= new_revision {
        return;
    }
    map(set).insert(REVISION.into(), new_revision.to_string());
    if let Some(old) = old.filter(|_| set.was.is_some()) {
        let history = map(set).entry(REVISION_HISTORY.into()).or_default();
        if !history.is_empty() {
            history.push(',');
        }
        history.push_str(&old);
    }
}
