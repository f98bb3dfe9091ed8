//! The node's proxy: from the API server's Services to the kernel's tables.
//!
//! [`run`] follows the API server, derives what this node is to do, and has a datapath do it. When
//! it stops, the kernel's state stays: connections and Services go on, and the next start adopts
//! what is there.

mod config;
mod conntrack;
pub mod datapath;
mod events;
mod explain;
mod health;
mod http;
mod looking;
mod metrics;
mod reconcile;
mod report;
mod sweeping;
#[cfg(test)]
mod tests;
mod tuning;

pub use config::ProxyConfig;
pub use datapath::MODES;
pub use explain::{ExplainError, Explanation, Query, explain};
pub use reconcile::{Error, run};
pub use tuning::Conntrack;

use datapath::{Host, ModeError};

/// Removes everything that any mode of this proxy put into this network namespace.
pub fn cleanup(host: &Host) -> Result<(), ModeError> {
    datapath::clear(None, host)
}
