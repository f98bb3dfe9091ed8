//! What every cluster has, made and kept by the server itself: the first namespaces, the Service
//! `kubernetes` with its endpoints, the `ServiceCIDR`.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::cache::{Query, object_key, store_key, to_stored};
use crate::handlers::{self, DEFAULT_RANGE};
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
        self.ensure_range().await?;
        self.repair_at_start().await?;
        self.reconcile().await
    }

    /// Makes and mends what describes the server itself.
    pub(crate) async fn reconcile(&self) -> Result<(), ApiError> {
        self.ensure_range().await?;
        let Some(advertise) = self.config.advertise else { return Ok(()) };
        self.ensure_service(advertise).await?;
        self.ensure("", "endpoints", endpoints(advertise), &["subsets"]).await?;
        let slice = endpoint_slice(advertise);
        let fields = &["addressType", "endpoints", "ports"];
        self.ensure("discovery.k8s.io", "endpointslices", slice, fields).await
    }

    /// The `ServiceCIDR` of the flag. As in Kubernetes the object, once made, counts more than the
    /// flag, which may only add a second family.
    async fn ensure_range(&self) -> Result<(), ApiError> {
        let ranges = self.config.cluster.service_ranges.iter();
        let cidrs: Vec<String> = ranges.map(ToString::to_string).collect();
        let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "",
            "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": handlers::now()}]});
        let (resource, table) = self.find("networking.k8s.io", "servicecidrs")?;
        let Some(found) = self.cache.get(table, DEFAULT_RANGE) else {
            let cidr = json!({
                "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
                "metadata": {"name": DEFAULT_RANGE},
                "spec": {"cidrs": cidrs},
                "status": ready,
            });
            return handlers::bootstrap(self, resource, table, cidr).await;
        };
        let mut current = found.value();
        if handlers::is_terminating(&current) {
            return Ok(());
        }
        let known: Vec<String> = current["spec"]["cidrs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect();
        if known == cidrs {
            let conditions = current["status"]["conditions"].as_array();
            let told = conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready"));
            if told {
                return Ok(());
            }
            current["status"] = ready;
        } else if known.len() == 1 && cidrs.len() == 2 && known[0] == cidrs[0] {
            tracing::info!(?cidrs, "the default ServiceCIDR gets a second family");
            current["spec"]["cidrs"] = cidrs.into();
        } else {
            if !self.mismatch_told.swap(true, Ordering::Relaxed) {
                self.report_mismatch(&current, &known, &cidrs).await;
            }
            return Ok(());
        }
        let put = Operation::Put {
            key: store_key(resource, "", DEFAULT_RANGE),
            value: to_stored(&current),
            expect: Expect::Revision(found.revision),
        };
        self.commit(Transaction { operations: vec![put] }).await?;
        Ok(())
    }

    /// `default/kubernetes`. Its address, once given, stays, as in Kubernetes.
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
        let Some(found) = self.cache.get(table, &object_key("default", NAME)) else {
            let made = handlers::bootstrap(self, resource, table, service).await;
            return match made {
                // Somebody has the address, or no range holds it: others are served meanwhile.
                Err(error) if error.code == http::StatusCode::UNPROCESSABLE_ENTITY => {
                    tracing::warn!(%error, "Service default/kubernetes is not made; it is tried again");
                    Ok(())
                }
                made => made,
            };
        };
        let mut old = found.value();
        if old["spec"]["ports"] == service["spec"]["ports"] {
            return Ok(());
        }
        tracing::warn!("the ports of Service default/kubernetes are put right");
        old["spec"]["ports"] = service["spec"]["ports"].clone();
        let key = store_key(resource, "default", NAME);
        let expect = Expect::Revision(found.revision);
        let put = Operation::Put { key, value: to_stored(&old), expect };
        self.commit(Transaction { operations: vec![put] }).await?;
        Ok(())
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
