//! The ServiceCIDR controller: the `Ready` condition of every range that Services get addresses
//! from, and the finalizer that keeps a range as long as an address would be left without one.

mod controller;
mod plan;

pub use controller::run;
