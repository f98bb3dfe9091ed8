//! The one table that says which resources exist.
//!
//! Routing, discovery, OpenAPI, printing and storage all derive from [`table`]. A row names a
//! resource as Kubernetes does and points to the [`Strategy`] that knows how its objects are
//! defaulted, validated and joined to the rest of the cluster's state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::Value;

mod addresses;
mod config;
mod endpoint_slice;
mod endpoints;
mod error;
mod event;
mod ingress;
mod ingress_class;
mod ip;
mod lease;
pub(crate) mod meta;
pub(crate) mod names;
mod namespace;
mod node;
mod pod;
#[cfg(test)]
mod random;
mod review;
mod rows;
pub mod scale;
mod service;
mod service_account;
pub(crate) mod value;
pub(crate) mod workload;

pub use error::aggregate;
pub use rows::{find, find_kind, table};
pub(crate) use service::{SHORTEST_V6, claimed_addresses, claimed_ports, covers};

/// A verb of the Kubernetes API, as discovery lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

/// A subresource, with the kind that discovery gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `eviction`, `log`, `exec`, `attach`, `portforward`, `proxy`, `token`.
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [Verb],
}

/// One row of the table.
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub verbs: &'static [Verb],
    pub subresources: &'static [Subresource],
    pub strategy: &'static dyn Strategy,
    /// The group and plural under which the objects are stored, where another row owns them
    /// (`events` of `events.k8s.io` are the core group's). See [`Strategy::to_storage`].
    pub stored_as: Option<(&'static str, &'static str)>,
}

impl Resource {
    /// `v1` for the core group, `group/version` for the others.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The group and plural that name the objects in the store.
    pub fn storage(&self) -> (&'static str, &'static str) {
        self.stored_as.unwrap_or((self.group, self.plural))
    }

    /// Whether objects of this resource are kept at all (reviews are only answered).
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&Verb::Get)
    }

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// `services` or `deployments.apps`: the resource as messages name it.
    pub fn qualified_name(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

impl Verb {
    /// The verb as discovery spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resource({}/{} {})", self.group, self.version, self.plural)
    }
}

/// What the cluster was started with, as far as objects depend on it.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// `--service-cluster-ip-range`: one range, or two of different families, the first primary.
    pub service_ranges: Vec<IpNet>,
    /// `--service-node-port-range`.
    pub node_ports: RangeInclusive<u16>,
}

/// What a strategy may read and claim while a write is prepared.
///
/// A claim is a key that must not exist yet (an `IPAddress` object, a node port's reservation). It
/// is committed in one transaction with the object: either both exist afterwards or neither does,
/// a dry run claims nothing, and of two writers racing for an address one is told to try again.
pub trait Claims {
    fn config(&self) -> &ClusterConfig;
    /// The ranges that cluster IPs are given from at present: those of the `ServiceCIDR` objects
    /// that are ready, the default one first.
    fn ranges(&self) -> Vec<IpNet>;
    /// Whether the key is taken, by an earlier commit or by this transaction.
    fn is_claimed(&self, key: &ClaimKey) -> bool;
    /// The least number of a space that is not claimed and not below `from`.
    fn next_free(&self, space: Space, from: u128) -> Option<u128>;
    /// Claims a free key.
    fn claim(&mut self, key: ClaimKey, owner: &str);
    /// Gives a key back, if it is this owner's.
    fn release(&mut self, key: ClaimKey, owner: &str);
    /// A fresh random number: the only randomness a strategy gets.
    fn random(&mut self) -> u64;
}

/// Something that at most one Service may hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimKey {
    /// Stored as the `IPAddress` object of that name (networking.k8s.io/v1), whose
    /// `spec.parentRef` is the owner.
    ClusterIp(IpAddr),
    /// A node port, whatever its protocol is (as kube-apiserver allocates them), or a
    /// `healthCheckNodePort`. Stored under a key of its own, not served as an object.
    NodePort(u16),
}

/// Where keys are numbers, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Ipv4,
    Ipv6,
    NodePorts,
}

impl ClaimKey {
    pub(crate) fn space(&self) -> Space {
        match self {
            Self::ClusterIp(IpAddr::V4(_)) => Space::Ipv4,
            Self::ClusterIp(IpAddr::V6(_)) => Space::Ipv6,
            Self::NodePort(_) => Space::NodePorts,
        }
    }

    pub(crate) fn number(&self) -> u128 {
        match self {
            Self::ClusterIp(IpAddr::V4(ip)) => u128::from(ip.to_bits()),
            Self::ClusterIp(IpAddr::V6(ip)) => ip.to_bits(),
            Self::NodePort(port) => u128::from(*port),
        }
    }

    /// The key with this number, if the space has it.
    pub(crate) fn of(space: Space, number: u128) -> Option<Self> {
        Some(match space {
            Space::Ipv4 => {
                Self::ClusterIp(IpAddr::V4(Ipv4Addr::from_bits(number.try_into().ok()?)))
            }
            Space::Ipv6 => Self::ClusterIp(IpAddr::V6(Ipv6Addr::from_bits(number))),
            Space::NodePorts => Self::NodePort(number.try_into().ok()?),
        })
    }
}

/// Why an object does not get what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllocateError {
    /// What it asks for cannot be given.
    Invalid(Vec<FieldError>),
    /// It asks for anything, and there is nothing; an `InternalError`, as in kube-apiserver.
    Failed(String),
}

/// How the objects of one resource behave. Every method works on the object as JSON, so that
/// fields newer than the typed structs survive a round trip. Defaults suit a plain resource.
pub trait Strategy: Send + Sync {
    /// Turns an object of this row's group and version into the stored shape. Only rows
    /// with [`Resource::stored_as`] do anything here; `apiVersion` is changed as well.
    fn to_storage(&self, _object: &mut Value) {}

    /// Turns a stored object into the shape of this row's group and version.
    fn to_served(&self, _object: &mut Value) {}

    /// Fills in the defaults that Kubernetes documents for the kind.
    fn apply_defaults(&self, _object: &mut Value) {}

    /// Clears what a client may not set at creation (status, for most kinds).
    fn prepare_for_create(&self, _object: &mut Value) {}

    /// Keeps what a client may not change by an update of the main resource (status, mostly).
    fn prepare_for_update(&self, _object: &mut Value, _old: &Value) {}

    /// For the `status` subresource: keeps all but the status and the metadata that may change.
    fn prepare_for_status_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate_create(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    fn validate_update(&self, _object: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    fn validate_status_update(&self, _object: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Brings an object that passed validation into the form in which it is kept.
    fn canonicalize(&self, _object: &mut Value) {}

    /// Texts for the `Warning` header.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// The same for an update of the status.
    fn status_warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What every request for the resource is warned of, reads included.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// Allocates what the object needs (`object` new or changed) and releases what it no longer
    /// holds (`object` absent: the old one is being removed for good).
    fn allocate(
        &self,
        _claims: &mut dyn Claims,
        _object: Option<&mut Value>,
        _old: Option<&Value>,
    ) -> Result<(), AllocateError> {
        Ok(())
    }

    /// Whether `metadata.generation` counts changes of everything but metadata and status.
    fn counts_generation(&self) -> bool {
        true
    }

    /// The value of a field usable in a field selector beyond `metadata.name` and
    /// `metadata.namespace`; `None` says that the kind does not support the field.
    fn selectable_field(&self, _object: &Value, _field: &str) -> Option<String> {
        None
    }

    /// The fields that [`Strategy::selectable_field`] knows.
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// The grace period in seconds of a delete that asks for `requested`; 0 deletes at once.
    fn grace_period_seconds(&self, _object: &Value, _requested: Option<i64>) -> i64 {
        0
    }
}

/// One complaint about one field, in the form of `k8s.io/apimachinery`'s `field.Error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    /// The path as Kubernetes writes it: `spec.ports[0].nodePort`.
    pub path: String,
    /// The offending value as Go would print it: strings quoted, objects as JSON; empty for
    /// `Required` and `Forbidden`.
    pub value: String,
    pub detail: String,
}

/// `field.ErrorType`; [`FieldErrorKind::reason`] is the cause's `reason` in a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    InternalError,
    TypeInvalid,
}
