//! Reading the tables back in the model's terms.
//!
//! This follows the rules as a packet would, and shares no state with the code that writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hashbrown::HashMap;
use ipnet::IpNet;
use portolan_linux::iptables::{Match, Recent, Rule, Saved, Side, Table, Target};
use portolan_model::frontend::{Family, FrontendAddress, FrontendKey};
use portolan_model::object::Protocol;

use super::names;
use super::render::{JUMPS, MARK};
use crate::proxy::datapath::{Observed, ObservedAction, ObservedFrontend};

/// What the table `nat` does with a frontend's packets.
#[derive(Clone, Debug, Default)]
struct Path {
    /// `None`: left as they are, for the table `filter` to decide.
    inside: Option<ObservedAction>,
    outside: Option<ObservedAction>,
    masquerade_pods: bool,
    sources: Option<BTreeSet<IpNet>>,
    place: String,
}

struct Tables<'a> {
    family: Family,
    nat: &'a Saved,
    filter: &'a Saved,
    pools: BTreeMap<String, ObservedAction>,
    reached: BTreeSet<String>,
    endpoints: BTreeSet<String>,
}

/// Adds what one family's tables hold to `observed`.
pub(super) fn read(family: Family, saved: &HashMap<Table, Saved>, observed: &mut Observed) {
    let empty = Saved::default();
    let [nat, filter] =
        [Table::Nat, Table::Filter].map(|table| saved.get(&table).unwrap_or(&empty));
    if !nat.has(names::SERVICES) && !filter.has(names::SERVICES) {
        return;
    }
    let mut tables = Tables {
        family,
        nat,
        filter,
        pools: BTreeMap::new(),
        reached: BTreeSet::new(),
        endpoints: BTreeSet::new(),
    };
    let names: Vec<&str> = nat.chains().filter(|chain| names::is_pool(chain)).collect();
    for name in names {
        let pool = tables.pool(name);
        tables.pools.insert(name.to_owned(), pool);
    }
    let mut paths = BTreeMap::new();
    for (chain, node) in [(names::SERVICES, false), (names::NODE_PORTS, true)] {
        for rule in nat.rules(chain) {
            let Some(key) = tables.key(&rule, node) else { continue };
            let path = tables.path(&key, &rule, chain);
            // The first rule that fits is the one that counts.
            paths.entry(key).or_insert(path);
        }
    }
    let mut refusals: BTreeMap<FrontendKey, Path> = BTreeMap::new();
    for chain in [names::SERVICES, names::EXTERNAL_SERVICES] {
        for rule in filter.rules(chain) {
            tables.refusal(&rule, chain, &mut refusals);
        }
    }
    let keys: BTreeSet<FrontendKey> = paths.keys().chain(refusals.keys()).copied().collect();
    for key in keys {
        let mut path = paths.remove(&key).unwrap_or_default();
        let rest = refusals.remove(&key);
        if path.sources.is_none() {
            path.sources = rest.as_ref().and_then(|rest| rest.sources.clone());
        }
        if path.place.is_empty() {
            path.place = rest.as_ref().map(|rest| rest.place.clone()).unwrap_or_default();
        }
        let left = rest.and_then(|rest| rest.outside);
        let action = |way: Option<ObservedAction>| {
            let nothing = || ObservedAction::Broken("nothing happens to it".to_owned());
            way.or_else(|| left.clone()).unwrap_or_else(nothing)
        };
        let frontend = ObservedFrontend {
            inside: action(path.inside),
            outside: action(path.outside),
            masquerade_pods: path.masquerade_pods,
            sources: path.sources,
            place: path.place,
        };
        observed.frontends.insert(key, frontend);
    }
    tables.rest(observed);
}

impl Tables<'_> {
    /// What a rule of a shared chain is about.
    fn key(&self, rule: &Rule, node: bool) -> Option<FrontendKey> {
        let protocol = match rule.protocol.as_deref()? {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return None,
        };
        let address = match rule.destination {
            _ if node => FrontendAddress::Node(self.family),
            Some(to) if !to.not && to.net.prefix_len() == to.net.max_prefix_len() => {
                FrontendAddress::Ip(to.net.addr())
            }
            _ => return None,
        };
        Some(FrontendKey { address, protocol, port: rule.destination_port()? })
    }

    /// What the chain of a Service port's endpoints does.
    fn pool(&mut self, chain: &str) -> ObservedAction {
        let broken = |what: String| ObservedAction::Broken(format!("{chain} {what}"));
        let rules: Vec<Rule> = self.nat.rules(chain).collect();
        let mut chosen: Vec<(String, Option<u32>)> = Vec::new();
        let mut kept = BTreeMap::new();
        for rule in &rules {
            let Some(to) = rule.target_chain().filter(|to| names::is_endpoint(to)) else {
                continue;
            };
            let check = rule.matches.iter().find_map(|item| match item {
                Match::Recent(Recent::Check { list, seconds }) => Some((list.clone(), *seconds)),
                _ => None,
            });
            match check {
                Some((list, seconds)) if list == to => drop(kept.insert(list, seconds)),
                Some((list, _)) => return broken(format!("asks {list} for {to}")),
                None => {
                    let one_in = rule.matches.iter().find_map(|item| match item {
                        Match::OneIn(count) => Some(*count),
                        _ => None,
                    });
                    chosen.push((to.to_owned(), one_in));
                }
            }
        }
        let count = chosen.len();
        let mut backends = BTreeSet::new();
        for (index, (endpoint, one_in)) in chosen.iter().enumerate() {
            let left = (count - index) as u32;
            if one_in.unwrap_or(1) != left {
                return broken(format!("is not fair to {endpoint}"));
            }
            match self.endpoint(endpoint, !kept.is_empty()) {
                Ok(backend) => drop(backends.insert(backend)),
                Err(what) => return broken(format!("leads to {endpoint}, which {what}")),
            }
        }
        let seconds: BTreeSet<u32> = kept.values().copied().collect();
        let keeps_all = kept.len() == count && chosen.iter().all(|(to, _)| kept.contains_key(to));
        match (count, seconds.len()) {
            (0, _) => broken("chooses nobody".to_owned()),
            (_, 0) => ObservedAction::Balance { backends, affinity_seconds: None },
            (_, 1) if keeps_all => {
                ObservedAction::Balance { backends, affinity_seconds: seconds.first().copied() }
            }
            _ => broken("keeps some clients only".to_owned()),
        }
    }

    /// Where an endpoint's chain sends packets.
    fn endpoint(&mut self, chain: &str, affinity: bool) -> Result<SocketAddr, String> {
        self.endpoints.insert(chain.to_owned());
        let rules: Vec<Rule> = self.nat.rules(chain).collect();
        let last = rules.last().ok_or("is empty")?;
        let Some(Target::Dnat(to)) = last.target else { return Err("translates nothing".into()) };
        let set = Match::Recent(Recent::Set { list: chain.to_owned() });
        if last.has(&set) != affinity {
            return Err("remembers wrongly".to_owned());
        }
        let hairpin = rules.iter().any(|rule| {
            rule.target_chain() == Some(names::MARK_MASQ)
                && rule.source.is_some_and(|from| !from.not && from.net.addr() == to.ip())
        });
        if !hairpin {
            return Err("lets a pod see itself".to_owned());
        }
        Ok(to)
    }

    fn follow(&mut self, chain: &str) -> ObservedAction {
        self.reached.insert(chain.to_owned());
        let nowhere = || ObservedAction::Broken(format!("there is no chain {chain}"));
        self.pools.get(chain).cloned().unwrap_or_else(nowhere)
    }

    fn path(&mut self, key: &FrontendKey, rule: &Rule, chain: &str) -> Path {
        let tables = match self.family {
            Family::Ipv4 => "iptables",
            Family::Ipv6 => "ip6tables",
        };
        let mut path =
            Path { place: format!("{tables} -t nat: -A {chain} {rule}"), ..Path::default() };
        let mut to = rule.target_chain().unwrap_or_default().to_owned();
        if names::is_firewall(&to) {
            let FrontendAddress::Ip(ip) = key.address else { return path };
            let everywhere = || match self.family {
                Family::Ipv4 => IpNet::from(ipnet::Ipv4Net::default()),
                Family::Ipv6 => IpNet::from(ipnet::Ipv6Net::default()),
            };
            let mut sources = BTreeSet::new();
            let mut next = None;
            for rule in self.nat.rules(&to) {
                let applies = rule.destination.is_none_or(|to| !to.not && to.net.contains(&ip));
                if let Some(target) = rule.target_chain().filter(|_| applies) {
                    sources.insert(rule.source.map_or_else(everywhere, |from| from.net));
                    next = Some(target.to_owned());
                }
            }
            let guarded = self.filter.rules(names::PROXY_FIREWALL).any(|rule| {
                self.key(&rule, false) == Some(*key) && rule.target_chain() == Some("DROP")
            });
            if !guarded {
                let what = format!("{} does not drop the others", names::PROXY_FIREWALL);
                let broken = Some(ObservedAction::Broken(what));
                (path.inside, path.outside) = (broken.clone(), broken);
                return path;
            }
            path.sources = Some(sources);
            to = next.unwrap_or_default();
        }
        if names::is_pool(&to) {
            let action = self.follow(&to);
            path.inside = Some(action.clone());
            path.outside = Some(action);
            return path;
        }
        let mut pods = BTreeSet::new();
        let mut own = None;
        for rule in self.nat.rules(&to).collect::<Vec<_>>() {
            let target = rule.target_chain().unwrap_or_default();
            let local = rule.has(&Match::Local(Side::Source));
            match (target, rule.source, local) {
                (names::MARK_MASQ, None, false) => path.masquerade_pods = true,
                (names::MARK_MASQ, ..) => {}
                (target, Some(_), _) => drop(pods.insert(target.to_owned())),
                (target, None, true) => own = Some(target.to_owned()),
                (target, None, false) => path.outside = Some(self.follow(target)),
            }
        }
        path.inside = match &own {
            Some(target) if target == "RETURN" => None,
            Some(target) => Some(self.follow(target)),
            None => path.outside.clone(),
        };
        if pods.iter().any(|target| Some(target) != own.as_ref()) {
            path.inside = Some(ObservedAction::Broken("pods and the node go apart".to_owned()));
        }
        path
    }

    /// What the table `filter` does with a frontend's packets that come that far.
    fn refusal(&self, rule: &Rule, chain: &str, refusals: &mut BTreeMap<FrontendKey, Path>) {
        let node = rule.has(&Match::Local(Side::Destination));
        let Some(key) = self.key(rule, node) else { return };
        let action = match &rule.target {
            Some(Target::Reject | Target::Reset) => ObservedAction::Reject,
            Some(Target::Jump(to)) if to == "DROP" => ObservedAction::Drop,
            _ => return,
        };
        let path = refusals.entry(key).or_insert_with(|| Path {
            place: format!("-t filter: -A {chain} {rule}"),
            ..Path::default()
        });
        if let Some(from) = rule.source {
            path.sources.get_or_insert_default().insert(from.net);
        }
        path.outside.get_or_insert(action);
    }

    /// Everything that is not about one frontend.
    fn rest(&self, observed: &mut Observed) {
        let mut stray = |text: String| observed.strays.push(text);
        for jump in &JUMPS {
            let (saved, rule) = match jump.table {
                Table::Nat => (self.nat, jump.rule()),
                _ => (self.filter, jump.rule()),
            };
            if !saved.rules(jump.from).any(|is| is.is_like(&rule)) {
                stray(format!("{} does not lead to {}", jump.from, jump.to));
            }
        }
        for chain in self.nat.chains() {
            if names::is_endpoint(chain) && !self.endpoints.contains(chain) {
                stray(format!("nothing leads to {chain}"));
            }
        }
        let to = |rule: Rule| rule.destination.map(|to| to.net.addr());
        let one = |rule: &Rule| rule.text() == "node";
        observed.cluster_ips.extend(self.filter.rules(names::CLUSTER_IPS).filter_map(to));
        observed.node_addresses.extend(self.nat.rules(names::LEAVING).filter(one).filter_map(to));
        let local = Target::Mark { value: 0, mask: MARK };
        for chain in &self.endpoints {
            let rules: Vec<Rule> = self.nat.rules(chain).collect();
            if let (Some(true), Some(Rule { target: Some(Target::Dnat(to)), .. })) =
                (rules.first().map(|rule| rule.target.as_ref() == Some(&local)), rules.last())
            {
                observed.local_addresses.insert(to.ip());
            }
        }
        let unreached = self.pools.iter().filter(|(chain, _)| !self.reached.contains(*chain));
        *observed.unreached.get_or_insert(0) += unreached
            .map(|(_, pool)| match pool {
                ObservedAction::Balance { backends, .. } => backends.len(),
                _ => 1,
            })
            .sum::<usize>();
    }
}
