//! Tells the API server what this node has programmed, so that the status of Services can say so.
//!
//! Each proxy keeps one Lease in `kube-node-lease`. Its annotations carry the resource versions up
//! to which Services and EndpointSlices are in the kernel. However much changes, it is written at
//! most once in a [`period`], which grows with the cluster: all proxies together stay at about 50
//! writes a second. News that change nothing here are told late; without any news, the Lease is
//! renewed now and then.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::reached::Revisions;

const NAMESPACE: &str = "kube-node-lease";
/// Nodes whose proxies may each write once a second.
const NODES_PER_SECOND: usize = 50;
/// News that change nothing are told after so many periods.
const IDLE: u32 = 5;
/// The Lease is renewed after so many periods.
const RENEWAL: u32 = 60;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(600);

/// What the kernel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) revisions: Revisions,
    /// How often something was written to the kernel.
    pub(super) passes: u64,
    /// How many nodes the cluster has.
    pub(super) nodes: usize,
}

/// Takes what was applied, without waiting.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<Applied>);

impl Reporter {
    /// A reporter, and the work of writing for it.
    pub(super) fn new(client: Client, node: &str) -> (Self, impl Future<Output = ()> + use<>) {
        let (sender, receiver) = watch::channel(Applied::default());
        (Self(sender), write(client, node.to_owned(), receiver))
    }

    /// Everything that was heard up to `revisions` is in the kernel.
    pub(super) fn applied(&self, revisions: Revisions, changed: bool, nodes: usize) {
        self.0.send_if_modified(|applied| {
            let passes = applied.passes + u64::from(changed);
            let now = Applied { revisions, passes, nodes };
            std::mem::replace(applied, now) != now
        });
    }
}

/// The shortest time between two writes.
fn period(nodes: usize) -> Duration {
    let factor = nodes.div_ceil(NODES_PER_SECOND).max(1);
    Duration::from_secs(1) * u32::try_from(factor).unwrap_or(u32::MAX)
}

/// After a quiet time, large clusters' proxies do not all write at once.
fn spread(node: &str, nodes: usize) -> Duration {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    let part = (hasher.finish() % 1000) as f64 / 1000.0;
    (period(nodes) - period(0)).mul_f64(part)
}

/// When to write: `None` before anything was applied.
fn due(
    node: &str,
    told: Option<(Applied, Instant)>,
    applied: Applied,
    heard: Instant,
) -> Option<Instant> {
    if applied.passes == 0 {
        return None;
    }
    let spread = spread(node, applied.nodes);
    let Some((told, at)) = told else { return Some(heard + spread) };
    let period = period(applied.nodes);
    let renewal = at + period * RENEWAL;
    Some(if applied.passes != told.passes {
        (at + period).max(heard + spread)
    } else if applied.revisions != told.revisions {
        (at + period * IDLE).min(renewal)
    } else {
        renewal
    })
}

fn lease(node: &str, revisions: Revisions, now: Timestamp) -> Value {
    json!({
        "metadata": {
            "labels": {"portolan/component": "proxy"},
            "annotations": {
                "portolan/applied-services": revisions.services.to_string(),
                "portolan/applied-endpointslices": revisions.endpoint_slices.to_string(),
            },
        },
        "spec": {
            "holderIdentity": node,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        },
    })
}

async fn write(client: Client, node: String, mut news: watch::Receiver<Applied>) {
    let api: Api<Lease> = Api::namespaced(client, NAMESPACE);
    let name = format!("portolan-proxy.{node}");
    let mut told = None;
    let mut heard = Instant::now();
    let mut retry = FIRST_RETRY;
    let mut not_before: Option<Instant> = None;
    loop {
        let applied = *news.borrow_and_update();
        let at = due(&node, told, applied, heard);
        let at = at.map(|at| at.max(not_before.unwrap_or(at)));
        let wait = async {
            sleep_until(at?).await;
            Some(())
        };
        tokio::select! {
            biased;
            Some(()) = wait => {}
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                heard = Instant::now();
                continue;
            }
        }
        let mut body = lease(&node, applied.revisions, Timestamp::now());
        match put(&api, &name, &mut body).await {
            Ok(()) => {
                told = Some((applied, Instant::now()));
                retry = FIRST_RETRY;
                not_before = None;
            }
            Err(error) => {
                let refused = matches!(&error, kube::Error::Api(status) if status.code == 403);
                if refused && retry == FIRST_RETRY {
                    tracing::warn!(lease = %format!("{NAMESPACE}/{name}"), %error, "may not report what this node has programmed: give the proxy get, create and patch of Leases there");
                    retry = LAST_RETRY;
                } else {
                    tracing::debug!(%error, "not reported what this node has programmed, trying again");
                }
                not_before = Some(Instant::now() + retry);
                retry = (retry * 2).min(if refused { LAST_RETRY } else { LAST_RETRY / 20 });
            }
        }
    }
}

async fn put(api: &Api<Lease>, name: &str, body: &mut Value) -> Result<(), kube::Error> {
    let patch = Patch::Merge(&*body);
    match api.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            body["metadata"]["name"] = name.into();
            let lease = serde_json::from_value(body.take()).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(revision: u64, passes: u64, nodes: usize) -> Applied {
        let revisions = Revisions { services: revision, endpoint_slices: revision };
        Applied { revisions, passes, nodes }
    }

    #[test]
    fn changes_are_told_soon_and_the_rest_late() {
        let now = Instant::now();
        let due = |told, applied| due("a", told, applied, now).map(|at| at - now);
        assert_eq!(due(None, applied(5, 0, 3)), None);
        assert_eq!(due(None, applied(5, 1, 3)), Some(Duration::ZERO));
        let told = Some((applied(5, 1, 3), now));
        assert_eq!(due(told, applied(6, 2, 3)), Some(period(3)));
        assert_eq!(due(told, applied(6, 1, 3)), Some(period(3) * IDLE));
        assert_eq!(due(told, applied(5, 1, 3)), Some(period(3) * RENEWAL));
        assert_eq!(period(3), Duration::from_secs(1));
    }

    #[test]
    fn large_clusters_write_no_more_than_small_ones() {
        for nodes in [1, 50, 51, 1000, 5000] {
            let rate = nodes as f64 / period(nodes).as_secs_f64();
            assert!(rate <= NODES_PER_SECOND as f64, "{nodes} nodes write {rate} times a second");
        }
        let now = Instant::now();
        let spread: std::collections::BTreeSet<_> = (0..100)
            .filter_map(|n| due(&format!("n{n}"), None, applied(1, 1, 5000), now))
            .collect();
        assert!(spread.len() > 50, "they do not write at once");
        assert!(spread.iter().all(|at| *at - now < period(5000)));
    }
}
