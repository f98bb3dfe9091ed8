//! What this node's datapath is to do: derived from the snapshot, whole or change by change.
//!
//! All policy ends here. A datapath is given frontends and pools and need not know of traffic
//! policies, readiness or topology.

mod diff;
mod endpoints;
mod service;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::backend::Pool;
use crate::frontend::{Frontend, FrontendKey, PoolKey, PortName};
use crate::node_view::NodeView;
use crate::object::ObjectName;
use crate::snapshot::{Dirty, Snapshot};

pub use diff::{Change, Changes, diff};
pub use endpoints::candidates;
pub use service::{HealthCheck, Routes, is_proxied, routes};
use tally::Tally;

/// What the datapath of one node is to do.
#[derive(Debug, Default)]
pub struct Desired {
    pub view: Arc<NodeView>,
    zone: Option<Arc<str>>,
    frontends: HashMap<FrontendKey, Frontend>,
    /// Claims of Services to an address and port that another one holds.
    contested: HashMap<FrontendKey, BTreeMap<ObjectName, Frontend>>,
    pools: HashMap<PoolKey, Pool>,
    shares: HashMap<ObjectName, Share>,
    cluster_ips: Tally<IpAddr>,
    local_addresses: Tally<IpAddr>,
    node_addresses: BTreeSet<IpAddr>,
    own_addresses: BTreeSet<IpAddr>,
}

/// What one Service put into the maps of [`Desired`].
#[derive(Debug)]
struct Share {
    frontends: Box<[FrontendKey]>,
    pools: Box<[PoolKey]>,
    cluster_ips: Box<[IpAddr]>,
    health_check: Option<HealthCheck>,
}

/// Derives the desired state from scratch.
pub fn desired(snapshot: &Snapshot, view: &NodeView) -> Desired {
    let mut desired = Desired::new(view.clone());
    let services = snapshot.services().map(|service| service.name.clone()).collect();
    let nodes = snapshot.nodes().map(|node| node.name.clone()).collect();
    desired.update(snapshot, &Dirty { services, nodes });
    desired
}

impl Desired {
    /// The desired state of a cluster of which nothing is known yet.
    pub fn new(view: NodeView) -> Self {
        Self { view: Arc::new(view), ..Self::default() }
    }

    /// Follows what changed in the snapshot; the cost is proportional to the Services touched.
    pub fn update(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> Changes {
        let mut changes = Changes::default();
        let mut moved = false;
        if !dirty.nodes.is_empty() {
            moved = self.update_nodes(snapshot, &mut changes);
        }
        if moved {
            let all: BTreeSet<_> = snapshot
                .services()
                .map(|service| &service.name)
                .chain(self.shares.keys())
                .cloned()
                .collect();
            all.iter().for_each(|name| self.update_service(snapshot, name, &mut changes));
        } else {
            dirty
                .services
                .iter()
                .for_each(|name| self.update_service(snapshot, name, &mut changes));
        }
        changes.settle();
        changes
    }

    /// Returns whether this node's own zone changed, which may touch every Service.
    fn update_nodes(&mut self, snapshot: &Snapshot, changes: &mut Changes) -> bool {
        let served = |ip: &IpAddr| self.view.families.contains(&crate::frontend::Family::of(ip));
        let all: BTreeSet<IpAddr> =
            snapshot.nodes().flat_map(|node| &node.internal_ips).copied().filter(served).collect();
        for gone in self.node_addresses.difference(&all) {
            changes.node_addresses.insert(*gone, false);
        }
        for new in all.difference(&self.node_addresses) {
            changes.node_addresses.insert(*new, true);
        }
        self.node_addresses = all;
        let own = snapshot.node(&self.view.name);
        let own_addresses: BTreeSet<IpAddr> =
            own.iter().flat_map(|node| &node.internal_ips).copied().collect();
        if own_addresses != self.own_addresses {
            self.own_addresses = own_addresses;
            changes.own_addresses = true;
        }
        let zone = own.and_then(|node| node.zone.clone());
        let moved = zone != self.zone;
        self.zone = zone;
        moved
    }

    fn update_service(&mut self, snapshot: &Snapshot, name: &ObjectName, changes: &mut Changes) {
        let new = snapshot.service(name).map(|service| {
            let slices: Vec<_> = snapshot.slices(name).cloned().collect();
            routes(service, &slices, &self.view, self.zone.as_deref())
        });
        let new = new.filter(|routes| *routes != Routes::default());
        let old = self.shares.remove(name);
        changes.services += usize::from(old.is_some() || new.is_some());
        let new = new.unwrap_or_default();
        if let Some(old) = &old {
            self.withdraw(name, old, &new, changes);
        }
        let share = self.contribute(name, new, changes);
        if old.as_ref().and_then(|old| old.health_check) != share.health_check {
            changes.health_checks = true;
        }
        if !share.is_empty() {
            self.shares.insert(name.clone(), share);
        }
    }

    fn withdraw(&mut self, name: &ObjectName, old: &Share, new: &Routes, changes: &mut Changes) {
        for ip in &old.cluster_ips {
            self.cluster_ips.remove(*ip, &mut changes.cluster_ips);
        }
        for key in &old.frontends {
            if !new.frontends.iter().any(|(kept, _)| kept == key) {
                self.withdraw_frontend(key, name, changes);
            }
        }
        for key in &old.pools {
            let pool = self.pools.remove(key);
            for backend in
                pool.iter().flat_map(|pool| &*pool.backends).filter(|backend| backend.local)
            {
                self.local_addresses.remove(backend.address, &mut changes.local_addresses);
            }
            changes.pool(key, pool, None);
        }
    }

    fn withdraw_frontend(&mut self, key: &FrontendKey, name: &ObjectName, changes: &mut Changes) {
        if let Some(others) = self.contested.get_mut(key) {
            let lost = others.remove(name).is_some();
            if others.is_empty() && lost {
                self.contested.remove(key);
            }
            if lost {
                return;
            }
        }
        let before = self.frontends.remove(key);
        let heir = self.contested.get_mut(key).and_then(BTreeMap::pop_first);
        if self.contested.get(key).is_some_and(BTreeMap::is_empty) {
            self.contested.remove(key);
        }
        if let Some((_, frontend)) = &heir {
            self.frontends.insert(*key, frontend.clone());
        }
        changes.frontend(key, before, heir.map(|(_, frontend)| frontend));
    }

    fn contribute(&mut self, name: &ObjectName, new: Routes, changes: &mut Changes) -> Share {
        let share = Share {
            frontends: new.frontends.iter().map(|(key, _)| *key).collect(),
            pools: new.pools.iter().map(|(key, _)| key.clone()).collect(),
            cluster_ips: new.cluster_ips.into(),
            health_check: new.health_check,
        };
        for ip in &share.cluster_ips {
            self.cluster_ips.add(*ip, &mut changes.cluster_ips);
        }
        for (key, pool) in new.pools {
            for backend in pool.backends.iter().filter(|backend| backend.local) {
                self.local_addresses.add(backend.address, &mut changes.local_addresses);
            }
            changes.pool(&key, None, Some(pool.clone()));
            self.pools.insert(key, pool);
        }
        for (key, frontend) in new.frontends {
            self.claim(key, name, frontend, changes);
        }
        share
    }

    /// Two Services may ask for the same external address and port; the first by name has it, the
    /// other waits.
    fn claim(
        &mut self,
        key: FrontendKey,
        name: &ObjectName,
        frontend: Frontend,
        changes: &mut Changes,
    ) {
        if let Some(others) = self.contested.get_mut(&key) {
            others.remove(name);
            if others.is_empty() {
                self.contested.remove(&key);
            }
        }
        match self.frontends.get(&key) {
            Some(holder) if holder.port.service < *name => {
                self.contested.entry(key).or_default().insert(name.clone(), frontend);
            }
            _ => {
                let before = self.frontends.insert(key, frontend.clone());
                if let Some(loser) = before.as_ref().filter(|loser| loser.port.service != *name) {
                    let waiting = self.contested.entry(key).or_default();
                    waiting.insert(loser.port.service.clone(), loser.clone());
                }
                changes.frontend(&key, before, Some(frontend));
            }
        }
    }

    /// What is dialled, in no particular order.
    pub fn frontends(&self) -> impl ExactSizeIterator<Item = (&FrontendKey, &Frontend)> {
        self.frontends.iter()
    }

    /// The frontend at that address.
    pub fn frontend(&self, key: &FrontendKey) -> Option<&Frontend> {
        self.frontends.get(key)
    }

    /// The frontends that a Service asks for; another Service may hold some of them.
    pub fn frontends_of(&self, service: &ObjectName) -> &[FrontendKey] {
        self.shares.get(service).map_or(&[], |share| &*share.frontends)
    }

    /// All pools, in no particular order.
    pub fn pools(&self) -> impl ExactSizeIterator<Item = (&PoolKey, &Pool)> {
        self.pools.iter()
    }

    /// The pool of that key.
    pub fn pool(&self, key: &PoolKey) -> Option<&Pool> {
        self.pools.get(key)
    }

    /// The pool that a frontend's connections go to in that scope.
    pub fn pool_of(
        &self,
        key: &FrontendKey,
        port: &Arc<PortName>,
        scope: crate::frontend::Scope,
    ) -> Option<&Pool> {
        self.pools.get(&PoolKey { port: port.clone(), family: key.family(), scope })
    }

    /// Every ClusterIP, with or without ports.
    pub fn cluster_ips(&self) -> impl Iterator<Item = &IpAddr> {
        self.cluster_ips.iter()
    }

    /// Whether the address is some Service's ClusterIP.
    pub fn is_cluster_ip(&self, address: &IpAddr) -> bool {
        self.cluster_ips.contains(address)
    }

    /// The addresses of backends that run on this node.
    pub fn local_addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.local_addresses.iter()
    }

    /// Whether a backend with that address runs on this node.
    pub fn is_local_backend(&self, address: &IpAddr) -> bool {
        self.local_addresses.contains(address)
    }

    /// The InternalIPs of all nodes.
    pub fn node_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.node_addresses
    }

    /// The InternalIPs of this node.
    pub fn own_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.own_addresses
    }

    /// The zone of this node.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The load-balancer health checks that this node answers.
    pub fn health_checks(&self) -> BTreeMap<&ObjectName, HealthCheck> {
        let checks = self.shares.iter();
        checks.filter_map(|(name, share)| Some((name, share.health_check?))).collect()
    }
}

impl Share {
    fn is_empty(&self) -> bool {
        self.frontends.is_empty()
            && self.pools.is_empty()
            && self.cluster_ips.is_empty()
            && self.health_check.is_none()
    }
}

#[cfg(test)]
mod tests;
