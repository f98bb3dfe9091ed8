//! Deployments: a ReplicaSet per pod template, exchanged step by step.
//!
//! `plan` is pure: from the Deployment and its ReplicaSets to what they should be.

mod annotations;
mod controller;
mod plan;
mod rolling;
mod scaling;
mod set;
mod status;

pub use controller::run;
pub(crate) use set::resolve;
