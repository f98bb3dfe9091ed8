//! One family's tables: what was written, and what has to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashMap;
use portolan_linux::iptables::{Rule, Saved, Table};
use portolan_linux::nftables::TableFamily;
use portolan_model::frontend::Family;
use portolan_model::object::ObjectName;
use portolan_model::{Changes, Desired};

use super::names;
use super::render::{self, JUMPS, Portals, ServiceRules, Settings};

/// What was written of one Service: its share of the common chains, and fingerprints of its own.
#[derive(Debug, Default)]
struct Written {
    portals: Portals,
    chains: BTreeMap<String, u64>,
}

/// What one family's tables hold, as far as we wrote it.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) settings: Settings,
    services: BTreeMap<ObjectName, Written>,
}

/// What is to be written to one family's tables.
#[derive(Debug, Default)]
pub(super) struct Writes {
    chains: BTreeMap<(Table, String), Vec<Rule>>,
    delete: BTreeSet<(Table, String)>,
    /// Rules to put in front of the kernel's own chains, in this order.
    jumps: Vec<(Table, &'static str, Rule)>,
}

pub(super) fn table_family(family: Family) -> TableFamily {
    match family {
        Family::Ipv4 => TableFamily::Ipv4,
        Family::Ipv6 => TableFamily::Ipv6,
    }
}

fn fingerprint(rules: &[Rule]) -> u64 {
    let mut hasher = DefaultHasher::new();
    rules.hash(&mut hasher);
    hasher.finish()
}

impl Writes {
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.delete.is_empty() && self.jumps.is_empty()
    }

    /// How many rules are written or chains removed.
    pub(super) fn count(&self) -> usize {
        // An empty chain is something, too.
        let rules: usize = self.chains.values().map(|rules| rules.len().max(1)).sum();
        rules + self.delete.len() + self.jumps.len()
    }

    fn chain(&mut self, table: Table, chain: impl Into<String>, rules: Vec<Rule>) {
        self.chains.insert((table, chain.into()), rules);
    }

    /// The input of `iptables-restore --noflush`.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for table in [Table::Filter, Table::Nat] {
            let of_table = |(at, _): &&(Table, String)| *at == table;
            let chains: Vec<_> = self.chains.iter().filter(|((at, _), _)| *at == table).collect();
            let delete: Vec<_> = self.delete.iter().filter(of_table).collect();
            let jumps: Vec<_> = self.jumps.iter().filter(|(at, _, _)| *at == table).collect();
            if chains.is_empty() && delete.is_empty() && jumps.is_empty() {
                continue;
            }
            let _ = writeln!(out, "*{}", table.name());
            for name in
                chains.iter().map(|((_, name), _)| name).chain(delete.iter().map(|it| &it.1))
            {
                let _ = writeln!(out, ":{name} - [0:0]");
            }
            for ((_, name), rules) in chains {
                for rule in rules {
                    let _ = writeln!(out, "-A {name} {rule}");
                }
            }
            for (_, name) in delete {
                let _ = writeln!(out, "-X {name}");
            }
            for (_, from, rule) in jumps {
                let _ = writeln!(out, "-I {from} {rule}");
            }
            out.push_str("COMMIT\n");
        }
        out
    }
}

/// The chains that all Services share; the order is that of [`Portals`]' fields.
const SHARED: [(Table, &str); 6] = [
    (Table::Nat, names::SERVICES),
    (Table::Nat, names::NODE_PORTS),
    (Table::Filter, names::SERVICES),
    (Table::Filter, names::EXTERNAL_SERVICES),
    (Table::Filter, names::PROXY_FIREWALL),
    (Table::Filter, names::NODE_PORTS),
];

fn shares(portals: &Portals) -> [&Vec<Rule>; 6] {
    let Portals { services, node_ports, refusals, external, firewall, health } = portals;
    [services, node_ports, refusals, external, firewall, health]
}

impl Plane {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, services: BTreeMap::new() }
    }

    fn rules_of(&self, desired: &Desired, name: &ObjectName, health: Option<u16>) -> ServiceRules {
        render::rules_of(desired, &self.settings, name, health)
    }

    /// One of the chains that all Services share.
    fn shared(&self, index: usize) -> Vec<Rule> {
        let (table, chain) = SHARED[index];
        let mut rules: Vec<Rule> =
            self.services.values().flat_map(|it| shares(&it.portals)[index]).cloned().collect();
        if chain == names::SERVICES {
            rules.extend(render::tail_of_services(table, &self.settings));
        }
        rules
    }

    /// Compares everything with what is saved, and returns what has to be written.
    pub(super) fn compare(&mut self, desired: &Desired, saved: &HashMap<Table, Saved>) -> Writes {
        let empty = Saved::default();
        let held = |table: Table| saved.get(&table).unwrap_or(&empty);
        let mut writes = Writes::default();
        let mut known: BTreeSet<(Table, String)> = BTreeSet::new();
        let health = desired.health_checks();
        self.services.clear();
        let mut all: Vec<_> = desired.services().collect();
        all.sort();
        for name in all {
            let rules = self.rules_of(desired, name, health.get(name).map(|check| check.port));
            let mut written = Written { portals: rules.portals, chains: BTreeMap::new() };
            for (chain, rules) in rules.chains {
                written.chains.insert(chain.clone(), fingerprint(&rules));
                known.insert((Table::Nat, chain.clone()));
                if !held(Table::Nat).holds(&chain, &rules) {
                    writes.chain(Table::Nat, chain, rules);
                }
            }
            self.services.insert(name.clone(), written);
        }
        let fixed = self.fixed(desired);
        let shared = SHARED
            .iter()
            .enumerate()
            .map(|(index, (table, chain))| (*table, *chain, self.shared(index)));
        for (table, chain, rules) in fixed.into_iter().chain(shared) {
            known.insert((table, chain.to_owned()));
            if !held(table).holds(chain, &rules) {
                writes.chain(table, chain, rules);
            }
        }
        for chain in held(Table::Nat).chains().filter(|chain| names::is_of_service(chain)) {
            if !known.contains(&(Table::Nat, chain.to_owned())) {
                writes.delete.insert((Table::Nat, chain.to_owned()));
            }
        }
        let noted =
            [Table::Nat, Table::Filter].into_iter().filter(|t| held(*t).has(names::REMOVED));
        writes.delete.extend(noted.map(|table| (table, names::REMOVED.to_owned())));
        for jump in &JUMPS {
            let rule = jump.rule();
            if !held(jump.table).rules(jump.from).any(|is| is.is_like(&rule)) {
                writes.jumps.push((jump.table, jump.from, rule));
            }
        }
        writes
    }

    fn fixed(&self, desired: &Desired) -> Vec<(Table, &'static str, Vec<Rule>)> {
        let mut chains = render::small_chains(&self.settings);
        let ips = render::cluster_ips(desired, self.settings.family);
        chains.push((Table::Filter, names::CLUSTER_IPS, ips));
        chains.push((Table::Nat, names::LEAVING, render::leaving(desired, &self.settings)));
        chains
    }

    /// Follows changes, and returns what has to be written.
    pub(super) fn follow(&mut self, desired: &Desired, changes: &Changes) -> Writes {
        let mut writes = Writes::default();
        let mut shared = [false; SHARED.len()];
        let health = desired.health_checks();
        for name in self.touched(changes, health.keys().copied()) {
            let rules = self.rules_of(desired, &name, health.get(&name).map(|check| check.port));
            let before = self.services.remove(&name).unwrap_or_default();
            let pairs = shares(&before.portals).into_iter().zip(shares(&rules.portals));
            for (changed, (before, after)) in shared.iter_mut().zip(pairs) {
                *changed |= before != after;
            }
            let mut chains = BTreeMap::new();
            for (chain, rules) in rules.chains {
                let print = fingerprint(&rules);
                if before.chains.get(&chain) != Some(&print) {
                    writes.chain(Table::Nat, chain.clone(), rules);
                }
                chains.insert(chain, print);
            }
            let gone = before.chains.into_keys().filter(|chain| !chains.contains_key(chain));
            writes.delete.extend(gone.map(|chain| (Table::Nat, chain)));
            if !chains.is_empty() || rules.portals != Portals::default() {
                self.services.insert(name, Written { portals: rules.portals, chains });
            }
        }
        for (index, _) in shared.iter().enumerate().filter(|(_, changed)| **changed) {
            let (table, chain) = SHARED[index];
            writes.chain(table, chain, self.shared(index));
        }
        let family = self.settings.family;
        if changes.cluster_ips.keys().any(|ip| Family::of(ip) == family) {
            writes.chain(Table::Filter, names::CLUSTER_IPS, render::cluster_ips(desired, family));
        }
        let mut near = changes.local_addresses.keys().chain(changes.node_addresses.keys());
        if near.any(|ip| Family::of(ip) == family) {
            writes.chain(Table::Nat, names::LEAVING, render::leaving(desired, &self.settings));
        }
        writes
    }

    /// The Services whose rules may be others now.
    fn touched<'a>(
        &self,
        changes: &Changes,
        with_health: impl Iterator<Item = &'a ObjectName>,
    ) -> BTreeSet<ObjectName> {
        let mut names: BTreeSet<ObjectName> =
            changes.pools.keys().map(|key| key.port.service.clone()).collect();
        for change in changes.frontends.values() {
            let both = [&change.before, &change.after].into_iter().flatten();
            names.extend(both.map(|frontend| frontend.port.service.clone()));
        }
        if changes.health_checks {
            names.extend(with_health.cloned());
            let had = self.services.iter().filter(|(_, it)| !it.portals.health.is_empty());
            names.extend(had.map(|(name, _)| name.clone()));
        }
        names
    }
}

/// What takes everything of ours out of one family's tables; `kubelet` says whether the guard of
/// loopback addresses belongs to somebody else as well. With `note`, an empty chain says of each of
/// the tables that it was ours too.
pub(super) fn removal(saved: &HashMap<Table, Saved>, kubelet: bool, note: bool) -> String {
    let mut out = String::new();
    for (table, saved) in saved {
        let ours = |chain: &&str| match *table {
            _ if *chain == names::REMOVED => true,
            Table::Nat => {
                names::is_of_service(chain)
                    || [
                        names::SERVICES,
                        names::NODE_PORTS,
                        names::POSTROUTING,
                        names::MARK_MASQ,
                        names::MARK_OTHERS,
                        names::EGRESS,
                        names::LEAVING,
                        names::CANARY,
                    ]
                    .contains(chain)
            }
            Table::Filter => {
                [
                    names::SERVICES,
                    names::EXTERNAL_SERVICES,
                    names::NODE_PORTS,
                    names::PROXY_FIREWALL,
                    names::FORWARD,
                    names::CLUSTER_IPS,
                    names::REFUSE,
                    names::CANARY,
                ]
                .contains(chain)
                    || (*chain == names::FIREWALL && !kubelet)
            }
            Table::Mangle => *chain == names::CANARY,
        };
        let chains: BTreeSet<&str> = saved.chains().filter(ours).collect();
        if chains.is_empty() {
            continue;
        }
        let _ = writeln!(out, "*{}", table.name());
        for chain in &chains {
            let _ = writeln!(out, ":{chain} - [0:0]");
        }
        // Every rule elsewhere that leads here, wherever somebody put it.
        for from in saved.chains().filter(|chain| !chains.contains(chain)) {
            for line in saved.lines(from) {
                if Rule::read(line).target_chain().is_some_and(|to| chains.contains(to)) {
                    let _ = writeln!(out, "-D {from} {line}");
                }
            }
        }
        for chain in chains.iter().filter(|chain| !note || **chain != names::REMOVED) {
            let _ = writeln!(out, "-X {chain}");
        }
        if note && !chains.contains(names::REMOVED) {
            let _ = writeln!(out, ":{} - [0:0]", names::REMOVED);
        }
        out.push_str("COMMIT\n");
    }
    out
}
