//! Delete, at once or step by step: grace periods, finalizers, preconditions, propagation.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::claims::Pending;
use super::create::ATTEMPTS;
use super::render::ListMeta;
use super::{Answer, Call, meta, render, update};
use crate::cache::{Object, Query, splice_revision, store_key, to_stored};
use crate::resource::{FieldError, Resource};
use crate::status::{ApiError, deleted};
use crate::store::{CommitError, Expect, Operation, Transaction};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// `meta/v1 DeleteOptions`, from the query or the body.
#[derive(Clone, Debug, Default)]
pub(super) struct DeleteOptions {
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    /// What happens to dependents; `None` leaves the finalizers as they are.
    pub(super) propagation: Option<Propagation>,
    pub(super) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// What a delete did.
pub(super) enum Outcome {
    /// The object is gone.
    Gone(Value),
    /// It was marked, or was marked already.
    Pending(Value),
}

impl Call {
    pub(super) fn delete_options(&self) -> Result<DeleteOptions, ApiError> {
        let query = &self.options;
        let mut options = DeleteOptions {
            grace_period_seconds: query.grace_period_seconds,
            dry_run: query.dry_run,
            ..DeleteOptions::default()
        };
        let mut policy = query.propagation_policy.clone();
        let mut orphan = query.orphan_dependents;
        if !self.body.is_empty() {
            let body = meta::parse_body(&self.parts, &self.body)?;
            options.read(&body)?;
            let text = body["propagationPolicy"].as_str();
            policy = text.map(str::to_owned).or(policy);
            orphan = body["orphanDependents"].as_bool().or(orphan);
        }
        options.propagation = match policy.as_deref() {
            None => orphan.map(|orphan| match orphan {
                true => Propagation::Orphan,
                false => Propagation::Background,
            }),
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let error = FieldError::not_supported(
                    "propagationPolicy",
                    &other.into(),
                    &["Background", "Foreground", "Orphan", "nil"],
                );
                return Err(ApiError::invalid_kind("meta.k8s.io", "DeleteOptions", "", &[error]));
            }
        };
        if options.grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            // Kubernetes' reading of a negative period.
            options.grace_period_seconds = Some(1);
        }
        Ok(options)
    }

    pub(super) async fn delete(&mut self) -> Answer {
        let options = self.delete_options()?;
        let resource = self.resource();
        let name = self.name().to_owned();
        if is_namespace(resource) && IMMORTAL.contains(&&*name) {
            let why = "this namespace may not be deleted";
            return Err(ApiError::forbidden(resource, &name, why));
        }
        let outcome = self.delete_named(&name, &options).await?;
        match outcome {
            Outcome::Gone(object) if !returns_object(resource) => {
                let status = deleted(resource, &name, meta::text(&object, "uid"));
                render::document(StatusCode::OK, self.accept, &status)
            }
            Outcome::Gone(object) | Outcome::Pending(object) => {
                let json = serde_json::to_vec(&object).map_err(ApiError::internal)?;
                self.show(StatusCode::OK, json.into())
            }
        }
    }

    pub(super) async fn delete_collection(&mut self) -> Answer {
        let options = self.delete_options()?;
        let filter = self.filter()?;
        let matches = |object: &Object| filter.matches(object);
        let query = Query { namespace: &filter.namespace, ..Query::default() };
        let listed = self.server.cache.list(self.path.table, &query, &matches);
        let (page, _) = listed.map_err(|_| ApiError::internal("the list expired"))?;
        let namespace = self.path.namespace.clone();
        let objects: Vec<Arc<Object>> = page.objects;
        for object in &objects {
            let value = object.value();
            let name = meta::text(&value, "name");
            if self.resource().namespaced {
                meta::text(&value, "namespace").clone_into(&mut self.path.namespace);
            }
            match self.delete_named(name, &options).await {
                // Somebody else was faster.
                Err(error) if error.code == StatusCode::NOT_FOUND => {}
                result => drop(result?),
            }
        }
        self.path.namespace = namespace;
        let meta =
            ListMeta { resource_version: self.server.cache.revision(), ..ListMeta::default() };
        self.show_list(&objects, &meta)
    }

    pub(super) async fn delete_named(
        &mut self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Outcome, ApiError> {
        self.path.name = Some(name.to_owned());
        for _ in 0..ATTEMPTS {
            let current = self.current()?;
            let old = current.value();
            self.check_preconditions(&current, &old, options)?;
            if let Some(outcome) = self.try_delete(&current, &old, options).await? {
                return Ok(outcome);
            }
        }
        Err(ApiError::modified(self.resource(), name))
    }

    fn check_preconditions(
        &self,
        current: &Object,
        old: &Value,
        options: &DeleteOptions,
    ) -> Result<(), ApiError> {
        let conflict = |what: &str, asked: &str, found: &str| {
            let why = format!(
                "Precondition failed: {what} in precondition: {asked}, {what} in object meta: {found}"
            );
            Err(ApiError::conflict(self.resource(), self.name(), &why))
        };
        let uid = meta::text(old, "uid");
        if let Some(asked) = options.uid.as_deref().filter(|asked| *asked != uid) {
            return conflict("UID", asked, uid);
        }
        let version = current.revision.to_string();
        if let Some(asked) = options.resource_version.as_deref().filter(|a| *a != version) {
            return conflict("ResourceVersion", asked, &version);
        }
        Ok(())
    }

    /// `None` when somebody else wrote in between.
    async fn try_delete(
        &self,
        current: &Object,
        old: &Value,
        options: &DeleteOptions,
    ) -> Result<Option<Outcome>, ApiError> {
        let resource = self.server.cache.resource(self.path.table);
        let mut new = old.clone();
        propagate(&mut new, options.propagation);
        let marked = meta::is_terminating(old);
        let left = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
        let grace = resource.strategy.grace_period_seconds(old, options.grace_period_seconds);
        let grace = match left {
            // A second delete may shorten the period, never lengthen it.
            Some(left) if marked => match options.grace_period_seconds {
                Some(_) => grace.min(left),
                None => left,
            },
            _ => grace,
        };
        let must_wait = grace > 0
            || !meta::finalizers(&new).is_empty()
            || !update::namespace_is_empty(resource, &new);
        if must_wait {
            if !marked || left.is_some_and(|left| grace < left) {
                mark(&mut new, grace);
            }
            if is_namespace(resource) {
                new["status"]["phase"] = "Terminating".into();
            }
        }
        let key = store_key(resource, &self.path.namespace, self.name());
        let expect = Expect::Revision(current.revision);
        let stored = to_stored(&new);
        let mut operations = Vec::new();
        if must_wait {
            if splice_revision(&stored, current.revision) == current.bytes {
                return Ok(Some(Outcome::Pending(current.value())));
            }
            operations.push(Operation::Put { key, value: stored, expect });
        } else {
            operations.push(Operation::Delete { key, expect });
            let mut claims = Pending::new(&self.server);
            let released = resource.strategy.allocate(&mut claims, None, Some(old));
            released.map_err(|error| ApiError::not_allocated(resource, self.name(), error))?;
            operations.extend(claims.into_operations());
        }
        let revision = if options.dry_run {
            current.revision
        } else {
            match self.server.commit(Transaction { operations }).await {
                Ok(revision) => revision,
                Err(CommitError::Failed { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        new["metadata"]["resourceVersion"] = revision.to_string().into();
        Ok(Some(if must_wait { Outcome::Pending(new) } else { Outcome::Gone(new) }))
    }
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` object.
    pub(super) fn read(&mut self, body: &Value) -> Result<(), ApiError> {
        let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
        if !body.is_object() || kind != "DeleteOptions" {
            return Err(ApiError::bad_request(format!(
                "the body of a delete must be DeleteOptions, not {kind}"
            )));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.grace_period_seconds =
            body["gracePeriodSeconds"].as_i64().or(self.grace_period_seconds);
        self.uid = text(&body["preconditions"]["uid"]);
        self.resource_version = text(&body["preconditions"]["resourceVersion"]);
        for value in body["dryRun"].as_array().into_iter().flatten() {
            match value.as_str() {
                Some("All") => self.dry_run = true,
                _ => return Err(ApiError::bad_request(format!("invalid dryRun value: {value}"))),
            }
        }
        Ok(())
    }
}

fn mark(object: &mut Value, grace: i64) {
    let counts = object["metadata"]["generation"].as_i64();
    let metadata = meta::metadata(object);
    let first = !metadata.contains_key("deletionTimestamp");
    metadata.insert("deletionTimestamp".to_owned(), meta::time_in(grace).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if let Some(generation) = counts.filter(|_| first) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

/// Sets the finalizers that the garbage collector acts on.
fn propagate(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let wanted = match propagation {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let mut finalizers: Vec<String> = meta::finalizers(object)
        .into_iter()
        .filter(|finalizer| !matches!(*finalizer, ORPHAN | FOREGROUND))
        .map(str::to_owned)
        .collect();
    finalizers.extend(wanted.map(str::to_owned));
    let metadata = meta::metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
}

fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

/// Kinds whose delete answers with the object (`ReturnDeletedObject` of their storage).
fn returns_object(resource: &Resource) -> bool {
    resource.group.is_empty()
        && matches!(resource.plural, "pods" | "services" | "serviceaccounts" | "podtemplates")
}
