//! Merging an applied configuration into an object, and taking out what its manager dropped.

use serde_json::{Map, Value};

use super::field_set::{FieldSet, Step, field_step, item_step, set_step};
use super::shape::{Shape, shape};

/// `live` with everything that `config` states.
pub(super) fn merge<'v>(
    kind: &str,
    path: &mut Vec<&'v str>,
    live: &Value,
    config: &'v Value,
) -> Value {
    match (shape(kind, path, config), live, config) {
        (Shape::Granular, Value::Object(old), Value::Object(new)) => {
            let mut fields = old.clone();
            for (name, value) in new.iter().filter(|(_, value)| !value.is_null()) {
                path.push(name);
                let merged = merge(kind, path, old.get(name).unwrap_or(&Value::Null), value);
                path.pop();
                fields.insert(name.clone(), merged);
            }
            Value::Object(fields)
        }
        (Shape::Keyed(keys), Value::Array(old), Value::Array(new)) => {
            let mut items = old.clone();
            for item in new {
                let step = item_step(item, keys);
                let place = items.iter().position(|i| step.is_some() && item_step(i, keys) == step);
                match place {
                    Some(index) => items[index] = merge(kind, path, &items[index], item),
                    None => items.push(without_nulls(item)),
                }
            }
            Value::Array(items)
        }
        (Shape::Set, Value::Array(old), Value::Array(new)) => {
            let mut items = old.clone();
            items.extend(new.iter().filter(|item| !old.contains(item)).cloned());
            Value::Array(items)
        }
        _ => without_nulls(config),
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, field)| !field.is_null())
                .map(|(name, field)| (name.clone(), without_nulls(field)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Removes the places of `dropped` from `value`; a place below which `kept` has something stays.
/// Says whether the value itself is to go.
pub(super) fn prune<'v>(
    kind: &str,
    path: &mut Vec<&'v str>,
    value: &mut Value,
    dropped: &'v FieldSet,
    kept: &FieldSet,
) -> bool {
    let nothing = FieldSet::default();
    let below = |step: &Step| kept.children.get(step).unwrap_or(&nothing);
    match (shape(kind, path, value), &mut *value) {
        (Shape::Granular, Value::Object(fields)) => {
            for (step, place) in &dropped.children {
                let Some(name) = step.strip_prefix("f:") else { continue };
                let Some(field) = fields.get_mut(name) else { continue };
                path.push(name);
                let gone = prune(kind, path, field, place, below(&field_step(name)));
                path.pop();
                if gone {
                    fields.remove(name);
                }
            }
            kept.is_empty() && fields.is_empty()
        }
        (Shape::Keyed(keys), Value::Array(items)) => {
            items.retain_mut(|item| {
                let Some(step) = item_step(item, keys) else { return true };
                let Some(place) = dropped.children.get(&step) else { return true };
                let gone = prune(kind, path, item, place, below(&step));
                !(gone || place.member && below(&step).is_empty())
            });
            kept.is_empty() && items.is_empty()
        }
        (Shape::Set, Value::Array(items)) => {
            items.retain(|item| {
                let step = set_step(item);
                !dropped.children.contains_key(&step) || !below(&step).is_empty()
            });
            kept.is_empty() && items.is_empty()
        }
        _ => dropped.member && kept.is_empty(),
    }
}
