//! What is dialled at which address, and what becomes of it: pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portolan_model::Desired;
use portolan_model::frontend::{
    Action, Family, Frontend, FrontendAddress, FrontendKey, PoolKey, PortName, Scope,
};

use super::layout::{Door, Set};
use crate::proxy::datapath::nftables::layout::Bytes;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Serve,
    Reject,
    Drop,
}

impl Outcome {
    fn of(action: Action) -> Self {
        match action {
            Action::Balance(_) => Self::Serve,
            Action::Reject => Self::Reject,
            Action::Drop => Self::Drop,
        }
    }
}

/// What the tables know of a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) node_port: bool,
    pub(super) inside: Outcome,
    pub(super) outside: Outcome,
    pub(super) masquerade: bool,
    /// The virtual server for clients inside the cluster, where it is another.
    pub(super) mark: Option<u32>,
    pub(super) sources: Option<Arc<[IpNet]>>,
}

impl Facts {
    pub(super) fn new(key: &FrontendKey, frontend: &Frontend, mark: Option<u32>) -> Self {
        Self {
            node_port: matches!(key.address, FrontendAddress::Node(_)),
            inside: Outcome::of(frontend.inside),
            outside: Outcome::of(frontend.outside),
            masquerade: frontend.masquerade_pods,
            mark,
            sources: frontend.sources.clone(),
        }
    }

    /// Hands every element of the tables that says so to `each`: set, key, end of a range, data.
    pub(super) fn elements(&self, door: &Door, mut each: impl FnMut(Set, &[u8], &[u8], &[u8])) {
        let key = door.bytes();
        each(Set::Frontends, &key, &[], &[]);
        let outcomes = [
            (self.inside, Set::RefusedInside, Set::DroppedInside),
            (self.outside, Set::RefusedOutside, Set::DroppedOutside),
        ];
        for (outcome, refused, dropped) in outcomes {
            match outcome {
                Outcome::Serve => {}
                Outcome::Reject => each(refused, &key, &[], &[]),
                Outcome::Drop => each(dropped, &key, &[], &[]),
            }
        }
        if self.node_port {
            each(Set::NodePorts, &key, &[], &[]);
        }
        if self.masquerade {
            each(Set::Masqueraded, &key, &[], &[]);
        }
        if let Some(mark) = self.mark {
            each(Set::InsideMarks, &key, &[], &Bytes::new().number(mark));
        }
        if let Some(sources) = &self.sources {
            each(Set::Guarded, &key, &[], &[]);
            for net in &**sources {
                let (first, last) = door.allowed(net);
                each(Set::Allowed, &first, &last, &[]);
            }
        }
    }
}

/// The pool of the virtual server at the door, if there is to be one.
pub(super) fn pool_at_door(key: &FrontendKey, frontend: &Frontend) -> Option<PoolKey> {
    let scope = match (frontend.outside, frontend.inside) {
        (Action::Balance(scope), _) | (_, Action::Balance(scope)) => scope,
        _ => return None,
    };
    Some(pool_key(&frontend.port, key.family(), scope))
}

/// The pool for clients inside the cluster, where that is not the one at the door.
pub(super) fn pool_inside(key: &FrontendKey, frontend: &Frontend) -> Option<PoolKey> {
    match (frontend.inside, frontend.outside) {
        (Action::Balance(inside), Action::Balance(outside)) if inside != outside => {
            Some(pool_key(&frontend.port, key.family(), inside))
        }
        _ => None,
    }
}

fn pool_key(port: &Arc<PortName>, family: Family, scope: Scope) -> PoolKey {
    PoolKey { port: port.clone(), family, scope }
}

/// The doors of a frontend on a node with these addresses.
pub(super) fn doors(desired: &Desired, key: &FrontendKey, own: &BTreeSet<IpAddr>) -> Vec<Door> {
    let door = |ip: IpAddr| Door { ip, protocol: key.protocol, port: key.port };
    match key.address {
        FrontendAddress::Ip(ip) => vec![door(ip)],
        FrontendAddress::Node(family) => {
            let nets = desired.node_port_networks(family);
            let serves = |ip: &&IpAddr| Family::of(ip) == family && within(&nets, ip);
            own.iter().filter(serves).map(|ip| door(*ip)).collect()
        }
    }
}

fn within(nets: &[IpNet], ip: &IpAddr) -> bool {
    nets.iter().any(|net| net.contains(ip))
}

/// Whose door it is: an address of its own goes before a node port.
pub(super) fn owner<'d>(
    desired: &'d Desired,
    door: &Door,
    own: &BTreeSet<IpAddr>,
) -> Option<(FrontendKey, &'d Frontend)> {
    let at = |address| FrontendKey { address, protocol: door.protocol, port: door.port };
    let exact = at(FrontendAddress::Ip(door.ip));
    if let Some(frontend) = desired.frontend(&exact) {
        return Some((exact, frontend));
    }
    let family = door.family();
    let served = own.contains(&door.ip)
        && !desired.is_cluster_ip(&door.ip)
        && within(&desired.node_port_networks(family), &door.ip);
    let key = at(FrontendAddress::Node(family));
    desired.frontend(&key).filter(|_| served).map(|frontend| (key, frontend))
}

/// The addresses of this node on which it can serve node ports; `carried` are there for Services
/// only.
pub(super) fn own_addresses(
    all: impl Iterator<Item = IpAddr>,
    carried: &BTreeSet<IpAddr>,
) -> BTreeSet<IpAddr> {
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    all.filter(|ip| !ip.is_loopback() && !link_local(ip) && !carried.contains(ip)).collect()
}

#[cfg(test)]
mod tests {
    use portolan_model::object::Protocol;
    use portolan_model::testing::{Dice, Universe};
    use portolan_model::{NodeView, Snapshot, desired};

    use super::*;

    fn ips(list: &[&str]) -> BTreeSet<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn random(seed: u64) -> Desired {
        let (mut dice, mut snapshot) = (Dice::new(seed), Snapshot::default());
        (0..120).for_each(|_| snapshot.apply(Universe::default().event(&mut dice)));
        let view = NodeView {
            name: "node-0".into(),
            families: Family::BOTH.to_vec(),
            ..NodeView::default()
        };
        desired(&snapshot, &view)
    }

    #[test]
    fn every_door_leads_back_to_its_frontend() {
        let own = ips(&["172.30.0.2", "198.51.100.1", "2001:db8:0:30::2"]);
        let mut doors_seen = 0;
        for seed in 0..30 {
            let desired = random(seed);
            for (key, frontend) in desired.frontends() {
                for door in doors(&desired, key, &own) {
                    doors_seen += 1;
                    let (held_by, found) = owner(&desired, &door, &own).unwrap();
                    // Only an exact address may have taken it.
                    assert!(held_by == *key || matches!(held_by.address, FrontendAddress::Ip(_)));
                    assert!(held_by != *key || found == frontend);
                }
            }
        }
        assert!(doors_seen > 500, "{doors_seen}");
    }

    #[test]
    fn a_virtual_server_is_where_anybody_is_served() {
        let mut split = 0;
        for seed in 0..30 {
            let desired = random(seed);
            for (key, frontend) in desired.frontends() {
                let facts = Facts::new(key, frontend, None);
                let serves = [facts.inside, facts.outside].contains(&Outcome::Serve);
                let pool = pool_at_door(key, frontend);
                assert_eq!(pool.is_some(), serves, "{key}");
                assert!(pool.iter().all(|pool| desired.pool(pool).is_some()), "{key}");
                if let Some(inside) = pool_inside(key, frontend) {
                    split += 1;
                    assert!(pool.is_some_and(|pool| pool != inside));
                    assert!(desired.pool(&inside).is_some());
                }
            }
        }
        assert!(split > 0, "no random Service sends inside and outside to different pools");
    }

    #[test]
    fn what_is_for_services_only_is_no_address_of_the_node() {
        let all = ["127.0.0.1", "172.30.0.2", "10.96.0.9", "fe80::1", "::1", "2001:db8::2"];
        let all = all.iter().map(|ip| ip.parse().unwrap());
        let own = own_addresses(all, &ips(&["10.96.0.9"]));
        assert_eq!(own, ips(&["172.30.0.2", "2001:db8::2"]));
    }

    #[test]
    fn facts_are_told_by_sets() {
        let facts = Facts {
            node_port: true,
            inside: Outcome::Serve,
            outside: Outcome::Drop,
            masquerade: false,
            mark: None,
            sources: None,
        };
        let door = Door { ip: [172, 30, 0, 2].into(), protocol: Protocol::Tcp, port: 30_002 };
        let mut sets = vec![];
        facts.elements(&door, |set, key, _, _| {
            assert_eq!(key, &*door.bytes());
            sets.push(set);
        });
        assert_eq!(sets, [Set::Frontends, Set::DroppedOutside, Set::NodePorts]);
    }
}
