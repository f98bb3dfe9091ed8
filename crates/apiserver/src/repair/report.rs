//! Findings become Events about the object, so that `kubectl describe` shows them.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::plan::{About, Finding};
use crate::cache::{object_key, store_key, to_stored};
use crate::handlers;
use crate::server::Server;
use crate::status::ApiError;
use crate::store::{Expect, Operation, Transaction};

/// The longest name of an object that an Event's name repeats.
const LONGEST: usize = 200;

/// An Event's subject.
struct Subject<'a> {
    api_version: &'static str,
    kind: &'static str,
    namespace: &'a str,
    name: String,
    uid: &'a str,
}

fn subject(about: &About) -> Subject<'_> {
    match about {
        About::Service { key, uid } => {
            let (namespace, name) = key.split_once('/').unwrap_or(("", key));
            Subject { api_version: "v1", kind: "Service", namespace, name: name.to_owned(), uid }
        }
        About::Address { ip, uid } => Subject {
            api_version: "networking.k8s.io/v1",
            kind: "IPAddress",
            namespace: "",
            name: ip.to_string(),
            uid,
        },
        About::Range { name, uid } => Subject {
            api_version: "networking.k8s.io/v1",
            kind: "ServiceCIDR",
            namespace: "",
            name: name.clone(),
            uid,
        },
    }
}

/// The same for the same finding, which is thus counted, after a restart and by other servers too.
fn event_name(finding: &Finding, subject: &Subject<'_>) -> String {
    let mut hash = Sha256::new();
    for part in [finding.component, subject.uid, finding.reason, &finding.message] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let name: String = subject.name.replace(':', "-").chars().take(LONGEST).collect();
    // An IPv6 address may begin or end with colons.
    format!("{}.{number:016x}", name.trim_matches('-'))
}

fn event(finding: &Finding, subject: &Subject<'_>, namespace: &str, name: &str) -> Value {
    let now = handlers::now();
    let mut involved = json!({
        "apiVersion": subject.api_version, "kind": subject.kind, "name": subject.name,
        "uid": subject.uid,
    });
    if !subject.namespace.is_empty() {
        involved["namespace"] = subject.namespace.into();
    }
    json!({
        "kind": "Event", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved,
        "type": "Warning", "reason": finding.reason, "message": finding.message,
        "source": {"component": finding.component},
        "reportingComponent": finding.component, "reportingInstance": "",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}

impl Server {
    /// Says that the default `ServiceCIDR` is not what the flag asks for.
    pub(crate) async fn report_mismatch(&self, cidr: &Value, known: &[String], asked: &[String]) {
        let list = |cidrs: &[String]| format!("[{}]", cidrs.join(" "));
        let text = |field: &str| cidr["metadata"][field].as_str().unwrap_or_default().to_owned();
        let finding = Finding {
            component: "kubernetes-service-cidr-controller",
            about: About::Range { name: text("name"), uid: text("uid") },
            reason: "KubernetesDefaultServiceCIDRInconsistent",
            message: format!(
                "The default ServiceCIDR {} does not match the controller flag configurations {}",
                list(known),
                list(asked)
            ),
        };
        if let Err(error) = self.report(&finding).await {
            tracing::debug!(%error, "the event was not written");
        }
    }

    pub(super) async fn report(&self, finding: &Finding) -> Result<(), ApiError> {
        let Finding { reason, message, .. } = finding;
        tracing::warn!(about = ?finding.about, reason, "{message}");
        let subject = subject(&finding.about);
        let namespace = match subject.namespace {
            "" => "default",
            namespace => namespace,
        };
        let (resource, table) = self.find("", "events")?;
        let name = event_name(finding, &subject);
        let Some(found) = self.cache.get(table, &object_key(namespace, &name)) else {
            let event = event(finding, &subject, namespace, &name);
            self.admit_namespace(resource, &event)?;
            return handlers::bootstrap(self, resource, table, event).await;
        };
        let mut event = found.value();
        event["count"] = (event["count"].as_i64().unwrap_or(0) + 1).into();
        event["lastTimestamp"] = handlers::now().into();
        let put = Operation::Put {
            key: store_key(resource, namespace, &name),
            value: to_stored(&event),
            expect: Expect::Revision(found.revision),
        };
        self.commit(Transaction { operations: vec![put] }).await?;
        Ok(())
    }
}
