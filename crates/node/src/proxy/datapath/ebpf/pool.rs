//! Pools and their members, as they lie in the maps.

use std::net::SocketAddr;

use portolan_model::Desired;
use portolan_model::backend::{Backend, Pool};

use super::layout::range;
use super::numbers::room;

/// A backend of a pool, under the number that it keeps for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    pub(super) number: u32,
    pub(super) serial: u32,
}

/// A pool, as it lies in the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolState {
    pub(super) number: u32,
    pub(super) affinity: u32,
    pub(super) first: u32,
    /// Slots that are its own.
    pub(super) room: u32,
    /// By slot. Their order is that of arrival, so that one that goes or comes moves at most one.
    pub(super) members: Vec<Member>,
    pub(super) local: Local,
}

/// The members of a pool that are pods of this node: who dials the pool may be one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Local {
    /// First of the slots that hold them once more.
    pub(super) first: u32,
    pub(super) members: Vec<u32>,
    /// Another one whenever the members are others.
    pub(super) generation: u32,
}

/// What is written of a pool itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolWords {
    pub(super) range: u64,
    pub(super) local: u64,
    pub(super) affinity: u32,
    pub(super) generation: u32,
}

impl PoolState {
    pub(super) fn words(&self) -> PoolWords {
        PoolWords {
            range: range(self.first, self.members.len() as u32),
            local: range(self.local.first, self.local.members.len() as u32),
            affinity: self.affinity,
            generation: self.local.generation,
        }
    }
}

/// The backends that are pods of this node; those in the node's own namespace have its addresses.
pub(super) fn local<'a>(desired: &'a Desired, pool: &'a Pool) -> impl Iterator<Item = &'a Backend> {
    let own = desired.own_addresses();
    pool.backends.iter().filter(|backend| backend.local && !own.contains(&backend.address))
}

/// How many slots a pool takes.
pub(super) fn slots(desired: &Desired, pool: &Pool) -> usize {
    (room(pool.backends.len()) + local_room(local(desired, pool).count())) as usize
}

/// The slots that so many local members are given.
pub(super) fn local_room(members: usize) -> u32 {
    if members == 0 { 0 } else { room(members) }
}
