//! What each kind of workload has when nobody says otherwise.

use serde_json::Value;

use crate::resource::value::ValueExt;

pub(super) fn controller_defaults(object: &mut Value) {
    let labels = object.at("spec.template.metadata.labels").clone();
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        for field in ["spec.selector", "metadata.labels"] {
            if object.fields(field).is_none_or(serde_json::Map::is_empty) {
                *object.slot(field) = labels.clone();
            }
        }
    }
}

pub(super) fn deployment_defaults(spec: &mut Value) {
    spec.set_default("strategy.type", "RollingUpdate");
    if spec.text("strategy.type") == "RollingUpdate" {
        spec.set_default("strategy.rollingUpdate.maxUnavailable", "25%");
        spec.set_default("strategy.rollingUpdate.maxSurge", "25%");
    }
    spec.set_default("revisionHistoryLimit", 10);
    spec.set_default("progressDeadlineSeconds", 600);
}

pub(super) fn stateful_set_defaults(spec: &mut Value) {
    spec.set_default("podManagementPolicy", "OrderedReady");
    spec.set_default("updateStrategy.type", "RollingUpdate");
    if spec.text("updateStrategy.type") == "RollingUpdate" {
        spec.set_default("updateStrategy.rollingUpdate.partition", 0);
    }
    spec.set_default("persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain");
    spec.set_default("persistentVolumeClaimRetentionPolicy.whenScaled", "Retain");
    spec.set_default("revisionHistoryLimit", 10);
}

pub(super) fn daemon_set_defaults(spec: &mut Value) {
    spec.set_default("updateStrategy.type", "RollingUpdate");
    if spec.text("updateStrategy.type") == "RollingUpdate" {
        spec.set_default("updateStrategy.rollingUpdate.maxUnavailable", 1);
        spec.set_default("updateStrategy.rollingUpdate.maxSurge", 0);
    }
    spec.set_default("revisionHistoryLimit", 10);
}
