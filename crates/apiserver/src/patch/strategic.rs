//! Strategic merge patch: a merge patch that knows which lists are merged by a key.
//!
//! Directives: `$patch` (replace, delete, merge), `$retainKeys`, `$deleteFromPrimitiveList/FIELD`
//! and `$setElementOrder/FIELD`, as `k8s.io/apimachinery/pkg/util/strategicpatch` has them.

use serde_json::{Map, Value};

use super::{PatchError, type_name};
use crate::resource::Resource;
use crate::schema::{self, Patch, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Applies `patch` to an object of `resource`.
pub fn strategic(resource: &Resource, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(changes) = patch else {
        return Err(PatchError::BadRequest(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            type_name(patch)
        )));
    };
    let kind = schema::find(resource.group, resource.version, resource.kind)
        .map_or(Type::Any, Type::Struct);
    let original = current.as_object().cloned().unwrap_or_default();
    merge_map(original, changes, kind).map(Value::Object)
}

/// What the schema says of one field: its type, its treatment.
fn lookup(kind: Type, name: &str) -> (Type, Patch) {
    match kind {
        Type::Struct(found) => {
            found.field(name).map_or((Type::Any, Patch::Replace), |f| (f.kind, f.patch))
        }
        Type::Map(element) | Type::AtomicMap(element) => (*element, Patch::Replace),
        _ => (Type::Any, Patch::Replace),
    }
}

fn merge_key(patch: Patch) -> Option<&'static str> {
    match patch {
        Patch::Merge(key) | Patch::MergeRetainKeys(key) => Some(key),
        Patch::Replace | Patch::MergeSet | Patch::RetainKeys => None,
    }
}

fn is_merged(patch: Patch) -> bool {
    matches!(patch, Patch::Merge(_) | Patch::MergeRetainKeys(_) | Patch::MergeSet)
}

fn element(kind: Type) -> Type {
    match kind {
        Type::List(element) => *element,
        _ => Type::Any,
    }
}

type Fields = Map<String, Value>;

fn merge_map(mut original: Fields, patch: &Fields, kind: Type) -> Result<Fields, PatchError> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            let mut fresh = patch.clone();
            fresh.remove(DIRECTIVE);
            return Ok(fresh);
        }
        Some(Some("delete")) => return Ok(Fields::new()),
        Some(Some("merge")) => {}
        Some(_) => return Err(bad_directive(patch)),
    }
    retain_keys(&mut original, patch)?;
    let ordered = merge_ordered_lists(&mut original, patch, kind)?;

    for (key, change) in patch {
        if key == DIRECTIVE
            || key == RETAIN_KEYS
            || key.starts_with(ELEMENT_ORDER)
            || ordered.contains(&key.as_str())
        {
            continue;
        }
        if let Some(field) = key.strip_prefix(DELETE_FROM) {
            let gone = change.as_array().ok_or_else(|| malformed("primitive list"))?;
            if let Some(Value::Array(list)) = original.get_mut(field) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if change.is_null() {
            original.remove(key);
            continue;
        }
        let (field_kind, strategy) = lookup(kind, key);
        let merged = match (original.remove(key), change) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                Value::Object(merge_map(old, new, field_kind)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) if is_merged(strategy) => {
                Value::Array(merge_list(old, new, element(field_kind), strategy)?)
            }
            (Some(Value::Array(_)), new) => new.clone(),
            (_, new) => without_directives(new)?,
        };
        original.insert(key.clone(), merged);
    }
    Ok(original)
}

/// Clears what `$retainKeys` does not name; whatever the patch sets must be named.
fn retain_keys(original: &mut Fields, patch: &Fields) -> Result<(), PatchError> {
    let Some(keep) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keep: Vec<&str> = keep
        .as_array()
        .ok_or_else(|| malformed("retainKeys"))?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let directive = |key: &str| {
        key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER)
    };
    if patch.iter().any(|(k, v)| !v.is_null() && !directive(k) && !keep.contains(&k.as_str())) {
        return Err(malformed("retainKeys"));
    }
    original.retain(|key, _| keep.contains(&key.as_str()));
    Ok(())
}

/// Merges the lists whose order the patch gives; returns their names.
fn merge_ordered_lists<'p>(
    original: &mut Fields,
    patch: &'p Fields,
    kind: Type,
) -> Result<Vec<&'p str>, PatchError> {
    let mut done = Vec::new();
    for (key, order) in patch {
        let Some(field) = key.strip_prefix(ELEMENT_ORDER) else { continue };
        let order = order.as_array().ok_or_else(|| malformed("setElementOrder list"))?;
        let (field_kind, strategy) = lookup(kind, field);
        let key = merge_key(strategy);
        let live = list_of(original.get(field))?;
        let change = list_of(patch.get(field))?;
        check_order(change.unwrap_or(&[]), order, key)?;
        let live_order = live.map(<[Value]>::to_vec).unwrap_or_default();
        let merged = match (live, change) {
            (None, None) => continue,
            (Some(live), None) => live.to_vec(),
            (None, Some(change)) => match without_directives(&Value::from(change.to_vec()))? {
                Value::Array(list) => list,
                _ => Vec::new(),
            },
            (Some(live), Some(change)) if is_merged(strategy) => {
                merge_list(live.to_vec(), change, element(field_kind), strategy)?
            }
            (Some(_), Some(change)) => change.to_vec(),
        };
        original.insert(field.to_owned(), arrange(merged, order, &live_order, key)?.into());
        done.push(field);
    }
    Ok(done)
}

fn list_of(value: Option<&Value>) -> Result<Option<&[Value]>, PatchError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(PatchError::BadRequest(format!(
            "expected a []interface {{}}, but received a {}",
            type_name(other)
        ))),
    }
}

/// The items of a patch must stand in the order that `$setElementOrder` gives.
fn check_order(change: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in change.iter().filter(|i| i.get(DIRECTIVE).is_none()) {
        if let Some(key) = key
            && item.get(key).is_none()
        {
            return Err(no_merge_key(item, key));
        }
        if !rest.any(|o| same_item(item, o, key)) {
            return Err(PatchError::BadRequest(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Value::from(change.to_vec()),
                Value::from(order.to_vec())
            )));
        }
    }
    Ok(())
}

fn same_item(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        None => a == b,
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
    }
}

fn merge_list(
    mut original: Vec<Value>,
    patch: &[Value],
    kind: Type,
    strategy: Patch,
) -> Result<Vec<Value>, PatchError> {
    let live = original.clone();
    let Some(key) = merge_key(strategy) else {
        // A set of plain values.
        for item in patch {
            if item.is_array() || item.is_object() {
                return Err(PatchError::Unprocessable(
                    "lists of lists are not supported".to_owned(),
                ));
            }
            if !original.contains(item) {
                original.push(item.clone());
            }
        }
        return arrange(original, patch, &live, None);
    };

    let mut changes: Vec<&Value> = Vec::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(fields) = item else {
            return Err(PatchError::Unprocessable(
                "list element types are not identical".to_owned(),
            ));
        };
        match fields.get(DIRECTIVE).map(Value::as_str) {
            None => changes.push(item),
            Some(Some("delete")) => {
                let value = fields.get(key).ok_or_else(|| no_merge_key(item, key))?;
                original.retain(|old| old.get(key) != Some(value));
            }
            Some(Some("replace")) => replace = true,
            Some(Some("merge")) => {
                return Err(PatchError::Unprocessable(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            Some(_) => return Err(bad_directive(fields)),
        }
    }
    if replace {
        return Ok(changes.into_iter().cloned().collect());
    }
    for change in &changes {
        let value = change.get(key).ok_or_else(|| no_merge_key(change, key))?;
        match original.iter_mut().find(|old| old.get(key) == Some(value)) {
            Some(found) => {
                let old = found.as_object().cloned().unwrap_or_default();
                let new = change.as_object().cloned().unwrap_or_default();
                *found = Value::Object(merge_map(old, &new, kind)?);
            }
            None => original.push(without_directives(change)?),
        }
    }
    let order: Vec<Value> = changes.into_iter().cloned().collect();
    arrange(original, &order, &live, Some(key))
}

/// Puts the items that `order` names into that order, and the others where they stood in the live
/// list relative to them.
fn arrange(
    items: Vec<Value>,
    order: &[Value],
    live: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key
        && let Some(bare) = items.iter().find(|item| item.get(key).is_none())
    {
        return Err(no_merge_key(bare, key));
    }
    let place = |item: &Value, list: &[Value]| list.iter().position(|o| same_item(item, o, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(item, order).is_some());
    named.sort_by_key(|item| place(item, order));
    others.sort_by_key(|item| place(item, live));

    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    while let (Some(other), Some(next)) = (others.peek(), named.peek()) {
        let before = matches!((place(other, live), place(next, live)), (Some(a), Some(b)) if a < b);
        out.extend(if before { others.next() } else { named.next() });
    }
    out.extend(others);
    out.extend(named);
    Ok(out)
}

/// What is new in the object keeps nothing of the patch's own language, and no nulls.
fn without_directives(value: &Value) -> Result<Value, PatchError> {
    Ok(match value {
        Value::Object(fields) => {
            let mut out = Fields::new();
            for (key, value) in fields {
                let directive = key == DIRECTIVE
                    || key == RETAIN_KEYS
                    || key.starts_with(DELETE_FROM)
                    || key.starts_with(ELEMENT_ORDER);
                if !directive && !value.is_null() {
                    out.insert(key.clone(), without_directives(value)?);
                }
            }
            if fields.get(DIRECTIVE).is_some_and(|d| d == "delete") {
                return Ok(Value::Object(Fields::new()));
            }
            Value::Object(out)
        }
        Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                // An item that only says `delete` or `replace` adds nothing.
                if item.get(DIRECTIVE).is_none() {
                    out.push(without_directives(item)?);
                }
            }
            Value::Array(out)
        }
        plain => plain.clone(),
    })
}

fn malformed(what: &str) -> PatchError {
    PatchError::BadRequest(format!("invalid patch format of {what}"))
}

fn bad_directive(fields: &Fields) -> PatchError {
    let directive = fields.get(DIRECTIVE).cloned().unwrap_or_default();
    let directive = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    PatchError::Unprocessable(format!(
        "unknown patch type: {directive} in map: {}",
        go_map(&Value::Object(fields.clone()))
    ))
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Unprocessable(format!(
        "map: {} does not contain declared merge key: {key}",
        go_map(item)
    ))
}

/// As Go prints a map: `map[image:x name:y]`.
fn go_map(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let inner: Vec<String> =
                fields.iter().map(|(k, v)| format!("{k}:{}", go_map(v))).collect();
            format!("map[{}]", inner.join(" "))
        }
        Value::Array(items) => {
            let inner: Vec<String> = items.iter().map(go_map).collect();
            format!("[{}]", inner.join(" "))
        }
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::resource::find;

    fn pod(current: Value, patch: Value) -> Result<Value, PatchError> {
        strategic(find("", "v1", "pods").unwrap(), &current, &patch)
    }

    fn containers(list: Value) -> Value {
        json!({"spec": {"containers": list}})
    }

    #[test]
    fn lists_merge_by_their_keys() {
        let current = containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]));
        let cases = [
            // Changed in place.
            (
                json!([{"name": "b", "image": "2"}]),
                json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]),
            ),
            // New ones stand before what they have no order with, as the upstream algorithm has it.
            (
                json!([{"name": "c", "image": "3"}]),
                json!([{"name": "c", "image": "3"}, {"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
            ),
            (json!([{"name": "a", "$patch": "delete"}]), json!([{"name": "b", "image": "1"}])),
            (json!([{"$patch": "replace"}, {"name": "z"}]), json!([{"name": "z"}])),
            (
                json!([{"name": "a", "image": null}]),
                json!([{"name": "a"}, {"name": "b", "image": "1"}]),
            ),
            (
                json!([{"name": "a", "env": [{"name": "X", "value": "1"}]}]),
                json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}]),
            ),
        ];
        for (change, expected) in cases {
            let got = pod(current.clone(), containers(change.clone())).unwrap();
            assert_eq!(got, containers(expected), "{change}");
        }
    }

    #[test]
    fn element_order_is_kept() {
        let current = containers(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]));
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "d"}],
            "containers": [{"name": "a", "image": "x"}, {"name": "d"}],
        }});
        let got = pod(current.clone(), patch).unwrap();
        assert_eq!(
            got,
            containers(
                json!([{"name": "b"}, {"name": "c"}, {"name": "a", "image": "x"}, {"name": "d"}])
            )
        );
        // Order alone.
        let got = pod(current.clone(), json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}})).unwrap();
        assert_eq!(got, containers(json!([{"name": "c"}, {"name": "b"}, {"name": "a"}])));
        let bad = json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "d"}]}});
        assert!(matches!(pod(current, bad), Err(PatchError::BadRequest(_))));
    }

    #[test]
    fn sets_and_deletions_from_them() {
        let current = json!({"metadata": {"finalizers": ["a/1", "b/2"]}});
        let got = pod(current.clone(), json!({"metadata": {"finalizers": ["c/3"]}})).unwrap();
        assert_eq!(got["metadata"]["finalizers"], json!(["c/3", "a/1", "b/2"]));
        let got = pod(
            current.clone(),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/1"]}}),
        )
        .unwrap();
        assert_eq!(got["metadata"]["finalizers"], json!(["b/2"]));
        let both = json!({"metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a/1"],
            "$setElementOrder/finalizers": ["d/4", "b/2"],
            "finalizers": ["d/4"],
        }});
        assert_eq!(pod(current, both).unwrap()["metadata"]["finalizers"], json!(["d/4", "b/2"]));
    }

    #[test]
    fn maps_merge_and_atomic_lists_are_replaced() {
        let current = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"tolerations": [{"key": "x"}]}});
        let got = pod(current.clone(), json!({"metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"tolerations": [{"key": "y"}]}})).unwrap();
        assert_eq!(
            got,
            json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {"tolerations": [{"key": "y"}]}})
        );
        let got =
            pod(current.clone(), json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}))
                .unwrap();
        assert_eq!(got["metadata"]["labels"], json!({"z": "1"}));
        let got = pod(current, json!({"metadata": {"labels": {"$patch": "delete"}}})).unwrap();
        assert_eq!(got["metadata"]["labels"], json!({}));
    }

    #[test]
    fn retained_keys_clear_the_rest() {
        let deployments = find("apps", "v1", "deployments").unwrap();
        let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(
            strategic(deployments, &current, &patch).unwrap(),
            json!({"spec": {"strategy": {"type": "Recreate"}}})
        );
        let bad =
            json!({"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}});
        assert_eq!(
            strategic(deployments, &current, &bad),
            Err(PatchError::BadRequest("invalid patch format of retainKeys".to_owned()))
        );
        let volumes = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let patch = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}, "emptyDir": null}]}});
        assert_eq!(
            pod(volumes, patch).unwrap(),
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}})
        );
    }

    #[test]
    fn malformed_patches_are_refused() {
        let current = containers(json!([{"name": "a"}]));
        assert_eq!(
            pod(current.clone(), containers(json!([{"image": "x"}]))),
            Err(PatchError::Unprocessable(
                "map: map[image:x] does not contain declared merge key: name".to_owned()
            ))
        );
        assert_eq!(
            pod(current.clone(), json!({"spec": {"$patch": "burn"}})),
            Err(PatchError::Unprocessable(
                "unknown patch type: burn in map: map[$patch:burn]".to_owned()
            ))
        );
        assert!(pod(current.clone(), json!([])).is_err());
        assert!(pod(current, containers(json!(["x"]))).is_err());
    }

    #[test]
    fn services_merge_ports_by_port() {
        let services = find("", "v1", "services").unwrap();
        let current =
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}]}});
        let patch =
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30001}], "type": "NodePort"}});
        assert_eq!(
            strategic(services, &current, &patch).unwrap(),
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30001, "protocol": "TCP"}], "type": "NodePort"}})
        );
    }

    fn container() -> impl Strategy<Value = Value> {
        (
            "[a-d]",
            proptest::option::of("[x-z]"),
            proptest::collection::vec(("[A-C]", "[0-9]"), 0..3),
        )
            .prop_map(|(name, image, env)| {
                let mut seen = std::collections::BTreeMap::new();
                seen.extend(env);
                let env: Vec<Value> =
                    seen.into_iter().map(|(n, v)| json!({"name": n, "value": v})).collect();
                let mut out = json!({"name": name});
                if let Some(image) = image {
                    out["image"] = image.into();
                }
                if !env.is_empty() {
                    out["env"] = env.into();
                }
                out
            })
    }

    fn pods() -> impl Strategy<Value = Value> {
        (
            proptest::collection::vec(container(), 1..4),
            proptest::collection::btree_map("[a-c]", "[0-9]", 0..3),
        )
            .prop_map(|(list, labels)| {
                let mut seen = std::collections::BTreeMap::new();
                seen.extend(list.into_iter().map(|c| (c["name"].to_string(), c)));
                let list: Vec<Value> = seen.into_values().collect();
                json!({"metadata": {"labels": labels}, "spec": {"containers": list}})
            })
    }

    proptest! {
        #[test]
        fn a_patch_applied_twice_is_applied_once(current in pods(), patch in pods()) {
            let once = pod(current, patch.clone()).unwrap();
            let twice = pod(once.clone(), patch).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn an_object_patched_with_itself_stays(current in pods()) {
            prop_assert_eq!(pod(current.clone(), current.clone()).unwrap(), current);
        }

        #[test]
        fn everything_the_patch_says_holds_afterwards(current in pods(), patch in pods()) {
            let after = pod(current, patch.clone()).unwrap();
            for wanted in patch["spec"]["containers"].as_array().unwrap() {
                let found = after["spec"]["containers"].as_array().unwrap().iter().find(|c| c["name"] == wanted["name"]).unwrap();
                for (key, value) in wanted.as_object().unwrap() {
                    if key == "env" {
                        for item in value.as_array().unwrap() {
                            prop_assert!(found["env"].as_array().unwrap().contains(item));
                        }
                    } else {
                        prop_assert_eq!(&found[key], value);
                    }
                }
            }
        }
    }
}
