//! A cluster of several nodes on one machine, each in a network namespace of its own.
//!
//! `plan` decides (names, addresses, processes; pure), the rest acts: `supervisor` is the detached
//! process that owns the lab, `up`, `down`, `exec` … are what the commands do from outside it.

pub mod control;
pub mod credentials;
pub mod down;
pub mod exec;
pub mod http;
pub mod images;
pub mod network;
pub mod paths;
pub mod plan;
pub mod pods;
pub mod process;
pub mod query;
pub mod relay;
pub mod requirements;
pub mod restart;
pub mod spec;
pub mod status;
pub mod supervisor;
pub mod up;
