//! Events of core/v1 and of events.k8s.io/v1: one object under two sets of names.

use serde_json::Value;

use super::meta::{self, NameRule};
use super::value::ValueExt;
use super::{FieldError, Strategy};

/// Events of the core group, as they are stored.
#[derive(Debug)]
pub(crate) struct CoreEvent;

/// Events of `events.k8s.io`: the same objects under newer names.
#[derive(Debug)]
pub(crate) struct NewEvent;

/// Newer name, core name: the other fields are called the same in both.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let Value::Object(fields) = object else { return };
    for (from, to) in pairs {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

fn event(object: &Value, reference: &str) -> Vec<FieldError> {
    let namespace = object.text("metadata.namespace");
    let about = object.at(reference).text("namespace");
    // Events about objects without a namespace stand in `default`, or where they were reported.
    if about.is_empty() || about == namespace {
        return Vec::new();
    }
    vec![FieldError::invalid_text(
        format!("{reference}.namespace"),
        about,
        "does not match event.namespace",
    )]
}

/// Both groups' names: a selector runs over stored objects, whichever group it was sent to.
const EVENT_SELECTORS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingComponent",
    "reportingController",
    "source",
    "type",
];

/// The value of a field of a stored event.
fn event_field(object: &Value, field: &str) -> Option<String> {
    if !EVENT_SELECTORS.contains(&field) {
        return None;
    }
    let stored = match field {
        "source" if object.text("source.component").is_empty() => "reportingComponent".to_owned(),
        "source" => "source.component".to_owned(),
        "reportingController" => "reportingComponent".to_owned(),
        _ => match field.strip_prefix("regarding.") {
            Some(rest) => format!("involvedObject.{rest}"),
            None => field.to_owned(),
        },
    };
    Some(object.text(&stored).to_owned())
}

impl Strategy for CoreEvent {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(event(object, "involvedObject"));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(event(object, "involvedObject"));
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        EVENT_SELECTORS
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        event_field(object, field)
    }
}

impl Strategy for NewEvent {
    fn to_storage(&self, object: &mut Value) {
        rename(object, EVENT_FIELDS.into_iter());
        object["apiVersion"] = "v1".into();
    }

    fn to_served(&self, object: &mut Value) {
        rename(object, EVENT_FIELDS.into_iter().map(|(new, core)| (core, new)));
        object["apiVersion"] = "events.k8s.io/v1".into();
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        CoreEvent.validate_create(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        CoreEvent.validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        EVENT_SELECTORS
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        event_field(object, field)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn events_change_their_names_and_back() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "d"},
            "regarding": {"kind": "Pod", "namespace": "d"}, "note": "n", "reportingController": "c", "reportingInstance": "i", "eventTime": "2024-01-01T00:00:00.000000Z"});
        let mut stored = new.clone();
        NewEvent.to_storage(&mut stored);
        assert_eq!(stored["involvedObject"]["kind"], "Pod");
        assert_eq!(stored["message"], "n");
        assert_eq!(stored["reportingComponent"], "c");
        assert_eq!(stored["apiVersion"], "v1");
        assert!(CoreEvent.validate_create(&stored).is_empty());
        assert_eq!(NewEvent.selectable_field(&stored, "regarding.kind").as_deref(), Some("Pod"));
        NewEvent.to_served(&mut stored);
        assert_eq!(stored, new);
        let elsewhere = json!({"metadata": {"name": "e", "namespace": "d"}, "involvedObject": {"namespace": "x"}});
        assert_eq!(
            texts(CoreEvent.validate_create(&elsewhere)),
            ["involvedObject.namespace: Invalid value: \"x\": does not match event.namespace"]
        );
    }
}
