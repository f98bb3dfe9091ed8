//! What lies in the maps, and how to follow a change. Decides only: whoever calls does the writing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use portolan_model::backend::Pool;
use portolan_model::frontend::{FrontendAddress, FrontendKey, PoolKey, PortName};
use portolan_model::{Changes, Desired};

use super::layout::{Entry, Key, RESERVED, protocol_number};
use super::numbers::{Blocks, Full, Numbers, room};
use super::pool::{Local, Member, PoolState, PoolWords, local, local_room, slots};
use super::served::{keys, reservation, served};

/// How many elements each map holds at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) frontends: u32,
    pub(super) pools: u32,
    pub(super) slots: u32,
    pub(super) backends: u32,
}

/// What is to be written, in this order: nothing leads to what is not there yet.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// A backend with the number of its pool.
    pub(super) members: Vec<(u32, Member)>,
    pub(super) slots: Vec<(u32, u32)>,
    /// Pools by number.
    pub(super) pools: BTreeMap<u32, PoolWords>,
    pub(super) frontends: BTreeMap<Key, Option<Entry>>,
    /// Numbers of backends that are no more.
    pub(super) gone: Vec<u32>,
}

/// What lies in the maps.
#[derive(Debug, Default)]
pub(super) struct Plane {
    pub(super) sizes: Sizes,
    pub(super) pools: HashMap<PoolKey, PoolState>,
    pub(super) frontends: HashMap<Key, Entry>,
    /// The keys that each frontend has.
    owners: HashMap<FrontendKey, Vec<Key>>,
    numbers: Numbers,
    members: Numbers,
    blocks: Blocks,
    serial: u32,
}

impl Plane {
    /// A plane that starts from what was found in maps of these sizes.
    pub(super) fn adopt(found: HashMap<PoolKey, PoolState>, serial: u32, sizes: Sizes) -> Self {
        let numbers: HashSet<u32> = found.values().map(|pool| pool.number).collect();
        let members =
            found.values().flat_map(|pool| pool.members.iter().map(|member| member.number));
        let ends = found.values().map(|pool| {
            let local = &pool.local;
            (pool.first + pool.room).max(local.first + local_room(local.members.len()))
        });
        let next = ends.max().unwrap_or(0);
        Self {
            sizes,
            numbers: Numbers::without(&numbers, sizes.pools),
            members: Numbers::without(&members.collect(), sizes.backends),
            blocks: Blocks::from(next, sizes.slots),
            serial,
            pools: found,
            frontends: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// The sizes that maps need for `desired`, with room to grow.
    pub(super) fn needed(desired: &Desired) -> Sizes {
        let pools = || desired.pools().filter(|(key, _)| is_served(key));
        let ample = |count: usize| (count + count / 2 + 1024) as u32;
        let own = desired.own_addresses().len();
        let entries = desired.frontends().map(|(key, _)| match key.address {
            FrontendAddress::Ip(_) => 1,
            FrontendAddress::Node(_) => 1 + own,
        });
        Sizes {
            frontends: ample(entries.sum()),
            pools: ample(pools().count()),
            slots: ample(pools().map(|(_, pool)| slots(desired, pool)).sum()),
            backends: ample(pools().map(|(_, pool)| pool.backends.len()).sum()),
        }
    }

    /// Moves to maps of other sizes, at least as large: pools are laid out anew, numbers stay.
    pub(super) fn resize(&mut self, sizes: Sizes) -> Result<(), Full> {
        self.numbers.grow(sizes.pools);
        self.members.grow(sizes.backends);
        self.blocks = Blocks::from(0, sizes.slots);
        self.sizes = sizes;
        for pool in self.pools.values_mut() {
            pool.room = room(pool.members.len());
            pool.first = self.blocks.allocate(pool.room)?;
            let local = &mut pool.local;
            local.first = match local_room(local.members.len()) {
                0 => 0,
                room => self.blocks.allocate(room)?,
            };
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
        let mut writes = Writes::default();
        let stale: Vec<_> =
            self.pools.keys().filter(|key| desired.pool(key).is_none()).cloned().collect();
        for key in stale {
            self.follow_pool(desired, &key, None, &mut writes)?;
        }
        for (key, pool) in desired.pools().filter(|(key, _)| is_served(key)) {
            self.follow_pool(desired, key, Some(pool), &mut writes)?;
            // Nobody writes these one by one.
            writes = Writes::default();
        }
        self.frontends.clear();
        self.owners.clear();
        for (key, _) in desired.frontends() {
            self.follow_frontend(desired, key, &mut writes);
            writes.frontends.clear();
        }
        if self.frontends.len() > self.sizes.frontends as usize { Err(Full) } else { Ok(()) }
    }

    fn settle(&mut self) {
        self.numbers.settle();
        self.members.settle();
        self.blocks.settle();
    }

    fn follow_frontend(&mut self, desired: &Desired, key: &FrontendKey, writes: &mut Writes) {
        let mut now: Vec<(Key, Entry)> = Vec::new();
        if let Some(frontend) = desired.frontend(key) {
            if let Some(served) = served(desired, key, frontend) {
                let pool = PoolKey {
                    port: frontend.port.clone(),
                    family: key.family(),
                    scope: served.scope,
                };
                if let Some(pool) = self.pools.get(&pool) {
                    let entry = Entry { pool: pool.number, flags: served.flags };
                    now.extend(keys(desired, key).into_iter().map(|key| (key, entry)));
                }
            }
            let reserved = Entry { pool: 0, flags: RESERVED };
            now.extend(reservation(key, frontend).map(|key| (key, reserved)));
        }
        let before = self.owners.remove(key).unwrap_or_default();
        for gone in before.iter().filter(|old| !now.iter().any(|(new, _)| new == *old)) {
            if self.frontends.remove(gone).is_some() {
                writes.frontends.insert(*gone, None);
            }
        }
        for (new, entry) in &now {
            if self.frontends.insert(*new, *entry) != Some(*entry) {
                writes.frontends.insert(*new, Some(*entry));
            }
        }
        if !now.is_empty() {
            self.owners.insert(*key, now.into_iter().map(|(key, _)| key).collect());
        }
    }

    fn follow_pool(
        &mut self,
        desired: &Desired,
        key: &PoolKey,
        after: Option<&Pool>,
        writes: &mut Writes,
    ) -> Result<(), Full> {
        let Some(after) = after else {
            if let Some(old) = self.pools.remove(key) {
                writes.pools.insert(old.number, PoolWords::default());
                writes.gone.extend(old.members.iter().map(|member| member.number));
                old.members.iter().for_each(|member| self.members.free(member.number));
                self.numbers.free(old.number);
                self.blocks.free(old.first, old.room);
                self.free_local(&old.local);
            }
            return Ok(());
        };
        let wanted: Vec<SocketAddr> = after
            .backends
            .iter()
            .map(|backend| SocketAddr::new(backend.address, backend.port))
            .collect();
        let mut pool = match self.pools.remove(key) {
            Some(pool) => pool,
            None => {
                let room = room(wanted.len());
                PoolState {
                    number: self.numbers.allocate()?,
                    affinity: 0,
                    first: self.blocks.allocate(room)?,
                    room,
                    members: Vec::with_capacity(wanted.len()),
                    local: Local::default(),
                }
            }
        };
        pool.affinity = after.affinity_seconds.unwrap_or(0);
        let result = self
            .follow_members(&mut pool, &wanted, writes)
            .and_then(|()| self.follow_local(desired, &mut pool, after, writes));
        writes.pools.insert(pool.number, pool.words());
        self.pools.insert(key.clone(), pool);
        result
    }

    /// Whatever changes among the local members, they move to other slots: a program sees all of
    /// them as they were or as they are.
    fn follow_local(
        &mut self,
        desired: &Desired,
        pool: &mut PoolState,
        after: &Pool,
        writes: &mut Writes,
    ) -> Result<(), Full> {
        let wanted: HashSet<SocketAddr> = local(desired, after)
            .map(|backend| SocketAddr::new(backend.address, backend.port))
            .collect();
        let members: Vec<u32> = if wanted.is_empty() {
            vec![]
        } else {
            let local = pool.members.iter().filter(|member| wanted.contains(&member.address));
            local.map(|member| member.number).collect()
        };
        if members == pool.local.members {
            return Ok(());
        }
        self.free_local(&std::mem::take(&mut pool.local));
        let first = match local_room(members.len()) {
            0 => 0,
            room => self.blocks.allocate(room)?,
        };
        writes.slots.extend((first..).zip(members.iter().copied()));
        pool.local = Local { first, members, generation: self.next_serial() };
        Ok(())
    }

    fn free_local(&mut self, local: &Local) {
        match local_room(local.members.len()) {
            0 => {}
            room => self.blocks.free(local.first, room),
        }
    }

    fn next_serial(&mut self) -> u32 {
        // Zero means gone.
        self.serial = self.serial.wrapping_add(1).max(1);
        self.serial
    }

    /// Replacements take the place of what goes, and the last fills a hole.
    fn follow_members(
        &mut self,
        pool: &mut PoolState,
        wanted: &[SocketAddr],
        writes: &mut Writes,
    ) -> Result<(), Full> {
        let mut arrivals: Vec<SocketAddr> = if pool.members.is_empty() {
            wanted.to_vec()
        } else {
            let old: HashSet<_> = pool.members.iter().map(|member| member.address).collect();
            wanted.iter().filter(|address| !old.contains(*address)).copied().collect()
        };
        arrivals.reverse();
        let leaving = (pool.members.len() + arrivals.len()).saturating_sub(wanted.len());
        let mut index = 0;
        if leaving > 0 {
            let new: HashSet<_> = wanted.iter().copied().collect();
            while index < pool.members.len() {
                let member = pool.members[index];
                if new.contains(&member.address) {
                    index += 1;
                    continue;
                }
                writes.gone.push(member.number);
                self.members.free(member.number);
                if let Some(arrival) = arrivals.pop() {
                    pool.members[index] = self.member(pool.number, arrival, writes)?;
                    writes.slots.push((pool.first + index as u32, pool.members[index].number));
                    index += 1;
                } else {
                    pool.members.swap_remove(index);
                    if let Some(moved) = pool.members.get(index) {
                        writes.slots.push((pool.first + index as u32, moved.number));
                    }
                }
            }
        }
        let count = pool.members.len() + arrivals.len();
        if count > pool.room as usize {
            let (old, old_room) = (pool.first, pool.room);
            pool.room = room(count);
            pool.first = self.blocks.allocate(pool.room)?;
            self.blocks.free(old, old_room);
            let moved = pool.members.iter().zip(pool.first..);
            writes.slots.extend(moved.map(|(member, slot)| (slot, member.number)));
        }
        while let Some(arrival) = arrivals.pop() {
            let member = self.member(pool.number, arrival, writes)?;
            writes.slots.push((pool.first + pool.members.len() as u32, member.number));
            pool.members.push(member);
        }
        Ok(())
    }

    fn member(
        &mut self,
        pool: u32,
        address: SocketAddr,
        writes: &mut Writes,
    ) -> Result<Member, Full> {
        let (number, serial) = (self.members.allocate()?, self.next_serial());
        let member = Member { address, number, serial };
        writes.members.push((pool, member));
        Ok(member)
    }
}

fn is_served(key: &PoolKey) -> bool {
    protocol_number(key.port.protocol).is_some()
}
