//! What lies in the maps, and how to follow a change. Decides only: whoever calls does the writing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use portolan_model::backend::{Backend, Pool};
use portolan_model::frontend::{Family, FrontendAddress, FrontendKey, PoolKey, PortName};
use portolan_model::{Changes, Desired};

use super::frontends::Frontends;
use super::layout::{Entry, Key, RESERVED, protocol_number};
use super::numbers::{Bits, Blocks, Full, Numbers, room};
use super::pool::{Local, PoolState, PoolWords, Step, address, compare, is_local, local_room};
use super::served::{keys, reservation, served};
use super::sizes::{Sizes, affinity};

/// What is to be written, in this order: nothing leads to what is not there yet.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) members: Vec<Arrival>,
    pub(super) slots: Vec<(u32, u32)>,
    /// Pools by number.
    pub(super) pools: BTreeMap<u32, PoolWords>,
    pub(super) frontends: BTreeMap<Key, Option<Entry>>,
    /// Numbers of backends that are no more.
    pub(super) gone: Vec<(Family, u32)>,
}

/// A backend that a pool is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) number: u32,
    pub(super) pool: u32,
    pub(super) address: SocketAddr,
}

/// What lies in the maps.
#[derive(Debug, Default)]
pub(super) struct Plane {
    pub(super) sizes: Sizes,
    pub(super) frontends: Frontends,
    /// Numbers of pools.
    known: HashMap<PoolKey, u32>,
    /// By number.
    pools: Vec<Option<PoolState>>,
    /// The keys of each node port, which depend on the addresses of others.
    spread: HashMap<FrontendKey, Vec<Key>>,
    numbers: Numbers,
    members4: Numbers,
    members6: Numbers,
    blocks: Blocks,
    generation: u32,
}

impl Plane {
    /// A plane that starts from what was found in maps of these sizes.
    pub(super) fn adopt(found: Vec<(PoolKey, PoolState)>, generation: u32, sizes: Sizes) -> Self {
        let ends = found.iter().map(|(_, pool)| {
            let local = &pool.local;
            (pool.first + pool.room).max(local.first + local_room(local.members.len()))
        });
        let next = ends.max().unwrap_or(0);
        let mut plane = Self { generation, ..Self::default() };
        for (key, pool) in found {
            plane.put(key, pool);
        }
        plane.count(sizes, next);
        plane
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &PoolState> {
        self.pools.iter().flatten()
    }

    pub(super) fn pool(&self, number: u32) -> Option<&PoolState> {
        self.pools.get(number as usize)?.as_ref()
    }

    /// No pool has a greater number.
    pub(super) fn last_pool(&self) -> u32 {
        self.pools.len().saturating_sub(1) as u32
    }

    fn put(&mut self, key: PoolKey, pool: PoolState) {
        let number = pool.number as usize;
        self.known.insert(key, pool.number);
        if number >= self.pools.len() {
            self.pools.resize_with(number + 1, || None);
        }
        self.pools[number] = Some(pool);
    }

    fn take(&mut self, key: &PoolKey) -> Option<PoolState> {
        let number = self.known.remove(key)?;
        self.pools.get_mut(number as usize)?.take()
    }

    /// Makes free what no pool has, in maps of these sizes whose slots are taken up to there.
    fn count(&mut self, sizes: Sizes, slots: u32) {
        let mut numbers = Bits::below(sizes.pools);
        let mut members4 = Bits::below(sizes.backends4);
        let mut members6 = Bits::below(sizes.backends6);
        for pool in self.pools() {
            numbers.insert(pool.number);
            let members = match pool.family {
                Family::Ipv4 => &mut members4,
                Family::Ipv6 => &mut members6,
            };
            for number in &pool.numbers {
                members.insert(*number);
            }
        }
        self.numbers = Numbers::without(&numbers, sizes.pools);
        self.members4 = Numbers::without(&members4, sizes.backends4);
        self.members6 = Numbers::without(&members6, sizes.backends6);
        self.blocks = Blocks::from(slots, sizes.slots);
        self.sizes = sizes;
    }

    /// Goes over to `desired` in maps that are yet to be made. Nothing leads anywhere in them, so
    /// all that goes makes room at once; who stays keeps its number, for sockets and clients
    /// remember it.
    pub(super) fn start_over(&mut self, desired: &Desired) -> Result<(), Full> {
        self.drop_what_goes(desired)?;
        let pools = self.pools();
        let numbers = |family| pools_of(self, family).flat_map(|pool| &pool.numbers).copied().max();
        let sizes = Sizes::needed(desired).or_more(Sizes {
            pools: pools.map(|pool| pool.number + 1).max().unwrap_or(0),
            backends4: numbers(Family::Ipv4).map_or(0, |last| last + 1),
            backends6: numbers(Family::Ipv6).map_or(0, |last| last + 1),
            affinity: self.sizes.affinity,
            ..Sizes::default()
        });
        self.count(sizes, 0);
        for pool in self.pools.iter_mut().flatten() {
            (pool.first, pool.room) = (0, 0);
            pool.local = Local::default();
        }
        self.follow_all(desired)
    }

    /// Lets go of all pools and members that `desired` does not have.
    fn drop_what_goes(&mut self, desired: &Desired) -> Result<(), Full> {
        let known = std::mem::take(&mut self.known);
        for (key, number) in known {
            let pool = self.pools.get_mut(number as usize).and_then(Option::take);
            let (Some(mut pool), Some(after)) = (pool, desired.pool(&key)) else { continue };
            let mut stay = Vec::with_capacity(pool.numbers.len());
            compare(&pool.backends, &after.backends, |step| {
                if let Step::Stay(at) = step {
                    stay.push((pool.backends[at], pool.numbers[at]));
                }
                Ok(())
            })?;
            if stay.len() < pool.numbers.len() {
                pool.backends = stay.iter().map(|(backend, _)| *backend).collect();
                pool.numbers = stay.iter().map(|(_, number)| *number).collect();
            }
            self.put(key, pool);
        }
        Ok(())
    }

    /// Follows a change.
    ///
    /// # Errors
    /// When the maps are too small; the plane is to be made anew then.
    pub(super) fn follow(&mut self, desired: &Desired, changes: &Changes) -> Result<Writes, Full> {
        self.settle();
        let mut writes = Writes::default();
        let mut touched: BTreeSet<Arc<PortName>> = BTreeSet::new();
        for (key, change) in changes.pools.iter().filter(|(key, _)| is_served(key)) {
            touched.insert(key.port.clone());
            self.follow_pool(desired, key, change.after.as_ref(), &mut writes)?;
        }
        for (key, change) in &changes.frontends {
            let both = [&change.before, &change.after];
            touched.extend(both.into_iter().flatten().map(|frontend| frontend.port.clone()));
            self.follow_frontend(desired, key, &mut writes);
            // A node port has its address only where nobody has it in its own name.
            if let FrontendAddress::Ip(ip) = &key.address
                && desired.own_addresses().contains(ip)
            {
                let node = FrontendKey { address: FrontendAddress::Node(key.family()), ..*key };
                self.follow_frontend(desired, &node, &mut writes);
            }
        }
        for port in touched {
            for key in desired.frontends_of(&port.service) {
                if desired.frontend(key).is_some_and(|frontend| frontend.port == port) {
                    self.follow_frontend(desired, key, &mut writes);
                }
            }
        }
        if self.frontends.len() > self.sizes.frontends as usize { Err(Full) } else { Ok(writes) }
    }

    /// Goes over to `desired`, wherever the plane was before.
    pub(super) fn follow_all(&mut self, desired: &Desired) -> Result<(), Full> {
        self.settle();
        // Nobody writes these one by one.
        let mut writes = Writes::default();
        let stale: Vec<_> =
            self.known.keys().filter(|key| desired.pool(key).is_none()).cloned().collect();
        for key in stale {
            self.follow_pool(desired, &key, None, &mut writes)?;
        }
        for (key, pool) in desired.pools().filter(|(key, _)| is_served(key)) {
            self.follow_pool(desired, key, Some(pool), &mut writes)?;
            writes = Writes::default();
        }
        self.frontends.clear();
        self.spread.clear();
        for (key, _) in desired.frontends() {
            self.follow_frontend(desired, key, &mut writes);
            writes.frontends.clear();
        }
        if self.frontends.len() > self.sizes.frontends as usize { Err(Full) } else { Ok(()) }
    }

    fn settle(&mut self) {
        self.numbers.settle();
        self.members4.settle();
        self.members6.settle();
        self.blocks.settle();
    }

    fn follow_frontend(&mut self, desired: &Desired, key: &FrontendKey, writes: &mut Writes) {
        let now = self.entries(desired, key);
        let before = match &key.address {
            FrontendAddress::Ip(_) => keys(desired, key),
            FrontendAddress::Node(_) => self.spread.remove(key).unwrap_or_default(),
        };
        for gone in before.iter().filter(|old| !now.iter().any(|(new, _)| new == *old)) {
            if self.frontends.remove(gone) {
                writes.frontends.insert(*gone, None);
            }
        }
        for (new, entry) in &now {
            if self.frontends.insert(*new, *entry) {
                writes.frontends.insert(*new, Some(*entry));
            }
        }
        if matches!(key.address, FrontendAddress::Node(_)) && !now.is_empty() {
            self.spread.insert(*key, now.into_iter().map(|(key, _)| key).collect());
        }
    }

    /// What the map is to hold of a frontend.
    fn entries(&self, desired: &Desired, key: &FrontendKey) -> Vec<(Key, Entry)> {
        let Some(frontend) = desired.frontend(key) else { return vec![] };
        let mut entries = Vec::new();
        if let Some(served) = served(desired, key, frontend) {
            let pool =
                PoolKey { port: frontend.port.clone(), family: key.family(), scope: served.scope };
            if let Some(pool) = self.known.get(&pool) {
                let entry = Entry { pool: *pool, flags: served.flags };
                entries.extend(keys(desired, key).into_iter().map(|key| (key, entry)));
            }
        }
        let reserved = Entry { pool: 0, flags: RESERVED };
        entries.extend(reservation(key, frontend).map(|key| (key, reserved)));
        entries
    }

    fn follow_pool(
        &mut self,
        desired: &Desired,
        key: &PoolKey,
        after: Option<&Pool>,
        writes: &mut Writes,
    ) -> Result<(), Full> {
        let mut pool = match (self.take(key), after) {
            (Some(pool), Some(_)) => pool,
            (None, Some(_)) => self.empty_pool(key.family)?,
            (Some(pool), None) => {
                self.free_pool(&pool, writes);
                return Ok(());
            }
            (None, None) => return Ok(()),
        };
        let Some(after) = after else { return Ok(()) };
        pool.affinity = after.affinity_seconds.unwrap_or(0);
        let result = self
            .follow_members(&mut pool, &after.backends, writes)
            .and_then(|()| self.follow_local(desired, &mut pool, writes));
        writes.pools.insert(pool.number, pool.words());
        self.put(key.clone(), pool);
        if after.affinity_seconds.is_some() && self.sizes.affinity < affinity(true) {
            return Err(Full);
        }
        result
    }

    fn empty_pool(&mut self, family: Family) -> Result<PoolState, Full> {
        Ok(PoolState {
            number: self.numbers.allocate()?,
            family,
            affinity: 0,
            first: 0,
            room: 0,
            backends: [].into(),
            numbers: [].into(),
            local: Local::default(),
        })
    }

    fn free_pool(&mut self, pool: &PoolState, writes: &mut Writes) {
        writes.pools.insert(pool.number, PoolWords::default());
        writes.gone.extend(pool.numbers.iter().map(|number| (pool.family, *number)));
        let members = self.members(pool.family);
        pool.numbers.iter().for_each(|number| members.free(*number));
        self.numbers.free(pool.number);
        self.blocks.free(pool.first, pool.room);
        self.free_local(&pool.local);
    }

    fn members(&mut self, family: Family) -> &mut Numbers {
        match family {
            Family::Ipv4 => &mut self.members4,
            Family::Ipv6 => &mut self.members6,
        }
    }

    /// Who stays keeps its number. Slots are in the model's order, so one that comes or goes moves
    /// those behind it; a program that draws meanwhile still meets members of the pool only.
    fn follow_members(
        &mut self,
        pool: &mut PoolState,
        after: &Arc<[Backend]>,
        writes: &mut Writes,
    ) -> Result<(), Full> {
        let (owner, family) = (pool.number, pool.family);
        let members = self.members(family);
        let mut numbers = Vec::with_capacity(after.len());
        let mut left = Vec::new();
        compare(&pool.backends, after, |step| {
            match step {
                Step::Stay(at) => numbers.push(pool.numbers[at]),
                Step::Leave(at) => left.push(pool.numbers[at]),
                Step::Arrive(at) => {
                    let (number, address) = (members.allocate()?, address(&after[at]));
                    writes.members.push(Arrival { number, pool: owner, address });
                    numbers.push(number);
                }
            }
            Ok(())
        })?;
        left.iter().for_each(|number| members.free(*number));
        writes.gone.extend(left.into_iter().map(|number| (family, number)));
        let moved = numbers.len() > pool.room as usize;
        if moved {
            let room = room(numbers.len());
            let first = self.blocks.allocate(room)?;
            self.blocks.free(pool.first, pool.room);
            (pool.first, pool.room) = (first, room);
        }
        for (at, number) in numbers.iter().enumerate() {
            if moved || pool.numbers.get(at) != Some(number) {
                writes.slots.push((pool.first + at as u32, *number));
            }
        }
        pool.backends = after.clone();
        pool.numbers = numbers.into();
        Ok(())
    }

    /// Whatever changes among the local members, they move to other slots: a program sees all of
    /// them as they were or as they are.
    fn follow_local(
        &mut self,
        desired: &Desired,
        pool: &mut PoolState,
        writes: &mut Writes,
    ) -> Result<(), Full> {
        let all = pool.numbers.iter().zip(&*pool.backends);
        let members: Box<[u32]> = all
            .filter(|(_, backend)| is_local(desired, backend))
            .map(|(number, _)| *number)
            .collect();
        if members == pool.local.members {
            return Ok(());
        }
        self.free_local(&std::mem::take(&mut pool.local));
        let first = match local_room(members.len()) {
            0 => 0,
            room => self.blocks.allocate(room)?,
        };
        writes.slots.extend((first..).zip(members.iter().copied()));
        // Zero is that of a pool that never had any.
        self.generation = self.generation.wrapping_add(1).max(1);
        pool.local = Local { first, members, generation: self.generation };
        Ok(())
    }

    fn free_local(&mut self, local: &Local) {
        self.blocks.free(local.first, local_room(local.members.len()));
    }
}

fn pools_of(plane: &Plane, family: Family) -> impl Iterator<Item = &PoolState> {
    plane.pools().filter(move |pool| pool.family == family)
}

pub(super) fn is_served(key: &PoolKey) -> bool {
    protocol_number(key.port.protocol).is_some()
}

#[cfg(test)]
mod tests;
