//! What a frontend's connections are sent to.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An endpoint that this node may dial for a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    pub address: IpAddr,
    pub port: u16,
    /// Whether it runs on this node, so that its answers pass through this node again.
    pub local: bool,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// The backends that share a Service port's connections, each with the same probability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Sorted, without duplicates, never empty.
    pub backends: Arc<[Backend]>,
    /// For how many seconds after its last connection a client keeps its backend.
    pub affinity_seconds: Option<u32>,
}
