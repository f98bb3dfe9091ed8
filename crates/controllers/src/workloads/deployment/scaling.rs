//! The size of a Deployment changed: in the middle of a rollout, all its ReplicaSets share the change.

use k8s_openapi::api::apps::v1::Deployment;

use super::{
    annotations,
    rolling::scale,
    set::{Set, desired, is_rolling, surge_and_unavailable, total},
};

/// Whether a set was last scaled for another size of the Deployment.
pub(super) fn is_due(d: &Deployment, sets: &[Set]) -> bool {
    sets.iter()
        .filter(|s| s.size() > 0)
        .any(|s| annotations::desired(s).is_some_and(|n| n != desired(d)))
}

/// The index of the only active set, or of the new or else youngest one if none is active.
fn active_or_latest(sets: &[Set], new: Option<usize>) -> Option<usize> {
    let active: Vec<usize> = (0..sets.len()).filter(|i| sets[*i].size() > 0).collect();
    match active.as_slice() {
        [] => new.or_else(|| (0..sets.len()).max_by_key(|i| sets[*i].created())),
        [one] => Some(*one),
        _ => None,
    }
}

/// Scales all sets; `new` is the index of the one of the present template.
pub(super) fn rescale(d: &Deployment, sets: &mut [Set], new: Option<usize>) {
    if let Some(at) = active_or_latest(sets, new) {
        scale(d, &mut sets[at], desired(d));
        return;
    }
    let saturated = new.map(|at| &sets[at]).is_some_and(|s| {
        s.size() == desired(d)
            && annotations::desired(s) == Some(desired(d))
            && s.available() == desired(d)
    });
    if saturated {
        for (at, set) in sets.iter_mut().enumerate() {
            if Some(at) != new && set.size() > 0 {
                scale(d, set, 0);
            }
        }
        return;
    }
    if is_rolling(d) {
        proportionally(d, sets);
    }
}

fn proportionally(d: &Deployment, sets: &mut [Set]) {
    let (surge, _) = surge_and_unavailable(d);
    let mut active: Vec<&mut Set> = sets.iter_mut().filter(|s| s.size() > 0).collect();
    let allowed = if desired(d) > 0 { desired(d) + surge } else { 0 };
    let change = allowed - total(active.iter().map(|s| &**s), Set::size);
    // The largest first; among equals the youngest grows and the oldest shrinks.
    active.sort_by_key(|s| (std::cmp::Reverse(s.size()), s.created()));
    if change > 0 {
        active.sort_by_key(|s| (std::cmp::Reverse(s.size()), std::cmp::Reverse(s.created())));
    }
    let mut given = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for set in &active {
        let share = share(d, set, change, given, surge);
        given += share;
        sizes.push((set.size() + share).max(0));
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + change - given).max(0);
    }
    for (set, size) in active.into_iter().zip(sizes) {
        scale(d, set, size);
    }
}

/// The part of `change` that falls to `set`, when `given` of it was given to others.
fn share(d: &Deployment, set: &Set, change: i32, given: i32, surge: i32) -> i32 {
    if set.size() == 0 || change == 0 || change == given {
        return 0;
    }
    let fraction = if desired(d) == 0 {
        -set.size()
    } else {
        let before =
            annotations::max(set).or_else(|| d.status.as_ref()?.replicas).filter(|m| *m > 0);
        let before = i64::from(before.unwrap_or_else(|| set.size()));
        let size = i64::from(set.size()) * i64::from(desired(d) + surge);
        let rounded = (2 * size + before).div_euclid(2 * before);
        i32::try_from(rounded).unwrap_or(i32::MAX) - set.size()
    };
    if change > 0 {
        fraction.min(change - given).max(0)
    } else {
        fraction.max(change - given).min(0)
    }
}
