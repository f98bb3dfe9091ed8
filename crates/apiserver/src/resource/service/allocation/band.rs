//! A range in two bands: random choices fall into the upper one until it is full, so that the
//! lower one stays free for those who ask for a particular address or port.

use crate::resource::{ClaimKey, Claims, Space};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) space: Space,
    pub(super) first: u128,
    pub(super) last: u128,
    /// How many numbers the lower band has.
    pub(super) lower: u128,
}

impl Range {
    pub(super) fn contains(&self, key: &ClaimKey) -> bool {
        key.space() == self.space && (self.first..=self.last).contains(&key.number())
    }

    /// Something free at random; `None` when the range is full.
    pub(super) fn choose(&self, claims: &mut dyn Claims) -> Option<ClaimKey> {
        let border = self.first.checked_add(self.lower)?;
        let number = self
            .choose_between(claims, border, self.last)
            .or_else(|| self.choose_between(claims, self.first, border.checked_sub(1)?))?;
        ClaimKey::of(self.space, number)
    }

    /// The first free number at or after a random one, around the end.
    fn choose_between(&self, claims: &mut dyn Claims, first: u128, last: u128) -> Option<u128> {
        let size = last.checked_sub(first)?.checked_add(1)?;
        let start = first + u128::from(claims.random()) % size;
        [start, first]
            .into_iter()
            .filter_map(|from| claims.next_free(self.space, from))
            .find(|number| *number <= last)
    }
}

/// `min(max(16, size / step), most)`: how many numbers KEP-3070 and KEP-3668 leave to those who ask.
pub(super) fn lower_band(size: u128, step: u128, most: u128) -> u128 {
    const LEAST: u128 = 16;
    if size <= LEAST { 0 } else { (size / step).clamp(LEAST, most) }
}
