//! Makes an object conform to its struct: unknown fields are named and dropped, nulls dropped,
//! types checked, with Go's words for what does not fit.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{Struct, Type};

/// Where the walk stands: with indices for unknown fields, without for Go's type errors.
struct Walk {
    unknown: Vec<String>,
    path: String,
    go_path: String,
    go_struct: &'static str,
}

pub(super) fn prune_struct(
    found: &'static Struct,
    object: &mut Value,
) -> Result<Vec<String>, String> {
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
                return Err(self.mismatch(value, "int32"));
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
pub(super) fn go_value_name(value: &Value) -> String {
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
