//! Events about Services whose addresses this proxy does not serve.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use portolan_model::Desired;
use portolan_model::desired::Refused;
use portolan_model::object::ObjectName;
use serde_json::json;

/// The reason of the events.
pub(super) const REASON: &str = "AddressNotServed";

/// Tells of refused addresses: each once for as long as it is refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: BTreeSet<(ObjectName, Refused)>,
}

impl Refusals {
    /// Logs what is new and returns it for [`write`].
    pub(super) fn news(&mut self, desired: &Desired) -> Vec<(ObjectName, Refused)> {
        let now: BTreeSet<_> =
            desired.refused().map(|(name, refused)| (name.clone(), *refused)).collect();
        let new: Vec<_> = now.difference(&self.told).cloned().collect();
        self.told = now;
        for (service, Refused { address, kind, why }) in &new {
            if why.is_mistake() {
                tracing::warn!(%service, %address, ?kind, why = why.as_str(), "an address of a Service is not served; take it out of the Service");
            } else {
                tracing::info!(%service, %address, ?kind, why = why.as_str(), "an address of a Service is not served here");
            }
        }
        new.into_iter().filter(|(_, refused)| refused.why.is_mistake()).collect()
    }
}

/// Writes an event for each. Its name is made of what it tells, so that the first node to write
/// it writes it for all.
pub(super) async fn write(client: Client, node: String, refused: Vec<(ObjectName, Refused)>) {
    for (name, refused) in refused {
        // Proxies may list Services, not get them.
        let services = Api::<Service>::namespaced(client.clone(), &name.namespace);
        let named = ListParams::default().fields(&format!("metadata.name={}", name.name));
        let found = services.list(&named).await.ok().and_then(|list| list.items.into_iter().next());
        let Some(uid) = found.and_then(|service| service.metadata.uid) else { continue };
        let mut hasher = DefaultHasher::new();
        (&uid, &refused).hash(&mut hasher);
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = json!({
            "metadata": {
                "name": format!("{}.{:x}", name.name, hasher.finish()),
                "namespace": &*name.namespace,
            },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Service", "uid": uid,
                "namespace": &*name.namespace, "name": &*name.name,
            },
            "type": "Warning", "reason": REASON,
            "message": format!("{} is not served: {}", refused.address, refused.why.as_str()),
            "source": {"component": "kube-proxy", "host": &node},
            "reportingComponent": "kube-proxy", "reportingInstance": &node,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        });
        let result = match serde_json::from_value::<Event>(event) {
            Ok(event) => {
                let events = Api::<Event>::namespaced(client.clone(), &name.namespace);
                events.create(&PostParams::default(), &event).await.map(drop)
            }
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        match result {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => tracing::debug!(%error, service = %name, "an event was not written"),
            Ok(()) => {}
        }
    }
}
