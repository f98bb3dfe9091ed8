//! Which endpoints of a Service port this node may use: readiness, termination, traffic policy.
//!
//! The rules are kube-proxy 1.36's: ready endpoints first; when there is none, those that still
//! serve while they terminate; locality is decided before topology, each for its own pool.

use crate::backend::Backend;
use crate::frontend::Scope;
use crate::object::Endpoint;
use crate::topology::{self, Reach};

/// An endpoint of a Service port, and how it would be dialled.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub backend: Backend,
    pub endpoint: &'a Endpoint,
}

/// Where the deciding node is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub node: &'a str,
    pub zone: Option<&'a str>,
}

/// The pools that a Service port needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub cluster: bool,
    pub local: bool,
}

/// The endpoints chosen for each pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    pub cluster: Vec<Backend>,
    pub local: Vec<Backend>,
    /// Whether any node could answer.
    pub any: bool,
}

/// Why an endpoint is not in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exclusion {
    NotReady,
    Terminating,
    OtherNode,
    /// Hints send this node's traffic to endpoints of its own zone.
    OtherZoneByHint,
    /// Hints send this node's traffic to endpoints of its own.
    OtherNodeByHint,
}

impl Exclusion {
    /// The reason as a phrase that completes "not used: …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "it is not ready",
            Self::Terminating => "it is terminating, and others are ready",
            Self::OtherNode => "it runs on another node, and the traffic policy is Local",
            Self::OtherZoneByHint => "topology hints keep this node's traffic in its own zone",
            Self::OtherNodeByHint => "topology hints keep this node's traffic on the node",
        }
    }
}

fn fading(endpoint: &Endpoint) -> bool {
    !endpoint.ready && endpoint.serving && endpoint.terminating
}

/// Chooses the endpoints of each pool; the order of the candidates is kept.
pub fn choose(candidates: &[Candidate<'_>], needs: Needs, place: Place<'_>) -> Chosen {
    let mut chosen = Chosen::default();
    let pick = |keep: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<Backend> {
        candidates.iter().filter(|item| keep(item)).map(|item| item.backend).collect()
    };
    if needs.cluster {
        let reach = reach(candidates, place);
        chosen.cluster = pick(&|item| {
            item.endpoint.ready && topology::within(item.endpoint, reach, place.node, place.zone)
        });
        if chosen.cluster.is_empty() {
            chosen.cluster = pick(&|item| fading(item.endpoint));
        }
        chosen.any = !chosen.cluster.is_empty();
    }
    if needs.local {
        chosen.local = pick(&|item| item.endpoint.ready && item.backend.local);
        if chosen.local.is_empty() {
            chosen.local = pick(&|item| fading(item.endpoint) && item.backend.local);
        }
        chosen.any |= candidates.iter().any(|item| item.endpoint.ready || fading(item.endpoint));
    }
    chosen
}

fn reach(candidates: &[Candidate<'_>], place: Place<'_>) -> Reach {
    let ready = candidates.iter().map(|item| item.endpoint).filter(|endpoint| endpoint.ready);
    topology::reach(ready, place.node, place.zone)
}

/// Says why the candidate is not in the pool of that scope; `None` if it is.
pub fn exclusion(
    candidate: &Candidate<'_>,
    all: &[Candidate<'_>],
    scope: Scope,
    place: Place<'_>,
) -> Option<Exclusion> {
    let needs = Needs { cluster: scope == Scope::Cluster, local: scope == Scope::Local };
    let chosen = choose(all, needs, place);
    let pool = if needs.cluster { &chosen.cluster } else { &chosen.local };
    if pool.contains(&candidate.backend) {
        return None;
    }
    Some(match candidate.endpoint {
        _ if scope == Scope::Local && !candidate.backend.local => Exclusion::OtherNode,
        endpoint if fading(endpoint) => Exclusion::Terminating,
        endpoint if !endpoint.ready => Exclusion::NotReady,
        _ if reach(all, place) == Reach::SameNode => Exclusion::OtherNodeByHint,
        _ => Exclusion::OtherZoneByHint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { node: "here", zone: Some("zone-a") };
    const BOTH: Needs = Needs { cluster: true, local: true };

    fn endpoint(last: u8, node: &str) -> Endpoint {
        Endpoint { node_name: Some(node.into()), ..Endpoint::new([10, 0, 0, last].into()) }
    }

    fn terminating(last: u8, node: &str) -> Endpoint {
        Endpoint { ready: false, terminating: true, ..endpoint(last, node) }
    }

    fn chosen(endpoints: &[Endpoint]) -> (Vec<u8>, Vec<u8>, bool) {
        let candidates: Vec<_> = endpoints.iter().map(candidate).collect();
        let chosen = choose(&candidates, BOTH, HERE);
        let last = |pool: &[Backend]| -> Vec<u8> {
            pool.iter()
                .map(|backend| {
                    backend.address.to_string().rsplit('.').next().unwrap().parse().unwrap()
                })
                .collect()
        };
        (last(&chosen.cluster), last(&chosen.local), chosen.any)
    }

    fn candidate(endpoint: &Endpoint) -> Candidate<'_> {
        let local = endpoint.node_name.as_deref() == Some("here");
        Candidate { backend: Backend { address: endpoint.address, port: 80, local }, endpoint }
    }

    #[test]
    fn ready_endpoints_come_before_terminating_ones() {
        assert_eq!(
            chosen(&[endpoint(1, "there"), terminating(2, "here")]),
            (vec![1], vec![2], true)
        );
        assert_eq!(chosen(&[terminating(1, "there"), terminating(2, "here")]).0, vec![1, 2]);
        let mut dead = terminating(1, "here");
        dead.serving = false;
        assert_eq!(chosen(&[dead]), (vec![], vec![], false));
    }

    #[test]
    fn other_nodes_endpoints_count_as_some() {
        assert_eq!(chosen(&[endpoint(1, "there")]), (vec![1], vec![], true));
    }

    #[test]
    fn hints_are_followed_only_when_all_have_one() {
        let hinted = |last, zone: &str, nodes: &[&str]| {
            let nodes = nodes.iter().map(|node| (*node).into()).collect();
            endpoint(last, "there").with_hints([zone.into()].into(), nodes)
        };
        let (near, far) = (hinted(1, "zone-a", &[]), endpoint(2, "there"));
        assert_eq!(chosen(&[near.clone(), far.clone()]).0, vec![1, 2]);
        let far = hinted(2, "zone-b", &[]);
        assert_eq!(chosen(&[near.clone(), far.clone()]).0, vec![1]);
        assert_eq!(chosen(std::slice::from_ref(&far)).0, vec![2], "no endpoint for the own zone");
        let (near, far) = (hinted(1, "zone-a", &["there"]), hinted(2, "zone-b", &["here"]));
        assert_eq!(chosen(&[near, far]).0, vec![2], "node hints win");
    }

    #[test]
    fn an_exclusion_has_its_reason() {
        let all = [endpoint(1, "there"), terminating(2, "there"), endpoint(3, "here")];
        let all: Vec<_> = all.iter().map(candidate).collect();
        let why = |index: usize, scope| exclusion(&all[index], &all, scope, HERE);
        assert_eq!(why(0, Scope::Cluster), None);
        assert_eq!(why(0, Scope::Local), Some(Exclusion::OtherNode));
        assert_eq!(why(1, Scope::Cluster), Some(Exclusion::Terminating));
        assert_eq!(why(2, Scope::Local), None);
    }
}
