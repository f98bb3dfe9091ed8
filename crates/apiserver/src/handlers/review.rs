//! Questions about the one who asks and what they may do; nothing is stored.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Call, render};
use crate::auth::{Attributes, policy};
use crate::server::AuthorizationMode;
use crate::status::ApiError;

impl Call {
    pub(super) fn review(&mut self) -> Answer {
        let resource = self.resource();
        let mut review = self.decode_as(resource.group, resource.version, resource.kind)?;
        review["status"] = match resource.kind {
            "SelfSubjectAccessReview" => self.access(&review["spec"])?,
            "SelfSubjectRulesReview" => self.rules(&review["spec"])?,
            "SelfSubjectReview" => self.self_description(),
            _ => return Err(ApiError::method_not_allowed()),
        };
        review["metadata"] = json!({"creationTimestamp": null});
        render::document(StatusCode::CREATED, self.accept, &review)
    }

    /// Who asks: what `kubectl auth whoami` prints.
    fn self_description(&self) -> Value {
        let user = &self.user;
        let mut info = json!({"username": user.name, "groups": user.groups});
        if !user.uid.is_empty() {
            info["uid"] = user.uid.as_str().into();
        }
        json!({"userInfo": info})
    }

    fn access(&self, spec: &Value) -> Result<Value, ApiError> {
        if self.server.config.authorization == AuthorizationMode::AlwaysAllow {
            return Ok(json!({"allowed": true}));
        }
        let asked = &spec["resourceAttributes"];
        let path = &spec["nonResourceAttributes"];
        let text = |value: &'_ Value, field: &str| -> String {
            value[field].as_str().unwrap_or_default().to_owned()
        };
        let role = if asked.is_object() {
            let (verb, group) = (text(asked, "verb"), text(asked, "group"));
            let (resource, subresource) = (text(asked, "resource"), text(asked, "subresource"));
            let (namespace, name) = (text(asked, "namespace"), text(asked, "name"));
            let attributes = Attributes {
                verb: &verb,
                group: &group,
                resource: &resource,
                subresource: &subresource,
                namespace: &namespace,
                name: &name,
            };
            policy::allows(&self.user, &attributes)
        } else if path.is_object() {
            policy::allows_path(&self.user, &text(path, "verb"), &text(path, "path"))
        } else {
            return Err(ApiError::bad_request(
                "spec.resourceAttributes or spec.nonResourceAttributes must be given",
            ));
        };
        Ok(match role {
            Some(role) => json!({"allowed": true, "reason":
                format!("RBAC: allowed by the built-in role {role:?}")}),
            None => json!({"allowed": false}),
        })
    }

    fn rules(&self, spec: &Value) -> Result<Value, ApiError> {
        let Some(namespace) = spec["namespace"].as_str().filter(|text| !text.is_empty()) else {
            return Err(ApiError::bad_request("no namespace on request"));
        };
        Ok(match self.server.config.authorization {
            AuthorizationMode::Rbac => policy::rules(&self.user, namespace),
            AuthorizationMode::AlwaysAllow => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
        })
    }
}
