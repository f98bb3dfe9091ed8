//! Which numbers are in use, as runs: the next free one is found in logarithmic time, however full
//! a range is, and a range of which nothing is used costs nothing.

use std::collections::BTreeMap;

/// A set of numbers. **Invariant**: runs neither overlap nor touch.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The first number of a run to its last.
    runs: BTreeMap<u128, u128>,
}

impl Taken {
    /// The run that holds `number`.
    fn run(&self, number: u128) -> Option<(u128, u128)> {
        let (first, last) = self.runs.range(..=number).next_back()?;
        (*last >= number).then_some((*first, *last))
    }

    pub(crate) fn insert(&mut self, number: u128) {
        if self.run(number).is_some() {
            return;
        }
        let before = number.checked_sub(1).and_then(|before| self.run(before));
        let after = number.checked_add(1).and_then(|after| self.runs.remove(&after));
        let first = before.map_or(number, |(first, _)| first);
        self.runs.insert(first, after.unwrap_or(number));
    }

    pub(crate) fn remove(&mut self, number: u128) {
        let Some((first, last)) = self.run(number) else { return };
        if first == number {
            self.runs.remove(&first);
        } else {
            self.runs.insert(first, number - 1);
        }
        if last > number {
            self.runs.insert(number + 1, last);
        }
    }

    /// The least number that is free and not below `from`.
    pub(crate) fn next_free(&self, from: u128) -> Option<u128> {
        match self.run(from) {
            None => Some(from),
            Some((_, last)) => last.checked_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_numbers() {
        let mut taken = Taken::default();
        taken.insert(u128::MAX);
        taken.insert(0);
        assert_eq!((taken.next_free(0), taken.next_free(u128::MAX)), (Some(1), None));
        taken.remove(u128::MAX);
        assert_eq!(taken.next_free(u128::MAX), Some(u128::MAX));
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..24u128), 0..80)) {
            let (mut taken, mut set) = (Taken::default(), BTreeSet::new());
            for (insert, number) in steps {
                if insert {
                    taken.insert(number);
                    set.insert(number);
                } else {
                    taken.remove(number);
                    set.remove(&number);
                }
                for from in 0..26 {
                    let expected = (from..).find(|number| !set.contains(number));
                    prop_assert_eq!(taken.next_free(from), expected);
                }
                let ends: Vec<_> = taken.runs.iter().collect();
                prop_assert!(ends.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0));
            }
        }
    }
}
