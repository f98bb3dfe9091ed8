//! The graph of owners: only objects that have an owner, or that wait for their dependents, are in it.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use parking_lot::Mutex;

use crate::cache::Key;

/// The finalizer of an owner that waits for the dependents that block it.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that lets its dependents go.
pub(super) const ORPHAN: &str = "orphan";

/// An object's place in the graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its resource, a number in the collector's list.
    pub(super) resource: usize,
    pub(super) key: Key,
    pub(super) owners: Vec<OwnerReference>,
    /// Being deleted with this finalizer.
    waits: Option<&'static str>,
}

impl Node {
    /// Whether the object is being deleted and its dependents come first.
    pub(super) fn waits_for_dependents(&self) -> bool {
        self.waits.is_some()
    }
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, BTreeSet<String>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graph(Mutex<State>);

/// The garbage collector's finalizer that an object being deleted waits under.
pub(super) fn waits(meta: &ObjectMeta) -> Option<&'static str> {
    meta.deletion_timestamp.as_ref()?;
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    [ORPHAN, FOREGROUND].into_iter().find(|f| finalizers.iter().any(|g| g == f))
}

impl Graph {
    /// Notes what an object is now; returns the uids to look at.
    pub(super) fn put(&self, resource: usize, meta: &ObjectMeta) -> Vec<String> {
        let Some(uid) = meta.uid.clone() else { return Vec::new() };
        let owners = meta.owner_references.clone().unwrap_or_default();
        let waits = waits(meta);
        let mut state = self.0.lock();
        let old = state.nodes.get(&uid);
        let new_owners = old.is_none_or(|o| o.owners != owners);
        let now_waits = waits.is_some() && old.is_none_or(|o| o.waits != waits);
        let mut look = Vec::new();
        if new_owners {
            // An owner that waited for this object may go on.
            let blocked = |o: &&OwnerReference| {
                o.block_owner_deletion == Some(true)
                    && !owners
                        .iter()
                        .any(|n| n.uid == o.uid && n.block_owner_deletion == Some(true))
            };
            let freed = old.iter().flat_map(|o| o.owners.iter().filter(blocked));
            look.extend(
                freed
                    .map(|o| o.uid.clone())
                    .filter(|o| state.nodes.get(o).is_some_and(|n| n.waits.is_some())),
            );
            state.leave(&uid);
            for owner in &owners {
                state.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
            }
        }
        if owners.is_empty() && waits.is_none() {
            state.nodes.remove(&uid);
            return look;
        }
        let has_owners = !owners.is_empty();
        state.nodes.insert(uid.clone(), Node { resource, key: Key::of(meta), owners, waits });
        if now_waits {
            look.extend(state.dependents.get(&uid).into_iter().flatten().cloned());
        }
        if now_waits || (new_owners && has_owners) {
            look.push(uid);
        }
        look
    }

    /// Notes that an object is gone; returns the uids to look at: its dependents, and owners that waited for it.
    pub(super) fn remove(&self, meta: &ObjectMeta) -> Vec<String> {
        let Some(uid) = &meta.uid else { return Vec::new() };
        let mut state = self.0.lock();
        let mut look: Vec<String> =
            state.dependents.get(uid).into_iter().flatten().cloned().collect();
        state.leave(uid);
        if let Some(node) = state.nodes.remove(uid) {
            let waiting =
                |o: &&OwnerReference| state.nodes.get(&o.uid).is_some_and(|n| n.waits.is_some());
            look.extend(node.owners.iter().filter(waiting).map(|o| o.uid.clone()));
        }
        look
    }

    pub(super) fn get(&self, uid: &str) -> Option<Node> {
        self.0.lock().nodes.get(uid).cloned()
    }

    /// The dependents of an object, sorted by uid.
    pub(super) fn dependents(&self, uid: &str) -> Vec<(String, Node)> {
        let state = self.0.lock();
        let uids = state.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid.clone(), state.nodes.get(uid)?.clone()))).collect()
    }

    /// How many objects the graph holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let state = self.0.lock();
        state.nodes.len() + state.dependents.len()
    }
}

impl State {
    fn leave(&mut self, uid: &str) {
        let Some(node) = self.nodes.get(uid) else { return };
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn meta(uid: &str, owners: &[&str], finalizer: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.into()),
            name: Some(uid.into()),
            owner_references: Some(
                owners
                    .iter()
                    .map(|o| OwnerReference { uid: (*o).into(), ..Default::default() })
                    .collect(),
            ),
            deletion_timestamp: finalizer.map(|_| Time(jiff::Timestamp::UNIX_EPOCH)),
            finalizers: finalizer.map(|f| vec![f.into()]),
            ..Default::default()
        }
    }

    #[test]
    fn objects_without_owners_take_no_room() {
        let graph = Graph::default();
        assert!(graph.put(0, &meta("a", &[], None)).is_empty());
        assert_eq!(graph.len(), 0);
        assert_eq!(graph.put(0, &meta("b", &["a"], None)), ["b"]);
        assert!(graph.put(0, &meta("b", &["a"], None)).is_empty(), "nothing new");
        assert_eq!(graph.remove(&meta("a", &[], None)), ["b"]);
        graph.remove(&meta("b", &["a"], None));
        assert_eq!(graph.len(), 0);
    }

    #[test]
    fn an_owner_that_waits_is_told_of_each_dependent() {
        let graph = Graph::default();
        graph.put(0, &meta("b", &["a"], None));
        assert_eq!(graph.put(0, &meta("a", &[], Some(FOREGROUND))), ["b", "a"]);
        assert_eq!(graph.remove(&meta("b", &["a"], None)), ["a"]);
        let mut blocking = meta("c", &["a", "x"], None);
        blocking.owner_references.as_mut().unwrap()[0].block_owner_deletion = Some(true);
        assert_eq!(graph.put(0, &blocking), ["c"]);
        assert_eq!(
            graph.put(0, &meta("c", &["x"], None)),
            ["a", "c"],
            "it lets go of the owner that waits"
        );
        graph.remove(&meta("c", &["x"], None));
        graph.remove(&meta("a", &[], Some(FOREGROUND)));
        assert_eq!(graph.len(), 0);
    }

    #[test]
    fn owners_change() {
        let graph = Graph::default();
        graph.put(0, &meta("c", &["a", "b"], None));
        graph.put(0, &meta("c", &["b"], None));
        assert!(graph.dependents("a").is_empty());
        assert_eq!(graph.dependents("b").len(), 1);
        graph.put(0, &meta("c", &[], None));
        assert_eq!(graph.len(), 0);
    }
}
