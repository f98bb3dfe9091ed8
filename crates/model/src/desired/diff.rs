//! What separates one desired state from another.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Desired;
use crate::backend::Pool;
use crate::frontend::{Frontend, FrontendKey, PoolKey};

/// What one key held before and holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    pub before: Option<T>,
    pub after: Option<T>,
}

/// What separates one desired state from a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub frontends: BTreeMap<FrontendKey, Change<Frontend>>,
    pub pools: BTreeMap<PoolKey, Change<Pool>>,
    /// ClusterIPs that appeared (`true`) or went.
    pub cluster_ips: BTreeMap<IpAddr, bool>,
    /// Addresses of this node's backends that appeared (`true`) or went.
    pub local_addresses: BTreeMap<IpAddr, bool>,
    /// Addresses of nodes that appeared (`true`) or went.
    pub node_addresses: BTreeMap<IpAddr, bool>,
    /// This node's own InternalIPs are others.
    pub own_addresses: bool,
    /// Some health check appeared, changed or went, or whether this node is leaving did.
    pub health_checks: bool,
    /// Addresses that Services ask for are refused for the first time, or no longer.
    pub refused: bool,
    /// How many Services were derived again.
    pub services: usize,
}

impl Changes {
    /// Whether a datapath has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty()
            && self.pools.is_empty()
            && self.cluster_ips.is_empty()
            && self.local_addresses.is_empty()
            && self.node_addresses.is_empty()
            && !self.own_addresses
    }

    pub(super) fn frontend(
        &mut self,
        key: &FrontendKey,
        before: Option<Frontend>,
        after: Option<Frontend>,
    ) {
        let change = self.frontends.entry(*key).or_insert(Change { before, after: None });
        change.after = after;
    }

    pub(super) fn pool(&mut self, key: &PoolKey, before: Option<Pool>, after: Option<Pool>) {
        match self.pools.get_mut(key) {
            Some(change) => change.after = after,
            None => {
                self.pools.insert(key.clone(), Change { before, after });
            }
        }
    }

    /// Forgets what ended as it began.
    pub(super) fn settle(&mut self) {
        self.frontends.retain(|_, change| change.before != change.after);
        self.pools.retain(|_, change| change.before != change.after);
    }
}

/// Compares two desired states in full.
pub fn diff(before: &Desired, after: &Desired) -> Changes {
    let mut changes = Changes::default();
    for (key, frontend) in &before.frontends {
        changes.frontend(key, Some(frontend.clone()), after.frontends.get(key).cloned());
    }
    for (key, frontend) in &after.frontends {
        if !before.frontends.contains_key(key) {
            changes.frontend(key, None, Some(frontend.clone()));
        }
    }
    for (key, pool) in &before.pools {
        changes.pool(key, Some(pool.clone()), after.pools.get(key).cloned());
    }
    for (key, pool) in &after.pools {
        if !before.pools.contains_key(key) {
            changes.pool(key, None, Some(pool.clone()));
        }
    }
    let sets: [(_, &mut BTreeMap<IpAddr, bool>); 2] = [
        ((&before.cluster_ips, &after.cluster_ips), &mut changes.cluster_ips),
        ((&before.local_addresses, &after.local_addresses), &mut changes.local_addresses),
    ];
    for ((before, after), changed) in sets {
        changed.extend(before.iter().filter(|ip| !after.contains(ip)).map(|ip| (*ip, false)));
        changed.extend(after.iter().filter(|ip| !before.contains(ip)).map(|ip| (*ip, true)));
    }
    let (old, new) = (&before.node_addresses, &after.node_addresses);
    changes.node_addresses.extend(old.difference(new).map(|ip| (*ip, false)));
    changes.node_addresses.extend(new.difference(old).map(|ip| (*ip, true)));
    changes.own_addresses = before.own_addresses != after.own_addresses
        || before.primary_addresses != after.primary_addresses;
    changes.health_checks =
        before.health_checks() != after.health_checks() || before.leaving != after.leaving;
    changes.refused = before.refused != after.refused;
    changes.settle();
    changes
}
