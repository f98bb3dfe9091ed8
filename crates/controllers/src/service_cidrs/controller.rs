//! Acts on what [`super::plan`] decides.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;

use super::plan::{Range, may_go};
use crate::{
    cache::Key,
    context::{Context, now},
    error::{Attempt, ReconcileError},
    events::Kind,
    queue::Outcome,
};

const CONTROLLER: &str = "service-cidr-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
/// How long a range stays after its deletion was asked for, so that every API server has heard of
/// it and none gives an address from it any more. (Ours makes sure of it by its transactions; this
/// controller also works with others.)
const GRACE: Duration = Duration::from_secs(10);

/// Runs the controller.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("service_cidrs");
    let (q, context) = (queue.clone(), ctx.clone());
    ctx.caches.service_cidrs.on_change(move |change| {
        q.add(Key::of(&change.latest().metadata));
        // A new one may let others go.
        for other in context.caches.service_cidrs.list().iter().filter(|other| is_ending(other)) {
            q.add(Key::of(&other.metadata));
        }
    });
    let (q, context) = (queue.clone(), ctx.clone());
    ctx.caches.ip_addresses.on_change(move |change| {
        let Some(ip) = managed(change.latest()) else { return };
        for range in context.caches.service_cidrs.list().iter().filter(|range| is_ending(range)) {
            if range_of(range).covers(ip) {
                q.add(Key::of(&range.metadata));
            }
        }
    });
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    queue.run(4, shutdown, move |key| sync(ctx.clone(), key))
}

fn is_ending(range: &ServiceCIDR) -> bool {
    range.metadata.deletion_timestamp.is_some()
}

fn range_of(range: &ServiceCIDR) -> Range {
    let texts = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    Range {
        name: range.metadata.name.clone().unwrap_or_default(),
        cidrs: texts.filter_map(|text| text.parse().ok()).collect(),
        ending: is_ending(range),
    }
}

/// The address of an object that an API server made for a Service.
fn managed(address: &PartialObjectMeta<IPAddress>) -> Option<IpAddr> {
    let (label, value) = MANAGED_BY;
    let labels = address.metadata.labels.as_ref()?;
    let ours = labels.get(label).is_some_and(|managed_by| managed_by == value);
    address.metadata.name.as_ref().filter(|_| ours)?.parse().ok()
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(range) = ctx.caches.service_cidrs.get_key(&key) else { return Ok(None) };
    let Some(deleted) = range.metadata.deletion_timestamp.as_ref() else {
        return admit(&ctx, &range, &key).await;
    };
    let all: Vec<Range> = ctx.caches.service_cidrs.list().iter().map(|r| range_of(r)).collect();
    let addresses = ctx.caches.ip_addresses.list();
    if !may_go(&range_of(&range), &all, addresses.iter().filter_map(|address| managed(address))) {
        let message = "There are still IPAddresses referencing the ServiceCIDR, please remove \
                       them or create a new ServiceCIDR";
        set_ready(&ctx, &range, &key, ("False", "Terminating", message)).await?;
        return Ok(None);
    }
    let passed = jiff::Timestamp::now().duration_since(deleted.0);
    let left = GRACE.saturating_sub(passed.try_into().unwrap_or_default());
    if !left.is_zero() {
        return Ok(Some(left));
    }
    if has_finalizer(&range) {
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
        let api: Api<ServiceCIDR> = Api::all(ctx.client.clone());
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        patched.attempt_opt(|| format!("letting ServiceCIDR {key} go"))?;
    }
    Ok(None)
}

fn has_finalizer(range: &ServiceCIDR) -> bool {
    range.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

async fn admit(ctx: &Context, range: &ServiceCIDR, key: &Key) -> Outcome {
    if !has_finalizer(range) {
        let patch = json!({"metadata": {"finalizers": [FINALIZER]}});
        let api: Api<ServiceCIDR> = Api::all(ctx.client.clone());
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        if patched.attempt_opt(|| format!("protecting ServiceCIDR {key}"))?.is_none() {
            return Ok(None);
        }
    }
    let ready = ("True", "", "Kubernetes Service CIDR is ready");
    if let Err(error) = set_ready(ctx, range, key, ready).await {
        let message = "The ServiceCIDR Status can not be set to Ready=True";
        let reason = "KubernetesServiceCIDRError";
        ctx.events.record(range, CONTROLLER, Kind::Warning, reason, message);
        return Err(error);
    }
    Ok(None)
}

/// Writes the condition (status, reason, message) unless the object has it.
async fn set_ready(
    ctx: &Context,
    range: &ServiceCIDR,
    key: &Key,
    (status, reason, message): (&str, &str, &str),
) -> Result<(), ReconcileError> {
    let conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let known = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    if known.is_some_and(|c| c.status == status && c.reason == reason && c.message == message) {
        return Ok(());
    }
    let condition = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now().to_string(),
    });
    let patch = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": key.name},
        "status": {"conditions": [condition]},
    });
    let api: Api<ServiceCIDR> = Api::all(ctx.client.clone());
    let params = PatchParams::apply(CONTROLLER).force();
    let patched = api.patch_status(&key.name, &params, &Patch::Apply(patch)).await;
    patched.attempt_opt(|| format!("writing the status of ServiceCIDR {key}"))?;
    Ok(())
}
