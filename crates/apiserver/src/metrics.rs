//! `/metrics`, with kube-apiserver's names where it has one.

use std::sync::atomic::AtomicI64;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::cache::Cache;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    group: &'static str,
    resource: &'static str,
}

/// What is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram>,
    watchers: Family<ResourceLabels, Gauge<i64, AtomicI64>>,
    objects: Family<ResourceLabels, Gauge<i64, AtomicI64>>,
    revision: Gauge<i64, AtomicI64>,
}

/// One request, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'a> {
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static crate::resource::Resource,
    pub(crate) subresource: &'a str,
    pub(crate) code: u16,
    pub(crate) began: Instant,
}

fn buckets() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(buckets),
            watchers: Family::default(),
            objects: Family::default(),
            revision: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and status code",
            metrics.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "How long requests took; watches are not counted",
            metrics.durations.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches being served",
            metrics.watchers.clone(),
        );
        registry.register(
            "apiserver_storage_objects",
            "Objects held, by resource",
            metrics.objects.clone(),
        );
        registry.register(
            "portolan_store_revision",
            "Revision of the last transaction",
            metrics.revision.clone(),
        );
        Self { registry, ..metrics }
    }

    pub(crate) fn count(&self, request: &Counted<'_>) {
        let resource = request.resource;
        let labels = RequestLabels {
            verb: request.verb,
            group: resource.group,
            version: resource.version,
            resource: resource.plural,
            subresource: request.subresource.to_owned(),
            code: request.code,
        };
        self.requests.get_or_create(&labels).inc();
        if request.verb != "watch" {
            let seconds = request.began.elapsed().as_secs_f64();
            self.durations.get_or_create(&VerbLabels { verb: request.verb }).observe(seconds);
        }
    }

    /// Counts a watch as long as the guard lives.
    pub(crate) fn watching(&self, resource: &'static crate::resource::Resource) -> Watching {
        let labels = ResourceLabels { group: resource.group, resource: resource.plural };
        let gauge = self.watchers.get_or_create(&labels).clone();
        gauge.inc();
        Watching(gauge)
    }

    /// The text exposition.
    pub(crate) fn text(&self, cache: &Cache) -> String {
        self.revision.set(i64::try_from(cache.revision()).unwrap_or(i64::MAX));
        for (resource, count) in cache.counts() {
            let labels = ResourceLabels { group: resource.group, resource: resource.plural };
            self.objects.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// See [`Metrics::watching`].
#[derive(Debug)]
pub(crate) struct Watching(Gauge<i64, AtomicI64>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}
