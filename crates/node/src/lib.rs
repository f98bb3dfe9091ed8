//! The node half of Portolan: what runs on every machine of a cluster.
//!
//! Everything here follows the API server and acts on this node's kernel; nothing but status, events,
//! the node's own Node and its Leases is written back.

pub mod agent;
pub mod dns;
pub mod pods;
pub mod proxy;
pub mod reached;
pub mod reflect;
