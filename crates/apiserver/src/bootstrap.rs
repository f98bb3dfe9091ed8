//! What every cluster has, made and kept by the server itself: the first namespaces, the Service
//! `kubernetes` with its endpoints, the `ServiceCIDR`; and the repair of claims at start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cache::{Query, TableId, node_port_key, object_key, store_key, to_stored};
use crate::handlers::{self, claim_value, owner_of};
use crate::resource::{ClaimKey, Claims, ClusterConfig, Resource};
use crate::server::Server;
use crate::status::ApiError;
use crate::store::{Expect, Operation, Transaction};

/// The namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const NAME: &str = "kubernetes";
/// How long an Event is kept after it was seen last.
const EVENT_SECONDS: i64 = 3600;
/// Operations of one repairing transaction.
const BATCH: usize = 256;

impl Server {
    /// Everything that must exist before the first request.
    pub(crate) async fn bootstrap(&self) -> Result<(), ApiError> {
        for name in NAMESPACES {
            let object = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            });
            self.ensure("", "namespaces", object, &[]).await?;
        }
        self.repair_claims().await?;
        self.reconcile().await
    }

    /// Makes and mends what describes the server itself.
    pub(crate) async fn reconcile(&self) -> Result<(), ApiError> {
        let cidrs: Vec<String> =
            self.config.cluster.service_ranges.iter().map(ToString::to_string).collect();
        let now = handlers::now();
        let cidr = json!({
            "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": NAME},
            "spec": {"cidrs": cidrs},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "",
                "message": "Kubernetes default Service CIDR is ready",
                "lastTransitionTime": now}]},
        });
        self.ensure("networking.k8s.io", "servicecidrs", cidr, &["spec"]).await?;
        let Some(advertise) = self.config.advertise else { return Ok(()) };
        self.ensure_service(advertise).await?;
        self.ensure("", "endpoints", endpoints(advertise), &["subsets"]).await?;
        let slice = endpoint_slice(advertise);
        let fields = &["addressType", "endpoints", "ports"];
        self.ensure("discovery.k8s.io", "endpointslices", slice, fields).await
    }

    async fn ensure_service(&self, advertise: SocketAddr) -> Result<(), ApiError> {
        let Some(first) = self.config.cluster.service_ranges.first() else { return Ok(()) };
        let Some(address) = first_address(first.network()) else { return Ok(()) };
        let service = json!({
            "kind": "Service", "apiVersion": "v1",
            "metadata": {"name": NAME, "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"type": "ClusterIP", "clusterIP": address.to_string(),
                "clusterIPs": [address.to_string()], "sessionAffinity": "None",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443,
                    "targetPort": advertise.port()}]},
            "status": {"loadBalancer": {}},
        });
        let (resource, table) = self.find("", "services")?;
        if let Some(found) = self.cache.get(table, &object_key("default", NAME)) {
            let mut old = found.value();
            let same = old["spec"]["clusterIP"] == service["spec"]["clusterIP"];
            if same && old["spec"]["ports"] == service["spec"]["ports"] {
                return Ok(());
            }
            let key = store_key(resource, "default", NAME);
            let expect = Expect::Revision(found.revision);
            if same {
                tracing::warn!("the ports of Service default/kubernetes are put right");
                old["spec"]["ports"] = service["spec"]["ports"].clone();
                let put = Operation::Put { key, value: to_stored(&old), expect };
                self.commit(Transaction { operations: vec![put] }).await?;
                return Ok(());
            }
            tracing::warn!(%address, "Service default/kubernetes gets the first address of the range");
            let mut operations = vec![Operation::Delete { key, expect }];
            operations.extend(self.claims_of(resource, &old).into_iter().filter_map(|key| {
                let key = claim_key(&key)?;
                Some(Operation::Delete { key, expect: Expect::Any })
            }));
            self.commit(Transaction { operations }).await?;
        }
        handlers::bootstrap(self, resource, table, service).await
    }

    fn find(&self, group: &str, plural: &str) -> Result<(&'static Resource, TableId), ApiError> {
        self.cache.find(group, plural).ok_or_else(ApiError::no_such_resource)
    }

    /// Creates the object, or puts those of its fields right that differ.
    async fn ensure(
        &self,
        group: &str,
        plural: &str,
        object: Value,
        fields: &[&str],
    ) -> Result<(), ApiError> {
        let (resource, table) = self.find(group, plural)?;
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let Some(found) = self.cache.get(table, &object_key(namespace, name)) else {
            return handlers::bootstrap(self, resource, table, object).await;
        };
        let mut current = found.value();
        if fields.iter().all(|field| current[*field] == object[*field]) {
            return Ok(());
        }
        tracing::info!(kind = resource.kind, namespace, name, "put right");
        for field in fields {
            current[*field] = object[*field].clone();
        }
        let key = store_key(resource, namespace, name);
        let expect = Expect::Revision(found.revision);
        let put = Operation::Put { key, value: to_stored(&current), expect };
        self.commit(Transaction { operations: vec![put] }).await?;
        Ok(())
    }

    /// Deletes the Events that were seen last more than an hour ago, as kube-apiserver's
    /// `--event-ttl` does.
    pub(crate) async fn expire_events(&self) -> Result<(), ApiError> {
        let (resource, table) = self.find("", "events")?;
        let oldest = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(EVENT_SECONDS);
        let listed = self.cache.list(table, &Query::default(), &|_| true);
        let objects = listed.map(|(page, _)| page.objects).unwrap_or_default();
        let mut operations = Vec::new();
        for object in objects {
            let event = object.value();
            if last_seen(&event).is_none_or(|seen| seen >= oldest) {
                continue;
            }
            let text = |field: &str| event["metadata"][field].as_str().unwrap_or_default();
            let key = store_key(resource, text("namespace"), text("name"));
            operations.push(Operation::Delete { key, expect: Expect::Any });
        }
        for batch in operations.chunks(BATCH) {
            self.commit(Transaction { operations: batch.to_vec() }).await?;
        }
        Ok(())
    }

    /// What an object holds: what its strategy would release with it.
    fn claims_of(&self, resource: &Resource, object: &Value) -> Vec<ClaimKey> {
        let mut released = Released { config: &self.config.cluster, keys: Vec::new() };
        // Releasing asks for nothing, so it cannot be refused.
        let _ = resource.strategy.allocate(&mut released, None, Some(object));
        released.keys
    }

    /// Compares claims with the Services that should hold them. Both are committed together, so
    /// differences come from outside: a copied file, a hand-made `IPAddress`, another program.
    async fn repair_claims(&self) -> Result<(), ApiError> {
        let (services, table) = self.find("", "services")?;
        let everything = |_: &crate::cache::Object| true;
        let list = |table| {
            let listed = self.cache.list(table, &Query::default(), &everything);
            listed.map(|(page, _)| page.objects).unwrap_or_default()
        };
        let mut wanted: BTreeMap<String, (ClaimKey, String)> = BTreeMap::new();
        for object in list(table) {
            let service = object.value();
            let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default();
            let owner = object_key(text("namespace"), text("name"));
            for key in self.claims_of(services, &service) {
                if let ClaimKey::ClusterIp(ip) = &key
                    && !self.config.cluster.service_ranges.iter().any(|range| range.contains(ip))
                {
                    tracing::warn!(%ip, service = owner,
                        "this address is in no --service-cluster-ip-range; recreate the Service");
                }
                let Some(stored) = claim_key(&key) else { continue };
                if let Some((_, first)) =
                    wanted.insert(stored.to_string(), (key.clone(), owner.clone()))
                {
                    tracing::warn!(
                        ?key,
                        service = owner,
                        other = first,
                        "two Services hold the same; recreate one of them"
                    );
                }
            }
        }
        let (_, addresses) = self.find("networking.k8s.io", "ipaddresses")?;
        let mut held: BTreeMap<String, (ClaimKey, String, u64)> = BTreeMap::new();
        for object in list(addresses) {
            let value = object.value();
            let name = value["metadata"]["name"].as_str().unwrap_or_default();
            let Ok(ip) = name.parse::<IpAddr>() else { continue };
            if value["spec"]["parentRef"]["resource"] != "services" {
                continue;
            }
            let key = ClaimKey::ClusterIp(ip);
            let Some(stored) = claim_key(&key) else { continue };
            held.insert(stored.to_string(), (key, owner_of(&value), object.revision));
        }
        for (port, revision, owner) in self.cache.node_ports() {
            let key = node_port_key(port);
            held.insert(key.to_string(), (ClaimKey::NodePort(port), owner.to_string(), revision));
        }
        let keys: BTreeSet<&String> = wanted.keys().chain(held.keys()).collect();
        let mut operations = Vec::new();
        for stored in keys {
            match (wanted.get(stored), held.get(stored)) {
                (Some((_, owner)), Some((_, known, _))) if owner == known => {}
                (Some((key, owner)), known) => {
                    tracing::warn!(?key, service = %owner, "a missing claim is made");
                    let expect = known.map_or(Expect::Absent, |(.., r)| Expect::Revision(*r));
                    let value = claim_value(key, owner);
                    operations.push(Operation::Put { key: stored.as_str().into(), value, expect });
                }
                (None, Some((key, owner, revision))) => {
                    tracing::warn!(?key, %owner, "a claim that no Service holds is released");
                    let expect = Expect::Revision(*revision);
                    operations.push(Operation::Delete { key: stored.as_str().into(), expect });
                }
                (None, None) => {}
            }
        }
        for batch in operations.chunks(BATCH) {
            self.commit(Transaction { operations: batch.to_vec() }).await?;
        }
        Ok(())
    }
}

fn claim_key(key: &ClaimKey) -> Option<Arc<str>> {
    handlers::claim_store_key(key)
}

/// Listens to what a strategy releases.
struct Released<'a> {
    config: &'a ClusterConfig,
    keys: Vec<ClaimKey>,
}

impl Claims for Released<'_> {
    fn config(&self) -> &ClusterConfig {
        self.config
    }

    fn is_claimed(&self, _key: &ClaimKey) -> bool {
        true
    }

    fn owner(&self, _key: &ClaimKey) -> Option<String> {
        None
    }

    fn claim(&mut self, _key: ClaimKey, _owner: &str) {}

    fn release(&mut self, key: ClaimKey) {
        self.keys.push(key);
    }

    fn get(&self, _resource: &Resource, _namespace: &str, _name: &str) -> Option<Arc<Value>> {
        None
    }

    fn random(&mut self) -> u64 {
        0
    }
}

/// The latest of an Event's times.
fn last_seen(event: &Value) -> Option<jiff::Timestamp> {
    let times = [
        &event["metadata"]["creationTimestamp"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["series"]["lastObservedTime"],
    ];
    times.into_iter().filter_map(|time| time.as_str()?.parse().ok()).max()
}

fn first_address(network: IpAddr) -> Option<IpAddr> {
    Some(match network {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|n| IpAddr::V4(n.into()))?,
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|n| IpAddr::V6(n.into()))?,
    })
}

fn endpoints(advertise: SocketAddr) -> Value {
    json!({
        "kind": "Endpoints", "apiVersion": "v1",
        "metadata": {"name": NAME, "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": advertise.ip().to_string()}],
            "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}],
        }],
    })
}

fn endpoint_slice(advertise: SocketAddr) -> Value {
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": NAME, "namespace": "default",
            "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": if advertise.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{
            "addresses": [advertise.ip().to_string()],
            "conditions": {"ready": true},
        }],
        "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}],
    })
}
