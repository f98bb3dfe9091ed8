//! Pools and their members, as they lie in the maps.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_model::Desired;
use portolan_model::backend::{Backend, Pool};
use portolan_model::frontend::Family;

use super::layout::range;
use super::numbers::room;

/// A pool, as it lies in the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolState {
    pub(super) number: u32,
    pub(super) family: Family,
    pub(super) affinity: u32,
    pub(super) first: u32,
    /// Slots that are its own.
    pub(super) room: u32,
    /// The model's own list, so it costs nothing.
    pub(super) backends: Arc<[Backend]>,
    /// The number of each backend, which it keeps for life. Slots are in this order too.
    pub(super) numbers: Box<[u32]>,
    pub(super) local: Local,
}

/// The members of a pool that are pods of this node: who dials the pool may be one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Local {
    /// First of the slots that hold them once more.
    pub(super) first: u32,
    pub(super) members: Box<[u32]>,
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
            range: range(self.first, self.numbers.len() as u32),
            local: range(self.local.first, self.local.members.len() as u32),
            affinity: self.affinity,
            generation: self.local.generation,
        }
    }

    /// Number and address of each member, by slot.
    pub(super) fn members(&self) -> impl Iterator<Item = (u32, SocketAddr)> {
        self.numbers.iter().copied().zip(self.backends.iter().map(address))
    }
}

pub(super) fn address(backend: &Backend) -> SocketAddr {
    SocketAddr::new(backend.address, backend.port)
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The member at that place stays.
    Stay(usize),
    /// The one at that place goes.
    Leave(usize),
    /// One arrives, at that place of the later list.
    Arrive(usize),
}

/// Tells `each` how one list of backends becomes another, in the order of both.
pub(super) fn compare<E>(
    before: &[Backend],
    after: &[Backend],
    mut each: impl FnMut(Step) -> Result<(), E>,
) -> Result<(), E> {
    let key = |backend: &Backend| (backend.address, backend.port);
    let (mut old, mut new) = (0, 0);
    loop {
        let order = match (before.get(old), after.get(new)) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => key(before).cmp(&key(after)),
        };
        each(match order {
            Ordering::Less => Step::Leave(old),
            Ordering::Equal => Step::Stay(old),
            Ordering::Greater => Step::Arrive(new),
        })?;
        old += usize::from(order.is_le());
        new += usize::from(order.is_ge());
    }
}

/// Whether the backend is a pod of this node; those in the node's own namespace have its addresses.
pub(super) fn is_local(desired: &Desired, backend: &Backend) -> bool {
    let own = |ip: &IpAddr| desired.own_addresses().contains(ip);
    backend.local && !own(&backend.address)
}

/// How many slots a pool takes.
pub(super) fn slots(desired: &Desired, pool: &Pool) -> usize {
    let local = pool.backends.iter().filter(|backend| is_local(desired, backend)).count();
    (room(pool.backends.len()) + local_room(local)) as usize
}

/// The slots that so many local members are given.
pub(super) fn local_room(members: usize) -> u32 {
    if members == 0 { 0 } else { room(members) }
}
