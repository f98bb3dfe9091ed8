//! The server on loopback sockets, asked with messages that the `domain` crate builds and reads.

mod cluster;
mod forwarding;
mod harness;
mod protocol;
mod reloading;
mod specification;
