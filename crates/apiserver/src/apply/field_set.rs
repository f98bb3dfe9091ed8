//! Sets of fields, and their `FieldsV1` form.
//!
//! The form is the one of `metadata.managedFields[].fieldsV1`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>):
//! `f:NAME` a field, `k:{…}` a list item by its keys, `v:VALUE` a member of a set, `.` the place
//! itself; a place with nothing below it is written `{}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::shape::{Key, Shape, shape};

/// One step of a path, in its `FieldsV1` spelling; ordered as the bytes are.
pub(super) type Step = String;

/// A set of places in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Whether this very place belongs to the set.
    pub(super) member: bool,
    pub(super) children: BTreeMap<Step, FieldSet>,
}

pub(super) fn field_step(name: &str) -> Step {
    format!("f:{name}")
}

pub(super) fn set_step(value: &Value) -> Step {
    format!("v:{value}")
}

/// The step to a list item, or `None` when the item lacks a key and so has no identity.
pub(super) fn item_step(item: &Value, keys: &[Key]) -> Option<Step> {
    let mut identity = BTreeMap::new();
    for key in keys {
        let value = match (item.get(key.field), key.default) {
            (Some(value), _) if !value.is_null() => value.clone(),
            (_, Some(default)) => Value::from(default),
            _ => return None,
        };
        identity.insert(key.field, value);
    }
    // A BTreeMap of plain values always serializes.
    serde_json::to_string(&identity).ok().map(|text| format!("k:{text}"))
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Every place that `object` states.
    pub(super) fn of(kind: &str, object: &Value) -> Self {
        let mut set = Self::default();
        let mut path = Vec::new();
        set.add(kind, &mut path, object, true);
        set
    }

    fn add<'v>(&mut self, kind: &str, path: &mut Vec<&'v str>, value: &'v Value, root: bool) {
        match (shape(kind, path, value), value) {
            (Shape::Granular, Value::Object(fields)) if root || !fields.is_empty() => {
                for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                    path.push(name);
                    self.children
                        .entry(field_step(name))
                        .or_default()
                        .add(kind, path, field, false);
                    path.pop();
                }
            }
            (Shape::Keyed(keys), Value::Array(items)) if !items.is_empty() => {
                for item in items {
                    let Some(step) = item_step(item, keys) else { continue };
                    let place = self.children.entry(step).or_default();
                    place.add(kind, path, item, false);
                    place.member = true;
                }
            }
            (Shape::Set, Value::Array(items)) if !items.is_empty() => {
                for item in items {
                    self.children.entry(set_step(item)).or_default().member = true;
                }
            }
            _ => self.member = true,
        }
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().union(child);
        }
    }

    /// Removes exactly the places of `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        self.children.retain(|step, child| {
            if let Some(removed) = other.children.get(step) {
                child.subtract(removed);
            }
            !child.is_empty()
        });
    }

    /// Removes the places of `other`, each with all that lies below it.
    pub(super) fn remove_below(&mut self, other: &Self) {
        if other.member {
            *self = Self::default();
            return;
        }
        self.children.retain(|step, child| {
            if let Some(removed) = other.children.get(step) {
                child.remove_below(removed);
            }
            !child.is_empty()
        });
    }

    /// The places that are in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, child)| {
            let both = child.intersection(other.children.get(step)?);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Self { member: self.member && other.member, children: children.collect() }
    }

    /// The places as paths in the words of a conflict: `.spec.ports[port=80,protocol="TCP"].name`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(String::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: String, paths: &mut Vec<String>) {
        for (step, child) in &self.children {
            child.collect_paths(format!("{prefix}{}", readable(step)), paths);
        }
        if self.member {
            paths.push(prefix);
        }
    }

    pub(super) fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, child) in &self.children {
            fields.insert(step.clone(), child.to_fields_v1());
        }
        Value::Object(fields)
    }

    pub(super) fn from_fields_v1(fields: &Value) -> Self {
        let mut set = Self::of_entry(fields);
        set.member = false;
        set
    }

    fn of_entry(fields: &Value) -> Self {
        let Some(entries) = fields.as_object() else { return Self::default() };
        Self {
            member: entries.is_empty() || entries.contains_key("."),
            children: entries
                .iter()
                .filter(|(step, _)| *step != ".")
                .map(|(step, below)| (step.clone(), Self::of_entry(below)))
                .collect(),
        }
    }
}

fn readable(step: &str) -> String {
    if let Some(name) = step.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(keys) = step.strip_prefix("k:")
        && let Ok(Value::Object(keys)) = serde_json::from_str(keys)
    {
        let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        return format!("[{}]", keys.join(","));
    }
    format!("[={}]", step.strip_prefix("v:").unwrap_or(step))
}

/// The places where `new` differs from `old` by a value changed or added, and where it lacks one.
pub(super) fn compare(kind: &str, old: &Value, new: &Value) -> (FieldSet, FieldSet) {
    let mut changed = FieldSet::default();
    let mut removed = FieldSet::default();
    compare_at(kind, &mut Vec::new(), old, new, (&mut changed, &mut removed));
    (changed, removed)
}

fn compare_at<'v>(
    kind: &str,
    path: &mut Vec<&'v str>,
    old: &'v Value,
    new: &'v Value,
    (changed, removed): (&mut FieldSet, &mut FieldSet),
) {
    let members = |value: &'v Value| -> Option<BTreeMap<Step, (Option<&'v str>, &'v Value)>> {
        match (shape(kind, path, value), value) {
            (Shape::Granular, Value::Object(fields)) => Some(
                fields
                    .iter()
                    .filter(|(_, field)| !field.is_null())
                    .map(|(name, field)| (field_step(name), (Some(name.as_str()), field)))
                    .collect(),
            ),
            (Shape::Keyed(keys), Value::Array(items)) => Some(
                items
                    .iter()
                    .filter_map(|item| Some((item_step(item, keys)?, (None, item))))
                    .collect(),
            ),
            (Shape::Set, Value::Array(items)) => {
                Some(items.iter().map(|item| (set_step(item), (None, item))).collect())
            }
            _ => None,
        }
    };
    let (Some(before), Some(after)) = (members(old), members(new)) else {
        changed.member |= old != new;
        return;
    };
    for (step, (name, value)) in &after {
        path.extend(name);
        let place = changed.children.entry(step.clone()).or_default();
        if let Some((_, earlier)) = before.get(step) {
            let gone = removed.children.entry(step.clone()).or_default();
            compare_at(kind, path, earlier, value, (place, gone));
            if gone.is_empty() {
                removed.children.remove(step);
            }
        } else {
            place.add(kind, path, value, false);
            place.member |= name.is_none();
        }
        if place.is_empty() {
            changed.children.remove(step);
        }
        if name.is_some() {
            path.pop();
        }
    }
    for step in before.keys().filter(|step| !after.contains_key(*step)) {
        removed.children.entry(step.clone()).or_default().member = true;
    }
}
