//! What Kubernetes Services mean: pure values and functions.
//!
//! Nothing in this crate does I/O, reads a clock or draws a random number; whatever such a value
//! is needed comes in as an argument, and equal input gives equal output, byte for byte.

pub mod intern;
pub mod names;
pub mod object;
pub mod snapshot;

pub use snapshot::{Dirty, Event, Snapshot};
