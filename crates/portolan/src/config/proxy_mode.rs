//! `--proxy-mode`: which datapath carries the Services' packets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The modes by their flag names. Only those with a datapath in this build can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// The best that this machine and this build offer.
    #[default]
    Auto,
    Ebpf,
    Nftables,
    Iptables,
    Userspace,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyModeError {
    #[error(
        "mode {0} has no datapath in this version yet; use ebpf, nftables, iptables, userspace or auto"
    )]
    NotYet(String),
    #[error(
        "there is no mode {0:?}; the modes are ebpf, nftables, iptables, ipvs, userspace and auto, of which ebpf, nftables, iptables, userspace and auto work in this version"
    )]
    Unknown(String),
}

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
            "ipvs" => Err(ProxyModeError::NotYet(text.to_owned())),
            other => Err(ProxyModeError::Unknown(other.to_owned())),
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
            ProxyMode::Userspace => "userspace",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_to_come_say_so() {
        assert_eq!("auto".parse(), Ok(ProxyMode::Auto));
        assert_eq!("ebpf".parse(), Ok(ProxyMode::Ebpf));
        assert_eq!("nftables".parse(), Ok(ProxyMode::Nftables));
        assert_eq!("iptables".parse(), Ok(ProxyMode::Iptables));
        assert_eq!("userspace".parse(), Ok(ProxyMode::Userspace));
        let error = "ipvs".parse::<ProxyMode>().expect_err("ipvs");
        assert_eq!(
            error.to_string(),
            "mode ipvs has no datapath in this version yet; use ebpf, nftables, iptables, userspace or auto"
        );
        assert!("nft".parse::<ProxyMode>().expect_err("nft").to_string().contains("no mode"));
    }
}
