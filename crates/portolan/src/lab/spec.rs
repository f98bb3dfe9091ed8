//! What a lab is asked to be: the flags of `lab up`, checked and completed.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::proxy_mode::ProxyMode;
use crate::config::range::{Families, Family, PortRange, Ranges, join};

/// The most workers a lab takes: a node's address is 172.18.0.(2 + its index).
pub const WORKERS_MAX: u16 = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    pub name: String,
    pub workers: u16,
    pub proxy_mode: ProxyMode,
    /// The primary first.
    pub families: Vec<Family>,
    /// In the order of the families.
    pub service_ranges: Vec<IpNet>,
    pub node_ports: PortRange,
    /// In the order of the families.
    pub cluster_cidrs: Vec<IpNet>,
    pub cluster_domain: String,
    /// Where the kubeconfig goes besides the lab's own directory.
    pub kubeconfig: Option<PathBuf>,
}

/// What the user wrote; `None` is left to [`LabSpec::complete`].
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub name: String,
    pub workers: u16,
    pub proxy_mode: ProxyMode,
    pub families: Option<Families>,
    pub service_ranges: Option<Ranges>,
    pub node_ports: Option<PortRange>,
    pub cluster_cidrs: Option<Ranges>,
    pub cluster_domain: String,
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error(
        "{0:?} is no name for a lab: it takes at most 40 lower-case letters, digits and dashes, with a letter or digit at both ends"
    )]
    Name(String),
    #[error("--workers {0}: at most {WORKERS_MAX}")]
    Workers(u16),
    #[error(
        "{flag} {given} does not fit --ip-families {families}: give one range per family, in the same order"
    )]
    FamilyMismatch { flag: &'static str, given: String, families: String },
    #[error(
        "--cluster-cidr {range}: too small for {nodes} nodes with a /{node_bits} each; use {range_needed} or larger"
    )]
    ClusterCidrTooSmall { range: IpNet, nodes: u16, node_bits: u8, range_needed: String },
    #[error("{first_flag} {first} and {second_flag} {second} overlap; choose ranges apart")]
    Overlap { first_flag: &'static str, first: IpNet, second_flag: &'static str, second: IpNet },
    #[error("--cluster-domain {0:?} is no domain name; an example is cluster.local")]
    Domain(String),
}

/// The prefix length of a node's slice of the cluster CIDR, as kube-controller-manager's defaults.
pub fn node_prefix(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 24,
        Family::Ipv6 => 64,
    }
}

/// The network that the lab's nodes and its outside client share.
pub fn lab_network(family: Family) -> IpNet {
    let (address, prefix): ([u16; 8], u8) = match family {
        Family::Ipv4 => return IpNet::V4(ipnet::Ipv4Net::new_assert([172, 18, 0, 0].into(), 16)),
        Family::Ipv6 => ([0xfd00, 0x172, 0x18, 0, 0, 0, 0, 0], 64),
    };
    IpNet::V6(ipnet::Ipv6Net::new_assert(address.into(), prefix))
}

impl LabSpec {
    /// Names end up in paths and cgroups.
    pub fn check_name(name: &str) -> Result<(), SpecError> {
        let fits = is_label(name) && name.len() <= 40;
        if fits { Ok(()) } else { Err(SpecError::Name(name.to_owned())) }
    }

    /// Checks the wishes against each other and fills in the defaults.
    pub fn complete(wishes: Wishes) -> Result<LabSpec, SpecError> {
        LabSpec::check_name(&wishes.name)?;
        if wishes.workers > WORKERS_MAX {
            return Err(SpecError::Workers(wishes.workers));
        }
        let families = match (&wishes.families, &wishes.service_ranges, &wishes.cluster_cidrs) {
            (Some(families), _, _) => families.0.clone(),
            // Not asked for: as many and as ordered as the ranges that were.
            (None, Some(ranges), _) | (None, None, Some(ranges)) => {
                ranges.0.iter().map(Family::of_net).collect()
            }
            (None, None, None) => vec![Family::Ipv4],
        };
        let service_ranges = ranges_for(
            "--service-cluster-ip-range",
            wishes.service_ranges,
            &families,
            ["10.96.0.0/16", "fd00:10:96::/112"],
        )?;
        let cluster_cidrs = ranges_for(
            "--cluster-cidr",
            wishes.cluster_cidrs,
            &families,
            ["10.244.0.0/16", "fd00:10:244::/56"],
        )?;
        for range in &cluster_cidrs {
            check_room(range, wishes.workers + 1)?;
        }
        check_apart(&families, &service_ranges, &cluster_cidrs)?;
        let domain = wishes.cluster_domain.trim_end_matches('.').to_ascii_lowercase();
        if domain.is_empty() || !domain.split('.').all(is_label) {
            return Err(SpecError::Domain(wishes.cluster_domain));
        }
        Ok(LabSpec {
            name: wishes.name,
            workers: wishes.workers,
            proxy_mode: wishes.proxy_mode,
            families,
            service_ranges,
            node_ports: wishes.node_ports.unwrap_or(PortRange { first: 30000, last: 32767 }),
            cluster_cidrs,
            cluster_domain: domain,
            kubeconfig: wishes.kubeconfig,
        })
    }
}

/// A label of RFC 1123.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            bytes.len() <= 63
                && inner(*first)
                && inner(*last)
                && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
        }
        _ => false,
    }
}

fn ranges_for(
    flag: &'static str,
    given: Option<Ranges>,
    families: &[Family],
    defaults: [&str; 2],
) -> Result<Vec<IpNet>, SpecError> {
    let Some(given) = given else {
        let default = |family: &Family| {
            let text = defaults[usize::from(*family == Family::Ipv6)];
            text.parse().expect("the default range is one")
        };
        return Ok(families.iter().map(default).collect());
    };
    if given.0.iter().map(Family::of_net).eq(families.iter().copied()) {
        return Ok(given.0);
    }
    let words: Vec<_> = families.iter().map(Family::to_string).collect();
    Err(SpecError::FamilyMismatch { flag, given: join(&given.0), families: words.join(",") })
}

fn check_room(range: &IpNet, nodes: u16) -> Result<(), SpecError> {
    let node_bits = node_prefix(Family::of_net(range));
    let slices = node_bits.checked_sub(range.prefix_len()).map_or(0, |bits| 1u64 << bits.min(32));
    if slices >= u64::from(nodes) {
        return Ok(());
    }
    let needed = node_bits - nodes.next_power_of_two().trailing_zeros() as u8;
    Err(SpecError::ClusterCidrTooSmall {
        range: *range,
        nodes,
        node_bits,
        range_needed: format!("a /{needed}"),
    })
}

fn check_apart(
    families: &[Family],
    service_ranges: &[IpNet],
    cluster_cidrs: &[IpNet],
) -> Result<(), SpecError> {
    let nodes = families.iter().map(|family| ("the lab's node network", lab_network(*family)));
    let services = service_ranges.iter().map(|net| ("--service-cluster-ip-range", *net));
    let pods = cluster_cidrs.iter().map(|net| ("--cluster-cidr", *net));
    let all: Vec<_> = services.chain(pods).chain(nodes).collect();
    for (index, (first_flag, first)) in all.iter().enumerate() {
        for (second_flag, second) in &all[index + 1..] {
            if first.contains(second) || second.contains(first) {
                return Err(SpecError::Overlap {
                    first_flag,
                    first: *first,
                    second_flag,
                    second: *second,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            name: "lab".to_owned(),
            workers: 2,
            cluster_domain: "cluster.local".to_owned(),
            ..Wishes::default()
        }
    }

    #[test]
    fn defaults_follow_the_families() {
        let spec = LabSpec::complete(wishes()).expect("the defaults");
        assert_eq!(join(&spec.service_ranges), "10.96.0.0/16");
        let dual = Wishes { families: Some("ipv6,ipv4".parse().expect("families")), ..wishes() };
        let spec = LabSpec::complete(dual).expect("dual stack");
        assert_eq!(join(&spec.service_ranges), "fd00:10:96::/112,10.96.0.0/16");
        assert_eq!(join(&spec.cluster_cidrs), "fd00:10:244::/56,10.244.0.0/16");
    }

    #[test]
    fn families_follow_the_ranges() {
        let ranges = "10.96.0.0/16,fd00:10:96::/112".parse().expect("ranges");
        let spec = LabSpec::complete(Wishes { service_ranges: Some(ranges), ..wishes() })
            .expect("ranges of both families");
        assert_eq!(spec.families, [Family::Ipv4, Family::Ipv6]);
    }

    #[test]
    fn mistakes_name_the_flag_and_the_remedy() {
        let message = |wishes| LabSpec::complete(wishes).expect_err("a mistake").to_string();
        assert!(
            message(Wishes { name: "My Lab".into(), ..wishes() }).contains("no name for a lab")
        );
        assert!(message(Wishes { workers: 300, ..wishes() }).contains("at most 200"));
        let overlapping =
            Wishes { service_ranges: Some("10.244.0.0/20".parse().expect("range")), ..wishes() };
        assert!(message(overlapping).contains("overlap"));
        let small =
            Wishes { cluster_cidrs: Some("10.5.0.0/23".parse().expect("range")), ..wishes() };
        assert!(message(small).contains("use a /22 or larger"));
        let mismatch = Wishes {
            families: Some("ipv6".parse().expect("families")),
            cluster_cidrs: Some("10.5.0.0/16".parse().expect("range")),
            ..wishes()
        };
        assert!(message(mismatch).contains("--ip-families ipv6"));
    }
}
