//! What workload controllers do to their objects: claim, create, delete, write a status.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cache::{Cache, Change, Key},
    context::Context,
    error::{Attempt, ReconcileError},
    events::Kind,
    owner::{self, Claim},
    pod,
    queue::Queue,
};

/// A namespaced object that the typed client reads and writes.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// The objects in `cache` that `owner` controls, after adopting those that match and have no controller,
/// and releasing its own that match no longer.
///
/// # Errors
/// When the API server refuses an adoption or a release.
pub async fn claim<O: Object, T: Object>(
    ctx: &Context,
    owner: &O,
    cache: &Cache<T>,
    matches: impl Fn(&T) -> bool,
) -> Result<Vec<Arc<T>>, ReconcileError> {
    let meta = owner.meta();
    let mut owned = Vec::new();
    let mut adopt = Vec::new();
    let mut release = Vec::new();
    let mine = cache.group(&pod::by_owner(meta.uid.as_deref().unwrap_or("")));
    let orphans = cache.group(&pod::orphans_in(meta.namespace.as_deref().unwrap_or("")));
    for object in mine.into_iter().chain(orphans) {
        match owner::claim(meta, object.meta(), matches(&object)) {
            Claim::Keep => owned.push(object),
            Claim::Adopt => adopt.push(object),
            Claim::Release => release.push(object),
            Claim::Ignore => (),
        }
    }
    if !adopt.is_empty() && !still_lives(ctx, owner).await? {
        adopt.clear();
    }
    for object in adopt {
        let reference = owner::controller_ref(owner);
        let mut references = object.meta().owner_references.clone().unwrap_or_default();
        references.push(reference);
        if let Some(adopted) =
            patch_references(ctx, cache, &object, serde_json::json!(references)).await?
        {
            owned.push(adopted);
        }
    }
    for object in release {
        let references = object.meta().owner_references.iter().flatten();
        let kept: Vec<_> = references.filter(|o| Some(&o.uid) != meta.uid.as_ref()).collect();
        patch_references(ctx, cache, &object, serde_json::json!(kept)).await?;
    }
    Ok(owned)
}

/// Asks the API server itself, as adoption by a deleted owner would lose the object to the garbage collector.
async fn still_lives<O: Object>(ctx: &Context, owner: &O) -> Result<bool, ReconcileError> {
    let key = Key::of(owner.meta());
    let found = ctx.api::<O>(&key.namespace).get_metadata_opt(&key.name).await;
    let found = found.attempt(|| format!("looking whether {} {key} still exists", O::kind(&())))?;
    Ok(found.is_some_and(|f| {
        f.metadata.uid == owner.meta().uid && f.metadata.deletion_timestamp.is_none()
    }))
}

async fn patch_references<T: Object>(
    ctx: &Context,
    cache: &Cache<T>,
    object: &T,
    references: serde_json::Value,
) -> Result<Option<Arc<T>>, ReconcileError> {
    let key = Key::of(object.meta());
    let meta = object.meta();
    let patch = serde_json::json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": references,
    }});
    let patched = ctx
        .api::<T>(&key.namespace)
        .patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    let patched =
        patched.attempt_opt(|| format!("changing the controller of {} {key}", T::kind(&())))?;
    let Some(patched) = patched else { return Ok(None) };
    cache.assume(patched);
    Ok(cache.get_key(&key))
}

/// A pod from a template, controlled by `owner`.
pub fn pod_from(template: &PodTemplateSpec, namespace: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.as_ref();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.into()),
            labels: meta.and_then(|m| m.labels.clone()),
            annotations: meta.and_then(|m| m.annotations.clone()),
            finalizers: meta.and_then(|m| m.finalizers.clone()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Creates a pod, with the event that says so.
///
/// # Errors
/// When the API server refuses; an event says so too, unless the namespace is being deleted.
pub async fn create_pod<O: Object>(
    ctx: &Context,
    owner: &O,
    component: &'static str,
    pod: &Pod,
) -> Result<(), ReconcileError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    let made = ctx.api::<Pod>(namespace).create(&PostParams::default(), pod).await;
    let made =
        made.attempt(|| format!("creating a pod for {} {}", O::kind(&()), Key::of(owner.meta())));
    match made {
        Ok(made) => {
            let message = format!("Created pod: {}", made.metadata.name.as_deref().unwrap_or(""));
            ctx.events.record(owner, component, Kind::Normal, "SuccessfulCreate", message);
            ctx.caches.pods.assume(made);
            Ok(())
        }
        Err(error) => {
            if !error.is_namespace_terminating() {
                let message = format!("Error creating: {}", error.message());
                ctx.events.record(owner, component, Kind::Warning, "FailedCreate", message);
            }
            Err(error)
        }
    }
}

/// Deletes a pod, with the event that says so; one that is gone already is as good.
///
/// # Errors
/// When the API server refuses.
pub async fn delete_pod<O: Object>(
    ctx: &Context,
    owner: &O,
    component: &'static str,
    pod: &Pod,
) -> Result<(), ReconcileError> {
    let key = Key::of(&pod.metadata);
    match delete(ctx, &ctx.caches.pods, pod).await {
        Ok(()) => {
            let message = format!("Deleted pod: {}", key.name);
            ctx.events.record(owner, component, Kind::Normal, "SuccessfulDelete", message);
            Ok(())
        }
        Err(error) => {
            let message = format!("Error deleting: {}", error.message());
            ctx.events.record(owner, component, Kind::Warning, "FailedDelete", message);
            Err(error)
        }
    }
}

/// Deletes an object if it is still the one that was meant.
///
/// # Errors
/// When the API server refuses; that the object is gone, or is another one, is no error.
pub async fn delete<T: Object>(
    ctx: &Context,
    cache: &Cache<T>,
    object: &T,
) -> Result<(), ReconcileError> {
    let key = Key::of(object.meta());
    let uid = object.meta().uid.clone().unwrap_or_default();
    let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
    let params = DeleteParams::background().preconditions(preconditions);
    let done = ctx.api::<T>(&key.namespace).delete(&key.name, &params).await;
    match done.attempt_opt(|| format!("deleting {} {key}", T::kind(&()))) {
        Ok(Some(either)) => match either.left() {
            Some(object) if object.meta().deletion_timestamp.is_some() => cache.assume(object),
            _ => cache.assume_removed(&key, &uid),
        },
        Ok(None) => cache.assume_removed(&key, &uid),
        Err(error) if error.is_conflict() => cache.assume_removed(&key, &uid),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Writes an object's status, and lets the cache know.
///
/// # Errors
/// When the API server refuses, also because somebody else wrote the object meanwhile.
pub async fn write_status<T: Object>(
    ctx: &Context,
    cache: &Cache<T>,
    object: T,
) -> Result<(), ReconcileError> {
    let key = Key::of(object.meta());
    let written = ctx
        .api::<T>(&key.namespace)
        .replace_status(&key.name, &PostParams::default(), &object)
        .await;
    if let Some(written) =
        written.attempt_opt(|| format!("writing the status of {} {key}", T::kind(&())))?
    {
        cache.assume(written);
    }
    Ok(())
}

/// Asks for work on the workloads that a changed pod belongs to, or could belong to.
pub fn enqueue_owners<O: Object>(
    owners: &Cache<O>,
    queue: &Queue<Key>,
    change: &Change<'_, Pod>,
    selects: impl Fn(&O, &Pod) -> bool,
) {
    let mut namespace = "";
    for pod in change.both() {
        namespace = pod.metadata.namespace.as_deref().unwrap_or("");
        if let Some(owner) = owner::controller_of(&pod.metadata).filter(|o| o.kind == O::kind(&()))
        {
            queue.add(Key::new(namespace, &owner.name));
        }
    }
    let Some(pod) = change.new.filter(|p| owner::controller_of(&p.metadata).is_none()) else {
        return;
    };
    let news = change.old.is_none_or(|o| {
        o.metadata.labels != pod.metadata.labels
            || o.metadata.owner_references != pod.metadata.owner_references
    });
    if news && !pod::is_terminating(pod) {
        for owner in owners.list_in(namespace).iter().filter(|o| selects(o, pod)) {
            queue.add(Key::of(owner.meta()));
        }
    }
}
