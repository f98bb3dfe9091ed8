//! Which slices to create, update and delete so that they hold what is wanted, with few writes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::{
    api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::slice::{Group, Wanted, port_key};
use crate::context::SERVICE_NAME;

/// The label that names who writes a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

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
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: OwnerReference,
    /// The most endpoints in one slice.
    pub(super) max: usize,
}

impl Shape {
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(SERVICE_NAME.into(), self.service.clone());
        labels.insert(MANAGED_BY.into(), self.managed_by.into());
        labels
    }

    fn create(
        &self,
        address_type: &str,
        ports: &[EndpointPort],
        endpoints: Vec<Endpoint>,
    ) -> Action {
        Action::Create(Box::new(EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(generate_name(&self.service)),
                namespace: Some(self.namespace.clone()),
                labels: Some(self.labels()),
                annotations: (!self.annotations.is_empty()).then(|| self.annotations.clone()),
                owner_references: Some(vec![self.owner.clone()]),
                ..Default::default()
            },
            address_type: address_type.into(),
            endpoints: Some(endpoints),
            ports: Some(ports.to_vec()),
        }))
    }

    fn fits(&self, slice: &EndpointSlice) -> bool {
        let meta = &slice.metadata;
        meta.labels.as_ref() == Some(&self.labels())
            && self
                .annotations
                .iter()
                .all(|(k, v)| meta.annotations.as_ref().and_then(|a| a.get(k)) == Some(v))
            && meta.owner_references.as_ref().is_some_and(|o| o.contains(&self.owner))
    }

    fn update(&self, slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> Action {
        let mut slice = slice.clone();
        slice.metadata.labels = Some(self.labels());
        slice.metadata.annotations.get_or_insert_default().extend(self.annotations.clone());
        slice.metadata.owner_references = Some(vec![self.owner.clone()]);
        slice.endpoints = Some(endpoints);
        Action::Update(Box::new(slice))
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

/// What makes two endpoints the same one: their target and addresses.
fn identity(endpoint: &Endpoint) -> String {
    let target = endpoint.target_ref.as_ref();
    let field = |f: Option<&String>| f.cloned().unwrap_or_default();
    format!(
        "{}/{}/{}/{}",
        field(target.and_then(|t| t.uid.as_ref())),
        field(target.and_then(|t| t.namespace.as_ref())),
        field(target.and_then(|t| t.name.as_ref())),
        endpoint.addresses.join(",")
    )
}

/// Plans the writes for all slices of a Service. `existing` are those that `shape.managed_by` writes.
pub(super) fn plan(shape: &Shape, wanted: &Wanted, existing: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut left: Vec<Arc<EndpointSlice>> =
        existing.iter().filter(|s| s.metadata.deletion_timestamp.is_none()).cloned().collect();
    let mut populated: Vec<&str> = Vec::new();
    for group in &wanted.groups {
        populated.push(group.address_type);
        let (mine, others) = left
            .into_iter()
            .partition(|s| s.address_type == group.address_type && same_ports(s, &group.ports));
        left = others;
        plan_group(shape, group, mine, &mut actions);
    }
    // A Service without endpoints keeps one empty slice of each type, so that all can see that it was looked at.
    for address_type in &wanted.types {
        if populated.contains(address_type) {
            continue;
        }
        let empty = |s: &Arc<EndpointSlice>| {
            s.address_type == *address_type
                && s.ports.as_ref().is_none_or(Vec::is_empty)
                && s.endpoints.as_ref().is_none_or(Vec::is_empty)
        };
        match left.iter().position(empty) {
            Some(at) => {
                let placeholder = left.remove(at);
                if !shape.fits(&placeholder) {
                    actions.push(shape.update(&placeholder, Vec::new()));
                }
            }
            None => actions.push(shape.create(address_type, &[], Vec::new())),
        }
    }
    actions.extend(left.into_iter().map(Action::Delete));
    actions
}

/// Plans one address type and set of ports: keeps endpoints where they are, fills the slices that are
/// written anyway, then the fullest one that can take all the rest, then new ones.
fn plan_group(
    shape: &Shape,
    group: &Group,
    existing: Vec<Arc<EndpointSlice>>,
    actions: &mut Vec<Action>,
) {
    let mut missing: HashMap<String, &Endpoint> =
        group.endpoints.iter().map(|e| (identity(e), e)).collect();
    struct Plan {
        slice: Arc<EndpointSlice>,
        endpoints: Vec<Endpoint>,
        write: bool,
    }
    let mut plans: Vec<Plan> = existing
        .into_iter()
        .map(|slice| {
            let mut write = !shape.fits(&slice);
            let mut endpoints = Vec::new();
            for endpoint in slice.endpoints.iter().flatten() {
                match missing.remove(&identity(endpoint)) {
                    Some(wanted) => {
                        write |= wanted != endpoint;
                        endpoints.push(wanted.clone());
                    }
                    None => write = true,
                }
            }
            Plan { slice, endpoints, write }
        })
        .collect();
    let mut rest: Vec<Endpoint> = group
        .endpoints
        .iter()
        .filter(|e| missing.contains_key(&identity(e)))
        .map(|e| (*e).clone())
        .collect();
    rest.reverse();

    // The fullest first, so that slices fill up.
    plans.sort_by(|a, b| {
        b.endpoints
            .len()
            .cmp(&a.endpoints.len())
            .then_with(|| a.slice.metadata.name.cmp(&b.slice.metadata.name))
    });
    for plan in plans.iter_mut().filter(|p| p.write && !p.endpoints.is_empty()) {
        while plan.endpoints.len() < shape.max
            && let Some(endpoint) = rest.pop()
        {
            plan.endpoints.push(endpoint);
        }
    }
    // An emptied slice is better filled than deleted and made anew.
    for plan in plans.iter_mut().filter(|p| p.endpoints.is_empty()) {
        while plan.endpoints.len() < shape.max
            && let Some(endpoint) = rest.pop()
        {
            plan.endpoints.push(endpoint);
            plan.write = true;
        }
    }
    if !rest.is_empty()
        && let Some(plan) =
            plans.iter_mut().find(|p| !p.write && p.endpoints.len() + rest.len() <= shape.max)
    {
        plan.endpoints.extend(rest.drain(..).rev());
        plan.write = true;
    }
    for plan in plans {
        if plan.endpoints.is_empty() {
            actions.push(Action::Delete(plan.slice));
        } else if plan.write {
            actions.push(shape.update(&plan.slice, plan.endpoints));
        }
    }
    rest.reverse();
    for chunk in rest.chunks(shape.max) {
        actions.push(shape.create(group.address_type, &group.ports, chunk.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shape(max: usize) -> Shape {
        Shape {
            namespace: "ns".into(),
            service: "blue".into(),
            managed_by: "test",
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            owner: OwnerReference { name: "blue".into(), uid: "u".into(), ..Default::default() },
            max,
        }
    }

    fn endpoint(id: u8, ready: bool) -> Endpoint {
        Endpoint {
            addresses: vec![format!("10.0.0.{id}")],
            conditions: Some(k8s_openapi::api::discovery::v1::EndpointConditions {
                ready: Some(ready),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn wanted(groups: &BTreeMap<i32, BTreeMap<u8, bool>>) -> Wanted {
        Wanted {
            groups: groups
                .iter()
                .filter(|(_, endpoints)| !endpoints.is_empty())
                .map(|(port, endpoints)| Group {
                    address_type: "IPv4",
                    ports: vec![EndpointPort { port: Some(*port), ..Default::default() }],
                    endpoints: endpoints.iter().map(|(id, ready)| endpoint(*id, *ready)).collect(),
                })
                .collect(),
            types: vec!["IPv4"],
            homeless: 0,
        }
    }

    fn apply(state: &mut Vec<Arc<EndpointSlice>>, actions: Vec<Action>, serial: &mut u32) -> usize {
        let writes = actions.len();
        for action in actions {
            match action {
                Action::Create(mut slice) => {
                    *serial += 1;
                    slice.metadata.name = Some(format!("blue-{serial:05}"));
                    state.push(Arc::new(*slice));
                }
                Action::Update(slice) => {
                    let at = state
                        .iter()
                        .position(|s| s.metadata.name == slice.metadata.name)
                        .expect("updated slice exists");
                    state[at] = Arc::new(*slice);
                }
                Action::Delete(slice) => state.retain(|s| s.metadata.name != slice.metadata.name),
            }
        }
        writes
    }

    fn content(state: &[Arc<EndpointSlice>]) -> BTreeMap<i32, BTreeMap<u8, bool>> {
        let mut found: BTreeMap<i32, BTreeMap<u8, bool>> = BTreeMap::new();
        for slice in state {
            for e in slice.endpoints.iter().flatten() {
                let port = slice.ports.as_ref().unwrap()[0].port.unwrap();
                let id = e.addresses[0].rsplit('.').next().unwrap().parse().unwrap();
                let twice = found
                    .entry(port)
                    .or_default()
                    .insert(id, e.conditions.as_ref().unwrap().ready.unwrap());
                assert_eq!(twice, None, "an endpoint is in two slices");
            }
        }
        found
    }

    #[test]
    fn a_service_without_endpoints_has_one_empty_slice() {
        let (mut state, mut serial) = (Vec::new(), 0);
        let nothing = wanted(&BTreeMap::new());
        assert_eq!(apply(&mut state, plan(&shape(3), &nothing, &[]), &mut serial), 1);
        assert_eq!((state.len(), state[0].endpoints.as_ref().unwrap().len()), (1, 0));
        assert!(plan(&shape(3), &nothing, &state).is_empty());
        let some = wanted(&[(80, [(1, true)].into())].into());
        let actions = plan(&shape(3), &some, &state);
        apply(&mut state, actions, &mut serial);
        assert_eq!(state.len(), 1, "the placeholder goes");
    }

    #[test]
    fn one_more_endpoint_is_one_write() {
        let (mut state, mut serial) = (Vec::new(), 0);
        let of = |n: u8| wanted(&[(80, (0..n).map(|i| (i, true)).collect())].into());
        apply(&mut state, plan(&shape(100), &of(150), &[]), &mut serial);
        assert_eq!(state.len(), 2);
        assert_eq!(apply(&mut state.clone(), plan(&shape(100), &of(151), &state), &mut serial), 1);
        assert_eq!(apply(&mut state.clone(), plan(&shape(100), &of(149), &state), &mut serial), 1);
    }

    proptest! {
        #[test]
        fn slices_hold_what_is_wanted_and_are_left_alone_then(
            steps in prop::collection::vec(
                prop::collection::btree_map(80..83i32, prop::collection::btree_map(0..40u8, any::<bool>(), 0..30), 0..3),
                1..8,
            ),
            max in 1..12usize,
        ) {
            let (mut state, mut serial) = (Vec::new(), 0);
            for step in steps {
                let want = wanted(&step);
                let actions = plan(&shape(max), &want, &state);
                apply(&mut state, actions, &mut serial);
                let expected: BTreeMap<_, _> = step.into_iter().filter(|(_, e)| !e.is_empty()).collect();
                prop_assert_eq!(content(&state), expected);
                prop_assert!(state.iter().all(|s| s.endpoints.as_ref().unwrap().len() <= max));
                prop_assert!(plan(&shape(max), &want, &state).is_empty());
                let names: BTreeSet<_> = state.iter().map(|s| s.metadata.name.clone()).collect();
                prop_assert_eq!(names.len(), state.len());
            }
        }
    }
}
