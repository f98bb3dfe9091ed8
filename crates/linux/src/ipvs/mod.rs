//! IPVS: the kernel's virtual servers, through generic netlink (`linux/ip_vs.h`).
//!
//! A virtual server is an address, protocol and port (or a packet mark) whose connections a
//! scheduler hands out to real servers. Everything is in the network namespace of the thread that
//! opened the handle.

mod control;
mod wire;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::netlink::NetlinkError;

pub use control::{Edit, Ipvs};
pub use wire::Step;

/// IPVS could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum IpvsError {
    #[error("this kernel has no IPVS: it needs the option CONFIG_IP_VS, or its module ip_vs")]
    Missing,
    #[error("this kernel has no IPVS scheduler {0}: it needs its module ip_vs_{0}")]
    Scheduler(String),
    #[error("cannot {0}")]
    Step(String, #[source] NetlinkError),
    #[error("cannot speak with IPVS")]
    Netlink(#[from] NetlinkError),
}

/// What a virtual server is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerKey {
    Address {
        ip: IpAddr,
        /// `IPPROTO_*`.
        protocol: u8,
        port: u16,
    },
    /// Packets with that mark, whatever they dial.
    Mark { mark: u32, ipv6: bool },
}

impl ServerKey {
    pub fn is_ipv6(&self) -> bool {
        match self {
            Self::Address { ip, .. } => ip.is_ipv6(),
            Self::Mark { ipv6, .. } => *ipv6,
        }
    }
}

/// As ipvsadm(8) prints it.
impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { ip, protocol, port } => {
                let protocol = match protocol {
                    6 => "TCP",
                    17 => "UDP",
                    132 => "SCTP",
                    _ => "protocol ?",
                };
                write!(f, "{protocol} {}", SocketAddr::new(*ip, *port))
            }
            Self::Mark { mark, ipv6: false } => write!(f, "FWM {mark}"),
            Self::Mark { mark, ipv6: true } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A virtual server, but for its real servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    pub key: ServerKey,
    /// `rr`, `wlc`, …
    pub scheduler: String,
    /// Whether a client is kept on the real server that it had.
    pub persistent: bool,
    /// For how many seconds; the kernel keeps the number for servers that are not persistent too.
    pub timeout: u32,
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// With their destination translated, and answers' source back again.
    Masquerade,
    /// In a way that nobody of ours uses; the kernel's number for it.
    Other(u32),
}

/// A real server of a virtual server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealServer {
    pub address: SocketAddr,
    pub forward: Forward,
    /// With 0 it takes no new connection and keeps those that it has.
    pub weight: u32,
    /// Connections that are established, and all others that the kernel remembers.
    pub active: u32,
    pub inactive: u32,
}

/// For how many seconds the kernel remembers a silent connection; 0 leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub tcp: u32,
    pub tcp_fin: u32,
    pub udp: u32,
}

/// Whether the kernel has IPVS ready for the calling thread's network namespace. Asking loads no
/// module.
pub fn is_ready() -> bool {
    Path::new("/proc/thread-self/net/ip_vs").exists()
}
