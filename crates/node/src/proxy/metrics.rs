//! Metrics under the names that kube-proxy gives them.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap};
use portolan_model::Desired;
use portolan_model::desired::Refusal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

use super::http::{Answer, reply};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    traffic_policy: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The proxy's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    pub(super) sync: Histogram,
    pub(super) full_sync: Histogram,
    pub(super) partial_sync: Histogram,
    pub(super) network_programming: Histogram,
    pub(super) last_timestamp: Seconds,
    pub(super) last_queued: Seconds,
    pub(super) endpoint_changes: Counter,
    pub(super) service_changes: Counter,
    pub(super) failures: Counter,
    pub(super) full: Counter,
    pub(super) writes: Counter,
    pub(super) mended: Counter,
    pub(super) conntrack_deleted: Counter,
    pub(super) conntrack_reconcile: Histogram,
    no_local_endpoints: Family<Policy, Gauge>,
    refused: Family<Reason, Gauge>,
    healthz: Family<Code, Counter>,
    livez: Family<Code, Counter>,
}

fn programming_buckets() -> impl Iterator<Item = f64> {
    let quarters = (1..3).map(|step| f64::from(step) * 0.25);
    let seconds = (1..60).map(f64::from);
    let fives = (12..24).map(|step| f64::from(step) * 5.0);
    let halves = (4..11).map(|step| f64::from(step) * 30.0);
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1]
        .into_iter()
        .chain(quarters)
        .chain(seconds)
        .chain(fives)
        .chain(halves)
}

fn sync_buckets() -> impl Iterator<Item = f64> {
    [0.00005, 0.0001, 0.00025, 0.0005].into_iter().chain(exponential_buckets(0.001, 2.0, 15))
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("kubeproxy");
        let mut histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let metric = Histogram::new(buckets);
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
            metric
        };
        let sync: Vec<f64> = sync_buckets().collect();
        let programming = programming_buckets().collect();
        let sync_metric =
            histogram("sync_proxy_rules_duration", "SyncProxyRules latency", sync.clone());
        let full_sync = histogram(
            "sync_full_proxy_rules_duration",
            "SyncProxyRules latency for full resyncs",
            sync.clone(),
        );
        let partial_sync = histogram(
            "sync_partial_proxy_rules_duration",
            "SyncProxyRules latency for partial resyncs",
            sync.clone(),
        );
        let conntrack_reconcile = histogram(
            "conntrack_reconciler_sync_duration",
            "Time to find and delete stale connections",
            sync,
        );
        let network_programming = histogram(
            "network_programming_duration",
            "From the change of an endpoint to the kernel",
            programming,
        );
        let mut gauge = |name: &str, help: &str| {
            let metric = Seconds::default();
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
            metric
        };
        let last_timestamp =
            gauge("sync_proxy_rules_last_timestamp", "When the rules were last brought up to date");
        let last_queued =
            gauge("sync_proxy_rules_last_queued_timestamp", "When a change was last heard of");
        let mut counter = |name: &str, help: &str| {
            let metric = Counter::default();
            registry.register(name, help, metric.clone());
            metric
        };
        let endpoint_changes =
            counter("sync_proxy_rules_endpoint_changes", "Changes of EndpointSlices heard of");
        let service_changes =
            counter("sync_proxy_rules_service_changes", "Changes of Services heard of");
        let failures = counter(
            "sync_proxy_rules_nftables_sync_failures",
            "Attempts to write to the kernel that failed",
        );
        let full = counter(
            "sync_proxy_rules_full_failures",
            "Attempts to write to the kernel that failed as something is full and cannot grow",
        );
        let writes = counter("sync_proxy_rules_element_writes", "Map entries written or removed");
        let mended =
            counter("sync_proxy_rules_elements_mended", "Map entries that others had changed");
        let conntrack_deleted =
            counter("conntrack_reconciler_deleted_entries", "Stale connections deleted");
        let (no_local_endpoints, healthz, livez) =
            (Family::default(), Family::default(), Family::default());
        let refused = Family::default();
        registry.register(
            "sync_proxy_rules_refused_addresses",
            "External addresses of Services that are not served, by reason",
            refused.clone(),
        );
        registry.register(
            "sync_proxy_rules_no_local_endpoints",
            "Services with a Local traffic policy and no local endpoint",
            no_local_endpoints.clone(),
        );
        registry.register("proxy_healthz", "Answers of /healthz by status", healthz.clone());
        registry.register("proxy_livez", "Answers of /livez by status", livez.clone());
        Self {
            registry,
            sync: sync_metric,
            full_sync,
            partial_sync,
            network_programming,
            last_timestamp,
            last_queued,
            endpoint_changes,
            service_changes,
            failures,
            full,
            writes,
            mended,
            conntrack_deleted,
            conntrack_reconcile,
            no_local_endpoints,
            refused,
            healthz,
            livez,
        }
    }

    pub(super) fn healthz(&self, code: u16) {
        self.healthz.get_or_create(&Code { code: code.into() }).inc();
    }

    pub(super) fn livez(&self, code: u16) {
        self.livez.get_or_create(&Code { code: code.into() }).inc();
    }

    pub(super) fn no_local_endpoints(&self, internal: usize, external: usize) {
        for (traffic_policy, count) in [("internal", internal), ("external", external)] {
            self.no_local_endpoints.get_or_create(&Policy { traffic_policy }).set(count as i64);
        }
    }

    /// Counts the addresses that are not served.
    pub(super) fn refused(&self, desired: &Desired) {
        for why in Refusal::ALL {
            let count = desired.refused().filter(|(_, refused)| refused.why == why).count();
            self.refused.get_or_create(&Reason { reason: why.label() }).set(count as i64);
        }
    }

    pub(super) fn synced(&self, full: bool, took: Duration) {
        let seconds = took.as_secs_f64();
        self.sync.observe(seconds);
        let kind = if full { &self.full_sync } else { &self.partial_sync };
        kind.observe(seconds);
    }

    /// The page, as OpenMetrics to those who ask for it, else in Prometheus' older text format,
    /// of which it is valid text too.
    pub(super) fn page(&self, headers: &HeaderMap) -> Answer {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return reply(StatusCode::INTERNAL_SERVER_ERROR, super::http::TEXT, "");
        }
        let asked = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let kind = if asked.contains("application/openmetrics-text") {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "text/plain; version=0.0.4; charset=utf-8"
        };
        reply(StatusCode::OK, kind, text)
    }
}
