//! The node half of Portolan: what runs on every machine of a cluster.

pub mod agent;
pub mod dns;
pub mod pods;
