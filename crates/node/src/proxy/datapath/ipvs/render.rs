//! The tables' rules as text for `nft -f`: the same for every cluster, made to be read.
//!
//! They decide what IPVS cannot: who is refused, dropped, let in or masqueraded. The text can be
//! loaded over an older copy of itself at any time: elements stay, rules are replaced, and all of
//! it happens in one transaction.

use std::fmt::Write;

use ipnet::IpNet;
use portolan_model::Desired;
use portolan_model::frontend::Family;

use super::layout::{MARK, MARK_MASK, TABLE};

/// What the rules of one family depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) family: Family,
    /// Where pods' addresses come from; empty means unknown.
    pub(super) pods: Vec<IpNet>,
    pub(super) masquerade_all: bool,
    pub(super) masquerade_egress: bool,
}

/// The words that differ between the families.
struct Words {
    ip: &'static str,
    address: &'static str,
    loopback: &'static str,
    multicast: &'static str,
    reject: &'static str,
}

impl Rules {
    pub(super) fn new(desired: &Desired, family: Family) -> Self {
        let view = &desired.view;
        let nets = view.cluster_cidrs.iter().filter(|net| Family::of_net(net) == family);
        Self {
            family,
            pods: nets.map(IpNet::trunc).collect(),
            masquerade_all: view.masquerade_all,
            masquerade_egress: view.masquerade_egress,
        }
    }

    fn words(&self) -> Words {
        match self.family {
            Family::Ipv4 => Words {
                ip: "ip",
                address: "ipv4_addr",
                loopback: "127.0.0.0/8",
                multicast: "224.0.0.0/4",
                reject: "icmp",
            },
            Family::Ipv6 => Words {
                ip: "ip6",
                address: "ipv6_addr",
                loopback: "::1",
                multicast: "ff00::/8",
                reject: "icmpv6",
            },
        }
    }

    /// Everything but the elements that netlink writes.
    pub(super) fn text(&self) -> String {
        let ip = self.words().ip;
        let mut out = self.sets();
        for (name, hook, rules) in self.chains() {
            let hook = if hook.is_empty() { String::new() } else { format!(" {{ {hook} }}") };
            let _ = writeln!(
                out,
                "add chain {ip} {TABLE} {name}{hook}\nflush chain {ip} {TABLE} {name}"
            );
            for rule in rules.lines() {
                let _ = writeln!(out, "add rule {ip} {TABLE} {name} {rule}");
            }
        }
        let _ = writeln!(out, "flush set {ip} {TABLE} pods");
        let nets: Vec<_> = IpNet::aggregate(&self.pods).iter().map(IpNet::to_string).collect();
        if !nets.is_empty() {
            let _ = writeln!(out, "add element {ip} {TABLE} pods {{ {} }}", nets.join(", "));
        }
        out
    }

    fn sets(&self) -> String {
        let Words { ip, address, .. } = self.words();
        let dialled = format!("{address} . inet_proto . inet_service");
        let mut out = format!("add table {ip} {TABLE}\n");
        let mut set = |name: &str, kind: &str| {
            let _ = writeln!(out, "add set {ip} {TABLE} {name} {{ {kind} }}");
        };
        for name in [
            "frontends",
            "node_ports",
            "refused_inside",
            "refused_outside",
            "dropped_inside",
            "dropped_outside",
            "masqueraded",
            "guarded",
            "draining",
        ] {
            set(name, &format!("type {dialled};"));
        }
        set("allowed", &format!("type {dialled} . {address}; flags interval;"));
        for name in ["addresses", "cluster_ips", "local_endpoints", "nodes"] {
            set(name, &format!("type {address};"));
        }
        set("hairpin", &format!("type {address} . {address};"));
        set("pods", &format!("type {address}; flags interval;"));
        let _ = writeln!(out, "add map {ip} {TABLE} inside_marks {{ type {dialled} : mark; }}");
        out
    }

    /// Name, hook and rules of each chain; a chain is only mentioned after those it goes to.
    fn chains(&self) -> Vec<(&'static str, &'static str, String)> {
        let Words { ip, reject, .. } = self.words();
        let dialled = format!("{ip} daddr . meta l4proto . th dport");
        vec![
            (
                "refuse",
                "",
                format!(
                    "meta l4proto tcp reject with tcp reset\nreject with {reject} port-unreachable\n"
                ),
            ),
            ("guard", "", format!("{dialled} . {ip} saddr @allowed return\ndrop\n")),
            (
                "inside",
                "",
                format!(
                    "{dialled} @refused_inside goto refuse\n\
                     {dialled} @dropped_inside drop\n\
                     meta mark set {dialled} map @inside_marks\n"
                ),
            ),
            (
                "outside",
                "",
                format!(
                    "{dialled} @refused_outside goto refuse\n{dialled} @dropped_outside drop\n"
                ),
            ),
            (
                "known",
                "",
                format!(
                    "{ip} saddr @pods goto inside\nfib saddr type local goto inside\ngoto outside\n"
                ),
            ),
            (
                "services",
                "",
                // Whatever netfilter has forgotten of a connection in progress: it is IPVS's to know.
                format!(
                    "tcp flags & (syn | ack) != syn return\n\
                     {dialled} @guarded jump guard\n\
                     {dialled} @frontends goto known\n\
                     {ip} daddr @addresses goto refuse\n"
                ),
            ),
            // Just before IPVS looks: it hooks at 98 and 99, and at -99 and -98.
            (
                "arriving",
                "type filter hook input priority 90; policy accept;",
                "ct state new jump services\n".to_owned(),
            ),
            (
                "sending",
                "type filter hook output priority -101; policy accept;",
                "ct state new jump services\n".to_owned(),
            ),
            // What IPVS has seen comes by once more, on its way to a real server.
            (
                "unmark",
                "type filter hook output priority -310; policy accept;",
                format!("meta mark & {MARK_MASK:#x} == {MARK:#x} meta mark set 0x0\n"),
            ),
            ("ours", "", self.ours()),
            (
                "postrouting",
                "type nat hook postrouting priority 100; policy accept;",
                format!("{}{}", self.through("frontends", "goto ours"), self.egress()),
            ),
        ]
    }

    /// Rules that match by what a connection dialled first.
    fn through(&self, set: &str, then: &str) -> String {
        let ip = self.words().ip;
        let rule = |protocol| {
            format!(
                "meta l4proto {protocol} ct original {ip} daddr . meta l4proto . ct original proto-dst @{set} {then}\n"
            )
        };
        ["tcp", "udp", "sctp"].map(rule).concat()
    }

    /// Who is masqueraded; the order is `portolan_model::oracle`'s.
    fn ours(&self) -> String {
        let Words { ip, loopback, .. } = self.words();
        let mut out = format!(
            "{ip} saddr . {ip} daddr @hairpin masquerade\n\
             {ip} saddr {loopback} masquerade\n\
             {ip} saddr @addresses masquerade\n"
        );
        if self.masquerade_all {
            let _ = writeln!(out, "ct original {ip} daddr @cluster_ips masquerade");
        }
        let _ = writeln!(out, "{ip} daddr @local_endpoints accept");
        out += &self.through("masqueraded", "masquerade");
        out += &self.egress();
        let _ = writeln!(out, "{ip} saddr @pods accept");
        out += if self.pods.is_empty() {
            "fib saddr type local masquerade\naccept\n"
        } else {
            "masquerade\n"
        };
        out
    }

    /// Pods' connections that leave the cluster.
    fn egress(&self) -> String {
        let Words { ip, multicast, .. } = self.words();
        if !self.masquerade_egress || self.pods.is_empty() {
            return String::new();
        }
        format!(
            "{ip} saddr @pods {ip} daddr != @pods {ip} daddr != @nodes {ip} daddr != {multicast} masquerade\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Set;
    use super::*;

    fn rules(family: Family) -> Rules {
        let pods = match family {
            Family::Ipv4 => "10.244.0.0/16",
            Family::Ipv6 => "fd00:10:244::/56",
        };
        Rules {
            family,
            pods: vec![pods.parse().unwrap()],
            masquerade_all: false,
            masquerade_egress: true,
        }
    }

    #[test]
    fn every_set_is_declared_and_used() {
        for family in Family::BOTH {
            let all = Rules { masquerade_all: true, ..rules(family) }.text();
            for set in Set::ALL {
                assert!(all.contains(&format!("portolan_ipvs {} {{", set.name())), "{set:?}");
                // These two are there for reading back.
                let read_only = matches!(set, Set::NodePorts | Set::Draining);
                assert_eq!(all.contains(&format!("@{}", set.name())), !read_only, "{set:?}");
            }
        }
    }

    #[test]
    fn the_rules_do_not_grow_with_the_cluster_and_can_be_loaded_twice() {
        for family in Family::BOTH {
            let text = rules(family).text();
            assert!(text.lines().count() < 90, "{text}");
            let made = text.lines().filter(|line| line.starts_with("add chain")).count();
            assert_eq!(text.lines().filter(|line| line.starts_with("flush chain")).count(), made);
        }
    }

    #[test]
    fn without_known_pods_only_the_node_is_masqueraded() {
        let text = Rules { pods: vec![], ..rules(Family::Ipv4) }.text();
        assert!(text.contains("ours fib saddr type local masquerade\n"));
        assert!(!text.contains("daddr != @pods") && !text.contains("add element"));
        let rules = rules(Family::Ipv4).text();
        assert!(rules.contains("ours masquerade\n") && !rules.contains("ours accept\n"));
    }
}
