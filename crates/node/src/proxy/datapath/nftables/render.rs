//! The tables' rules as text for `nft -f`: small, the same for every cluster, made to be read.
//!
//! The text can be loaded over an older copy of itself at any time: maps and their elements stay,
//! rules are replaced, and all of it happens in one transaction.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::IpNet;
use portolan_model::frontend::Family;

use super::layout::{Class, Number, TABLE};

/// What the rules of one family depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skeleton {
    pub(super) family: Family,
    /// Where pods' addresses come from; empty means unknown.
    pub(super) pods: Vec<IpNet>,
    /// Where node ports answer.
    pub(super) node_port_addresses: Vec<IpNet>,
    pub(super) masquerade_all: bool,
    pub(super) masquerade_egress: bool,
    /// Node ports answer on 127.0.0.0/8 too (IPv4 only).
    pub(super) loopback: bool,
}

/// The words that differ between the families.
struct Words {
    ip: &'static str,
    address: &'static str,
    loopback: &'static str,
    multicast: &'static str,
    /// A client, in at most 16 bytes together with a number: nft 1.0.6 runs out of registers with
    /// more. Two IPv6 clients with the same hash are kept on the same backend, no more.
    client: &'static str,
    reject: &'static str,
}

impl Skeleton {
    fn words(&self) -> Words {
        match self.family {
            Family::Ipv4 => Words {
                ip: "ip",
                address: "ipv4_addr",
                loopback: "127.0.0.0/8",
                multicast: "224.0.0.0/4",
                client: "ip saddr",
                reject: "icmp",
            },
            Family::Ipv6 => Words {
                ip: "ip6",
                address: "ipv6_addr",
                loopback: "::1",
                multicast: "ff00::/8",
                client: "jhash ip6 saddr mod 4294967295 seed 0x1",
                reject: "icmpv6",
            },
        }
    }

    /// Everything but the elements that netlink writes.
    pub(super) fn text(&self, classes: &BTreeMap<u16, Class>) -> String {
        let mut out = self.maps();
        for (name, hook, rules) in self.chains() {
            self.chain(&mut out, name, hook, &rules);
        }
        self.interval_set(&mut out, "pods", &self.pods);
        self.interval_set(&mut out, "node_port_addresses", &self.node_port_addresses);
        out + &self.class_chains(classes)
    }

    fn maps(&self) -> String {
        let Words { ip, address, .. } = self.words();
        let map = |name, kind: String| format!("add map {ip} {TABLE} {name} {{ {kind} }}\n");
        let set = |name, kind: String| format!("add set {ip} {TABLE} {name} {{ {kind} }}\n");
        // Plain types where they suffice: nft 1.0.6 cannot use `typeof … th dport` of a table that
        // is there already together with a transport protocol.
        let dialled = format!("{address} . inet_proto . inet_service");
        let endpoints = |l4: &str| {
            format!("typeof meta priority . numgen random mod 65536 : {ip} daddr . {l4} dport;")
        };
        let client = match self.family {
            Family::Ipv4 => "type ipv4_addr . classid : classid",
            Family::Ipv6 => "typeof numgen random mod 4294967295 . meta priority : meta priority",
        };
        [
            format!("add table {ip} {TABLE}\n"),
            map("frontends", format!("type {dialled} : classid;")),
            map("node_ports", "type inet_proto . inet_service : classid;".to_owned()),
            map("inside", "type classid : classid;".to_owned()),
            map("outside", "type classid : classid;".to_owned()),
            map("endpoints_tcp", endpoints("tcp")),
            map("endpoints_udp", endpoints("udp")),
            map("endpoints_sctp", endpoints("sctp")),
            map(
                "slots",
                "typeof meta priority . numgen random mod 65536 : meta priority;".to_owned(),
            ),
            map("kept", format!("type classid : {address} . inet_service;")),
            map("affinity", format!("{client}; size 1048576; flags dynamic,timeout;")),
            map("choose", "type classid : verdict;".to_owned()),
            set("cluster_ips", format!("type {address};")),
            set("local_endpoints", format!("type {address};")),
            set("hairpin", format!("type {address} . {address};")),
            set("nodes", format!("type {address};")),
            set("guarded", format!("type {dialled};")),
            set(
                "allowed",
                format!("type {address} . inet_proto . inet_service . {address}; flags interval;"),
            ),
            set("pods", format!("type {address}; flags interval;")),
            set("node_port_addresses", format!("type {address}; flags interval;")),
        ]
        .concat()
    }

    /// Name, hook and rules of each chain; a chain is only mentioned after those it goes to.
    fn chains(&self) -> Vec<(&'static str, &'static str, String)> {
        let Words { ip, loopback, reject, .. } = self.words();
        let class = format!("meta priority & {}", Number(Number::CLASS_MASK));
        let split = Number(u32::from(Class::SPLIT));
        let mut chains = vec![
            (
                "refuse",
                "",
                format!(
                    "meta l4proto tcp reject with tcp reset\nreject with {reject} port-unreachable\n"
                ),
            ),
            ("discard", "", "drop\n".to_owned()),
            ("pick", "", format!("{class} vmap @choose\n")),
            (
                "split",
                "",
                format!(
                    "{ip} saddr @pods meta priority set meta priority map @inside goto pick\n\
                     fib saddr type local meta priority set meta priority map @inside goto pick\n\
                     meta priority set meta priority map @outside goto pick\n"
                ),
            ),
            ("dispatch", "", format!("{class} == {split} goto split\n{class} vmap @choose\n")),
            (
                "guard",
                "",
                format!(
                    "{ip} daddr . meta l4proto . th dport . {ip} saddr @allowed return\ndrop\n"
                ),
            ),
            (
                "services",
                "",
                format!(
                    "{ip} daddr . meta l4proto . th dport @guarded jump guard\n\
                     meta priority set {ip} daddr . meta l4proto . th dport map @frontends goto dispatch\n\
                     {ip} daddr @cluster_ips goto refuse\n\
                     {}fib daddr type local {ip} daddr @node_port_addresses \
                     meta priority set meta l4proto . th dport map @node_ports goto dispatch\n",
                    if self.loopback {
                        String::new()
                    } else {
                        format!("{ip} daddr {loopback} return\n")
                    },
                ),
            ),
            ("hide", "", "meta priority set 0:0\nmasquerade\n".to_owned()),
            ("plain", "", "meta priority set 0:0\naccept\n".to_owned()),
            ("leave", "", format!("meta priority set 0:0\n{}accept\n", self.egress())),
            ("ours", "", self.ours()),
            ("translated", "", self.translated()),
            (
                "prerouting",
                "type nat hook prerouting priority -100; policy accept;",
                "jump services\n".to_owned(),
            ),
            (
                "output",
                "type nat hook output priority -100; policy accept;",
                "jump services\n".to_owned(),
            ),
            (
                "postrouting",
                "type nat hook postrouting priority 100; policy accept;",
                format!("ct status dnat jump translated\n{}", self.egress()),
            ),
        ];
        if self.loopback && self.family == Family::Ipv4 {
            // Loopback addresses are let out of the node by route_localnet. Nothing from outside
            // may use that to reach a loopback listener (CVE-2020-8558), nor may anything leave
            // under a loopback address.
            chains.extend([
                (
                    "loopback_in",
                    "type filter hook prerouting priority -300; policy accept;",
                    "iif \"lo\" accept\nip daddr 127.0.0.0/8 drop\nip saddr 127.0.0.0/8 drop\n"
                        .to_owned(),
                ),
                (
                    "loopback_out",
                    "type filter hook postrouting priority 200; policy accept;",
                    "ip saddr 127.0.0.0/8 oif != \"lo\" drop\n".to_owned(),
                ),
            ]);
        }
        chains
    }

    /// Which translated connections are ours: found again by what they dialled first.
    fn translated(&self) -> String {
        let ip = self.words().ip;
        let mut out = String::new();
        for (key, map) in
            [(format!("ct original {ip} daddr . "), "frontends"), (String::new(), "node_ports")]
        {
            for protocol in ["tcp", "udp", "sctp"] {
                let _ = writeln!(
                    out,
                    "meta l4proto {protocol} meta priority set {key}meta l4proto . ct original proto-dst map @{map} goto ours",
                );
            }
        }
        out
    }

    /// Who is masqueraded; the order is `portolan_model::oracle`'s.
    fn ours(&self) -> String {
        let Words { ip, loopback, .. } = self.words();
        let flag = Number(Number::MASQUERADE);
        let mut out = format!(
            "{ip} saddr . {ip} daddr @hairpin goto hide\n{ip} saddr {loopback} goto hide\n"
        );
        if self.masquerade_all {
            let _ = writeln!(out, "ct original {ip} daddr @cluster_ips goto hide");
        }
        let _ = write!(
            out,
            "{ip} daddr @local_endpoints goto plain\n\
             meta priority & {flag} == {flag} goto hide\n\
             {ip} saddr @pods goto leave\n"
        );
        out += if self.pods.is_empty() {
            "fib saddr type local goto hide\ngoto plain\n"
        } else {
            "goto hide\n"
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

    /// Adds chains to a table that is there already. The maps are named again because `nft` 1.0.6
    /// only then takes their declared types for what the rules need.
    pub(super) fn more_classes(&self, classes: &BTreeMap<u16, Class>) -> String {
        self.maps() + &self.class_chains(classes)
    }

    /// The chains that choose among so many backends, and their entries in `choose`.
    fn class_chains(&self, classes: &BTreeMap<u16, Class>) -> String {
        let ip = self.words().ip;
        let mut out = String::new();
        let client = self.words().client;
        let mask = Number(Number::POOL_MASK);
        let pool = format!("meta priority set meta priority & {mask}\n");
        let timeouts: std::collections::BTreeSet<u32> =
            classes.values().filter_map(|class| class.affinity).collect();
        for seconds in timeouts {
            // The number is a backend's here; its upper part is the pool's.
            let key = format!("{client} . meta priority & {mask}");
            let remember = format!(
                "update @affinity {{ {key} timeout {seconds}s : meta priority }}\n\
                 meta l4proto {{ tcp, udp, sctp }} dnat {ip} to meta priority map @kept\n"
            );
            self.chain(&mut out, &format!("keep_{seconds}"), "", &remember);
            // Its backend is gone: forget it, and let the caller choose again.
            let forget = format!("{remember}delete @affinity {{ {key} : meta priority }}\n{pool}");
            self.chain(&mut out, &format!("kept_{seconds}"), "", &forget);
        }
        for class in classes.values() {
            let count = class.count;
            let rules = match class.affinity {
                None => ["tcp", "udp", "sctp"].into_iter().fold(pool.clone(), |rules, l4| {
                    rules + &format!("meta l4proto {l4} dnat {ip} to meta priority . numgen random mod {count} map @endpoints_{l4}\n")
                }),
                Some(seconds) => format!(
                    "{pool}\
                     meta priority set {client} . meta priority map @affinity jump kept_{seconds}\n\
                     meta priority set meta priority . numgen random mod {count} map @slots goto keep_{seconds}\n"
                ),
            };
            self.chain(&mut out, &class.chain(), "", &rules);
        }
        let fixed = [(Class::REJECT, "refuse".to_owned()), (Class::DROP, "discard".to_owned())];
        for (number, chain) in
            fixed.into_iter().chain(classes.iter().map(|(n, class)| (*n, class.chain())))
        {
            let key = Number(u32::from(number));
            let _ = writeln!(out, "add element {ip} {TABLE} choose {{ {key} : goto {chain} }}");
        }
        out
    }

    fn chain(&self, out: &mut String, name: &str, hook: &str, rules: &str) {
        let ip = self.words().ip;
        let hook = if hook.is_empty() { String::new() } else { format!(" {{ {hook} }}") };
        let _ =
            writeln!(out, "add chain {ip} {TABLE} {name}{hook}\nflush chain {ip} {TABLE} {name}");
        for rule in rules.lines() {
            let _ = writeln!(out, "add rule {ip} {TABLE} {name} {rule}");
        }
    }

    fn interval_set(&self, out: &mut String, name: &str, nets: &[IpNet]) {
        let ip = self.words().ip;
        let _ = writeln!(out, "flush set {ip} {TABLE} {name}");
        let nets: Vec<_> = IpNet::aggregate(&nets.to_vec()).iter().map(IpNet::to_string).collect();
        if !nets.is_empty() {
            let _ = writeln!(out, "add element {ip} {TABLE} {name} {{ {} }}", nets.join(", "));
        }
    }
}
