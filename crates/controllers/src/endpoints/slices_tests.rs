use super::*;
use crate::endpoints::slice::Group;
use k8s_openapi::api::{core::v1::ObjectReference, discovery::v1::EndpointConditions};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// An endpoint's port, number, and whether it is ready.
type Content = BTreeMap<i32, BTreeMap<u8, bool>>;

fn shape(max: usize) -> Shape {
    let owner = OwnerReference {
        kind: "Service".into(),
        name: "blue".into(),
        uid: "u".into(),
        ..Default::default()
    };
    Shape {
        namespace: "ns".into(),
        service: "blue".into(),
        managed_by: "test",
        labels: BTreeMap::new(),
        annotations: None,
        owner,
        adopts: false,
        grows: true,
        created: Some(Timestamp::UNIX_EPOCH),
        max,
        hints: Hints::None,
    }
}

fn endpoint(family: &str, id: u8, ready: bool) -> Endpoint {
    let address = if family == "IPv4" { format!("10.0.0.{id}") } else { format!("fd00::{id}") };
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(ready),
            terminating: None,
        }),
        target_ref: Some(ObjectReference { uid: Some(format!("{id}")), ..Default::default() }),
        zone: Some(format!("zone-{}", id % 3)),
        node_name: Some(format!("node-{}", id % 5)),
        ..Default::default()
    }
}

fn wanted(groups: &Content) -> Wanted {
    let families = ["IPv4", "IPv6"];
    let group = |family: &'static str| {
        groups.iter().filter(|(_, endpoints)| !endpoints.is_empty()).map(
            move |(port, endpoints)| Group {
                address_type: family,
                ports: vec![EndpointPort { port: Some(*port), ..Default::default() }],
                endpoints: endpoints
                    .iter()
                    .map(|(id, ready)| endpoint(family, *id, *ready))
                    .collect(),
            },
        )
    };
    Wanted {
        groups: families.into_iter().flat_map(group).collect(),
        types: families.to_vec(),
        homeless: 0,
        since: (0..=255u8)
            .map(|id| (id.to_string(), Timestamp::from_second(1000 + i64::from(id)).unwrap()))
            .collect(),
    }
}

/// What an API server would hold.
#[derive(Clone, Default)]
struct State {
    slices: Vec<Arc<EndpointSlice>>,
    serial: u32,
}

impl State {
    fn step(&mut self, shape: &Shape, wanted: &Wanted) -> Planned {
        let planned = plan(shape, wanted, &self.slices);
        for action in planned.actions.clone() {
            match action {
                Action::Create(mut slice) => {
                    self.serial += 1;
                    slice.metadata.name = Some(format!("blue-{:05}", self.serial));
                    self.slices.push(Arc::new(*slice));
                }
                Action::Update(slice) => {
                    let name = &slice.metadata.name;
                    let at = self.slices.iter().position(|s| s.metadata.name == *name);
                    let at = at.expect("updated slice exists");
                    assert_eq!(self.slices[at].address_type, slice.address_type, "immutable");
                    self.slices[at] = Arc::new(*slice);
                }
                Action::Delete(slice) => {
                    self.slices.retain(|s| s.metadata.name != slice.metadata.name)
                }
            }
        }
        planned
    }

    fn content(&self, family: &str) -> Content {
        let mut found: Content = BTreeMap::new();
        for slice in self.slices.iter().filter(|s| s.address_type == family) {
            for e in slice.endpoints.iter().flatten() {
                let port = slice.ports.as_ref().unwrap()[0].port.unwrap();
                let id = e.target_ref.as_ref().unwrap().uid.as_ref().unwrap().parse().unwrap();
                let ready = e.conditions.as_ref().unwrap().ready.unwrap();
                let twice = found.entry(port).or_default().insert(id, ready);
                assert_eq!(twice, None, "an endpoint is in two slices");
            }
        }
        found
    }

    fn count(&self, family: &str) -> usize {
        self.slices.iter().filter(|s| s.address_type == family).count()
    }
}

fn some(ids: impl IntoIterator<Item = u8>) -> Content {
    [(80, ids.into_iter().map(|id| (id, true)).collect())].into()
}

fn only_v4(mut wanted: Wanted) -> Wanted {
    wanted.groups.retain(|g| g.address_type == "IPv4");
    wanted.types = vec!["IPv4"];
    wanted
}

#[test]
fn a_service_without_endpoints_has_one_empty_slice_of_each_type() {
    let mut state = State::default();
    let nothing = wanted(&Content::new());
    assert_eq!(state.step(&shape(3), &nothing).actions.len(), 2);
    assert!(state.slices.iter().all(|s| s.endpoints.as_deref() == Some(&[])));
    assert!(state.step(&shape(3), &nothing).actions.is_empty());
    // It becomes the first slice, and the last one becomes it again: one write each time.
    for content in [some([1]), Content::new(), some([1, 2, 3]), Content::new()] {
        let actions = state.step(&shape(3), &only_v4(wanted(&content))).actions;
        let v4 = |a: &&Action| matches!(a, Action::Update(s) if s.address_type == "IPv4");
        assert_eq!(actions.iter().filter(v4).count(), 1, "{actions:?}");
        assert_eq!(state.count("IPv4"), 1);
    }
    assert_eq!(state.count("IPv6"), 0, "the Service lost that family");
}

#[test]
fn one_more_endpoint_is_one_write() {
    let mut state = State::default();
    let of = |n: u8| only_v4(wanted(&some(0..n)));
    state.step(&shape(100), &of(150));
    assert_eq!(state.slices.len(), 2);
    assert_eq!(state.clone().step(&shape(100), &of(151)).actions.len(), 1);
    assert_eq!(state.clone().step(&shape(100), &of(149)).actions.len(), 1);
}

#[test]
fn what_is_left_after_full_slices_goes_where_it_fits() {
    let mut state = State::default();
    state.step(&shape(10), &only_v4(wanted(&some(0..15))));
    assert_eq!(state.slices.len(), 2);
    // 13 more: a new slice of 10, and 3 into the half-full one.
    let actions = state.step(&shape(10), &only_v4(wanted(&some(0..28)))).actions;
    assert_eq!((actions.len(), state.slices.len()), (2, 3), "{actions:?}");
}

#[test]
fn other_ports_take_the_slices_over() {
    let mut state = State::default();
    state.step(&shape(10), &only_v4(wanted(&some(0..20))));
    let moved = [(81, (0..20u8).map(|id| (id, true)).collect())].into();
    let actions = state.step(&shape(10), &only_v4(wanted(&moved))).actions;
    assert!(actions.iter().all(|a| matches!(a, Action::Update(_))), "{actions:?}");
    assert_eq!((actions.len(), state.content("IPv4")), (2, moved));
}

#[test]
fn slices_of_an_earlier_service_are_left_to_the_garbage_collector() {
    let mut state = State::default();
    state.step(&shape(10), &only_v4(wanted(&some(0..5))));
    let mut again = shape(10);
    again.owner.uid = "another".into();
    let actions = state.step(&again, &only_v4(wanted(&some(0..5)))).actions;
    assert!(matches!(actions[..], [Action::Create(_), Action::Delete(_)]), "{actions:?}");
}

#[test]
fn a_service_that_is_being_deleted_gets_no_new_slices() {
    let mut state = State::default();
    state.step(&shape(5), &only_v4(wanted(&some(0..5))));
    let dying = Shape { grows: false, ..shape(5) };
    let actions = state.step(&dying, &only_v4(wanted(&some(1..9)))).actions;
    assert!(matches!(actions[..], [Action::Update(_)]), "{actions:?}");
}

#[test]
fn writes_tell_which_change_they_follow() {
    let time = |state: &State| {
        let annotations = state.slices[0].metadata.annotations.as_ref();
        annotations.and_then(|a| a.get(TRIGGERED)).cloned()
    };
    let mut state = State::default();
    state.step(&shape(10), &only_v4(wanted(&some(3..5))));
    assert_eq!(time(&state).as_deref(), Some("1970-01-01T00:00:00Z"), "the Service's creation");
    state.step(&shape(10), &only_v4(wanted(&some(2..6))));
    assert_eq!(time(&state).as_deref(), Some("1970-01-01T00:16:42Z"), "of the earlier new one");
    state.step(&shape(10), &only_v4(wanted(&some(2..5))));
    assert_eq!(time(&state), None, "nobody says when a pod went");
    let mut not_ready = some(2..5);
    not_ready.get_mut(&80).unwrap().insert(4, false);
    state.step(&shape(10), &only_v4(wanted(&not_ready)));
    assert_eq!(time(&state).as_deref(), Some("1970-01-01T00:16:44Z"));
}

#[test]
fn hints_are_for_ready_endpoints() {
    let mut content = some(0..4);
    content.get_mut(&80).unwrap().insert(1, false);
    let mut want = only_v4(wanted(&content));
    want.groups[0].endpoints[2].zone = None;
    let mut state = State::default();
    let seen = |state: &State| -> Vec<(Option<String>, Option<String>)> {
        let endpoints = state.slices.iter().flat_map(|s| s.endpoints.iter().flatten());
        let hints = endpoints.map(|e| e.hints.clone().unwrap_or_default());
        let zone = |h: &k8s_openapi::api::discovery::v1::EndpointHints| {
            h.for_zones.as_ref().map(|z| z[0].name.clone())
        };
        hints.map(|h| (zone(&h), h.for_nodes.map(|n| n[0].name.clone()))).collect()
    };
    let text = |s: &str| Some(s.to_string());
    state.step(&Shape { hints: Hints::SameZone, ..shape(10) }, &want);
    let zones = [(text("zone-0"), None), (None, None), (None, None), (text("zone-0"), None)];
    assert_eq!(seen(&state), zones);
    state.step(&Shape { hints: Hints::SameNode, ..shape(10) }, &want);
    let nodes = [
        (text("zone-0"), text("node-0")),
        (None, None),
        (None, text("node-2")),
        (text("zone-0"), text("node-3")),
    ];
    assert_eq!(seen(&state), nodes);
    assert_eq!(state.step(&shape(10), &want).actions.len(), 1);
    assert!(seen(&state).iter().all(|hint| *hint == (None, None)));
}

fn hints() -> impl Strategy<Value = Hints> {
    let shares = prop::collection::btree_map("zone-[0-3]", 1..9u32, 2..5).prop_map(|weights| {
        let total: u32 = weights.values().sum();
        let share = |w: u32| f64::from(w) / f64::from(total);
        Hints::ByCapacity(Ok(weights.into_iter().map(|(zone, w)| (zone, share(w))).collect()))
    });
    prop_oneof![
        Just(Hints::None),
        Just(Hints::SameZone),
        Just(Hints::SameNode),
        Just(Hints::ByCapacity(Err("no".into()))),
        shares,
    ]
}

proptest! {
    /// Any history ends in what one look says: every endpoint once in each family, no slice over
    /// the limit, few writes, and none when nothing changed.
    #[test]
    fn slices_hold_what_is_wanted_and_are_left_alone_then(
        steps in prop::collection::vec(
            (prop::collection::btree_map(80..83i32, prop::collection::btree_map(0..40u8, any::<bool>(), 0..30), 0..3), hints()),
            1..8,
        ),
        max in 1..12usize,
    ) {
        let mut state = State::default();
        for (step, hints) in steps {
            let want = wanted(&step);
            let shape = Shape { hints, ..shape(max) };
            let before = state.clone();
            let actions = state.step(&shape, &want).actions;
            let expected: Content = step.into_iter().filter(|(_, e)| !e.is_empty()).collect();
            for family in ["IPv4", "IPv6"] {
                prop_assert_eq!(state.content(family), expected.clone());
            }
            let sizes = || state.slices.iter().map(|s| s.endpoints.as_ref().unwrap().len());
            prop_assert!(sizes().all(|size| size <= max));
            // Slices that nothing changed in are not written; what is new fills few.
            let written: BTreeSet<_> = actions.iter().filter_map(|a| match a {
                Action::Update(s) => Some(s.metadata.name.clone()),
                _ => None,
            }).collect();
            for slice in before.slices.iter().filter(|s| written.contains(&s.metadata.name)) {
                let now = state.slices.iter().find(|s| s.metadata.name == slice.metadata.name).unwrap();
                prop_assert!(now.endpoints != slice.endpoints || now.ports != slice.ports);
            }
            let added = expected.iter().map(|(port, e)| {
                let known = before.content("IPv4");
                let known = known.get(port);
                e.keys().filter(|id| known.is_none_or(|k| !k.contains_key(id))).count().div_ceil(max) + 1
            }).sum::<usize>() + 1;
            let created = actions.iter().filter(|a| matches!(a, Action::Create(_))).count();
            prop_assert!(created <= 2 * added, "{created} slices made for {added}");
            prop_assert!(plan(&shape, &want, &state.slices).actions.is_empty());
            let names: BTreeSet<_> = state.slices.iter().map(|s| s.metadata.name.clone()).collect();
            prop_assert_eq!(names.len(), state.slices.len());
        }
    }

    /// Of many endpoints in full slices, those that change decide what is written.
    #[test]
    fn writes_are_bounded_by_what_changed(
        size in 1..120u8, gone in prop::collection::btree_set(0..120u8, 0..8), new in 0..8u8, max in 1..20usize,
    ) {
        let mut state = State::default();
        state.step(&shape(max), &only_v4(wanted(&some(0..size))));
        let now = (0..size).filter(|id| !gone.contains(id)).chain(200..200 + new);
        let actions = state.step(&shape(max), &only_v4(wanted(&some(now)))).actions;
        let changed = gone.iter().filter(|id| **id < size).count();
        // Each endpoint that goes changes one slice; those that come fill these first.
        prop_assert!(actions.len() <= changed + usize::from(new).div_ceil(max) + 1, "{}", actions.len());
    }
}
