//! Numbers for pools and splits.

use std::collections::{BTreeSet, VecDeque};

use super::layout::Number;

/// Gives out ids from 1; a freed one is given out again as late as possible.
#[derive(Debug, Default)]
pub(in crate::proxy::datapath) struct Ids {
    last: u32,
    free: VecDeque<u32>,
}

impl Ids {
    /// Starts behind the ids in use.
    pub(in crate::proxy::datapath) fn behind(used: &BTreeSet<u32>) -> Self {
        let last = used.last().copied().unwrap_or(0);
        let free = (1..last).filter(|id| !used.contains(id)).collect();
        Self { last, free }
    }

    /// An id that nobody has; `None` when all 524,287 are taken.
    pub(in crate::proxy::datapath) fn allocate(&mut self) -> Option<u32> {
        if self.last < Number::MAX_ID {
            self.last += 1;
            return Some(self.last);
        }
        self.free.pop_front()
    }

    pub(in crate::proxy::datapath) fn free(&mut self, id: u32) {
        self.free.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_reused_only_when_all_were_used() {
        let mut ids = Ids::behind(&[2, 4].into());
        assert_eq!(ids.allocate(), Some(5));
        ids.free(5);
        assert_eq!(ids.allocate(), Some(6));
        ids.last = Number::MAX_ID;
        let rest: Vec<_> = std::iter::from_fn(|| ids.allocate()).collect();
        assert_eq!(rest, [1, 3, 5]);
    }
}
