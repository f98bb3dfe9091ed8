//! The cluster half of Portolan: it watches the API and writes endpoints, workloads, bindings and
//! statuses back, through a [`kube::Client`] and nothing else.
//!
//! Every controller decides by a pure function from cached objects to actions, and acts in a thin layer.

pub mod accounts;
pub mod cache;
pub mod context;
mod elect;
pub mod endpoints;
mod error;
pub mod events;
pub mod garbage;
pub mod metrics;
pub mod namespaces;
pub mod nodes;
pub mod owner;
pub mod pod;
pub mod queue;
pub mod scheduler;
pub mod selector;
pub mod service_cidrs;
pub mod services;
pub mod taints;
pub mod workloads;

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use context::Config;
pub use error::Error;
pub use metrics::{Health, Metrics};

use context::{Caches, Context};

/// Runs all controllers until `shutdown`; with [`Config::leader_elect`], only while this process leads.
///
/// # Errors
/// [`Error::LeadershipLost`] when another process took over, [`Error::Task`] when a controller panicked.
/// The caller should end the process in both cases, and start it again.
pub async fn run(client: Client, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let stop = shutdown.child_token();
    let _stop_on_return = stop.clone().drop_guard();
    if !config.leader_elect {
        config.metrics.set_leading(true);
        return control(client, config, stop).await;
    }
    let Some(mut leadership) =
        elect::Leadership::acquire(&client, &config.identity, &shutdown).await
    else {
        return Ok(());
    };
    config.metrics.set_leading(true);
    let metrics = config.metrics.clone();
    let ended = {
        let controllers = std::pin::pin!(control(client, config, stop));
        tokio::select! {
            ended = controllers => ended,
            lost = leadership.keep() => Err(lost),
        }
    };
    metrics.set_leading(false);
    leadership.release().await;
    ended
}

async fn control(client: Client, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let metrics = config.metrics.clone();
    let (recorder, writer) = events::recorder(client.clone());
    let caches = Caches::new();
    let ctx = Arc::new(Context {
        client: client.clone(),
        caches,
        events: recorder,
        config,
        shutdown: shutdown.clone(),
    });

    // Handlers first, then the watches, then the work.
    let mut tasks = JoinSet::new();
    tasks.spawn(ended_by(shutdown.clone(), writer.run()));
    let controllers: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = vec![
        Box::pin(endpoints::publish::endpoints(&ctx)),
        Box::pin(endpoints::publish::endpoint_slices(&ctx)),
        Box::pin(endpoints::mirroring::run(&ctx)),
        Box::pin(services::run(&ctx)),
        Box::pin(workloads::replicas::run::<ReplicaSet>(&ctx)),
        Box::pin(workloads::replicas::run::<ReplicationController>(&ctx)),
        Box::pin(workloads::deployment::run(&ctx)),
        Box::pin(workloads::stateful_set::run(&ctx)),
        Box::pin(workloads::daemon_set::run(&ctx)),
        Box::pin(scheduler::run(&ctx)),
        Box::pin(nodes::ipam::run(&ctx)),
        Box::pin(nodes::health::run(&ctx)),
        Box::pin(nodes::eviction::run(&ctx)),
        Box::pin(nodes::pod_gc::run(&ctx)),
        Box::pin(accounts::run(&ctx)),
        Box::pin(namespaces::run(&ctx)),
        Box::pin(service_cidrs::run(&ctx)),
        Box::pin(garbage::run(&ctx)),
    ];
    ctx.caches.start(&client, &shutdown, &mut tasks);
    tokio::select! {
        () = shutdown.cancelled() => (),
        () = ctx.caches.wait_synced() => {
            tracing::info!("caches complete, controllers start");
            metrics.set_synced(true);
            for controller in controllers {
                tasks.spawn(controller);
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

async fn ended_by(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.cancelled() => (),
        () = work => (),
    }
}
