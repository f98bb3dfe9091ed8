//! StatefulSets: pods with names of their own, started, updated and stopped in order.

mod controller;
mod identity;
mod plan;
mod status;

pub use controller::run;
