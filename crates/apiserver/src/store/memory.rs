//! A store in memory, for tests and for anyone who wants an API server without a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    CommitError, Event, Listing, Operation, Record, Revision, Sink, Store, StoreError, Transaction,
    WatchError, holds,
};

/// How many events are kept for watches from an older revision.
const HISTORY: usize = 16 * 1024;

/// [`Store`] in memory; everything is lost with it.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    revision: AtomicU64,
    compacted: AtomicU64,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<Arc<str>, (Revision, Bytes)>,
    history: VecDeque<Event>,
    sinks: Vec<Box<dyn Sink>>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    fn commit_now(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        let mut inner = self.inner.lock();
        let mut changes = false;
        for operation in &transaction.operations {
            let found = inner.records.get(&**operation.key()).map(|(revision, _)| *revision);
            if !holds(operation.expect(), found) {
                return Err(CommitError::Failed { key: operation.key().clone(), found });
            }
            changes |= match operation {
                Operation::Put { .. } => true,
                Operation::Delete { .. } => found.is_some(),
                Operation::Check { .. } => false,
            };
        }
        let current = self.revision.load(Ordering::Acquire);
        if !changes {
            return Ok(current);
        }
        let revision = current + 1;
        let mut events = Vec::with_capacity(transaction.operations.len());
        for operation in transaction.operations {
            let (key, value, previous) = match operation {
                Operation::Put { key, value, .. } => {
                    let previous = inner.records.insert(key.clone(), (revision, value.clone()));
                    (key, Some(value), previous)
                }
                Operation::Delete { key, .. } => match inner.records.remove(&*key) {
                    Some(previous) => (key, None, Some(previous)),
                    None => continue,
                },
                Operation::Check { .. } => continue,
            };
            events.push(Event { revision, key, value, previous });
        }
        self.revision.store(revision, Ordering::Release);
        for sink in &mut inner.sinks {
            sink.apply(&events);
        }
        inner.history.extend(events);
        while inner.history.len() > HISTORY {
            let dropped = inner.history.pop_front().map_or(0, |event| event.revision);
            self.compacted.fetch_max(dropped, Ordering::AcqRel);
        }
        Ok(revision)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.inner.lock().records.get_key_value(key).map(|(key, (revision, value))| Record {
            key: key.clone(),
            revision: *revision,
            value: value.clone(),
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let inner = self.inner.lock();
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        let records = inner
            .records
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (revision, value))| Record {
                key: key.clone(),
                revision: *revision,
                value: value.clone(),
            })
            .collect();
        Ok(Listing { revision: self.revision.load(Ordering::Acquire), records })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        self.commit_now(transaction)
    }

    async fn watch(&self, after: Revision, mut sink: Box<dyn Sink>) -> Result<(), WatchError> {
        let mut inner = self.inner.lock();
        let compacted = self.compacted.load(Ordering::Acquire);
        if after < compacted {
            return Err(WatchError::Compacted { compacted });
        }
        let start = inner.history.partition_point(|event| event.revision <= after);
        let old: Vec<Event> = inner.history.range(start..).cloned().collect();
        for events in old.chunk_by(|a, b| a.revision == b.revision) {
            sink.apply(events);
        }
        inner.sinks.push(sink);
        Ok(())
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        let revision = revision.min(self.revision.load(Ordering::Acquire));
        let keep = inner.history.partition_point(|event| event.revision <= revision);
        inner.history.drain(..keep);
        self.compacted.fetch_max(revision, Ordering::AcqRel);
        Ok(())
    }

    fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }
}
