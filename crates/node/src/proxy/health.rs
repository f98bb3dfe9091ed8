//! Whether the proxy works, told to kubelets and load balancers in kube-proxy's words.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use parking_lot::Mutex;
use portolan_model::desired::HealthCheck;
use portolan_model::object::ObjectName;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::http::{self, Answer, Handler, JSON, reply};
use super::metrics::Metrics;
use crate::reached::Revisions;

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
    /// This node is being deleted or about to be.
    leaving: bool,
    /// Up to where the kernel has what the API server told.
    reached: Revisions,
}

impl Health {
    /// A change is known that the kernel does not have yet.
    pub(super) fn queued(&self) {
        self.state.lock().waiting.get_or_insert_with(Instant::now);
    }

    /// The kernel has everything that is known.
    pub(super) fn updated(&self, now: Timestamp) {
        let mut state = self.state.lock();
        (state.last_updated, state.waiting) = (Some(now), None);
    }

    /// The kernel has what was told up to here.
    pub(super) fn reached(&self, reached: Revisions) {
        self.state.lock().reached = reached;
    }

    pub(super) fn is_healthy(&self) -> bool {
        let state = self.state.lock();
        state.last_updated.is_some() && state.waiting.is_none_or(|since| since.elapsed() < PATIENCE)
    }

    /// Notes whether load balancers may send traffic to this node at all.
    pub(super) fn eligible(&self, eligible: bool) {
        self.state.lock().leaving = !eligible;
    }

    /// Answers on the port for health: `/healthz` also tells load balancers to leave a node that
    /// is about to go, `/livez` is about the proxy alone.
    pub(super) fn answer(&self, path: &str, metrics: &Metrics) -> Answer {
        let (healthy, now) = (self.is_healthy(), Timestamp::now());
        let State { last_updated, leaving, reached, .. } = *self.state.lock();
        let updated = last_updated.filter(|_| !healthy).unwrap_or(now);
        let mut body = serde_json::json!({
            "lastUpdated": updated.to_string(),
            "currentTime": now.to_string(),
        });
        let status = |good| if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let status = match path {
            "/healthz" => {
                body["nodeEligible"] = (!leaving).into();
                let status = status(healthy && !leaving);
                metrics.healthz(status.as_u16());
                status
            }
            "/livez" => {
                let status = status(healthy);
                metrics.livez(status.as_u16());
                status
            }
            // For the node's DNS, which answers what is programmed and nothing else.
            "/applied" => {
                body = serde_json::json!({
                    "services": reached.services, "endpointSlices": reached.endpoint_slices,
                });
                StatusCode::OK
            }
            _ => return http::not_found(),
        };
        reply(status, JSON, body.to_string())
    }
}

/// The servers behind `healthCheckNodePort`.
#[derive(Debug, Default)]
pub(super) struct Checks {
    running: BTreeMap<ObjectName, Check>,
    tasks: JoinSet<()>,
    addresses: Vec<IpAddr>,
    failed: bool,
}

#[derive(Debug)]
struct Check {
    port: u16,
    local_endpoints: Arc<Mutex<usize>>,
    tasks: Vec<AbortHandle>,
}

impl Checks {
    /// Makes the running servers those of `wanted`, at the node's `addresses` (empty for all).
    pub(super) fn update(
        &mut self,
        wanted: &BTreeMap<&ObjectName, HealthCheck>,
        addresses: &[IpAddr],
        health: &Arc<Health>,
    ) {
        let moved = self.addresses != addresses;
        self.addresses = addresses.to_vec();
        self.running.retain(|name, check| {
            let same = wanted.get(name).is_some_and(|wanted| wanted.port == check.port);
            if !same || moved {
                check.tasks.iter().for_each(AbortHandle::abort);
            }
            same && !moved
        });
        while self.tasks.try_join_next().is_some() {}
        self.failed = false;
        for (name, wanted) in wanted {
            if let Some(check) = self.running.get(*name) {
                *check.local_endpoints.lock() = wanted.local_endpoints;
                continue;
            }
            match listeners(addresses, wanted.port) {
                Ok(listeners) => {
                    let local_endpoints = Arc::new(Mutex::new(wanted.local_endpoints));
                    let answer = check((*name).clone(), local_endpoints.clone(), health.clone());
                    let serve = |listener| self.tasks.spawn(http::serve(listener, answer.clone()));
                    let tasks = listeners.into_iter().map(serve).collect();
                    let check = Check { port: wanted.port, local_endpoints, tasks };
                    self.running.insert((*name).clone(), check);
                }
                Err(error) => {
                    self.failed = true;
                    tracing::error!(
                        %error, service = %name, port = wanted.port,
                        "cannot serve healthCheckNodePort, trying again; load balancers will not send traffic here",
                    );
                }
            }
        }
    }

    /// Whether some server could not be started and is to be tried again.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}

fn listeners(addresses: &[IpAddr], port: u16) -> std::io::Result<Vec<TcpListener>> {
    if !addresses.is_empty() {
        return addresses.iter().map(|ip| http::listen((*ip, port).into())).collect();
    }
    // Both families at once, or IPv4 alone where the kernel has no IPv6.
    let both = http::listen((Ipv6Addr::UNSPECIFIED, port).into());
    Ok(vec![both.or_else(|_| http::listen((Ipv4Addr::UNSPECIFIED, port).into()))?])
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
