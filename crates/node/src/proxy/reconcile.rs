//! The loop: news → snapshot → desired → changes → datapath.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use hyper::StatusCode;
use jiff::Timestamp;
use kube::Client;
use portolan_linux::memory;
use portolan_linux::rtnl::Rtnl;
use portolan_model::frontend::Family;
use portolan_model::node_view::NodePortAddresses;
use portolan_model::{Desired, Event, Snapshot};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::config::ProxyConfig;
use super::conntrack::Sweeper;
use super::datapath::{self, Applied, ApplyError, Datapath, Drift, ModeError, Scope};
use super::events::{self, Refusals};
use super::health::{Checks, Health};
use super::http::{self, TEXT, reply};
use super::looking::Looking;
use super::metrics::Metrics;
use super::report::Reporter;
use super::sweeping::{Sweeping, Swept, begin_sweep, go_on_sweeping, next_of, not_swept};
use crate::reached::Reached;
use crate::reflect::{self, Heard, Interest, Update};

/// The proxy cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Mode(#[from] ModeError),
    #[error("cannot listen on {address}")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the datapath's thread failed")]
    Thread(#[from] JoinError),
}

const INTEREST: Interest = Interest { nodes: true, service_ranges: true, names: false };
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// So much news is taken in before the kernel is told; it bounds how long a burst can delay it.
const BURST: usize = 4096;

/// What the datapath's thread works on; it travels there and back.
pub(super) struct Work {
    pub(super) snapshot: Snapshot,
    pub(super) desired: Desired,
    pub(super) datapath: Box<dyn Datapath>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sweeper: Sweeper,
    /// The next pass looks at everything.
    full: bool,
}

/// What one pass did.
struct Pass {
    result: Result<Option<Applied>, ApplyError>,
    full: bool,
    health_checks: bool,
    /// Other addresses of Services are refused.
    refused: bool,
    /// Where health checks are served; empty for every address.
    addresses: Vec<IpAddr>,
}

/// Runs the proxy of this node until `shutdown`. The kernel's tables stay as they are then.
///
/// # Errors
/// Only what no waiting mends: an unknown mode, a kernel that cannot do it, ports in use. Failures
/// to reach the API server or to write to the kernel are retried for ever.
pub async fn run(
    client: Client,
    config: ProxyConfig,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let (mode, host) = (config.mode.clone(), config.host.clone());
    let datapath = spawn_blocking(move || datapath::open(&mode, &host)).await??;
    let conntrack = config.conntrack;
    spawn_blocking(move || conntrack.apply()).await?;
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::default());
    let mut servers = serve(&config, datapath.mode(), &metrics, &health)?;
    let view = config.view(datapath.capabilities().loopback_node_ports);
    tracing::info!(mode = datapath.mode(), node = %view.name, "proxy starts");
    let mut work = Work {
        snapshot: Snapshot::default(),
        desired: Desired::new(view),
        datapath,
        metrics: metrics.clone(),
        sweeper: Sweeper::default(),
        full: true,
    };
    let reached = Arc::new(Reached::default());
    let mut news = reflect::watch(&client, INTEREST, &reached);
    let (reporter, reporting) = Reporter::new(client.clone(), &config.node_name);
    servers.spawn(reporting);
    let mut heard = Heard::default();
    let mut checks = Checks::default();
    let mut refusals = Refusals::default();
    let mut writing = JoinSet::new();
    let mut addresses = Vec::new();
    let mut triggers: Vec<Timestamp> = Vec::new();
    let mut drift = interval(config.drift_period);
    drift.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking = Looking::Not;
    let mut others_cleared = false;
    // Whole lists came in, and left holes in the heap when they were trimmed.
    let mut bloated = false;
    let mut full_told = false;
    let mut sweeping: Option<Sweeping> = None;
    let mut retry = FIRST_RETRY;
    let mut retry_at: Option<tokio::time::Instant> = None;
    loop {
        let waiting = retry_at;
        let look = looking;
        looking = looking.after_others();
        let retry_due = async {
            sleep_until(waiting?).await;
            Some(())
        };
        let sweep = work.sweeper.due().filter(|_| waiting.is_none() && sweeping.is_none());
        let sweep_due = async {
            sleep_until(sweep?.into()).await;
            Some(())
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(first) = news.next() => {
                let mut next = Some(first);
                let mut count = 0;
                while let Some(update) = next {
                    heard.note(&update);
                    bloated |= matches!(update, Update::Services(_) | Update::EndpointSlices(_));
                    take(update, &mut work.snapshot, &metrics, &mut triggers);
                    count += 1;
                    next = if count < BURST { news.next().now_or_never().flatten() } else { None };
                }
            }
            _ = drift.tick(), if heard.everything(INTEREST) && retry_at.is_none() => {
                if checks.failed() {
                    checks.update(&work.desired.health_checks(), &addresses, &health);
                }
                work = spawn_blocking(move || tend(work)).await?;
                looking = Looking::Due;
                continue;
            }
            () = look.due(), if retry_at.is_none() => {
                let (returned, found) = spawn_blocking(move || {
                    let found = work.datapath.look_for_drift();
                    (work, found)
                })
                .await?;
                work = returned;
                looking = Looking::after(found);
                if found != Drift::Possible {
                    continue;
                }
                work.full = true;
            }
            Some(()) = retry_due => {}
            Some(()) = sweep_due => {
                (work, sweeping) = spawn_blocking(move || begin_sweep(work)).await?;
                continue;
            }
            Some(swept) = next_of(&mut sweeping) => {
                let Some(current) = sweeping.take() else { continue };
                match swept {
                    Swept::Read(batch) => {
                        let go_on = move || go_on_sweeping(work, current, &batch);
                        (work, sweeping) = spawn_blocking(go_on).await?;
                    }
                    Swept::End(Ok(())) => {
                        let took = current.begun.elapsed();
                        work.sweeper.ended(took);
                        metrics.conntrack_reconcile.observe(took.as_secs_f64());
                    }
                    Swept::End(Err(error)) => {
                        not_swept(&mut work.sweeper, Some(current.sweep), &error);
                    }
                }
                continue;
            }
            Some(_) = writing.join_next() => continue,
            Some(_) = servers.join_next() => continue,
        }
        let pending = work.full || work.snapshot.is_dirty();
        if !heard.everything(INTEREST) || !pending {
            if heard.everything(INTEREST) && retry_at.is_none() {
                // Nothing of it concerns the kernel.
                health.reached(reached.revisions());
                reporter.applied(reached.revisions(), false, work.snapshot.nodes().len());
            }
            continue;
        }
        health.queued();
        if retry_at.is_some_and(|at| at > tokio::time::Instant::now()) {
            continue;
        }
        let (returned, pass) = spawn_blocking(move || pass(work)).await?;
        work = returned;
        match pass.result {
            Ok(applied) => {
                let now = Timestamp::now();
                retry = FIRST_RETRY;
                retry_at = None;
                full_told = false;
                health.updated(now);
                health.reached(reached.revisions());
                reporter.applied(reached.revisions(), true, work.snapshot.nodes().len());
                note(&metrics, &work.desired, applied, pass.full, now, &mut triggers);
                if !std::mem::replace(&mut others_cleared, true) {
                    // Only now: until this pass the mode before has served.
                    let (mode, host) = (work.datapath.mode(), config.host.clone());
                    let cleared = spawn_blocking(move || datapath::clear(Some(mode), &host));
                    if let Err(error) = cleared.await? {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "something of an earlier mode stays; portolan proxy --cleanup removes all modes"
                        );
                    }
                }
                if std::mem::take(&mut bloated) {
                    spawn_blocking(memory::give_back);
                }
                health.eligible(!work.desired.is_leaving());
                addresses = pass.addresses;
                if pass.health_checks {
                    checks.update(&work.desired.health_checks(), &addresses, &health);
                }
                if pass.refused {
                    metrics.refused(&work.desired);
                    let news = refusals.news(&work.desired);
                    if !news.is_empty() {
                        let node = config.node_name.clone();
                        writing.spawn(events::write(client.clone(), node, news));
                    }
                }
            }
            Err(error) => {
                metrics.failures.inc();
                if error.is_full() {
                    metrics.full.inc();
                    if !std::mem::replace(&mut full_told, true) {
                        let node = config.node_name.clone();
                        let message = chain(&error);
                        writing.spawn(events::write_full(client.clone(), node, message));
                    }
                }
                tracing::error!(error = &error as &dyn std::error::Error, after = ?retry, "cannot bring the kernel up to date; trying again with everything");
                work.full = true;
                retry_at = Some(tokio::time::Instant::now() + retry);
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
    tracing::info!("proxy stops; Services go on working");
    Ok(())
}

/// Finishes what had to wait.
fn tend(mut work: Work) -> Work {
    if let Err(error) = work.datapath.tend() {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "what ended could not be cleaned up; trying again",
        );
    }
    work
}

/// Takes in one piece of news.
fn take(update: Update, snapshot: &mut Snapshot, metrics: &Metrics, triggers: &mut Vec<Timestamp>) {
    match &update {
        Update::Event { event, triggered } => {
            match event {
                Event::Service(_) | Event::ServiceDeleted(_) => metrics.service_changes.inc(),
                Event::EndpointSlice(_) | Event::EndpointSliceDeleted(_) => {
                    metrics.endpoint_changes.inc()
                }
                Event::Node(_) | Event::NodeDeleted(_) => 0,
            };
            triggers.extend(triggered);
        }
        Update::Disturbed(error) => {
            tracing::warn!(%error, "lost the API server; Services stay as they are while trying again");
        }
        Update::Services(all) => tracing::debug!(count = all.len(), "heard of all Services"),
        Update::EndpointSlices(all) => {
            tracing::debug!(count = all.len(), "heard of all EndpointSlices")
        }
        Update::Nodes(all) => tracing::debug!(count = all.len(), "heard of all Nodes"),
        Update::ServiceRanges(all) => tracing::debug!(?all, "heard of the service ranges"),
    }
    update.apply_to(snapshot);
    metrics.last_queued.set(seconds(Timestamp::now()));
}

/// An error with all that led to it, as one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// One pass: runs on a thread that may block.
fn pass(mut work: Work) -> (Work, Pass) {
    let dirty = work.snapshot.take_dirty();
    let changes = work.desired.update(&work.snapshot, &dirty);
    let full = std::mem::take(&mut work.full);
    let mut pass = Pass {
        result: Ok(None),
        full,
        health_checks: changes.health_checks || changes.own_addresses || full,
        refused: changes.refused || full,
        addresses: check_addresses(&work.desired),
    };
    work.sweeper.note(&changes, dirty.ended);
    if full {
        work.sweeper.everything();
    }
    if !full && changes.is_empty() {
        return (work, pass);
    }
    let scope = if full { Scope::Everything } else { Scope::Changed(&changes) };
    let result = work.datapath.apply(&work.desired, scope).map(|applied| {
        // News and repairs written in one pass cannot be told apart: call them news.
        let mended = if changes.is_empty() { applied.mended } else { 0 };
        Applied { mended, ..applied }
    });
    pass.result = result.map(Some);
    (work, pass)
}

/// Where health checks are served: where node ports answer.
fn check_addresses(desired: &Desired) -> Vec<IpAddr> {
    if desired.view.node_port_addresses == NodePortAddresses::All {
        return vec![];
    }
    let nets: Vec<_> =
        Family::BOTH.iter().flat_map(|family| desired.node_port_networks(*family)).collect();
    let all = Rtnl::open().and_then(|rtnl| datapath::ipvs::without_services(&rtnl));
    let mut own: Vec<IpAddr> = all.unwrap_or_default().into_iter().collect();
    own.retain(|ip| {
        let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !link_local && nets.iter().any(|net| net.contains(ip))
    });
    own
}

fn note(
    metrics: &Metrics,
    desired: &Desired,
    applied: Option<Applied>,
    full: bool,
    now: Timestamp,
    triggers: &mut Vec<Timestamp>,
) {
    for trigger in triggers.drain(..) {
        let took = now.duration_since(trigger).as_secs_f64();
        metrics.network_programming.observe(took.max(0.0));
    }
    metrics.last_timestamp.set(seconds(now));
    let Some(applied) = applied else { return };
    metrics.synced(full, applied.took);
    metrics.writes.inc_by(applied.writes as u64);
    metrics.mended.inc_by(applied.mended as u64);
    if applied.mended > 0 {
        tracing::warn!(
            entries = applied.mended,
            "somebody changed our tables in the kernel; they are mended"
        );
    }
    if full {
        tracing::info!(writes = applied.writes, took = ?applied.took, "kernel is up to date");
    } else {
        tracing::debug!(writes = applied.writes, took = ?applied.took, "kernel is up to date");
    }
    metrics.no_local_endpoints(desired.dropping(false), desired.dropping(true));
}

fn serve(
    config: &ProxyConfig,
    mode: &'static str,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> Result<JoinSet<()>, Error> {
    let mut servers = JoinSet::new();
    let listen =
        |address| http::listen(address).map_err(|source| Error::Listen { address, source });
    if let Some(address) = config.metrics_bind_address {
        let metrics = metrics.clone();
        let health = health.clone();
        servers.spawn(http::serve(
            listen(address)?,
            Arc::new(move |request| match request.uri().path() {
                "/metrics" => metrics.page(request.headers()),
                "/proxyMode" => reply(StatusCode::OK, TEXT, mode),
                "/healthz" if health.is_healthy() => reply(StatusCode::OK, TEXT, "ok"),
                "/healthz" => reply(
                    StatusCode::SERVICE_UNAVAILABLE,
                    TEXT,
                    "not yet in step with the API server",
                ),
                _ => http::not_found(),
            }),
        ));
    }
    if let Some(address) = config.healthz_bind_address {
        let (metrics, health) = (metrics.clone(), health.clone());
        servers.spawn(http::serve(
            listen(address)?,
            Arc::new(move |request| health.answer(request.uri().path(), &metrics)),
        ));
    }
    Ok(servers)
}
