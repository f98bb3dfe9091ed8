//! `--proxy-mode`: which datapath carries the Services' packets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The modes by their flag names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// The best that this machine and this build offer.
    #[default]
    Auto,
    Ebpf,
    Nftables,
    Iptables,
    Ipvs,
    Userspace,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no mode {0:?}; the modes are ebpf, nftables, iptables, ipvs, userspace, and auto for the best of them"
)]
pub struct ProxyModeError(String);

impl FromStr for ProxyMode {
    type Err = ProxyModeError;

    fn from_str(text: &str) -> Result<Self, ProxyModeError> {
        match text {
            // kube-proxy's configuration file leaves the mode empty for the platform's default.
            "" | "auto" => Ok(ProxyMode::Auto),
            "ebpf" => Ok(ProxyMode::Ebpf),
            "nftables" => Ok(ProxyMode::Nftables),
            "iptables" => Ok(ProxyMode::Iptables),
            "userspace" => Ok(ProxyMode::Userspace),
            "ipvs" => Ok(ProxyMode::Ipvs),
            other => Err(ProxyModeError(other.to_owned())),
        }
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyMode::Auto => "auto",
            ProxyMode::Ebpf => "ebpf",
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
            ProxyMode::Ipvs => "ipvs",
            ProxyMode::Userspace => "userspace",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_its_name() {
        assert_eq!("".parse(), Ok(ProxyMode::Auto));
        assert_eq!("auto".parse(), Ok(ProxyMode::Auto));
        for row in portolan_node::proxy::MODES {
            let mode: ProxyMode = row.name.parse().expect(row.name);
            assert_eq!(mode.to_string(), row.name);
        }
        assert!("nft".parse::<ProxyMode>().expect_err("nft").to_string().contains("no mode"));
    }
}
