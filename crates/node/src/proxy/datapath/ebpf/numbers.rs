//! Numbers for pools and backends, and places for slots. Whatever was freed is given out again as
//! late as possible, and never before what led there was written over: a program may still be on
//! its way.

use std::collections::{BTreeMap, VecDeque};

/// A set of numbers below a limit.
#[derive(Debug)]
pub(super) struct Bits {
    words: Vec<u64>,
    /// One more than the greatest.
    end: u32,
}

impl Bits {
    /// No number yet, of those below `limit`.
    pub(super) fn below(limit: u32) -> Self {
        Self { words: vec![0; limit.div_ceil(u64::BITS) as usize], end: 0 }
    }

    /// Returns whether it was not there yet; a number that is too large is never new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let Some(word) = self.words.get_mut((number / u64::BITS) as usize) else { return false };
        let bit = 1 << (number % u64::BITS);
        let new = *word & bit == 0;
        *word |= bit;
        self.end = self.end.max(number + 1);
        new
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let word = self.words.get((number / u64::BITS) as usize);
        word.is_some_and(|word| word & 1 << (number % u64::BITS) != 0)
    }
}

/// Nothing is left; larger maps are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Gives out numbers from 1.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    next: u32,
    limit: u32,
    free: VecDeque<u32>,
    /// Freed since the last [`Self::settle`].
    leaving: Vec<u32>,
}

impl Numbers {
    /// Numbers below `limit`, without those in use.
    pub(super) fn without(used: &Bits, limit: u32) -> Self {
        let next = used.end.max(1);
        let free = (1..next).filter(|number| !used.contains(*number)).collect();
        Self { next, limit, free, leaving: vec![] }
    }

    pub(super) fn allocate(&mut self) -> Result<u32, Full> {
        if self.next.max(1) < self.limit {
            self.next = self.next.max(1) + 1;
            return Ok(self.next - 1);
        }
        self.free.pop_front().ok_or(Full)
    }

    pub(super) fn free(&mut self, number: u32) {
        self.leaving.push(number);
    }

    /// All that was decided is written: what was freed may be given out again.
    pub(super) fn settle(&mut self) {
        self.free.extend(self.leaving.drain(..));
    }
}

/// Gives out ranges of slots whose lengths are powers of two.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    next: u32,
    limit: u32,
    free: BTreeMap<u32, VecDeque<u32>>,
    leaving: Vec<(u32, u32)>,
}

/// The room that so many members are given.
pub(super) fn room(members: usize) -> u32 {
    (members as u32).next_power_of_two().max(4)
}

impl Blocks {
    /// Ranges from `next` on.
    pub(super) fn from(next: u32, limit: u32) -> Self {
        Self { next, limit, ..Self::default() }
    }

    pub(super) fn allocate(&mut self, room: u32) -> Result<u32, Full> {
        if room <= self.limit - self.next.min(self.limit) {
            self.next += room;
            return Ok(self.next - room);
        }
        self.free.get_mut(&room).and_then(VecDeque::pop_front).ok_or(Full)
    }

    pub(super) fn free(&mut self, first: u32, room: u32) {
        self.leaving.push((first, room));
    }

    /// As [`Numbers::settle`].
    pub(super) fn settle(&mut self) {
        for (first, room) in self.leaving.drain(..) {
            self.free.entry(room).or_default().push_back(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_numbers_come_last() {
        let mut used = Bits::below(7);
        assert_eq!([1, 4, 4, 64].map(|number| used.insert(number)), [true, true, false, false]);
        let mut numbers = Numbers::without(&used, 7);
        assert_eq!(numbers.allocate(), Ok(5));
        numbers.free(5);
        numbers.settle();
        let rest: Vec<_> = std::iter::from_fn(|| numbers.allocate().ok()).collect();
        assert_eq!(rest, [6, 2, 3, 5]);
        assert_eq!(numbers.allocate(), Err(Full));
    }

    #[test]
    fn blocks_never_overlap() {
        let mut blocks = Blocks::from(0, 16);
        assert_eq!(blocks.allocate(8), Ok(0));
        assert_eq!(blocks.allocate(4), Ok(8));
        assert_eq!(blocks.allocate(8), Err(Full));
        blocks.free(0, 8);
        assert_eq!(blocks.allocate(8), Err(Full), "something may still lead there");
        blocks.settle();
        assert_eq!(blocks.allocate(4), Ok(12));
        assert_eq!(blocks.allocate(8), Ok(0));
        assert_eq!(blocks.allocate(4), Err(Full));
        assert_eq!([room(0), room(4), room(5), room(50)], [4, 4, 8, 64]);
    }
}
