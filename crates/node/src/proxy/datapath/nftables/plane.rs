//! One family's table: what was put into it, and how to follow a change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;
use portolan_linux::nftables::{Batch, Data};
use portolan_model::backend::Pool;
use portolan_model::frontend::{
    Action, Family, Frontend, FrontendAddress, FrontendKey, PoolKey, PortName, Scope,
};
use portolan_model::{Changes, Desired};

use super::classes::Classes;
use super::ids::Ids;
use super::layout::{Bytes, Class, Number, Set, TABLE, allowed_keys, frontend_key, table_family};
use super::pool::{PoolState, fitting};
use crate::proxy::datapath::ApplyError;

/// The two numbers behind a frontend that serves the inside and the outside differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) id: u32,
    pub(super) inside: Number,
    pub(super) outside: Number,
}

/// What was put into one family's table.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) family: Family,
    pub(super) classes: Classes,
    pub(super) ids: Ids,
    pub(super) pools: HashMap<PoolKey, PoolState>,
    pub(super) splits: HashMap<Arc<PortName>, Split>,
    pub(super) frontends: HashMap<FrontendKey, Number>,
    pub(super) guarded: BTreeMap<FrontendKey, Arc<[IpNet]>>,
    /// Backend numbers that left: clients must not be kept on them.
    pub(super) forgotten: BTreeSet<u32>,
}

/// Writes elements of one family's table into a batch.
#[derive(Debug)]
pub(super) struct Writer<'b, 's> {
    pub(super) batch: &'b mut Batch<'s>,
    pub(super) family: Family,
}

impl Writer<'_, '_> {
    pub(super) fn add(&mut self, set: Set, key: &[u8], data: &[u8]) {
        let data = if data.is_empty() { Data::None } else { Data::Value(data) };
        self.batch.add(table_family(self.family), TABLE, set.name(), key, None, data);
    }

    /// The same, or a range where there is an end.
    pub(super) fn put(&mut self, set: Set, key: &[u8], end: &[u8], data: &[u8]) {
        if end.is_empty() { self.add(set, key, data) } else { self.add_range(set, key, end) }
    }

    pub(super) fn delete(&mut self, set: Set, key: &[u8]) {
        self.batch.delete(table_family(self.family), TABLE, set.name(), key, None);
    }

    pub(super) fn add_range(&mut self, set: Set, key: &[u8], end: &[u8]) {
        self.batch.add(table_family(self.family), TABLE, set.name(), key, Some(end), Data::None);
    }

    pub(super) fn delete_range(&mut self, set: Set, key: &[u8], end: &[u8]) {
        self.batch.delete(table_family(self.family), TABLE, set.name(), key, Some(end));
    }
}

impl Plane {
    pub(super) fn new(family: Family, classes: Classes) -> Self {
        Self {
            family,
            classes,
            ids: Ids::default(),
            pools: HashMap::new(),
            splits: HashMap::new(),
            frontends: HashMap::new(),
            guarded: BTreeMap::new(),
            forgotten: BTreeSet::new(),
        }
    }

    /// The classes that `changes` need and that have no chain yet.
    pub(super) fn missing_classes<'a>(
        &mut self,
        pools: impl Iterator<Item = (&'a PoolKey, &'a Pool)>,
    ) -> Result<BTreeMap<u16, Class>, ApplyError> {
        let mut new = BTreeMap::new();
        for (key, pool) in pools.filter(|(key, _)| key.family == self.family) {
            if pool.backends.is_empty() || key.family != self.family {
                continue;
            }
            let class = Class { count: fitting(pool) as u32, affinity: pool.affinity_seconds };
            new.extend(
                self.classes.ensure(class).map_err(|_| ApplyError::TooManySizes(class.count))?,
            );
        }
        Ok(new)
    }

    /// Writes what separates the table from `desired`, which differs from what is in it by
    /// `changes`.
    pub(super) fn follow(
        &mut self,
        desired: &Desired,
        changes: &Changes,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), ApplyError> {
        let mine = |ip: &IpAddr| Family::of(ip) == self.family;
        for (ip, present) in changes.cluster_ips.iter().filter(|(ip, _)| mine(ip)) {
            change_address(writer, Set::ClusterIps, ip, *present);
        }
        for (ip, present) in changes.local_addresses.iter().filter(|(ip, _)| mine(ip)) {
            change_address(writer, Set::LocalEndpoints, ip, *present);
            let pair = Bytes::new().ip(ip).ip(ip);
            if *present {
                writer.add(Set::Hairpin, &pair, &[])
            } else {
                writer.delete(Set::Hairpin, &pair)
            }
        }
        for (ip, present) in changes.node_addresses.iter().filter(|(ip, _)| mine(ip)) {
            change_address(writer, Set::Nodes, ip, *present);
        }
        let mut touched: BTreeSet<Arc<PortName>> = BTreeSet::new();
        let family = self.family;
        for (key, change) in changes.pools.iter().filter(|(key, _)| key.family == family) {
            touched.insert(key.port.clone());
            self.follow_pool(key, change.after.as_ref(), writer)?;
        }
        let frontends = changes.frontends.iter().filter(|(key, _)| key.family() == family);
        for (key, change) in frontends {
            let both = [&change.before, &change.after];
            touched.extend(both.into_iter().flatten().map(|frontend| frontend.port.clone()));
            self.follow_guard(key, change.after.as_ref(), writer);
            if change.after.is_none() && self.frontends.remove(key).is_some() {
                let (set, bytes) = frontend_key(key);
                writer.delete(set, &bytes);
            }
        }
        touched.iter().try_for_each(|port| self.follow_port(desired, port, writer))
    }

    fn follow_pool(
        &mut self,
        key: &PoolKey,
        after: Option<&Pool>,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), ApplyError> {
        let Some(after) = after else {
            if let Some(old) = self.pools.remove(key) {
                old.elements(|set, key, _| writer.delete(set, key));
                self.forget(&old, 0..old.slots.len());
                self.ids.free(old.id);
            }
            return Ok(());
        };
        match self.pools.get(key) {
            Some(old) if old.affinity == after.affinity_seconds => {}
            Some(_) => {
                self.follow_pool(key, None, writer)?;
            }
            None => {}
        }
        if !self.pools.contains_key(key) {
            let id = self.ids.allocate().ok_or(ApplyError::TooManyPools)?;
            let state = PoolState::new(id, key, after);
            self.pools.insert(key.clone(), state);
        }
        if let Some(state) = self.pools.get_mut(key) {
            let gone = state.follow(after, writer);
            self.forgotten.extend(gone);
        }
        Ok(())
    }

    fn forget(&mut self, pool: &PoolState, indices: impl Iterator<Item = usize>) {
        if pool.affinity.is_some() {
            self.forgotten.extend(indices.map(|index| pool.label(index)));
        }
    }

    fn follow_guard(
        &mut self,
        key: &FrontendKey,
        after: Option<&Frontend>,
        writer: &mut Writer<'_, '_>,
    ) {
        let after = after.and_then(|frontend| frontend.sources.clone());
        let before = match &after {
            Some(nets) => self.guarded.insert(*key, nets.clone()),
            None => self.guarded.remove(key),
        };
        if before == after {
            return;
        }
        let (_, bytes) = frontend_key(key);
        match (&before, &after) {
            (None, Some(_)) => writer.add(Set::Guarded, &bytes, &[]),
            (Some(_), None) => writer.delete(Set::Guarded, &bytes),
            _ => {}
        }
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        for net in before.iter().filter(|net| !after.contains(net)) {
            let (first, last) = allowed_keys(key, net);
            writer.delete_range(Set::Allowed, &first, &last);
        }
        for net in after.iter().filter(|net| !before.contains(net)) {
            let (first, last) = allowed_keys(key, net);
            writer.add_range(Set::Allowed, &first, &last);
        }
    }

    /// Brings the numbers of all frontends of one port up to date.
    fn follow_port(
        &mut self,
        desired: &Desired,
        port: &Arc<PortName>,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), ApplyError> {
        let frontends: Vec<(FrontendKey, &Frontend)> = desired
            .frontends_of(&port.service)
            .iter()
            .filter(|key| key.family() == self.family)
            .filter_map(|key| Some((*key, desired.frontend(key)?)))
            .filter(|(_, frontend)| frontend.port == *port)
            .collect();
        let split = frontends.iter().find(|(_, frontend)| frontend.inside != frontend.outside);
        self.follow_split(port, split.map(|(_, frontend)| *frontend), writer)?;
        for (key, frontend) in frontends {
            let number = self.number(frontend);
            let before = self.frontends.insert(key, number);
            if before != Some(number) {
                let (set, bytes) = frontend_key(&key);
                replace(writer, set, &bytes, before, number);
            }
        }
        Ok(())
    }

    fn follow_split(
        &mut self,
        port: &Arc<PortName>,
        frontend: Option<&Frontend>,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), ApplyError> {
        let before = self.splits.remove(port);
        let key = |id| Bytes::new().number(Number::new(id, Class::SPLIT, false).0);
        let Some(frontend) = frontend else {
            if let Some(before) = before {
                writer.delete(Set::Inside, &key(before.id));
                writer.delete(Set::Outside, &key(before.id));
                self.ids.free(before.id);
            }
            return Ok(());
        };
        let id = match before {
            Some(before) => before.id,
            None => self.ids.allocate().ok_or(ApplyError::TooManyPools)?,
        };
        let split = self.split(port, frontend, id);
        if before != Some(split) {
            replace(writer, Set::Inside, &key(id), before.map(|split| split.inside), split.inside);
            replace(
                writer,
                Set::Outside,
                &key(id),
                before.map(|split| split.outside),
                split.outside,
            );
        }
        self.splits.insert(port.clone(), split);
        Ok(())
    }

    pub(super) fn split(&self, port: &Arc<PortName>, frontend: &Frontend, id: u32) -> Split {
        let number = |action| self.action_number(port, action, frontend.masquerade_pods);
        Split { id, inside: number(frontend.inside), outside: number(frontend.outside) }
    }

    /// The number that a frontend's entry holds.
    pub(super) fn number(&self, frontend: &Frontend) -> Number {
        if frontend.inside == frontend.outside {
            return self.action_number(&frontend.port, frontend.inside, frontend.masquerade_pods);
        }
        let id = self.splits.get(&frontend.port).map_or(0, |split| split.id);
        Number::new(id, Class::SPLIT, false)
    }

    fn action_number(&self, port: &Arc<PortName>, action: Action, masquerade: bool) -> Number {
        let scope = match action {
            Action::Reject => return Number::new(0, Class::REJECT, masquerade),
            Action::Drop => return Number::new(0, Class::DROP, masquerade),
            Action::Balance(scope) => scope,
        };
        let pool = self.pool(port, scope).filter(|pool| !pool.slots.is_empty());
        let class = pool.and_then(|pool| Some((pool.id, self.classes.get(pool.class())?)));
        match class {
            Some((id, class)) => Number::new(id, class, masquerade),
            // Cannot be: the model makes a pool for every Balance, and classes come first.
            None => Number::new(0, Class::REJECT, masquerade),
        }
    }

    pub(super) fn pool(&self, port: &Arc<PortName>, scope: Scope) -> Option<&PoolState> {
        self.pools.get(&PoolKey { port: port.clone(), family: self.family, scope })
    }

    /// Hands every element that the table should hold to `each`, set by set.
    pub(super) fn elements(
        &self,
        desired: &Desired,
        wanted: Set,
        mut each: impl FnMut(&[u8], &[u8], &[u8]),
    ) {
        let mine = |ip: &&IpAddr| Family::of(ip) == self.family;
        match wanted {
            Set::EndpointsTcp | Set::EndpointsUdp | Set::EndpointsSctp | Set::Slots | Set::Kept => {
                let holds = |pool: &&PoolState| {
                    pool.set() == wanted || (wanted == Set::Kept && pool.affinity.is_some())
                };
                self.pools.values().filter(holds).for_each(|pool| {
                    pool.elements(|set, key, data| {
                        if set == wanted {
                            each(key, &[], data);
                        }
                    });
                });
            }
            Set::Inside | Set::Outside => self.splits.values().for_each(|split| {
                let number = if wanted == Set::Inside { split.inside } else { split.outside };
                let key = Bytes::new().number(Number::new(split.id, Class::SPLIT, false).0);
                each(&key, &[], &Bytes::new().number(number.0));
            }),
            Set::Frontends | Set::NodePorts => self.frontends.iter().for_each(|(key, number)| {
                if matches!(key.address, FrontendAddress::Node(_)) == (wanted == Set::NodePorts) {
                    each(&frontend_key(key).1, &[], &Bytes::new().number(number.0));
                }
            }),
            Set::ClusterIps => desired
                .cluster_ips()
                .filter(mine)
                .for_each(|ip| each(&Bytes::new().ip(ip), &[], &[])),
            Set::LocalEndpoints => {
                desired
                    .local_addresses()
                    .filter(mine)
                    .for_each(|ip| each(&Bytes::new().ip(ip), &[], &[]));
            }
            Set::Hairpin => {
                desired
                    .local_addresses()
                    .filter(mine)
                    .for_each(|ip| each(&Bytes::new().ip(ip).ip(ip), &[], &[]));
            }
            Set::Nodes => {
                desired
                    .node_addresses()
                    .iter()
                    .filter(mine)
                    .for_each(|ip| each(&Bytes::new().ip(ip), &[], &[]));
            }
            Set::Guarded => {
                self.guarded.keys().for_each(|key| each(&frontend_key(key).1, &[], &[]))
            }
            Set::Allowed => {
                for (key, nets) in &self.guarded {
                    for net in &**nets {
                        let (first, last) = allowed_keys(key, net);
                        each(&first, &last, &[]);
                    }
                }
            }
        }
    }
}

fn change_address(writer: &mut Writer<'_, '_>, set: Set, ip: &IpAddr, present: bool) {
    let key = Bytes::new().ip(ip);
    if present { writer.add(set, &key, &[]) } else { writer.delete(set, &key) }
}

fn replace(
    writer: &mut Writer<'_, '_>,
    set: Set,
    key: &[u8],
    before: Option<Number>,
    after: Number,
) {
    if before == Some(after) {
        return;
    }
    if before.is_some() {
        writer.delete(set, key);
    }
    writer.add(set, key, &Bytes::new().number(after.0));
}
