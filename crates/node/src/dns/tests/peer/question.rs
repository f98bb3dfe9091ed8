//! Random questions about a cluster: names that exist, and near misses.

use std::net::IpAddr;

use domain::base::iana::Rtype;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::cluster::{Cluster, NAMESPACES, PORTS};

const KINDS: [Rtype; 16] = [
    Rtype::A,
    Rtype::A,
    Rtype::A,
    Rtype::AAAA,
    Rtype::AAAA,
    Rtype::SRV,
    Rtype::SRV,
    Rtype::PTR,
    Rtype::TXT,
    Rtype::NS,
    Rtype::SOA,
    Rtype::CNAME,
    Rtype::ANY,
    Rtype::MX,
    Rtype::HTTPS,
    Rtype::CAA,
];

#[derive(Debug)]
pub(super) struct Question {
    /// As it is asked.
    pub(super) name: String,
    pub(super) lower: String,
    pub(super) kind: Rtype,
}

impl Question {
    pub(super) fn is_reverse(&self) -> bool {
        self.lower.ends_with(".arpa")
    }
}

pub(super) fn questions(random: &mut StdRng, cluster: &Cluster, count: usize) -> Vec<Question> {
    let one = |random: &mut StdRng| {
        let name = name(random, cluster);
        let lower = near(random, name);
        let reverse = lower.ends_with(".arpa");
        let kind = match random.random_bool(0.7) {
            true if reverse => Rtype::PTR,
            true if lower.starts_with('_') => Rtype::SRV,
            _ => *KINDS.choose(random).expect("some"),
        };
        let name = if random.random_bool(0.3) {
            lower
                .chars()
                .map(|c| if random.random() { c.to_ascii_uppercase() } else { c })
                .collect()
        } else {
            lower.clone()
        };
        Question { name, lower, kind }
    };
    (0..count).map(|_| one(random)).collect()
}

fn name(random: &mut StdRng, cluster: &Cluster) -> String {
    let (namespace, service) = cluster.services.choose(random).expect("some");
    let host = cluster.hosts.choose(random).map_or("h0", String::as_str);
    let port = PORTS.choose(random).expect("some").to_ascii_lowercase();
    let port = if port.is_empty() { "none" } else { &port };
    let protocol = ["tcp", "udp", "sctp"][random.random_range(0..3)];
    let below = format!("{service}.{namespace}.svc.cluster.local");
    match random.random_range(0..20) {
        0..=4 => below,
        5..=7 => format!("_{port}._{protocol}.{below}"),
        8 => format!("{port}.{protocol}.{below}"),
        9 => format!("{host}.{below}"),
        10 => format!("h{}.{below}", random.random_range(0..4)),
        11 => format!("pod-{}.{below}", random.random_range(0..6)),
        12 => format!("{host}.{namespace}.pod.cluster.local"),
        13 => format!("_{protocol}.{below}"),
        14 => {
            let fixed = [
                "cluster.local",
                "svc.cluster.local",
                "pod.cluster.local",
                "dns-version.cluster.local",
                "ns.dns.cluster.local",
                "dns.cluster.local",
                "in-addr.arpa",
                "ip6.arpa",
                "www.example.org",
            ];
            (*fixed.choose(random).expect("some")).to_owned()
        }
        15 => format!(
            "{}.{}.cluster.local",
            NAMESPACES[random.random_range(0..3)],
            ["svc", "pod"][random.random_range(0..2)]
        ),
        _ => reverse(cluster.addresses.choose(random).map_or("10.96.0.1", String::as_str)),
    }
}

fn reverse(address: &str) -> String {
    match address.parse().expect("an address") {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits: Vec<String> =
                format!("{:032x}", u128::from(v6)).chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

/// The name itself, or one that is nearly it.
fn near(random: &mut StdRng, name: String) -> String {
    let mut labels: Vec<String> = name.split('.').map(str::to_owned).collect();
    match random.random_range(0..8) {
        0 => labels[0].push('x'),
        1 if labels.len() > 3 => {
            labels.remove(random.random_range(0..labels.len() - 2));
        }
        2 if random.random_bool(0.5) => labels.insert(0, "more".into()),
        _ => {}
    }
    labels.join(".")
}
