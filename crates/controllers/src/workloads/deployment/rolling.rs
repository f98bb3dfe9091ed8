//! A step of a rolling update: the new ReplicaSet up, or the old ones down, within the limits.

use k8s_openapi::api::apps::v1::Deployment;

use super::{
    annotations,
    set::{Set, desired, is_rolling, surge_and_unavailable, total},
};

/// Resizes a set and remembers the Deployment's size with it.
pub(super) fn scale(d: &Deployment, set: &mut Set, replicas: i32) {
    let sizes_needed = annotations::desired(set) != Some(desired(d))
        || annotations::max(set) != Some(desired(d) + surge_and_unavailable(d).0);
    if set.size() != replicas || sizes_needed {
        set.resize(replicas);
        annotations::set_sizes(set, desired(d), desired(d) + surge_and_unavailable(d).0);
    }
}

/// The size that the new set may have now, beside the old ones.
pub(super) fn new_size(d: &Deployment, old: &[Set], new_size: i32) -> i32 {
    if !is_rolling(d) {
        return desired(d);
    }
    let most = desired(d) + surge_and_unavailable(d).0;
    let current = total(old, Set::size) + new_size;
    if current >= most {
        return new_size;
    }
    new_size + (most - current).min(desired(d) - new_size)
}

/// Brings the new set towards its size; whether it changed.
pub(super) fn grow_new(d: &Deployment, old: &[Set], new: &mut Set) -> bool {
    let size = new.size();
    let wanted = if size > desired(d) { desired(d) } else { new_size(d, old, size) };
    if size != wanted {
        scale(d, new, wanted);
    }
    size != wanted
}

/// Shrinks the old sets as far as enough pods stay available.
pub(super) fn shrink_old(d: &Deployment, old: &mut [Set], new: &Set) {
    if total(&*old, Set::size) == 0 {
        return;
    }
    let (_, unavailable) = surge_and_unavailable(d);
    let at_least = desired(d) - unavailable;
    let all = total(&*old, Set::size) + new.size();
    let new_unavailable = new.size() - new.available();
    let spare = all - at_least - new_unavailable;
    if spare <= 0 {
        return;
    }
    old.sort_by_key(Set::created);
    // Pods that do not work go first: nobody misses them.
    let mut removed = 0;
    for set in old.iter_mut() {
        if removed >= spare {
            break;
        }
        let down = (spare - removed).min(set.size() - set.available());
        if set.size() > 0 && down > 0 {
            let size = set.size() - down;
            scale(d, set, size);
            removed += down;
        }
    }
    let available = total(&*old, |s| s.available().min(s.size())) + new.available();
    let mut left = available - at_least;
    for set in old.iter_mut() {
        let down = left.min(set.size());
        if down > 0 {
            let size = set.size() - down;
            scale(d, set, size);
            left -= down;
        }
    }
}
