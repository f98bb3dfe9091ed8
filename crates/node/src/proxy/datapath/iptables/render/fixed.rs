//! The chains that do not belong to one Service.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_linux::iptables::{Match, Rule, Table, Target};
use portolan_model::Desired;
use portolan_model::frontend::Family;

use super::super::names::*;
use super::Settings;

/// A rule of one of the kernel's own chains that leads to ours.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Jump {
    pub(in super::super) table: Table,
    pub(in super::super) from: &'static str,
    pub(in super::super) to: &'static str,
    comment: &'static str,
    new_only: bool,
}

const fn jump(
    table: Table,
    from: &'static str,
    to: &'static str,
    comment: &'static str,
    new_only: bool,
) -> Jump {
    Jump { table, from, to, comment, new_only }
}

const EXTERNAL: &str = "kubernetes externally-visible service portals";
const PORTALS: &str = "kubernetes service portals";
const BALANCER: &str = "kubernetes load balancer firewall";

/// Each is put in front when it is missing, in this order: later ones come first. All but the two
/// that say so are kube-proxy's.
pub(in super::super) const JUMPS: [Jump; 16] = [
    jump(Table::Filter, "INPUT", EXTERNAL_SERVICES, EXTERNAL, true),
    jump(Table::Filter, "FORWARD", EXTERNAL_SERVICES, EXTERNAL, true),
    // Ours: the node itself is refused, too, where an external address has no endpoint.
    jump(Table::Filter, "OUTPUT", EXTERNAL_SERVICES, EXTERNAL, true),
    jump(Table::Filter, "INPUT", NODE_PORTS, "kubernetes health check service ports", false),
    jump(Table::Filter, "FORWARD", SERVICES, PORTALS, true),
    jump(Table::Filter, "OUTPUT", SERVICES, PORTALS, true),
    jump(Table::Filter, "FORWARD", FORWARD, "kubernetes forwarding rules", false),
    jump(Table::Filter, "INPUT", PROXY_FIREWALL, BALANCER, true),
    jump(Table::Filter, "OUTPUT", PROXY_FIREWALL, BALANCER, true),
    jump(Table::Filter, "FORWARD", PROXY_FIREWALL, BALANCER, true),
    jump(Table::Filter, "INPUT", FIREWALL, "", false),
    jump(Table::Filter, "OUTPUT", FIREWALL, "", false),
    jump(Table::Nat, "OUTPUT", SERVICES, PORTALS, false),
    jump(Table::Nat, "PREROUTING", SERVICES, PORTALS, false),
    // Ours: what pods send out of the cluster.
    jump(Table::Nat, "POSTROUTING", EGRESS, "what pods send out of the cluster", false),
    jump(Table::Nat, "POSTROUTING", POSTROUTING, "kubernetes postrouting rules", false),
];

impl Jump {
    pub(in super::super) fn rule(&self) -> Rule {
        let mut rule = Rule::jump(self.to);
        if self.new_only {
            rule = rule.when(Match::State { not: false, states: "NEW".to_owned() });
        }
        if !self.comment.is_empty() {
            rule = rule.comment(self.comment);
        }
        rule
    }
}

fn marked(settings: &Settings, not: bool) -> Match {
    Match::Mark { not, value: settings.mark, mask: settings.mark }
}

fn state(not: bool, states: &str) -> Match {
    Match::State { not, states: states.to_owned() }
}

/// The chains whose size does not depend on the cluster.
pub(in super::super) fn small_chains(settings: &Settings) -> Vec<(Table, &'static str, Vec<Rule>)> {
    let masquerade = Target::Masquerade { random_fully: settings.random_fully };
    let mut forward = vec![];
    if !settings.liberal {
        forward.push(Rule::jump("DROP").when(state(false, "INVALID")));
    }
    forward.extend([
        Rule::jump("ACCEPT").comment("kubernetes forwarding rules").when(marked(settings, false)),
        Rule::jump("ACCEPT")
            .comment("kubernetes forwarding conntrack rule")
            .when(state(false, "RELATED,ESTABLISHED")),
    ]);
    let mut firewall = vec![];
    if settings.loopback {
        // route_localnet would let the network reach what listens on loopback (CVE-2020-8558).
        let lo = settings.loopback_net();
        firewall.push(
            Rule::jump("DROP")
                .comment("block incoming localnet connections")
                .to(lo)
                .not_from(lo)
                .when(state(true, "RELATED,ESTABLISHED,DNAT")),
        );
    }
    let mut others: Vec<Rule> =
        settings.pods.iter().map(|net| Rule::jump("RETURN").from(*net)).collect();
    others.push(Rule::jump(MARK_MASQ));
    let egress = match settings.masquerade_egress {
        true => settings.pods.iter().map(|net| Rule::jump(LEAVING).from(*net)).collect(),
        false => vec![],
    };
    vec![
        (Table::Filter, FORWARD, forward),
        (Table::Filter, FIREWALL, firewall),
        (
            Table::Filter,
            REFUSE,
            vec![Rule::new(Target::Reset).protocol("tcp"), Rule::new(Target::Reject)],
        ),
        (
            Table::Nat,
            POSTROUTING,
            vec![
                Rule::jump("RETURN").when(marked(settings, true)),
                // So that it is not masqueraded again, should it come through once more.
                Rule::new(Target::Mark { value: settings.mark, mask: 0 }),
                Rule::new(masquerade).comment("kubernetes service traffic requiring SNAT"),
            ],
        ),
        (
            Table::Nat,
            MARK_MASQ,
            vec![Rule::new(Target::Mark { value: settings.mark, mask: settings.mark })],
        ),
        (Table::Nat, MARK_OTHERS, others),
        (Table::Nat, EGRESS, egress),
    ]
}

/// What follows the Services' own rules in `KUBE-SERVICES` of a table.
pub(in super::super) fn tail_of_services(table: Table, settings: &Settings) -> Vec<Rule> {
    if table == Table::Filter {
        return vec![
            Rule::jump(CLUSTER_IPS)
                .comment("no Service has this port there")
                .when(state(true, "DNAT")),
        ];
    }
    let node_ports = Rule::jump(NODE_PORTS)
        .comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain");
    let mut rules = vec![];
    if settings.loopback_is_excepted() {
        rules.push(Rule::jump("RETURN").to(settings.loopback_net()));
    }
    rules.extend(settings.on_node_ports(&node_ports));
    rules
}

/// Refuses what no Service has: reached only by packets that no Service's rule has taken.
pub(in super::super) fn cluster_ips(desired: &Desired, family: Family) -> Vec<Rule> {
    let mut ips: Vec<_> = desired.cluster_ips().filter(|ip| Family::of(ip) == family).collect();
    ips.sort();
    ips.into_iter().map(|ip| Rule::jump(REFUSE).to(IpNet::from(*ip))).collect()
}

/// Masquerades what pods send out of the cluster: neither to pods nor to nodes.
pub(in super::super) fn leaving(desired: &Desired, settings: &Settings) -> Vec<Rule> {
    let nodes = desired.node_addresses();
    let outlandish = |ip: &&IpAddr| !desired.view.is_pod(ip) && !nodes.contains(*ip);
    let mut near: Vec<IpAddr> = desired
        .local_addresses()
        .filter(outlandish)
        .chain(nodes)
        .filter(|ip| Family::of(ip) == settings.family)
        .copied()
        .collect();
    near.sort();
    let multicast: IpNet = match settings.family {
        Family::Ipv4 => IpNet::from(ipnet::Ipv4Net::new_assert([224, 0, 0, 0].into(), 4)),
        Family::Ipv6 => {
            IpNet::from(ipnet::Ipv6Net::new_assert([0xff00_u16, 0, 0, 0, 0, 0, 0, 0].into(), 8))
        }
    };
    let stay = |net: IpNet| Rule::jump("RETURN").to(net);
    let mut rules: Vec<Rule> = settings.pods.iter().copied().map(stay).collect();
    let is_node = |ip: &IpAddr| nodes.contains(ip);
    rules.extend(near.into_iter().map(|ip| {
        stay(ip.into()).comment(if is_node(&ip) { "node" } else { "endpoint of this node" })
    }));
    rules.push(stay(multicast));
    rules.push(Rule::new(Target::Masquerade { random_fully: settings.random_fully }));
    rules
}
