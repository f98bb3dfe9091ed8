//! Things that several owners may hold at once.

use std::collections::BTreeMap;
use std::hash::Hash;

use hashbrown::HashMap;

/// A set whose members stay as long as anybody holds them.
#[derive(Debug)]
pub(super) struct Tally<K> {
    counts: HashMap<K, u32>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { counts: HashMap::default() }
    }
}

impl<K: Copy + Ord + Hash> Tally<K> {
    /// One more holder; a new member is noted as `true`.
    pub(super) fn add(&mut self, key: K, changes: &mut BTreeMap<K, bool>) {
        let count = self.counts.entry(key).or_insert(0);
        *count += 1;
        if *count == 1 {
            note(changes, key, true);
        }
    }

    /// One holder less; a member that goes is noted as `false`.
    pub(super) fn remove(&mut self, key: K, changes: &mut BTreeMap<K, bool>) {
        let Some(count) = self.counts.get_mut(&key) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&key);
            note(changes, key, false);
        }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.counts.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &K> {
        self.counts.keys()
    }
}

/// A member that went and came back within one set of changes did not change.
fn note<K: Ord>(changes: &mut BTreeMap<K, bool>, key: K, present: bool) {
    if changes.get(&key).is_some_and(|before| *before != present) {
        changes.remove(&key);
    } else {
        changes.insert(key, present);
    }
}
