//! Safe words for the Linux facilities that Portolan stands on.
//!
//! This is the only crate of the workspace where `unsafe` compiles, and each block says why it
//! is sound. It knows nothing of Services, pods or nodes: namespaces, links, routes, mounts,
//! cgroups and processes only.

pub mod bpf;
pub mod cgroup;
pub mod conntrack;
pub mod datagram;
mod error;
pub mod foreign;
pub mod iptables;
pub mod ipvs;
pub mod link;
pub mod local;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod neighbour;
pub mod netlink;
pub mod netns;
pub mod nftables;
pub mod process;
pub mod pty;
pub mod route;
pub mod rtnl;
pub mod sock_diag;
pub mod splice;
pub mod sysctl;
pub mod watch;

pub use error::{Attempt, Failed};
