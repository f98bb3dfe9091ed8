//! What lies in the map of frontends, and which of it a round of looking has met.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;

use super::layout::{Entry, Key};

/// An entry, and the round that met it last, odd or even.
#[derive(Clone, Copy, Debug)]
struct Held {
    entry: Entry,
    round: bool,
}

/// The map is read bit by bit while changes go on. So whoever writes an entry counts it as met,
/// and what is left at the end of the round is missing.
#[derive(Debug, Default)]
pub(super) struct Frontends {
    held: HashMap<Key, Held>,
    round: bool,
    unmet: usize,
}

impl Frontends {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.held.get(key).map(|held| held.entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, Entry)> {
        self.held.iter().map(|(key, held)| (key, held.entry))
    }

    /// Returns whether that is news.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) -> bool {
        let round = self.round;
        let before = match self.held.entry(key) {
            Place::Occupied(held) if held.get().entry == entry => return false,
            Place::Occupied(mut held) => Some(held.insert(Held { entry, round })),
            Place::Vacant(free) => {
                free.insert(Held { entry, round });
                None
            }
        };
        self.unmet -= usize::from(before.is_some_and(|before| before.round != round));
        true
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let before = self.held.remove(key);
        self.unmet -= usize::from(before.is_some_and(|before| before.round != self.round));
        before.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.unmet = 0;
    }

    /// Begins a round: nothing has been met.
    pub(super) fn begin(&mut self) {
        if self.unmet > 0 {
            // The round before did not come to its end.
            let round = self.round;
            self.held.values_mut().for_each(|held| held.round = round);
        }
        self.round = !self.round;
        self.unmet = self.held.len();
    }

    /// An entry is in the map; returns whether it belongs there.
    pub(super) fn meet(&mut self, key: &Key, entry: Entry) -> bool {
        let Some(held) = self.held.get_mut(key).filter(|held| held.entry == entry) else {
            return false;
        };
        self.unmet -= usize::from(held.round != self.round);
        held.round = self.round;
        true
    }

    /// How many have not been met in this round.
    pub(super) fn unmet(&self) -> usize {
        self.unmet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Entry = Entry { pool: 1, flags: 0 };
    const TWO: Entry = Entry { pool: 2, flags: 0 };

    fn key(number: u8) -> Key {
        [number; 20]
    }

    #[test]
    fn a_round_meets_what_is_there_also_beside_changes() {
        let mut frontends = Frontends::default();
        assert!((1..5).all(|number| frontends.insert(key(number), ONE)));
        assert!(!frontends.insert(key(1), ONE), "no news");
        for round in 0..3 {
            frontends.begin();
            assert_eq!(frontends.unmet(), 4, "round {round}");
            assert!(frontends.meet(&key(1), ONE) && frontends.meet(&key(1), ONE));
            assert!(!frontends.meet(&key(9), ONE), "a stranger");
            assert!(!frontends.meet(&key(2), TWO), "led astray");
            assert_eq!(frontends.unmet(), 3);
            assert!(frontends.insert(key(5), ONE) && frontends.insert(key(2), TWO));
            assert!(frontends.remove(&key(3)) && !frontends.remove(&key(3)));
            assert_eq!(frontends.unmet(), 1);
            assert!(frontends.remove(&key(1)), "met before");
            assert_eq!(frontends.unmet(), 1);
            if round != 1 {
                assert!(frontends.meet(&key(4), ONE));
                assert_eq!(frontends.unmet(), 0, "round {round}");
            }
            let (again, gone) = ([1, 2, 3].map(key), key(5));
            assert!(frontends.remove(&gone) && again.iter().all(|key| frontends.insert(*key, ONE)));
        }
    }
}
