//! A Kubernetes-compatible API server as one tower service over a versioned store.
//!
//! [`ApiServer::start`] loads the store into the watch cache; [`ApiServer::service`] is the whole
//! API in process, [`serve::serve`] the same over TLS. Which resources there are is said by the one
//! table in [`resource`]; this crate's other modules know verbs, not kinds, with the exceptions
//! that Kubernetes itself makes (namespaces, pods, service accounts).

pub mod admission;
pub mod apply;
pub mod auth;
mod body;
mod bootstrap;
mod cache;
pub mod discovery;
mod handlers;
mod metrics;
pub mod openapi;
pub mod patch;
pub mod pki;
mod protobuf;
mod repair;
mod request;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod serve;
mod server;
mod status;
pub mod store;
pub mod table;

pub use self::body::Body;
pub use self::server::{ApiServer, AuthorizationMode, Config, KubeletClient, Service, StartError};
pub use self::status::ApiError;
