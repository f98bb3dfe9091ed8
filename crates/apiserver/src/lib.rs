//! A Kubernetes-compatible API server as one tower service over a versioned store.

pub mod apply;
pub mod discovery;
pub mod patch;
pub mod resource;
pub mod schema;
pub mod selector;
