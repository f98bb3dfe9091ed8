//! The controllers against the real API server, in one process and without a port.

mod collection;
mod endpoints;
mod nodes;
mod process;
mod service_cidrs;
mod status;
mod support;
mod workloads;
