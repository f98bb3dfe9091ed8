//! Mode `nftables`: see README.md in this folder for the layout and the way of a packet.

mod classes;
pub(super) mod ids;
pub(super) mod layout;
mod observe;
mod plane;
mod pool;
mod render;
mod sync;

use std::time::Instant;

use ipnet::IpNet;
use portolan_linux::netlink::{NetlinkError, Socket};
use portolan_linux::nftables::{Batch, Listener, Reader, delete_table, run_nft};
use portolan_linux::sysctl;
use portolan_model::frontend::Family;
use portolan_model::{Changes, Desired};

use super::{Applied, ApplyError, Capabilities, Datapath, Observed, Scope};
use layout::{AFFINITY, Number, TABLE, table_family};
use plane::{Plane, Writer};
use render::Skeleton;

/// Lets addresses of 127.0.0.0/8 be routed, which node ports on 127.0.0.1 need; the rules of
/// `loopback_in` and `loopback_out` keep them on the node.
const ROUTE_LOCALNET: &str = "net.ipv4.conf.all.route_localnet";

/// So many elements are written in one transaction with somebody listening.
const UNHEARD: usize = 4096;

/// The nftables datapath of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    listener: Listener,
    planes: Vec<Plane>,
    /// What the kernel held after our own last change.
    seen: Option<Seen>,
    loopback: bool,
}

/// How the kernel's tables looked when they were last known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// How many changes of others had been heard of before.
    others: u64,
    /// The text of the rules, and the fingerprint of what the kernel made of it.
    text: String,
    fingerprints: Vec<u64>,
}

impl Nftables {
    /// Opens the datapath; nothing is changed yet.
    pub fn open() -> Result<Self, ApplyError> {
        let writable = |value: String| sysctl::set(ROUTE_LOCALNET, &value).is_ok();
        let loopback = sysctl::get(ROUTE_LOCALNET).is_ok_and(writable);
        Ok(Self {
            socket: Socket::netfilter()?,
            listener: Listener::open(&[TABLE])?,
            planes: vec![],
            seen: None,
            loopback,
        })
    }

    fn follow(&mut self, desired: &Desired, changes: &Changes) -> Result<usize, ApplyError> {
        let mut text = String::new();
        for plane in &mut self.planes {
            let after = changes
                .pools
                .iter()
                .filter_map(|(key, change)| Some((key, change.after.as_ref()?)));
            let new = plane.missing_classes(after)?;
            if !new.is_empty() {
                text += &skeleton(desired, plane.family).more_classes(&new);
            }
        }
        if !text.is_empty() {
            self.grow(desired, &text)?;
        }
        let own = self.socket.port();
        let mut batch = Batch::new(&mut self.socket);
        for plane in &mut self.planes {
            let mut writer = Writer { batch: &mut batch, family: plane.family };
            plane.follow(desired, changes, &mut writer)?;
        }
        let writes = commit(&mut self.listener, own, batch)?;
        self.purge_affinity()?;
        // What was heard of our own is not to pile up.
        self.others(None)?;
        Ok(writes)
    }

    /// Loads further chains.
    fn grow(&mut self, desired: &Desired, chains: &str) -> Result<(), ApplyError> {
        let nft = run_nft(chains)?;
        let others = self.others(Some(nft))?;
        let (text, fingerprints) = (self.text(desired), self.fingerprints()?);
        if let Some(seen) = &mut self.seen
            && seen.others == others
        {
            (seen.text, seen.fingerprints) = (text, fingerprints);
        }
        Ok(())
    }

    /// A number that moves whenever others have changed our tables. Changes by that process are
    /// our own.
    fn others(&mut self, nft: Option<u32>) -> Result<u64, ApplyError> {
        let own = self.socket.port();
        Ok(self.listener.others(&[own, nft.unwrap_or(own)])?)
    }

    fn text(&self, desired: &Desired) -> String {
        let parts = self.planes.iter();
        parts.map(|plane| skeleton(desired, plane.family).text(plane.classes.all())).collect()
    }

    fn fingerprints(&mut self) -> Result<Vec<u64>, ApplyError> {
        let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
        let families = self.planes.iter().map(|plane| table_family(plane.family));
        Ok(families
            .map(|family| reader.rules_fingerprint(family, TABLE))
            .collect::<Result<_, _>>()?)
    }

    /// Forgets the clients that are kept on backends which left.
    fn purge_affinity(&mut self) -> Result<(), ApplyError> {
        for plane in &mut self.planes {
            let gone = std::mem::take(&mut plane.forgotten);
            if gone.is_empty() {
                continue;
            }
            let family = table_family(plane.family);
            let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
            let clients = reader.elements(family, TABLE, AFFINITY)?;
            for client in clients.iter() {
                if !gone.contains(&Number::from_bytes(client.data).0) {
                    continue;
                }
                let mut batch = Batch::new(&mut self.socket);
                batch.delete(family, TABLE, AFFINITY, client.key, None);
                match batch.commit() {
                    // It ran out meanwhile.
                    Err(error) if error.is_not_found() => {}
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }
}

/// Makes a transaction of the socket with the port `own`. More than can be heard is not listened to.
fn commit(listener: &mut Listener, own: u32, batch: Batch<'_>) -> Result<usize, NetlinkError> {
    if batch.elements() <= UNHEARD {
        return batch.commit();
    }
    listener.unheard(own, || {
        let written = batch.commit();
        let made = u32::from(written.is_ok());
        (written, made)
    })
}

fn skeleton(desired: &Desired, family: Family) -> Skeleton {
    let view = &desired.view;
    let of_family = |nets: &[IpNet]| -> Vec<IpNet> {
        nets.iter().filter(|net| Family::of_net(net) == family).map(IpNet::trunc).collect()
    };
    let mut node_port_addresses = desired.node_port_networks(family);
    let loopback = view.loopback_node_ports && family == Family::Ipv4;
    if loopback {
        node_port_addresses.extend("127.0.0.0/8".parse::<IpNet>());
    }
    Skeleton {
        family,
        pods: of_family(&view.cluster_cidrs),
        node_port_addresses,
        masquerade_all: view.masquerade_all,
        masquerade_egress: view.masquerade_egress,
        loopback,
    }
}

impl Datapath for Nftables {
    fn mode(&self) -> &'static str {
        "nftables"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            loopback_node_ports: self.loopback,
            session_affinity: true,
            source_ranges: true,
        }
    }

    fn apply(&mut self, desired: &Desired, scope: Scope<'_>) -> Result<Applied, ApplyError> {
        let start = Instant::now();
        let result = match (scope, &self.seen) {
            (Scope::Changed(changes), Some(_)) if !changes.own_addresses => {
                self.follow(desired, changes).map(|writes| (writes, 0))
            }
            // Addresses of the node reach into the rules: all is compared, and all that is
            // written is news.
            (Scope::Changed(_), _) | (Scope::Everything, None) => {
                self.sync(desired).map(|writes| (writes, 0))
            }
            (Scope::Everything, Some(_)) => self.sync(desired).map(|writes| (writes, writes)),
        };
        match result {
            Ok((writes, mended)) => {
                Ok(Applied { writes, mended, took: start.elapsed(), ..Applied::default() })
            }
            Err(error) => {
                self.seen = None;
                Err(error)
            }
        }
    }

    fn may_have_drifted(&mut self) -> bool {
        let Some(known) = self.seen.as_ref().map(|seen| seen.others) else { return true };
        self.others(None).is_ok_and(|others| others != known)
    }

    fn observe(&mut self) -> Result<Observed, ApplyError> {
        let mut observed = Observed::default();
        for family in Family::BOTH {
            let mut reader = Reader::listening(&mut self.socket, &mut self.listener);
            observe::read(&mut reader, family, &mut observed)?;
        }
        Ok(observed)
    }

    fn remove(&mut self) -> Result<(), ApplyError> {
        let mut reader = Reader::new(&mut self.socket);
        let guarded = reader.rules_fingerprint(table_family(Family::Ipv4), TABLE)? != 0;
        if guarded && self.loopback {
            // First the door, then its guard. Our own start opened it.
            let _ = sysctl::set(ROUTE_LOCALNET, "0");
        }
        for family in Family::BOTH {
            delete_table(table_family(family), TABLE)?;
        }
        self.planes.clear();
        self.seen = None;
        Ok(())
    }
}
