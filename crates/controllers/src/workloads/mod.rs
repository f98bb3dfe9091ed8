//! From workloads to pods: ReplicationController, ReplicaSet, Deployment, StatefulSet, DaemonSet.

pub mod act;
pub mod daemon_set;
pub mod deployment;
pub mod hash;
pub mod replicas;
pub mod revision;
pub mod stateful_set;
