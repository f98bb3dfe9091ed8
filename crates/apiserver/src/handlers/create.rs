//! Create.

use bytes::Bytes;
use http::StatusCode;
use rand::Rng as _;
use serde_json::Value;

use super::claims::Pending;
use super::{Answer, Call, meta};
use crate::cache::{TableId, object_key, splice_revision, store_key, to_stored};
use crate::resource::{Claims, Resource};
use crate::server::Server;
use crate::status::ApiError;
use crate::store::{CommitError, Expect, Operation, Transaction};

/// How often a write that lost a race is prepared anew.
pub(super) const ATTEMPTS: usize = 32;
/// How often a create that lost an address or a port is prepared anew. Each time, some other writer
/// went on, so it takes that many writers at once to use this up.
const CLAIM_ATTEMPTS: usize = 1024;
/// `generateName`'s random part: no vowels, nothing that is easily misread.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// Longest generated name, before its suffix.
const LONGEST_BASE: usize = 63 - SUFFIX_LENGTH;

pub(super) fn random_suffix() -> String {
    let mut random = rand::rng();
    let pick = |_| char::from(SUFFIX[random.random_range(0..SUFFIX.len())]);
    (0..SUFFIX_LENGTH).map(pick).collect()
}

impl Call {
    pub(super) async fn create(&mut self) -> Answer {
        let resource = self.resource();
        if !resource.is_stored() {
            return self.review();
        }
        let mut object = self.decode_object()?;
        meta::metadata(&mut object).remove("managedFields");
        let namespace = self.path.namespace.clone();
        let object = self.placed(object, &namespace)?;
        let (code, json) = self.create_object(object).await?;
        self.show(code, json)
    }

    /// Checks and sets `metadata.namespace`.
    fn placed(&self, mut object: Value, namespace: &str) -> Result<Value, ApiError> {
        let resource = self.resource();
        if resource.namespaced && namespace.is_empty() {
            return Err(ApiError::method_not_allowed());
        }
        let given = meta::text(&object, "namespace").to_owned();
        if !resource.namespaced {
            if !given.is_empty() {
                meta::metadata(&mut object).remove("namespace");
            }
        } else if given.is_empty() {
            meta::metadata(&mut object).insert("namespace".to_owned(), namespace.into());
        } else if given != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        Ok(object)
    }

    /// Stores a new object, in its stored form and with its namespace set.
    pub(super) async fn create_object(
        &mut self,
        mut object: Value,
    ) -> Result<(StatusCode, Bytes), ApiError> {
        let resource = self.resource();
        if !meta::text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::plain(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let generated = meta::text(&object, "name").is_empty()
            && !meta::text(&object, "generateName").is_empty();
        self.server.admit_namespace(resource, &object)?;
        if resource.group.is_empty() && resource.plural == "pods" {
            super::service_account::admit_pod(&self.server, &mut object).await?;
        }
        let mut attempts = 0;
        loop {
            let mut candidate = object.clone();
            if generated {
                let base = meta::text(&object, "generateName");
                let base = base.get(..LONGEST_BASE.min(base.len())).unwrap_or(base);
                let name = format!("{base}{}", random_suffix());
                meta::metadata(&mut candidate).insert("name".to_owned(), name.into());
            }
            attempts += 1;
            match self.try_create(candidate).await? {
                Ok(json) => return Ok((StatusCode::CREATED, json)),
                // The name is taken, or somebody else got the claim.
                Err(Lost::Name(name)) if !generated || attempts >= ATTEMPTS => {
                    return Err(ApiError::already_exists(resource, &name));
                }
                Err(Lost::Claim) if attempts >= CLAIM_ATTEMPTS => {
                    return Err(ApiError::service_unavailable(
                        "too many writers ask for the same addresses or ports; try again",
                    ));
                }
                Err(_) => {}
            }
        }
    }

    async fn try_create(&mut self, mut object: Value) -> Result<Result<Bytes, Lost>, ApiError> {
        let resource = self.server.cache.resource(self.path.table);
        let strategy = resource.strategy;
        prepare_metadata(resource, &mut object);
        strategy.apply_defaults(&mut object);
        strategy.prepare_for_create(&mut object);
        if resource.group.is_empty() && resource.plural == "namespaces" {
            begin_namespace(&mut object);
        }
        let name = meta::text(&object, "name").to_owned();
        let key = object_key(&self.path.namespace, &name);
        let taken = self.server.cache.get(self.path.table, &key).is_some();
        let mut claims = Pending::new(&self.server);
        match strategy.allocate(&mut claims, Some(&mut object), None) {
            Ok(()) => {}
            // Who creates a Service again is told so, and not that its address is taken: by itself.
            Err(_) if taken => return Ok(Err(Lost::Name(name))),
            Err(error) => return Err(ApiError::not_allocated(self.resource(), &name, error)),
        }
        let warnings = strategy.warnings(&object, None);
        let operations = claims.into_operations();
        // Only now, as in Kubernetes: what cannot be allocated is told alone.
        let errors = strategy.validate_create(&object);
        if !errors.is_empty() {
            return Err(ApiError::invalid(self.resource(), &name, &errors));
        }
        self.warn(warnings);
        self.warn(self.server.warn_of_addresses(resource, &object, false));
        self.server.config.admission.admit(resource, &object, None)?;
        if taken {
            return Ok(Err(Lost::Name(name)));
        }
        strategy.canonicalize(&mut object);
        let stored = to_stored(&object);
        if self.options.dry_run {
            return Ok(Ok(stored));
        }
        let own = store_key(resource, &self.path.namespace, &name);
        let put =
            Operation::Put { key: own.clone(), value: stored.clone(), expect: Expect::Absent };
        let mut operations = [vec![put], operations].concat();
        operations.extend(self.server.namespace_check(resource, &self.path.namespace));
        match self.server.commit(Transaction { operations }).await {
            Ok(revision) => Ok(Ok(splice_revision(&stored, revision))),
            Err(CommitError::Failed { key, .. }) if key == own => Ok(Err(Lost::Name(name))),
            Err(CommitError::Failed { .. }) => {
                self.server.admit_namespace(resource, &object)?;
                Ok(Err(Lost::Claim))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a create did not happen.
enum Lost {
    Name(String),
    Claim,
}

/// What the server alone decides about a new object.
fn prepare_metadata(resource: &Resource, object: &mut Value) {
    let metadata = meta::metadata(object);
    for field in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), meta::new_uid().into());
    metadata.insert("creationTimestamp".to_owned(), meta::now().into());
    if resource.strategy.counts_generation() {
        metadata.insert("generation".to_owned(), 1.into());
    }
    metadata.retain(|_, value| !value.is_null());
}

/// A namespace lives until its content is gone: `spec.finalizers` says so.
fn begin_namespace(namespace: &mut Value) {
    let name = meta::text(namespace, "name").to_owned();
    namespace["spec"]["finalizers"] = serde_json::json!(["kubernetes"]);
    namespace["status"] = serde_json::json!({"phase": "Active"});
    namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
}

impl Server {
    /// Objects are only created in namespaces that exist and are not being deleted.
    pub(crate) fn admit_namespace(
        &self,
        resource: &Resource,
        object: &Value,
    ) -> Result<(), ApiError> {
        if !resource.namespaced {
            return Ok(());
        }
        let namespace = meta::text(object, "namespace");
        let (namespaces, table) = self.namespaces;
        let Some(found) = self.cache.get(table, namespace) else {
            return Err(ApiError::not_found(namespaces, namespace));
        };
        // A cheap look at the bytes decides for nearly all; only a suspicion is parsed.
        let suspicious = memmem(&found.bytes, b"\"deletionTimestamp\"");
        if suspicious && meta::is_terminating(&found.value()) {
            let name = meta::text(object, "name");
            return Err(ApiError::namespace_terminating(resource, name, namespace));
        }
        Ok(())
    }

    /// Makes sure, in the transaction itself, that the namespace was not changed (deleted) since
    /// it was looked at.
    fn namespace_check(&self, resource: &Resource, namespace: &str) -> Option<Operation> {
        if !resource.namespaced {
            return None;
        }
        let (namespaces, table) = self.namespaces;
        let found = self.cache.get(table, namespace)?;
        Some(Operation::Check {
            key: store_key(namespaces, "", namespace),
            expect: Expect::Revision(found.revision),
        })
    }
}

fn memmem(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Creates an object that the server itself needs, unless it exists.
pub(crate) async fn bootstrap(
    server: &Server,
    resource: &'static Resource,
    table: TableId,
    mut object: Value,
) -> Result<(), ApiError> {
    let namespace = meta::text(&object, "namespace").to_owned();
    let name = meta::text(&object, "name").to_owned();
    if server.cache.get(table, &object_key(&namespace, &name)).is_some() {
        return Ok(());
    }
    prepare_metadata(resource, &mut object);
    resource.strategy.apply_defaults(&mut object);
    let mut claims = Pending::new(server);
    resource
        .strategy
        .allocate(&mut claims as &mut dyn Claims, Some(&mut object), None)
        .map_err(|error| ApiError::not_allocated(resource, &name, error))?;
    let key = store_key(resource, &namespace, &name);
    let put = Operation::Put { key, value: to_stored(&object), expect: Expect::Absent };
    let mut operations = vec![put];
    operations.extend(claims.into_operations());
    server.commit(Transaction { operations }).await?;
    Ok(())
}
