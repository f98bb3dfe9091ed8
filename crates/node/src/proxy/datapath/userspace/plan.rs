//! What to listen on, and where to send it: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use portolan_model::frontend::{
    Action, Family, Frontend, FrontendAddress, FrontendKey, PoolKey, PortName,
};
use portolan_model::node_view::Source;
use portolan_model::object::Protocol;
use portolan_model::{Changes, Desired, NodeView};

/// What becomes of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Balance { backends: Arc<[SocketAddr]>, affinity_seconds: Option<u32> },
    Reject,
    Drop,
}

/// What a frontend does with its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: FrontendKey,
    pub(super) port: Arc<PortName>,
    pub(super) inside: Way,
    pub(super) outside: Way,
    pub(super) masquerade_pods: bool,
    pub(super) sources: Option<Arc<[IpNet]>>,
}

impl Entry {
    /// What becomes of a client with that address; `None`: it may not come.
    pub(super) fn way(&self, client: IpAddr, who: Source) -> Option<&Way> {
        if self.sources.as_ref().is_some_and(|nets| !nets.iter().any(|net| net.contains(&client))) {
            return None;
        }
        Some(match who {
            Source::Pod | Source::Node => &self.inside,
            Source::Outside => &self.outside,
        })
    }

    /// Whether anybody may be let in.
    fn serves(&self) -> bool {
        [&self.inside, &self.outside].iter().any(|way| matches!(way, Way::Balance { .. }))
    }
}

/// A socket that is listened on.
pub(super) type Door = (Protocol, SocketAddr);

/// What this node's relays are to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Every frontend, whether or not anybody can reach it.
    pub(super) entries: BTreeMap<FrontendKey, Arc<Entry>>,
    pub(super) doors: BTreeMap<Door, Arc<Entry>>,
    /// Addresses that have to be delivered here, and are not the node's own.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// How many frontends each address has.
    frontends_at: BTreeMap<IpAddr, usize>,
}

/// What may have become different.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) doors: BTreeSet<Door>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Service ports that had frontends and have none.
    pub(super) gone: BTreeSet<Arc<PortName>>,
}

impl Plan {
    /// Plans from nothing for a node with these addresses of its own.
    pub(super) fn new(desired: &Desired, own: &BTreeSet<IpAddr>) -> Self {
        let mut plan = Self::default();
        let keys = desired.frontends().map(|(key, _)| *key).collect();
        plan.take_over(desired, own, &keys, desired.cluster_ips().copied());
        plan
    }

    /// Follows a change; the node's own addresses are the same as before.
    pub(super) fn follow(
        &mut self,
        desired: &Desired,
        own: &BTreeSet<IpAddr>,
        changes: &Changes,
    ) -> Touched {
        let mut keys: BTreeSet<FrontendKey> = changes.frontends.keys().copied().collect();
        for PoolKey { port, .. } in changes.pools.keys() {
            let asked = desired.frontends_of(&port.service).iter();
            let of_port = |key: &&FrontendKey| {
                desired.frontend(key).is_some_and(|frontend| frontend.port == *port)
            };
            keys.extend(asked.filter(of_port));
        }
        self.take_over(desired, own, &keys, changes.cluster_ips.keys().copied())
    }

    /// Plans these frontends and ClusterIPs anew, whether they are still there or not.
    fn take_over(
        &mut self,
        desired: &Desired,
        own: &BTreeSet<IpAddr>,
        keys: &BTreeSet<FrontendKey>,
        cluster_ips: impl Iterator<Item = IpAddr>,
    ) -> Touched {
        let mut touched = Touched::default();
        touched.addresses.extend(cluster_ips);
        for key in keys {
            if let Some(old) = self.take_entry(desired, key) {
                touched.gone.insert(old.port.clone());
            }
            let at = |ip: &IpAddr| (key.protocol, SocketAddr::new(*ip, key.port));
            match &key.address {
                FrontendAddress::Ip(ip) => {
                    touched.addresses.insert(*ip);
                    touched.doors.insert(at(ip));
                }
                FrontendAddress::Node(_) => touched.doors.extend(own.iter().map(at)),
            }
        }
        touched.gone.retain(|port| {
            let mut keys = desired.frontends_of(&port.service).iter();
            !keys.any(|key| self.entries.get(key).is_some_and(|entry| entry.port == *port))
        });
        for door in &touched.doors {
            match self.entry_behind(desired, own, door) {
                Some(entry) => self.doors.insert(*door, entry),
                None => self.doors.remove(door),
            };
        }
        for ip in &touched.addresses {
            let served = desired.view.families.contains(&Family::of(ip));
            let asked = self.frontends_at.contains_key(ip) || served && desired.is_cluster_ip(ip);
            if asked && !own.contains(ip) {
                self.addresses.insert(*ip);
            } else {
                self.addresses.remove(ip);
            }
        }
        touched
    }

    /// Makes one frontend's entry what it should be; returns what it was.
    fn take_entry(&mut self, desired: &Desired, key: &FrontendKey) -> Option<Arc<Entry>> {
        let new = desired.frontend(key).map(|frontend| Arc::new(entry(desired, key, frontend)));
        let is_there = new.is_some();
        let old = match new {
            Some(new) => self.entries.insert(*key, new),
            None => self.entries.remove(key),
        };
        if let FrontendAddress::Ip(ip) = key.address
            && is_there != old.is_some()
        {
            let count = self.frontends_at.entry(ip).or_default();
            *count = if is_there { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.frontends_at.remove(&ip);
            }
        }
        old
    }

    /// Who is served at a door. An address of its own goes before a node port.
    fn entry_behind(
        &self,
        desired: &Desired,
        own: &BTreeSet<IpAddr>,
        (protocol, at): &Door,
    ) -> Option<Arc<Entry>> {
        let (ip, protocol, port) = (at.ip(), *protocol, at.port());
        if protocol == Protocol::Sctp {
            return None;
        }
        let serving = |address| {
            let entry = self.entries.get(&FrontendKey { address, protocol, port })?;
            entry.serves().then_some(entry)
        };
        let family = Family::of(&ip);
        let exact = serving(FrontendAddress::Ip(ip));
        let node = || {
            let entry = serving(FrontendAddress::Node(family))?;
            (own.contains(&ip) && answers_node_ports(desired, family, &ip)).then_some(entry)
        };
        exact.or_else(node).cloned()
    }
}

fn entry(desired: &Desired, key: &FrontendKey, frontend: &Frontend) -> Entry {
    let way = |action| match action {
        Action::Reject => Way::Reject,
        Action::Drop => Way::Drop,
        Action::Balance(scope) => match desired.pool_of(key, &frontend.port, scope) {
            None => Way::Reject,
            Some(pool) => Way::Balance {
                backends: pool
                    .backends
                    .iter()
                    .map(|backend| SocketAddr::new(backend.address, backend.port))
                    .collect(),
                affinity_seconds: pool.affinity_seconds,
            },
        },
    };
    Entry {
        key: *key,
        port: frontend.port.clone(),
        inside: way(frontend.inside),
        outside: way(frontend.outside),
        masquerade_pods: frontend.masquerade_pods,
        sources: frontend.sources.clone(),
    }
}

/// Whether node ports of that family answer on an address of the node's own.
fn answers_node_ports(desired: &Desired, family: Family, ip: &IpAddr) -> bool {
    match ip {
        ip if Family::of(ip) != family || desired.is_cluster_ip(ip) => false,
        // Of a whole network of loopback addresses, the one that programs dial.
        IpAddr::V4(ip) if ip.is_loopback() => desired.view.loopback_node_ports,
        ip if ip.is_loopback() => false,
        // They are only complete together with a link.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => false,
        ip => desired.node_port_networks(family).iter().any(|net| net.contains(ip)),
    }
}

/// Who a client is; `own` are the addresses that are delivered to this node.
pub(super) fn who(view: &NodeView, own: &BTreeSet<IpAddr>, client: IpAddr) -> Source {
    view.source(&client, own.contains(&client) || client.is_loopback())
}

#[cfg(test)]
mod tests {
    use portolan_model::testing::{Dice, Universe};
    use portolan_model::{Snapshot, desired};

    use super::*;

    fn ips(list: &[&str]) -> BTreeSet<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn every_frontend_that_serves_has_its_doors() {
        let own = ips(&["172.30.0.2", "127.0.0.1", "::1", "2001:db8:0:30::2", "fe80::1"]);
        for seed in 0..30 {
            let mut dice = Dice::new(seed);
            let mut snapshot = Snapshot::default();
            (0..100).for_each(|_| snapshot.apply(Universe::default().event(&mut dice)));
            let view = NodeView {
                name: "node-0".into(),
                families: Family::BOTH.to_vec(),
                loopback_node_ports: dice.once_in(2),
                ..NodeView::default()
            };
            let desired = desired(&snapshot, &view);
            let plan = Plan::new(&desired, &own);
            assert_eq!(plan.entries.len(), desired.frontends().len());
            for (key, entry) in &plan.entries {
                let expected: BTreeSet<IpAddr> = match key.address {
                    _ if !entry.serves() || key.protocol == Protocol::Sctp => ips(&[]),
                    FrontendAddress::Ip(ip) => [ip].into(),
                    FrontendAddress::Node(Family::Ipv4) if view.loopback_node_ports => {
                        ips(&["172.30.0.2", "127.0.0.1"])
                    }
                    FrontendAddress::Node(Family::Ipv4) => ips(&["172.30.0.2"]),
                    FrontendAddress::Node(Family::Ipv6) => ips(&["2001:db8:0:30::2"]),
                };
                let doors = plan.doors.iter().filter(|(_, it)| Arc::ptr_eq(it, entry));
                let found: BTreeSet<IpAddr> = doors.map(|((_, at), _)| at.ip()).collect();
                assert_eq!(found, expected, "seed {seed}: {key}");
            }
            assert!(desired.cluster_ips().all(|ip| plan.addresses.contains(ip)));
            assert!(plan.addresses.is_disjoint(&own));
        }
    }

    /// However a cluster came to be what it is, the plan is the same; and whatever is different was
    /// said to be.
    #[test]
    fn a_followed_plan_is_the_one_made_from_nothing() {
        // One of them is an address that Services ask for.
        let own = ips(&["172.30.0.2", "127.0.0.1", "192.0.2.10", "2001:db8:0:30::2"]);
        for seed in 0..20 {
            let mut dice = Dice::new(seed);
            let mut snapshot = Snapshot::default();
            let view = NodeView {
                name: "node-0".into(),
                families: Family::BOTH.to_vec(),
                ..NodeView::default()
            };
            let mut desired = Desired::new(view);
            let mut plan = Plan::new(&desired, &own);
            for step in 0..150 {
                snapshot.apply(Universe::default().event(&mut dice));
                let dirty = snapshot.take_dirty();
                let changes = desired.update(&snapshot, &dirty);
                let before = plan.clone();
                let touched = plan.follow(&desired, &own, &changes);
                assert_eq!(plan, Plan::new(&desired, &own), "seed {seed}, step {step}");
                let other = |door: &&Door| before.doors.get(*door) != plan.doors.get(*door);
                let mut doors = before.doors.keys().chain(plan.doors.keys()).filter(other);
                assert!(doors.all(|door| touched.doors.contains(door)), "seed {seed}, step {step}");
                let mut addresses = before.addresses.symmetric_difference(&plan.addresses);
                assert!(addresses.all(|ip| touched.addresses.contains(ip)), "seed {seed}");
                let ports = |plan: &Plan| -> BTreeSet<Arc<PortName>> {
                    plan.entries.values().map(|entry| entry.port.clone()).collect()
                };
                let gone: BTreeSet<_> = ports(&before).difference(&ports(&plan)).cloned().collect();
                assert_eq!(touched.gone, gone, "seed {seed}, step {step}");
            }
        }
    }

    #[test]
    fn who_may_not_come_has_no_way() {
        let entry = Entry {
            key: FrontendKey {
                address: FrontendAddress::Ip([203, 0, 113, 1].into()),
                protocol: Protocol::Tcp,
                port: 80,
            },
            port: Arc::new(PortName {
                service: portolan_model::object::ObjectName::new("default", "blue"),
                port: "".into(),
                protocol: Protocol::Tcp,
            }),
            inside: Way::Reject,
            outside: Way::Drop,
            masquerade_pods: false,
            sources: Some(vec!["198.51.100.0/24".parse().unwrap()].into()),
        };
        let client = [198, 51, 100, 7].into();
        assert_eq!(entry.way(client, Source::Outside), Some(&Way::Drop));
        assert_eq!(entry.way(client, Source::Pod), Some(&Way::Reject));
        assert_eq!(entry.way([192, 0, 2, 1].into(), Source::Pod), None);
    }
}
