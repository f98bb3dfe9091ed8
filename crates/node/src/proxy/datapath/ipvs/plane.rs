//! What was put into the kernel, and how to follow a change: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use portolan_linux::ipvs::ServerKey;
use portolan_model::frontend::{Family, Frontend, FrontendAddress, FrontendKey, PoolKey, PortName};
use portolan_model::{Changes, Desired};

use super::doors::{Facts, doors, owner, pool_at_door, pool_inside};
use super::layout::{Door, MARK, Set};
use super::servers::{Choice, Held, Steps, Wanted, follow};
use crate::proxy::datapath::ApplyError;
use crate::proxy::datapath::nftables::ids::Ids;
use crate::proxy::datapath::nftables::layout::Bytes;

/// An element of a set, of one family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    pub(super) family: Family,
    pub(super) set: Set,
    pub(super) key: Vec<u8>,
    /// The end of a range; empty for a single key.
    pub(super) end: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Element {
    fn new(family: Family, set: Set, key: &[u8], end: &[u8], data: &[u8]) -> Self {
        Self { family, set, key: key.to_vec(), end: end.to_vec(), data: data.to_vec() }
    }

    fn of_door(door: &Door, facts: &Facts) -> BTreeSet<Self> {
        let mut all = BTreeSet::new();
        facts.elements(door, |set, key, end, data| {
            all.insert(Self::new(door.family(), set, key, end, data));
        });
        all
    }

    fn at(door: &Door, set: Set) -> Self {
        Self::new(door.family(), set, &door.bytes(), &[], &[])
    }

    fn address(set: Set, ip: &IpAddr) -> Self {
        Self::new(Family::of(ip), set, &Bytes::new().ip(ip), &[], &[])
    }
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) steps: Steps,
    pub(super) gone: BTreeSet<Element>,
    pub(super) new: BTreeSet<Element>,
    /// Services' addresses that this node is to have (`true`) or to give up.
    pub(super) addresses: BTreeMap<IpAddr, bool>,
}

impl Writes {
    fn change(&mut self, element: Element, present: bool) {
        if present {
            self.new.insert(element)
        } else {
            self.gone.insert(element)
        };
    }

    fn between(&mut self, before: BTreeSet<Element>, after: BTreeSet<Element>) {
        self.gone.extend(before.difference(&after).cloned());
        self.new.extend(after.difference(&before).cloned());
    }
}

/// What was put into the kernel.
#[derive(Debug, Default)]
pub(super) struct Plane {
    scheduler: String,
    /// This node's addresses that may serve node ports.
    pub(super) own: BTreeSet<IpAddr>,
    pub(super) doors: HashMap<Door, Facts>,
    pub(super) marks: HashMap<(Arc<PortName>, Family), u32>,
    pub(super) ids: Ids,
    pub(super) servers: HashMap<ServerKey, Held>,
    /// Servers that let connections finish, whole or in part.
    pub(super) draining: BTreeSet<ServerKey>,
    cluster_ips: HashSet<IpAddr>,
    /// How many doors and servers there are at each address.
    users: HashMap<IpAddr, usize>,
    /// Addresses that this node has for Services' sake.
    pub(super) carried: BTreeSet<IpAddr>,
}

impl Plane {
    /// The state of a node on which nothing is served yet.
    pub(super) fn new(scheduler: &str, own: BTreeSet<IpAddr>) -> Self {
        Self { scheduler: scheduler.to_owned(), own, ..Self::default() }
    }

    /// Everything that is desired, on top of what `self` knows of the kernel: servers, addresses
    /// and marks. Elements are not told: see [`Plane::elements`].
    pub(super) fn fill(&mut self, desired: &Desired) -> Result<Writes, ApplyError> {
        let mut writes = Writes::default();
        self.cluster_ips =
            desired.cluster_ips().filter(|ip| served(desired, ip)).copied().collect();
        let mut touched = BTreeSet::new();
        for (key, frontend) in desired.frontends() {
            self.mark(frontend, key.family(), desired)?;
            touched.extend(doors(desired, key, &self.own));
        }
        for door in touched {
            self.follow_door(desired, &door, &mut writes);
        }
        let unwanted: Vec<ServerKey> =
            self.servers.keys().filter(|key| !self.is_wanted(key)).copied().collect();
        unwanted.into_iter().for_each(|key| self.follow_server(key, None, &mut writes));
        for port in self.marks.clone().keys() {
            self.follow_mark(desired, port, &mut writes);
        }
        let all: Vec<IpAddr> = self.carried.iter().chain(self.users.keys()).copied().collect();
        all.iter().chain(&self.cluster_ips.clone()).for_each(|ip| self.settle(*ip, &mut writes));
        (writes.gone, writes.new) = Default::default();
        Ok(writes)
    }

    /// Whether anything that is desired leads there.
    fn is_wanted(&self, key: &ServerKey) -> bool {
        match key {
            ServerKey::Mark { mark, ipv6 } => self
                .marks
                .iter()
                .any(|((_, family), known)| known == mark && (*family == Family::Ipv6) == *ipv6),
            _ => Door::of_server(key).is_some_and(|door| self.doors.contains_key(&door)),
        }
    }

    /// Follows a change; the cost is proportional to what changed.
    pub(super) fn follow(
        &mut self,
        desired: &Desired,
        changes: &Changes,
    ) -> Result<Writes, ApplyError> {
        let mut writes = Writes::default();
        let mut ports: BTreeSet<(Arc<PortName>, Family)> =
            changes.pools.keys().map(|key| (key.port.clone(), key.family)).collect();
        let mut touched = BTreeSet::new();
        for (key, change) in &changes.frontends {
            touched.extend(doors(desired, key, &self.own));
            let both = change.before.iter().chain(&change.after);
            ports.extend(both.map(|frontend| (frontend.port.clone(), key.family())));
            if let FrontendAddress::Node(family) = key.address {
                let anywhere = Door::anywhere(family, key.protocol, key.port);
                if change.before.is_some() != change.after.is_some() {
                    writes.change(Element::at(&anywhere, Set::NodePorts), change.after.is_some());
                }
            }
            if let FrontendAddress::Ip(ip) = key.address {
                // Whoever had it from a node port may have it again.
                touched.insert(Door { ip, protocol: key.protocol, port: key.port });
            }
        }
        for (port, family) in &ports {
            let mut split = None;
            for (key, frontend) in frontends_of(desired, port, *family) {
                touched.extend(doors(desired, &key, &self.own));
                split = split.or_else(|| pool_inside(&key, frontend).map(|_| frontend));
            }
            if let Some(frontend) = split {
                self.mark(frontend, *family, desired)?;
            }
        }
        for door in touched {
            self.follow_door(desired, &door, &mut writes);
        }
        for port in &ports {
            self.follow_mark(desired, port, &mut writes);
        }
        for (ip, present) in changes.cluster_ips.iter().filter(|(ip, _)| served(desired, ip)) {
            writes.change(Element::address(Set::ClusterIps, ip), *present);
            if *present {
                self.cluster_ips.insert(*ip)
            } else {
                self.cluster_ips.remove(ip)
            };
            self.settle(*ip, &mut writes);
        }
        for (ip, present) in changes.local_addresses.iter().filter(|(ip, _)| served(desired, ip)) {
            writes.change(Element::address(Set::LocalEndpoints, ip), *present);
            writes.change(hairpin(ip), *present);
        }
        for (ip, present) in changes.node_addresses.iter().filter(|(ip, _)| served(desired, ip)) {
            writes.change(Element::address(Set::Nodes, ip), *present);
        }
        Ok(writes)
    }

    /// Gives a port that serves the inside and the outside differently a mark.
    fn mark(
        &mut self,
        frontend: &Frontend,
        family: Family,
        desired: &Desired,
    ) -> Result<(), ApplyError> {
        let port = (frontend.port.clone(), family);
        if inside(desired, &port).is_none() || self.marks.contains_key(&port) {
            return Ok(());
        }
        let id = self.ids.allocate().ok_or(ApplyError::TooManyPools)?;
        self.marks.insert(port, MARK | id);
        Ok(())
    }

    /// Brings the virtual server of a port's mark up to date.
    fn follow_mark(
        &mut self,
        desired: &Desired,
        port: &(Arc<PortName>, Family),
        writes: &mut Writes,
    ) {
        let Some(mark) = self.marks.get(port).copied() else { return };
        let key = ServerKey::Mark { mark, ipv6: port.1 == Family::Ipv6 };
        let pool = inside(desired, port);
        if pool.is_none() {
            self.marks.remove(port);
        }
        let wanted = pool.and_then(|pool| self.wanted(desired, &key, &pool));
        self.follow_server(key, wanted.as_ref(), writes);
    }

    fn wanted(&self, desired: &Desired, key: &ServerKey, pool: &PoolKey) -> Option<Wanted> {
        let found = desired.pool(pool)?;
        Some(Wanted {
            choice: Choice::new(key, &self.scheduler, found.affinity_seconds),
            pool: found.clone(),
            protocol: pool.port.protocol,
        })
    }

    fn follow_door(&mut self, desired: &Desired, door: &Door, writes: &mut Writes) {
        let owner = owner(desired, door, &self.own).filter(|_| served(desired, &door.ip));
        let facts = owner.as_ref().map(|(key, frontend)| {
            let mark = pool_inside(key, frontend)
                .and_then(|_| self.marks.get(&(frontend.port.clone(), key.family())).copied());
            Facts::new(key, frontend, mark)
        });
        let before = match &facts {
            Some(facts) => self.doors.insert(*door, facts.clone()),
            None => self.doors.remove(door),
        };
        match (before.is_some(), facts.is_some()) {
            (false, true) => *self.users.entry(door.ip).or_insert(0) += 1,
            (true, false) => self.left(door.ip),
            _ => {}
        }
        let elements = |facts: &Option<Facts>| {
            facts.as_ref().map(|facts| Element::of_door(door, facts)).unwrap_or_default()
        };
        if before != facts {
            writes.between(elements(&before), elements(&facts));
        }
        let wanted = owner
            .and_then(|(key, frontend)| pool_at_door(&key, frontend))
            .and_then(|pool| self.wanted(desired, &door.server(), &pool));
        self.follow_server(door.server(), wanted.as_ref(), writes);
        self.settle(door.ip, writes);
    }

    fn follow_server(&mut self, key: ServerKey, wanted: Option<&Wanted>, writes: &mut Writes) {
        let held = self.servers.remove(&key);
        let noted = held.as_ref().is_some_and(|held| held.retired);
        let was = held.is_some();
        let held = follow(key, held, wanted, &mut writes.steps);
        self.keep(key, was, noted, held, writes);
    }

    /// Notes what a server is now.
    pub(super) fn keep(
        &mut self,
        key: ServerKey,
        was: bool,
        noted: bool,
        held: Option<Held>,
        writes: &mut Writes,
    ) {
        let retired = held.as_ref().is_some_and(|held| held.retired);
        if held.as_ref().is_some_and(Held::drains) {
            self.draining.insert(key);
        } else {
            self.draining.remove(&key);
        }
        let is = held.is_some();
        if let Some(held) = held {
            self.servers.insert(key, held);
        }
        match key {
            ServerKey::Address { ip, .. } => {
                if is && !was {
                    *self.users.entry(ip).or_insert(0) += 1;
                } else if was && !is {
                    self.left(ip);
                }
                if let Some(door) = Door::of_server(&key)
                    && noted != retired
                {
                    writes.change(Element::at(&door, Set::Draining), retired);
                }
                self.settle(ip, writes);
            }
            // Not before: the mark must not lead there any more.
            ServerKey::Mark { mark, .. } if was && !is => {
                self.ids.free(mark & !super::layout::MARK_MASK)
            }
            ServerKey::Mark { .. } => {}
        }
    }

    /// Takes over a server that the kernel has.
    pub(super) fn adopt(&mut self, key: ServerKey, held: Held) {
        if let ServerKey::Address { ip, .. } = key {
            *self.users.entry(ip).or_insert(0) += 1;
        }
        self.servers.insert(key, held);
    }

    fn left(&mut self, ip: IpAddr) {
        if let Some(count) = self.users.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&ip);
            }
        }
    }

    /// Whether this node has the address as long as anything is served or finishing there.
    fn settle(&mut self, ip: IpAddr, writes: &mut Writes) {
        let used = self.users.contains_key(&ip) || self.cluster_ips.contains(&ip);
        let carried = used && !self.own.contains(&ip);
        let before = self.carried.contains(&ip);
        if carried == before {
            return;
        }
        if carried {
            self.carried.insert(ip)
        } else {
            self.carried.remove(&ip)
        };
        // Changes that undo each other within one pass are none.
        if writes.addresses.remove(&ip).is_none() {
            writes.addresses.insert(ip, carried);
        }
        let element = Element::address(Set::Addresses, &ip);
        let (there, other) = match carried {
            true => (&mut writes.new, &mut writes.gone),
            false => (&mut writes.gone, &mut writes.new),
        };
        if !other.remove(&element) {
            there.insert(element);
        }
    }

    /// Every element that the tables should hold.
    pub(super) fn elements(&self, desired: &Desired) -> BTreeSet<Element> {
        let mut all = BTreeSet::new();
        for (door, facts) in &self.doors {
            all.extend(Element::of_door(door, facts));
        }
        for (key, _) in desired.frontends() {
            if let FrontendAddress::Node(family) = key.address
                && desired.view.families.contains(&family)
            {
                let anywhere = Door::anywhere(family, key.protocol, key.port);
                all.insert(Element::at(&anywhere, Set::NodePorts));
            }
        }
        let retired = self.servers.iter().filter(|(_, held)| held.retired);
        all.extend(
            retired
                .filter_map(|(key, _)| Door::of_server(key))
                .map(|door| Element::at(&door, Set::Draining)),
        );
        all.extend(self.carried.iter().map(|ip| Element::address(Set::Addresses, ip)));
        all.extend(self.cluster_ips.iter().map(|ip| Element::address(Set::ClusterIps, ip)));
        for ip in desired.local_addresses().filter(|ip| served(desired, ip)) {
            all.insert(Element::address(Set::LocalEndpoints, ip));
            all.insert(hairpin(ip));
        }
        let nodes = desired.node_addresses().iter().filter(|ip| served(desired, ip));
        all.extend(nodes.map(|ip| Element::address(Set::Nodes, ip)));
        all
    }
}

fn served(desired: &Desired, ip: &IpAddr) -> bool {
    desired.view.families.contains(&Family::of(ip))
}

fn hairpin(ip: &IpAddr) -> Element {
    Element::new(Family::of(ip), Set::Hairpin, &Bytes::new().ip(ip).ip(ip), &[], &[])
}

/// The frontends that a port holds.
fn frontends_of<'d>(
    desired: &'d Desired,
    port: &Arc<PortName>,
    family: Family,
) -> impl Iterator<Item = (FrontendKey, &'d Frontend)> {
    let keys = desired.frontends_of(&port.service).iter();
    keys.filter(move |key| key.family() == family)
        .filter_map(|key| Some((*key, desired.frontend(key)?)))
        .filter(move |(_, frontend)| frontend.port == *port)
}

/// The pool for a port's clients inside the cluster, where it is another than for the rest.
fn inside(desired: &Desired, port: &(Arc<PortName>, Family)) -> Option<PoolKey> {
    frontends_of(desired, &port.0, port.1).find_map(|(key, frontend)| pool_inside(&key, frontend))
}

/// The mark that the kernel's tables give to a port that still needs one.
pub(super) fn marked_port(
    desired: &Desired,
    door: &Door,
    own: &BTreeSet<IpAddr>,
) -> Option<(Arc<PortName>, Family)> {
    let (key, frontend) = owner(desired, door, own)?;
    pool_inside(&key, frontend).map(|_| (frontend.port.clone(), key.family()))
}
