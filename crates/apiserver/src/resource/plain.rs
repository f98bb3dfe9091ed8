//! Kinds that need little more than the validation of their `metadata`.

use serde_json::Value;

use super::meta::{self, NameRule};
use super::{FieldError, Strategy};

/// A kind without rules of its own.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) namespaced: bool,
    pub(crate) names: NameRule,
    pub(crate) has_status: bool,
    pub(crate) generation: bool,
}

/// The reviews of authorization.k8s.io: answered, never stored.
#[derive(Debug)]
pub(crate) struct Review;

impl Strategy for Review {
    fn counts_generation(&self) -> bool {
        false
    }
}

impl Strategy for Plain {
    fn prepare_for_create(&self, object: &mut Value) {
        if self.has_status
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        if self.has_status {
            meta::keep_status(object, old);
        }
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        meta::validate(object, self.namespaced, self.names)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        self.generation
    }
}
