//! What to listen on, and where to send it: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use portolan_model::frontend::{Action, Family, Frontend, FrontendAddress, FrontendKey, PortName};
use portolan_model::node_view::Source;
use portolan_model::object::Protocol;
use portolan_model::{Desired, NodeView};

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
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Every frontend, whether or not anybody can reach it.
    pub(super) entries: BTreeMap<FrontendKey, Arc<Entry>>,
    pub(super) doors: BTreeMap<Door, Arc<Entry>>,
    /// Addresses that have to be delivered here, and are not the node's own.
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// Plans for a node with these addresses of its own.
pub(super) fn plan(desired: &Desired, own: &BTreeSet<IpAddr>) -> Plan {
    let served = |ip: &IpAddr| desired.view.families.contains(&Family::of(ip));
    let mut plan = Plan::default();
    plan.addresses.extend(desired.cluster_ips().filter(|ip| served(ip)).copied());
    for (key, frontend) in desired.frontends() {
        let entry = Arc::new(entry(desired, key, frontend));
        if entry.serves() && key.protocol != Protocol::Sctp {
            for ip in listening(desired, key, own) {
                let door = (key.protocol, SocketAddr::new(ip, key.port));
                // An address of its own goes before a node port.
                let exact = matches!(key.address, FrontendAddress::Ip(_));
                if exact || !plan.doors.contains_key(&door) {
                    plan.doors.insert(door, entry.clone());
                }
            }
        }
        if let FrontendAddress::Ip(ip) = key.address {
            plan.addresses.insert(ip);
        }
        plan.entries.insert(*key, entry);
    }
    plan.addresses.retain(|ip| !own.contains(ip));
    plan
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

/// The addresses on which a frontend listens.
fn listening(desired: &Desired, key: &FrontendKey, own: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let family = match key.address {
        FrontendAddress::Ip(ip) => return vec![ip],
        FrontendAddress::Node(family) => family,
    };
    let nets = desired.node_port_networks(family);
    let answers = |ip: &&IpAddr| match ip {
        ip if Family::of(ip) != family || desired.is_cluster_ip(ip) => false,
        // Of a whole network of loopback addresses, the one that programs dial.
        IpAddr::V4(ip) if ip.is_loopback() => desired.view.loopback_node_ports,
        ip if ip.is_loopback() => false,
        // They are only complete together with a link.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => false,
        ip => nets.iter().any(|net| net.contains(*ip)),
    };
    own.iter().filter(answers).copied().collect()
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
            let plan = plan(&desired, &own);
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
