//! What every name of the cluster resolves to.
//!
//! [`Names`] is an index over Services, EndpointSlices, Namespaces and (when asked for) Pods that
//! answers questions by the Kubernetes DNS-Based Service Discovery specification, version 1.1.
//! One change costs what the one Service costs, however many Services there are.
//!
//! Names go in and out in DNS wire form (length octet, label, …, no root octet) and lower case,
//! relative to the cluster's zone: the index does not know what the zone is called, so one index
//! serves any number of zones.
//!
//! It is made to be small: Services and pods have numbers that other tables point to them by,
//! endpoints without a name of their own are four octets in a sorted list, lists of ports are shared.

mod addresses;
mod answer;
mod hosts;
mod index;
mod label;
mod lookup;
mod pods;
mod ports;
mod service;
mod slice;
mod table;
mod why;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use answer::{Addresses, Answer, HostTarget, PtrTarget, RecordType, Srv, SrvTarget};
pub use index::{Listed, Names};
pub use label::{
    HostLabel, IpLabel, from_reverse, relative_labels, reverse_zones, to_text, to_wire,
};

pub use why::{Objects, candidates, why};

/// How names below `pod.ZONE` are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PodMode {
    /// Every pod name is NXDOMAIN.
    #[default]
    Disabled,
    /// Every name that spells an address resolves to it, whether or not such a pod exists.
    Insecure,
    /// Only addresses of pods that exist in the namespace.
    Verified,
}

/// What the index serves; the defaults are CoreDNS's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameOptions {
    pub pods: PodMode,
    /// Endpoints without a hostname are named after their pod instead of their address.
    pub endpoint_pod_names: bool,
    /// A ClusterIP Service without a ready endpoint is NXDOMAIN.
    pub ignore_empty_service: bool,
    /// The only namespaces served; empty means all of them.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Names below `svc` and `pod` exist only in namespaces that are known as objects: those are
    /// chosen by their labels. Addresses have their names wherever they are, as in CoreDNS.
    pub declared_namespaces_only: bool,
}
