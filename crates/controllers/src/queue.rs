//! Work queues: each key once, in order, never twice at a time; failures back off per key.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{error::ReconcileError, metrics::QueueMetrics};

/// The first delay after a failure; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What a key needs after it was worked on.
pub type Outcome = Result<Option<Duration>, ReconcileError>;

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, or to be put there when the work under way on them ends, with the time of the first request.
    dirty: HashMap<K, Instant>,
    working: HashSet<K>,
    failures: HashMap<K, u32>,
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    sequence: u64,
}

struct Inner<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    metrics: QueueMetrics,
}

/// A queue of keys; clones share it.
pub struct Queue<K>(Arc<Inner<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("ready", &self.0.state.lock().ready.len())
            .finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash + fmt::Display> Queue<K> {
    /// An empty queue.
    pub fn new(metrics: QueueMetrics) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashMap::new(),
            working: HashSet::new(),
            failures: HashMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            sequence: 0,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new(), metrics }))
    }

    /// Asks for work on `key` now.
    pub fn add(&self, key: K) {
        let mut state = self.0.state.lock();
        if let Some(due) = state.due.remove(&key) {
            state.delayed.remove(&due);
        }
        self.push(&mut state, key);
        drop(state);
        self.0.changed.notify_one();
    }

    /// Asks for work on `key` after `delay`, or earlier if that was asked before.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.0.state.lock();
        let at = Instant::now() + delay;
        if let Some(due) = state.due.get(&key).copied() {
            if due.0 <= at {
                return;
            }
            state.delayed.remove(&due);
        }
        state.sequence += 1;
        let due = (at, state.sequence);
        state.delayed.insert(due, key.clone());
        state.due.insert(key, due);
        drop(state);
        self.0.changed.notify_one();
    }

    fn push(&self, state: &mut State<K>, key: K) {
        if state.dirty.contains_key(&key) {
            return;
        }
        state.dirty.insert(key.clone(), Instant::now());
        self.0.metrics.added();
        if !state.working.contains(&key) {
            state.ready.push_back(key);
        }
        self.0.metrics.depth(state.ready.len());
    }

    /// Waits for the next key and marks it as being worked on.
    async fn next(&self) -> K {
        loop {
            let due = {
                let mut state = self.0.state.lock();
                let now = Instant::now();
                while let Some(entry) = state.delayed.first_entry().filter(|e| e.key().0 <= now) {
                    let key = entry.remove();
                    state.due.remove(&key);
                    self.push(&mut state, key);
                }
                if let Some(key) = state.ready.pop_front() {
                    if let Some(since) = state.dirty.remove(&key) {
                        self.0.metrics.waited(now.saturating_duration_since(since));
                    }
                    state.working.insert(key.clone());
                    self.0.metrics.depth(state.ready.len());
                    return key;
                }
                state.delayed.first_key_value().map(|((at, _), _)| *at)
            };
            match due {
                Some(at) => tokio::select! {
                    () = self.0.changed.notified() => (),
                    () = tokio::time::sleep_until(at) => (),
                },
                None => self.0.changed.notified().await,
            }
        }
    }

    fn finish(&self, key: K, took: Duration, outcome: Outcome) {
        self.0.metrics.worked(took);
        let mut state = self.0.state.lock();
        state.working.remove(&key);
        if state.dirty.contains_key(&key) {
            state.ready.push_back(key.clone());
            self.0.metrics.depth(state.ready.len());
        }
        let again = match outcome {
            Ok(again) => {
                state.failures.remove(&key);
                again
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_insert(0);
                *failures += 1;
                let delay =
                    (FIRST_DELAY * 2u32.saturating_pow((*failures - 1).min(16))).min(LONGEST_DELAY);
                self.0.metrics.failed(&error);
                if error.is_conflict() {
                    tracing::debug!(queue = self.0.metrics.name(), %key, %error, "written by somebody else meanwhile, trying again");
                } else {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(queue = self.0.metrics.name(), %key, %error, source, ?delay, "trying again");
                }
                Some(delay)
            }
        };
        drop(state);
        if let Some(delay) = again {
            self.add_after(key, delay);
        }
        self.0.changed.notify_one();
    }

    /// Works on keys, up to `concurrency` at a time, until `shutdown`.
    pub async fn run<F, Fut>(self, concurrency: usize, shutdown: CancellationToken, mut work: F)
    where
        F: FnMut(K) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some((key, took, outcome)) = running.next(), if !running.is_empty() => self.finish(key, took, outcome),
                key = self.next(), if running.len() < concurrency => {
                    let future = work(key.clone());
                    running.push(async move {
                        let started = Instant::now();
                        let outcome = future.await;
                        (key, started.elapsed(), outcome)
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn queue() -> Queue<String> {
        Queue::new(Metrics::default().queue("test"))
    }

    #[tokio::test]
    async fn a_key_waits_once_however_often_it_is_added() {
        let queue = queue();
        for key in ["a", "b", "a"] {
            queue.add(key.to_string());
        }
        assert_eq!(queue.next().await, "a");
        queue.add("a".into());
        assert_eq!(queue.next().await, "b", "a is being worked on");
        queue.finish("a".into(), Duration::ZERO, Ok(None));
        assert_eq!(queue.next().await, "a", "and was asked for meanwhile");
        assert!(queue.0.state.lock().ready.is_empty());
    }

    #[tokio::test]
    async fn the_earliest_delay_counts_and_an_add_beats_it() {
        let queue = queue();
        let start = Instant::now();
        queue.add_after("a".into(), Duration::from_secs(90));
        queue.add_after("a".into(), Duration::from_millis(30));
        queue.add_after("a".into(), Duration::from_millis(50));
        assert_eq!(queue.next().await, "a");
        assert!(
            start.elapsed() >= Duration::from_millis(30)
                && start.elapsed() < Duration::from_secs(60)
        );
        queue.finish("a".into(), Duration::ZERO, Ok(Some(Duration::from_secs(500))));
        queue.add("a".into());
        assert_eq!(queue.next().await, "a");
        assert!(
            start.elapsed() >= Duration::from_millis(30)
                && start.elapsed() < Duration::from_secs(60)
        );
        assert!(queue.0.state.lock().delayed.is_empty());
    }

    #[tokio::test]
    async fn failures_back_off_and_success_forgets_them() {
        let queue = queue();
        queue.add("a".into());
        let mut waits = Vec::new();
        for _ in 0..3 {
            let before = Instant::now();
            let key = queue.next().await;
            waits.push(before.elapsed().as_millis());
            queue.finish(key, Duration::ZERO, Err(ReconcileError::invalid("nothing works")));
        }
        assert!(waits[1] >= 5 && waits[2] >= 10, "{waits:?}");
        let key = queue.next().await;
        queue.finish(key, Duration::ZERO, Ok(None));
        assert!(queue.0.state.lock().failures.is_empty());
    }

    #[tokio::test]
    async fn one_key_is_never_worked_on_twice_at_a_time() {
        let queue = queue();
        let busy = Arc::new(Mutex::new(HashSet::new()));
        let done = Arc::new(Mutex::new(0));
        let shutdown = CancellationToken::new();
        for key in 0..4 {
            queue.add(format!("{key}"));
        }
        let (q, b, d, s) = (queue.clone(), busy.clone(), done.clone(), shutdown.clone());
        let runner = queue.clone().run(3, shutdown.clone(), move |key: String| {
            let (queue, busy, done, shutdown) = (q.clone(), b.clone(), d.clone(), s.clone());
            async move {
                assert!(busy.lock().insert(key.clone()), "{key} twice at a time");
                assert!(busy.lock().len() <= 3);
                queue.add(key.clone());
                tokio::time::sleep(Duration::from_millis(1)).await;
                busy.lock().remove(&key);
                *done.lock() += 1;
                if *done.lock() == 40 {
                    shutdown.cancel();
                }
                Ok(None)
            }
        });
        runner.await;
        assert!(*done.lock() >= 40);
    }
}
