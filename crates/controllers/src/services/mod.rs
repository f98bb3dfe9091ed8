//! A status that tells the truth: the conditions of Services, and events for the same.
//!
//! What each condition means is documented in `docs/reference/service-status.md`.

mod conditions;
mod controller;
mod endpoints;
mod load_balancer;
mod memory;
mod programming;
mod reports;

pub use controller::run;
