//! DaemonSets: a pod on every node that it fits.

mod controller;
mod plan;
mod pods;

pub use controller::run;
