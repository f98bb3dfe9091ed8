//! The maps, open: reading them back, and writing what the plane decided.
//!
//! Programs read while this writes. Backends come before the slots that lead to them, slots before
//! the pool's range that leads to them, pools before frontends; and a program that meets a backend
//! of another pool than it came for leaves the connection to the tables beneath.

use std::path::Path;
use std::sync::atomic::Ordering;

use hashbrown::{HashMap, HashSet};
use portolan_linux::bpf::{Map, SharedArray};
use portolan_linux::{Attempt, Failed};
use portolan_model::Desired;
use portolan_model::frontend::PoolKey;

use super::layout::{Entry, Key, backend, backend_address, backend_words, pool, read_range};
use super::numbers::room;
use super::plane::{Plane, Sizes, Writes};
use super::pool::{Local, Member, PoolState, PoolWords, local_room};
use super::served::{keys, served};

#[derive(Debug)]
pub(super) struct Maps {
    pub(super) frontends: Map,
    pools: SharedArray,
    slots: SharedArray,
    backends: SharedArray,
    pub(super) connected: Map,
    pub(super) namespaces: Map,
}

/// A pool as a program finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) words: PoolWords,
    pub(super) members: Vec<Member>,
    /// Numbers of those that are pods of this node.
    pub(super) local: Vec<u32>,
}

impl Maps {
    pub(super) fn open(directory: &Path) -> Attempt<Self> {
        let maps = Self {
            frontends: Map::open(directory.join("frontends"))?,
            pools: SharedArray::open(directory.join("pools"))?,
            slots: SharedArray::open(directory.join("slots"))?,
            backends: SharedArray::open(directory.join("backends"))?,
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

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            frontends: self.frontends.shape().max_entries,
            pools: self.pools.len(),
            slots: self.slots.len(),
            backends: self.backends.len(),
        }
    }

    /// The frontends as they lie in the map.
    pub(super) fn frontends(&self) -> Attempt<HashMap<Key, Entry>> {
        let entries = self.frontends.entries()?;
        let read = |(key, value): (&[u8], &[u8])| Some((*key.first_chunk()?, Entry::read(value)?));
        Ok(entries.iter().filter_map(read).collect())
    }

    fn words(&self, number: u32) -> [u32; 8] {
        let mut words = [0; 8];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.backends.word(number, index * 4).load(Ordering::Relaxed);
        }
        words
    }

    /// The pool of that number; `None` when a program could not use all of it.
    pub(super) fn pool(&self, number: u32) -> Option<Found> {
        if number == 0 || number >= self.pools.len() {
            return None;
        }
        let words = self.pool_words(number);
        let slots = |range| {
            let (first, count) = read_range(range);
            let inside = u64::from(first) + u64::from(count) <= u64::from(self.slots.len());
            inside.then(|| first..first + count)
        };
        let member = |slot| {
            let id = self.slots.word(slot, 0).load(Ordering::Relaxed);
            if id == 0 || id >= self.backends.len() {
                return None;
            }
            let words = self.words(id);
            let serial = words[backend::SERIAL / 4];
            let right = words[backend::POOL / 4] == number && serial != 0;
            right.then(|| Member { address: backend_address(&words), number: id, serial })
        };
        let members: Vec<Member> = slots(words.range)?.map(member).collect::<Option<_>>()?;
        let local = slots(words.local)?.map(|slot| Some(member(slot)?.number));
        Some(Found { words, members, local: local.collect::<Option<_>>()? })
    }

    fn pool_words(&self, number: u32) -> PoolWords {
        let double = |at| self.pools.double(number, at).load(Ordering::Relaxed);
        let word = |at| self.pools.word(number, at).load(Ordering::Relaxed);
        PoolWords {
            range: double(pool::RANGE),
            local: double(pool::LOCAL),
            affinity: word(pool::AFFINITY),
            generation: word(pool::GENERATION),
        }
    }

    /// What an earlier process left, as far as it is whole and still wanted.
    pub(super) fn adopt(&self, desired: &Desired) -> Attempt<Plane> {
        let held = self.frontends()?;
        let mut found: HashMap<PoolKey, PoolState> = HashMap::new();
        let (mut numbers, mut members, mut slots) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for (key, frontend) in desired.frontends() {
            let Some(served) = served(desired, key, frontend) else { continue };
            let pool =
                PoolKey { port: frontend.port.clone(), family: key.family(), scope: served.scope };
            if found.contains_key(&pool) {
                continue;
            }
            for entry in keys(desired, key).iter().filter_map(|key| held.get(key)) {
                if !numbers.insert(entry.pool) {
                    continue;
                }
                let Some(Found { words, members: all, local }) = self.pool(entry.pool) else {
                    continue;
                };
                let mut alone = |range| {
                    let (first, count) = read_range(range);
                    (first..first + count).all(|slot| slots.insert(slot)).then_some(first)
                };
                let first = alone(words.range);
                let again = alone(words.local);
                if let (Some(first), Some(again)) = (first, again)
                    && all.iter().all(|member| members.insert(member.number))
                {
                    let local =
                        Local { first: again, members: local, generation: words.generation };
                    let state = PoolState {
                        number: entry.pool,
                        affinity: words.affinity,
                        first,
                        room: room(all.len()),
                        members: all,
                        local,
                    };
                    found.insert(pool, state);
                    break;
                }
            }
        }
        // Rooms may have been larger than what they hold; nobody else's begins inside.
        let local = found.values().map(|pool| &pool.local);
        let local = local.filter(|local| !local.members.is_empty()).map(|local| local.first);
        let mut starts: Vec<u32> = found.values().map(|pool| pool.first).chain(local).collect();
        starts.sort_unstable();
        let limit = self.slots.len();
        let end = |first: u32| {
            let next = starts.partition_point(|start| *start <= first);
            starts.get(next).copied().unwrap_or(limit)
        };
        for pool in found.values_mut() {
            pool.room = pool.room.min(end(pool.first) - pool.first);
            // These are given back whole.
            let local = &mut pool.local;
            if local.first + local_room(local.members.len()) > end(local.first) {
                *local = Local::default();
            }
        }
        let serials = (1..self.backends.len())
            .map(|number| self.backends.word(number, backend::SERIAL).load(Ordering::Relaxed));
        let generations = (1..self.pools.len()).map(|number| self.pool_words(number).generation);
        let last = serials.chain(generations).max().unwrap_or(0);
        Ok(Plane::adopt(found, last, self.sizes()))
    }

    /// What a program reads first is written last: it never misses a local member of a range.
    fn set_pool(&self, number: u32, words: PoolWords) -> bool {
        let found = self.pool_words(number);
        if found == words {
            return false;
        }
        self.pools.word(number, pool::AFFINITY).store(words.affinity, Ordering::Release);
        self.pools.double(number, pool::LOCAL).store(words.local, Ordering::Release);
        self.pools.word(number, pool::GENERATION).store(words.generation, Ordering::Release);
        self.pools.double(number, pool::RANGE).store(words.range, Ordering::Release);
        true
    }

    fn set_gone(&self, number: u32) -> bool {
        self.backends.word(number, backend::SERIAL).swap(0, Ordering::AcqRel) != 0
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
        for (pool, member) in &writes.members {
            let words = backend_words(&member.address, *pool, member.serial);
            count += usize::from(self.backends.set(member.number, &words));
        }
        for (slot, number) in &writes.slots {
            count += usize::from(self.slots.set(*slot, &[*number]));
        }
        for (number, words) in &writes.pools {
            count += usize::from(self.set_pool(*number, *words));
        }
        let put = writes.frontends.iter().filter_map(|(key, entry)| Some((*key, (*entry)?)));
        let gone =
            writes.frontends.iter().filter(|(_, entry)| entry.is_none()).map(|(key, _)| *key);
        count += self.set_frontends(put, gone)?;
        Ok(count + writes.gone.iter().filter(|number| self.set_gone(**number)).count())
    }

    /// Makes the maps what the plane says, whatever is in them. Returns how many elements differed.
    pub(super) fn mend(&self, plane: &Plane) -> Attempt<usize> {
        let mut count = 0;
        let mut live = vec![false; self.backends.len() as usize];
        for pool in plane.pools.values() {
            for member in &pool.members {
                live[member.number as usize] = true;
                let words = backend_words(&member.address, pool.number, member.serial);
                count += usize::from(self.backends.set(member.number, &words));
            }
        }
        for pool in plane.pools.values() {
            for (member, slot) in pool.members.iter().zip(pool.first..) {
                count += usize::from(self.slots.set(slot, &[member.number]));
            }
            for (number, slot) in pool.local.members.iter().zip(pool.local.first..) {
                count += usize::from(self.slots.set(slot, &[*number]));
            }
        }
        let mut used = vec![false; self.pools.len() as usize];
        for pool in plane.pools.values() {
            used[pool.number as usize] = true;
            count += usize::from(self.set_pool(pool.number, pool.words()));
        }
        let held = self.frontends()?;
        let put = plane.frontends.iter().filter(|(key, entry)| held.get(*key) != Some(*entry));
        let gone = held.keys().filter(|key| !plane.frontends.contains_key(*key));
        count += self.set_frontends(put.map(|(key, entry)| (*key, *entry)), gone.copied())?;
        for (number, _) in used.iter().enumerate().filter(|(_, used)| !**used) {
            count += usize::from(self.set_pool(number as u32, PoolWords::default()));
        }
        for (number, _) in live.iter().enumerate().filter(|(_, live)| !**live) {
            count += usize::from(self.set_gone(number as u32));
        }
        Ok(count)
    }

    /// Serves nothing any more: all is left to the tables beneath.
    pub(super) fn withdraw(&self) -> Attempt<()> {
        self.frontends.delete(&self.frontends.entries()?.keys)
    }

    /// Whether the maps are what the plane says, as far as a program can see.
    pub(super) fn agree(&self, plane: &Plane) -> Attempt<bool> {
        let pools = plane.pools.values().all(|pool| {
            self.pool(pool.number).is_some_and(|found| {
                found.words == pool.words()
                    && found.members == pool.members
                    && found.local == pool.local.members
            })
        });
        Ok(pools && self.frontends()? == plane.frontends)
    }
}
