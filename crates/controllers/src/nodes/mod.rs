//! Nodes: their pod networks, their health, and the pods that cannot stay on them.

pub mod eviction;
pub mod health;
mod health_plan;
pub mod ipam;
pub mod pod_gc;
