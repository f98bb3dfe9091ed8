//! Label selectors, as typed objects carry them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// An object's labels, if it has any.
pub type Labels = Option<BTreeMap<String, String>>;

fn value<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    labels.as_ref()?.get(key).map(String::as_str)
}

/// Whether `labels` hold all of `wanted`; an empty `wanted` matches everything.
pub fn matches_map(wanted: &BTreeMap<String, String>, labels: &Labels) -> bool {
    wanted.iter().all(|(k, v)| value(labels, k) == Some(v))
}

/// Whether `labels` satisfy the selector. An empty selector matches everything; an operator that
/// does not exist matches nothing.
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.match_labels.as_ref().is_none_or(|wanted| matches_map(wanted, labels))
        && selector.match_expressions.iter().flatten().all(|e| {
            let found = value(labels, &e.key);
            let listed = |v: &str| e.values.iter().flatten().any(|w| w == v);
            match e.operator.as_str() {
                "In" => found.is_some_and(listed),
                "NotIn" => !found.is_some_and(listed),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// Whether the selector says nothing, and so matches everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions() {
        let labels: Labels = Some([("app".to_string(), "blue".to_string())].into());
        for (expected, selector) in [
            (true, json!({})),
            (true, json!({"matchLabels": {"app": "blue"}})),
            (false, json!({"matchLabels": {"app": "blue", "tier": "db"}})),
            (
                true,
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["red", "blue"]}]}),
            ),
            (
                false,
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["blue"]}]}),
            ),
            (
                true,
                json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["blue"]}]}),
            ),
            (true, json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]})),
            (false, json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]})),
            (
                false,
                json!({"matchExpressions": [{"key": "app", "operator": "Near", "values": ["blue"]}]}),
            ),
        ] {
            let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(matches(&parsed, &labels), expected, "{selector}");
        }
    }
}
