//! Subresources: status, scale, binding, finalize and those that lead to a node.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::delete::DeleteOptions;
use super::update::{Part, apply_patch, patch_error};
use super::{Answer, Call, meta, render};
use crate::resource::scale;
use crate::status::ApiError;

impl Call {
    pub(super) async fn subresource(&mut self, method: &Method) -> Answer {
        let subresource = self.path.subresource.clone().unwrap_or_default();
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match (&*subresource, method) {
            ("status", _) if reads => self.get(),
            ("status", &Method::PUT) => self.update_part(Part::Status).await,
            ("status", &Method::PATCH) => self.patch_part(Part::Status).await,
            ("scale", _) if reads => {
                let object = self.current()?.value();
                render::document(StatusCode::OK, self.accept, &scale::read(&object))
            }
            ("scale", &Method::PUT) => self.update_scale().await,
            ("scale", &Method::PATCH) => self.patch_scale().await,
            ("binding", &Method::POST) => self.bind().await,
            ("finalize", &Method::PUT) => self.finalize_namespace().await,
            ("token", &Method::POST) => self.token(),
            ("eviction", &Method::POST) => self.evict().await,
            _ => Err(ApiError::no_such_resource()),
        }
    }

    /// `pods/eviction`: a delete that disruption budgets could refuse; there are none here.
    async fn evict(&mut self) -> Answer {
        let eviction = self.decode_as("policy", "v1", "Eviction")?;
        let mut options = DeleteOptions { dry_run: self.options.dry_run, ..Default::default() };
        if eviction["deleteOptions"].is_object() {
            options.read(&eviction["deleteOptions"])?;
        }
        let name = self.name().to_owned();
        self.delete_named(&name, &options).await?;
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success", "code": 201});
        render::document(StatusCode::CREATED, self.accept, &status)
    }

    async fn update_scale(&mut self) -> Answer {
        let scale = meta::parse_body(&self.parts, &self.body)?;
        self.write_scale(|_| Ok(scale.clone())).await
    }

    async fn patch_scale(&mut self) -> Answer {
        let kind = self.patch_kind()?;
        let patch = self.patch_body()?;
        let resource = self.resource();
        self.write_scale(|current| {
            apply_patch(resource, kind, current, &patch).map_err(patch_error)
        })
        .await
    }

    async fn write_scale(
        &mut self,
        mut change: impl FnMut(&Value) -> Result<Value, ApiError>,
    ) -> Answer {
        let name = self.name().to_owned();
        let written = self
            .write(Part::Main, |old| {
                let mut current = scale::read(old);
                current["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
                let new = change(&current)?;
                let errors = scale::validate(&new);
                if !errors.is_empty() {
                    return Err(ApiError::invalid_kind("autoscaling", "Scale", &name, &errors));
                }
                let mut object = old.clone();
                let version = &new["metadata"]["resourceVersion"];
                if version.as_str().is_some_and(|version| !version.is_empty()) {
                    object["metadata"]["resourceVersion"] = version.clone();
                }
                scale::write(&mut object, new["spec"]["replicas"].as_i64().unwrap_or(0));
                Ok(object)
            })
            .await?;
        let object: Value = serde_json::from_slice(&written.json()).map_err(ApiError::internal)?;
        render::document(StatusCode::OK, self.accept, &scale::read(&object))
    }

    /// `pods/binding`: puts a pod on a node, once.
    async fn bind(&mut self) -> Answer {
        let binding = meta::parse_body(&self.parts, &self.body)?;
        let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
        let resource = self.resource();
        let name = self.name().to_owned();
        if node.is_empty() {
            let error = crate::resource::FieldError::required("target.name", "");
            return Err(ApiError::invalid_kind("", "Binding", &name, &[error]));
        }
        let uid = meta::text(&binding, "uid").to_owned();
        self.write(Part::Whole, |old| {
            let conflict = |why: &str| Err(ApiError::conflict(resource, &name, why));
            if !uid.is_empty() && uid != meta::text(old, "uid") {
                return conflict(&format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    meta::text(old, "uid")
                ));
            }
            if meta::is_terminating(old) {
                return conflict(&format!(
                    "pod {name} is being deleted, cannot be assigned to a host"
                ));
            }
            if let Some(assigned) = old["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
                return conflict(&format!("pod {name} is already assigned to node {assigned:?}"));
            }
            let mut pod = old.clone();
            pod["spec"]["nodeName"] = node.as_str().into();
            for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten()
            {
                pod["metadata"]["annotations"][key] = value.clone();
            }
            set_scheduled(&mut pod);
            Ok(pod)
        })
        .await?;
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success", "code": 201});
        render::document(StatusCode::CREATED, self.accept, &status)
    }

    /// `namespaces/finalize`: the only way to change `spec.finalizers`.
    async fn finalize_namespace(&mut self) -> Answer {
        let sent = self.decode_object()?;
        let written = self
            .write(Part::Whole, |old| {
                let mut object = old.clone();
                object["metadata"]["resourceVersion"] = sent["metadata"]["resourceVersion"].clone();
                object["spec"]["finalizers"] = match &sent["spec"]["finalizers"] {
                    Value::Null => json!([]),
                    list => list.clone(),
                };
                Ok(object)
            })
            .await?;
        self.show(StatusCode::OK, written.json())
    }
}

fn set_scheduled(pod: &mut Value) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": meta::now()});
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    if let Some(conditions) = pod["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(condition);
    }
}
