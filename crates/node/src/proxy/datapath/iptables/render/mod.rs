//! What the tables should hold: pure, the same for the same cluster.

mod fixed;
mod service;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use portolan_linux::iptables::Rule;
use portolan_model::Desired;
use portolan_model::frontend::Family;

pub(super) use fixed::{JUMPS, cluster_ips, leaving, small_chains, tail_of_services};
pub(super) use service::{Portals, ServiceRules, rules_of};

/// What the rules of one family depend on, besides Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) family: Family,
    /// The one bit of marks that says that a packet is to be masqueraded.
    pub(super) mark: u32,
    /// Where pods' addresses come from; empty means unknown.
    pub(super) pods: Vec<IpNet>,
    /// Where node ports answer, loopback aside; `None` stands for everywhere.
    pub(super) node_ports: Vec<Option<IpNet>>,
    /// Node ports answer on 127.0.0.0/8 too (IPv4 only).
    pub(super) loopback: bool,
    pub(super) masquerade_all: bool,
    pub(super) masquerade_egress: bool,
    pub(super) random_fully: bool,
    /// Packets that belong to no known connection are let through by request of the administrator.
    pub(super) liberal: bool,
}

impl Settings {
    pub(super) fn new(
        desired: &Desired,
        family: Family,
        mark: u32,
        random_fully: bool,
        liberal: bool,
    ) -> Self {
        let view = &desired.view;
        let pods = view.cluster_cidrs.iter().filter(|net| Family::of_net(net) == family);
        let mut node_ports: Vec<_> = desired
            .node_port_networks(family)
            .into_iter()
            .map(|net| (net.prefix_len() > 0).then_some(net))
            .collect();
        node_ports.sort();
        node_ports.dedup();
        Self {
            family,
            mark,
            pods: IpNet::aggregate(&pods.copied().collect::<Vec<_>>()),
            node_ports,
            loopback: view.loopback_node_ports && family == Family::Ipv4,
            masquerade_all: view.masquerade_all,
            masquerade_egress: view.masquerade_egress,
            random_fully,
            liberal,
        }
    }

    pub(super) fn loopback_net(&self) -> IpNet {
        match self.family {
            Family::Ipv4 => IpNet::from(ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8)),
            Family::Ipv6 => IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
        }
    }

    /// The given rule for each place where node ports answer.
    fn on_node_ports(&self, rule: &Rule) -> Vec<Rule> {
        use portolan_linux::iptables::{Match, Side};
        let everywhere = self.node_ports.contains(&None);
        let local = |mut rule: Rule| {
            // Behind the comment, as kube-proxy has it.
            let at = rule.matches.len().min(1);
            rule.matches.insert(at, Match::Local(Side::Destination));
            rule
        };
        if everywhere {
            let rule = local(rule.clone());
            return vec![if self.loopback { rule } else { rule.not_to(self.loopback_net()) }];
        }
        let own = self.loopback.then(|| self.loopback_net());
        let mut nets: Vec<IpNet> = self.node_ports.iter().flatten().copied().chain(own).collect();
        if nets.is_empty() {
            // Nobody dials this; but the tables tell of it.
            nets.push(match self.family {
                Family::Ipv4 => IpNet::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
                Family::Ipv6 => IpNet::from(IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            });
        }
        nets.into_iter().map(|net| local(rule.clone().to(net))).collect()
    }

    /// Whether loopback addresses are in a network where node ports answer although they may not
    /// answer there.
    fn loopback_is_excepted(&self) -> bool {
        let lo = self.loopback_net();
        let mut nets = self.node_ports.iter().flatten();
        !self.loopback && nets.any(|net| net.contains(&lo) || lo.contains(net))
    }
}
