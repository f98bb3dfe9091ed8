//! [`FieldError`]: constructors and texts as `k8s.io/apimachinery/pkg/util/validation/field`.

use serde_json::Value;

use super::{FieldError, FieldErrorKind};

impl FieldErrorKind {
    /// The `reason` of the cause in a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::InternalError => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The words that start the message.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::InternalError => "Internal error",
        }
    }
}

/// A value as Go's `%q`/`%v` prints it in a field error.
pub(crate) fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// Go's `%q`: JSON's escapes but for control characters, which Go writes as `\x01`.
pub(crate) fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl FieldError {
    fn new(kind: FieldErrorKind, path: impl Into<String>, value: String, detail: String) -> Self {
        Self { kind, path: path.into(), value, detail }
    }

    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, String::new(), detail.into())
    }

    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, String::new(), detail.into())
    }

    pub fn invalid(path: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, go_value(value), detail.into())
    }

    /// [`FieldError::invalid`] for a string.
    pub fn invalid_text(path: impl Into<String>, value: &str, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, go_quote(value), detail.into())
    }

    /// [`FieldError::invalid`] for a number.
    pub fn invalid_number(path: impl Into<String>, value: i64, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, value.to_string(), detail.into())
    }

    pub fn duplicate(path: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, go_value(value), String::new())
    }

    pub fn not_found(path: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldErrorKind::NotFound, path, go_value(value), String::new())
    }

    pub fn not_supported(path: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let mut sorted: Vec<&str> = supported.to_vec();
        sorted.sort_unstable();
        Self::not_supported_in_order(path, value, &sorted)
    }

    /// [`FieldError::not_supported`] where Kubernetes lists the values in an order of its own.
    pub fn not_supported_in_order(
        path: impl Into<String>,
        value: &Value,
        supported: &[&str],
    ) -> Self {
        let list = supported.iter().map(|v| go_quote(v)).collect::<Vec<_>>().join(", ");
        let detail =
            if list.is_empty() { String::new() } else { format!("supported values: {list}") };
        Self::new(FieldErrorKind::NotSupported, path, go_value(value), detail)
    }

    pub fn too_long(path: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} {}", plural(max, "byte"));
        Self::new(FieldErrorKind::TooLong, path, String::new(), detail)
    }

    pub fn too_many(path: impl Into<String>, count: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} {}", plural(max, "item"));
        Self::new(FieldErrorKind::TooMany, path, count.to_string(), detail)
    }

    pub fn type_invalid(path: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, path, go_value(value), detail.into())
    }

    pub fn internal(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::InternalError, path, String::new(), detail.into())
    }

    /// The cause's `reason` in a `Status`.
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }

    /// The cause's `message`: everything but the path.
    pub fn body(&self) -> String {
        let mut out = self.kind.text().to_owned();
        let hides_value = matches!(
            self.kind,
            FieldErrorKind::Required
                | FieldErrorKind::Forbidden
                | FieldErrorKind::TooLong
                | FieldErrorKind::InternalError
        );
        if !hides_value && !self.value.is_empty() {
            out.push_str(": ");
            out.push_str(&self.value);
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }

    /// The whole text: `spec.ports[0].port: Invalid value: 0: must be …`.
    pub fn message(&self) -> String {
        format!("{}: {}", self.path, self.body())
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Several errors as apimachinery's aggregate prints them: one plainly, more in brackets, each
/// text once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.message();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_those_of_apimachinery() {
        let cases = [
            (FieldError::required("spec.ports", ""), "spec.ports: Required value"),
            (
                FieldError::invalid_number(
                    "spec.ports[0].port",
                    0,
                    "must be between 1 and 65535, inclusive",
                ),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                FieldError::not_supported("spec.type", &json!("Foo"), &["NodePort", "ClusterIP"]),
                "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"NodePort\"",
            ),
            (FieldError::forbidden("spec", "may not change"), "spec: Forbidden: may not change"),
            (
                FieldError::too_many("spec.x", 5, 2),
                "spec.x: Too many: 5: must have at most 2 items",
            ),
            (FieldError::too_long("data", 253), "data: Too long: may not be more than 253 bytes"),
            (FieldError::duplicate("a[1].name", &json!("x")), "a[1].name: Duplicate value: \"x\""),
        ];
        for (error, expected) in cases {
            assert_eq!(error.message(), expected);
        }
    }

    #[test]
    fn several_errors_stand_in_brackets_and_only_once() {
        let a = FieldError::required("a", "");
        let b = FieldError::required("b", "");
        assert_eq!(aggregate(std::slice::from_ref(&a)), "a: Required value");
        assert_eq!(aggregate(&[a.clone(), b, a]), "[a: Required value, b: Required value]");
    }
}
