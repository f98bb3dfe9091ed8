//! `metadata` as the server keeps it, and bodies as clients send them.

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::Call;
use crate::protobuf;
use crate::resource::FieldError;
use crate::schema::{self, FieldValidation};
use crate::status::ApiError;

const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// `metav1.Time` of now: RFC 3339 with whole seconds.
pub(crate) fn now() -> String {
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

pub(crate) fn is_terminating(object: &Value) -> bool {
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
        "application/vnd.kubernetes.protobuf" => parse_protobuf(body),
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

fn parse_protobuf(body: &Bytes) -> Result<Value, ApiError> {
    protobuf::decode(body).map_err(|error| {
        ApiError::bad_request(format!("error decoding the body of the request: {error}"))
    })
}

impl Call {
    /// The body as an object of the resource that the path names, in its stored form. What the
    /// kind does not know is dropped, and complained about as `fieldValidation` asks.
    pub(super) fn decode_object(&mut self) -> Result<Value, ApiError> {
        let resource = self.resource();
        let object = self.decode_as(resource.group, resource.version, resource.kind)?;
        let stored = self.server.cache.resource(self.path.table);
        Ok(super::convert::value_to_stored(resource, stored, object))
    }

    /// The body as an object of any kind.
    pub(super) fn decode_as(
        &mut self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Value, ApiError> {
        let bad = |error: schema::DecodeError| ApiError::bad_request(error.to_string());
        let json = self.body_as_json()?;
        let decoded = schema::decode(group, version, kind, &json).map_err(bad)?;
        self.complain(version, kind, decoded.problems)?;
        Ok(decoded.object)
    }

    /// Refuses or warns of fields that the kind does not have.
    pub(super) fn complain(
        &mut self,
        version: &str,
        kind: &str,
        problems: Vec<String>,
    ) -> Result<(), ApiError> {
        let warnings = judge(&self.options.field_validation, version, kind, problems)?;
        self.warn(warnings);
        Ok(())
    }

    /// Adds texts for `Warning` headers, each once.
    pub(super) fn warn(&mut self, texts: Vec<String>) {
        for text in texts {
            if !self.warnings.contains(&text) {
                self.warnings.push(text);
            }
        }
    }

    fn body_as_json(&self) -> Result<Bytes, ApiError> {
        match media_type(&self.parts) {
            "application/json" | "" => Ok(self.body.clone()),
            _ => {
                let value = parse_body(&self.parts, &self.body)?;
                serde_json::to_vec(&value).map(Bytes::from).map_err(ApiError::internal)
            }
        }
    }
}

/// What `fieldValidation` makes of problems: nothing, warnings, or a refusal.
pub(super) fn judge(
    asked: &str,
    version: &str,
    kind: &str,
    problems: Vec<String>,
) -> Result<Vec<String>, ApiError> {
    let validation = FieldValidation::parse(asked).ok_or_else(|| {
        let supported = ["Ignore", "Strict", "Warn"];
        let error = FieldError::not_supported("fieldValidation", &asked.into(), &supported);
        ApiError::invalid_kind("meta.k8s.io", "CreateOptions", "", &[error])
    })?;
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            let refusal = schema::DecodeError::strict(version, kind, &problems);
            Err(ApiError::bad_request(refusal.to_string()))
        }
        FieldValidation::Warn => Ok(problems),
        FieldValidation::Strict | FieldValidation::Ignore => Ok(Vec::new()),
    }
}
