//! Namespace deletion: everything in it goes, pods first, then the namespace itself.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
};

use crate::{
    cache::Key,
    context::{self, Context},
    error::{Attempt, ReconcileError},
    garbage::discovery::{Discovered, discover},
    pod,
    queue::Outcome,
};

const FINALIZER: &str = "kubernetes";

/// How long to wait for what is being deleted, when nothing tells that it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

type Metadata = PartialObjectMeta<DynamicObject>;

fn is_due(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
        && namespace
            .spec
            .as_ref()
            .and_then(|s| s.finalizers.as_ref())
            .is_some_and(|f| f.iter().any(|f| f == FINALIZER))
}

/// Runs the controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("namespace");
    let q = queue.clone();
    ctx.caches.namespaces.on_change(move |change| {
        if let Some(namespace) = change.new.filter(|n| is_due(n)) {
            q.add(Key::of(&namespace.metadata));
        }
    });
    let (c, q) = (ctx.clone(), queue.clone());
    ctx.caches.pods.on_change(move |change| {
        let Some(old) = change.old.filter(|_| change.new.is_none()) else { return };
        let name = old.metadata.namespace.as_deref().unwrap_or("");
        if c.caches.namespaces.get("", name).is_some_and(|n| is_due(&n)) {
            q.add(Key::new("", name));
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(4, shutdown, move |key| {
        let ctx = ctx.clone();
        async move { Box::pin(sync(&ctx, &key)).await }
    })
}

/// What is left of one resource.
#[derive(Debug)]
struct Left {
    resource: String,
    count: usize,
    /// Finalizers that hold objects, with how many.
    finalizers: Vec<String>,
}

async fn sync(ctx: &Context, key: &Key) -> Outcome {
    let Some(namespace) = ctx.caches.namespaces.get_key(key).filter(|n| is_due(n)) else {
        return Ok(None);
    };
    let resources = discover(&ctx.client)
        .await
        .attempt(|| format!("listing the resources for Namespace {key}"))?;
    let mut resources: Vec<_> = resources
        .into_iter()
        .filter(|r| r.namespaced && r.can("list") && r.can("delete"))
        .collect();
    // Pods first: what they use stays until they are gone (KEP-5080).
    resources.sort_by_key(|r| !(r.resource.group.is_empty() && r.resource.plural == "pods"));
    let mut left = Vec::new();
    let mut failed = None;
    for resource in &resources {
        match empty(ctx, key, resource).await {
            Ok(Some(more)) => {
                let pods = resource.resource.plural == "pods" && resource.resource.group.is_empty();
                left.push(more);
                if pods {
                    break;
                }
            }
            Ok(None) => (),
            Err(error) => failed = Some(error),
        }
    }
    tell(ctx, key, &namespace, &left, failed.as_ref()).await?;
    if let Some(error) = failed {
        return Err(error);
    }
    if left.is_empty() {
        finalize(ctx, key, &namespace).await?;
        return Ok(None);
    }
    // Pods tell when they are gone; of other things nobody does.
    let pods = ctx.caches.pods.list_in(&key.name);
    let grace = pods.iter().filter_map(|p| p.metadata.deletion_grace_period_seconds).max();
    let waits_for_pods = pods.iter().any(|p| pod::is_terminating(p));
    Ok(Some(match grace.and_then(|g| u64::try_from(g).ok()).filter(|_| waits_for_pods) {
        Some(seconds) => Duration::from_secs(seconds / 2 + 1),
        None => LOOK_AGAIN,
    }))
}

/// Deletes the objects of one resource; returns what is left of them.
async fn empty(ctx: &Context, key: &Key, of: &Discovered) -> Result<Option<Left>, ReconcileError> {
    let what = || format!("emptying Namespace {key} of {}", of.resource.plural);
    let api: Api<Metadata> = Api::namespaced_with(ctx.client.clone(), &key.name, &of.resource);
    let found = api.list(&ListParams::default()).await.attempt(what)?;
    if found.items.is_empty() {
        return Ok(None);
    }
    if of.can("deletecollection") {
        let deleted =
            api.delete_collection(&DeleteParams::background(), &ListParams::default()).await;
        deleted.attempt_opt(what)?;
    } else {
        for object in &found.items {
            let name = object.metadata.name.as_deref().unwrap_or("");
            api.delete(name, &DeleteParams::background()).await.attempt_opt(what)?;
        }
    }
    let rest = api.list(&ListParams::default()).await.attempt(what)?.items;
    if rest.is_empty() {
        return Ok(None);
    }
    let mut finalizers: Vec<String> =
        rest.iter().flat_map(|o| o.metadata.finalizers.clone().unwrap_or_default()).collect();
    finalizers.sort();
    let resource = if of.resource.group.is_empty() {
        format!("{}.", of.resource.plural)
    } else {
        format!("{}.{}", of.resource.plural, of.resource.group)
    };
    Ok(Some(Left { resource, count: rest.len(), finalizers }))
}

fn conditions(
    left: &[Left],
    failed: Option<&ReconcileError>,
) -> Vec<(&'static str, bool, &'static str, String)> {
    let remaining: Vec<_> =
        left.iter().map(|l| format!("{} has {} resource instances", l.resource, l.count)).collect();
    let mut held: Vec<(String, usize)> = Vec::new();
    for finalizer in left.iter().flat_map(|l| &l.finalizers) {
        match held.iter_mut().find(|(f, _)| f == finalizer) {
            Some((_, count)) => *count += 1,
            None => held.push((finalizer.clone(), 1)),
        }
    }
    let held: Vec<_> =
        held.iter().map(|(f, count)| format!("{f} in {count} resource instances")).collect();
    let failure = match failed {
        Some(error) => (
            true,
            "ContentDeletionFailed",
            format!("Failed to delete all resource types, 1 remaining: {}", error.message()),
        ),
        None => (
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
        ),
    };
    let remains = if remaining.is_empty() {
        (false, "ContentRemoved", "All content successfully removed".to_string())
    } else {
        (
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", remaining.join(", ")),
        )
    };
    let finalizing = if held.is_empty() {
        (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_string())
    } else {
        (
            true,
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")),
        )
    };
    vec![
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".into(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
        ),
        ("NamespaceDeletionContentFailure", failure.0, failure.1, failure.2),
        ("NamespaceContentRemaining", remains.0, remains.1, remains.2),
        ("NamespaceFinalizersRemaining", finalizing.0, finalizing.1, finalizing.2),
    ]
}

/// Says in the namespace's status what it waits for. One that is empty at once needs no words.
async fn tell(
    ctx: &Context,
    key: &Key,
    namespace: &Namespace,
    left: &[Left],
    failed: Option<&ReconcileError>,
) -> Result<(), ReconcileError> {
    let old = namespace.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    if old.is_empty() && left.is_empty() && failed.is_none() {
        return Ok(());
    }
    let mut new = Vec::new();
    for (kind, is, reason, message) in conditions(left, failed) {
        let status = if is { "True" } else { "False" };
        let before = old.iter().find(|c| c.type_ == kind);
        let since =
            before.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
        new.push(NamespaceCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or(Time(context::now()))),
        });
    }
    if new == old {
        return Ok(());
    }
    let api: Api<Namespace> = Api::all(ctx.client.clone());
    let patch = Patch::Merge(serde_json::json!({"status": {"conditions": new}}));
    let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
    if let Some(patched) =
        patched.attempt_opt(|| format!("writing the status of Namespace {key}"))?
    {
        ctx.caches.namespaces.assume(patched);
    }
    Ok(())
}

async fn finalize(ctx: &Context, key: &Key, namespace: &Namespace) -> Result<(), ReconcileError> {
    let mut done =
        (*ctx.caches.namespaces.get_key(key).unwrap_or_else(|| Arc::new(namespace.clone())))
            .clone();
    if let Some(finalizers) = done.spec.get_or_insert_default().finalizers.as_mut() {
        finalizers.retain(|f| f != FINALIZER);
    }
    let api: Api<Namespace> = Api::all(ctx.client.clone());
    let params = PostParams::default();
    let written = api.replace_subresource("finalize", &key.name, &params, &done).await;
    written.attempt_opt(|| format!("finalizing Namespace {key}"))?;
    // The leftovers of its events and caches go with the watch.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_name_what_remains() {
        let left = [Left {
            resource: "pods.".into(),
            count: 2,
            finalizers: vec!["x/y".into(), "x/y".into()],
        }];
        let said = conditions(&left, None);
        assert_eq!(said[3].3, "Some resources are remaining: pods. has 2 resource instances");
        assert_eq!(
            said[4].3,
            "Some content in the namespace has finalizers remaining: x/y in 2 resource instances"
        );
        assert!(conditions(&[], None).iter().all(|c| !c.1));
    }

    #[test]
    fn only_a_namespace_that_is_going_is_emptied() {
        let of =
            |value: serde_json::Value| is_due(&serde_json::from_value::<Namespace>(value).unwrap());
        let at = "2026-01-01T00:00:00Z";
        assert!(of(
            serde_json::json!({"metadata": {"deletionTimestamp": at}, "spec": {"finalizers": ["kubernetes"]}})
        ));
        assert!(!of(serde_json::json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}})));
        assert!(!of(
            serde_json::json!({"metadata": {"deletionTimestamp": at}, "spec": {"finalizers": ["other"]}})
        ));
    }
}
