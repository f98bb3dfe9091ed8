//! From the bytes of a request to an object: duplicates and unknown fields are found, types checked
//! and what the kind does not know is dropped, as kube-apiserver's decoder does.

use base64::Engine as _;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{Struct, Type};
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

// ---- parsing with an eye on duplicates ----------------------------------------------------

fn parse(raw: &[u8], duplicates: &mut Vec<String>) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let value = Reader { place: &Place::Root, duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Where a value stands; written out only when there is something to say about it.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => {
                parent.write(out);
                push(out, name);
            }
            Self::Item(parent, index) => {
                parent.write(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }
}

struct Reader<'a> {
    place: &'a Place<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place::Item(self.place, list.len());
            let reader = Reader { place: &place, duplicates: &mut *self.duplicates };
            match access.next_element_seed(reader)? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let place = Place::Field(self.place, &key);
            if map.contains_key(&key) {
                let mut path = String::new();
                place.write(&mut path);
                // A field that stands three times is one problem.
                let problem = format!("duplicate field {path:?}");
                if !self.duplicates.contains(&problem) {
                    self.duplicates.push(problem);
                }
            }
            let reader = Reader { place: &place, duplicates: &mut *self.duplicates };
            let value = access.next_value_seed(reader)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

// ---- types ----------------------------------------------------------------------------------

/// Where the walk stands: with indices for unknown fields, without for Go's type errors.
struct Walk {
    unknown: Vec<String>,
    path: String,
    go_path: String,
    go_struct: &'static str,
}

fn prune_struct(found: &'static Struct, object: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk {
        unknown: Vec::new(),
        path: String::new(),
        go_path: String::new(),
        go_struct: found.go_name(),
    };
    walk.structure(found, object)?;
    Ok(walk.unknown)
}

impl Walk {
    fn mismatch(&self, value: &Value, expected: &str) -> String {
        let found = go_value_name(value);
        if self.go_path.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {expected}");
        }
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {expected}",
            self.go_struct, self.go_path
        )
    }

    fn structure(&mut self, found: &'static Struct, value: &mut Value) -> Result<(), String> {
        let Value::Object(map) = value else {
            return Err(self.mismatch(value, &found.go_type()));
        };
        let outer = (self.path.len(), self.go_path.len(), self.go_struct);
        self.go_struct = found.go_name();
        let mut dropped = Vec::new();
        for (name, value) in map.iter_mut() {
            push(&mut self.path, name);
            match found.field(name) {
                None => {
                    self.unknown.push(format!("unknown field {:?}", self.path));
                    dropped.push(name.clone());
                }
                // Null is the zero value, which is not written back.
                Some(_) if value.is_null() => dropped.push(name.clone()),
                Some(field) => {
                    push(&mut self.go_path, name);
                    self.value(field.kind, value)?;
                }
            }
            self.path.truncate(outer.0);
            self.go_path.truncate(outer.1);
        }
        self.go_struct = outer.2;
        for name in dropped {
            map.remove(&name);
        }
        Ok(())
    }

    fn value(&mut self, kind: Type, value: &mut Value) -> Result<(), String> {
        match kind {
            Type::Any => Ok(()),
            Type::Struct(found) => self.structure(found, value),
            Type::List(element) => {
                let Value::Array(list) = value else {
                    return Err(self.mismatch(value, &go_type(kind)));
                };
                let length = self.path.len();
                for (i, item) in list.iter_mut().enumerate() {
                    if item.is_null() {
                        *item = zero(*element);
                        continue;
                    }
                    self.path.push_str(&format!("[{i}]"));
                    self.value(*element, item)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            Type::Map(element) | Type::AtomicMap(element) => {
                let Value::Object(map) = value else {
                    return Err(self.mismatch(value, &go_type(kind)));
                };
                let length = self.path.len();
                for (key, item) in map.iter_mut() {
                    if item.is_null() {
                        *item = zero(*element);
                        continue;
                    }
                    push(&mut self.path, key);
                    self.value(*element, item)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            _ => self.leaf(kind, value),
        }
    }

    fn leaf(&self, kind: Type, value: &mut Value) -> Result<(), String> {
        let good = match kind {
            Type::String => value.is_string(),
            Type::Bool => value.is_boolean(),
            Type::Int32 => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Type::Int64 => value.as_i64().is_some(),
            Type::IntOrString => {
                if let Value::String(_) = value {
                    return Ok(());
                }
                if value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) {
                    return Ok(());
                }
                return Err(format!(
                    "json: cannot unmarshal {} into Go value of type int32",
                    go_value_name(value)
                ));
            }
            Type::Quantity => return quantity(value),
            Type::Time | Type::MicroTime => return self.time(kind, value),
            Type::Bytes => {
                let Value::String(text) = value else {
                    return Err(self.mismatch(value, "[]uint8"));
                };
                return base64::engine::general_purpose::STANDARD
                    .decode(text.as_bytes())
                    .map(|_| ())
                    .map_err(|e| {
                        format!("illegal base64 data at input byte {}", base64_offset(&e))
                    });
            }
            Type::Any | Type::Struct(_) | Type::List(_) | Type::Map(_) | Type::AtomicMap(_) => true,
        };
        if good { Ok(()) } else { Err(self.mismatch(value, &go_type(kind))) }
    }

    fn time(&self, kind: Type, value: &mut Value) -> Result<(), String> {
        let Value::String(text) = value else {
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type string",
                go_value_name(value)
            ));
        };
        let (layout, parsed) = match kind {
            Type::MicroTime => {
                ("2006-01-02T15:04:05.000000Z07:00", text.parse::<jiff::Timestamp>())
            }
            _ => ("2006-01-02T15:04:05Z07:00", text.parse::<jiff::Timestamp>()),
        };
        match parsed {
            // Times are stored in UTC, whole seconds or microseconds, as Go writes them back.
            Ok(time) => {
                *text = match kind {
                    Type::MicroTime => time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
                    _ => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                };
                Ok(())
            }
            Err(_) => Err(format!(
                "parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""
            )),
        }
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn base64_offset(error: &base64::DecodeError) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            *at
        }
        base64::DecodeError::InvalidLength(length) => *length,
        base64::DecodeError::InvalidPadding => 0,
    }
}

/// What Go has where nothing was said.
fn zero(kind: Type) -> Value {
    match kind {
        Type::String | Type::Bytes => Value::String(String::new()),
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Struct(_) | Type::Map(_) | Type::AtomicMap(_) => Value::Object(Map::new()),
        Type::List(_) | Type::Time | Type::MicroTime | Type::Any => Value::Null,
    }
}

/// The words of Go's decoder for a value it did not expect.
fn go_value_name(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_f64() || number.as_i64().is_none() => {
            format!("number {number}")
        }
        Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_err()) => {
            format!("number {number}")
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn go_type(kind: Type) -> String {
    match kind {
        Type::String => "string".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Any => "runtime.RawExtension".to_owned(),
        Type::Struct(found) => found.go_type(),
        Type::List(element) => format!("[]{}", go_type(*element)),
        Type::Map(element) | Type::AtomicMap(element) => {
            format!("map[string]{}", go_type(*element))
        }
    }
}

/// A number or text with an optional suffix: `100m`, `1.5Gi`, `1e3`.
fn quantity(value: &mut Value) -> Result<(), String> {
    const PATTERN: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(PATTERN.to_owned()),
    };
    let digits_start = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let split =
        digits_start.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits_start.len());
    let (number, suffix) = digits_start.split_at(split);
    if number.is_empty() || number.matches('.').count() > 1 || number == "." {
        return Err(PATTERN.to_owned());
    }
    const SUFFIXES: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|rest| {
        let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
    });
    if !SUFFIXES.contains(&suffix) && !exponent {
        return Err("unable to parse quantity's suffix".to_owned());
    }
    *value = Value::String(text);
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
                "json: cannot unmarshal bool into Go value of type int32",
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
