//! JSON patch, RFC 6902.

use serde_json::Value;

use super::{PatchError, type_name};

/// How many operations one patch may hold, as in kube-apiserver.
const MAX_OPERATIONS: usize = 10_000;
/// How many bytes the `copy` operations of one patch may make in all.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies `patch`, a list of operations; `current` stays as it is if any of them fails.
pub fn json(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::BadRequest(format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            type_name(patch)
        )));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut document = current.clone();
    let mut copied = 0;
    for operation in operations {
        apply(&mut document, operation, &mut copied)?;
    }
    Ok(document)
}

fn apply(document: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    if !operation.is_object() {
        return Err(PatchError::BadRequest(format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Operation",
            type_name(operation)
        )));
    }
    let name = operation.get("op").and_then(Value::as_str).unwrap_or_default();
    let path = pointer(operation, "path")?;
    match name {
        "add" => add(document, &path, value(operation)?),
        "remove" => remove(document, &path).map(|_| ()),
        "replace" => {
            let value = value(operation)?;
            let place = find_mut(document, &path).ok_or_else(|| missing("replace", &path))?;
            *place = value;
            Ok(())
        }
        "move" => {
            let from = pointer(operation, "from")?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err(PatchError::Unprocessable(format!(
                    "move operation does not apply: {} lies within {}",
                    show(&path),
                    show(&from)
                )));
            }
            let value = remove(document, &from)?;
            add(document, &path, value)
        }
        "copy" => {
            let from = pointer(operation, "from")?;
            let value = find(document, &from).ok_or_else(|| missing("copy", &from))?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_COPIED {
                return Err(PatchError::Unprocessable(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
            add(document, &path, value)
        }
        "test" => {
            // A path that does not exist equals null, as kube-apiserver's library has it.
            let expected = operation.get("value").unwrap_or(&Value::Null);
            let found = find(document, &path).unwrap_or(&Value::Null);
            if found == expected {
                Ok(())
            } else {
                Err(PatchError::Unprocessable(format!(
                    "testing value {} failed: test failed",
                    show(&path)
                )))
            }
        }
        other => Err(PatchError::Unprocessable(format!("Unexpected kind: {other}"))),
    }
}

fn value(operation: &Value) -> Result<Value, PatchError> {
    operation.get("value").cloned().ok_or_else(|| {
        PatchError::Unprocessable("operation is missing its member \"value\"".to_owned())
    })
}

fn pointer(operation: &Value, member: &str) -> Result<Vec<String>, PatchError> {
    let Some(text) = operation.get(member).and_then(Value::as_str) else {
        return Err(PatchError::Unprocessable(format!(
            "operation is missing its member {member:?}"
        )));
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(PatchError::Unprocessable(format!("{text:?} is not a JSON pointer")));
    };
    Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

fn show(path: &[String]) -> String {
    path.iter().map(|p| format!("/{}", p.replace('~', "~0").replace('/', "~1"))).collect()
}

fn missing(operation: &str, path: &[String]) -> PatchError {
    PatchError::Unprocessable(format!(
        "{operation} operation does not apply: doc is missing path: {}: missing value",
        show(path)
    ))
}

fn index(part: &str, length: usize) -> Option<usize> {
    let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()));
    let number: usize = if plain { part.parse().ok()? } else { return None };
    (number < length).then_some(number)
}

fn find<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |here, part| match here {
        Value::Object(map) => map.get(part),
        Value::Array(list) => list.get(index(part, list.len())?),
        _ => None,
    })
}

fn find_mut<'a>(document: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |here, part| match here {
        Value::Object(map) => map.get_mut(part),
        Value::Array(list) => {
            let at = index(part, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    let Some((last, parents)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find_mut(document, parents) {
        Some(Value::Object(map)) => {
            map.insert(last.clone(), value);
            Ok(())
        }
        Some(Value::Array(list)) => {
            let at = if last == "-" { Some(list.len()) } else { index(last, list.len() + 1) };
            match at {
                Some(at) => {
                    list.insert(at, value);
                    Ok(())
                }
                None => Err(PatchError::Unprocessable(format!(
                    "add operation does not apply: Unable to access invalid index: {last}"
                ))),
            }
        }
        _ => Err(missing("add", path)),
    }
}

fn remove(document: &mut Value, path: &[String]) -> Result<Value, PatchError> {
    let gone = path.split_last().and_then(|(last, parents)| match find_mut(document, parents)? {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let at = index(last, list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    });
    gone.ok_or_else(|| missing("remove", path))
}

#[cfg(test)]
mod tests {
    use serde_json::json as j;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 6902, appendix A.
        let cases = [
            (
                j!({"foo": "bar"}),
                j!([{"op": "add", "path": "/baz", "value": "qux"}]),
                Some(j!({"baz": "qux", "foo": "bar"})),
            ),
            (
                j!({"foo": ["bar", "baz"]}),
                j!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                Some(j!({"foo": ["bar", "qux", "baz"]})),
            ),
            (
                j!({"baz": "qux", "foo": "bar"}),
                j!([{"op": "remove", "path": "/baz"}]),
                Some(j!({"foo": "bar"})),
            ),
            (
                j!({"foo": ["bar", "qux", "baz"]}),
                j!([{"op": "remove", "path": "/foo/1"}]),
                Some(j!({"foo": ["bar", "baz"]})),
            ),
            (
                j!({"baz": "qux"}),
                j!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                Some(j!({"baz": "boo"})),
            ),
            (
                j!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                j!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                Some(j!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
            ),
            (
                j!({"foo": ["all", "grass", "cows", "eat"]}),
                j!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                Some(j!({"foo": ["all", "cows", "eat", "grass"]})),
            ),
            (
                j!({"baz": "qux", "foo": ["a", 2, "c"]}),
                j!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]),
                Some(j!({"baz": "qux", "foo": ["a", 2, "c"]})),
            ),
            (j!({"baz": "qux"}), j!([{"op": "test", "path": "/baz", "value": "bar"}]), None),
            (
                j!({"foo": "bar"}),
                j!([{"op": "add", "path": "/child", "value": {"grandchild": {}}}]),
                Some(j!({"foo": "bar", "child": {"grandchild": {}}})),
            ),
            (
                j!({"foo": "bar"}),
                j!([{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]),
                Some(j!({"foo": "bar", "baz": "qux"})),
            ),
            (j!({"foo": "bar"}), j!([{"op": "add", "path": "/baz/bat", "value": "qux"}]), None),
            (
                j!({"/": 9, "~1": 10}),
                j!([{"op": "test", "path": "/~01", "value": 10}]),
                Some(j!({"/": 9, "~1": 10})),
            ),
            (j!({"/": 9, "~1": 10}), j!([{"op": "test", "path": "/~01", "value": "10"}]), None),
            (
                j!({"foo": ["bar"]}),
                j!([{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]),
                Some(j!({"foo": ["bar", ["abc", "def"]]})),
            ),
            (
                j!({"a": 1}),
                j!([{"op": "copy", "from": "/a", "path": "/b"}]),
                Some(j!({"a": 1, "b": 1})),
            ),
            (j!({"a": {"b": 1}}), j!([{"op": "move", "from": "/a", "path": "/a/b"}]), None),
            (j!({"a": [1]}), j!([{"op": "add", "path": "/a/01", "value": 1}]), None),
            (j!({"a": [1]}), j!([{"op": "remove", "path": "/a/1"}]), None),
            (j!({"a": 1}), j!([{"op": "replace", "path": "/b", "value": 1}]), None),
            (j!({"a": 1}), j!([{"op": "jump", "path": "/a"}]), None),
            (j!({"a": 1}), j!([{"op": "add", "path": "b", "value": 1}]), None),
        ];
        for (document, patch, expected) in cases {
            assert_eq!(json(&document, &patch).ok(), expected, "{patch}");
        }
    }

    #[test]
    fn limits_and_malformed_patches() {
        assert!(matches!(json(&j!({}), &j!({})), Err(PatchError::BadRequest(_))));
        assert!(matches!(json(&j!({}), &j!([1])), Err(PatchError::BadRequest(_))));
        let many = Value::Array(vec![j!({"op": "test", "path": "/x"}); 10_001]);
        assert_eq!(
            json(&j!({}), &many),
            Err(PatchError::TooLarge(
                "The allowed maximum operations in a JSON patch is 10000, got 10001".to_owned()
            ))
        );
        // Doubling by copies stops before it fills the memory.
        let doubling: Vec<Value> =
            (0..64).map(|_| j!({"op": "copy", "from": "/a", "path": "/a/-"})).collect();
        let seed = j!({"a": ["0123456789"]});
        assert!(matches!(json(&seed, &doubling.into()), Err(PatchError::Unprocessable(_))));
    }
}
