//! The node itself: Services' addresses on it, and the kernel's parameters.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use portolan_linux::rtnl::Rtnl;
use portolan_linux::{Attempt, sysctl};

use super::doors::own_addresses;
use super::layout::{LINK, ROUTES};
use super::settings::Settings;

/// How Services' addresses become this node's: IPVS sees only what is delivered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// As addresses of a link that carries no packets.
    Link,
    /// By routes of type `local`, where the kernel has no such kind of link.
    Routes,
}

impl Carrier {
    /// Makes the link if there is none.
    pub(super) fn ready(rtnl: &Rtnl) -> Attempt<Self> {
        if rtnl.link(LINK)?.is_none() {
            match rtnl.add_dummy(LINK) {
                Err(error) if unknown_kind(&error) => return Ok(Self::Routes),
                Err(error) if !error.exists() => return Err(error),
                _ => {}
            }
        }
        // Addresses of IPv6 work on a link that is up only.
        rtnl.set_up(LINK)?;
        Ok(Self::Link)
    }

    pub(super) fn add(self, rtnl: &Rtnl, ip: IpAddr) -> Attempt<()> {
        match self {
            Self::Link => rtnl.add_address(LINK, IpNet::from(ip)),
            Self::Routes => rtnl.add_local(ip, ROUTES),
        }
    }

    pub(super) fn delete(self, rtnl: &Rtnl, ip: IpAddr) -> Attempt<()> {
        match self {
            Self::Link => match rtnl.delete_address(LINK, IpNet::from(ip)) {
                Err(error) if error.missing() => Ok(()),
                other => other,
            },
            Self::Routes => rtnl.delete_local(ip, ROUTES),
        }
    }
}

fn unknown_kind(error: &portolan_linux::Failed) -> bool {
    /// `EOPNOTSUPP`
    const NOT_SUPPORTED: i32 = 95;
    error.raw_os_error() == Some(NOT_SUPPORTED)
}

/// The addresses of a node that runs this mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Services', in either way.
    pub(super) carried: BTreeSet<IpAddr>,
    /// Those of the node that may serve node ports.
    pub(super) own: BTreeSet<IpAddr>,
}

impl Addresses {
    pub(super) fn read(rtnl: &Rtnl) -> Attempt<Self> {
        let link = rtnl.link(LINK)?.map(|link| link.index);
        let all = rtnl.addresses()?;
        let (on_link, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(index, _)| Some(*index) == link);
        let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let mut carried: BTreeSet<IpAddr> =
            on_link.iter().map(|(_, net)| net.addr()).filter(|ip| !link_local(ip)).collect();
        carried.extend(rtnl.locals(ROUTES)?);
        let others = others.iter().map(|(_, net)| net.addr());
        let own = own_addresses(others, &BTreeSet::new());
        Ok(Self { carried, own })
    }
}

/// This namespace's addresses, without those that are there for Services only.
pub(in crate::proxy) fn without_services(rtnl: &Rtnl) -> Attempt<BTreeSet<IpAddr>> {
    let link = rtnl.link(LINK)?.map(|link| link.index);
    let all = rtnl.addresses()?;
    let others = all.iter().filter(|(index, _)| Some(*index) != link);
    Ok(others.map(|(_, net)| net.addr()).collect())
}

/// What IPVS needs to work with netfilter, and to let go of real servers; kube-proxy's settings.
const PARAMETERS: [(&str, &str); 3] = [
    // Without it what IPVS translates cannot be masqueraded.
    ("net.ipv4.vs.conntrack", "1"),
    // Who was kept on a real server without weight gets another.
    ("net.ipv4.vs.expire_quiescent_template", "1"),
    // Connections to a real server that is gone are forgotten, not swallowed.
    ("net.ipv4.vs.expire_nodest_conn", "1"),
];
const REUSE: &str = "net.ipv4.vs.conn_reuse_mode";
/// The first kernel on which a port that is used again does not wait for a second.
const REUSE_IS_GOOD: (u32, u32) = (5, 9);

/// Sets what is not set yet.
pub(super) fn set_parameters(settings: &Settings) -> Attempt<()> {
    let mut all = PARAMETERS.to_vec();
    let release = sysctl::get("kernel.osrelease")?;
    if version(&release).is_some_and(|version| version < REUSE_IS_GOOD) {
        all.push((REUSE, "0"));
    }
    if settings.strict_arp {
        all.extend([
            ("net.ipv4.conf.all.arp_ignore", "1"),
            ("net.ipv4.conf.all.arp_announce", "2"),
        ]);
    }
    for (name, value) in all {
        if sysctl::get(name)? != value {
            sysctl::set(name, value)?;
        }
    }
    Ok(())
}

/// Undoes what [`set_parameters`] did to IPVS, where nobody uses it any more.
pub(super) fn reset_parameters() {
    for (name, _) in PARAMETERS {
        let _ = sysctl::set(name, "0");
    }
    let _ = sysctl::set(REUSE, "1");
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart_by_their_release() {
        assert_eq!(version("6.1.0-57-cloud-amd64"), Some((6, 1)));
        assert!(version("5.4.0").is_some_and(|it| it < REUSE_IS_GOOD));
        assert!(version("5.10-rc1").is_some_and(|it| it >= REUSE_IS_GOOD));
        assert_eq!(version("unknown"), None);
    }
}
