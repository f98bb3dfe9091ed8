//! Controller revisions: the history of a template, by which StatefulSets and DaemonSets update and roll back.

use std::{cmp::Ordering, sync::Arc};

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    act::{self, Object},
    hash,
};
use crate::{
    cache::Key,
    context::Context,
    error::{Attempt, ReconcileError},
    owner,
};

/// The label that names a pod's revision.
pub const REVISION: &str = "controller-revision-hash";
/// The label that holds a revision's own hash.
pub const HASH: &str = "controller.kubernetes.io/hash";

/// The part of a workload that its revisions remember, as a patch that restores it.
pub fn snapshot(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template that a revision remembers.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Oldest first.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by(|a, b| order(a, b));
}

fn order(a: &ControllerRevision, b: &ControllerRevision) -> Ordering {
    let created = |r: &ControllerRevision| r.metadata.creation_timestamp.clone();
    a.revision
        .cmp(&b.revision)
        .then_with(|| created(a).cmp(&created(b)))
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

/// What to do so that the newest revision is the present template's.
#[derive(Debug)]
pub enum Next {
    /// It is.
    Current(Arc<ControllerRevision>),
    /// An older one has this template: it becomes the newest, with this number.
    Again(Arc<ControllerRevision>, i64),
    /// None has.
    Create(Box<ControllerRevision>),
}

/// Finds the revision of `data` among `known` (oldest first), or makes it.
pub fn next<O: Object>(
    owner: &O,
    template: &PodTemplateSpec,
    known: &[Arc<ControllerRevision>],
    collisions: Option<i32>,
) -> Next {
    let data = snapshot(template);
    let number = known.last().map_or(0, |r| r.revision) + 1;
    let same = |r: &&Arc<ControllerRevision>| r.data.as_ref().is_some_and(|d| d.0 == data);
    match known.iter().rev().find(same) {
        Some(found) if known.last().is_some_and(|last| Arc::ptr_eq(last, found)) => {
            Next::Current(found.clone())
        }
        Some(found) => Next::Again(found.clone(), number),
        None => {
            let hash = hash::of(&data, collisions);
            let meta = owner.meta();
            let mut labels =
                template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
            labels.insert(HASH.into(), hash.clone());
            let prefix: String = meta.name.as_deref().unwrap_or("").chars().take(223).collect();
            Next::Create(Box::new(ControllerRevision {
                metadata: ObjectMeta {
                    name: Some(format!("{prefix}-{hash}")),
                    namespace: meta.namespace.clone(),
                    labels: Some(labels),
                    annotations: meta.annotations.clone(),
                    owner_references: Some(vec![owner::controller_ref(owner)]),
                    ..Default::default()
                },
                data: Some(RawExtension(data)),
                revision: number,
            }))
        }
    }
}

/// Writes what [`next`] found to do.
///
/// # Errors
/// When the API server refuses; "already exists" means that the hash collides with a foreign object.
pub async fn establish(
    ctx: &Context,
    next: Next,
) -> Result<Arc<ControllerRevision>, ReconcileError> {
    let cache = &ctx.caches.revisions;
    let (written, key) = match next {
        Next::Current(revision) => return Ok(revision),
        Next::Again(revision, number) => {
            let key = Key::of(&revision.metadata);
            let patch = json!({"metadata": {"uid": revision.metadata.uid}, "revision": number});
            let api = ctx.api::<ControllerRevision>(&key.namespace);
            let written = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
            (written.attempt(|| format!("renumbering ControllerRevision {key}"))?, key)
        }
        Next::Create(revision) => {
            let key = Key::of(&revision.metadata);
            let api = ctx.api::<ControllerRevision>(&key.namespace);
            let made = api.create(&PostParams::default(), &revision).await;
            match made.attempt(|| format!("creating ControllerRevision {key}")) {
                Err(error) if error.is_already_exists() => {
                    let found = api.get(&key.name).await;
                    let found = found.attempt(|| format!("reading ControllerRevision {key}"))?;
                    let uid = |r: &ControllerRevision| {
                        owner::controller_of(&r.metadata).map(|o| o.uid.clone())
                    };
                    if uid(&found) != uid(&revision) || found.data != revision.data {
                        return Err(error);
                    }
                    (found, key)
                }
                made => (made?, key),
            }
        }
    };
    let answer = Arc::new(written.clone());
    cache.assume(written);
    Ok(cache.get_key(&key).unwrap_or(answer))
}

/// Deletes the oldest revisions that are not in use, beyond `limit`.
///
/// # Errors
/// When the API server refuses.
pub async fn truncate(
    ctx: &Context,
    known: &[Arc<ControllerRevision>],
    limit: Option<i32>,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), ReconcileError> {
    let unused: Vec<_> = known.iter().filter(|r| !in_use(r)).collect();
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    for revision in unused.iter().take(unused.len().saturating_sub(limit)) {
        act::delete(ctx, &ctx.caches.revisions, &***revision).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::StatefulSet;

    fn template_of(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}}))
            .unwrap()
    }

    #[test]
    fn a_template_is_remembered_once() {
        let owner: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "web", "uid": "u"}})).unwrap();
        let mut known = Vec::new();
        for image in ["v1", "v2"] {
            let Next::Create(made) = next(&owner, &template_of(image), &known, None) else {
                panic!("not created")
            };
            assert_eq!(template(&made).unwrap(), template_of(image));
            known.push(Arc::new(*made));
        }
        assert_eq!(known.iter().map(|r| r.revision).collect::<Vec<_>>(), [1, 2]);
        assert!(
            matches!(next(&owner, &template_of("v2"), &known, None), Next::Current(r) if r.revision == 2)
        );
        assert!(
            matches!(next(&owner, &template_of("v1"), &known, None), Next::Again(r, 3) if r.revision == 1)
        );
    }
}
