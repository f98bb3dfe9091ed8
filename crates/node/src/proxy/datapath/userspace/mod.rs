//! Mode `userspace`: see README.md in this folder for what it can and cannot do.

mod choice;
mod plan;
mod tcp;
mod udp;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use portolan_linux::Failed;
use portolan_linux::local::{Local, source_towards};
use portolan_linux::netns::NetNs;
use portolan_linux::rtnl::Rtnl;
use portolan_model::frontend::FrontendKey;
use portolan_model::object::Protocol;
use portolan_model::{Changes, Desired};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use super::{
    Applied, ApplyError, Capabilities, Datapath, Observed, ObservedAction, ObservedFrontend, Scope,
};
use choice::Shared;
use plan::{Door, Entry, Plan, Way};

/// The protocol number of our routes, to know them again; rtnetlink leaves those from 5 up to
/// whoever takes them, and `/etc/iproute2/rt_protos` names none like this.
const ROUTES: u8 = 0x6b;

/// Addresses that are nobody's (RFC 5737, RFC 3849), for the way to the rest of the world.
const ELSEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The userspace datapath of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Userspace {
    namespace: NetNs,
    /// Its threads are born in the namespace. `None` only while it is dropped.
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
    room: Arc<tcp::Room>,
    doors: BTreeMap<Door, Listening>,
    plan: Plan,
    own: BTreeSet<IpAddr>,
    /// The routes that there should be.
    delivered: BTreeSet<Local>,
    /// Doors that could not be opened, which is told once.
    shut: BTreeSet<Door>,
    applied: bool,
}

/// A socket that is served.
#[derive(Debug)]
struct Listening {
    protocol: Protocol,
    entry: Arc<ArcSwap<Entry>>,
    /// The same socket once more, to end it at once.
    socket: Socket,
    task: AbortHandle,
    gone: Receiver<()>,
}

/// Closes its channel once everything before it is dropped.
struct Served<T> {
    inner: T,
    _done: Sender<()>,
}

impl Userspace {
    /// Opens the datapath; nothing is changed yet.
    pub fn open() -> Result<Self, ApplyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("relay")
            .enable_all()
            .build()
            .map_err(ApplyError::Relays)?;
        Ok(Self {
            namespace: NetNs::current()?,
            runtime: Some(runtime),
            shared: Arc::new(Shared::default()),
            room: Arc::default(),
            doors: BTreeMap::new(),
            plan: Plan::default(),
            own: BTreeSet::new(),
            delivered: BTreeSet::new(),
            shut: BTreeSet::new(),
            applied: false,
        })
    }

    /// The node's own addresses, without those of Services.
    fn own(&self) -> Result<BTreeSet<IpAddr>, ApplyError> {
        let all = self.namespace.rtnl()?.addresses()?;
        Ok(all.into_iter().map(|(_, net)| net.addr()).collect())
    }

    fn routes(&self) -> Result<BTreeSet<Local>, ApplyError> {
        Ok(self.namespace.rtnl()?.locals(ROUTES)?.into_iter().collect())
    }

    /// The routes for these addresses. The node dials them from where it dials the rest of the
    /// world, so that it is the same client at all of them.
    fn wanted(
        &self,
        addresses: &BTreeSet<IpAddr>,
        own: &BTreeSet<IpAddr>,
    ) -> Result<BTreeSet<Local>, ApplyError> {
        let sources = self.namespace.run(|| ELSEWHERE.map(source_towards))?;
        let source = |ip: &IpAddr| sources[usize::from(ip.is_ipv6())].filter(|it| own.contains(it));
        Ok(addresses.iter().map(|ip| Local { ip: *ip, source: source(ip) }).collect())
    }

    /// Has the Services' addresses delivered here. Returns how many routes changed.
    fn deliver(&self, wanted: &BTreeSet<Local>) -> Result<usize, ApplyError> {
        let (rtnl, held) = (self.namespace.rtnl()?, self.routes()?);
        let mut changed = 0;
        for local in held.difference(wanted) {
            rtnl.delete_local(local.ip, ROUTES)?;
            changed += 1;
        }
        for (index, local) in wanted.difference(&held).enumerate() {
            match rtnl.add_local(*local, ROUTES) {
                Ok(()) => changed += 1,
                Err(error) if index == 0 && is_forbidden(&error) => {
                    if !self.applied {
                        tracing::warn!(
                            addresses = wanted.len().saturating_sub(held.len()),
                            "no right to have Services' addresses delivered to this node (CAP_NET_ADMIN): only node ports answer, and addresses that somebody routes here (ip route add local ADDRESS dev lo)",
                        );
                    }
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(changed)
    }

    /// Makes everything what it should be.
    fn bring(&mut self, desired: &Desired) -> Result<usize, ApplyError> {
        let own = self.own()?;
        let plan = Plan::new(desired, &own);
        let delivered = own.iter().chain(&plan.addresses).copied().collect();
        self.shared.view(&desired.view, delivered);
        let ports: BTreeSet<_> = plan.entries.values().map(|entry| &entry.port).collect();
        let before = self.plan.entries.values().map(|entry| entry.port.clone());
        self.shared.forget(&before.filter(|port| !ports.contains(port)).collect());
        self.delivered = self.wanted(&plan.addresses, &own)?;
        let sctp = plan.entries.values().filter(|entry| entry.key.protocol == Protocol::Sctp);
        let sctp = sctp.count();
        if sctp > 0 && !self.applied {
            tracing::warn!(frontends = sctp, "SCTP is not relayed in mode userspace");
        }
        let doors = self.doors.keys().chain(&self.shut).chain(plan.doors.keys()).copied().collect();
        (self.plan, self.own) = (plan, own);
        let closed = self.close(&doors);
        let delivered = self.deliver(&self.delivered)?;
        Ok(closed + delivered + self.open_or_change(&doors))
    }

    /// Follows a change.
    fn follow(&mut self, desired: &Desired, changes: &Changes) -> Result<usize, ApplyError> {
        let touched = self.plan.follow(desired, &self.own, changes);
        self.shared.forget(&touched.gone);
        let closed = self.close(&touched.doors);
        let delivered = self.deliver_some(&touched.addresses)?;
        Ok(closed + delivered + self.open_or_change(&touched.doors))
    }

    /// As [`Self::deliver`], for what became of these addresses.
    fn deliver_some(&mut self, touched: &BTreeSet<IpAddr>) -> Result<usize, ApplyError> {
        let differs = |ip: &&IpAddr| {
            self.plan.addresses.contains(*ip) != delivered(&self.delivered, **ip).is_some()
        };
        let (new, gone): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) =
            touched.iter().filter(differs).partition(|ip| self.plan.addresses.contains(*ip));
        let mut changed = 0;
        if new.is_empty() && gone.is_empty() {
            return Ok(changed);
        }
        let rtnl = self.namespace.rtnl()?;
        let mut attempt = |result: Result<(), Failed>| match result {
            Ok(()) => {
                changed += 1;
                Ok(())
            }
            // That was told.
            Err(error) if is_forbidden(&error) => Ok(()),
            Err(error) => Err(error),
        };
        for ip in gone {
            self.shared.delivered(ip, false);
            if let Some(local) = delivered(&self.delivered, ip) {
                self.delivered.remove(&local);
                attempt(rtnl.delete_local(ip, ROUTES))?;
            }
        }
        for local in self.wanted(&new, &self.own)? {
            self.shared.delivered(local.ip, true);
            self.delivered.insert(local);
            attempt(rtnl.add_local(local, ROUTES))?;
        }
        Ok(changed)
    }

    /// Closes those of the doors that should not be there. Returns how many.
    fn close(&mut self, doors: &BTreeSet<Door>) -> usize {
        let mut closed = 0;
        for door in doors.iter().filter(|door| !self.plan.doors.contains_key(*door)) {
            self.shut.remove(door);
            if let Some(listening) = self.doors.remove(door) {
                listening.end();
                closed += 1;
            }
        }
        closed
    }

    /// Opens those of the doors that should be there, or tells them whom they lead to. Returns how
    /// many were not as they should be.
    fn open_or_change(&mut self, doors: &BTreeSet<Door>) -> usize {
        let mut changed = 0;
        for door in doors {
            let Some(entry) = self.plan.doors.get(door).cloned() else { continue };
            if let Some(listening) = self.doors.get(door) {
                if **listening.entry.load() != *entry {
                    listening.entry.store(entry);
                    changed += 1;
                }
                continue;
            }
            match self.listen(*door, entry.clone()) {
                Ok(listening) => {
                    self.doors.insert(*door, listening);
                    self.shut.remove(door);
                    changed += 1;
                }
                Err(error) => {
                    if self.shut.insert(*door) {
                        tell_shut(door, &entry, &error);
                    }
                }
            }
        }
        changed
    }

    fn listen(&self, door: Door, entry: Arc<Entry>) -> io::Result<Listening> {
        let socket = self.namespace.run(|| bind(door)).map_err(io::Error::from)??;
        let Some(runtime) = &self.runtime else { return Err(io::ErrorKind::Other.into()) };
        let _inside = runtime.enter();
        let entry = Arc::new(ArcSwap::new(entry));
        let (done, gone) = channel();
        let (cell, shared, copy) = (entry.clone(), self.shared.clone(), socket.try_clone()?);
        let task = if door.0 == Protocol::Udp {
            let inner = Arc::new(UdpSocket::from_std(copy.into())?);
            let served = Served { inner, _done: done };
            // Answers hold it by a weak reference: the task's own is the last.
            runtime.spawn(async move {
                udp::serve(served.inner.clone(), cell, shared).await;
                drop(served);
            })
        } else {
            let inner = TcpListener::from_std(copy.into())?;
            let room = self.room.clone();
            runtime.spawn(async move {
                let Served { inner, _done } = Served { inner, _done: done };
                tcp::serve(inner, cell, shared, room).await;
            })
        };
        Ok(Listening { protocol: door.0, entry, socket, task: task.abort_handle(), gone })
    }

    /// Removes what this mode put into the network namespace of the calling thread.
    pub fn clear() -> Result<(), ApplyError> {
        let rtnl = Rtnl::open()?;
        let mut locals = rtnl.locals(ROUTES)?.into_iter();
        Ok(locals.try_for_each(|local| rtnl.delete_local(local.ip, ROUTES))?)
    }
}

/// How an address is delivered, if it is.
fn delivered(all: &BTreeSet<Local>, ip: IpAddr) -> Option<Local> {
    all.range(Local { ip, source: None }..).next().filter(|local| local.ip == ip).copied()
}

fn tell_shut((_, address): &Door, entry: &Entry, error: &io::Error) {
    let service = &entry.port;
    if error.kind() == io::ErrorKind::PermissionDenied {
        tracing::warn!(%service, %address, %error, "no right to listen on a port below 1024: it takes CAP_NET_BIND_SERVICE, or sysctl net.ipv4.ip_unprivileged_port_start");
    } else {
        tracing::warn!(%service, %address, %error, "cannot listen; somebody else may");
    }
}

fn is_forbidden(error: &Failed) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Opens a socket at an address that may yet become this node's.
fn bind((protocol, address): Door) -> io::Result<Socket> {
    let kind = if protocol == Protocol::Udp { Type::DGRAM } else { Type::STREAM };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    if protocol != Protocol::Udp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if protocol != Protocol::Udp {
        socket.listen(1024)?;
    }
    Ok(socket)
}

impl Listening {
    /// Nobody is let in any more once this returns; connections go on.
    fn end(self) {
        // A listening socket stops at once, even while its task still waits. For UDP this would be
        // the end of a stream: a socket that is always ready, with nothing to say.
        if self.protocol != Protocol::Udp {
            let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
        }
        self.task.abort();
        drop(self.socket);
        let _ = self.gone.recv_timeout(Duration::from_secs(1));
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        std::mem::take(&mut self.doors).into_values().for_each(Listening::end);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Datapath for Userspace {
    fn mode(&self) -> &'static str {
        "userspace"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { loopback_node_ports: true, session_affinity: true, source_ranges: true }
    }

    fn apply(&mut self, desired: &Desired, scope: Scope<'_>) -> Result<Applied, ApplyError> {
        let start = Instant::now();
        let same_ground = |changes: &Changes| {
            !changes.own_addresses && changes.cluster_ips.keys().all(|ip| !self.own.contains(ip))
        };
        let writes = match scope {
            Scope::Changed(changes) if self.applied && same_ground(changes) => {
                self.follow(desired, changes)?
            }
            _ => self.bring(desired)?,
        };
        let known = std::mem::replace(&mut self.applied, true);
        let mended = match scope {
            Scope::Everything if known => writes,
            _ => 0,
        };
        Ok(Applied { writes, mended, took: start.elapsed(), ..Applied::default() })
    }

    fn may_have_drifted(&mut self) -> bool {
        let own = self.own().is_ok_and(|own| own == self.own);
        let routes = self.routes().is_ok_and(|routes| {
            let wanted = self.wanted(&self.plan.addresses, &self.own);
            wanted.is_ok_and(|wanted| routes == wanted && wanted == self.delivered)
        });
        !self.applied || !own || !routes || !self.shut.is_empty()
    }

    fn observe(&mut self) -> Result<Observed, ApplyError> {
        let routes = self.routes()?;
        let mut observed = Observed::default();
        let mut doors_of: BTreeMap<FrontendKey, Vec<&Door>> = BTreeMap::new();
        for (door, entry) in &self.plan.doors {
            doors_of.entry(entry.key).or_default().push(door);
        }
        for (key, entry) in &self.plan.entries {
            let doors = doors_of.remove(key).unwrap_or_default();
            let shut = doors.iter().find(|door| !self.doors.contains_key(**door));
            let action = |way: &Way| match (way, shut) {
                (Way::Balance { .. }, Some((_, at))) => {
                    ObservedAction::Broken(format!("nobody listens on {at}"))
                }
                (Way::Balance { .. }, None)
                    if doors.is_empty() && key.protocol == Protocol::Sctp =>
                {
                    ObservedAction::Broken("SCTP is not relayed".to_owned())
                }
                (Way::Balance { backends, affinity_seconds }, None) => ObservedAction::Balance {
                    backends: backends.iter().copied().collect(),
                    affinity_seconds: *affinity_seconds,
                },
                (Way::Reject, _) => ObservedAction::Reject,
                (Way::Drop, _) => ObservedAction::Drop,
            };
            let at: Vec<String> = doors.iter().map(|(_, at)| at.to_string()).collect();
            let frontend = ObservedFrontend {
                inside: action(&entry.inside),
                outside: action(&entry.outside),
                masquerade_pods: entry.masquerade_pods,
                sources: entry.sources.as_ref().map(|nets| nets.iter().copied().collect()),
                place: format!("listening on {}", at.join(", ")),
            };
            observed.frontends.insert(*key, frontend);
        }
        for Local { ip, .. } in self.delivered.difference(&routes) {
            observed.strays.push(format!("{ip} is not delivered to this node"));
        }
        for Local { ip, .. } in routes.difference(&self.delivered) {
            observed.strays.push(format!("{ip} is delivered to this node"));
        }
        Ok(observed)
    }

    fn remove(&mut self) -> Result<(), ApplyError> {
        std::mem::take(&mut self.doors).into_values().for_each(Listening::end);
        self.plan = Plan::default();
        self.delivered.clear();
        self.applied = false;
        self.namespace.run(Self::clear)?
    }
}
