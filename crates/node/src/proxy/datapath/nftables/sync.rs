//! The full pass: read the tables back, take over what is good, mend the rest.
//!
//! The same code serves a first start on a clean host, the adoption of what an earlier process
//! left, recovery from an error, and the mending of drift. Rules are replaced in place and all
//! elements change in one transaction, so a Service that is right stays right at every moment.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use portolan_linux::netlink::NetlinkError;
use portolan_linux::nftables::{Batch, Element, Elements, Reader, delete_table, run_nft};
use portolan_linux::sysctl;
use portolan_model::Desired;
use portolan_model::frontend::{Action, Family, Frontend, FrontendKey, PoolKey, PortName};

use super::classes::Classes;
use super::ids::Ids;
use super::layout::{
    CHOOSE, Class, Number, Set, TABLE, read_frontend_key, read_ip, read_port, table_family,
};
use super::plane::{Plane, Split, Writer};
use super::pool::{Placed, PoolState};
use super::{Nftables, ROUTE_LOCALNET, Seen, commit};
use crate::proxy::datapath::ApplyError;

/// Everything that one family's table holds.
struct Held {
    sets: HashMap<Set, Elements>,
    /// Whether every class has its entry, so that the rules need not be loaded for that.
    classes_whole: bool,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.sets.values().all(Elements::is_empty)
    }

    fn of(&self, set: Set) -> impl Iterator<Item = Element<'_>> {
        self.sets.get(&set).into_iter().flat_map(Elements::iter)
    }
}

fn or_empty(result: Result<Elements, NetlinkError>) -> Result<Elements, ApplyError> {
    match result {
        Err(error) if error.is_not_found() => Ok(Elements::default()),
        other => Ok(other?),
    }
}

/// So many elements are written to empty tables at a time.
const PORTION: usize = 8192;
/// So long the kernel is left alone then, to move the elements to larger hash tables: it does that
/// on the processor that writes, when nobody else runs there.
const REST: Duration = Duration::from_micros(100);

/// How long to wait before each further reading.
const REREADS: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(160),
    Duration::from_millis(640),
];

impl Nftables {
    /// Makes the tables match in full. Returns how many elements had to be written.
    ///
    /// The kernel moves the elements of a set that has grown to a larger table by and by, and tells
    /// some of them twice meanwhile, and others not at all. What is written then may clash with
    /// what was not told; nothing of it is taken, and all is read once more.
    pub(super) fn sync(&mut self, desired: &Desired) -> Result<usize, ApplyError> {
        let mut pauses = REREADS.iter();
        loop {
            let result = self.sync_once(desired);
            match (&result, pauses.next()) {
                (Err(ApplyError::Netlink(error)), Some(pause)) if error.is_clash() => {
                    tracing::debug!(%error, "the kernel has not told all its elements; reading again");
                    std::thread::sleep(*pause);
                }
                _ => return result,
            }
        }
    }

    fn sync_once(&mut self, desired: &Desired) -> Result<usize, ApplyError> {
        // Whatever others do from here on may come too late to be read.
        let others = self.others(None)?;
        let mut held = Vec::new();
        self.planes.clear();
        for family in &desired.view.families {
            let (plane, table) = self.adopt(desired, *family)?;
            self.planes.push(plane);
            held.push(table);
        }
        let fingerprints = self.load_rules(desired, &mut held)?;
        let own = self.socket.port();
        let mut batch = Batch::new(&mut self.socket);
        let writes = if held.iter().all(Held::is_empty) {
            self.listener.unheard(own, || fill(&self.planes, desired, batch))?
        } else {
            for (plane, held) in self.planes.iter().zip(&held) {
                let mut writer = Writer { batch: &mut batch, family: plane.family };
                let empty = Elements::default();
                for set in Set::ALL {
                    mend(plane, desired, set, held.sets.get(&set).unwrap_or(&empty), &mut writer);
                }
            }
            commit(&mut self.listener, own, batch)?
        };
        self.seen = Some(Seen { others, text: self.text(desired), fingerprints });
        Ok(writes)
    }

    /// Loads the rules unless the kernel has them already. Returns their fingerprints.
    fn load_rules(&mut self, desired: &Desired, held: &mut [Held]) -> Result<Vec<u64>, ApplyError> {
        let text = self.text(desired);
        let fingerprints = self.fingerprints()?;
        let right = self.seen.as_ref().is_some_and(|seen| {
            seen.text == text
                && seen.fingerprints == fingerprints
                && held.iter().all(|table| table.classes_whole)
        });
        if !right {
            let nft = self.load_text(&text, &fingerprints, held)?;
            self.others(Some(nft))?;
        }
        // The rules that keep loopback addresses on the node are in place now, not before.
        if desired.view.loopback_node_ports
            && desired.view.families.contains(&Family::Ipv4)
            && let Err(error) = sysctl::set(ROUTE_LOCALNET, "1")
        {
            tracing::warn!(%error, "node ports will not answer on 127.0.0.1");
        }
        if right { Ok(fingerprints) } else { self.fingerprints() }
    }

    /// Returns the process ID of the last `nft`.
    fn load_text(
        &mut self,
        text: &str,
        before: &[u64],
        held: &mut [Held],
    ) -> Result<u32, ApplyError> {
        let error = match run_nft(text) {
            Ok(nft) => return Ok(nft),
            Err(error) if before.iter().all(|print| *print == 0) => return Err(error.into()),
            Err(error) => error,
        };
        tracing::warn!(%error, "the table in the kernel is of another make: it is replaced, and new connections may miss for a moment");
        for (plane, table) in self.planes.iter().zip(held) {
            let nft = delete_table(table_family(plane.family), TABLE)?;
            self.listener.others(&[nft])?;
            table.sets.clear();
        }
        Ok(run_nft(text)?)
    }

    /// Reads one table, and gives every pool the number that it has there.
    fn adopt(&mut self, desired: &Desired, family: Family) -> Result<(Plane, Held), ApplyError> {
        let table = table_family(family);
        let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
        let choose = or_empty(reader.elements(table, TABLE, CHOOSE))?;
        let known = choose.iter().filter_map(|element| {
            let number = u16::try_from(Number::from_bytes(element.key).0).ok()?;
            Some((number, Class::of_chain(element.chain)?))
        });
        let mut held = Held { sets: HashMap::new(), classes_whole: false };
        for set in Set::ALL {
            held.sets.insert(set, or_empty(reader.elements(table, TABLE, set.name()))?);
        }
        let mut plane = Plane::new(family, Classes::adopt(known));
        plane.missing_classes(desired.pools())?;
        // Two more for refusing and dropping.
        held.classes_whole = choose.len() == plane.classes.all().len() + 2;
        let taken = Taken::read(desired, family, &held);
        plane.ids = Ids::behind(&taken.used);
        plane.fill(desired, taken, &Places::read(family, &held))?;
        Ok((plane, held))
    }
}

/// The numbers that the kernel's table gives to things that are still desired.
#[derive(Default)]
struct Taken {
    pools: HashMap<PoolKey, u32>,
    splits: HashMap<Arc<PortName>, u32>,
    used: BTreeSet<u32>,
}

impl Taken {
    fn read(desired: &Desired, family: Family, held: &Held) -> Self {
        let mut taken = Self::default();
        let mut claimed = BTreeSet::new();
        let number = |element: &Element<'_>| Number::from_bytes(element.data);
        let by_split = |set| -> HashMap<u32, Number> {
            held.of(set)
                .map(|element| (Number::from_bytes(element.key).id(), number(&element)))
                .collect()
        };
        let (inside, outside) = (by_split(Set::Inside), by_split(Set::Outside));
        for set in [Set::Frontends, Set::NodePorts] {
            for element in held.of(set) {
                let number = number(&element);
                taken.used.insert(number.id());
                let frontend = read_frontend_key(family, set, element.key)
                    .and_then(|key| Some((key, desired.frontend(&key)?)));
                let Some((key, frontend)) = frontend else { continue };
                let pairs = if number.class() == Class::SPLIT {
                    if frontend.inside != frontend.outside && claimed.insert(number.id()) {
                        taken.splits.insert(frontend.port.clone(), number.id());
                    }
                    let id = number.id();
                    [
                        (frontend.inside, inside.get(&id).copied()),
                        (frontend.outside, outside.get(&id).copied()),
                    ]
                } else {
                    [(frontend.inside, Some(number)), (frontend.outside, Some(number))]
                };
                for (action, number) in pairs {
                    taken.claim(&mut claimed, &key, frontend, action, number);
                }
            }
        }
        taken.used.extend(inside.values().chain(outside.values()).map(|number| number.id()));
        taken.used.extend(inside.keys().chain(outside.keys()));
        taken
    }

    fn claim(
        &mut self,
        claimed: &mut BTreeSet<u32>,
        key: &FrontendKey,
        frontend: &Frontend,
        action: Action,
        number: Option<Number>,
    ) {
        let (Action::Balance(scope), Some(number)) = (action, number) else { return };
        if number.class() < Class::FIRST {
            return;
        }
        let pool = PoolKey { port: frontend.port.clone(), family: key.family(), scope };
        if !self.pools.contains_key(&pool) && claimed.insert(number.id()) {
            self.pools.insert(pool, number.id());
        }
    }
}

/// Where the kernel's table has the backends of each pool.
struct Places<'h> {
    family: Family,
    held: &'h Held,
    /// Pool, index, and the element's number in the dump; sorted.
    slots: HashMap<Set, Vec<(u32, u32, u32)>>,
    kept: HashMap<u32, (IpAddr, u16)>,
}

impl<'h> Places<'h> {
    fn read(family: Family, held: &'h Held) -> Self {
        let sorted = |set| {
            let keys = held.of(set).enumerate().map(|(number, element)| {
                let index = Number::from_bytes(element.key.get(4..).unwrap_or_default()).0;
                (Number::from_bytes(element.key).id(), index, number as u32)
            });
            let mut keys: Vec<_> = keys.collect();
            keys.sort_unstable();
            (set, keys)
        };
        let kept = held.of(Set::Kept).filter_map(|element| {
            Some((Number::from_bytes(element.key).0, read_address(family, element.data)?))
        });
        let sets = [Set::EndpointsTcp, Set::EndpointsUdp, Set::EndpointsSctp, Set::Slots];
        Self { family, held, slots: sets.map(sorted).into_iter().collect(), kept: kept.collect() }
    }

    fn of(&self, id: u32, pool: &PoolState) -> Vec<Placed> {
        let set = pool.set();
        let (Some(elements), Some(sorted)) = (self.held.sets.get(&set), self.slots.get(&set))
        else {
            return vec![];
        };
        let first = sorted.partition_point(|(pool, ..)| *pool < id);
        let mine = sorted[first..].iter().take_while(|(pool, ..)| *pool == id);
        mine.filter_map(|(_, index, number)| {
            let data = elements.get(*number as usize).data;
            let (address, label) = match pool.affinity {
                None => (read_address(self.family, data)?, None),
                Some(_) => {
                    let label = Number::from_bytes(data);
                    (*self.kept.get(&label.0)?, Some(label.class()))
                }
            };
            Some(Placed { index: *index, address, label })
        })
        .collect()
    }
}

fn read_address(family: Family, data: &[u8]) -> Option<(IpAddr, u16)> {
    let (ip, rest) = read_ip(family, data)?;
    Some((ip, read_port(rest)?))
}

impl Plane {
    fn fill(
        &mut self,
        desired: &Desired,
        taken: Taken,
        places: &Places<'_>,
    ) -> Result<(), ApplyError> {
        let family = self.family;
        self.pools.reserve(desired.pools().filter(|(key, _)| key.family == family).count());
        for (key, pool) in desired.pools().filter(|(key, _)| key.family == family) {
            let id = match taken.pools.get(key) {
                Some(id) => *id,
                None => self.ids.allocate().ok_or(ApplyError::TooManyPools)?,
            };
            let mut state = PoolState::new(id, key, pool);
            let placed = if taken.pools.contains_key(key) { places.of(id, &state) } else { vec![] };
            state.fill(pool, &placed);
            self.pools.insert(key.clone(), state);
        }
        let mine = || desired.frontends().filter(|(key, _)| key.family() == family);
        for (_, frontend) in mine().filter(|(_, frontend)| frontend.inside != frontend.outside) {
            if self.splits.contains_key(&frontend.port) {
                continue;
            }
            let id = match taken.splits.get(&frontend.port) {
                Some(id) => *id,
                None => self.ids.allocate().ok_or(ApplyError::TooManyPools)?,
            };
            let split: Split = self.split(&frontend.port, frontend, id);
            self.splits.insert(frontend.port.clone(), split);
        }
        for (key, frontend) in mine() {
            let number = self.number(frontend);
            self.frontends.insert(*key, number);
            if let Some(sources) = &frontend.sources {
                self.guarded.insert(*key, sources.clone());
            }
        }
        Ok(())
    }
}

/// Fills empty tables. That need not be one transaction, because nothing is served before the last
/// sets are filled, and what they lead to is there by then. In one, the kernel would go on with the
/// small hash tables of empty sets until the end, and take half as long again.
///
/// Returns how many elements were written, and with how many transactions.
fn fill(
    planes: &[Plane],
    desired: &Desired,
    mut batch: Batch<'_>,
) -> (Result<usize, NetlinkError>, u32) {
    let (mut written, mut made) = (Ok(0), 0);
    let mut send = |batch: &mut Batch<'_>, written: &mut Result<usize, NetlinkError>| {
        let Ok(before) = *written else { return };
        let sent = batch.flush();
        made += u32::from(matches!(sent, Ok(1..)));
        *written = sent.map(|count| before + count);
        std::thread::sleep(REST);
    };
    for set in Set::ALL {
        for plane in planes {
            plane.elements(desired, set, |key, end, data| {
                let mut writer = Writer { batch: &mut batch, family: plane.family };
                writer.put(set, key, end, data);
                if batch.elements() >= PORTION {
                    send(&mut batch, &mut written);
                }
            });
        }
    }
    send(&mut batch, &mut written);
    (written, made)
}

/// Writes what separates a set from what it should hold: first what is wrong goes, then what is
/// missing comes, because intervals may not overlap.
fn mend(plane: &Plane, desired: &Desired, set: Set, held: &Elements, writer: &mut Writer<'_, '_>) {
    let hasher = DefaultHashBuilder::default();
    let hash = |key: &[u8], end: &[u8]| {
        let mut state = hasher.build_hasher();
        (key, end).hash(&mut state);
        std::hash::Hasher::finish(&state)
    };
    let parts = |index: u32| {
        let element = held.get(index as usize);
        (element.key, element.key_end.unwrap_or_default())
    };
    let mut index = HashTable::with_capacity(held.len());
    let mut right = vec![false; held.len()];
    for number in 0..held.len() as u32 {
        let (key, end) = parts(number);
        if index.find(hash(key, end), |known| parts(*known) == (key, end)).is_some() {
            // The kernel tells an element twice when it rearranges the set meanwhile.
            right[number as usize] = true;
            continue;
        }
        index.insert_unique(hash(key, end), number, |number| {
            let (key, end) = parts(*number);
            hash(key, end)
        });
    }
    let find = |key: &[u8], end: &[u8], data: &[u8]| {
        let found = index.find(hash(key, end), |number| parts(*number) == (key, end));
        found.copied().filter(|number| held.get(*number as usize).data == data)
    };
    if !held.is_empty() {
        plane.elements(desired, set, |key, end, data| {
            if let Some(number) = find(key, end, data) {
                right[number as usize] = true;
            }
        });
    }
    for (element, right) in held.iter().zip(&right) {
        match element.key_end {
            _ if *right => {}
            Some(end) => writer.delete_range(set, element.key, end),
            None => writer.delete(set, element.key),
        }
    }
    plane.elements(desired, set, |key, end, data| {
        if held.is_empty() || find(key, end, data).is_none() {
            writer.put(set, key, end, data);
        }
    });
}

#[cfg(test)]
mod tests {
    use portolan_linux::netlink::Socket;
    use portolan_model::testing::{Dice, Universe};
    use portolan_model::{NodeView, Snapshot};

    use super::*;

    #[test]
    fn an_element_that_is_told_twice_stays() {
        let (universe, mut dice) = (Universe::default(), Dice::new(3));
        let mut snapshot = Snapshot::default();
        snapshot.set_service_ranges(Universe::service_ranges());
        (0..200).for_each(|_| snapshot.apply(universe.event(&mut dice)));
        let view = NodeView { families: Family::BOTH.to_vec(), ..NodeView::default() };
        let mut desired = Desired::new(view);
        let dirty = snapshot.take_dirty();
        desired.update(&snapshot, &dirty);
        let plane = Plane::new(Family::Ipv4, Classes::default());
        let mut told = Elements::default();
        for _ in 0..2 {
            plane.elements(&desired, Set::ClusterIps, |key, end, data| {
                told.push(key, end, data, "");
            });
        }
        assert!(told.len() > 4);
        let mut socket = Socket::netfilter().unwrap();
        let mut batch = Batch::new(&mut socket);
        let mut writer = Writer { batch: &mut batch, family: Family::Ipv4 };
        mend(&plane, &desired, Set::ClusterIps, &told, &mut writer);
        assert_eq!(batch.elements(), 0);
    }
}
