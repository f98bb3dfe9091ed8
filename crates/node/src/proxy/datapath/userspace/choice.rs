//! Which backend a client gets.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use portolan_model::NodeView;
use portolan_model::frontend::{Family, PortName};
use portolan_model::node_view::Source;
use rand::seq::SliceRandom;

use super::plan::{Entry, Way, who};

/// So many clients are remembered; then those whose time is over are forgotten, or else all.
const CLIENTS: usize = 65_536;

/// A client of a Service's port.
type Client = (Arc<PortName>, IpAddr);

/// Who answered it last, and when.
type Kept = (SocketAddr, Instant);

/// What all relays share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) view: ArcSwap<NodeView>,
    /// Every address that is delivered to this node.
    own: RwLock<BTreeSet<IpAddr>>,
    kept: Mutex<HashMap<Client, Kept>>,
}

/// Where a client's connection may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// These, one after the other until one answers.
    Try(Vec<SocketAddr>),
    Refuse,
}

impl Shared {
    /// Chooses for a client of a frontend at that time.
    pub(super) fn choose(&self, entry: &Entry, client: IpAddr, now: Instant) -> Choice {
        let source = self.who(client);
        let Some(Way::Balance { backends, affinity_seconds }) = entry.way(client, source) else {
            return Choice::Refuse;
        };
        let mut order: Vec<SocketAddr> = backends.to_vec();
        order.shuffle(&mut rand::rng());
        if let Some(seconds) = affinity_seconds {
            let key = (entry.port.clone(), client);
            let kept = self.kept.lock().get(&key).copied();
            let fresh =
                |at: Instant| now.duration_since(at) <= Duration::from_secs((*seconds).into());
            if let Some((backend, at)) = kept
                && fresh(at)
                && let Some(place) = order.iter().position(|other| *other == backend)
            {
                order.swap(0, place);
            }
        }
        Choice::Try(order)
    }

    /// Remembers which backend a client has got, if its frontend wants that.
    pub(super) fn keep(&self, entry: &Entry, client: IpAddr, backend: SocketAddr, now: Instant) {
        let seconds = [&entry.inside, &entry.outside].into_iter().find_map(|way| match way {
            Way::Balance { affinity_seconds, .. } => *affinity_seconds,
            _ => None,
        });
        let Some(seconds) = seconds else { return };
        let mut kept = self.kept.lock();
        if kept.len() >= CLIENTS {
            let limit = Duration::from_secs(seconds.into());
            kept.retain(|_, (_, at)| now.duration_since(*at) <= limit);
            if kept.len() >= CLIENTS {
                kept.clear();
            }
        }
        kept.insert((entry.port.clone(), client), (backend, now));
    }

    /// Whether a client of the frontend may stay with that backend.
    pub(super) fn may_stay(&self, entry: &Entry, client: IpAddr, backend: SocketAddr) -> bool {
        let source = self.who(client);
        let way = entry.way(client, source);
        matches!(way, Some(Way::Balance { backends, .. }) if backends.contains(&backend))
    }

    /// Forgets clients of these Service ports.
    pub(super) fn forget(&self, gone: &BTreeSet<Arc<PortName>>) {
        if !gone.is_empty() {
            self.kept.lock().retain(|(port, _), _| !gone.contains(port));
        }
    }

    fn who(&self, client: IpAddr) -> Source {
        who(&self.view.load(), &self.own.read(), client)
    }

    /// Takes the view of the node, and every address that is delivered to it.
    pub(super) fn view(&self, view: &Arc<NodeView>, own: BTreeSet<IpAddr>) {
        self.view.store(view.clone());
        *self.own.write() = own;
    }

    /// An address is delivered to the node from now on, or no longer.
    pub(super) fn delivered(&self, ip: IpAddr, present: bool) {
        let mut own = self.own.write();
        if present {
            own.insert(ip);
        } else {
            own.remove(&ip);
        }
    }
}

/// An address of the client's family to dial from.
pub(super) fn any_of(like: SocketAddr) -> SocketAddr {
    match Family::of(&like.ip()) {
        Family::Ipv4 => ([0, 0, 0, 0], 0).into(),
        Family::Ipv6 => ([0_u16; 8], 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::frontend::{FrontendAddress, FrontendKey};
    use portolan_model::object::{ObjectName, Protocol};

    use super::*;

    fn entry(backends: &[SocketAddr], affinity_seconds: Option<u32>) -> Entry {
        let port = PortName {
            service: ObjectName::new("default", "blue"),
            port: "".into(),
            protocol: Protocol::Tcp,
        };
        let way = Way::Balance { backends: backends.into(), affinity_seconds };
        Entry {
            key: FrontendKey {
                address: FrontendAddress::Ip([10, 96, 0, 9].into()),
                protocol: Protocol::Tcp,
                port: 80,
            },
            port: Arc::new(port),
            inside: way.clone(),
            outside: way,
            masquerade_pods: false,
            sources: None,
        }
    }

    #[test]
    fn every_backend_is_tried_first_now_and_then() {
        let backends: Vec<SocketAddr> = (1..4).map(|n| ([10, 0, 0, n], 80).into()).collect();
        let (shared, entry) = (Shared::default(), entry(&backends, None));
        let mut first = BTreeSet::new();
        // Missing one in 200 throws has a probability of 2e-35.
        for _ in 0..200 {
            let Choice::Try(mut order) =
                shared.choose(&entry, [10, 0, 0, 9].into(), Instant::now())
            else {
                panic!("refused")
            };
            first.insert(order[0]);
            order.sort();
            assert_eq!(order, backends);
        }
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn a_client_stays_for_its_time() {
        let backends: Vec<SocketAddr> = (1..100).map(|n| ([10, 0, 0, n], 80).into()).collect();
        let (shared, entry) = (Shared::default(), entry(&backends, Some(60)));
        let (client, start) = ([10, 9, 9, 9].into(), Instant::now());
        shared.keep(&entry, client, backends[42], start);
        let first =
            |after: u64| match shared.choose(&entry, client, start + Duration::from_secs(after)) {
                Choice::Try(order) => order[0],
                Choice::Refuse => panic!("refused"),
            };
        assert!((0..50).all(|_| first(60) == backends[42]));
        assert!((0..50).any(|_| first(61) != backends[42]));
        shared.forget(&BTreeSet::new());
        assert!((0..50).all(|_| first(1) == backends[42]));
        shared.forget(&[entry.port.clone()].into());
        assert!((0..50).any(|_| first(1) != backends[42]));
    }
}
