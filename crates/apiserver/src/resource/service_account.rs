//! core/v1 ServiceAccount.

use serde_json::{Map, Value};

use super::meta::{self, NameRule};
use super::value::ValueExt;
use super::{FieldError, Strategy};

/// core/v1 ServiceAccount.
#[derive(Debug)]
pub(crate) struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        meta::validate(object, true, NameRule::Subdomain)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn apply_defaults(&self, object: &mut Value) {
        // Nothing to fill in; an empty list is no list.
        for field in ["secrets", "imagePullSecrets"] {
            if object.at(field).as_array().is_some_and(Vec::is_empty) {
                object.as_object_mut().map(|map: &mut Map<String, Value>| map.remove(field));
            }
        }
    }
}
