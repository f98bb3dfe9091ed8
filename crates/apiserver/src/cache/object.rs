//! One object as it is kept: its JSON, ready to be sent, and the little that lists filter by.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::store::Revision;

/// An object at one revision. Never changes.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) revision: Revision,
    /// The JSON with `metadata.resourceVersion` in it.
    pub(crate) bytes: Bytes,
    /// `metadata.labels`, or null.
    pub(crate) labels: Value,
}

impl Object {
    /// Takes the bytes as stored.
    pub(crate) fn new(revision: Revision, stored: &[u8]) -> Self {
        Self { revision, bytes: splice_revision(stored, revision), labels: labels_of(stored) }
    }

    /// The object parsed, `metadata.resourceVersion` included.
    pub(crate) fn value(&self) -> Value {
        // What is stored was written by this program as JSON.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The bytes of this object with another resource version, for the event of its deletion.
    pub(crate) fn bytes_at(&self, revision: Revision) -> Bytes {
        if revision == self.revision {
            return self.bytes.clone();
        }
        let Some(at) = metadata_at(&self.bytes) else { return self.bytes.clone() };
        let old = revision_text(self.revision);
        let rest = self.bytes[at..].strip_prefix(old.as_bytes());
        let Some(rest) = rest else { return self.bytes.clone() };
        let new = revision_text(revision);
        let mut bytes = BytesMut::with_capacity(at + new.len() + rest.len());
        bytes.put_slice(&self.bytes[..at]);
        bytes.put_slice(new.as_bytes());
        bytes.put_slice(rest);
        bytes.freeze()
    }
}

/// Serializes an object for the store: `kind`, `apiVersion` and `metadata` first and without a
/// resource version, so that [`splice_revision`] finds its place without parsing.
pub(crate) fn to_stored(object: &Value) -> Bytes {
    let mut out = BytesMut::with_capacity(1024).writer();
    write_stored(&mut out, object);
    out.into_inner().freeze()
}

fn write_stored(out: &mut bytes::buf::Writer<BytesMut>, object: &Value) {
    let empty = Map::new();
    let map = object.as_object().unwrap_or(&empty);
    let metadata = map.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let mut first = true;
    for key in ["kind", "apiVersion"] {
        if let Some(value) = map.get(key) {
            write_member(out, if first { "{" } else { "," }, key, value);
            first = false;
        }
    }
    out.get_mut().put_slice(if first { b"{" } else { b"," });
    out.get_mut().put_slice(METADATA.as_bytes());
    let members = metadata.iter().filter(|(key, _)| *key != "resourceVersion");
    for (position, (key, value)) in members.enumerate() {
        write_member(out, if position == 0 { "" } else { "," }, key, value);
    }
    out.get_mut().put_slice(b"}");
    for (key, value) in map {
        if !matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
            write_member(out, ",", key, value);
        }
    }
    out.get_mut().put_slice(b"}");
}

fn write_member(out: &mut bytes::buf::Writer<BytesMut>, open: &str, key: &str, value: &Value) {
    out.get_mut().put_slice(open.as_bytes());
    // Writing JSON values with string keys into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, key);
    out.get_mut().put_slice(b":");
    let _ = serde_json::to_writer(&mut *out, value);
}

const METADATA: &str = "\"metadata\":{";

/// Where the members of `metadata` begin.
fn metadata_at(bytes: &[u8]) -> Option<usize> {
    let needle = METADATA.as_bytes();
    bytes.windows(needle.len()).position(|window| window == needle).map(|at| at + needle.len())
}

fn revision_text(revision: Revision) -> String {
    format!("\"resourceVersion\":\"{revision}\"")
}

/// The stored bytes with `metadata.resourceVersion` in them.
pub(crate) fn splice_revision(stored: &[u8], revision: Revision) -> Bytes {
    let Some(at) = metadata_at(stored) else { return Bytes::copy_from_slice(stored) };
    let text = revision_text(revision);
    let mut bytes = BytesMut::with_capacity(stored.len() + text.len() + 1);
    bytes.put_slice(&stored[..at]);
    bytes.put_slice(text.as_bytes());
    if stored.get(at) != Some(&b'}') {
        bytes.put_u8(b',');
    }
    bytes.put_slice(&stored[at..]);
    bytes.freeze()
}

/// Reads the labels without building the whole object.
fn labels_of(stored: &[u8]) -> Value {
    #[derive(serde::Deserialize)]
    struct Head {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(default)]
        labels: Value,
    }
    let head: Option<Head> = serde_json::from_slice(stored).ok();
    head.map_or(Value::Null, |head| head.metadata.labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_is_spliced_into_metadata() {
        let object = json!({"kind": "A", "apiVersion": "v1", "data": {"metadata": {}},
            "metadata": {"name": "x", "resourceVersion": "3"}});
        let stored = to_stored(&object);
        assert_eq!(
            &*stored,
            br#"{"kind":"A","apiVersion":"v1","metadata":{"name":"x"},"data":{"metadata":{}}}"#
        );
        let spliced: Value = serde_json::from_slice(&splice_revision(&stored, 12)).unwrap();
        assert_eq!(spliced["metadata"], json!({"name": "x", "resourceVersion": "12"}));
    }

    #[test]
    fn empty_metadata_gets_no_stray_comma() {
        let spliced = splice_revision(&to_stored(&json!({"kind": "A"})), 7);
        assert_eq!(&*spliced, br#"{"kind":"A","metadata":{"resourceVersion":"7"}}"#);
    }
}
