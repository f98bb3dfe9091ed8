//! apps/v1 Deployment, ReplicaSet, StatefulSet and DaemonSet, core/v1 ReplicationController, and
//! the revisions that some of them keep.

mod defaults;
mod revision;
mod strategy;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::resource::meta::{self, NameRule, non_negative};
use crate::resource::pod::{spec_warnings, template_defaults, validate_template};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, Strategy};
use crate::selector::LabelSelector;
use defaults::{
    controller_defaults, daemon_set_defaults, deployment_defaults, stateful_set_defaults,
};
pub(crate) use revision::ControllerRevision;
use strategy::{daemon_set, deployment, stateful_set};

/// The kinds that make pods from a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    ReplicationController,
}

impl Strategy for Workload {
    fn apply_defaults(&self, object: &mut Value) {
        if self == &Self::ReplicationController {
            controller_defaults(object);
        }
        let spec = object.slot("spec");
        if !spec.is_object() {
            *spec = json!({});
        }
        if self != &Self::DaemonSet {
            spec.set_default("replicas", 1);
        }
        match self {
            Self::Deployment => deployment_defaults(spec),
            Self::StatefulSet => stateful_set_defaults(spec),
            Self::DaemonSet => daemon_set_defaults(spec),
            Self::ReplicaSet | Self::ReplicationController => {}
        }
        template_defaults(spec.slot("template"));
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = match self {
            // Counts that Kubernetes always writes.
            Self::ReplicaSet | Self::ReplicationController => json!({"replicas": 0}),
            Self::StatefulSet => json!({"replicas": 0, "availableReplicas": 0}),
            Self::DaemonSet => json!({
                "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
            }),
            Self::Deployment => json!({}),
        };
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        meta::keep_status(object, old);
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(self.spec(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(self.spec(object));
        errors.extend(self.changes(object, old));
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let path = "spec.template.spec";
        // An update that leaves the pods as they are has nothing new to be warned of.
        let unchanged = old.is_some_and(|old| old.at("spec") == object.at("spec"));
        if unchanged { Vec::new() } else { spec_warnings(object.at(path), path) }
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let status = object.at("status");
        let counts = [
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "updatedReplicas",
            "unavailableReplicas",
            "currentReplicas",
            "observedGeneration",
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        ];
        for field in counts {
            errors.extend(non_negative(status, field, &format!("status.{field}")));
        }
        // A DaemonSet has no number of replicas that the others could exceed.
        if self != &Self::DaemonSet {
            let all = status.int("replicas").unwrap_or(0);
            for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
                let count = status.int(field).unwrap_or(0);
                if count > all {
                    errors.push(FieldError::invalid_number(
                        format!("status.{field}"),
                        count,
                        "cannot be greater than status.replicas",
                    ));
                }
            }
        }
        errors
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        match self {
            Self::ReplicationController | Self::ReplicaSet => &["status.replicas"],
            _ => &[],
        }
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        self.selectable_fields()
            .contains(&field)
            .then(|| object.int(field).unwrap_or(0).to_string())
    }
}

impl Workload {
    /// The name in messages.
    fn word(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::ReplicationController => "replicationcontroller",
        }
    }

    fn spec(self, object: &Value) -> Vec<FieldError> {
        let spec = object.at("spec");
        let mut errors = self.selector(spec);
        for field in
            ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]
        {
            errors.extend(non_negative(spec, field, &format!("spec.{field}")));
        }
        errors.extend(validate_template(spec.at("template"), "spec.template"));
        if spec.text("template.spec.restartPolicy") != "Always" {
            errors.push(FieldError::not_supported(
                "spec.template.spec.restartPolicy",
                spec.at("template.spec.restartPolicy"),
                &["Always"],
            ));
        }
        if spec.has("template.spec.activeDeadlineSeconds") {
            let kind = match self {
                Self::StatefulSet => "StatefulSet",
                Self::DaemonSet => "DaemonSet",
                Self::ReplicationController => "ReplicationController",
                Self::Deployment | Self::ReplicaSet => "ReplicaSet",
            };
            errors.push(FieldError::forbidden(
                "spec.template.spec.activeDeadlineSeconds",
                format!("activeDeadlineSeconds in {kind} is not Supported"),
            ));
        }
        errors.extend(match self {
            Self::Deployment => deployment(spec),
            Self::StatefulSet => stateful_set(spec),
            Self::DaemonSet => daemon_set(spec),
            Self::ReplicaSet | Self::ReplicationController => Vec::new(),
        });
        errors
    }

    /// The selector must select the template's own pods, or the workload would make pods for ever.
    fn selector(self, spec: &Value) -> Vec<FieldError> {
        let path = "spec.selector";
        let selector = spec.at("selector");
        let labels = spec.at("template.metadata.labels");
        let parsed = if self == Self::ReplicationController {
            match selector.as_object().filter(|map| !map.is_empty()) {
                Some(map) => LabelSelector::from_map(map),
                None => return vec![FieldError::required(path, "")],
            }
        } else {
            if selector.is_null() {
                let mut errors = vec![FieldError::required(path, "")];
                if labels.as_object().is_some_and(|l| !l.is_empty()) {
                    errors.push(mismatch(labels));
                }
                return errors;
            }
            let errors = label_selector(selector, path);
            if !errors.is_empty() {
                return errors;
            }
            match LabelSelector::from_object(selector) {
                Ok(parsed) if parsed.is_empty() => {
                    return vec![FieldError::invalid(
                        path,
                        selector,
                        format!("empty selector is invalid for {}", self.word()),
                    )];
                }
                Ok(parsed) => parsed,
                Err(error) => return vec![FieldError::invalid(path, selector, error.to_string())],
            }
        };
        if parsed.matches(labels) { Vec::new() } else { vec![mismatch(labels)] }
    }

    fn changes(self, object: &Value, old: &Value) -> Vec<FieldError> {
        match self {
            Self::ReplicationController => Vec::new(),
            Self::StatefulSet => {
                let strip = |object: &Value| {
                    let mut spec = object.at("spec").clone();
                    for field in [
                        "replicas",
                        "ordinals",
                        "template",
                        "updateStrategy",
                        "revisionHistoryLimit",
                        "persistentVolumeClaimRetentionPolicy",
                        "minReadySeconds",
                    ] {
                        spec.remove_at(field);
                    }
                    spec
                };
                if strip(object) == strip(old) {
                    return Vec::new();
                }
                vec![FieldError::forbidden(
                    "spec",
                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
                )]
            }
            Self::Deployment | Self::ReplicaSet | Self::DaemonSet => {
                let path = "spec.selector";
                if object.at(path) == old.at(path) {
                    return Vec::new();
                }
                vec![meta::immutable(path, object.at(path))]
            }
        }
    }
}

fn mismatch(labels: &Value) -> FieldError {
    FieldError::invalid(
        "spec.template.metadata.labels",
        labels,
        "`selector` does not match template `labels`",
    )
}

/// Complaints about a `LabelSelector` object.
pub(crate) fn label_selector(selector: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = meta::labels(selector.fields("matchLabels"), &format!("{path}.matchLabels"));
    for (i, expression) in selector.list("matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        let values = expression.list("values");
        match expression.text("operator") {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid_text(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        errors.extend(meta::label_key(expression.text("key"), &format!("{path}.key")));
        for (j, value) in expression.texts("values").iter().enumerate() {
            errors.extend(meta::invalid_all(
                &format!("{path}.values[{j}]"),
                value,
                crate::resource::names::label_value(value),
            ));
        }
    }
    errors
}
