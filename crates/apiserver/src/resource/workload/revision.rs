//! apps/v1 ControllerRevision.

use serde_json::Value;

use crate::resource::meta::{self, NameRule, non_negative};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, Strategy};

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
