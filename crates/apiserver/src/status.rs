//! The one place where errors become Kubernetes `Status` objects.
//!
//! Reasons, codes, details and texts are those of `k8s.io/apimachinery/pkg/api/errors` and of
//! kube-apiserver's handlers, because clients read them.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::apply::Conflicts;
use crate::auth::Attributes;
use crate::resource::{FieldError, Resource, aggregate};
use crate::store::{CommitError, Revision, StoreError};

/// The most bytes that a request's body may have.
pub(crate) const BODY_LIMIT: usize = 3 << 20;

/// A request's failure, as `meta/v1 Status` tells it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    details: Map<String, Value>,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u32>,
    /// `metadata.continue` of the status: where an expired list may go on, inconsistently.
    pub proceed: Option<String>,
}

/// `services`, or `deployments.apps`: a resource as error texts name it.
pub(crate) fn qualified(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.plural.to_owned()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

fn details_of(resource: &Resource, name: &str) -> Map<String, Value> {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", resource.group), ("kind", resource.plural)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    details
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
            retry_after: None,
            proceed: None,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = details_of(resource, name);
        self
    }

    fn cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let mut cause = json!({"reason": reason, "message": message});
        if !field.is_empty() {
            cause["field"] = field.into();
        }
        match self.details.get_mut("causes").and_then(Value::as_array_mut) {
            Some(causes) => causes.push(cause),
            None => {
                self.details.insert("causes".to_owned(), json!([cause]));
            }
        }
        self
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource));
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    /// No such path, resource or subresource.
    pub(crate) fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource));
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(resource));
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    /// The object was written since the client read it.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; \
                   please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(crate) fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(resource.group, resource.kind, name, errors)
    }

    pub(crate) fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let list = aggregate(errors);
        let named = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{named} {name:?} is invalid: {list}");
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                error.details.insert(key.to_owned(), value.into());
            }
        }
        for field in errors {
            error = error.cause(field.reason(), &field.body(), &field.path);
        }
        error
    }

    pub(crate) fn apply_conflict(conflicts: &Conflicts) -> Self {
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string());
        for conflict in &conflicts.0 {
            error = error.cause("FieldManagerConflict", &conflict.message, &conflict.field);
        }
        error
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let qualified = qualified(resource);
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {why}")
        } else {
            format!("{qualified} {name:?} is forbidden: {why}")
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    pub(crate) fn forbidden_request(asked: &Attributes<'_>, why: &str) -> Self {
        let qualified = match asked.group {
            "" => asked.resource.to_owned(),
            group => format!("{}.{group}", asked.resource),
        };
        let message = match asked.name {
            "" => format!("{qualified} is forbidden: {why}"),
            name => format!("{qualified} {name:?} is forbidden: {why}"),
        };
        let mut error = Self::new(StatusCode::FORBIDDEN, "Forbidden", message);
        for (key, value) in [("name", asked.name), ("group", asked.group), ("kind", asked.resource)]
        {
            if !value.is_empty() {
                error.details.insert(key.to_owned(), value.into());
            }
        }
        error
    }

    pub(crate) fn forbidden_path(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("forbidden: {why}"))
    }

    pub(crate) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let cause = format!("namespace {namespace} is being terminated");
        Self::forbidden(resource, name, &why).cause(
            "NamespaceTerminating",
            &cause,
            "metadata.namespace",
        )
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, \
                       application/yaml, application/json;stream=watch";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - \
             accepted media types include: {accepted}"
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn too_large() -> Self {
        let message = format!("Request entity too large: limit is {BODY_LIMIT}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn too_large_because(message: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// A patch that is well formed but does not fit the object. Kubernetes says only that the
    /// request was in error; kubectl prints the message whole when no kind stands beside it.
    pub(crate) fn unprocessable(why: &str) -> Self {
        let message =
            format!("the server rejected our request due to an error in our request: {why}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// A watch from `asked` needs changes that are no longer kept.
    pub(crate) fn expired(asked: Revision, oldest: Revision) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// A list at an exact revision that is no longer kept.
    pub(crate) fn expired_list(asked: Revision) -> Self {
        let message = format!("The resourceVersion for the provided list is too old: {asked}");
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn expired_continue(proceed: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list \
            result. You can start a new list without the continue parameter, or use the continue \
            token in this response to retrieve the remainder of the results. Continuing with the \
            provided token results in an inconsistent list - objects that were created, modified, \
            or deleted between the time the first chunk was returned and now may show up in the \
            list.";
        let mut error = Self::new(StatusCode::GONE, "Expired", message);
        error.proceed = Some(proceed);
        error
    }

    pub(crate) fn resource_version_too_large(asked: Revision, current: Revision) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut error = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).cause(
            "ResourceVersionTooLarge",
            "Too large resource version",
            "",
        );
        error.details.insert("retryAfterSeconds".to_owned(), 1.into());
        error.retry_after = Some(1);
        error
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        let text = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text).cause(
            "",
            &message.to_string(),
            "",
        )
    }

    /// What kube-apiserver answers where it has no better word: 500 without a reason.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    pub(crate) fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(proceed) = &self.proceed {
            status["metadata"]["continue"] = proceed.as_str().into();
        }
        if !self.details.is_empty() {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        self.to_value().to_string().into()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::service_unavailable("the server is shutting down"),
            other => Self::internal(other),
        }
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            failed @ CommitError::Failed { .. } => Self::internal(failed),
        }
    }
}

/// The `Status` of a successful delete.
pub(crate) fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = details_of(resource, name);
    if !uid.is_empty() {
        details.insert("uid".to_owned(), uid.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details})
}
