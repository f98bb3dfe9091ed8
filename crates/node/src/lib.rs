//! The node half of Portolan: what runs on every machine of a cluster.

pub mod dns;
