//! What a host holds, in the model's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use hashbrown::HashSet;
use ipnet::IpNet;
use portolan_model::Desired;
use portolan_model::frontend::{Action, Frontend, FrontendKey, PoolKey};

/// What happens to new connections to a frontend, as the host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedAction {
    Balance {
        backends: BTreeSet<SocketAddr>,
        affinity_seconds: Option<u32>,
    },
    Reject,
    Drop,
    /// The host's tables contradict themselves; says how.
    Broken(String),
}

/// A frontend, as the host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedFrontend {
    pub inside: ObservedAction,
    pub outside: ObservedAction,
    pub masquerade_pods: bool,
    pub sources: Option<BTreeSet<IpNet>>,
    /// The entry that the packet meets, as the host's own tool prints it.
    pub place: String,
}

/// What a host holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub frontends: BTreeMap<FrontendKey, ObservedFrontend>,
    pub cluster_ips: BTreeSet<IpAddr>,
    pub local_addresses: BTreeSet<IpAddr>,
    pub node_addresses: BTreeSet<IpAddr>,
    /// Frontends for which the host holds nothing to follow, as nobody can dial them: a node port
    /// where no address of the node serves node ports.
    pub undialled: BTreeSet<FrontendKey>,
    /// Backends of pools that no frontend leads to, as when another Service holds the only one;
    /// `None` in a mode that has no such pools.
    pub unreached: Option<usize>,
    /// Entries that belong to nothing.
    pub strays: Vec<String>,
}

impl Observed {
    /// What a host should hold.
    pub fn expected(desired: &Desired) -> Self {
        let frontends = desired.frontends();
        Self {
            frontends: frontends
                .map(|(key, frontend)| (*key, expected(desired, key, frontend)))
                .collect(),
            cluster_ips: desired.cluster_ips().copied().collect(),
            local_addresses: desired.local_addresses().copied().collect(),
            node_addresses: desired.node_addresses().clone(),
            undialled: BTreeSet::new(),
            unreached: Some(unreached(desired)),
            strays: vec![],
        }
    }

    /// The differences to what should be, one a line; empty when the host matches.
    pub fn differences(&self, desired: &Desired) -> Vec<String> {
        let expected = Self::expected(desired);
        let mut found: Vec<String> = self.strays.clone();
        let keys: BTreeSet<_> = self.frontends.keys().chain(expected.frontends.keys()).collect();
        for key in keys {
            match (self.frontends.get(key), expected.frontends.get(key)) {
                (Some(is), Some(should)) if is.same(should) => {}
                (Some(is), Some(should)) => {
                    found.push(format!("{key} is {is:?}, should be {should:?}"))
                }
                (None, _) if self.undialled.contains(key) => {}
                (None, _) => found.push(format!("{key} is missing")),
                (_, None) => found.push(format!("{key} should not be")),
            }
        }
        if let (Some(is), Some(should)) = (self.unreached, expected.unreached)
            && is != should
        {
            found.push(format!("{is} backends are behind no frontend, should be {should}"));
        }
        let sets = [
            ("cluster IPs", &self.cluster_ips, &expected.cluster_ips),
            ("local endpoints", &self.local_addresses, &expected.local_addresses),
            ("node addresses", &self.node_addresses, &expected.node_addresses),
        ];
        for (name, is, should) in sets {
            if is != should {
                found.push(format!("{name} are {is:?}, should be {should:?}"));
            }
        }
        found
    }
}

fn unreached(desired: &Desired) -> usize {
    let frontends = desired.frontends();
    let reached: HashSet<PoolKey> = frontends
        .flat_map(|(key, frontend)| {
            [frontend.inside, frontend.outside].into_iter().filter_map(|action| match action {
                Action::Balance(scope) => {
                    Some(PoolKey { port: frontend.port.clone(), family: key.family(), scope })
                }
                _ => None,
            })
        })
        .collect();
    let pools = desired.pools().filter(|(key, _)| !reached.contains(*key));
    pools.map(|(_, pool)| pool.backends.len()).sum()
}

impl ObservedFrontend {
    fn same(&self, other: &Self) -> bool {
        let balances = |action: &ObservedAction| matches!(action, ObservedAction::Balance { .. });
        // Where nobody is reached, nobody is masqueraded.
        let plain = |it: &Self| Self {
            place: String::new(),
            masquerade_pods: it.masquerade_pods && (balances(&it.inside) || balances(&it.outside)),
            ..it.clone()
        };
        plain(self) == plain(other)
    }
}

fn expected(desired: &Desired, key: &FrontendKey, frontend: &Frontend) -> ObservedFrontend {
    let action = |action| match action {
        Action::Reject => ObservedAction::Reject,
        Action::Drop => ObservedAction::Drop,
        Action::Balance(scope) => match desired.pool_of(key, &frontend.port, scope) {
            None => ObservedAction::Broken("the pool is missing".to_owned()),
            Some(pool) => ObservedAction::Balance {
                backends: pool
                    .backends
                    .iter()
                    .map(|backend| SocketAddr::new(backend.address, backend.port))
                    .collect(),
                affinity_seconds: pool.affinity_seconds,
            },
        },
    };
    ObservedFrontend {
        inside: action(frontend.inside),
        outside: action(frontend.outside),
        masquerade_pods: frontend.masquerade_pods,
        sources: frontend.sources.as_ref().map(|nets| nets.iter().copied().collect()),
        place: String::new(),
    }
}
