//! What every namespace has: the ServiceAccount `default`, and the ConfigMap `kube-root-ca.crt` by which
//! pods trust the API server.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::api::PostParams;
use parking_lot::Mutex;

use crate::{
    cache::Key,
    context::Context,
    error::{Attempt, ReconcileError},
    queue::Outcome,
};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const ROOT_CA_KEY: &str = "ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && namespace.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Terminating")
}

/// Runs the controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("serviceaccount");
    let q = queue.clone();
    ctx.caches.namespaces.on_change(move |change| q.add(Key::of(&change.latest().metadata)));
    let q = queue.clone();
    ctx.caches.service_accounts.on_change(move |change| {
        let meta = &change.latest().metadata;
        if change.new.is_none() && meta.name.as_deref() == Some(ACCOUNT) {
            q.add(Key::new("", meta.namespace.clone().unwrap_or_default()));
        }
    });
    let q = queue.clone();
    ctx.caches.config_maps.on_change(move |change| {
        let meta = &change.latest().metadata;
        if meta.name.as_deref() == Some(ROOT_CA) {
            q.add(Key::new("", meta.namespace.clone().unwrap_or_default()));
        }
    });
    // The version of each namespace's ConfigMap that was found right.
    let right: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(4, shutdown, move |key| {
        let (ctx, right) = (ctx.clone(), right.clone());
        async move {
            match sync(&ctx, &right, &key.name).await {
                Err(error) if error.is_namespace_terminating() || error.is_not_found() => Ok(None),
                other => other,
            }
        }
    })
}

async fn sync(ctx: &Context, right: &Mutex<HashMap<String, String>>, namespace: &str) -> Outcome {
    if ctx.caches.namespaces.get("", namespace).is_none_or(|n| !is_active(&n)) {
        right.lock().remove(namespace);
        return Ok(None);
    }
    if ctx.caches.service_accounts.get(namespace, ACCOUNT).is_none() {
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(ACCOUNT.into()), ..Default::default() },
            ..Default::default()
        };
        let made =
            ctx.api::<ServiceAccount>(namespace).create(&PostParams::default(), &account).await;
        let made =
            made.attempt(|| format!("creating ServiceAccount {namespace}/{ACCOUNT}")).map(drop);
        unless_there(made)?;
    }
    if let Some(ca) = &ctx.config.root_ca {
        root_ca(ctx, right, namespace, ca).await?;
    }
    Ok(None)
}

fn unless_there(made: Result<(), ReconcileError>) -> Result<(), ReconcileError> {
    match made {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other,
    }
}

async fn root_ca(
    ctx: &Context,
    right: &Mutex<HashMap<String, String>>,
    namespace: &str,
    ca: &str,
) -> Result<(), ReconcileError> {
    let api = ctx.api::<ConfigMap>(namespace);
    let Some(known) = ctx.caches.config_maps.get(namespace, ROOT_CA) else {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(ROOT_CA.into()),
                annotations: Some(
                    [("kubernetes.io/description".into(), DESCRIPTION.into())].into(),
                ),
                ..Default::default()
            },
            data: Some([(ROOT_CA_KEY.into(), ca.into())].into()),
            ..Default::default()
        };
        let made = api.create(&PostParams::default(), &map).await;
        let made = made.attempt(|| format!("creating ConfigMap {namespace}/{ROOT_CA}"));
        return match made {
            Ok(made) => {
                let version = made.metadata.resource_version.unwrap_or_default();
                right.lock().insert(namespace.into(), version);
                Ok(())
            }
            Err(error) => unless_there(Err(error)),
        };
    };
    let version = known.metadata.resource_version.clone().unwrap_or_default();
    if right.lock().get(namespace) == Some(&version) {
        return Ok(());
    }
    let found = api
        .get_opt(ROOT_CA)
        .await
        .attempt(|| format!("reading ConfigMap {namespace}/{ROOT_CA}"))?;
    let Some(mut map) = found else { return Ok(()) };
    let data: std::collections::BTreeMap<String, String> = [(ROOT_CA_KEY.into(), ca.into())].into();
    if map.data.as_ref() != Some(&data) {
        map.data = Some(data);
        let written = api.replace(ROOT_CA, &PostParams::default(), &map).await;
        map = written.attempt(|| format!("updating ConfigMap {namespace}/{ROOT_CA}"))?;
    }
    right.lock().insert(namespace.into(), map.metadata.resource_version.unwrap_or_default());
    Ok(())
}
