//! Resources that are views of others (`events.k8s.io` Events are stored as core Events).

use bytes::Bytes;
use serde_json::Value;

use crate::resource::Resource;

/// The stored JSON in the form of the resource that was asked for.
pub(super) fn to_served(served: &Resource, stored: &Resource, json: Bytes) -> Bytes {
    if std::ptr::eq(served, stored) {
        return json;
    }
    let Ok(value) = serde_json::from_slice::<Value>(&json) else { return json };
    serde_json::to_vec(&value_to_served(served, stored, value)).map_or(json, Bytes::from)
}

pub(super) fn value_to_served(served: &Resource, stored: &Resource, mut value: Value) -> Value {
    if !std::ptr::eq(served, stored) {
        served.strategy.to_served(&mut value);
    }
    value
}

/// What a client sent for `served`, in the form in which it is stored.
pub(super) fn value_to_stored(served: &Resource, stored: &Resource, mut value: Value) -> Value {
    if !std::ptr::eq(served, stored) {
        served.strategy.to_storage(&mut value);
    }
    value
}
