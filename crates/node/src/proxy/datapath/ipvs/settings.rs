//! How mode `ipvs` is set up: kube-proxy's `--ipvs-…` flags.

use std::time::Duration;

use ipnet::IpNet;
use portolan_linux::ipvs::Timeouts;

/// What is asked for beyond Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--ipvs-scheduler`: who gets the next connection.
    pub scheduler: String,
    /// `--ipvs-exclude-cidrs`: virtual servers of others live there.
    pub exclude: Vec<IpNet>,
    /// `--ipvs-strict-arp`: links do not answer for Services' addresses.
    pub strict_arp: bool,
    /// `--ipvs-tcp-timeout`, `--ipvs-tcpfin-timeout`, `--ipvs-udp-timeout`; zero leaves the
    /// kernel's.
    pub tcp_timeout: Duration,
    pub tcp_fin_timeout: Duration,
    pub udp_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scheduler: SCHEDULERS[0].to_owned(),
            exclude: vec![],
            strict_arp: false,
            tcp_timeout: Duration::ZERO,
            tcp_fin_timeout: Duration::ZERO,
            udp_timeout: Duration::ZERO,
        }
    }
}

/// The kernel's schedulers, the default first.
pub const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "lblc", "lblcr", "fo", "ovf", "twos"];

impl Settings {
    pub(super) fn timeouts(&self) -> Timeouts {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Timeouts {
            tcp: seconds(self.tcp_timeout),
            tcp_fin: seconds(self.tcp_fin_timeout),
            udp: seconds(self.udp_timeout),
        }
    }
}
