//! Server-side apply: several managers, each stating the fields it cares about.
//!
//! Follows the documented behaviour
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>). Ownership is tracked from
//! an object's first server-side apply on: until then `metadata.managedFields` stays empty and
//! plain writes cost nothing; the fields that were there before belong to the manager
//! `before-first-apply`.

mod field_set;
mod managers;
mod merge;
mod shape;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use field_set::{FieldSet, compare};
use managers::{Entry, Operation};

/// Who writes, and by what request.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// Empty for the main resource, else `status`, `scale` …
    pub subresource: &'a str,
    /// RFC 3339, whole seconds, UTC.
    pub now: &'a str,
}

/// Fields that others own and that an apply without `force` would have changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Apply failed with {} conflict{}: {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, summary(.0))]
pub struct Conflicts(pub Vec<Conflict>);

/// One field, and the manager that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As a `Status` cause words it: `conflict with "m" using v1`.
    pub message: String,
    /// `.spec.replicas`.
    pub field: String,
}

fn summary(conflicts: &[Conflict]) -> String {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for conflict in conflicts {
        match groups.iter_mut().find(|(message, _)| *message == conflict.message) {
            Some((_, fields)) => fields.push(&conflict.field),
            None => groups.push((&conflict.message, vec![&conflict.field])),
        }
    }
    let texts = groups.iter().map(|(message, fields)| match fields.as_slice() {
        [field] => format!("{message}: {field}"),
        many => format!("{message}:\n- {}", many.join("\n- ")),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The object after `config` was applied to `live` (absent: it is being created), before defaults.
///
/// # Errors
/// [`Conflicts`] when another manager owns a field that would change, unless `force` takes it over.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Conflicts> {
    let kind = text(config, "/kind");
    let api_version = text(config, "/apiVersion");
    let nothing = Value::Object(Map::new());
    let base = live.map_or_else(|| nothing.clone(), stated);
    let wanted = stated(config);

    let mut entries = live.map(managers::read).unwrap_or_default();
    if let Some(live) = live
        && entries.is_empty()
    {
        entries.push(Entry {
            manager: "before-first-apply".to_owned(),
            operation: Operation::Update,
            api_version: text(live, "/apiVersion").to_owned(),
            subresource: String::new(),
            time: Some(writer.now.to_owned()),
            fields: owned(FieldSet::of(kind, &base)),
        });
    }

    let applied = owned(FieldSet::of(kind, &wanted));
    let mut merged = merge::merge(kind, &mut Vec::new(), &base, &wanted);
    let (changed, _) = compare(kind, &base, &merged);

    let own = |entry: &Entry| entry.is(writer.manager, Operation::Apply, writer.subresource);
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !own(entry)) {
        let contested = entry.fields.intersection(&changed);
        if contested.is_empty() {
            continue;
        }
        if force {
            entry.fields.subtract(&contested);
        } else {
            conflicts.extend(
                contested
                    .paths()
                    .into_iter()
                    .map(|field| Conflict { message: conflict_message(entry), field }),
            );
        }
    }
    if !conflicts.is_empty() {
        return Err(Conflicts(conflicts));
    }

    let last = entries.iter().position(own).map(|index| entries.remove(index));
    if let Some(last) = &last {
        let mut kept = applied.clone();
        entries.iter().for_each(|entry| kept.union(&entry.fields));
        let mut dropped = last.fields.clone();
        dropped.subtract(&applied);
        merge::prune(kind, &mut Vec::new(), &mut merged, &dropped, &kept);
    }
    // An apply that changes nothing leaves its time, and so the object, as it was.
    let same = last.as_ref().is_some_and(|last| last.fields == applied) && merged == base;
    entries.push(Entry {
        manager: writer.manager.to_owned(),
        operation: Operation::Apply,
        api_version: api_version.to_owned(),
        subresource: writer.subresource.to_owned(),
        time: last.filter(|_| same).map_or(Some(writer.now.to_owned()), |last| last.time),
        fields: applied,
    });

    let mut object = restore_identity(merged, live.unwrap_or(config), config);
    managers::write(&mut object, entries);
    Ok(object)
}

/// Brings `managedFields` of `new` up to date after a create, update or patch; does nothing for
/// objects that nobody ever applied.
pub fn track_update(old: Option<&Value>, new: &mut Value, writer: Writer<'_>) {
    let Some(old) = old else { return };
    let mut entries = managers::read(old);
    if entries.is_empty() {
        return;
    }
    // A client that sends an empty list asks for ownership to be forgotten.
    if new.pointer("/metadata/managedFields").is_some_and(|list| {
        list.as_array()
            .is_some_and(|entries| entries.iter().all(|e| e == &Value::Object(Map::new())))
    }) {
        managers::write(new, Vec::new());
        return;
    }
    let kind = text(new, "/kind").to_owned();
    let (changed, removed) = compare(&kind, &stated(old), &stated(new));
    let changed = owned(changed);
    for entry in &mut entries {
        entry.fields.remove_below(&removed);
        if !entry.is(writer.manager, Operation::Update, writer.subresource) {
            let contested = entry.fields.intersection(&changed);
            entry.fields.subtract(&contested);
        }
    }
    if !changed.is_empty() {
        let mine = entries
            .iter_mut()
            .find(|entry| entry.is(writer.manager, Operation::Update, writer.subresource));
        match mine {
            Some(entry) => {
                entry.fields.union(&changed);
                entry.time = Some(writer.now.to_owned());
            }
            None => entries.push(Entry {
                manager: writer.manager.to_owned(),
                operation: Operation::Update,
                api_version: text(new, "/apiVersion").to_owned(),
                subresource: writer.subresource.to_owned(),
                time: Some(writer.now.to_owned()),
                fields: changed,
            }),
        }
    }
    managers::write(new, entries);
}

/// The object without what nobody manages: its identity and what the server fills in.
fn stated(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            metadata.remove(field);
        }
    }
    object
}

const SERVER_METADATA: [&str; 11] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

/// `metadata` itself has no owner, only what is in it.
fn owned(mut set: FieldSet) -> FieldSet {
    set.member = false;
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.member = false;
        if metadata.is_empty() {
            set.children.remove("f:metadata");
        }
    }
    set
}

/// Puts back what [`stated`] took: the server's part from `identity`, the preconditions that
/// `config` names (uid, resourceVersion) from there.
fn restore_identity(mut object: Value, identity: &Value, config: &Value) -> Value {
    let Some(fields) = object.as_object_mut() else { return object };
    for field in ["apiVersion", "kind"] {
        if let Some(value) = config.get(field) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        for field in SERVER_METADATA.iter().filter(|field| **field != "managedFields") {
            let stated = matches!(*field, "uid" | "resourceVersion").then_some(config);
            let value = stated
                .and_then(|config| config.pointer(&format!("/metadata/{field}")))
                .or_else(|| identity.pointer(&format!("/metadata/{field}")));
            if let Some(value) = value {
                metadata.insert((*field).to_owned(), value.clone());
            }
        }
    }
    object
}

fn conflict_message(entry: &Entry) -> String {
    let mut message = format!("conflict with {:?}", entry.manager);
    if !entry.subresource.is_empty() {
        message.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    message.push_str(&format!(" using {}", entry.api_version));
    if let (Some(time), Operation::Update) = (&entry.time, entry.operation) {
        message.push_str(&format!(" at {time}"));
    }
    message
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
