//! Which slices to create, update and delete so that they hold what is wanted, with few writes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    hints::{self, Hints},
    packing,
    slice::{Wanted, port_key},
};
use crate::context::SERVICE_NAME;

/// The label that names who writes a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// When the change happened that a write tells of.
pub(super) const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create(Box<EndpointSlice>),
    Update(Box<EndpointSlice>),
    Delete(Arc<EndpointSlice>),
}

/// What slices have in common.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) managed_by: &'static str,
    pub(super) labels: BTreeMap<String, String>,
    /// All annotations; `None` for slices whose annotations tell when they changed.
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) owner: OwnerReference,
    /// Slices of another owner are taken over, not deleted.
    pub(super) adopts: bool,
    /// New slices may be made: their owner is not being deleted.
    pub(super) grows: bool,
    /// When the owner was made: what its first slices tell of.
    pub(super) created: Option<Timestamp>,
    /// The most endpoints in one slice.
    pub(super) max: usize,
    pub(super) hints: Hints,
}

impl Shape {
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(SERVICE_NAME.into(), self.service.clone());
        labels.insert(MANAGED_BY.into(), self.managed_by.into());
        labels
    }

    pub(super) fn slice(
        &self,
        address_type: &str,
        ports: &[EndpointPort],
        endpoints: Vec<Endpoint>,
    ) -> EndpointSlice {
        EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(generate_name(&self.service)),
                namespace: Some(self.namespace.clone()),
                labels: Some(self.labels()),
                annotations: self.annotations.clone().filter(|a| !a.is_empty()),
                owner_references: Some(vec![self.owner.clone()]),
                ..Default::default()
            },
            address_type: address_type.into(),
            endpoints: Some(endpoints),
            ports: Some(ports.to_vec()),
        }
    }

    fn owns(&self, slice: &EndpointSlice) -> bool {
        let owners = slice.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|o| o.uid == self.owner.uid && o.kind == self.owner.kind)
    }

    /// Whether a slice's metadata are as they should be.
    pub(super) fn fits(&self, slice: &EndpointSlice) -> bool {
        let meta = &slice.metadata;
        let annotations = |wanted: &BTreeMap<String, String>| match &meta.annotations {
            Some(annotations) => annotations == wanted,
            None => wanted.is_empty(),
        };
        meta.labels.as_ref() == Some(&self.labels())
            && self.annotations.as_ref().is_none_or(annotations)
            && self.owns(slice)
    }

    /// An existing slice with other contents.
    pub(super) fn rewritten(
        &self,
        slice: &EndpointSlice,
        ports: Option<&[EndpointPort]>,
        endpoints: Vec<Endpoint>,
    ) -> EndpointSlice {
        let mut slice = slice.clone();
        slice.metadata.labels = Some(self.labels());
        if self.annotations.is_some() {
            slice.metadata.annotations = self.annotations.clone();
        }
        if !self.owns(&slice) {
            slice.metadata.owner_references = Some(vec![self.owner.clone()]);
        }
        if let Some(ports) = ports {
            slice.ports = Some(ports.to_vec());
        }
        slice.endpoints = Some(endpoints);
        slice
    }
}

/// A prefix for names that leaves room for the suffix.
fn generate_name(service: &str) -> String {
    let mut prefix = service.to_string();
    prefix.truncate(56);
    format!("{prefix}-")
}

fn same_ports(slice: &EndpointSlice, ports: &[EndpointPort]) -> bool {
    let mut existing: Vec<_> = slice.ports.iter().flatten().map(port_key).collect();
    let mut wanted: Vec<_> = ports.iter().map(port_key).collect();
    existing.sort();
    wanted.sort();
    existing == wanted
}

/// The slices of one address type, sorted by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) keep: Vec<Arc<EndpointSlice>>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
    /// The earliest change of a pod that the writes tell of.
    pub(super) triggered: Option<Timestamp>,
}

/// All writes for a Service, and what became of its topology hints.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub(super) actions: Vec<Action>,
    /// For each address type, why there are no hints by capacity although they were asked for.
    pub(super) hints: BTreeMap<&'static str, Result<(), String>>,
}

/// Plans the writes for all slices of a Service. `existing` are those that `shape.managed_by` writes.
pub(super) fn plan(shape: &Shape, wanted: &Wanted, existing: &[Arc<EndpointSlice>]) -> Planned {
    let mut planned = Planned::default();
    let (mut creates, mut deletes) = (Vec::new(), Vec::new());
    let mut left: Vec<Arc<EndpointSlice>> =
        existing.iter().filter(|s| s.metadata.deletion_timestamp.is_none()).cloned().collect();
    let old: HashMap<Option<String>, Arc<EndpointSlice>> =
        left.iter().map(|s| (s.metadata.name.clone(), s.clone())).collect();
    if !shape.adopts {
        // Those of an earlier Service of the same name are for the garbage collector, too.
        let foreign: Vec<_> = left.extract_if(.., |s| !shape.owns(s)).collect();
        deletes.extend(foreign.into_iter().map(Action::Delete));
    }
    let mut triggered = left.is_empty().then_some(shape.created).flatten();
    let is_new = triggered.is_some();
    for address_type in &wanted.types {
        let mine: Vec<_> = left.extract_if(.., |s| s.address_type == *address_type).collect();
        let mut draft = draft(shape, wanted, address_type, mine);
        if let Some(result) = hints::apply(&shape.hints, &mut draft) {
            planned.hints.insert(address_type, result);
        }
        recycle(shape, &mut draft);
        if !is_new {
            triggered = triggered.into_iter().chain(draft.triggered).min();
        }
        if shape.grows {
            creates.append(&mut draft.create);
        }
        // Hints may come out as they were.
        draft.update.retain(|slice| old.get(&slice.metadata.name).is_none_or(|o| **o != *slice));
        planned.actions.extend(draft.update.into_iter().map(|s| Action::Update(Box::new(s))));
        deletes.extend(draft.delete.into_iter().map(Action::Delete));
    }
    let mut actions: Vec<_> = creates.into_iter().map(|s| Action::Create(Box::new(s))).collect();
    actions.append(&mut planned.actions);
    if shape.annotations.is_none() {
        for action in &mut actions {
            tell_when(action, triggered);
        }
    }
    actions.append(&mut deletes);
    actions.extend(left.into_iter().map(Action::Delete));
    planned.actions = actions;
    planned
}

fn tell_when(action: &mut Action, triggered: Option<Timestamp>) {
    let (Action::Create(slice) | Action::Update(slice)) = action else { return };
    let annotations = &mut slice.metadata.annotations;
    match triggered {
        Some(time) => {
            annotations.get_or_insert_default().insert(TRIGGERED.into(), time.to_string());
        }
        None => {
            if let Some(annotations) = annotations {
                annotations.remove(TRIGGERED);
            }
        }
    }
}

/// Plans one address type.
fn draft(
    shape: &Shape,
    wanted: &Wanted,
    address_type: &'static str,
    mut left: Vec<Arc<EndpointSlice>>,
) -> Draft {
    let mut draft = Draft::default();
    for group in wanted.groups.iter().filter(|g| g.address_type == address_type) {
        let mine: Vec<_> = left.extract_if(.., |s| same_ports(s, &group.ports)).collect();
        packing::pack(shape, group, &mine, &wanted.since, &mut draft);
    }
    // A Service without endpoints keeps one empty slice of each type, so that all can see that it was looked at.
    let empty = draft.create.is_empty() && draft.update.is_empty() && draft.keep.is_empty();
    if empty && shape.annotations.is_none() {
        let placeholder = |s: &Arc<EndpointSlice>| {
            s.ports.as_ref().is_none_or(Vec::is_empty)
                && s.endpoints.as_ref().is_none_or(Vec::is_empty)
        };
        left.append(&mut draft.delete);
        match left.iter().position(placeholder) {
            Some(at) => {
                let placeholder = left.remove(at);
                if shape.fits(&placeholder) {
                    draft.keep.push(placeholder);
                } else {
                    draft.update.push(shape.rewritten(&placeholder, None, Vec::new()));
                }
            }
            None => draft.create.push(shape.slice(address_type, &[], Vec::new())),
        }
    }
    draft.delete.append(&mut left);
    draft
}

/// Turns a deletion and a creation into one update.
fn recycle(shape: &Shape, draft: &mut Draft) {
    while let (Some(_), Some(_)) = (draft.create.last(), draft.delete.last()) {
        let (Some(new), Some(old)) = (draft.create.pop(), draft.delete.pop()) else { return };
        let endpoints = new.endpoints.unwrap_or_default();
        let ports = new.ports.unwrap_or_default();
        draft.update.push(shape.rewritten(&old, Some(&ports), endpoints));
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
