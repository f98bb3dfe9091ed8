//! The full pass: read everything back, take over what is good, mend the rest.
//!
//! A first start, the adoption of what an earlier process or kube-proxy left, recovery and the
//! mending of drift are the same thing.

use std::collections::BTreeSet;

use portolan_linux::ipvs::{ServerKey, VirtualServer};
use portolan_linux::netlink::NetlinkError;
use portolan_linux::nftables::{Elements, Reader, delete_table, run_nft};
use portolan_model::Desired;
use portolan_model::frontend::Family;

use super::host::{Addresses, Carrier, set_parameters};
use super::layout::{Door, MARK_MASK, Set, TABLE, is_our_mark};
use super::plane::{Element, Plane, marked_port};
use super::render::Rules;
use super::servers::Held;
use super::{Ipvs, Seen};
use crate::proxy::datapath::ApplyError;
use crate::proxy::datapath::nftables::ids::Ids;
use crate::proxy::datapath::nftables::layout::table_family;

/// The elements of every set of a family's table; none where there is no table.
pub(super) fn elements(
    reader: &mut Reader<'_>,
    family: Family,
) -> Result<BTreeSet<Element>, NetlinkError> {
    let mut all = BTreeSet::new();
    for set in Set::ALL {
        let held = match reader.elements(table_family(family), TABLE, set.name()) {
            Err(error) if error.is_not_found() => Elements::default(),
            other => other?,
        };
        all.extend(held.iter().map(|element| Element {
            family,
            set,
            key: element.key.to_vec(),
            end: element.key_end.unwrap_or_default().to_vec(),
            data: element.data.to_vec(),
        }));
    }
    Ok(all)
}

/// Which virtual servers are ours.
pub(super) struct Ours {
    addresses: Addresses,
    /// The doors that our tables name.
    doors: BTreeSet<Door>,
}

impl Ours {
    pub(super) fn new(addresses: &Addresses, held: &BTreeSet<Element>) -> Self {
        let named = held.iter().filter(|it| matches!(it.set, Set::Frontends | Set::Draining));
        let doors = named.filter_map(|it| Door::from_bytes(it.family, &it.key)).collect();
        Self { addresses: addresses.clone(), doors }
    }

    pub(super) fn has(&self, key: &ServerKey) -> bool {
        match key {
            ServerKey::Mark { mark, .. } => is_our_mark(*mark),
            ServerKey::Address { ip, .. } => {
                self.addresses.carried.contains(ip)
                    || Door::of_server(key).is_some_and(|door| self.doors.contains(&door))
            }
        }
    }
}

impl Ipvs {
    /// Makes everything match in full. Returns how much had to be written.
    pub(super) fn sync(&mut self, desired: &Desired) -> Result<usize, ApplyError> {
        // Whatever others do from here on may come too late to be read.
        let others = self.others(&[])?;
        let settings = self.settings.clone();
        self.namespace.run(|| set_parameters(&settings))??;
        self.ipvs.set_timeouts(self.settings.timeouts())?;
        self.carrier = Carrier::ready(&self.rtnl)?;
        self.load_rules(desired)?;
        let mut held = BTreeSet::new();
        for family in Family::BOTH {
            let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
            held.extend(elements(&mut reader, family)?);
        }
        let addresses = Addresses::read(&self.rtnl)?;
        let ours = Ours::new(&addresses, &held);
        let mut plane = Plane::new(&self.settings.scheduler, addresses.own.clone());
        plane.carried.clone_from(&addresses.carried);
        let servers = self.ipvs.servers()?;
        adopt_marks(&mut plane, desired, &held, &servers);
        for server in servers {
            if self.concerns(desired, &plane, &ours, &server.key) {
                let reals = self.ipvs.reals(&server.key)?;
                plane.adopt(server.key, Held::read(&server, &reals));
            }
        }
        let mut writes = plane.fill(desired)?;
        // A family that is not served has no table.
        let should = plane.elements(desired);
        writes.gone = held.difference(&should).cloned().collect();
        writes.new = should.difference(&held).cloned().collect();
        self.plane = plane;
        let count = self.write_and_hear(writes)?;
        let fingerprints = self.fingerprints()?;
        self.seen = Some(Seen { others, text: self.text.clone(), fingerprints });
        Ok(count)
    }

    /// Whether a virtual server is ours, or is to be.
    fn concerns(&self, desired: &Desired, plane: &Plane, ours: &Ours, key: &ServerKey) -> bool {
        let wanted = Door::of_server(key)
            .is_some_and(|door| super::doors::owner(desired, &door, &plane.own).is_some());
        wanted || (ours.has(key) && !self.is_excluded(key))
    }

    pub(super) fn is_excluded(&self, key: &ServerKey) -> bool {
        let ServerKey::Address { ip, .. } = key else { return false };
        self.settings.exclude.iter().any(|net| net.contains(ip))
    }

    /// Loads the rules unless the kernel has them already.
    fn load_rules(&mut self, desired: &Desired) -> Result<(), ApplyError> {
        let families = desired.view.families.clone();
        let text: String =
            families.iter().map(|family| Rules::new(desired, *family).text()).collect();
        let fingerprints = self.fingerprints()?;
        let known = self.seen.take();
        if known.is_some_and(|seen| seen.text == text && seen.fingerprints == fingerprints) {
            self.text = text;
            return Ok(());
        }
        let programs = match self.namespace.run(|| run_nft(&text))? {
            Ok(nft) => vec![nft],
            Err(error) if fingerprints.iter().all(|print| *print == 0) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "the table in the kernel is of another make: it is replaced");
                self.namespace.run(|| -> Result<_, ApplyError> {
                    let tables = families.iter().map(|family| table_family(*family));
                    let mut programs = tables
                        .map(|family| delete_table(family, TABLE))
                        .collect::<Result<Vec<_>, _>>()?;
                    programs.push(run_nft(&text)?);
                    Ok(programs)
                })??
            }
        };
        self.others(&programs)?;
        self.text = text;
        Ok(())
    }

    pub(super) fn fingerprints(&mut self) -> Result<Vec<u64>, ApplyError> {
        let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
        let families = Family::BOTH.iter();
        let prints = families.map(|family| reader.rules_fingerprint(table_family(*family), TABLE));
        Ok(prints.collect::<Result<_, _>>()?)
    }
}

/// Gives every port that needs a mark the one that it has in the kernel.
fn adopt_marks(
    plane: &mut Plane,
    desired: &Desired,
    held: &BTreeSet<Element>,
    servers: &[VirtualServer],
) {
    let mut used: BTreeSet<u32> = servers
        .iter()
        .filter_map(|server| match server.key {
            ServerKey::Mark { mark, .. } if is_our_mark(mark) => Some(mark & !MARK_MASK),
            _ => None,
        })
        .collect();
    let mut taken = BTreeSet::new();
    for element in held.iter().filter(|element| element.set == Set::InsideMarks) {
        let mark = element.data.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let Some(mark) = mark.filter(|mark| is_our_mark(*mark)) else { continue };
        used.insert(mark & !MARK_MASK);
        let port = Door::from_bytes(element.family, &element.key)
            .and_then(|door| marked_port(desired, &door, &plane.own));
        if let Some(port) = port
            && !plane.marks.contains_key(&port)
            && taken.insert(mark)
        {
            plane.marks.insert(port, mark);
        }
    }
    plane.ids = Ids::behind(&used);
}
