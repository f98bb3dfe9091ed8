//! Whether the nodes have programmed a Service's last change.
//!
//! A change of the Service itself makes it unprogrammed at once. Its endpoints change all the
//! time: they only count when a node has not followed within [`grace`], so that the condition
//! does not flap. A Service is judged when it changes, not when nodes come: what one new node
//! lacks is not written into every Service.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Service};
use tokio::time::Instant;

use super::{
    conditions::{Say, Verdict},
    reports::Revisions,
};
use crate::cache::Key;

/// A node with this label is not waited for: it runs no proxy that reports.
const EXCLUDED: &str = "portolan/exclude-from-programmed";
/// A Service with this label is another proxy's (`service.kubernetes.io/service-proxy-name`).
const FOREIGN: &str = "service.kubernetes.io/service-proxy-name";
/// So many nodes' names are told.
const NAMED: usize = 5;

/// How long nodes may take: proxies report at most once a second in small clusters, less often in
/// large ones, so that the cluster's reports together stay at 50 a second.
pub(super) fn grace(nodes: usize) -> Duration {
    Duration::from_secs(10) * u32::try_from(nodes.div_ceil(50).max(1)).unwrap_or(u32::MAX)
}

/// The last changes of one Service.
#[derive(Clone, Copy, Debug)]
struct Need {
    latest: Revisions,
    /// What is waited for, and since when. While there is always something newer, a node that
    /// keeps up is behind the latest and not behind this.
    asked: Revisions,
    since: Instant,
    /// The Service itself changed, not only its endpoints.
    itself: bool,
}

/// What Services need and what nodes have.
#[derive(Debug, Default)]
pub(super) struct Programming {
    needs: HashMap<Key, Need>,
    /// Services whose last change is not on all nodes, as far as was seen.
    pending: HashSet<Key>,
    /// `None` for reports that cannot be compared.
    reports: BTreeMap<String, Option<Revisions>>,
}

/// Whether the nodes' proxies have anything to do for a Service.
pub(super) fn concerns(service: &Service) -> bool {
    let Some(spec) = service.spec.as_ref() else { return false };
    let address = spec.cluster_ip.as_deref().unwrap_or("");
    let foreign = service.metadata.labels.as_ref().is_some_and(|l| l.contains_key(FOREIGN));
    spec.type_.as_deref() != Some("ExternalName") && !matches!(address, "" | "None") && !foreign
}

/// Whether a node is waited for.
pub(super) fn counts(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref());
    let ready =
        conditions.unwrap_or_default().iter().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && labels.is_none_or(|l| !l.contains_key(EXCLUDED))
}

impl Programming {
    /// A node reports.
    pub(super) fn report(&mut self, node: &str, revisions: Option<Revisions>) {
        self.reports.insert(node.to_owned(), revisions);
    }

    /// A node's Lease is gone.
    pub(super) fn forget_node(&mut self, node: &str) {
        self.reports.remove(node);
    }

    /// A Service changed. At the first sight after a start (`cold`), when it did is not known.
    pub(super) fn service_changed(
        &mut self,
        key: Key,
        revisions: Revisions,
        now: Instant,
        cold: bool,
    ) {
        let need = self.need(key, now);
        need.latest.services = need.latest.services.max(revisions.services);
        need.latest.slices = need.latest.slices.max(revisions.slices);
        need.asked = need.latest;
        need.itself = !cold;
        need.since = now;
    }

    /// A slice of a Service changed.
    pub(super) fn slice_changed(&mut self, key: Key, revision: u64, now: Instant) {
        let settled = !self.pending.contains(&key);
        let need = self.need(key, now);
        need.latest.slices = need.latest.slices.max(revision);
        if settled {
            need.asked = need.latest;
            need.since = now;
            need.itself = false;
        }
    }

    pub(super) fn forget_service(&mut self, key: &Key) {
        self.needs.remove(key);
        self.pending.remove(key);
    }

    fn need(&mut self, key: Key, now: Instant) -> &mut Need {
        self.pending.insert(key.clone());
        let none = Revisions::default();
        let new = Need { latest: none, asked: none, since: now, itself: false };
        self.needs.entry(key).or_insert(new)
    }

    /// The Services that wait and that all of these nodes now satisfy.
    pub(super) fn satisfied(&self, nodes: &[Arc<Node>]) -> Vec<Key> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        let mut floor = Revisions { services: u64::MAX, slices: u64::MAX };
        for node in nodes.iter().filter(|n| counts(n)) {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let Some(Some(has)) = self.reports.get(name) else { return Vec::new() };
            floor.services = floor.services.min(has.services);
            floor.slices = floor.slices.min(has.slices);
        }
        let done = |key: &&Key| self.needs.get(*key).is_some_and(|n| floor.covers(n.latest));
        self.pending.iter().filter(done).cloned().collect()
    }

    /// The Services that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Key> {
        self.pending.iter()
    }

    /// What is to be said of a Service, and when to look again. `said` is whether anything was
    /// said before.
    pub(super) fn decide(
        &mut self,
        key: &Key,
        nodes: &[Arc<Node>],
        said: bool,
        now: Instant,
    ) -> (Say, Option<Duration>) {
        let Some(mut need) = self.needs.get(key).copied() else { return (Say::Same, None) };
        let done = "Every ready node has programmed the last change";
        if !self.pending.contains(key) {
            let say = if said { Say::Same } else { Say::This(Verdict::yes("Programmed", done)) };
            return (say, None);
        }
        let counted = nodes.iter().filter(|n| counts(n));
        let names: Vec<&str> = counted.filter_map(|n| n.metadata.name.as_deref()).collect();
        if names.is_empty() {
            let message = "No node is ready";
            return (Say::This(Verdict::unknown("NoReadyNodes", message)), None);
        }
        let has = |name: &str| self.reports.get(name).copied().flatten();
        let covered =
            |what: Revisions| names.iter().all(|n| has(n).is_some_and(|h| h.covers(what)));
        if covered(need.latest) {
            self.pending.remove(key);
            return (Say::This(Verdict::yes("Programmed", done)), None);
        }
        if covered(need.asked) {
            need = Need { asked: need.latest, since: now, itself: false, ..need };
            self.needs.insert(key.clone(), need);
        }
        let mut late = Vec::new();
        let mut silent = 0;
        for name in &names {
            match has(name) {
                Some(has) if has.covers(need.asked) => {}
                Some(_) => late.push((*name).to_owned()),
                None => {
                    silent += 1;
                    late.push(format!("{name} (its proxy does not report)"));
                }
            }
        }
        if silent == names.len() {
            let message = "No node's proxy reports what it has programmed";
            return (Say::This(Verdict::unknown("NotReported", message)), None);
        }
        let patience = grace(names.len());
        let waited = now.saturating_duration_since(need.since);
        if waited < patience {
            let applying =
                || Say::This(Verdict::no("Applying", "The nodes are programming the last change"));
            let say = if need.itself || !said { applying() } else { Say::Same };
            return (say, Some(patience - waited));
        }
        let more = late.len().saturating_sub(NAMED);
        let count = late.len();
        late.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "{count} of {} ready nodes have not programmed the last change: {}{more}",
            names.len(),
            late.join(", ")
        );
        (Say::This(Verdict::no("NodesLagging", message)), None)
    }
}

#[cfg(test)]
#[path = "programming_tests.rs"]
mod tests;
