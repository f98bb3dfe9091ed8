//! A Kubernetes-compatible API server as one tower service over a versioned store.

pub mod resource;
