//! The maps, open: reading them back, and writing what the plane decided.
//!
//! Programs read while this writes. Backends come before the slots that lead to them, slots before
//! the pool's range that leads to them, pools before frontends; and a program that meets a backend
//! of another pool than it came for leaves the connection to the tables beneath.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use portolan_linux::bpf::{Cursor, Map};
use portolan_linux::{Attempt, Failed};
use portolan_model::Desired;
use portolan_model::backend::{Backend, Pool};
use portolan_model::frontend::{Family, PoolKey};

use super::arrays::{Backends, Pools, Slots};
use super::layout::{Entry, Key, read_range};
use super::numbers::{Bits, room};
use super::plane::{Plane, Writes};
use super::pool::{Local, PoolState, PoolWords, address, local_room};
use super::served::{keys, served};
use super::sizes::Sizes;

#[derive(Debug)]
pub(super) struct Maps {
    frontends: Map,
    pub(super) pools: Pools,
    pub(super) slots: Slots,
    backends4: Backends,
    backends6: Backends,
    affinity: Map,
    pub(super) connected: Map,
    pub(super) namespaces: Map,
}

/// A pool as a program finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) words: PoolWords,
    pub(super) members: Vec<(u32, SocketAddr)>,
    /// Numbers of those that are pods of this node.
    pub(super) local: Box<[u32]>,
}

/// Frontends as they lie in the map.
type Listed = Vec<(Key, Entry)>;

impl Maps {
    pub(super) fn open(directory: &Path) -> Attempt<Self> {
        let maps = Self {
            frontends: Map::open(directory.join("frontends"))?,
            pools: Pools::open(directory)?,
            slots: Slots::open(directory)?,
            backends4: Backends::open(directory, Family::Ipv4)?,
            backends6: Backends::open(directory, Family::Ipv6)?,
            affinity: Map::open(directory.join("affinity"))?,
            connected: Map::open(directory.join("connected"))?,
            namespaces: Map::open(directory.join("namespaces"))?,
        };
        let shape = maps.frontends.shape();
        if (shape.key, shape.value) == (size_of::<Key>(), 8) {
            return Ok(maps);
        }
        let source = std::io::Error::from(std::io::ErrorKind::InvalidData);
        Err(Failed::new(format!("use the maps in {}", directory.display()), source))
    }

    /// The arrays count as memory of this process while it looks at them: that is over for now.
    pub(super) fn rest(&mut self) {
        self.pools.rest();
        self.slots.rest();
        self.backends4.rest();
        self.backends6.rest();
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            frontends: self.frontends.shape().max_entries,
            pools: self.pools.len(),
            slots: self.slots.len(),
            backends4: self.backends4.len(),
            backends6: self.backends6.len(),
            affinity: self.affinity.shape().max_entries,
        }
    }

    pub(super) fn backends(&self, family: Family) -> &Backends {
        match family {
            Family::Ipv4 => &self.backends4,
            Family::Ipv6 => &self.backends6,
        }
    }

    /// The frontends as they lie in the map.
    pub(super) fn frontends(&self) -> Attempt<HashMap<Key, Entry>> {
        let mut all = HashMap::new();
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let (some, next) = self.some_frontends(from, 4096)?;
            all.extend(some);
            cursor = next;
        }
        Ok(all)
    }

    /// About so many of the frontends, and where to go on.
    pub(super) fn some_frontends(
        &self,
        from: Cursor,
        count: usize,
    ) -> Attempt<(Listed, Option<Cursor>)> {
        let (entries, next) = self.frontends.read(from, count)?;
        let read = |(key, value): (&[u8], &[u8])| Some((*key.first_chunk()?, Entry::read(value)?));
        Ok((entries.iter().filter_map(read).collect(), next))
    }

    /// The pool of that number; `None` when a program could not use all of it.
    pub(super) fn pool(&self, number: u32, family: Family) -> Option<Found> {
        if number == 0 || number >= self.pools.len() {
            return None;
        }
        let (words, backends) = (self.pools.get(number), self.backends(family));
        let slots = |range| {
            let (first, count) = read_range(range);
            let inside = u64::from(first) + u64::from(count) <= u64::from(self.slots.len());
            inside.then(|| first..first + count)
        };
        let member = |slot| {
            let id = self.slots.get(slot);
            let right = id < backends.len() && backends.pool(id) == number;
            right.then(|| (id, backends.address(id)))
        };
        let members = slots(words.range)?.map(member).collect::<Option<_>>()?;
        let local = slots(words.local)?.map(|slot| Some(member(slot)?.0));
        Some(Found { words, members, local: local.collect::<Option<_>>()? })
    }

    /// What an earlier process left, as far as it is whole and still wanted.
    pub(super) fn adopt(&self, desired: &Desired) -> Attempt<Plane> {
        let held = self.frontends()?;
        let mut adopted: HashMap<PoolKey, PoolState> = HashMap::new();
        let mut claims = Claims::new(self);
        for (key, frontend) in desired.frontends() {
            let Some(served) = served(desired, key, frontend) else { continue };
            let pool =
                PoolKey { port: frontend.port.clone(), family: key.family(), scope: served.scope };
            if adopted.contains_key(&pool) {
                continue;
            }
            let entries = keys(desired, key);
            let numbers = entries.iter().filter_map(|key| Some(held.get(key)?.pool));
            let numbers: BTreeSet<u32> = numbers.collect();
            let state = numbers.into_iter().find_map(|number| {
                claims.pool(
                    number,
                    pool.family,
                    self.pool(number, pool.family)?,
                    desired.pool(&pool),
                )
            });
            if let Some(state) = state {
                adopted.insert(pool, state);
            }
        }
        self.fit_rooms(&mut adopted);
        let generations = (1..self.pools.len()).map(|number| self.pools.get(number).generation);
        let last = generations.max().unwrap_or(0);
        Ok(Plane::adopt(adopted.into_iter().collect(), last, self.sizes()))
    }

    /// Rooms may have been larger than what they hold; nobody else's begins inside.
    fn fit_rooms(&self, adopted: &mut HashMap<PoolKey, PoolState>) {
        let local = adopted.values().map(|pool| &pool.local);
        let local = local.filter(|local| !local.members.is_empty()).map(|local| local.first);
        let mut starts: Vec<u32> = adopted.values().map(|pool| pool.first).chain(local).collect();
        starts.sort_unstable();
        let limit = self.slots.len();
        let end = |first: u32| {
            let next = starts.partition_point(|start| *start <= first);
            starts.get(next).copied().unwrap_or(limit)
        };
        for pool in adopted.values_mut() {
            pool.room = pool.room.min(end(pool.first) - pool.first);
            // These are given back whole.
            let local = &mut pool.local;
            if local.first + local_room(local.members.len()) > end(local.first) {
                *local = Local::default();
            }
        }
    }

    /// Takes over what numbers meant in earlier maps: sockets and clients remember some.
    pub(super) fn succeed(&self, before: &Self) {
        self.backends4.copy(&before.backends4);
        self.backends6.copy(&before.backends6);
    }

    fn set_frontends(
        &self,
        put: impl Iterator<Item = (Key, Entry)>,
        delete: impl Iterator<Item = Key>,
    ) -> Attempt<usize> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (key, entry) in put {
            keys.extend(key);
            values.extend(entry.bytes());
        }
        let gone: Vec<u8> = delete.flatten().collect();
        if !keys.is_empty() {
            self.frontends.put(&keys, &values)?;
        }
        if !gone.is_empty() {
            self.frontends.delete(&gone)?;
        }
        Ok((keys.len() + gone.len()) / size_of::<Key>())
    }

    /// Writes what a change needs.
    pub(super) fn write(&self, writes: &Writes) -> Attempt<usize> {
        let mut count = 0;
        for new in &writes.members {
            let backends = self.backends(Family::of(&new.address.ip()));
            count += usize::from(backends.set(new.number, new.pool, new.address));
        }
        for (slot, number) in &writes.slots {
            count += usize::from(self.slots.set(*slot, *number));
        }
        for (number, words) in &writes.pools {
            count += usize::from(self.pools.set(*number, *words));
        }
        let put = writes.frontends.iter().filter_map(|(key, entry)| Some((*key, (*entry)?)));
        let gone =
            writes.frontends.iter().filter(|(_, entry)| entry.is_none()).map(|(key, _)| *key);
        count += self.set_frontends(put, gone)?;
        for (family, number) in &writes.gone {
            count += usize::from(self.backends(*family).set_gone(*number));
        }
        Ok(count)
    }

    /// Makes the maps what the plane says, whatever is in them. Returns how many elements differed.
    pub(super) fn mend(&self, plane: &Plane) -> Attempt<usize> {
        let mut count = 0;
        let mut used = Claims::new(self);
        for pool in plane.pools() {
            let (backends, live) = (self.backends(pool.family), used.members(pool.family));
            for (number, address) in pool.members() {
                live.insert(number);
                count += usize::from(backends.set(number, pool.number, address));
            }
        }
        for pool in plane.pools() {
            let all = (pool.first..).zip(&pool.numbers);
            for (slot, number) in all.chain((pool.local.first..).zip(&pool.local.members)) {
                count += usize::from(self.slots.set(slot, *number));
            }
        }
        for pool in plane.pools() {
            used.pools.insert(pool.number);
            count += usize::from(self.pools.set(pool.number, pool.words()));
        }
        let held = self.frontends()?;
        let put = plane.frontends.iter().filter(|(key, entry)| held.get(*key) != Some(entry));
        let gone = held.keys().filter(|key| plane.frontends.get(key).is_none());
        count += self.set_frontends(put.map(|(key, entry)| (*key, entry)), gone.copied())?;
        for number in (0..self.pools.len()).filter(|number| !used.pools.contains(*number)) {
            count += usize::from(self.pools.set(number, PoolWords::default()));
        }
        for family in Family::BOTH {
            let (backends, live) = (self.backends(family), used.members(family));
            let dead = (0..backends.len()).filter(|number| !live.contains(*number));
            count += dead.filter(|number| backends.set_gone(*number)).count();
        }
        Ok(count)
    }

    /// Serves nothing any more: all is left to the tables beneath.
    pub(super) fn withdraw(&self) -> Attempt<()> {
        self.frontends.delete(&self.frontends.entries()?.keys)
    }
}

/// What of the maps is somebody's.
#[derive(Debug)]
struct Claims {
    pools: Bits,
    slots: Bits,
    members4: Bits,
    members6: Bits,
}

impl Claims {
    fn new(maps: &Maps) -> Self {
        Self {
            pools: Bits::below(maps.pools.len()),
            slots: Bits::below(maps.slots.len()),
            members4: Bits::below(maps.backends4.len()),
            members6: Bits::below(maps.backends6.len()),
        }
    }

    fn members(&mut self, family: Family) -> &mut Bits {
        match family {
            Family::Ipv4 => &mut self.members4,
            Family::Ipv6 => &mut self.members6,
        }
    }

    /// A pool that was found, if all of it is its own and as we write it.
    fn pool(
        &mut self,
        number: u32,
        family: Family,
        found: Found,
        wanted: Option<&Pool>,
    ) -> Option<PoolState> {
        let Found { words, members, local } = found;
        let ((first, count), (again, more)) = (read_range(words.range), read_range(words.local));
        let sorted = members.is_sorted_by(|(_, one), (_, next)| one < next);
        let mut slots = (first..first + count).chain(again..again + more);
        let alone = self.pools.insert(number)
            && slots.all(|slot| self.slots.insert(slot))
            && members.iter().all(|(number, _)| self.members(family).insert(*number));
        if !alone || !sorted {
            return None;
        }
        Some(PoolState {
            number,
            family,
            affinity: words.affinity,
            first,
            room: room(members.len()),
            backends: backends(&members, wanted),
            numbers: members.iter().map(|(number, _)| *number).collect(),
            local: Local { first: again, members: local, generation: words.generation },
        })
    }
}

/// The model's own list, where that is what was found.
fn backends(found: &[(u32, SocketAddr)], wanted: Option<&Pool>) -> Arc<[Backend]> {
    let addresses = || found.iter().map(|(_, address)| *address);
    match wanted.map(|pool| &pool.backends) {
        Some(backends) if backends.iter().map(address).eq(addresses()) => backends.clone(),
        // Whether it is local shows in the slots.
        _ => addresses()
            .map(|at| Backend { address: at.ip(), port: at.port(), local: false })
            .collect(),
    }
}
