//! Garbage collection by owner references: an object goes with the last of its owners.
//!
//! In the background (the default) dependents go after their owner; in the foreground the owner waits,
//! under its finalizer, for those that block it; with `orphan` they are let go.

mod controller;
mod decide;
pub mod discovery;
mod graph;

pub use controller::run;
