//! apps/v1 Deployment, ReplicaSet, StatefulSet, DaemonSet and ControllerRevision, and core/v1
//! ReplicationController.

use serde_json::{Value, json};

use super::meta::{self, NameRule, non_negative};
use super::pod::{template_defaults, validate_template};
use super::value::ValueExt;
use super::{FieldError, Strategy};
use crate::selector::LabelSelector;

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

fn controller_defaults(object: &mut Value) {
    let labels = object.at("spec.template.metadata.labels").clone();
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        for field in ["spec.selector", "metadata.labels"] {
            if object.fields(field).is_none_or(serde_json::Map::is_empty) {
                *object.slot(field) = labels.clone();
            }
        }
    }
}

fn deployment_defaults(spec: &mut Value) {
    spec.set_default("strategy.type", "RollingUpdate");
    if spec.text("strategy.type") == "RollingUpdate" {
        spec.set_default("strategy.rollingUpdate.maxUnavailable", "25%");
        spec.set_default("strategy.rollingUpdate.maxSurge", "25%");
    }
    spec.set_default("revisionHistoryLimit", 10);
    spec.set_default("progressDeadlineSeconds", 600);
}

fn stateful_set_defaults(spec: &mut Value) {
    spec.set_default("podManagementPolicy", "OrderedReady");
    spec.set_default("updateStrategy.type", "RollingUpdate");
    if spec.text("updateStrategy.type") == "RollingUpdate" {
        spec.set_default("updateStrategy.rollingUpdate.partition", 0);
    }
    spec.set_default("persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain");
    spec.set_default("persistentVolumeClaimRetentionPolicy.whenScaled", "Retain");
    spec.set_default("revisionHistoryLimit", 10);
}

fn daemon_set_defaults(spec: &mut Value) {
    spec.set_default("updateStrategy.type", "RollingUpdate");
    if spec.text("updateStrategy.type") == "RollingUpdate" {
        spec.set_default("updateStrategy.rollingUpdate.maxUnavailable", 1);
        spec.set_default("updateStrategy.rollingUpdate.maxSurge", 0);
    }
    spec.set_default("revisionHistoryLimit", 10);
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
                super::names::label_value(value),
            ));
        }
    }
    errors
}

/// A number, or a percentage of the replicas.
fn int_or_percent(value: &Value, path: &str) -> Vec<FieldError> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => {
            let number = text.strip_suffix('%');
            if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
                return Vec::new();
            }
            vec![FieldError::invalid_text(
                path,
                text,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            )]
        }
        number => {
            let number = number.as_i64().unwrap_or(0);
            if number >= 0 {
                return Vec::new();
            }
            vec![FieldError::invalid_number(path, number, "must be greater than or equal to 0")]
        }
    }
}

fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

fn deployment(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let rolling = spec.at("strategy.rollingUpdate");
    let path = "spec.strategy.rollingUpdate";
    match spec.text("strategy.type") {
        "Recreate" if !rolling.is_null() => errors.push(FieldError::forbidden(
            path,
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "Recreate" => {}
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            errors.extend(int_or_percent(unavailable, &format!("{path}.maxUnavailable")));
            errors.extend(int_or_percent(surge, &format!("{path}.maxSurge")));
            if is_zero(unavailable) && is_zero(surge) {
                errors.push(FieldError::invalid(
                    format!("{path}.maxUnavailable"),
                    unavailable,
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            errors.extend(at_most_all(unavailable, &format!("{path}.maxUnavailable")));
        }
        _ => errors.push(FieldError::not_supported(
            "spec.strategy.type",
            spec.at("strategy.type"),
            &["Recreate", "RollingUpdate"],
        )),
    }
    if let Some(deadline) = spec.int("progressDeadlineSeconds")
        && deadline >= 0
        && deadline <= spec.int("minReadySeconds").unwrap_or(0)
    {
        errors.push(FieldError::invalid_number(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
    errors
}

fn at_most_all(value: &Value, path: &str) -> Option<FieldError> {
    (percent(value)? > 100)
        .then(|| FieldError::invalid(path, value, "must not be greater than 100%"))
}

fn stateful_set(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = spec.text("podManagementPolicy");
    if policy != "OrderedReady" && policy != "Parallel" {
        errors.push(FieldError::invalid_text(
            "spec.podManagementPolicy",
            policy,
            "must be 'OrderedReady' or 'Parallel'",
        ));
    }
    let rolling = spec.at("updateStrategy.rollingUpdate");
    match spec.text("updateStrategy.type") {
        "OnDelete" if !rolling.is_null() => errors.push(FieldError::invalid(
            "spec.updateStrategy.rollingUpdate",
            rolling,
            "only allowed for updateStrategy 'RollingUpdate'",
        )),
        "OnDelete" => {}
        "RollingUpdate" => {
            errors.extend(non_negative(
                rolling,
                "partition",
                "spec.updateStrategy.rollingUpdate.partition",
            ));
        }
        other => errors.push(FieldError::invalid_text(
            "spec.updateStrategy",
            other,
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
    for field in ["whenDeleted", "whenScaled"] {
        let path = format!("persistentVolumeClaimRetentionPolicy.{field}");
        let value = spec.at(&path);
        if value != "Retain" && value != "Delete" {
            errors.push(FieldError::not_supported(
                format!("spec.{path}"),
                value,
                &["Delete", "Retain"],
            ));
        }
    }
    errors
}

fn daemon_set(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = "spec.updateStrategy.rollingUpdate";
    match spec.text("updateStrategy.type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = spec.at("updateStrategy.rollingUpdate");
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            errors.extend(int_or_percent(unavailable, &format!("{path}.maxUnavailable")));
            errors.extend(int_or_percent(surge, &format!("{path}.maxSurge")));
            if is_zero(unavailable) && is_zero(surge) {
                errors.push(FieldError::required(
                    format!("{path}.maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                ));
            } else if !is_zero(unavailable) && !is_zero(surge) {
                errors.push(FieldError::invalid(
                    format!("{path}.maxSurge"),
                    surge,
                    "may not be set when maxUnavailable is non-zero",
                ));
            }
        }
        _ => errors.push(FieldError::not_supported(
            "spec.updateStrategy",
            spec.at("updateStrategy.type"),
            &["OnDelete", "RollingUpdate"],
        )),
    }
    errors
}

/// apps/v1 ControllerRevision: a snapshot that never changes.
#[derive(Debug)]
pub(crate) struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        if object.at("data").is_null() {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        errors.extend(non_negative(object, "revision", "revision"));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(non_negative(object, "revision", "revision"));
        if object.at("data") != old.at("data") {
            errors.push(meta::immutable("data", object.at("data")));
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: Workload, changes: Value) -> Value {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            },
        });
        if kind == Workload::ReplicationController {
            object["spec"]["selector"] = json!({"app": "a"});
        }
        for (field, value) in changes.as_object().unwrap() {
            *object.slot(&format!("spec.{field}")) = value.clone();
        }
        kind.apply_defaults(&mut object);
        object
    }

    fn complaints(kind: Workload, changes: Value) -> Vec<String> {
        kind.validate_create(&workload(kind, changes)).iter().map(FieldError::message).collect()
    }

    const ALL: [Workload; 5] = [
        Workload::Deployment,
        Workload::ReplicaSet,
        Workload::StatefulSet,
        Workload::DaemonSet,
        Workload::ReplicationController,
    ];

    #[test]
    fn plain_workloads_are_valid() {
        for kind in ALL {
            assert_eq!(complaints(kind, json!({})), [""; 0], "{kind:?}");
            let mut object = workload(kind, json!({}));
            let before = object.clone();
            kind.apply_defaults(&mut object);
            assert_eq!(object, before, "{kind:?}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let deployment = workload(Workload::Deployment, json!({}));
        assert_eq!(
            deployment["spec"]["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!(deployment["spec"]["replicas"], 1);
        assert_eq!(deployment["spec"]["progressDeadlineSeconds"], 600);
        assert!(deployment["spec"]["template"]["spec"].get("enableServiceLinks").is_none());
        let recreate = workload(Workload::Deployment, json!({"strategy": {"type": "Recreate"}}));
        assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
        let set = workload(Workload::StatefulSet, json!({}));
        assert_eq!(set["spec"]["podManagementPolicy"], "OrderedReady");
        assert_eq!(
            set["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        let daemons = workload(Workload::DaemonSet, json!({}));
        assert_eq!(
            daemons["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
        );
        let controller = workload(Workload::ReplicationController, json!({"selector": null}));
        assert_eq!(controller["spec"]["selector"], json!({"app": "a"}));
        assert_eq!(controller["metadata"]["labels"], json!({"app": "a"}));
    }

    #[test]
    fn selectors_must_select_the_template() {
        for kind in
            [Workload::Deployment, Workload::ReplicaSet, Workload::StatefulSet, Workload::DaemonSet]
        {
            assert_eq!(
                complaints(kind, json!({"selector": {"matchLabels": {"app": "b"}}})),
                [
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`"
                ]
            );
            assert_eq!(
                complaints(kind, json!({"selector": null}))[0],
                "spec.selector: Required value"
            );
        }
        assert_eq!(
            complaints(Workload::Deployment, json!({"selector": {}})),
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
        );
    }

    #[test]
    fn selectors_do_not_change() {
        let old = workload(Workload::Deployment, json!({}));
        let mut new = old.clone();
        new["spec"]["selector"]["matchLabels"]["tier"] = "x".into();
        new["spec"]["template"]["metadata"]["labels"]["tier"] = "x".into();
        let texts: Vec<String> = Workload::Deployment
            .validate_update(&new, &old)
            .iter()
            .map(FieldError::message)
            .collect();
        assert_eq!(
            texts,
            [
                "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"a\",\"tier\":\"x\"}}: field is immutable"
            ]
        );
        let old = workload(Workload::StatefulSet, json!({"serviceName": "a"}));
        let new = workload(Workload::StatefulSet, json!({"serviceName": "b", "replicas": 5}));
        let errors = Workload::StatefulSet.validate_update(&new, &old);
        assert!(errors[0].message().starts_with(
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"
        ));
        let scaled = workload(Workload::StatefulSet, json!({"serviceName": "a", "replicas": 5}));
        assert!(Workload::StatefulSet.validate_update(&scaled, &old).is_empty());
    }

    #[test]
    fn bad_workloads_are_refused() {
        let cases = [
            (
                Workload::Deployment,
                json!({"replicas": -1}),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                Workload::Deployment,
                json!({"template.spec.restartPolicy": "Never"}),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                Workload::Deployment,
                json!({"template.spec.containers": []}),
                "spec.template.spec.containers: Required value",
            ),
            (
                Workload::Deployment,
                json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
            (
                Workload::Deployment,
                json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                Workload::Deployment,
                json!({"strategy": {"type": "Blue"}}),
                "spec.strategy.type: Unsupported value: \"Blue\": supported values: \"Recreate\", \"RollingUpdate\"",
            ),
            (
                Workload::Deployment,
                json!({"minReadySeconds": 700}),
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ),
            (
                Workload::StatefulSet,
                json!({"podManagementPolicy": "Random"}),
                "spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                Workload::DaemonSet,
                json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}}),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ),
        ];
        for (kind, changes, expected) in cases {
            assert_eq!(complaints(kind, changes.clone()), [expected], "{changes}");
        }
    }
}
