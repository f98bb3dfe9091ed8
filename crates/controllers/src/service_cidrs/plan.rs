//! Whether a range may go.

use std::net::IpAddr;

use ipnet::IpNet;

/// A `ServiceCIDR`, as far as it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) name: String,
    pub(super) cidrs: Vec<IpNet>,
    /// Whether it is being deleted: it will not keep anything for another.
    pub(super) ending: bool,
}

/// Whether Services can have this address from a network: not the network's own, and under IPv4
/// not the broadcast address.
pub(super) fn covers(net: &IpNet, ip: IpAddr) -> bool {
    net.contains(&ip) && ip != net.network() && !(ip.is_ipv4() && ip == net.broadcast())
}

impl Range {
    pub(super) fn covers(&self, ip: IpAddr) -> bool {
        self.cidrs.iter().any(|net| covers(net, ip))
    }

    fn contains(&self, net: &IpNet) -> bool {
        self.cidrs.iter().any(|own| own.contains(net))
    }
}

/// Whether `range` can go without leaving an address outside all others. Unlike upstream's, others
/// that are being deleted do not count: of two that cover each other, both would go.
pub(super) fn may_go(
    range: &Range,
    all: &[Range],
    addresses: impl IntoIterator<Item = IpAddr>,
) -> bool {
    let others: Vec<&Range> =
        all.iter().filter(|other| other.name != range.name && !other.ending).collect();
    let within = |net: &IpNet| others.iter().any(|other| other.contains(net));
    if range.cidrs.iter().all(within) {
        return true;
    }
    let needed = |ip: IpAddr| range.covers(ip) && !others.iter().any(|other| other.covers(ip));
    !addresses.into_iter().any(needed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(name: &str, cidrs: &[&str]) -> Range {
        let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        Range { name: name.to_owned(), cidrs, ending: false }
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_range_stays_for_its_addresses() {
        let a = range("a", &["10.0.0.0/24"]);
        let alone = |addresses: &[&str]| may_go(&a, std::slice::from_ref(&a), ips(addresses));
        assert!(alone(&[]));
        assert!(alone(&["10.0.1.1"]));
        assert!(!alone(&["10.0.0.1"]));
        // These are given by no range.
        assert!(alone(&["10.0.0.0", "10.0.0.255"]));
    }

    #[test]
    fn others_may_keep_the_addresses() {
        let a = range("a", &["10.0.0.0/24"]);
        let wide = range("wide", &["10.0.0.0/16"]);
        let same = range("same", &["10.0.0.0/24"]);
        let half = range("half", &["10.0.0.0/25"]);
        let one = ips(&["10.0.0.1"]);
        for other in [&wide, &same, &half] {
            assert!(may_go(&a, &[a.clone(), other.clone()], one.clone()), "{other:?}");
            let ending = Range { ending: true, ..other.clone() };
            assert!(!may_go(&a, &[a.clone(), ending], one.clone()), "{other:?}");
        }
        let all = [a.clone(), half];
        assert!(!may_go(&a, &all, ips(&["10.0.0.1", "10.0.0.200"])));
        // The half's broadcast address is an ordinary one of the whole.
        assert!(!may_go(&a, &all, ips(&["10.0.0.127"])));
    }

    #[test]
    fn both_families_count() {
        let a = range("a", &["10.0.0.0/24", "fd00::/112"]);
        let v4 = range("v4", &["10.0.0.0/16"]);
        let all = [a.clone(), v4];
        assert!(may_go(&a, &all, ips(&["10.0.0.1"])));
        assert!(!may_go(&a, &all, ips(&["10.0.0.1", "fd00::1"])));
    }

    proptest! {
        /// No address loses its last range, in whatever order ranges are deleted and go.
        #[test]
        fn no_address_is_orphaned(
            cidrs in prop::collection::vec((0..16u32, 26..31u8), 1..6),
            hosts in prop::collection::vec(0..64u32, 0..6),
            steps in prop::collection::vec((0..6usize, any::<bool>()), 0..20),
        ) {
            let base = u32::from_be_bytes([10, 0, 0, 0]);
            let mut all: Vec<Range> = cidrs
                .iter()
                .enumerate()
                .map(|(i, (at, prefix))| {
                    let net = ipnet::Ipv4Net::new((base + at * 4).into(), *prefix).unwrap().trunc();
                    Range { name: i.to_string(), cidrs: vec![net.into()], ending: false }
                })
                .collect();
            let held: Vec<IpAddr> = hosts
                .iter()
                .map(|host| IpAddr::V4((base + host).into()))
                .filter(|ip| all.iter().any(|range| range.covers(*ip)))
                .collect();
            for (at, go) in steps {
                let Some(range) = all.get_mut(at) else { continue };
                if !go {
                    range.ending = true;
                } else if range.ending {
                    let range = range.clone();
                    if may_go(&range, &all, held.iter().copied()) {
                        all.remove(at);
                    }
                }
                for ip in &held {
                    prop_assert!(all.iter().any(|range| range.covers(*ip)), "{ip}");
                }
            }
        }
    }
}
