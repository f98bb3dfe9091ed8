//! What a write claims and releases beside its object; see [`crate::resource::Claims`].

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use serde_json::{Value, json};

use super::meta;
use crate::cache::{node_port_key, object_key, store_key, to_stored};
use crate::resource::{self, ClaimKey, Claims, ClusterConfig, Resource};
use crate::server::Server;
use crate::store::{Expect, Operation, Revision};

/// The claims of one transaction, on top of those that are committed.
pub(crate) struct Pending<'a> {
    server: &'a Server,
    /// The new owner, or `None` for what was released.
    changed: HashMap<ClaimKey, Option<String>>,
}

/// The row of `IPAddress` objects, which stand for the claims of cluster IPs.
pub(crate) fn ip_addresses() -> Option<&'static Resource> {
    resource::find("networking.k8s.io", "v1", "ipaddresses")
}

impl<'a> Pending<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        Self { server, changed: HashMap::new() }
    }

    /// Who holds a key by an earlier commit, and since which revision.
    pub(crate) fn committed(&self, key: &ClaimKey) -> Option<(Revision, String)> {
        match key {
            ClaimKey::NodePort(port) => self
                .server
                .cache
                .node_port_owner(*port)
                .map(|(revision, owner)| (revision, (*owner).to_owned())),
            ClaimKey::ClusterIp(ip) => {
                let table = self.server.cache.table_of(ip_addresses()?)?;
                let object = self.server.cache.get(table, &ip.to_string())?;
                Some((object.revision, owner_of(&object.value())))
            }
        }
    }

    /// The transaction's operations for what changed.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut changed: Vec<_> = self.changed.iter().collect();
        changed.sort_by_key(|(key, _)| match key {
            ClaimKey::ClusterIp(ip) => (0, ip.to_string()),
            ClaimKey::NodePort(port) => (1, port.to_string()),
        });
        for (key, owner) in changed {
            let committed = self.committed(key);
            if committed.as_ref().map(|(_, owner)| owner) == owner.as_ref() {
                continue;
            }
            let expect =
                committed.map_or(Expect::Absent, |(revision, _)| Expect::Revision(revision));
            let Some(store_key) = claim_store_key(key) else { continue };
            operations.push(match owner {
                Some(owner) => {
                    Operation::Put { key: store_key, value: claim_value(key, owner), expect }
                }
                None => Operation::Delete { key: store_key, expect },
            });
        }
        operations
    }
}

pub(crate) fn claim_store_key(key: &ClaimKey) -> Option<Arc<str>> {
    match key {
        ClaimKey::NodePort(port) => Some(node_port_key(*port)),
        ClaimKey::ClusterIp(ip) => Some(store_key(ip_addresses()?, "", &ip.to_string())),
    }
}

pub(crate) fn claim_value(key: &ClaimKey, owner: &str) -> Bytes {
    match key {
        ClaimKey::NodePort(_) => Bytes::copy_from_slice(owner.as_bytes()),
        ClaimKey::ClusterIp(ip) => to_stored(&ip_address(*ip, owner)),
    }
}

/// The `IPAddress` object of an owner given as `namespace/name`.
fn ip_address(ip: IpAddr, owner: &str) -> Value {
    let (namespace, name) = owner.split_once('/').unwrap_or(("", owner));
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": ip.to_string(),
            "uid": meta::new_uid(),
            "creationTimestamp": meta::now(),
            "generation": 1,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": family,
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {
            "parentRef": {
                "group": "", "resource": "services", "namespace": namespace, "name": name,
            },
        },
    })
}

/// `namespace/name` of the Service that an `IPAddress` object belongs to.
pub(crate) fn owner_of(ip_address: &Value) -> String {
    let parent = &ip_address["spec"]["parentRef"];
    let text = |field: &str| parent[field].as_str().unwrap_or_default();
    object_key(text("namespace"), text("name"))
}

impl Claims for Pending<'_> {
    fn config(&self) -> &ClusterConfig {
        &self.server.config.cluster
    }

    fn is_claimed(&self, key: &ClaimKey) -> bool {
        match self.changed.get(key) {
            Some(owner) => owner.is_some(),
            None => match key {
                ClaimKey::NodePort(port) => self.server.cache.node_port_owner(*port).is_some(),
                ClaimKey::ClusterIp(ip) => {
                    let table = ip_addresses().and_then(|r| self.server.cache.table_of(r));
                    table.is_some_and(|t| self.server.cache.get(t, &ip.to_string()).is_some())
                }
            },
        }
    }

    fn owner(&self, key: &ClaimKey) -> Option<String> {
        match self.changed.get(key) {
            Some(owner) => owner.clone(),
            None => self.committed(key).map(|(_, owner)| owner),
        }
    }

    fn claim(&mut self, key: ClaimKey, owner: &str) {
        self.changed.insert(key, Some(owner.to_owned()));
    }

    fn release(&mut self, key: ClaimKey) {
        self.changed.insert(key, None);
    }

    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let table = self.server.cache.table_of(resource)?;
        let object = self.server.cache.get(table, &object_key(namespace, name))?;
        Some(Arc::new(object.value()))
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}
