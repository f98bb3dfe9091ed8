//! `metadata` as the server keeps it, and bodies as clients send them.

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::Call;
use crate::resource::Resource;
use crate::status::ApiError;

const ACCEPTED: &str = "application/json, application/yaml";

/// `metav1.Time` of now: RFC 3339 with whole seconds.
pub(super) fn now() -> String {
    time_in(0)
}

/// `metav1.Time` that many seconds from now.
pub(super) fn time_in(seconds: i64) -> String {
    let now = jiff::Timestamp::now();
    let then = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
    then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `metadata`, made an object if it is none.
pub(super) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    match &mut object["metadata"] {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// A text field of `metadata`; empty when missing.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The media type of the body, without parameters.
pub(super) fn media_type(parts: &Parts) -> &str {
    let value = parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.unwrap_or("application/json").split(';').next().unwrap_or_default().trim()
}

/// Reads a JSON or YAML body.
pub(super) fn parse_body(parts: &Parts, body: &Bytes) -> Result<Value, ApiError> {
    match media_type(parts) {
        "application/json" | "" => serde_json::from_slice(body).map_err(|error| {
            ApiError::bad_request(format!(
                "error decoding the body of the request as JSON: {error}"
            ))
        }),
        "application/yaml" | "text/yaml" | "application/x-yaml" => parse_yaml(body),
        _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
    }
}

pub(super) fn parse_yaml(body: &Bytes) -> Result<Value, ApiError> {
    let bad = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("error converting YAML to JSON: {error}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| bad(&error))?;
    serde_saphyr::from_str(text).map_err(|error| bad(&error))
}

impl Call {
    /// The body as an object of `resource`, in its stored form; complains about unknown fields
    /// as `fieldValidation` asks.
    pub(super) fn decode_object(&mut self, resource: &'static Resource) -> Result<Value, ApiError> {
        let object = parse_body(&self.parts, &self.body)?;
        check_kind(&object, resource, &self.body)?;
        self.check_fields(resource)?;
        let stored = self.server.cache.resource(self.path.table);
        Ok(super::convert::value_to_stored(resource, stored, object))
    }

    fn check_fields(&mut self, _resource: &'static Resource) -> Result<(), ApiError> {
        Ok(())
    }
}

/// `kind` is required; `apiVersion` and `kind` must be the resource's.
pub(super) fn check_kind(
    object: &Value,
    resource: &Resource,
    body: &Bytes,
) -> Result<(), ApiError> {
    let shown = || {
        let text = String::from_utf8_lossy(body);
        text.chars().take(512).collect::<String>()
    };
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: the body is no object: {}",
            shown()
        )));
    }
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    if text("kind").is_empty() {
        return Err(ApiError::bad_request(format!("Object 'Kind' is missing in '{}'", shown())));
    }
    let (kind, version) = (text("kind"), text("apiVersion"));
    if version.is_empty() {
        return Err(ApiError::bad_request(format!(
            "Object 'apiVersion' is missing in '{}'",
            shown()
        )));
    }
    if kind != resource.kind || version != resource.api_version() {
        let (group, bare) = version.split_once('/').unwrap_or(("", version));
        let wanted = (resource.group, resource.version, resource.kind);
        return Err(ApiError::bad_request(if group == wanted.0 && bare == wanted.1 {
            format!(
                "{kind} in version {bare:?} cannot be handled as a {}: \
                 the kind of the object does not match the resource {}",
                resource.kind, resource.plural
            )
        } else {
            format!(
                "the API version in the data ({version}) does not match the expected API \
                 version ({})",
                resource.api_version()
            )
        }));
    }
    Ok(())
}
