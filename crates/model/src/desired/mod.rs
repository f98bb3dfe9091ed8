//! What this node's datapath is to do: derived from the snapshot, whole or change by change.
//!
//! All policy ends here. A datapath is given frontends and pools and need not know of traffic
//! policies, readiness or topology.

mod diff;
mod endpoints;
mod refused;
mod reserved;
mod service;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use crate::backend::Pool;
use crate::frontend::{Action, Family, Frontend, FrontendKey, PoolKey, PortName};
use crate::node_view::{NodePortAddresses, NodeView};
use crate::object::ObjectName;
use crate::snapshot::{Dirty, Snapshot};

pub use diff::{Change, Changes, diff};
pub use endpoints::candidates;
pub use refused::{Refusal, Refused};
pub use reserved::Reserved;
pub use service::{HealthCheck, Routes, is_proxied, routes};
use tally::Tally;

/// What the datapath of one node is to do.
#[derive(Debug, Default)]
pub struct Desired {
    pub view: Arc<NodeView>,
    zone: Option<Arc<str>>,
    frontends: HashMap<FrontendKey, Frontend>,
    dropping: [usize; 2],
    /// Claims of Services to an address and port that another one holds.
    contested: HashMap<FrontendKey, BTreeMap<ObjectName, Frontend>>,
    pools: HashMap<PoolKey, Pool>,
    shares: HashMap<ObjectName, Share>,
    cluster_ips: Tally<IpAddr>,
    local_addresses: Tally<IpAddr>,
    node_addresses: BTreeSet<IpAddr>,
    own_addresses: BTreeSet<IpAddr>,
    /// The first InternalIP of each family.
    primary_addresses: BTreeSet<IpAddr>,
    /// This node is about to go.
    leaving: bool,
    reserved: Reserved,
    /// Addresses that Services ask for and do not get; only Services that have some.
    refused: BTreeMap<ObjectName, Box<[Refused]>>,
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
    desired.update(snapshot, &Dirty { services, nodes, service_ranges: true, ..Dirty::default() });
    desired
}

impl Desired {
    /// The desired state of a cluster of which nothing is known yet.
    pub fn new(view: NodeView) -> Self {
        let reserved = Reserved::new(&Snapshot::default(), &view);
        Self { view: Arc::new(view), reserved, ..Self::default() }
    }

    /// Follows what changed in the snapshot; the cost is proportional to the Services touched.
    pub fn update(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> Changes {
        let mut changes = Changes::default();
        let moved = !dirty.nodes.is_empty() && self.update_nodes(snapshot, &mut changes);
        let mut ground = false;
        if !dirty.nodes.is_empty() || dirty.service_ranges {
            let reserved = Reserved::new(snapshot, &self.view);
            ground = reserved != self.reserved;
            self.reserved = reserved;
        }
        let mut names = dirty.services.clone();
        if moved {
            names.extend(snapshot.services().map(|service| service.name.clone()));
            names.extend(self.shares.keys().cloned());
        } else if ground {
            // Whether an address may be served can only have changed for these.
            let asking = snapshot.services().filter(|service| {
                !service.external_ips.is_empty() || !service.load_balancer.is_empty()
            });
            names.extend(asking.map(|service| service.name.clone()));
        }
        names.iter().for_each(|name| self.update_service(snapshot, name, &mut changes));
        changes.settle();
        changes
    }

    /// Returns whether this node's own zone changed, which may touch every Service.
    fn update_nodes(&mut self, snapshot: &Snapshot, changes: &mut Changes) -> bool {
        let served = |ip: &IpAddr| self.view.families.contains(&Family::of(ip));
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
        let primary: BTreeSet<IpAddr> = Family::BOTH
            .iter()
            .filter_map(|family| {
                let mut ips = own.iter().flat_map(|node| &node.internal_ips);
                ips.find(|ip| Family::of(ip) == *family).copied()
            })
            .collect();
        if primary != self.primary_addresses {
            self.primary_addresses = primary;
            changes.own_addresses = true;
        }
        let leaving = own.is_some_and(|node| node.leaving);
        changes.health_checks |= leaving != self.leaving;
        self.leaving = leaving;
        let zone = own.and_then(|node| node.zone.clone());
        let moved = zone != self.zone;
        self.zone = zone;
        moved
    }

    fn update_service(&mut self, snapshot: &Snapshot, name: &ObjectName, changes: &mut Changes) {
        let new = snapshot.service(name).map(|service| {
            let slices: Vec<_> = snapshot.slices(name).cloned().collect();
            routes(service, &slices, &self.view, self.zone.as_deref(), &self.reserved)
        });
        let new = new.filter(|routes| *routes != Routes::default());
        let old = self.shares.remove(name);
        changes.services += usize::from(old.is_some() || new.is_some());
        let mut new = new.unwrap_or_default();
        if let Some(old) = &old {
            self.withdraw(name, old, &new, changes);
        }
        let refused = std::mem::take(&mut new.refused);
        if self.refused.get(name).map_or(&[][..], |before| before) != &refused[..] {
            changes.refused = true;
            self.refused.remove(name);
            if !refused.is_empty() {
                self.refused.insert(name.clone(), refused.into());
            }
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
        let before = self.take_frontend(key);
        let heir = self.contested.get_mut(key).and_then(pop_heir);
        if self.contested.get(key).is_some_and(BTreeMap::is_empty) {
            self.contested.remove(key);
        }
        if let Some((_, frontend)) = &heir {
            self.put_frontend(*key, frontend.clone());
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
    /// other waits. Nobody gets what is another Service's ClusterIP.
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
            Some(holder) if !goes_before(name, &frontend, holder) => {
                self.contested.entry(key).or_default().insert(name.clone(), frontend);
            }
            _ => {
                let before = self.put_frontend(key, frontend.clone());
                if let Some(loser) = before.as_ref().filter(|loser| loser.port.service != *name) {
                    let waiting = self.contested.entry(key).or_default();
                    waiting.insert(loser.port.service.clone(), loser.clone());
                }
                changes.frontend(&key, before, Some(frontend));
            }
        }
    }

    fn put_frontend(&mut self, key: FrontendKey, frontend: Frontend) -> Option<Frontend> {
        let before = self.take_frontend(&key);
        if frontend.outside == Action::Drop {
            self.dropping[usize::from(frontend.kind.is_external())] += 1;
        }
        self.frontends.insert(key, frontend);
        before
    }

    fn take_frontend(&mut self, key: &FrontendKey) -> Option<Frontend> {
        let frontend = self.frontends.remove(key)?;
        if frontend.outside == Action::Drop {
            self.dropping[usize::from(frontend.kind.is_external())] -= 1;
        }
        Some(frontend)
    }

    /// How many frontends, of those for the outside or of the others, drop who comes from there:
    /// their endpoints are all on other nodes.
    pub fn dropping(&self, external: bool) -> usize {
        self.dropping[usize::from(external)]
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

    /// The pools that a Service asks for, whether or not a frontend leads there.
    pub fn pools_of(&self, service: &ObjectName) -> &[PoolKey] {
        self.shares.get(service).map_or(&[], |share| &*share.pools)
    }

    /// The names of all Services that contribute something.
    pub fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.shares.keys()
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

    /// The networks of this node's addresses on which node ports of that family answer, loopback
    /// left aside.
    ///
    /// As with kube-proxy, networks of the other family alone say nothing about this one.
    pub fn node_port_networks(&self, family: Family) -> Vec<IpNet> {
        let everything = match family {
            Family::Ipv4 => IpNet::from(ipnet::Ipv4Net::default()),
            Family::Ipv6 => IpNet::from(ipnet::Ipv6Net::default()),
        };
        let of_family = |net: &IpNet| Family::of_net(net) == family;
        match &self.view.node_port_addresses {
            NodePortAddresses::All => vec![everything],
            NodePortAddresses::Primary => {
                let own = self.primary_addresses.iter().copied().map(IpNet::from);
                own.filter(of_family).collect()
            }
            NodePortAddresses::Within(nets) if nets.iter().any(of_family) => {
                nets.iter().filter(|net| of_family(net)).map(IpNet::trunc).collect()
            }
            NodePortAddresses::Within(_) => vec![everything],
        }
    }

    /// Whether this node is being deleted or about to be: load balancers are to leave it.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The addresses that Services ask for and that this node does not serve, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&ObjectName, &Refused)> {
        self.refused.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one)))
    }

    /// What must not be an external address.
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
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

/// Whether a Service's claim to an address and port goes before the holder's.
fn goes_before(name: &ObjectName, claim: &Frontend, holder: &Frontend) -> bool {
    let rank = |frontend: &Frontend| frontend.kind.is_external();
    (rank(claim), name) <= (rank(holder), &holder.port.service)
}

fn pop_heir(waiting: &mut BTreeMap<ObjectName, Frontend>) -> Option<(ObjectName, Frontend)> {
    let first = waiting.iter().min_by_key(|(name, frontend)| (frontend.kind.is_external(), *name));
    let name = first.map(|(name, _)| name.clone())?;
    waiting.remove_entry(&name)
}

#[cfg(test)]
mod tests;
