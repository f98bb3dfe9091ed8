//! Connections that the kernel remembers although nobody is left at their other end.
//!
//! A UDP "connection" is only a memory of the kernel, kept alive by the client's own packets: it
//! would send them to a dead address for as long as the client goes on. A TCP or SCTP connection
//! usually ends with its endpoint; what can remain is one that was never answered, whose client
//! repeats its first packet to the same dead address, and one to a pod that went without a word.
//!
//! Live connections are never touched: an endpoint that terminates keeps what it has, and so does
//! one that merely lost its label.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use portolan_linux::conntrack::{self, Filter, Flow, Stage, Tuple};
use portolan_linux::netlink::{NetlinkError, Socket};
use portolan_linux::rtnl::Rtnl;
use portolan_model::desired::candidates;
use portolan_model::frontend::{Action, Family, Frontend, FrontendAddress, FrontendKey};
use portolan_model::object::Protocol;
use portolan_model::{Changes, Desired, Snapshot};

use super::datapath::ipvs::without_services;

/// While the kernel walks its table of connections, a processor does nothing else. For TCP that is
/// done at most this often, and
const PAUSE: Duration = Duration::from_secs(1);
/// takes at most this part of the time,
const SHARE: u32 = 200;
/// but nobody waits longer: a client repeats its first packet after 1, 3 and 7 seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many connections are judged at a time.
const BATCH: usize = 4096;

/// What may have become stale since the last sweep.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    /// Protocols of which some frontend lost a backend.
    due: BTreeSet<Protocol>,
    /// Frontends that are gone.
    removed: BTreeSet<FrontendKey>,
    /// Endpoints that terminated and are gone.
    ended: BTreeSet<(IpAddr, u16, Protocol)>,
    last: Option<Instant>,
    /// How long the last one took.
    took: Duration,
    failed: bool,
}

impl Sweeper {
    /// Everything may be stale, as after a start.
    pub(super) fn everything(&mut self) {
        self.due.extend([Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    }

    /// Notes what a batch of changes may leave behind.
    pub(super) fn note(
        &mut self,
        changes: &Changes,
        ended: impl IntoIterator<Item = (IpAddr, u16, Protocol)>,
    ) {
        for (key, change) in &changes.pools {
            let protocol = key.port.protocol;
            let before = change.before.as_ref().map_or(&[][..], |pool| &pool.backends);
            let after = change.after.as_ref().map_or(&[][..], |pool| &pool.backends);
            if protocol == Protocol::Udp
                || before.iter().any(|backend| after.binary_search(backend).is_err())
            {
                self.due.insert(protocol);
            }
        }
        for (key, change) in &changes.frontends {
            if key.protocol == Protocol::Udp {
                self.due.insert(Protocol::Udp);
            }
            if change.after.is_none() {
                self.removed.insert(*key);
            }
        }
        for item in ended {
            self.due.insert(item.2);
            self.ended.insert(item);
        }
    }

    /// When a sweep should happen, if at all. UDP is not waited with: its clients would go on
    /// talking to nobody.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.due.is_empty() {
            return None;
        }
        let at_once = self.due.contains(&Protocol::Udp) && !self.failed;
        let pause = (self.took * SHARE).clamp(PAUSE, LONGEST_PAUSE);
        Some(self.last.filter(|_| !at_once).map_or_else(Instant::now, |last| last + pause))
    }

    /// Whether connections of UDP may lead nowhere.
    pub(super) fn concerns_udp(&self) -> bool {
        self.due.contains(&Protocol::Udp)
    }

    /// Whether a UDP socket that dialled a frontend and was handed a backend leads nowhere.
    pub(super) fn is_stale_socket(
        &self,
        snapshot: &Snapshot,
        desired: &Desired,
        dialled: SocketAddr,
        backend: SocketAddr,
    ) -> bool {
        // Seen from the wire, a translation like any other.
        let tuple = |source: SocketAddr, destination: SocketAddr| Tuple {
            source: source.ip(),
            destination: destination.ip(),
            source_port: source.port(),
            destination_port: destination.port(),
        };
        let nobody = SocketAddr::new(dialled.ip(), 0);
        let flow = Flow {
            protocol: Protocol::Udp.number(),
            original: tuple(nobody, dialled),
            reply: tuple(backend, nobody),
            zone: 0,
            destination_nat: true,
            stage: Stage::Stateless,
        };
        let own = desired.own_addresses();
        let look = Look { snapshot, desired, removed: &self.removed, own };
        look.leads_nowhere(&flow, Protocol::Udp)
    }

    /// Begins a sweep for all that is due.
    ///
    /// # Errors
    /// Everything stays due.
    pub(super) fn begin(&mut self, desired: &Desired) -> Result<Sweep, NetlinkError> {
        let socket = Socket::netfilter()?;
        let own = Rtnl::open()
            .and_then(|rtnl| without_services(&rtnl))
            .unwrap_or_else(|_| desired.own_addresses().clone());
        (self.last, self.failed) = (Some(Instant::now()), false);
        Ok(Sweep {
            due: std::mem::take(&mut self.due),
            removed: std::mem::take(&mut self.removed),
            ended: std::mem::take(&mut self.ended),
            returned: HashMap::new(),
            own,
            socket,
        })
    }

    /// A sweep is done.
    pub(super) fn ended(&mut self, took: Duration) {
        self.took = took;
    }

    /// A sweep failed: it is tried again later. Not where nobody may look at connections: nobody
    /// has made any there. Returns whether it is tried again.
    pub(super) fn failed(&mut self, sweep: Option<Sweep>, error: &NetlinkError) -> bool {
        if error.is_forbidden() {
            *self = Self::default();
            return false;
        }
        if let Some(Sweep { due, removed, ended, .. }) = sweep {
            self.due.extend(due);
            self.removed.extend(removed);
            self.ended.extend(ended);
        }
        (self.last, self.failed) = (Some(Instant::now()), true);
        true
    }
}

/// The connections that a sweep looks through.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    families: Vec<Family>,
    protocols: BTreeSet<Protocol>,
}

impl Listing {
    /// Reads them once and hands over, in batches, what may be stale. The kernel takes its time
    /// for this, some ten milliseconds even when there is nothing to tell.
    pub(super) fn read(&self, mut each: impl FnMut(Vec<Flow>)) -> Result<(), NetlinkError> {
        let protocol = match &self.protocols.iter().collect::<Vec<_>>()[..] {
            [one] => Some(one.number()),
            _ => None,
        };
        let ipv6 = match self.families[..] {
            [one] => Some(one == Family::Ipv6),
            _ => None,
        };
        let mut batch = Vec::new();
        conntrack::flows(&mut Socket::netfilter()?, Filter { ipv6, protocol }, |flow| {
            let may_be_stale = match flow.stage {
                Stage::Closing => false,
                // Without translation it is none of ours, or the way of somebody who listens
                // there.
                Stage::Opening | Stage::Open => flow.destination_nat,
                Stage::Stateless => true,
            };
            let due = self.protocols.iter().any(|protocol| protocol.number() == flow.protocol);
            if may_be_stale && due {
                batch.push(flow);
            }
            if batch.len() >= BATCH {
                each(std::mem::take(&mut batch));
            }
        })?;
        each(batch);
        Ok(())
    }
}

/// A sweep that is under way: connections are judged by what the model says by then, so changes
/// need not wait for its end.
#[derive(Debug)]
pub(super) struct Sweep {
    due: BTreeSet<Protocol>,
    removed: BTreeSet<FrontendKey>,
    ended: BTreeSet<(IpAddr, u16, Protocol)>,
    /// Of those, whether somebody has the address again.
    returned: HashMap<IpAddr, bool>,
    /// This node's addresses.
    own: BTreeSet<IpAddr>,
    socket: Socket,
}

impl Sweep {
    /// What is to be read for it.
    pub(super) fn listing(&self, families: &[Family]) -> Listing {
        Listing { families: families.to_vec(), protocols: self.due.clone() }
    }

    /// Deletes those of the connections that are stale. Returns how many.
    pub(super) fn judge(
        &mut self,
        snapshot: &Snapshot,
        desired: &Desired,
        flows: &[Flow],
    ) -> Result<usize, NetlinkError> {
        let mut deleted = 0;
        for flow in flows {
            if self.is_stale(snapshot, desired, flow) {
                deleted += usize::from(conntrack::delete(&mut self.socket, flow)?);
            }
        }
        Ok(deleted)
    }

    fn is_stale(&mut self, snapshot: &Snapshot, desired: &Desired, flow: &Flow) -> bool {
        let mut due = self.due.iter().copied();
        let Some(protocol) = due.find(|protocol| protocol.number() == flow.protocol) else {
            return false;
        };
        let address = flow.reply.source;
        if flow.stage == Stage::Open {
            // Whoever moved to another slice, or whose address somebody has again, has not ended.
            let ended = self.ended.contains(&(address, flow.reply.source_port, protocol));
            let returned = || snapshot.has_endpoint(&address);
            return ended && !*self.returned.entry(address).or_insert_with(returned);
        }
        let look = Look { snapshot, desired, removed: &self.removed, own: &self.own };
        look.leads_nowhere(flow, protocol)
    }
}

/// What a connection is judged by.
struct Look<'a> {
    snapshot: &'a Snapshot,
    desired: &'a Desired,
    removed: &'a BTreeSet<FrontendKey>,
    /// This node's addresses.
    own: &'a BTreeSet<IpAddr>,
}

impl Look<'_> {
    /// Whether it was dialled at a frontend and goes to no backend of that.
    fn leads_nowhere(&self, flow: &Flow, protocol: Protocol) -> bool {
        let at = |address| FrontendKey { address, protocol, port: flow.original.destination_port };
        let dialled = flow.original.destination;
        let exact = at(FrontendAddress::Ip(dialled));
        if let Some(frontend) = self.desired.frontend(&exact) {
            return !self.answers(&exact, frontend, flow);
        }
        if self.desired.is_cluster_ip(&dialled) || self.removed.contains(&exact) {
            return flow.destination_nat;
        }
        // A translated connection to a node port's number is taken for one to the node, whose
        // address may be gone by now.
        if !flow.destination_nat && !self.own.contains(&dialled) {
            return false;
        }
        let node = at(FrontendAddress::Node(Family::of(&dialled)));
        match self.desired.frontend(&node) {
            Some(frontend) => !self.answers(&node, frontend, flow),
            None => flow.destination_nat && self.removed.contains(&node),
        }
    }

    /// Whether who answers is a backend of the frontend, or one that still serves while it goes.
    fn answers(&self, key: &FrontendKey, frontend: &Frontend, flow: &Flow) -> bool {
        let (ip, port): (IpAddr, u16) = (flow.reply.source, flow.reply.source_port);
        let in_pool = [frontend.inside, frontend.outside].into_iter().any(|action| {
            let Action::Balance(scope) = action else { return false };
            let pool = self.desired.pool_of(key, &frontend.port, scope);
            pool.is_some_and(|pool| {
                let place = pool
                    .backends
                    .binary_search_by_key(&(ip, port), |backend| (backend.address, backend.port));
                place.is_ok()
            })
        });
        if in_pool {
            return true;
        }
        let slices: Vec<_> = self.snapshot.slices(&frontend.port.service).cloned().collect();
        let all = candidates(&slices, &frontend.port, key.family(), &self.desired.view.name);
        let mut leaving =
            all.iter().filter(|item| item.endpoint.serving && item.endpoint.terminating);
        leaving.any(|item| (item.backend.address, item.backend.port) == (ip, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_done_rarely_but_udp_never_waits() {
        let mut sweeper = Sweeper::default();
        sweeper.due.insert(Protocol::Tcp);
        assert!(sweeper.due().is_some_and(|at| at <= Instant::now()), "nothing was swept yet");
        let last = Instant::now();
        sweeper.last = Some(last);
        for (took, pause) in [(1, 1000), (15, 3000), (800, 5000)] {
            sweeper.ended(Duration::from_millis(took));
            assert_eq!(sweeper.due(), Some(last + Duration::from_millis(pause)));
        }
        sweeper.due.insert(Protocol::Udp);
        assert!(sweeper.due().is_some_and(|at| at <= Instant::now()));
    }
}
