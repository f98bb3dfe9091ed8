//! Which nodes a pod can run on, and in Kubernetes' words why not on the others.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::Pod;

use super::{
    Place, View, affinity, resources,
    spread::{self, Counted, Obstacle},
};
use crate::{pod, taints};

/// What is found out once for all nodes.
struct Question<'a> {
    pod: &'a Pod,
    /// Where each required term finds company; `None` for one that the pod itself is the first to satisfy.
    towards: Vec<(&'a str, Option<HashSet<&'a str>>)>,
    away: Vec<(&'a str, HashSet<&'a str>)>,
    forbidden: HashSet<(&'a str, &'a str)>,
    spread: Vec<Counted<'a>>,
}

fn ask<'a>(view: &'a View, of: &'a Pod) -> Question<'a> {
    let terms = affinity::required(of, false);
    let found: Vec<_> = terms.iter().map(|t| affinity::domains(view, of, t)).collect();
    // The first pod of a group that wants to be together finds nobody yet.
    let first = found.iter().all(HashSet::is_empty)
        && terms.iter().all(|t| affinity::means(view, of, t, of));
    let towards = terms
        .iter()
        .zip(found)
        .map(|(t, d)| (t.topology_key.as_str(), (!first).then_some(d)))
        .collect();
    let away = affinity::required(of, true)
        .iter()
        .map(|t| (t.topology_key.as_str(), affinity::domains(view, of, t)))
        .collect();
    Question {
        pod: of,
        towards,
        away,
        forbidden: affinity::forbidden_by_others(view, of),
        spread: spread::count(view, of, "DoNotSchedule"),
    }
}

/// The nodes that fit, and how often each reason kept the pod from one.
pub(super) fn filter<'a>(view: &'a View, of: &Pod) -> (Vec<&'a Place>, BTreeMap<String, usize>) {
    let question = ask(view, of);
    let mut fitting = Vec::new();
    let mut reasons = BTreeMap::new();
    for place in &view.places {
        let obstacles = question.obstacles(place);
        if obstacles.is_empty() {
            fitting.push(place);
        }
        for obstacle in obstacles {
            *reasons.entry(obstacle).or_insert(0) += 1;
        }
    }
    (fitting, reasons)
}

impl Question<'_> {
    /// The reasons of the first rule that a node breaks.
    fn obstacles(&self, place: &Place) -> Vec<String> {
        let one = |reason: &str| vec![reason.to_string()];
        let spec = pod::spec(self.pod);
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        let node_spec = place.node.spec.as_ref();
        if node_spec.and_then(|s| s.unschedulable).unwrap_or(false) {
            let taint = k8s_openapi::api::core::v1::Taint {
                key: taints::UNSCHEDULABLE.into(),
                effect: "NoSchedule".into(),
                ..Default::default()
            };
            if !tolerations.iter().any(|t| taints::tolerates(t, &taint)) {
                return one("node(s) were unschedulable");
            }
        }
        if let Some(taint) =
            taints::untolerated(&place.node, tolerations, &["NoSchedule", "NoExecute"])
        {
            let value = taint.value.as_deref().unwrap_or("");
            return vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)];
        }
        if !affinity::matches_node(self.pod, &place.node) {
            return one("node(s) didn't match Pod's node affinity/selector");
        }
        if place.pods.iter().any(|p| ports_conflict(self.pod, p)) {
            return one("node(s) didn't have free ports for the requested pod ports");
        }
        let lacking = resources::lacking(self.pod, place);
        if !lacking.is_empty() {
            return lacking;
        }
        match self.spread.iter().find_map(|c| c.obstacle(place)) {
            Some(Obstacle::Skew) => {
                return one("node(s) didn't match pod topology spread constraints");
            }
            Some(Obstacle::MissingLabel) => {
                return one(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                );
            }
            None => (),
        }
        let wanted =
            |(key, domains): &(&str, Option<HashSet<&str>>)| match (place.label(key), domains) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(value), Some(domains)) => domains.contains(value),
            };
        if !self.towards.iter().all(wanted) {
            return one("node(s) didn't match pod affinity rules");
        }
        if self
            .away
            .iter()
            .any(|(key, domains)| place.label(key).is_some_and(|v| domains.contains(v)))
        {
            return one("node(s) didn't match pod anti-affinity rules");
        }
        if self.forbidden.iter().any(|(key, value)| place.label(key) == Some(value)) {
            return one("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Vec::new()
    }
}

/// The ports of a node that a pod takes: protocol, address, port.
fn host_ports(of: &Pod) -> impl Iterator<Item = (&str, &str, i32)> {
    let spec = pod::spec(of);
    let network = spec.host_network.unwrap_or(false);
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten()).filter_map(
        move |p| {
            let port = p.host_port.filter(|p| *p > 0).or(network.then_some(p.container_port))?;
            let address = p.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
            Some((p.protocol.as_deref().unwrap_or("TCP"), address, port))
        },
    )
}

fn ports_conflict(a: &Pod, b: &Pod) -> bool {
    let every = |address: &str| address == "0.0.0.0" || address == "::";
    host_ports(a).any(|(protocol, address, port)| {
        host_ports(b).any(|(other_protocol, other, other_port)| {
            protocol == other_protocol
                && port == other_port
                && (address == other || every(address) || every(other))
        })
    })
}
