//! Kubernetes' protobuf encoding of objects, as far as requests need it: `kubectl create` and Go
//! clients send it. Answers are JSON, which all of them accept.
//!
//! The format: the bytes `k8s\0`, then a `runtime.Unknown` message with the type's name and the
//! object as proto2. Unlike JSON, a field that Go does not hold by pointer is sent even when it is
//! zero; such zeros are dropped where Go's JSON would drop them.

mod messages;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map as JsonMap, Value, json};

use self::messages::MESSAGES;

const MAGIC: &[u8] = b"k8s\0";
/// Messages in messages; objects have about ten levels.
const DEPTH: usize = 64;

struct Message {
    /// `core.v1.Pod`
    name: &'static str,
    fields: &'static [Field],
}

struct Field {
    number: u32,
    /// The name in JSON; empty for [`Shape::Inline`].
    name: &'static str,
    shape: Shape,
    kind: Kind,
    /// Whether JSON leaves out the zero value.
    drops_zero: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
    /// Repeated entries of key (1) and value (2).
    Map,
    /// The message's fields stand among those of the outer one.
    Inline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Bytes,
    Int,
    IntOrString,
    Message(usize),
    MicroTime,
    Quantity,
    /// JSON in bytes.
    Raw,
    String,
    /// A message that holds nothing but a list of strings.
    Strings,
    Time,
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the body does not start with the protobuf prefix of Kubernetes")]
    Prefix,
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind { api_version: String, kind: String },
    #[error("the protobuf message is malformed")]
    Malformed,
}

/// Reads an object.
pub(crate) fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let unknown = body.strip_prefix(MAGIC).ok_or(DecodeError::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(unknown) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Wire::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = find(&api_version, &kind) else {
        return Err(DecodeError::Kind { api_version, kind });
    };
    let mut object = JsonMap::new();
    read(message, raw, &mut object, DEPTH)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

fn find(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    // DeleteOptions comes in the version of any group.
    let name = match kind {
        "DeleteOptions" => "meta.v1.DeleteOptions".to_owned(),
        kind => format!("{}.{version}.{kind}", group.split('.').next().unwrap_or(group)),
    };
    let at = MESSAGES.binary_search_by(|message| message.name.cmp(&name)).ok()?;
    Some(&MESSAGES[at])
}

fn read(
    message: &Message,
    bytes: &[u8],
    object: &mut JsonMap<String, Value>,
    depth: usize,
) -> Result<(), DecodeError> {
    let depth = depth.checked_sub(1).ok_or(DecodeError::Malformed)?;
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let Some(field) = message.fields.iter().find(|field| field.number == number) else {
            continue;
        };
        match field.shape {
            Shape::One => {
                let value = value(field.kind, wire, depth)?;
                if !(value.is_null() || field.drops_zero && is_zero(&value)) {
                    object.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => {
                let list = object.entry(field.name).or_insert_with(|| json!([]));
                let Value::Array(list) = list else { return Err(DecodeError::Malformed) };
                match (field.kind, wire) {
                    // Packed numbers.
                    (Kind::Int | Kind::Bool, Wire::Bytes(mut packed)) => {
                        while !packed.is_empty() {
                            let number = Wire::Number(varint(&mut packed)?);
                            list.push(value(field.kind, number, depth)?);
                        }
                    }
                    (kind, wire) => list.push(value(kind, wire, depth)?),
                }
            }
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { return Err(DecodeError::Malformed) };
                let (mut key, mut found) = (String::new(), None);
                for field_of_entry in Fields(entry) {
                    match field_of_entry? {
                        (1, Wire::Bytes(bytes)) => key = text(bytes)?,
                        (2, wire) => found = Some(value(field.kind, wire, depth)?),
                        _ => {}
                    }
                }
                let found = found.unwrap_or_else(|| match field.kind {
                    Kind::Bytes | Kind::String => "".into(),
                    _ => Value::Null,
                });
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                let Value::Object(map) = map else { return Err(DecodeError::Malformed) };
                map.insert(key, found);
            }
            Shape::Inline => match (field.kind, wire) {
                (Kind::Message(inner), Wire::Bytes(bytes)) => {
                    read(&MESSAGES[inner], bytes, object, depth)?;
                }
                _ => return Err(DecodeError::Malformed),
            },
        }
    }
    Ok(())
}

fn value(kind: Kind, wire: Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
    Ok(match (kind, wire) {
        (Kind::Bool, Wire::Number(number)) => (number != 0).into(),
        // Negative numbers come sign-extended to 64 bits.
        (Kind::Int, Wire::Number(number)) => number.cast_signed().into(),
        (Kind::String, Wire::Bytes(bytes)) => text(bytes)?.into(),
        (Kind::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Kind::Raw, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(json)) => {
                serde_json::from_slice(json).map_err(|_| DecodeError::Malformed)?
            }
            _ => Value::Null,
        },
        (Kind::Quantity, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(bytes)) => text(bytes)?.into(),
            _ => "0".into(),
        },
        (Kind::Strings, Wire::Bytes(bytes)) => {
            let mut list = Vec::new();
            for field in Fields(bytes) {
                if let (1, Wire::Bytes(bytes)) = field? {
                    list.push(text(bytes)?);
                }
            }
            list.into()
        }
        (Kind::IntOrString, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Number(1)) => match first(bytes, 3)? {
                Some(Wire::Bytes(bytes)) => text(bytes)?.into(),
                _ => "".into(),
            },
            _ => match first(bytes, 2)? {
                Some(Wire::Number(number)) => number.cast_signed().into(),
                _ => 0.into(),
            },
        },
        (Kind::Time, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
        (Kind::MicroTime, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
        (Kind::Message(inner), Wire::Bytes(bytes)) => {
            let mut object = JsonMap::new();
            read(&MESSAGES[inner], bytes, &mut object, depth)?;
            Value::Object(object)
        }
        _ => return Err(DecodeError::Malformed),
    })
}

/// Seconds (1) and nanoseconds (2) since 1970; nothing at all is Go's zero time.
fn time(bytes: &[u8], format: &str) -> Result<Value, DecodeError> {
    let number = |field| match first(bytes, field)? {
        Some(Wire::Number(number)) => Ok(number.cast_signed()),
        _ => Ok(0),
    };
    let (seconds, nanos) = (number(1)?, number(2)?);
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| DecodeError::Malformed)?;
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| DecodeError::Malformed)?;
    Ok(time.strftime(format).to_string().into())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        // Go's JSON shows structs even when nothing is in them.
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::Malformed)
}

fn first(bytes: &[u8], number: u32) -> Result<Option<Wire<'_>>, DecodeError> {
    for field in Fields(bytes) {
        let (found, wire) = field?;
        if found == number {
            return Ok(Some(wire));
        }
    }
    Ok(None)
}

/// A field's value on the wire.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed-size numbers, of which Kubernetes has none.
    Other,
}

/// The fields of a message, in the order in which they come.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Wire<'a>), DecodeError> {
        let key = varint(&mut self.0)?;
        let number = u32::try_from(key >> 3).map_err(|_| DecodeError::Malformed)?;
        let wire = match key & 7 {
            0 => Wire::Number(varint(&mut self.0)?),
            1 => self.take(8).map(|_| Wire::Other)?,
            2 => {
                let length = varint(&mut self.0)?;
                let length = usize::try_from(length).map_err(|_| DecodeError::Malformed)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Other)?,
            _ => return Err(DecodeError::Malformed),
        };
        Ok((number, wire))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DecodeError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_service_is_read_as_its_json() {
        let meta = [field(1, b"blue"), field(2, b""), field(8, b"")].concat();
        let port = [field(2, b"TCP"), vec![3 << 3, 80], field(4, &[8, 0, 16, 0x90, 0x3f, 26, 0])];
        let selector = [field(1, b"app"), field(2, b"blue")].concat();
        let spec = [field(1, &port.concat()), field(2, &selector), field(4, b"")].concat();
        let body = envelope("v1", "Service", &[field(1, &meta), field(2, &spec)].concat());
        assert_eq!(
            decode(&body).unwrap(),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "blue"},
                "spec": {"selector": {"app": "blue"},
                    "ports": [{"protocol": "TCP", "port": 80, "targetPort": 8080}]}})
        );
    }

    #[test]
    fn pointers_keep_their_zeros() {
        let spec = [vec![1 << 3, 0], vec![5 << 3, 0]].concat();
        let body = envelope("apps/v1", "Deployment", &field(2, &spec));
        // `replicas` is held by pointer, `minReadySeconds` is not.
        assert_eq!(decode(&body).unwrap()["spec"], json!({"replicas": 0}));
    }

    #[test]
    fn inline_structs_have_no_name() {
        let volume = [field(1, b"v"), field(2, &field(2, b""))].concat();
        let body = envelope("v1", "Pod", &field(2, &field(1, &volume)));
        assert_eq!(
            decode(&body).unwrap()["spec"]["volumes"],
            json!([{"name": "v", "emptyDir": {}}])
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(decode(b"{}"), Err(DecodeError::Prefix));
        assert!(matches!(decode(&envelope("v1", "Nothing", b"")), Err(DecodeError::Kind { .. })));
        let cut = envelope("v1", "Service", &[10, 200]);
        assert_eq!(decode(&cut), Err(DecodeError::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&envelope("v1", "Pod", &bytes));
            let _ = decode(&[MAGIC, &bytes].concat());
        }
    }
}
