//! Objects and lists in the form the client asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Call, convert, response};
use crate::body::Body;
use crate::cache::Object;
use crate::request::{Accept, Rendering};
use crate::resource::Resource;
use crate::status::ApiError;
use crate::table::IncludeObject;

/// `metadata` of a list.
#[derive(Debug, Default)]
pub(super) struct ListMeta {
    pub(super) resource_version: u64,
    pub(super) proceed: Option<String>,
    pub(super) remaining: Option<usize>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.resource_version.to_string()});
        if let Some(proceed) = &self.proceed {
            meta["continue"] = proceed.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
        meta
    }
}

/// `includeObject=` of a table request.
pub(super) fn include_object(text: &str) -> Result<IncludeObject, ApiError> {
    match text {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

pub(super) fn meta_version(beta: bool) -> &'static str {
    if beta { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" }
}

/// A `Table` of objects given as parsed.
pub(super) fn table(
    resource: &Resource,
    objects: &[&Value],
    include: IncludeObject,
    beta: bool,
) -> Value {
    let mut table = crate::table::render(resource, objects, include, jiff::Timestamp::now());
    table["apiVersion"] = meta_version(beta).into();
    table
}

/// `PartialObjectMetadata` of one object.
pub(super) fn partial(object: &Value, beta: bool) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": meta_version(beta),
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// A document as JSON or YAML.
pub(super) fn document(
    code: StatusCode,
    accept: Accept,
    value: &Value,
) -> Result<Response<Body>, ApiError> {
    let json = serde_json::to_vec(value).map_err(ApiError::internal)?;
    bytes(code, accept, json.into())
}

/// JSON bytes, sent as they are or as YAML.
pub(super) fn bytes(
    code: StatusCode,
    accept: Accept,
    json: Bytes,
) -> Result<Response<Body>, ApiError> {
    if !accept.yaml {
        return Ok(response(code, "application/json", json.into()));
    }
    let value: Value = serde_json::from_slice(&json).map_err(ApiError::internal)?;
    let yaml = serde_saphyr::to_string(&value).map_err(ApiError::internal)?;
    Ok(response(code, "application/yaml", yaml.into()))
}

impl Call {
    /// One object, given as its JSON.
    pub(super) fn show(&self, code: StatusCode, json: Bytes) -> Answer {
        let resource = self.resource();
        let json = convert::to_served(resource, self.server.cache.resource(self.path.table), json);
        let parsed = || serde_json::from_slice::<Value>(&json).map_err(ApiError::internal);
        match self.accept.rendering {
            Rendering::Object => bytes(code, self.accept, json),
            Rendering::Table { beta } => {
                let object = parsed()?;
                let include = include_object(&self.options.include_object)?;
                let mut table = table(resource, &[&object], include, beta);
                table["metadata"] = json!({
                    "resourceVersion": object["metadata"]["resourceVersion"]
                });
                document(code, self.accept, &table)
            }
            Rendering::Metadata { beta } => document(code, self.accept, &partial(&parsed()?, beta)),
        }
    }

    /// A list of objects.
    pub(super) fn show_list(&self, objects: &[Arc<Object>], meta: &ListMeta) -> Answer {
        let resource = self.resource();
        let stored = self.server.cache.resource(self.path.table);
        match self.accept.rendering {
            Rendering::Object => {
                let mut parts = VecDeque::with_capacity(2 * objects.len() + 2);
                let head = format!(
                    "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
                    resource.kind,
                    resource.api_version(),
                    meta.to_value()
                );
                parts.push_back(head.into());
                for (position, object) in objects.iter().enumerate() {
                    if position > 0 {
                        parts.push_back(Bytes::from_static(b","));
                    }
                    parts.push_back(convert::to_served(resource, stored, object.bytes.clone()));
                }
                parts.push_back(Bytes::from_static(b"]}"));
                if self.accept.yaml {
                    let all: Vec<u8> = parts.into_iter().flatten().collect();
                    return bytes(StatusCode::OK, self.accept, all.into());
                }
                Ok(response(StatusCode::OK, "application/json", Body::parts(parts)))
            }
            Rendering::Table { beta } => {
                let include = include_object(&self.options.include_object)?;
                let values = self.values(objects);
                let mut table = table(resource, &values.iter().collect::<Vec<_>>(), include, beta);
                table["metadata"] = meta.to_value();
                document(StatusCode::OK, self.accept, &table)
            }
            Rendering::Metadata { beta } => {
                let items = self.values(objects).iter().map(|o| partial(o, beta)).collect();
                let list = json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": meta_version(beta),
                    "metadata": meta.to_value(),
                    "items": Value::Array(items),
                });
                document(StatusCode::OK, self.accept, &list)
            }
        }
    }

    /// The objects parsed, in the form of the served resource.
    fn values(&self, objects: &[Arc<Object>]) -> Vec<Value> {
        let resource = self.resource();
        let stored = self.server.cache.resource(self.path.table);
        let value =
            |object: &Arc<Object>| convert::value_to_served(resource, stored, object.value());
        objects.iter().map(value).collect()
    }
}
