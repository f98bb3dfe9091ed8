//! Virtual servers and their real servers: what separates those that are from those that should
//! be. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use portolan_linux::ipvs::{Forward, RealServer, ServerKey, Step, VirtualServer};
use portolan_model::backend::Pool;
use portolan_model::object::Protocol;

/// How a virtual server chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) scheduler: String,
    pub(super) persistent: bool,
    pub(super) timeout: u32,
}

/// The scheduler that keeps clients where persistence cannot: a virtual server of a mark does not
/// translate ports for persistent clients.
const KEEPING: &str = "mh";

impl Choice {
    pub(super) fn new(key: &ServerKey, scheduler: &str, affinity: Option<u32>) -> Self {
        let (scheduler, persistent) = match (affinity, key) {
            (None, _) => (scheduler, false),
            (Some(_), ServerKey::Address { .. }) => (scheduler, true),
            (Some(_), ServerKey::Mark { .. }) => (KEEPING, false),
        };
        Self { scheduler: scheduler.to_owned(), persistent, timeout: affinity.unwrap_or(0) }
    }

    pub(super) fn of(server: &VirtualServer) -> Self {
        Self {
            scheduler: server.scheduler.clone(),
            persistent: server.persistent,
            // Where nobody set one, the kernel has a default.
            timeout: if server.persistent || matches!(server.key, ServerKey::Mark { .. }) {
                server.timeout
            } else {
                0
            },
        }
    }

    /// For how many seconds a client is kept, read back.
    pub(super) fn affinity(&self) -> Option<u32> {
        (self.persistent || (self.scheduler == KEEPING && self.timeout > 0)).then_some(self.timeout)
    }

    fn server(&self, key: ServerKey) -> VirtualServer {
        VirtualServer {
            key,
            scheduler: self.scheduler.clone(),
            persistent: self.persistent,
            timeout: self.timeout,
        }
    }
}

/// A virtual server that should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) choice: Choice,
    pub(super) pool: Pool,
    pub(super) protocol: Protocol,
}

/// A virtual server that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) choice: Choice,
    /// Weights; 0 for those that only finish what they have.
    pub(super) reals: BTreeMap<SocketAddr, u32>,
    /// Nothing wants it: it lets connections finish.
    pub(super) retired: bool,
}

impl Held {
    /// What was read back. A real server in another way of forwarding has to go before it can
    /// come in ours; it is told by no weight at all.
    pub(super) fn read(server: &VirtualServer, reals: &[RealServer]) -> Self {
        let weight = |real: &RealServer| match real.forward {
            Forward::Masquerade => real.weight,
            Forward::Other(_) => FOREIGN,
        };
        Self {
            choice: Choice::of(server),
            reals: reals.iter().map(|real| (real.address, weight(real))).collect(),
            retired: false,
        }
    }

    pub(super) fn drains(&self) -> bool {
        self.retired || self.reals.values().any(|weight| *weight == 0)
    }
}

/// Stands for a real server that is not reached by translation.
const FOREIGN: u32 = u32::MAX;

/// Changes in the order in which they are to be made: first what serves more, then (once nobody
/// new is sent there) what serves less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) up: Vec<Step>,
    pub(super) down: Vec<Step>,
}

/// Brings one virtual server from what is to what should be; returns what is then.
///
/// A real server that goes gets the weight 0 and stays until its connections are over. What has no
/// connections of its own (UDP) goes at once: its clients would be sent to nobody.
pub(super) fn follow(
    key: ServerKey,
    held: Option<Held>,
    wanted: Option<&Wanted>,
    steps: &mut Steps,
) -> Option<Held> {
    let Some(wanted) = wanted else { return retire(key, held?, steps) };
    let mut held = match held {
        Some(held) => held,
        None => {
            steps.up.push(Step::Create(wanted.choice.server(key)));
            Held { choice: wanted.choice.clone(), reals: BTreeMap::new(), retired: false }
        }
    };
    held.retired = false;
    if held.choice != wanted.choice {
        steps.up.push(Step::Change(wanted.choice.server(key)));
        held.choice = wanted.choice.clone();
    }
    for backend in &*wanted.pool.backends {
        let real = SocketAddr::new(backend.address, backend.port);
        match held.reals.insert(real, 1) {
            Some(1) => {}
            Some(FOREIGN) => {
                steps.up.push(Step::Remove(key, real));
                steps.up.push(Step::Add(key, real, 1));
            }
            Some(_) => steps.up.push(Step::Weigh(key, real, 1)),
            None => steps.up.push(Step::Add(key, real, 1)),
        }
    }
    // Backends are sorted.
    let is_wanted = |real: &SocketAddr| {
        let backends = &wanted.pool.backends;
        backends.binary_search_by(|it| (it.address, it.port).cmp(&(real.ip(), real.port()))).is_ok()
    };
    if held.reals.len() > wanted.pool.backends.len() {
        let at_once = wanted.protocol == Protocol::Udp;
        held.reals
            .retain(|real, weight| is_wanted(real) || let_go(key, *real, weight, at_once, steps));
    }
    Some(held)
}

fn retire(key: ServerKey, mut held: Held, steps: &mut Steps) -> Option<Held> {
    let at_once = matches!(key, ServerKey::Address { protocol: 17, .. });
    if at_once || held.reals.is_empty() {
        steps.down.push(Step::Delete(key));
        return None;
    }
    held.reals.retain(|real, weight| let_go(key, *real, weight, false, steps));
    held.retired = true;
    Some(held)
}

/// Returns whether the real server stays for now.
fn let_go(
    key: ServerKey,
    real: SocketAddr,
    weight: &mut u32,
    at_once: bool,
    steps: &mut Steps,
) -> bool {
    if at_once || *weight == FOREIGN {
        steps.down.push(Step::Remove(key, real));
        return false;
    }
    if *weight != 0 {
        steps.down.push(Step::Weigh(key, real, 0));
        *weight = 0;
    }
    true
}

/// Removes what has drained, by what the kernel counts now; returns what is left.
pub(super) fn drain(
    key: ServerKey,
    mut held: Held,
    now: &[RealServer],
    steps: &mut Vec<Step>,
) -> Option<Held> {
    for real in now.iter().filter(|real| real.weight == 0 && real.active + real.inactive == 0) {
        if held.reals.get(&real.address) == Some(&0) {
            held.reals.remove(&real.address);
            steps.push(Step::Remove(key, real.address));
        }
    }
    // Others may have removed some.
    held.reals
        .retain(|address, weight| *weight != 0 || now.iter().any(|real| real.address == *address));
    if held.retired && held.reals.is_empty() {
        steps.push(Step::Delete(key));
        return None;
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use portolan_model::backend::Backend;
    use proptest::prelude::*;

    use super::*;

    const KEY: ServerKey = ServerKey::Address {
        ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 9)),
        protocol: 6,
        port: 80,
    };

    fn real(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 244, 0, last], 8080))
    }

    fn wanted(last: &[u8], protocol: Protocol) -> Wanted {
        let backend = |last: &u8| Backend { address: real(*last).ip(), port: 8080, local: false };
        Wanted {
            choice: Choice::new(&KEY, "rr", None),
            pool: Pool { backends: last.iter().map(backend).collect(), affinity_seconds: None },
            protocol,
        }
    }

    fn counted(last: u8, weight: u32, active: u32) -> RealServer {
        let forward = Forward::Masquerade;
        RealServer { address: real(last), forward, weight, active, inactive: 0 }
    }

    #[test]
    fn a_real_server_finishes_before_it_goes() {
        let mut steps = Steps::default();
        let held = follow(KEY, None, Some(&wanted(&[2, 3], Protocol::Tcp)), &mut steps);
        assert_eq!(steps.up.len(), 3);
        let mut steps = Steps::default();
        let held = follow(KEY, held, Some(&wanted(&[3], Protocol::Tcp)), &mut steps).unwrap();
        assert_eq!(steps, Steps { up: vec![], down: vec![Step::Weigh(KEY, real(2), 0)] });
        assert!(held.drains());
        let mut steps = vec![];
        let held = drain(KEY, held, &[counted(2, 0, 1), counted(3, 1, 0)], &mut steps).unwrap();
        assert!(steps.is_empty() && held.drains());
        let held = drain(KEY, held, &[counted(2, 0, 0), counted(3, 1, 0)], &mut steps).unwrap();
        assert_eq!(steps, [Step::Remove(KEY, real(2))]);
        assert!(!held.drains());
        // It comes back while it drains: its weight is all that changes.
        let mut steps = Steps::default();
        let held = follow(KEY, Some(held), Some(&wanted(&[2], Protocol::Tcp)), &mut steps);
        let mut steps = Steps::default();
        follow(KEY, held, Some(&wanted(&[2, 3], Protocol::Tcp)), &mut steps);
        assert_eq!(steps.up, [Step::Weigh(KEY, real(3), 1)]);
    }

    #[test]
    fn a_virtual_server_goes_with_its_last_connection() {
        let mut steps = Steps::default();
        let held = follow(KEY, None, Some(&wanted(&[2], Protocol::Tcp)), &mut steps);
        let mut steps = Steps::default();
        let held = follow(KEY, held, None, &mut steps).unwrap();
        assert_eq!(steps.down, [Step::Weigh(KEY, real(2), 0)]);
        let mut steps = vec![];
        let held = drain(KEY, held, &[counted(2, 0, 3)], &mut steps).unwrap();
        assert_eq!(drain(KEY, held, &[counted(2, 0, 0)], &mut steps), None);
        assert_eq!(steps, [Step::Remove(KEY, real(2)), Step::Delete(KEY)]);
    }

    #[test]
    fn datagrams_have_no_end_to_wait_for() {
        let mut steps = Steps::default();
        let held = follow(KEY, None, Some(&wanted(&[2, 3], Protocol::Udp)), &mut steps);
        let mut steps = Steps::default();
        follow(KEY, held, Some(&wanted(&[3], Protocol::Udp)), &mut steps);
        assert_eq!(steps.down, [Step::Remove(KEY, real(2))]);
    }

    #[test]
    fn who_is_kept_by_what() {
        let mark = ServerKey::Mark { mark: 7, ipv6: false };
        assert_eq!(Choice::new(&KEY, "lc", Some(60)).affinity(), Some(60));
        assert!(Choice::new(&KEY, "lc", Some(60)).persistent);
        let kept = Choice::new(&mark, "lc", Some(60));
        assert_eq!((kept.affinity(), kept.persistent, &*kept.scheduler), (Some(60), false, "mh"));
        assert_eq!(Choice::new(&mark, "mh", None).affinity(), None);
    }

    proptest! {
        /// Whatever was there, the steps lead to what is wanted, and then there is nothing to do.
        #[test]
        fn steps_lead_there(
            before in prop::collection::btree_map(2_u8..9, prop_oneof![Just(0), Just(1), Just(7), Just(FOREIGN)], 0..6),
            there: bool,
            after in prop::option::of(prop::collection::btree_set(2_u8..9, 1..6)),
        ) {
            let mut kernel: Option<BTreeMap<SocketAddr, u32>> = there
                .then(|| before.iter().map(|(last, weight)| (real(*last), *weight)).collect());
            let choice = Choice::new(&KEY, "rr", None);
            let held = kernel.clone().map(|reals| Held { choice, reals, retired: false });
            let after: Option<Vec<u8>> = after.map(|set| set.into_iter().collect());
            let wanted = after.as_ref().map(|last| wanted(last, Protocol::Tcp));
            let mut steps = Steps::default();
            let held = follow(KEY, held, wanted.as_ref(), &mut steps);
            for step in steps.up.iter().chain(&steps.down) {
                match step {
                    Step::Create(_) => prop_assert!(kernel.replace(BTreeMap::new()).is_none()),
                    Step::Delete(_) => prop_assert!(kernel.take().is_some()),
                    Step::Change(_) => {}
                    Step::Add(_, real, weight) => {
                        prop_assert!(kernel.as_mut().unwrap().insert(*real, *weight).is_none());
                    }
                    Step::Weigh(_, real, weight) => {
                        prop_assert!(kernel.as_mut().unwrap().insert(*real, *weight).is_some());
                    }
                    Step::Remove(_, real) => {
                        prop_assert!(kernel.as_mut().unwrap().remove(real).is_some());
                    }
                }
            }
            prop_assert_eq!(held.as_ref().map(|held| &held.reals), kernel.as_ref());
            let serving: Vec<SocketAddr> = kernel.iter().flatten()
                .filter(|(_, weight)| **weight != 0).map(|(real, _)| *real).collect();
            let expected: Vec<SocketAddr> =
                after.iter().flatten().map(|last| real(*last)).collect();
            prop_assert_eq!(serving, expected);
            if wanted.is_some() {
                let mut again = Steps::default();
                follow(KEY, held, wanted.as_ref(), &mut again);
                prop_assert_eq!(again, Steps::default());
            }
        }
    }
}
