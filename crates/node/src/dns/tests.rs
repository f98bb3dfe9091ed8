//! The server on loopback sockets, asked with messages that the `domain` crate builds and reads.

mod answers;
mod cluster;
mod corefiles;
mod encrypted;
mod forwarding;
mod harness;
mod protocol;
mod reloading;
mod slow;
mod specification;
mod upstreams;
mod zones;
