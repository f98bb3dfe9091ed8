//! Whether the proxy works, told to kubelets and load balancers in kube-proxy's words.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use parking_lot::Mutex;
use portolan_model::desired::HealthCheck;
use portolan_model::object::ObjectName;
use tokio::task::{AbortHandle, JoinSet};

use super::http::{self, Answer, Handler, JSON, reply};
use super::metrics::Metrics;
use crate::reflect::{Kind, Update};

/// A change that has waited this long for the kernel makes the proxy unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the health endpoints tell.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_updated: Option<Timestamp>,
    /// Since when changes wait.
    waiting: Option<Instant>,
    reached: Reached,
}

/// Up to which revision the kernel has what the API server told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    services: u64,
    endpoint_slices: u64,
}

impl Reached {
    /// Notes what an update says of it.
    pub(super) fn note(&mut self, update: &Update) {
        match update {
            Update::Reached(Kind::Services, revision) => self.services = *revision,
            Update::Reached(Kind::EndpointSlices, revision) => self.endpoint_slices = *revision,
            _ => {}
        }
    }
}

impl Health {
    /// A change is known that the kernel does not have yet.
    pub(super) fn queued(&self) {
        self.state.lock().waiting.get_or_insert_with(Instant::now);
    }

    /// The kernel has everything that is known.
    pub(super) fn updated(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.last_updated = Some(now);
        state.waiting = None;
    }

    /// The kernel has what was told up to here.
    pub(super) fn reached(&self, reached: Reached) {
        self.state.lock().reached = reached;
    }

    pub(super) fn is_healthy(&self) -> bool {
        let state = self.state.lock();
        state.last_updated.is_some() && state.waiting.is_none_or(|since| since.elapsed() < PATIENCE)
    }

    fn body(&self, now: Timestamp) -> String {
        let updated = self.state.lock().last_updated.unwrap_or(Timestamp::UNIX_EPOCH);
        serde_json::json!({
            "lastUpdated": updated.to_string(),
            "currentTime": now.to_string(),
            "nodeEligible": true,
        })
        .to_string()
    }

    /// Answers on the port for health.
    pub(super) fn answer(&self, path: &str, metrics: &Metrics) -> Answer {
        let healthy = self.is_healthy();
        let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match path {
            "/healthz" => metrics.healthz(status.as_u16()),
            "/livez" => metrics.livez(status.as_u16()),
            // For the node's DNS, which answers what is programmed and nothing else.
            "/applied" => {
                let Reached { services, endpoint_slices } = self.state.lock().reached;
                let body = serde_json::json!({
                    "services": services, "endpointSlices": endpoint_slices,
                });
                return reply(StatusCode::OK, JSON, body.to_string());
            }
            _ => return http::not_found(),
        }
        reply(status, JSON, self.body(Timestamp::now()))
    }
}

/// The servers behind `healthCheckNodePort`.
#[derive(Debug, Default)]
pub(super) struct Checks {
    running: BTreeMap<ObjectName, Check>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Check {
    port: u16,
    local_endpoints: Arc<Mutex<usize>>,
    task: AbortHandle,
}

impl Checks {
    /// Makes the running servers those of `wanted`.
    pub(super) fn update(
        &mut self,
        wanted: &BTreeMap<&ObjectName, HealthCheck>,
        health: &Arc<Health>,
    ) {
        self.running.retain(|name, check| {
            let keep = wanted.get(name).is_some_and(|wanted| wanted.port == check.port);
            if !keep {
                check.task.abort();
            }
            keep
        });
        while self.tasks.try_join_next().is_some() {}
        for (name, wanted) in wanted {
            if let Some(check) = self.running.get(*name) {
                *check.local_endpoints.lock() = wanted.local_endpoints;
                continue;
            }
            let any = [
                (Ipv6Addr::UNSPECIFIED, wanted.port).into(),
                (Ipv4Addr::UNSPECIFIED, wanted.port).into(),
            ];
            let listener = any.into_iter().map(http::listen).reduce(|first, next| first.or(next));
            match listener {
                Some(Ok(listener)) => {
                    let local_endpoints = Arc::new(Mutex::new(wanted.local_endpoints));
                    let answer = check((*name).clone(), local_endpoints.clone(), health.clone());
                    let task = self.tasks.spawn(http::serve(listener, answer));
                    self.running.insert(
                        (*name).clone(),
                        Check { port: wanted.port, local_endpoints, task },
                    );
                }
                Some(Err(error)) => tracing::error!(
                    %error, service = %name, port = wanted.port,
                    "cannot serve healthCheckNodePort; load balancers will not send traffic here",
                ),
                None => {}
            }
        }
    }
}

fn check(name: ObjectName, local_endpoints: Arc<Mutex<usize>>, health: Arc<Health>) -> Handler {
    Arc::new(move |_| {
        let count = *local_endpoints.lock();
        let healthy = health.is_healthy();
        let status =
            if count > 0 && healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::json!({
            "service": { "namespace": &*name.namespace, "name": &*name.name },
            "localEndpoints": count,
            "serviceProxyHealthy": healthy,
        });
        let mut answer = reply(status, JSON, body.to_string());
        answer.headers_mut().insert("X-Load-Balancing-Endpoint-Weight", HeaderValue::from(count));
        answer
    })
}
