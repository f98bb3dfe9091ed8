//! Update and patch, of an object or of its status.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::claims::Pending;
use super::create::ATTEMPTS;
use super::{Answer, Call, convert, meta};
use crate::apply::{self, Writer};
use crate::cache::{Object, splice_revision, store_key, to_stored};
use crate::patch::{self, PatchError, PatchKind};
use crate::resource::{FieldError, Resource};
use crate::schema;
use crate::status::ApiError;
use crate::store::{CommitError, Expect, Operation, Transaction};

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
    /// What another subresource changed is taken as it is.
    Whole,
}

/// What became of a write.
pub(super) enum Written {
    Changed(Bytes),
    /// The last finalizer went: the object is gone.
    Deleted(Bytes),
}

impl Written {
    pub(super) fn json(self) -> Bytes {
        match self {
            Self::Changed(json) | Self::Deleted(json) => json,
        }
    }
}

impl Call {
    pub(super) async fn update(&mut self) -> Answer {
        self.update_part(Part::Main).await
    }

    pub(super) async fn update_part(&mut self, part: Part) -> Answer {
        let resource = self.resource();
        let object = self.decode_object()?;
        self.check_name(&object)?;
        if self.server.cache.get(self.path.table, &self.key()).is_none()
            && part == Part::Main
            && allows_create_on_update(resource)
        {
            let mut object = object;
            let (namespace, name) = (self.path.namespace.clone(), self.name().to_owned());
            let metadata = meta::metadata(&mut object);
            metadata.insert("name".to_owned(), name.into());
            if resource.namespaced {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            metadata.remove("resourceVersion");
            let (code, json) = self.create_object(object).await?;
            return self.show(code, json);
        }
        let written = self.write(part, |_| Ok(object.clone())).await?;
        self.show(StatusCode::OK, written.json())
    }

    /// Who writes, for `managedFields`: the `fieldManager`, or the start of the user agent.
    fn manager(&self) -> String {
        if !self.options.field_manager.is_empty() {
            return self.options.field_manager.clone();
        }
        let agent = self.parts.headers.get(http::header::USER_AGENT).and_then(|a| a.to_str().ok());
        let agent = agent.unwrap_or("unknown");
        agent.split('/').next().unwrap_or(agent).chars().take(128).collect()
    }

    fn check_name(&self, object: &Value) -> Result<(), ApiError> {
        let (given, name) = (meta::text(object, "name"), self.name());
        if given != name && !given.is_empty() {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        if given.is_empty() {
            return Err(ApiError::bad_request("name must be provided"));
        }
        let namespace = meta::text(object, "namespace");
        if !namespace.is_empty() && namespace != self.path.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        Ok(())
    }

    pub(super) async fn patch(&mut self) -> Answer {
        self.patch_part(Part::Main).await
    }

    pub(super) async fn patch_part(&mut self, part: Part) -> Answer {
        let kind = self.patch_kind()?;
        if kind == PatchKind::Apply {
            return self.apply(part).await;
        }
        let patch = self.patch_body()?;
        let resource = self.resource();
        let stored = self.server.cache.resource(self.path.table);
        let validation = self.options.field_validation.clone();
        let mut warnings = Vec::new();
        let written = self
            .write(part, |old| {
                let served = convert::value_to_served(resource, stored, old.clone());
                let mut patched =
                    apply_patch(resource, kind, &served, &patch).map_err(patch_error)?;
                let (group, version) = (resource.group, resource.version);
                let problems = schema::prune(group, version, resource.kind, &mut patched)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
                warnings = meta::judge(&validation, version, resource.kind, problems)?;
                Ok(convert::value_to_stored(resource, stored, patched))
            })
            .await?;
        self.warn(warnings);
        self.show(StatusCode::OK, written.json())
    }

    pub(super) fn patch_kind(&self) -> Result<PatchKind, ApiError> {
        PatchKind::of_media_type(meta::media_type(&self.parts)).ok_or_else(|| {
            let names = PatchKind::MEDIA_TYPES.map(|(name, _)| name);
            ApiError::unsupported_media_type(&names.join(", "))
        })
    }

    pub(super) fn patch_body(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
    }

    /// Server-side apply: creates or merges, and keeps track of who owns which field.
    async fn apply(&mut self, part: Part) -> Answer {
        let manager = self.options.field_manager.clone();
        if manager.is_empty() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(ApiError::invalid_kind("meta.k8s.io", "PatchOptions", "", &[error]));
        }
        let resource = self.resource();
        let mut config = meta::parse_yaml(&self.body)?;
        if config["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let problems = schema::prune(resource.group, resource.version, resource.kind, &mut config)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        self.complain(resource.version, resource.kind, problems)?;
        let stored = self.server.cache.resource(self.path.table);
        let config = convert::value_to_stored(resource, stored, config);
        let (namespace, name) = (self.path.namespace.clone(), self.name().to_owned());
        let subresource = self.path.subresource.clone().unwrap_or_default();
        let force = self.options.force;
        let now = meta::now();
        let writer = Writer { manager: &manager, subresource: &subresource, now: &now };
        let conflict = |conflicts| ApiError::apply_conflict(&conflicts);
        if self.server.cache.get(self.path.table, &self.key()).is_none() && part == Part::Main {
            let mut object = apply::apply(None, &config, writer, force).map_err(conflict)?;
            let metadata = meta::metadata(&mut object);
            metadata.insert("name".to_owned(), name.into());
            if resource.namespaced {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            metadata.remove("resourceVersion");
            let (code, json) = self.create_object(object).await?;
            return self.show(code, json);
        }
        self.applies = true;
        let written = self
            .write(part, |old| apply::apply(Some(old), &config, writer, force).map_err(conflict))
            .await?;
        self.show(StatusCode::OK, written.json())
    }

    /// Reads the object, lets `change` make the new one, and writes that if nobody else wrote in
    /// between; otherwise starts again, unless the new object insists on a resource version.
    pub(super) async fn write(
        &mut self,
        part: Part,
        mut change: impl FnMut(&Value) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        let name = self.name().to_owned();
        for _ in 0..ATTEMPTS {
            let current = self.current()?;
            let old = current.value();
            let new = change(&old)?;
            if let Some(written) = self.try_write(part, &current, &old, new).await? {
                return Ok(written);
            }
        }
        Err(ApiError::modified(self.resource(), &name))
    }

    /// `None` when somebody else wrote first.
    async fn try_write(
        &mut self,
        part: Part,
        current: &Object,
        old: &Value,
        mut new: Value,
    ) -> Result<Option<Written>, ApiError> {
        let resource = self.server.cache.resource(self.path.table);
        let strategy = resource.strategy;
        let name = self.name().to_owned();
        self.check_versions(current, old, &new)?;
        keep_metadata(&mut new, old);
        strategy.apply_defaults(&mut new);
        match part {
            Part::Main => strategy.prepare_for_update(&mut new, old),
            Part::Status => strategy.prepare_for_status_update(&mut new, old),
            Part::Whole => {}
        }
        keep_metadata(&mut new, old);
        if !self.applies {
            let now = meta::now();
            let manager = self.manager();
            let subresource = self.path.subresource.as_deref().unwrap_or_default();
            let writer = Writer { manager: &manager, subresource, now: &now };
            apply::track_update(Some(old), &mut new, writer);
        }
        self.count_generation(resource, &mut new, old);
        let finished = meta::is_terminating(&new)
            && meta::finalizers(&new).is_empty()
            && new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
            && namespace_is_empty(resource, &new);
        let mut claims = Pending::new(&self.server);
        let allocated = if finished {
            strategy.allocate(&mut claims, None, Some(old))
        } else if part == Part::Main {
            strategy.allocate(&mut claims, Some(&mut new), Some(old))
        } else {
            Ok(())
        };
        allocated.map_err(|error| ApiError::not_allocated(self.resource(), &name, error))?;
        let claimed = claims.into_operations();
        // Only now, as in Kubernetes: what cannot be allocated is told alone.
        let mut errors = match part {
            Part::Status => strategy.validate_status_update(&new, old),
            Part::Main => strategy.validate_update(&new, old),
            // The subresource has checked what it changes, which an update may not (a pod's node).
            Part::Whole => Vec::new(),
        };
        errors.extend(new_finalizers(&new, old));
        if !errors.is_empty() {
            return Err(ApiError::invalid(self.resource(), &name, &errors));
        }
        match part {
            Part::Main => {
                self.warn(strategy.warnings(&new, Some(old)));
                self.warn(self.server.warn_of_addresses(resource, &new, false));
                self.server.config.admission.admit(resource, &new, Some(old))?;
            }
            Part::Status => {
                self.warn(strategy.status_warnings(&new));
                self.warn(self.server.warn_of_addresses(resource, &new, true));
            }
            Part::Whole => {}
        }
        strategy.canonicalize(&mut new);
        let stored = to_stored(&new);
        if !finished && splice_revision(&stored, current.revision) == current.bytes {
            // Nothing changed: no new revision, no event.
            return Ok(Some(Written::Changed(current.bytes.clone())));
        }
        if self.options.dry_run {
            return Ok(Some(Written::Changed(splice_revision(&stored, current.revision))));
        }
        let key = store_key(resource, &self.path.namespace, &name);
        let expect = Expect::Revision(current.revision);
        let own = if finished {
            Operation::Delete { key, expect }
        } else {
            Operation::Put { key, value: stored.clone(), expect }
        };
        let operations = [vec![own], claimed].concat();
        match self.server.commit(Transaction { operations }).await {
            Ok(revision) => {
                let json = splice_revision(&stored, revision);
                Ok(Some(if finished { Written::Deleted(json) } else { Written::Changed(json) }))
            }
            Err(CommitError::Failed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The resource version and the UID that the new object carries must be the current ones.
    fn check_versions(&self, current: &Object, old: &Value, new: &Value) -> Result<(), ApiError> {
        let resource = self.resource();
        let uid = meta::text(new, "uid");
        if !uid.is_empty() && uid != meta::text(old, "uid") {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::text(old, "uid")
            );
            return Err(ApiError::conflict(resource, self.name(), &why));
        }
        let version = meta::text(new, "resourceVersion");
        if !version.is_empty() && version.parse::<u64>().is_err() {
            let text = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
            return Err(ApiError::plain(text));
        }
        if !version.is_empty() && version != current.revision.to_string() {
            return Err(ApiError::modified(resource, self.name()));
        }
        Ok(())
    }

    fn count_generation(&self, resource: &Resource, new: &mut Value, old: &Value) {
        if !resource.strategy.counts_generation() {
            return;
        }
        let relevant = |object: &Value| -> Vec<(String, Value)> {
            let map = object.as_object().cloned().unwrap_or_default();
            let keep = |key: &String| !matches!(key.as_str(), "metadata" | "status");
            map.into_iter().filter(|(key, _)| keep(key)).collect()
        };
        if relevant(new) != relevant(old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            meta::metadata(new).insert("generation".to_owned(), generation.into());
        }
    }
}

/// What an update never changes in `metadata`.
fn keep_metadata(new: &mut Value, old: &Value) {
    let metadata = meta::metadata(new);
    for field in [
        "name",
        "generateName",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.remove("selfLink");
    if !metadata.contains_key("managedFields")
        && let Some(managed) = old["metadata"].get("managedFields")
    {
        metadata.insert("managedFields".to_owned(), managed.clone());
    }
    metadata.retain(|_, value| !value.is_null());
}

fn new_finalizers(new: &Value, old: &Value) -> Option<FieldError> {
    if !meta::is_terminating(old) {
        return None;
    }
    let known = meta::finalizers(old);
    let added: Vec<String> = meta::finalizers(new)
        .into_iter()
        .filter(|finalizer| !known.contains(finalizer))
        .map(|finalizer| format!("{finalizer:?}"))
        .collect();
    (!added.is_empty()).then(|| {
        FieldError::forbidden(
            "metadata.finalizers",
            format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                added.join(", ")
            ),
        )
    })
}

/// Namespaces have finalizers of their own in `spec`.
pub(super) fn namespace_is_empty(resource: &Resource, object: &Value) -> bool {
    let is_namespace = resource.group.is_empty() && resource.plural == "namespaces";
    !is_namespace || object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty)
}

/// Kinds whose `PUT` creates what does not exist (`AllowCreateOnUpdate` of their strategies).
fn allows_create_on_update(resource: &Resource) -> bool {
    matches!(
        (resource.group, resource.plural),
        ("", "endpoints" | "events" | "services")
            | ("events.k8s.io", "events")
            | ("coordination.k8s.io", "leases")
    )
}

pub(super) fn apply_patch(
    resource: &Resource,
    kind: PatchKind,
    current: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    match kind {
        PatchKind::Json => patch::json(current, patch),
        PatchKind::Merge => patch::merge(current, patch),
        PatchKind::Strategic | PatchKind::Apply => patch::strategic(resource, current, patch),
    }
}

pub(super) fn patch_error(error: PatchError) -> ApiError {
    match error {
        PatchError::BadRequest(text) => ApiError::bad_request(text),
        PatchError::TooLarge(text) => ApiError::too_large_because(text),
        PatchError::Unprocessable(text) => ApiError::unprocessable(&text),
    }
}
