//! The patches of the Kubernetes API: JSON patch (RFC 6902), merge patch (RFC 7386) and
//! strategic merge patch.

use serde_json::Value;

mod json;
mod merge;
mod strategic;

pub use json::json;
pub use merge::merge;
pub use strategic::strategic;

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed: 400 `BadRequest` with this message.
    #[error("{0}")]
    BadRequest(String),
    /// More than this server is willing to do: 413 `RequestEntityTooLarge`.
    #[error("{0}")]
    TooLarge(String),
    /// Well formed, but it does not fit the object: 422 `Invalid`. Kubernetes answers with the
    /// message `the server rejected our request due to an error in our request`; the text says
    /// what it was.
    #[error("{0}")]
    Unprocessable(String),
}

/// The media types of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    /// Server-side apply, as YAML (of which JSON is a part).
    Apply,
}

impl PatchKind {
    /// All media types, in the order in which kube-apiserver lists them in a 415.
    pub const MEDIA_TYPES: [(&'static str, Self); 4] = [
        ("application/json-patch+json", Self::Json),
        ("application/merge-patch+json", Self::Merge),
        ("application/strategic-merge-patch+json", Self::Strategic),
        ("application/apply-patch+yaml", Self::Apply),
    ];

    /// The kind of a `Content-Type`, parameters ignored.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        Self::MEDIA_TYPES.iter().find(|(name, _)| *name == essence).map(|(_, kind)| *kind)
    }
}

/// The JSON name of a value's type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
