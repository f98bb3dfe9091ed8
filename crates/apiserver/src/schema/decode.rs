//! From the bytes of a request to an object: duplicates and unknown fields are found, types checked
//! and what the kind does not know is dropped, as kube-apiserver's decoder does.

use serde_json::Value;

use super::conform::{go_value_name, prune_struct};
use super::parse::parse;
use crate::resource::Resource;

/// `fieldValidation=` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; [`None`] for a value that does not exist.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// An object as it is to be processed: known fields of the right types, nulls dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub object: Value,
    /// `unknown field "spec.foo"`, `duplicate field "spec.ports"`: warnings or, joined by
    /// [`DecodeError::strict`], the reason of a refusal.
    pub problems: Vec<String>,
}

/// Why a body is no object of its kind: the message of a `BadRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

impl DecodeError {
    /// The refusal under `fieldValidation=Strict`.
    pub fn strict(version: &str, kind: &str, problems: &[String]) -> Self {
        let list = problems.join(", ");
        Self(envelope(version, kind, &format!("strict decoding error: {list}")))
    }
}

fn envelope(version: &str, kind: &str, message: &str) -> String {
    format!("{kind} in version {version:?} cannot be handled as a {kind}: {message}")
}

/// Reads a body that must hold the kind, in JSON. `apiVersion` and `kind` may be missing: the
/// request's path says them; where they are present they must agree.
pub fn decode(group: &str, version: &str, kind: &str, raw: &[u8]) -> Result<Decoded, DecodeError> {
    let mut duplicates = Vec::new();
    let mut object = parse(raw, &mut duplicates).map_err(|e| {
        let hex: String = raw.iter().take(30).map(|b| format!("{b:02x}")).collect();
        let more = if raw.len() > 30 { " ..." } else { "" };
        DecodeError(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {e} ({hex}{more})"
        ))
    })?;
    let expected = api_version(group, version);
    check_kind(&mut object, &expected, version, kind)?;
    let Some(found) = super::find(group, version, kind) else {
        return Ok(Decoded { object, problems: duplicates });
    };
    let mut unknown = prune_struct(found, &mut object)
        .map_err(|message| DecodeError(envelope(version, kind, &message)))?;
    // The strict decoder reports duplicates where it meets them; ours come first.
    let mut problems = duplicates;
    problems.append(&mut unknown);
    Ok(Decoded { object, problems })
}

/// Checks and prunes an object that is JSON already: the result of a patch, a converted YAML.
/// Returns the unknown fields.
pub fn prune(
    group: &str,
    version: &str,
    kind: &str,
    object: &mut Value,
) -> Result<Vec<String>, DecodeError> {
    match super::find(group, version, kind) {
        Some(found) => prune_struct(found, object)
            .map_err(|message| DecodeError(envelope(version, kind, &message))),
        None => Ok(Vec::new()),
    }
}

/// The unknown and the duplicate fields of a body; none if it is no object of the kind at all.
pub fn check_fields(resource: &Resource, raw: &[u8]) -> Vec<String> {
    decode(resource.group, resource.version, resource.kind, raw)
        .map(|decoded| decoded.problems)
        .unwrap_or_default()
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn check_kind(
    object: &mut Value,
    expected: &str,
    version: &str,
    kind: &str,
) -> Result<(), DecodeError> {
    let Value::Object(map) = object else {
        let found = go_value_name(object);
        return Err(DecodeError(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )));
    };
    // DeleteOptions, and only those, are accepted in the version of any group.
    if kind == "DeleteOptions" {
        return Ok(());
    }
    for (field, expected) in [("apiVersion", expected), ("kind", kind)] {
        match map.get(field) {
            None | Some(Value::Null) => {
                map.insert(field.to_owned(), expected.into());
            }
            Some(Value::String(text)) if text.is_empty() => {
                map.insert(field.to_owned(), expected.into());
            }
            Some(Value::String(_)) => {}
            Some(other) => {
                return Err(DecodeError(format!(
                    "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{field} of type string",
                    go_value_name(other)
                )));
            }
        }
    }
    let found_version = map.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let found_kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    if found_version != expected {
        return Err(DecodeError(format!(
            "the API version in the data ({found_version}) does not match the expected API version ({expected})"
        )));
    }
    if found_kind != kind {
        return Err(DecodeError(format!(
            "{found_kind} in version {version:?} cannot be handled as a {kind}: no kind {found_kind:?} is registered for version {expected:?} at this path"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(body: &str) -> Result<Decoded, DecodeError> {
        decode("", "v1", "Service", body.as_bytes())
    }

    #[test]
    fn unknown_and_duplicate_fields_are_named_and_dropped() {
        let decoded = service(
            r#"{"spec":{"foo":1,"ports":[{"port":80,"prot":"TCP"},{"port":1,"port":2}],"type":"ClusterIP"},
               "metadata":{"name":"a","labels":{"x":"y"},"name":"b"},"bar":null}"#,
        )
        .unwrap();
        assert_eq!(
            decoded.problems,
            [
                "duplicate field \"spec.ports[1].port\"",
                "duplicate field \"metadata.name\"",
                "unknown field \"bar\"",
                "unknown field \"spec.foo\"",
                "unknown field \"spec.ports[0].prot\"",
            ]
        );
        assert_eq!(
            decoded.object,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "labels": {"x": "y"}},
                "spec": {"ports": [{"port": 80}, {"port": 2}], "type": "ClusterIP"}})
        );
        assert_eq!(
            DecodeError::strict("v1", "Service", &decoded.problems[4..]).0,
            "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \"spec.ports[0].prot\""
        );
    }

    #[test]
    fn wrong_types_are_refused_in_the_words_of_go() {
        let prefix = "Service in version \"v1\" cannot be handled as a Service: ";
        for (body, expected) in [
            (
                r#"{"spec":{"ports":[{"port":"80"}]}}"#,
                "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
            ),
            (
                r#"{"spec":{"ports":{}}}"#,
                "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
            ),
            (
                r#"{"spec":{"ports":[{"port":1.5}]}}"#,
                "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.port of type int32",
            ),
            (
                r#"{"spec":{"ports":[{"port":4294967296}]}}"#,
                "json: cannot unmarshal number 4294967296 into Go struct field ServicePort.spec.ports.port of type int32",
            ),
            (
                r#"{"metadata":{"labels":{"a":true}}}"#,
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                r#"{"metadata":[]}"#,
                "json: cannot unmarshal array into Go struct field Service.metadata of type v1.ObjectMeta",
            ),
            (
                r#"{"spec":{"selector":[]}}"#,
                "json: cannot unmarshal array into Go struct field ServiceSpec.spec.selector of type map[string]string",
            ),
            (
                r#"{"spec":{"ports":[{"port":80,"targetPort":true}]}}"#,
                "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
            ),
            (
                r#"{"metadata":{"creationTimestamp":"soon"}}"#,
                "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\"",
            ),
        ] {
            assert_eq!(service(body).unwrap_err().0, format!("{prefix}{expected}"), "{body}");
        }
    }

    #[test]
    fn kind_and_version_must_agree_with_the_path() {
        for body in ["{", "[]", "7", "", "{}x"] {
            let message = service(body).unwrap_err().0;
            assert!(message.starts_with("the object provided is unrecognized (must be of type Service): couldn't get version/kind; json parse error: "), "{message}");
        }
        assert_eq!(
            service(r#"{"apiVersion":"apps/v1","kind":"Service"}"#).unwrap_err().0,
            "the API version in the data (apps/v1) does not match the expected API version (v1)"
        );
        assert!(
            service(r#"{"apiVersion":"v1","kind":"Pod"}"#)
                .unwrap_err()
                .0
                .starts_with("Pod in version \"v1\" cannot be handled as a Service: ")
        );
        assert_eq!(service("{}").unwrap().object, json!({"apiVersion": "v1", "kind": "Service"}));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(service(&format!("{{\"spec\":{deep}}}")).is_err());
    }

    #[test]
    fn values_are_brought_into_their_form() {
        let decoded = decode(
            "",
            "v1",
            "Pod",
            br#"{"metadata":{"creationTimestamp":"2024-01-02T03:04:05+01:00","labels":{"a":null}},
                 "spec":{"containers":[null,{"resources":{"limits":{"cpu":1,"memory":"1.5Gi"}}}],"hostNetwork":null}}"#,
        )
        .unwrap();
        assert_eq!(
            decoded.object["metadata"],
            json!({"creationTimestamp": "2024-01-02T02:04:05Z", "labels": {"a": ""}})
        );
        assert_eq!(
            decoded.object["spec"],
            json!({"containers": [{}, {"resources": {"limits": {"cpu": "1", "memory": "1.5Gi"}}}]})
        );
        assert!(decoded.problems.is_empty());
        for (bad, message) in [
            ("\"1x\"", "unable to parse quantity's suffix"),
            ("true", "quantities must match"),
            ("\"\"", "quantities must match"),
        ] {
            let body = format!(r#"{{"spec":{{"overhead":{{"cpu":{bad}}}}}}}"#);
            assert!(
                decode("", "v1", "Pod", body.as_bytes()).unwrap_err().0.contains(message),
                "{bad}"
            );
        }
        let secret = decode("", "v1", "Secret", br#"{"data":{"a":"%%"}}"#).unwrap_err();
        assert_eq!(
            secret.0,
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0"
        );
    }
}
