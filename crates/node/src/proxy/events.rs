//! Events about Services whose addresses this proxy does not serve, and about a node whose kernel
//! has no room for them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use portolan_model::Desired;
use portolan_model::desired::Refused;
use portolan_model::object::ObjectName;
use serde_json::json;

/// The reason of the events about Services.
pub(super) const REASON: &str = "AddressNotServed";
/// The reason of the events about nodes.
pub(super) const FULL: &str = "ServiceTablesFull";
/// Where events about nodes are.
const NODES: &str = "default";

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
        let event = Warning {
            name: format!("{}.{:x}", name.name, hasher.finish()),
            namespace: &name.namespace,
            about: json!({
                "apiVersion": "v1", "kind": "Service", "uid": uid,
                "namespace": &*name.namespace, "name": &*name.name,
            }),
            reason: REASON,
            message: format!("{} is not served: {}", refused.address, refused.why.as_str()),
        };
        event.create(&client, &node).await;
    }
}

/// Writes that the kernel of this node is full.
pub(super) async fn write_full(client: Client, node: String, message: String) {
    let nodes = Api::<Node>::all(client.clone());
    let found = nodes.get_opt(&node).await.ok().flatten();
    let uid = found.and_then(|node| node.metadata.uid);
    let event = Warning {
        name: format!("{node}.{:x}", Timestamp::now().as_nanosecond()),
        namespace: NODES,
        about: json!({ "apiVersion": "v1", "kind": "Node", "name": &node, "uid": uid }),
        reason: FULL,
        message,
    };
    event.create(&client, &node).await;
}

struct Warning<'a> {
    name: String,
    namespace: &'a str,
    about: serde_json::Value,
    reason: &'static str,
    message: String,
}

impl Warning<'_> {
    /// One that is there already is no error; without any, the cluster goes on as well.
    async fn create(self, client: &Client, node: &str) {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = json!({
            "metadata": { "name": &self.name, "namespace": self.namespace },
            "involvedObject": self.about,
            "type": "Warning", "reason": self.reason, "message": self.message,
            "source": {"component": "kube-proxy", "host": node},
            "reportingComponent": "kube-proxy", "reportingInstance": node,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        });
        let result = match serde_json::from_value::<Event>(event) {
            Ok(event) => {
                let events = Api::<Event>::namespaced(client.clone(), self.namespace);
                events.create(&PostParams::default(), &event).await.map(drop)
            }
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        match result {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => tracing::debug!(%error, event = self.name, "an event was not written"),
            Ok(()) => {}
        }
    }
}
