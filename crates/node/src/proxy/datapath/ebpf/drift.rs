//! Looking for what others changed in the maps, in pieces: whoever has a change to write waits for
//! one piece at most, however many backends there are. What changes between two pieces is followed
//! by the plane and the maps alike, so a round goes on through it.

use std::net::SocketAddr;
use std::ops::Range;

use portolan_linux::Attempt;
use portolan_linux::bpf::Cursor;

use super::layout::LOCALS;
use super::maps::Maps;
use super::plane::Plane;
use super::pool::{PoolState, address};
use crate::proxy::datapath::Drift;

/// So many frontends are read at a time, with one system call.
const ENTRIES: usize = 1024;
/// So many members of pools are compared at a time.
const MEMBERS: usize = 8192;
/// What comparing the pool itself takes, in members.
const POOL: usize = 8;

/// Where a round is.
#[derive(Debug)]
pub(super) enum Round {
    Frontends(Cursor),
    /// At the pool of that number, and the first of its members that is not less.
    Pools(u32, Option<SocketAddr>),
}

impl Round {
    pub(super) fn begin(plane: &mut Plane) -> Self {
        plane.frontends.begin();
        Self::Frontends(Cursor::default())
    }

    /// Compares the next piece.
    pub(super) fn go_on(&mut self, maps: &Maps, plane: &mut Plane) -> Attempt<Drift> {
        match self {
            Self::Frontends(cursor) => {
                let (some, next) = maps.some_frontends(*cursor, ENTRIES)?;
                if !some.iter().all(|(key, entry)| plane.frontends.meet(key, *entry)) {
                    return Ok(Drift::Possible);
                }
                match next {
                    Some(next) => *cursor = next,
                    None if plane.frontends.unmet() > 0 => return Ok(Drift::Possible),
                    None => *self = Self::Pools(0, None),
                }
                Ok(Drift::Unfinished)
            }
            Self::Pools(number, from) => Ok(compare_pools(maps, plane, number, from)),
        }
    }
}

/// Compares about [`MEMBERS`] members from there on.
fn compare_pools(
    maps: &Maps,
    plane: &Plane,
    number: &mut u32,
    from: &mut Option<SocketAddr>,
) -> Drift {
    let mut left = MEMBERS;
    while left > 0 {
        if *number > plane.last_pool() {
            return Drift::None;
        }
        let Some(pool) = plane.pool(*number) else {
            (*number, *from) = (*number + 1, None);
            left -= 1;
            continue;
        };
        let all = pool.backends.len();
        let start = from.map_or(0, |from| pool.backends.partition_point(|it| address(it) < from));
        let end = all.min(start + left);
        let begun = from.is_some();
        if !(begun || is_itself(maps, pool)) || !has_members(maps, pool, start..end) {
            return Drift::Possible;
        }
        (*number, *from) = match pool.backends.get(end) {
            Some(next) => (*number, Some(address(next))),
            None => (*number + 1, None),
        };
        left = left.saturating_sub(end - start + POOL);
    }
    Drift::Unfinished
}

/// Whether the pool's own words are right, and the slots of its local members.
fn is_itself(maps: &Maps, pool: &PoolState) -> bool {
    let local = (pool.local.first..).zip(&pool.local.members);
    // Programs look at no more.
    let mut local = local.take(LOCALS);
    maps.pools.get(pool.number) == pool.words()
        && local.all(|(slot, number)| maps.slots.get(slot) == *number)
}

/// Whether these slots lead to the members that they should, and these to their addresses.
fn has_members(maps: &Maps, pool: &PoolState, which: Range<usize>) -> bool {
    let backends = maps.backends(pool.family);
    let first = pool.first + which.start as u32;
    let slots = (first..).zip(&pool.numbers[which.clone()]);
    slots.zip(&pool.backends[which]).all(|((slot, number), backend)| {
        maps.slots.get(slot) == *number
            && backends.pool(*number) == pool.number
            && backends.address(*number) == address(backend)
    })
}
