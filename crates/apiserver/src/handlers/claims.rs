//! What a write claims and releases beside its object; see [`crate::resource::Claims`].

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::meta;
use super::ranges::ServiceRanges;
use crate::cache::{node_port_key, object_key, store_key, to_stored};
use crate::resource::{self, AllocateError, ClaimKey, Claims, ClusterConfig, Resource, Space};
use crate::server::Server;
use crate::status::ApiError;
use crate::store::{Expect, Operation, Revision};

/// Who made an `IPAddress` object: kube-apiserver's value of the label.
pub(crate) const MANAGED_BY: &str = "ipallocator.k8s.io";
pub(crate) const MANAGED_BY_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
pub(crate) const FAMILY_LABEL: &str = "ipaddress.kubernetes.io/ip-family";

/// The claims of one transaction, on top of those that are committed.
pub(crate) struct Pending<'a> {
    server: &'a Server,
    ranges: OnceCell<Arc<ServiceRanges>>,
    changed: HashMap<ClaimKey, Claim>,
}

/// What becomes of a key. The owner is `namespace/name`.
enum Claim {
    Taken(String),
    Released(String),
}

/// The row of `IPAddress` objects, which stand for the claims of cluster IPs.
pub(crate) fn ip_addresses() -> Option<&'static Resource> {
    resource::find("networking.k8s.io", "v1", "ipaddresses")
}

impl<'a> Pending<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        Self { server, ranges: OnceCell::new(), changed: HashMap::new() }
    }

    fn service_ranges(&self) -> &ServiceRanges {
        self.ranges.get_or_init(|| self.server.service_ranges())
    }

    /// Who holds a key by an earlier commit, and since which revision.
    fn committed(&self, key: &ClaimKey) -> Option<(Revision, String)> {
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
    ///
    /// A new claim always demands that nobody has the key: what was free when it was chosen may
    /// have been taken since.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut changed: Vec<_> = self.changed.iter().collect();
        changed.sort_by_key(|(key, _)| (key.space() as usize, key.number()));
        for (key, claim) in changed {
            let Some(store_key) = claim_store_key(key) else { continue };
            match claim {
                Claim::Taken(owner) => {
                    let value = claim_value(key, owner);
                    operations.push(Operation::Put {
                        key: store_key,
                        value,
                        expect: Expect::Absent,
                    });
                    if let ClaimKey::ClusterIp(ip) = key {
                        operations.extend(self.service_ranges().check(*ip));
                    }
                }
                Claim::Released(owner) => {
                    if let Some((revision, holder)) = self.committed(key)
                        && holder == *owner
                    {
                        let expect = Expect::Revision(revision);
                        operations.push(Operation::Delete { key: store_key, expect });
                    }
                }
            }
        }
        // Two families of one `ServiceCIDR` ask the same.
        let mut seen = hashbrown::HashSet::new();
        operations.retain(|operation| seen.insert(operation.key().clone()));
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

pub(crate) fn family_of(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The `IPAddress` object of an owner given as `namespace/name`.
fn ip_address(ip: IpAddr, owner: &str) -> Value {
    let (namespace, name) = owner.split_once('/').unwrap_or(("", owner));
    json!({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": ip.to_string(),
            "uid": meta::new_uid(),
            "creationTimestamp": meta::now(),
            "generation": 1,
            "labels": {FAMILY_LABEL: family_of(ip), MANAGED_BY_LABEL: MANAGED_BY},
        },
        "spec": {
            "parentRef": {
                "group": "", "resource": "services", "namespace": namespace, "name": name,
            },
        },
    })
}

/// `namespace/name` of the Service that an `IPAddress` object belongs to; empty when it belongs to
/// something else.
pub(crate) fn owner_of(ip_address: &Value) -> String {
    let parent = &ip_address["spec"]["parentRef"];
    let text = |field: &str| parent[field].as_str().unwrap_or_default();
    if (text("group"), text("resource")) != ("", "services") {
        return String::new();
    }
    object_key(text("namespace"), text("name"))
}

impl ApiError {
    /// What a client hears when its object cannot have what it needs.
    pub(crate) fn not_allocated(resource: &Resource, name: &str, error: AllocateError) -> Self {
        match error {
            AllocateError::Invalid(errors) => Self::invalid(resource, name, &errors),
            AllocateError::Failed(text) => Self::internal(text),
        }
    }
}

impl Claims for Pending<'_> {
    fn config(&self) -> &ClusterConfig {
        &self.server.config.cluster
    }

    fn ranges(&self) -> Vec<IpNet> {
        let ready = self.service_ranges().all.iter().filter(|range| range.ready);
        ready.map(|range| range.net).collect()
    }

    /// What this transaction releases is free after it, not within it.
    fn is_claimed(&self, key: &ClaimKey) -> bool {
        self.changed.contains_key(key)
            || self.server.cache.next_free(key.space(), key.number()) != Some(key.number())
    }

    fn next_free(&self, space: Space, from: u128) -> Option<u128> {
        let mut number = self.server.cache.next_free(space, from)?;
        loop {
            let key = ClaimKey::of(space, number)?;
            if !self.changed.contains_key(&key) {
                return Some(number);
            }
            number = self.server.cache.next_free(space, number.checked_add(1)?)?;
        }
    }

    fn claim(&mut self, key: ClaimKey, owner: &str) {
        self.changed.insert(key, Claim::Taken(owner.to_owned()));
    }

    fn release(&mut self, key: ClaimKey, owner: &str) {
        self.changed.insert(key, Claim::Released(owner.to_owned()));
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{CommitError, Transaction};
    use crate::{ApiServer, Config};

    async fn start() -> ApiServer {
        ApiServer::start(Arc::new(MemoryStore::new()), Config::default()).await.expect("it starts")
    }

    async fn commit(server: &Server, pending: Pending<'_>) -> Result<Revision, CommitError> {
        server.commit(Transaction { operations: pending.into_operations() }).await
    }

    #[tokio::test]
    async fn what_was_taken_meanwhile_is_not_taken_over() {
        let api = start().await;
        let ip = "10.96.3.4".parse().unwrap();
        for key in [ClaimKey::NodePort(30500), ClaimKey::ClusterIp(ip)] {
            let mut slow = Pending::new(&api.server);
            assert!(!slow.is_claimed(&key));
            slow.claim(key.clone(), "default/slow");
            let mut fast = Pending::new(&api.server);
            fast.claim(key.clone(), "default/fast");
            commit(&api.server, fast).await.expect("it was free");
            let lost = commit(&api.server, slow).await;
            assert!(matches!(lost, Err(CommitError::Failed { .. })), "{key:?}: {lost:?}");
            assert_eq!(Pending::new(&api.server).committed(&key).unwrap().1, "default/fast");
        }
    }

    #[tokio::test]
    async fn nobody_gives_back_what_another_has() {
        let api = start().await;
        let key = ClaimKey::NodePort(30500);
        let mut mine = Pending::new(&api.server);
        mine.claim(key.clone(), "default/mine");
        commit(&api.server, mine).await.expect("it was free");
        let mut theirs = Pending::new(&api.server);
        theirs.release(key.clone(), "default/theirs");
        assert!(theirs.is_claimed(&key), "it is free only after the commit");
        commit(&api.server, theirs).await.expect("it changes nothing");
        assert!(Pending::new(&api.server).is_claimed(&key));
    }

    #[tokio::test]
    async fn a_range_that_changed_meanwhile_gives_nothing() {
        let api = start().await;
        let server = &api.server;
        let cidrs = resource::find("networking.k8s.io", "v1", "servicecidrs").unwrap();
        let key = store_key(cidrs, "", "more");
        let cidr = json!({"kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}});
        let put = Transaction::new().put(key.clone(), to_stored(&cidr), Expect::Absent);
        server.commit(put).await.unwrap();
        let ip = "10.97.0.7".parse().unwrap();
        let mut pending = Pending::new(server);
        assert_eq!(pending.ranges().len(), 2);
        pending.claim(ClaimKey::ClusterIp(ip), "default/a");
        let mut marked = cidr.clone();
        marked["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let put = Transaction::new().put(key, to_stored(&marked), Expect::Any);
        server.commit(put).await.unwrap();
        let lost = commit(server, pending).await;
        assert!(matches!(lost, Err(CommitError::Failed { .. })), "{lost:?}");
        assert_eq!(Pending::new(server).ranges().len(), 1);
        assert!(server.service_ranges().covers(ip), "it is still somebody's range");
    }

    #[tokio::test]
    async fn the_next_free_one_is_free_within_the_transaction_too() {
        let api = start().await;
        let mut pending = Pending::new(&api.server);
        for port in [30000, 30001, 30003] {
            pending.claim(ClaimKey::NodePort(port), "default/a");
        }
        assert_eq!(pending.next_free(Space::NodePorts, 30000), Some(30002));
        assert_eq!(pending.next_free(Space::NodePorts, 30003), Some(30004));
        assert_eq!(pending.next_free(Space::NodePorts, 70000), None);
    }
}
