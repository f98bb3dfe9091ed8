//! Address ranges, port ranges and address families, as the flags write them.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Why a flag's text is not a usable value; the message names the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("{0:?} is no address range; write it as ADDRESS/BITS, for example 10.96.0.0/16")]
    NotARange(String),
    #[error(
        "{given} has address bits set beyond its prefix; write {network} for the range that contains it"
    )]
    HostBits { given: IpNet, network: IpNet },
    #[error("{0} ranges given; give one, or one of each address family separated by a comma")]
    Count(usize),
    #[error("both ranges are {0}; a second range must be of the other address family")]
    SameFamily(Family),
    #[error("{range} is too large: at most {max_bits} host bits are supported; use {example}")]
    TooLarge { range: IpNet, max_bits: u8, example: &'static str },
    #[error(
        "{0} is too small: the API server takes the first address and the DNS the tenth; use a range of at least 16 addresses"
    )]
    TooSmall(IpNet),
    #[error("{0:?} is no port range; write it as FIRST-LAST, for example 30000-32767")]
    NotAPortRange(String),
    #[error("the port range {0}-{1} is empty: the first port must not be above the last")]
    EmptyPortRange(u16, u16),
    #[error("{0:?} is no list of address families; use ipv4, ipv6 or ipv4,ipv6")]
    NotFamilies(String),
}

/// An address family of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    pub fn of_net(net: &IpNet) -> Family {
        Family::of(net.addr())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        })
    }
}

/// `--ip-families`: one family, or both with the primary first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Families(pub Vec<Family>);

impl FromStr for Families {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError::NotFamilies(text.to_owned());
        let families = text
            .split(',')
            .map(|word| match word.trim().to_ascii_lowercase().as_str() {
                "ipv4" => Ok(Family::Ipv4),
                "ipv6" => Ok(Family::Ipv6),
                _ => Err(wrong()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        match families.as_slice() {
            [_] => Ok(Families(families)),
            [a, b] if a != b => Ok(Families(families)),
            _ => Err(wrong()),
        }
    }
}

/// One range, or one of each family, the first primary; as `--service-cluster-ip-range` and
/// `--cluster-cidr` write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(pub Vec<IpNet>);

impl FromStr for Ranges {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let nets = text
            .split(',')
            .map(|word| {
                let net: IpNet = word
                    .trim()
                    .parse()
                    .map_err(|_| RangeError::NotARange(word.trim().to_owned()))?;
                if net.trunc() == net {
                    Ok(net)
                } else {
                    Err(RangeError::HostBits { given: net, network: net.trunc() })
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        match nets.as_slice() {
            [_] => Ok(Ranges(nets)),
            [a, b] if Family::of_net(a) != Family::of_net(b) => Ok(Ranges(nets)),
            [a, _] => Err(RangeError::SameFamily(Family::of_net(a))),
            _ => Err(RangeError::Count(nets.len())),
        }
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.0))
    }
}

/// The ranges as a flag writes them.
pub fn join(nets: &[IpNet]) -> String {
    nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
}

/// Whether Service addresses can be handed out from these ranges: kube-apiserver's own limit of 20
/// host bits (IPv4 /12, IPv6 /108), and room for the tenth address.
pub fn check_service_ranges(ranges: &Ranges) -> Result<(), RangeError> {
    for net in &ranges.0 {
        let host_bits = net.max_prefix_len() - net.prefix_len();
        if host_bits > 20 {
            let example = if net.addr().is_ipv4() { "a /12 or longer" } else { "a /108 or longer" };
            return Err(RangeError::TooLarge { range: *net, max_bits: 20, example });
        }
        if host_bits < 4 {
            return Err(RangeError::TooSmall(*net));
        }
    }
    Ok(())
}

/// Parses `--service-cluster-ip-range`.
pub fn service_ranges(text: &str) -> Result<Ranges, RangeError> {
    let ranges = text.parse()?;
    check_service_ranges(&ranges)?;
    Ok(ranges)
}

/// The address `index` places after the network's own; `None` beyond the end of the range.
pub fn nth_address(net: &IpNet, index: u32) -> Option<IpAddr> {
    let address = match net.network() {
        IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(index)?.into()),
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(index.into())?.into()),
    };
    net.contains(&address).then_some(address)
}

/// `--service-node-port-range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub fn as_range(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for PortRange {
    type Err = RangeError;

    /// `FIRST-LAST`, or one port alone; `FIRST+SIZE` as kube-apiserver also reads it.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError::NotAPortRange(text.to_owned());
        let port =
            |word: &str| word.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
        let (first, last) = if let Some((first, last)) = text.split_once('-') {
            (port(first)?, port(last)?)
        } else if let Some((first, size)) = text.split_once('+') {
            let first = port(first)?;
            (first, first.checked_add(port(size)?).ok_or_else(wrong)?)
        } else {
            let only = port(text)?;
            (only, only)
        };
        if first > last {
            return Err(RangeError::EmptyPortRange(first, last));
        }
        Ok(PortRange { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_kubernetes_reads_them() {
        let dual: Ranges = "10.96.0.0/16,fd00:10:96::/112".parse().expect("dual stack");
        assert_eq!(dual.to_string(), "10.96.0.0/16,fd00:10:96::/112");
        assert_eq!(nth_address(&dual.0[0], 10), Some("10.96.0.10".parse().expect("address")));
        assert_eq!(nth_address(&dual.0[1], 10), Some("fd00:10:96::a".parse().expect("address")));
        assert_eq!(nth_address(&"10.0.0.0/30".parse().expect("net"), 4), None);
    }

    #[test]
    fn a_wrong_range_says_what_to_write() {
        let message = |text: &str| service_ranges(text).expect_err(text).to_string();
        assert!(message("10.96.0.1/16").contains("write 10.96.0.0/16"));
        assert!(message("10.0.0.0/8").contains("a /12 or longer"));
        assert!(message("10.0.0.0/29").contains("at least 16 addresses"));
        assert!(message("10.96.0.0/16,10.97.0.0/16").contains("both ranges are ipv4"));
        assert!(message("ten").contains("ADDRESS/BITS"));
    }

    #[test]
    fn port_ranges() {
        assert_eq!("30000-32767".parse(), Ok(PortRange { first: 30000, last: 32767 }));
        assert_eq!("35001".parse(), Ok(PortRange { first: 35001, last: 35001 }));
        assert_eq!("30000+10".parse(), Ok(PortRange { first: 30000, last: 30010 }));
        assert_eq!("9-3".parse::<PortRange>(), Err(RangeError::EmptyPortRange(9, 3)));
        assert!("0-70000".parse::<PortRange>().is_err());
    }

    #[test]
    fn families() {
        assert_eq!("ipv4,ipv6".parse(), Ok(Families(vec![Family::Ipv4, Family::Ipv6])));
        assert!("ipv4,ipv4".parse::<Families>().is_err());
        assert!("both".parse::<Families>().is_err());
    }
}
