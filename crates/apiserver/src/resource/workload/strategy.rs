//! How workloads replace their pods: the kinds' own rules.

use serde_json::Value;

use crate::resource::FieldError;
use crate::resource::meta::non_negative;
use crate::resource::value::ValueExt;

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

pub(super) fn deployment(spec: &Value) -> Vec<FieldError> {
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

pub(super) fn stateful_set(spec: &Value) -> Vec<FieldError> {
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

pub(super) fn daemon_set(spec: &Value) -> Vec<FieldError> {
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
