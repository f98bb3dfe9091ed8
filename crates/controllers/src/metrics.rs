//! Figures of the work queues, under Kubernetes' names, and a small snapshot for health pages.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::error::ReconcileError;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    name: &'static str,
}

type Histograms = Family<QueueLabel, Histogram, fn() -> Histogram>;

fn buckets() -> Histogram {
    // As Kubernetes: 10 ns to 10 s, by tens.
    Histogram::new((0..10).map(|power| 1e-8 * 10f64.powi(power)))
}

struct Inner {
    depth: Family<QueueLabel, Gauge>,
    adds: Family<QueueLabel, Counter>,
    retries: Family<QueueLabel, Counter>,
    waited: Histograms,
    worked: Histograms,
    queues: Mutex<BTreeMap<&'static str, Arc<QueueState>>>,
    leading: AtomicBool,
    synced: AtomicBool,
}

#[derive(Default)]
struct QueueState {
    depth: AtomicI64,
    last_error: Mutex<Option<LastError>>,
}

/// The last failure of a queue.
#[derive(Clone, Debug)]
pub struct LastError {
    /// When it happened.
    pub at: jiff::Timestamp,
    /// What was attempted, and the answer.
    pub message: String,
}

/// One queue's health.
#[derive(Clone, Debug)]
pub struct QueueHealth {
    /// The controller's name.
    pub name: &'static str,
    /// Keys that wait.
    pub depth: i64,
    /// The last failure, also if later tries succeeded.
    pub last_error: Option<LastError>,
}

/// The controllers' health.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether this process leads (always, without leader election).
    pub leading: bool,
    /// Whether all caches are complete.
    pub synced: bool,
    /// All queues, by name.
    pub queues: Vec<QueueHealth>,
}

/// Figures of all queues; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.health()).finish()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(buckets),
            worked: Family::new_with_constructor(buckets),
            queues: Mutex::default(),
            leading: AtomicBool::new(false),
            synced: AtomicBool::new(false),
        }))
    }
}

impl Metrics {
    /// Puts the figures into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let m = &self.0;
        registry.register("workqueue_depth", "Current depth of workqueue", m.depth.clone());
        registry.register(
            "workqueue_adds",
            "Total number of adds handled by workqueue",
            m.adds.clone(),
        );
        registry.register(
            "workqueue_retries",
            "Total number of retries handled by workqueue",
            m.retries.clone(),
        );
        registry.register(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            m.waited.clone(),
        );
        registry.register(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes",
            m.worked.clone(),
        );
    }

    /// The state of all queues now.
    pub fn health(&self) -> Health {
        let queues = self.0.queues.lock();
        Health {
            leading: self.0.leading.load(Ordering::Relaxed),
            synced: self.0.synced.load(Ordering::Relaxed),
            queues: queues
                .iter()
                .map(|(name, state)| QueueHealth {
                    name,
                    depth: state.depth.load(Ordering::Relaxed),
                    last_error: state.last_error.lock().clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn set_leading(&self, leading: bool) {
        self.0.leading.store(leading, Ordering::Relaxed);
    }

    pub(crate) fn set_synced(&self, synced: bool) {
        self.0.synced.store(synced, Ordering::Relaxed);
    }

    /// The figures of the queue `name`.
    pub fn queue(&self, name: &'static str) -> QueueMetrics {
        let label = QueueLabel { name };
        let state = self.0.queues.lock().entry(name).or_default().clone();
        QueueMetrics {
            name,
            depth: self.0.depth.get_or_create(&label).clone(),
            adds: self.0.adds.get_or_create(&label).clone(),
            retries: self.0.retries.get_or_create(&label).clone(),
            waited: self.0.waited.get_or_create(&label).clone(),
            worked: self.0.worked.get_or_create(&label).clone(),
            state,
        }
    }
}

/// The figures of one queue.
pub struct QueueMetrics {
    name: &'static str,
    depth: Gauge,
    adds: Counter,
    retries: Counter,
    waited: Histogram,
    worked: Histogram,
    state: Arc<QueueState>,
}

impl fmt::Debug for QueueMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetrics").field("name", &self.name).finish_non_exhaustive()
    }
}

impl QueueMetrics {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn added(&self) {
        self.adds.inc();
    }

    pub(crate) fn depth(&self, depth: usize) {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.depth.set(depth);
        self.state.depth.store(depth, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    pub(crate) fn worked(&self, time: Duration) {
        self.worked.observe(time.as_secs_f64());
    }

    pub(crate) fn failed(&self, error: &ReconcileError) {
        self.retries.inc();
        if !error.is_conflict() {
            let message = format!("{error}: {}", error.message());
            *self.state.last_error.lock() = Some(LastError { at: jiff::Timestamp::now(), message });
        }
    }
}
