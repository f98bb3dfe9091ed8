//! Which pod has which address of the node's range.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use ipnet::IpNet;

use super::shim::spec;

/// Hands out addresses in turn, so that one that was given back rests until all others had
/// theirs: caches and connections of its last pod do not meet the next one.
#[derive(Debug)]
pub(crate) struct Ipam {
    ranges: Vec<IpNet>,
    used: BTreeSet<IpAddr>,
    /// Where to look first, by range.
    next: BTreeMap<String, u128>,
    /// Where `next` is kept over restarts.
    file: PathBuf,
}

/// The node's range has no free address.
#[derive(Debug, thiserror::Error)]
#[error("no address of {0} is free")]
pub(crate) struct Exhausted(IpNet);

/// Large IPv6 ranges are used from their start, up to this many addresses.
const MOST: u128 = 1 << 16;

impl Ipam {
    /// Starts with the addresses that adopted pods hold.
    pub(crate) fn new(
        ranges: Vec<IpNet>,
        used: impl IntoIterator<Item = IpAddr>,
        file: PathBuf,
    ) -> Self {
        let next = spec::read(&file).unwrap_or_default();
        Self { ranges, used: used.into_iter().collect(), next, file }
    }

    /// One address of each range, in the order of the ranges.
    pub(crate) fn allocate(&mut self) -> Result<Vec<IpAddr>, Exhausted> {
        let mut found = Vec::new();
        for range in self.ranges.clone() {
            match self.pick(range) {
                Some(ip) => found.push(ip),
                None => {
                    self.release(&found);
                    return Err(Exhausted(range));
                }
            }
        }
        // Forgetting where we were only makes an address come back sooner.
        let _ = spec::write(&self.file, &self.next);
        Ok(found)
    }

    fn pick(&mut self, range: IpNet) -> Option<IpAddr> {
        let (first, last) = usable(range)?;
        let size = last - first + 1;
        let from = self.next.get(&range.to_string()).copied().unwrap_or(0) % size;
        let offset = (0..size)
            .map(|i| (from + i) % size)
            .find(|o| !self.used.contains(&at(range, first + o)))?;
        self.next.insert(range.to_string(), (offset + 1) % size);
        let ip = at(range, first + offset);
        self.used.insert(ip);
        Some(ip)
    }

    /// Takes addresses back.
    pub(crate) fn release(&mut self, ips: &[IpAddr]) {
        for ip in ips {
            self.used.remove(ip);
        }
    }
}

/// The offsets in a range that pods may have: not the network's own address, not the one after
/// it, which many take for a gateway, and not the broadcast address.
fn usable(range: IpNet) -> Option<(u128, u128)> {
    let bits = range.max_prefix_len() - range.prefix_len();
    let size = if bits >= 17 { MOST } else { 1 << bits };
    let last = if range.addr().is_ipv4() { size.checked_sub(2)? } else { size - 1 };
    (last >= 2).then_some((2, last))
}

fn at(range: IpNet, offset: u128) -> IpAddr {
    match range.network() {
        IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits() + offset as u32).into(),
        IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits() + offset).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ipam(ranges: &[&str], file: &std::path::Path) -> Ipam {
        Ipam::new(ranges.iter().map(|r| r.parse().unwrap()).collect(), [], file.to_owned())
    }

    #[test]
    fn an_address_rests_before_it_comes_back_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ipam.json");
        let ranges = ["10.244.1.0/29", "fd00:1::/64"];
        let mut a = ipam(&ranges, &file);
        let first = a.allocate().unwrap();
        assert_eq!(first, ["10.244.1.2".parse::<IpAddr>().unwrap(), "fd00:1::2".parse().unwrap()]);
        a.release(&first);
        let mut b = ipam(&ranges, &file);
        assert_eq!(b.allocate().unwrap()[0].to_string(), "10.244.1.3");
        for _ in 0..4 {
            b.allocate().unwrap();
        }
        assert_eq!(b.allocate().unwrap_err().to_string(), "no address of 10.244.1.0/29 is free");
        b.release(&["10.244.1.4".parse().unwrap()]);
        assert_eq!(b.allocate().unwrap()[0].to_string(), "10.244.1.4");
    }

    proptest! {
        #[test]
        fn no_address_is_handed_out_twice(steps in proptest::collection::vec(any::<bool>(), 1..200)) {
            let dir = tempfile::tempdir().unwrap();
            let mut ipam = ipam(&["10.0.0.0/27"], &dir.path().join("x"));
            let mut held: Vec<IpAddr> = Vec::new();
            for take in steps {
                if take {
                    if let Ok(ips) = ipam.allocate() {
                        prop_assert!(!held.contains(&ips[0]));
                        held.extend(ips);
                    } else {
                        prop_assert_eq!(held.len(), 29);
                    }
                } else if !held.is_empty() {
                    let ip = held.remove(0);
                    ipam.release(&[ip]);
                }
            }
        }
    }
}
