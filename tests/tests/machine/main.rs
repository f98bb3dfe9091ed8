//! What a lab does to the machine and what a machine may do to a lab: nothing is left behind,
//! nothing is lost when a part dies, mistakes get help, the interface is as written.

mod bpf;
mod churn;
mod interface;
mod leftovers;
mod mistakes;
mod modes;
mod restarts;
mod rolling;
mod status;
