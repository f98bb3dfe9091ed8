//! coordination.k8s.io/v1 Lease.

use serde_json::Value;

use super::meta::{self, NameRule, non_negative};
use super::value::ValueExt;
use super::{FieldError, Strategy};

#[derive(Debug)]
pub(crate) struct Lease;

impl Strategy for Lease {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(lease(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(lease(object));
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

fn lease(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(seconds) = object.int("spec.leaseDurationSeconds")
        && seconds <= 0
    {
        errors.push(FieldError::invalid_number(
            "spec.leaseDurationSeconds",
            seconds,
            "must be greater than 0",
        ));
    }
    errors.extend(non_negative(object, "spec.leaseTransitions", "spec.leaseTransitions"));
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn leases() {
        let lease = |seconds: i64| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"leaseDurationSeconds": seconds}});
        assert!(Lease.validate_create(&lease(40)).is_empty());
        assert_eq!(
            texts(Lease.validate_create(&lease(0))),
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
        );
    }
}
