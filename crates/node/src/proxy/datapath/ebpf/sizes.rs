//! How large the maps are made.

use portolan_model::Desired;
use portolan_model::frontend::{Family, FrontendAddress};

use super::layout::TOGETHER;
use super::plane::is_served;
use super::pool::slots;

/// How many elements each map holds at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) frontends: u32,
    pub(super) pools: u32,
    pub(super) slots: u32,
    pub(super) backends4: u32,
    pub(super) backends6: u32,
    pub(super) affinity: u32,
}

/// So many clients are kept on their backends.
const CLIENTS: u32 = 16_384;
/// The size of a map that nobody uses.
pub(super) const UNUSED: u32 = 1;

/// How many clients are remembered, when there are Services with affinity and when not.
pub(super) fn affinity(any: bool) -> u32 {
    if any { CLIENTS } else { UNUSED }
}

/// Room for so many and an eighth more: larger maps are cheap to make, but not for each newcomer.
fn ample(count: usize) -> u32 {
    let ample = count + count / 8 + 1024;
    (ample as u32).next_multiple_of(TOGETHER)
}

impl Sizes {
    /// Of maps that are only tried.
    pub(super) const SMALLEST: Self = Self {
        frontends: 1,
        pools: 1,
        slots: TOGETHER,
        backends4: TOGETHER,
        backends6: 1,
        affinity: UNUSED,
    };

    /// The sizes that maps need for `desired`, with room to grow.
    pub(super) fn needed(desired: &Desired) -> Self {
        let own = desired.own_addresses().len();
        let entries = desired.frontends().map(|(key, _)| match key.address {
            FrontendAddress::Ip(_) => 1,
            FrontendAddress::Node(_) => 1 + own,
        });
        let mut needed = [0; 3];
        let (mut backends, mut sticky) = ([0; 2], false);
        for (key, pool) in desired.pools().filter(|(key, _)| is_served(key)) {
            needed[0] += 1;
            needed[1] += slots(desired, pool);
            backends[usize::from(key.family == Family::Ipv6)] += pool.backends.len();
            sticky |= pool.affinity_seconds.is_some();
        }
        Self {
            frontends: ample(entries.sum()),
            pools: ample(needed[0]),
            slots: ample(needed[1]),
            backends4: ample(backends[0]),
            backends6: ample(backends[1]),
            affinity: affinity(sticky),
        }
    }

    /// Each at least as large as the other's.
    pub(super) fn or_more(self, other: Self) -> Self {
        let even = |size: u32| size.next_multiple_of(TOGETHER);
        Self {
            frontends: self.frontends.max(other.frontends),
            pools: self.pools.max(other.pools),
            slots: self.slots.max(even(other.slots)),
            backends4: self.backends4.max(even(other.backends4)),
            backends6: self.backends6.max(other.backends6),
            affinity: self.affinity.max(other.affinity),
        }
    }
}
