//! A pool as it lies in the kernel's maps, and how to follow a change of its backends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use portolan_model::backend::{Backend, Pool};
use portolan_model::frontend::PoolKey;
use portolan_model::object::Protocol;

use super::layout::{Bytes, Class, Number, Set};
use super::plane::Writer;

/// A pool as it lies in the kernel's maps.
#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) id: u32,
    pub(super) protocol: Protocol,
    pub(super) affinity: Option<u32>,
    /// Backends by index. Their order is that of arrival, so that one that goes or comes moves at
    /// most one other.
    pub(super) slots: Slots,
    /// With affinity: the number of the backend at each index, which it keeps for life.
    pub(super) labels: Vec<u16>,
}

/// Where a backend listens.
type Place = (IpAddr, u16);

fn place(backend: &Backend) -> Place {
    (backend.address, backend.port)
}

/// A pool's backends in an order of its own. The list is the model's, so it costs nothing.
#[derive(Debug, Default)]
pub(super) struct Slots {
    backends: Arc<[Backend]>,
    /// Positions in that list.
    order: Box<[u16]>,
}

impl Slots {
    /// All of `order` are among the first 65,536 of `backends`, which are sorted.
    fn new(backends: &Arc<[Backend]>, order: &[Place]) -> Self {
        let position = |wanted: &Place| backends.partition_point(|it| place(it) < *wanted) as u16;
        Self { backends: backends.clone(), order: order.iter().map(position).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        self.order.iter().map(|position| place(&self.backends[usize::from(*position)]))
    }
}

/// The most backends that a pool with affinity can tell apart.
const MAX_LABELS: usize = 4096;

/// How many backends of a pool fit into this layout.
pub(super) fn fitting(pool: &Pool) -> usize {
    let most = pool.affinity_seconds.map_or(usize::from(u16::MAX), |_| MAX_LABELS);
    pool.backends.len().min(most)
}

pub(super) fn address_data(address: &Place) -> Bytes {
    Bytes::new().ip(&address.0).port(address.1)
}

impl PoolState {
    /// A pool that is in no map yet.
    pub(super) fn new(id: u32, key: &PoolKey, pool: &Pool) -> Self {
        Self {
            id,
            protocol: key.port.protocol,
            affinity: pool.affinity_seconds,
            slots: Slots::default(),
            labels: vec![],
        }
    }

    fn index_key(&self, index: usize) -> Bytes {
        Bytes::new().number(Number::new(self.id, 0, false).0).number(index as u32)
    }

    pub(super) fn label(&self, index: usize) -> u32 {
        Number::new(self.id, self.labels[index], false).0
    }

    pub(super) fn class(&self) -> Class {
        Class { count: self.slots.len() as u32, affinity: self.affinity }
    }

    /// Hands all elements of this pool to `each`.
    pub(super) fn elements(&self, mut each: impl FnMut(Set, &[u8], &[u8])) {
        for (index, address) in self.slots.iter().enumerate() {
            let (key, data) = (self.index_key(index), address_data(&address));
            if self.affinity.is_none() {
                each(self.set(), &key, &data);
            } else {
                let label = Bytes::new().number(self.label(index));
                each(Set::Slots, &key, &label);
                each(Set::Kept, &label, &data);
            }
        }
    }

    /// The smallest label that no backend has.
    fn free_label(&self) -> u16 {
        let used: BTreeSet<u16> = self.labels.iter().copied().collect();
        (0..).find(|label| !used.contains(label)).unwrap_or(0)
    }
}

impl PoolState {
    /// Moves from the backends that are in the table to those that should be: replacements take
    /// the place of what goes, and the last fills a hole. Returns the numbers that are no more.
    ///
    /// Only what is different in the end is written: the kernel keeps all that was ever at a key
    /// until the transaction is over, and refuses it when that becomes much.
    pub(super) fn follow(&mut self, after: &Pool, writer: &mut Writer<'_, '_>) -> Vec<u32> {
        let before: Vec<_> = self.slots.iter().collect();
        let labels = self.labels.clone();
        let mut slots = before.clone();
        let old: BTreeSet<_> = slots.iter().copied().collect();
        let new: BTreeSet<_> = after.backends[..fitting(after)].iter().map(place).collect();
        let mut arrivals = new.difference(&old).copied();
        let mut forgotten = Vec::new();
        let mut index = 0;
        while index < slots.len() {
            if new.contains(&slots[index]) {
                index += 1;
                continue;
            }
            if self.affinity.is_some() {
                forgotten.push(self.label(index));
            }
            if let Some(arrival) = arrivals.next() {
                slots[index] = arrival;
                if self.affinity.is_some() {
                    // Not the label that just left: clients kept on it must not follow it here.
                    self.labels[index] = self.free_label();
                }
                index += 1;
            } else {
                slots.swap_remove(index);
                if self.affinity.is_some() {
                    self.labels.swap_remove(index);
                }
            }
        }
        for arrival in arrivals {
            if self.affinity.is_some() {
                let label = self.free_label();
                self.labels.push(label);
            }
            slots.push(arrival);
        }
        self.write_slots((&before, &labels), &slots, writer);
        if self.affinity.is_some() {
            self.write_kept((&before, &labels), &slots, writer);
        }
        self.slots = Slots::new(&after.backends, &slots);
        forgotten
    }

    /// Writes what lies elsewhere than `before`, with the labels of then.
    fn write_slots(
        &self,
        before: (&[Place], &[u16]),
        slots: &[Place],
        writer: &mut Writer<'_, '_>,
    ) {
        let old = |index| self.data(before.0, before.1, index);
        let new = |index| self.data(slots, &self.labels, index);
        let differs = |index: &usize| old(*index) != new(*index);
        for index in (0..before.0.len()).filter(differs) {
            writer.delete(self.set(), &self.index_key(index));
        }
        for index in (0..slots.len()).filter(differs) {
            if let Some(data) = new(index) {
                writer.add(self.set(), &self.index_key(index), &data);
            }
        }
    }

    /// The same for where each label is.
    fn write_kept(&self, before: (&[Place], &[u16]), slots: &[Place], writer: &mut Writer<'_, '_>) {
        let by_label = |labels: &[u16], slots: &[Place]| -> BTreeMap<u16, Place> {
            labels.iter().copied().zip(slots.iter().copied()).collect()
        };
        let (old, new) = (by_label(before.1, before.0), by_label(&self.labels, slots));
        let key = |label: u16| Bytes::new().number(Number::new(self.id, label, false).0);
        for label in old.keys().filter(|label| old.get(*label) != new.get(*label)) {
            writer.delete(Set::Kept, &key(*label));
        }
        for (label, place) in new.iter().filter(|(label, place)| old.get(*label) != Some(place)) {
            writer.add(Set::Kept, &key(*label), &address_data(place));
        }
    }

    pub(super) fn set(&self) -> Set {
        if self.affinity.is_some() { Set::Slots } else { Set::endpoints(self.protocol) }
    }

    /// What lies at an index.
    fn data(&self, slots: &[Place], labels: &[u16], index: usize) -> Option<Bytes> {
        let place = slots.get(index)?;
        Some(match self.affinity {
            Some(_) => Bytes::new().number(Number::new(self.id, *labels.get(index)?, false).0),
            None => address_data(place),
        })
    }

    /// Fills an empty pool. Backends keep the places and the labels that the table gives them
    /// already, as far as that leaves no hole.
    pub(super) fn fill(&mut self, after: &Pool, placed: &[Placed]) {
        let count = fitting(after);
        if placed.is_empty() {
            let order: Box<[u16]> = (0..count as u16).collect();
            self.labels = if self.affinity.is_some() { order.to_vec() } else { vec![] };
            self.slots = Slots { backends: after.backends.clone(), order };
            return;
        }
        let wanted: BTreeSet<Place> = after.backends[..count].iter().map(place).collect();
        let mut slots: Vec<Option<Place>> = vec![None; count];
        let mut labels: HashMap<Place, u16> = HashMap::new();
        let mut rest = wanted.clone();
        for place in placed.iter().filter(|place| wanted.contains(&place.address)) {
            labels.extend(place.label.map(|label| (place.address, label)));
            if let Some(slot) = slots.get_mut(place.index as usize)
                && rest.remove(&place.address)
            {
                *slot = Some(place.address);
            }
        }
        let mut rest = rest.into_iter();
        let slots: Vec<Place> =
            slots.into_iter().filter_map(|slot| slot.or_else(|| rest.next())).collect();
        self.slots = Slots::new(&after.backends, &slots);
        if self.affinity.is_none() {
            return;
        }
        let mut used: BTreeSet<u16> = labels.values().copied().collect();
        let mut free = 0..;
        let mut label = |address: &Place| {
            labels.get(address).copied().unwrap_or_else(|| {
                let label = free.find(|label| !used.contains(label)).unwrap_or(0);
                used.insert(label);
                label
            })
        };
        self.labels = slots.iter().map(&mut label).collect();
    }
}

/// Where the kernel's table has a backend of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) index: u32,
    pub(super) address: Place,
    pub(super) label: Option<u16>,
}
