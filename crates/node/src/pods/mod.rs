//! Pods as processes: what the kubelet does on other nodes.
//!
//! The agent ([`crate::agent`]) watches the pods bound to its node and runs a [`worker`] for
//! each. A worker makes the pod's [`sandbox`] (network, host name and IPC namespaces) and its
//! [`volumes`], then starts containers through [`shim`]s, which are the containers' parents and
//! outlive the agent. Everything a worker must remember lies in files below the run directory.

mod environment;
mod events;
mod exec;
mod files;
pub mod images;
mod ipam;
pub(crate) mod manager;
mod objects;
mod probe;
mod runtime;
pub(crate) mod sandbox;
pub mod server;
pub mod shim;
mod status;
mod volumes;
mod worker;

pub(crate) use runtime::Runtime;

/// An error with everything that it says caused it, on one line.
pub(crate) fn report(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
