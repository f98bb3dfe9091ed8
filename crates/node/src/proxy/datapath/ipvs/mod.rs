//! Mode `ipvs`: see README.md in this folder for the layout and the way of a packet.

mod doors;
mod host;
mod layout;
mod observe;
mod plane;
mod render;
mod servers;
mod settings;
mod sync;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use portolan_linux::ipvs::{self, IpvsError, Step};
use portolan_linux::netlink::Socket;
use portolan_linux::netns::NetNs;
use portolan_linux::nftables::{Batch, Data, Listener, Reader, delete_table};
use portolan_linux::rtnl::Rtnl;
use portolan_model::Desired;
use portolan_model::frontend::Family;

use super::nftables::layout::table_family;
use super::{Applied, ApplyError, Capabilities, Datapath, Observed, Scope};
use host::{Addresses, Carrier};
use layout::{LINK, ROUTES, Set, TABLE};
use plane::{Element, Plane, Writes};
use servers::{Choice, Held, drain};
use sync::{Ours, elements};

pub(in crate::proxy) use host::without_services;
pub use settings::{SCHEDULERS, Settings};

/// How often all real servers are compared; virtual servers are every time.
const REALS_PERIOD: Duration = Duration::from_secs(60);
/// So few virtual servers that their real servers are compared every time too.
const FEW: usize = 256;

/// The IPVS datapath of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Ipvs {
    /// Programs are started in there, whoever calls.
    namespace: NetNs,
    settings: Settings,
    ipvs: ipvs::Ipvs,
    socket: Socket,
    listener: Listener,
    rtnl: Rtnl,
    carrier: Carrier,
    plane: Plane,
    text: String,
    /// How the tables looked when they were last known to be right; `None` asks for a full pass.
    seen: Option<Seen>,
    reals_compared: Instant,
}

/// How the tables looked when they were last known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// How many changes of others had been heard of before.
    others: u64,
    /// The text of the rules, and the fingerprint of what the kernel made of it.
    text: String,
    fingerprints: Vec<u64>,
}

/// Whether this kernel can do it; asked before anything is set up.
pub fn check() -> Result<(), ApplyError> {
    ipvs::Ipvs::open().map(drop).map_err(missing)
}

fn missing(error: IpvsError) -> ApplyError {
    match error {
        IpvsError::Missing => ApplyError::NoIpvs,
        other => other.into(),
    }
}

impl Ipvs {
    /// Opens the datapath; nothing is changed yet.
    ///
    /// # Errors
    /// [`ApplyError::NoIpvs`] where the kernel has none.
    pub fn open(settings: &Settings) -> Result<Self, ApplyError> {
        Ok(Self {
            namespace: NetNs::current()?,
            settings: settings.clone(),
            ipvs: ipvs::Ipvs::open().map_err(missing)?,
            socket: Socket::netfilter()?,
            listener: Listener::open(&[TABLE])?,
            rtnl: Rtnl::open()?,
            carrier: Carrier::Link,
            plane: Plane::default(),
            text: String::new(),
            seen: None,
            reals_compared: Instant::now(),
        })
    }

    /// Makes the changes, in the order in which no packet meets half of them: what serves comes
    /// before it is dialled, and goes after nobody dials it any more.
    fn write(&mut self, writes: Writes) -> Result<usize, ApplyError> {
        let mut count = self.commit(writes.steps.up)?;
        let (last, gone): (BTreeSet<Element>, BTreeSet<Element>) =
            writes.gone.into_iter().partition(|it| it.set == Set::Addresses);
        count += self.change(&gone, &writes.new)?;
        count += self.commit(writes.steps.down)?;
        for (ip, present) in &writes.addresses {
            match present {
                true => self.carrier.add(&self.rtnl, *ip)?,
                false => self.carrier.delete(&self.rtnl, *ip)?,
            }
        }
        count += writes.addresses.len();
        Ok(count + self.change(&last, &BTreeSet::new())?)
    }

    fn commit(&mut self, steps: Vec<Step>) -> Result<usize, ApplyError> {
        let mut edit = self.ipvs.edit();
        steps.into_iter().for_each(|step| edit.push(step));
        Ok(edit.commit()?)
    }

    fn change(
        &mut self,
        gone: &BTreeSet<Element>,
        new: &BTreeSet<Element>,
    ) -> Result<usize, ApplyError> {
        let mut batch = Batch::new(&mut self.socket);
        for it in gone {
            let end = (!it.end.is_empty()).then_some(&*it.end);
            batch.delete(table_family(it.family), TABLE, it.set.name(), &it.key, end);
        }
        for it in new {
            let end = (!it.end.is_empty()).then_some(&*it.end);
            let data = if it.data.is_empty() { Data::None } else { Data::Value(&it.data) };
            batch.add(table_family(it.family), TABLE, it.set.name(), &it.key, end, data);
        }
        Ok(batch.commit()?)
    }

    /// A number that moves whenever others have changed our tables. Changes by these processes are
    /// our own.
    fn others(&mut self, nft: &[u32]) -> Result<u64, ApplyError> {
        Ok(self.listener.others(&[&[self.socket.port()], nft].concat())?)
    }

    /// Writes what a change asks for.
    fn write_and_hear(&mut self, writes: Writes) -> Result<usize, ApplyError> {
        let count = self.write(writes)?;
        // What was heard of our own is not to pile up.
        self.others(&[])?;
        Ok(count)
    }

    fn brought(&mut self, desired: &Desired, scope: Scope<'_>) -> Result<Applied, ApplyError> {
        let known = self.seen.is_some();
        let (writes, mended) = match scope {
            // Addresses of the node are part of every node port.
            Scope::Changed(changes) if known && !changes.own_addresses => {
                let writes = self.plane.follow(desired, changes)?;
                (self.write_and_hear(writes)?, 0)
            }
            Scope::Changed(_) => (self.sync(desired)?, 0),
            Scope::Everything => {
                let writes = self.sync(desired)?;
                (writes, if known { writes } else { 0 })
            }
        };
        Ok(Applied { writes, mended, ..Applied::default() })
    }

    /// Whether the kernel's virtual servers are those that were written.
    fn servers_differ(&mut self) -> Result<bool, ApplyError> {
        let addresses = Addresses::read(&self.rtnl)?;
        if addresses.own != self.plane.own || addresses.carried != self.plane.carried {
            return Ok(true);
        }
        let ours = Ours::new(&addresses, &BTreeSet::new());
        let found = self.ipvs.servers()?;
        let mut known = 0;
        for server in &found {
            match self.plane.servers.get(&server.key) {
                Some(held) if held.choice == Choice::of(server) => known += 1,
                Some(_) => return Ok(true),
                None if ours.has(&server.key) && !self.is_excluded(&server.key) => {
                    return Ok(true);
                }
                None => {}
            }
        }
        if known != self.plane.servers.len() {
            return Ok(true);
        }
        if known > FEW && self.reals_compared.elapsed() < REALS_PERIOD {
            return Ok(false);
        }
        self.reals_compared = Instant::now();
        for server in &found {
            let Some(held) = self.plane.servers.get(&server.key) else { continue };
            if Held::read(server, &self.ipvs.reals(&server.key)?).reals != held.reals {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what this mode put into the network namespace of the calling thread. Where nobody
    /// ever used IPVS, nothing is loaded for it.
    pub fn clear() -> Result<(), ApplyError> {
        let rtnl = Rtnl::open()?;
        let addresses = Addresses::read(&rtnl)?;
        let mut socket = Socket::netfilter()?;
        let mut held = BTreeSet::new();
        let mut tables = vec![];
        for family in Family::BOTH {
            let mut reader = Reader::new(&mut socket);
            if reader.rules_fingerprint(table_family(family), TABLE)? != 0 {
                tables.push(family);
                held.extend(elements(&mut reader, family)?);
            }
        }
        let link = rtnl.link(LINK)?.is_some();
        if !link && tables.is_empty() && rtnl.locals(ROUTES)?.is_empty() {
            return Ok(());
        }
        if let Some(mut ipvs) = ipvs::Ipvs::open_if_ready()? {
            let ours = Ours::new(&addresses, &held);
            let all = ipvs.servers()?;
            let mut edit = ipvs.edit();
            let mine = all.iter().filter(|server| ours.has(&server.key));
            mine.for_each(|server| edit.push(Step::Delete(server.key)));
            if edit.commit()? == all.len() {
                host::reset_parameters();
            }
        }
        if link {
            rtnl.delete_link(LINK)?;
        }
        rtnl.locals(ROUTES)?.into_iter().try_for_each(|it| rtnl.delete_local(it.ip, ROUTES))?;
        for family in tables {
            delete_table(table_family(family), TABLE)?;
        }
        Ok(())
    }
}

impl Datapath for Ipvs {
    fn mode(&self) -> &'static str {
        "ipvs"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // IPVS sends nothing from a loopback address out.
            loopback_node_ports: false,
            session_affinity: true,
            source_ranges: true,
        }
    }

    fn apply(&mut self, desired: &Desired, scope: Scope<'_>) -> Result<Applied, ApplyError> {
        let start = Instant::now();
        match self.brought(desired, scope) {
            Ok(applied) => Ok(Applied { took: start.elapsed(), ..applied }),
            Err(error) => {
                self.seen = None;
                Err(error)
            }
        }
    }

    fn tend(&mut self) -> Result<(), ApplyError> {
        let mut writes = Writes::default();
        for key in self.plane.draining.clone() {
            let now = self.ipvs.reals(&key)?;
            let Some(held) = self.plane.servers.remove(&key) else { continue };
            let noted = held.retired;
            let held = drain(key, held, &now, &mut writes.steps.down);
            self.plane.keep(key, true, noted, held, &mut writes);
        }
        let result = self.write_and_hear(writes);
        if result.is_err() {
            self.seen = None;
        }
        result.map(drop)
    }

    fn may_have_drifted(&mut self) -> bool {
        let Some(known) = self.seen.as_ref().map(|seen| seen.others) else { return true };
        self.others(&[]).is_ok_and(|others| others != known)
            || self.servers_differ().unwrap_or(true)
    }

    fn observe(&mut self) -> Result<Observed, ApplyError> {
        let mut held = BTreeSet::new();
        for family in Family::BOTH {
            let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
            held.extend(elements(&mut reader, family)?);
        }
        let mut servers = vec![];
        for server in self.ipvs.servers()? {
            let reals = self.ipvs.reals(&server.key)?;
            servers.push((server, reals));
        }
        let addresses = Addresses::read(&self.rtnl)?;
        Ok(observe::observed(&observe::Host { elements: held, servers, addresses }))
    }

    fn remove(&mut self) -> Result<(), ApplyError> {
        self.plane = Plane::default();
        self.seen = None;
        self.namespace.run(Self::clear)?
    }
}
