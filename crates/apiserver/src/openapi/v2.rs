//! OpenAPI v2 as protobuf (`openapi.v2.Document` of gnostic), for clients older than v3: which
//! objects can be patched, and that the server validates fields itself. No schemas.

use crate::resource::{Resource, Verb, table};

/// A length-delimited field.
fn field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, u64::from(number << 3 | 2));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, bytes) in fields {
        field(&mut out, *number, bytes);
    }
    out
}

/// The document, without the envelope that Kubernetes puts around protobuf objects: OpenAPI has
/// none.
pub fn v2_protobuf_minimal() -> Vec<u8> {
    let info = message(&[(1, b"Kubernetes"), (2, b"v1.36.0")]);
    let mut paths = Vec::new();
    for row in table().iter().filter(|row| row.verbs.contains(&Verb::Patch)) {
        field(&mut paths, 2, &named(path(row).as_bytes(), &path_item(row)));
    }
    message(&[(1, b"2.0"), (2, &info), (8, &paths)])
}

fn named(name: &[u8], value: &[u8]) -> Vec<u8> {
    message(&[(1, name), (2, value)])
}

fn path(row: &Resource) -> String {
    let root = match row.group {
        "" => format!("/api/{}", row.version),
        group => format!("/apis/{group}/{}", row.version),
    };
    let scope = if row.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{root}{scope}/{}/{{name}}", row.plural)
}

/// A `PathItem` with a PATCH that takes `fieldValidation`.
fn path_item(row: &Resource) -> Vec<u8> {
    // ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema.
    let query = message(&[(2, b"query"), (4, b"fieldValidation"), (6, b"string")]);
    let parameter = message(&[(1, &message(&[(2, &message(&[(3, &query)]))]))]);
    let gvk = format!("group: {:?}\nkind: {:?}\nversion: {:?}\n", row.group, row.kind, row.version);
    let extension = named(b"x-kubernetes-group-version-kind", &message(&[(2, gvk.as_bytes())]));
    // Responses > NamedResponseValue > ResponseValue > Response.
    let response = message(&[(1, &message(&[(1, b"OK")]))]);
    let responses = message(&[(1, &named(b"200", &response))]);
    let operation = message(&[
        (5, format!("patch_{}_{}", row.group, row.plural).as_bytes()),
        (8, &parameter),
        (9, &responses),
        (13, &extension),
    ]);
    message(&[(8, &operation)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the fields of a message: numbers and bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
        let mut out = Vec::new();
        let read = |bytes: &mut &[u8]| {
            let (mut value, mut shift) = (0u64, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return value;
                }
            }
        };
        while !bytes.is_empty() {
            let tag = read(&mut bytes);
            assert_eq!(tag & 7, 2, "all fields are length-delimited");
            let length = read(&mut bytes) as usize;
            out.push(((tag >> 3) as u32, &bytes[..length]));
            bytes = &bytes[length..];
        }
        out
    }

    #[test]
    fn the_document_can_be_read_back() {
        let document = v2_protobuf_minimal();
        let top = fields(&document);
        assert_eq!(top[0], (1, b"2.0".as_slice()));
        let paths = fields(top.iter().find(|(n, _)| *n == 8).unwrap().1);
        assert!(paths.len() > 20);
        let service = paths
            .iter()
            .map(|(_, named)| fields(named))
            .find(|named| named[0].1 == b"/api/v1/namespaces/{namespace}/services/{name}")
            .unwrap();
        let patch = fields(fields(service[1].1)[0].1);
        let extension = fields(patch.iter().find(|(n, _)| *n == 13).unwrap().1);
        assert_eq!(extension[0].1, b"x-kubernetes-group-version-kind");
        assert_eq!(
            fields(extension[1].1)[0].1,
            b"group: \"\"\nkind: \"Service\"\nversion: \"v1\"\n"
        );
    }
}
