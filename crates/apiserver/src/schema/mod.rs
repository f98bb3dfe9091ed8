//! What the kinds hold, field by field: strict field checks, type checks, pruning; and the
//! knowledge of lists and merge keys that patches need.

mod conform;
mod decode;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod hints;
mod parse;
pub(crate) mod roots;
#[rustfmt::skip] // a generated table
mod types;

pub use decode::{DecodeError, Decoded, FieldValidation, check_fields, decode, prune};

/// What stands in a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    String,
    Bool,
    Int32,
    Int64,
    IntOrString,
    Quantity,
    Time,
    MicroTime,
    /// Base64 of bytes.
    Bytes,
    /// Anything at all.
    Any,
    Struct(&'static Struct),
    List(&'static Type),
    Map(&'static Type),
    /// A map that is one value under server-side apply.
    AtomicMap(&'static Type),
}

/// A type with named fields.
#[derive(Debug)]
pub(crate) struct Struct {
    /// As OpenAPI names it: `io.k8s.api.core.v1.ServiceSpec`.
    pub(crate) name: &'static str,
    /// Whether the whole is one value under server-side apply.
    pub(crate) atomic: bool,
    /// Sorted by name.
    pub(crate) fields: &'static [Field],
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    pub(crate) patch: Patch,
    pub(crate) lists: Lists,
}

/// What a strategic merge patch does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    /// Maps and structs are merged, lists replaced.
    Replace,
    /// A list of objects is merged by this key.
    Merge(&'static str),
    /// As [`Patch::Merge`], and `$retainKeys` may clear the items' other fields.
    MergeRetainKeys(&'static str),
    /// A list of plain values is merged as a set.
    MergeSet,
    /// A struct whose other fields `$retainKeys` may clear.
    RetainKeys,
}

/// What server-side apply does with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    Atomic,
    Set,
    Map(&'static [&'static str]),
}

impl Field {
    const fn new(name: &'static str, kind: Type) -> Self {
        Self { name, kind, patch: Patch::Replace, lists: Lists::Atomic }
    }
}

impl Struct {
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        let at = self.fields.binary_search_by(|f| f.name.cmp(name)).ok()?;
        Some(&self.fields[at])
    }

    /// The last part of the name, as Go names the struct.
    pub(crate) fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// As Go prints the type: `v1.ServiceSpec`.
    fn go_type(&self) -> String {
        let mut parts = self.name.rsplit('.');
        let name = parts.next().unwrap_or_default();
        let package = parts.next().unwrap_or_default();
        format!("{package}.{name}")
    }
}

/// The struct behind a kind.
pub(crate) fn find(group: &str, version: &str, kind: &str) -> Option<&'static Struct> {
    types::KINDS
        .iter()
        .find(|(g, v, k, _)| (*g, *v, *k) == (group, version, kind))
        .map(|(_, _, _, found)| *found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_has_a_struct() {
        for row in crate::resource::table() {
            assert!(find(row.group, row.version, row.kind).is_some(), "{row:?}");
            for sub in row.subresources {
                let connect = sub.kind.ends_with("Options");
                assert!(connect || find(sub.group, sub.version, sub.kind).is_some(), "{sub:?}");
            }
        }
    }

    #[test]
    fn fields_are_sorted() {
        for (_, _, kind, found) in types::KINDS {
            assert!(found.fields.is_sorted_by_key(|f| f.name), "{kind}");
        }
    }
}
