//! The server on loopback sockets, asked with messages that the `domain` crate builds and reads.

mod answers;
mod cluster;
mod corefiles;
mod encrypted;
mod forwarding;
mod fuzz;
pub(super) mod harness;
mod logging;
mod metrics;
mod peer;
mod protocol;
mod reloading;
mod scenarios;
mod slow;
mod specification;
mod streams;
mod upstreams;
mod zones;
