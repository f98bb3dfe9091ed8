//! Label selectors and field selectors as lists and watches take them
//! (`k8s.io/apimachinery/pkg/labels` and `pkg/fields`).

mod field;
mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// A selector that could not be read; the text is the message of the `BadRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::resource;

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c=!,() <>in\\\\]{0,24}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text, resource::find("", "v1", "pods").unwrap());
        }

        #[test]
        fn a_value_is_either_in_or_not_in(
            values in proptest::collection::vec("[a-c]{1,2}", 1..4),
            label in proptest::option::of("[a-c]{1,2}"),
        ) {
            let list = values.join(",");
            let labels = label.map_or(Value::Null, |l| json!({"k": l}));
            let inside = LabelSelector::parse(&format!("k in ({list})")).unwrap();
            let outside = LabelSelector::parse(&format!("k notin ({list})")).unwrap();
            prop_assert_ne!(inside.matches(&labels), outside.matches(&labels));
        }
    }
}
