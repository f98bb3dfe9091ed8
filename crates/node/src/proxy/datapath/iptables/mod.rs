//! Mode `iptables`: see README.md in this folder for the layout and the way of a packet.

mod names;
mod observe;
mod plane;
mod render;

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use portolan_linux::iptables::{Kind, Programs, RestoreError, Saved, Sizes, Table};
use portolan_linux::netns::NetNs;
use portolan_linux::nftables::{Listener, delete_table_if_unused};
use portolan_linux::sysctl;
use portolan_model::frontend::Family;
use portolan_model::{Changes, Desired};

use super::{Applied, ApplyError, Capabilities, Datapath, Host, Observed, Scope};
use plane::{Plane, Writes, table_family};
use render::Settings;

/// Lets addresses of 127.0.0.0/8 be routed, which node ports on 127.0.0.1 need; `KUBE-FIREWALL`
/// keeps the network away from what listens there.
const ROUTE_LOCALNET: &str = "net.ipv4.conf.all.route_localnet";
const LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";
/// kube-proxy's, if nobody says otherwise.
const MASQUERADE_BIT: u8 = 14;
const TABLES: [Table; 2] = [Table::Filter, Table::Nat];
/// The sizes of legacy tables do not tell of every change: all is compared that often.
const LEGACY_PERIOD: Duration = Duration::from_secs(60);

/// The iptables datapath of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Iptables {
    /// Its programs are started in there, whoever calls.
    namespace: NetNs,
    programs: Programs,
    /// On packets that are to be masqueraded.
    mark: u32,
    planes: Vec<Plane>,
    loopback: bool,
    witness: Witness,
    /// How the tables looked when they were last known to be right.
    seen: Option<Seen>,
}

/// How to tell that somebody changed the tables.
#[derive(Debug)]
enum Witness {
    /// nf_tables tells who changes what.
    Listener(Listener),
    Sizes(Vec<(Family, Sizes)>),
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// How many changes of others had been heard of before.
    Others(u64),
    /// And when all was compared.
    Sizes { sizes: Vec<Option<(u32, u32)>>, at: Instant },
}

impl Iptables {
    /// Opens the datapath; nothing is changed yet.
    pub fn open(host: &Host) -> Result<Self, ApplyError> {
        Self::with(Programs::choose(names::SERVICES)?, host)
    }

    /// Opens the datapath with that kind of iptables.
    pub fn with(programs: Programs, host: &Host) -> Result<Self, ApplyError> {
        let mark = 1 << host.masquerade_bit.unwrap_or(MASQUERADE_BIT).min(31);
        let writable = |value: String| sysctl::set(ROUTE_LOCALNET, &value).is_ok();
        let loopback = sysctl::get(ROUTE_LOCALNET).is_ok_and(writable);
        let witness = match programs.kind {
            Kind::Nft => Witness::Listener(Listener::open(&["filter", "nat"])?),
            Kind::Legacy => {
                let open = |family: Family| Some((family, Sizes::open(table_family(family)).ok()?));
                Witness::Sizes(Family::BOTH.into_iter().filter_map(open).collect())
            }
        };
        let namespace = NetNs::current()?;
        Ok(Self { namespace, programs, mark, planes: vec![], loopback, witness, seen: None })
    }

    fn saved(&self, family: Family) -> Result<HashMap<Table, Saved>, ApplyError> {
        let save = |table| Ok((table, self.programs.save(table_family(family), table)?));
        let all: Result<_, RestoreError> =
            self.namespace.run(|| TABLES.into_iter().map(save).collect())?;
        Ok(all?)
    }

    fn write(&mut self, family: Family, writes: &Writes) -> Result<usize, ApplyError> {
        if writes.is_empty() {
            return Ok(0);
        }
        let text = writes.text();
        let program =
            self.namespace.run(|| self.programs.restore(table_family(family), &text))??;
        if let Witness::Listener(listener) = &mut self.witness {
            listener.others(&[program])?;
        }
        Ok(writes.count())
    }

    fn everything(&mut self, desired: &Desired) -> Result<usize, ApplyError> {
        let liberal =
            self.namespace.run(|| sysctl::get(LIBERAL).is_ok_and(|value| value != "0"))?;
        let random_fully = self.programs.has_random_fully();
        let mut count = 0;
        let mut planes = vec![];
        for family in &desired.view.families {
            let settings = Settings::new(desired, *family, self.mark, random_fully, liberal);
            let mut plane = Plane::new(settings);
            let writes = plane.compare(desired, &self.saved(*family)?);
            count += self.write(*family, &writes)?;
            if plane.settings.loopback {
                // Its guard is in place now, not before.
                let set = self.namespace.run(|| sysctl::set(ROUTE_LOCALNET, "1"))?;
                if let Err(error) = set {
                    tracing::warn!(%error, "node ports will not answer on 127.0.0.1");
                }
            }
            planes.push(plane);
        }
        self.planes = planes;
        Ok(count)
    }

    fn follow(&mut self, desired: &Desired, changes: &Changes) -> Result<usize, ApplyError> {
        let mut planes = std::mem::take(&mut self.planes);
        let mut count = 0;
        for plane in &mut planes {
            let writes = plane.follow(desired, changes);
            count += self.write(plane.settings.family, &writes)?;
        }
        self.planes = planes;
        Ok(count)
    }

    /// What tells of others' changes.
    fn look(&mut self) -> Option<Seen> {
        match &mut self.witness {
            Witness::Listener(listener) => listener.others(&[]).ok().map(Seen::Others),
            Witness::Sizes(all) => {
                let served = |family: &Family| {
                    self.planes.iter().any(|plane| plane.settings.family == *family)
                };
                let all = all.iter().filter(|(family, _)| served(family));
                let sizes =
                    all.flat_map(|(_, sizes)| TABLES.map(|table| sizes.of(table).ok())).collect();
                Some(Seen::Sizes { sizes, at: Instant::now() })
            }
        }
    }

    /// What was seen before a change of our own, after it.
    fn still(&mut self, before: Seen) -> Seen {
        match (before, self.look()) {
            // Sizes do not tell whose change it was.
            (Seen::Sizes { at, .. }, Some(Seen::Sizes { sizes, .. })) => Seen::Sizes { sizes, at },
            (before, _) => before,
        }
    }

    /// Removes what this mode put into the network namespace of the calling thread, with every
    /// kind of iptables that is installed. Without any, there can be nothing.
    pub fn clear() -> Result<(), ApplyError> {
        for programs in Programs::installed() {
            Self::with(programs, &Host::default())?.remove()?;
        }
        Ok(())
    }
}

impl Datapath for Iptables {
    fn mode(&self) -> &'static str {
        "iptables"
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
        let (writes, mended) = match (scope, self.seen.take()) {
            // Addresses of the node reach into rules that belong to no Service.
            (Scope::Changed(changes), Some(seen)) if !changes.own_addresses => {
                let writes = self.follow(desired, changes)?;
                self.seen = Some(self.still(seen));
                (writes, 0)
            }
            (scope, seen) => {
                let before = self.look();
                let writes = self.everything(desired)?;
                self.seen = before.map(|before| self.still(before));
                let looked = matches!(scope, Scope::Everything) && seen.is_some();
                (writes, if looked { writes } else { 0 })
            }
        };
        Ok(Applied { writes, mended, took: start.elapsed(), ..Applied::default() })
    }

    fn may_have_drifted(&mut self) -> bool {
        match (self.look(), &self.seen) {
            (Some(Seen::Sizes { sizes: now, .. }), Some(Seen::Sizes { sizes, at })) => {
                now != *sizes || at.elapsed() > LEGACY_PERIOD
            }
            (now, seen) => now != *seen || seen.is_none(),
        }
    }

    fn observe(&mut self) -> Result<Observed, ApplyError> {
        let mut observed = Observed::default();
        for family in Family::BOTH {
            let look = |table| (table, self.programs.look(table_family(family), table));
            let saved: HashMap<_, _> =
                self.namespace.run(|| TABLES.map(look).into_iter().collect())?;
            observe::read(family, &saved, &mut observed);
        }
        Ok(observed)
    }

    fn remove(&mut self) -> Result<(), ApplyError> {
        self.planes.clear();
        self.seen = None;
        let (programs, loopback) = (&self.programs, self.loopback);
        self.namespace.run(|| {
            Family::BOTH.into_iter().try_for_each(|family| remove(programs, family, loopback))
        })?
    }
}

fn remove(programs: &Programs, family: Family, loopback: bool) -> Result<(), ApplyError> {
    let tables = table_family(family);
    let all = [Table::Mangle, Table::Filter, Table::Nat];
    let saved: HashMap<_, _> =
        all.map(|table| (table, programs.look(tables, table))).into_iter().collect();
    let mangle = &saved[&Table::Mangle];
    let kubelet = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"].iter().any(|hint| mangle.has(hint));
    // A table is gone in a second step; whoever dies in between leaves a note for the next.
    let text = plane::removal(&saved, kubelet, programs.kind == Kind::Nft);
    if text.is_empty() {
        return Ok(());
    }
    let guard = &saved[&Table::Filter];
    if family == Family::Ipv4
        && loopback
        && !kubelet
        && guard.rules(names::FIREWALL).next().is_some()
    {
        // First the door, then its guard. Our own start opened it.
        let _ = sysctl::set(ROUTE_LOCALNET, "0");
    }
    programs.restore(tables, &text)?;
    if programs.kind == Kind::Nft {
        for table in all {
            delete_table_if_unused(tables, table.name(), names::REMOVED);
        }
    }
    Ok(())
}
