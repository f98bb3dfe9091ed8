//! The versioned store behind the API server.
//!
//! A store maps keys to opaque bytes and numbers its transactions with one revision counter that
//! only ever grows, over restarts too. The server keeps everything it serves in memory (see
//! [`crate::cache`]), so a store is asked for the whole once at start, is told of every write, and
//! reports every change back through a [`Sink`], in order.

pub mod embedded;
pub mod memory;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// The number of a committed transaction. The first is 1; 0 is the empty store.
pub type Revision = u64;

/// A key's current value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Arc<str>,
    /// The transaction that wrote the value.
    pub revision: Revision,
    pub value: Bytes,
}

/// What must hold of a key for a transaction to happen at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is asked.
    Any,
    /// The key must not exist.
    Absent,
    /// The key must exist and have been written last by this revision.
    Revision(Revision),
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    Put {
        key: Arc<str>,
        value: Bytes,
        expect: Expect,
    },
    /// Deleting a key that does not exist does nothing, unless `expect` says otherwise.
    Delete {
        key: Arc<str>,
        expect: Expect,
    },
    /// Only asks.
    Check {
        key: Arc<str>,
        expect: Expect,
    },
}

impl Operation {
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } | Self::Check { expect, .. } => {
                *expect
            }
        }
    }
}

/// Operations that happen together or not at all. A key occurs at most once.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub operations: Vec<Operation>,
}

impl Transaction {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<Arc<str>>, value: Bytes, expect: Expect) -> Self {
        self.operations.push(Operation::Put { key: key.into(), value, expect });
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<Arc<str>>, expect: Expect) -> Self {
        self.operations.push(Operation::Delete { key: key.into(), expect });
        self
    }

    #[must_use]
    pub fn check(mut self, key: impl Into<Arc<str>>, expect: Expect) -> Self {
        self.operations.push(Operation::Check { key: key.into(), expect });
        self
    }
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    pub key: Arc<str>,
    /// The new value, or `None` when the key was deleted.
    pub value: Option<Bytes>,
    /// The revision and the value that the change replaced.
    pub previous: Option<(Revision, Bytes)>,
}

/// Hears of changes. Called from one thread at a time, in the order of revisions, each event once;
/// all events of one transaction in one call. Must not block.
pub trait Sink: Send {
    fn apply(&mut self, events: &[Event]);
}

impl<F: FnMut(&[Event]) + Send> Sink for F {
    fn apply(&mut self, events: &[Event]) {
        self(events);
    }
}

/// What [`Store::list`] found, all of one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The store's revision at which the records were read.
    pub revision: Revision,
    /// Sorted by key.
    pub records: Vec<Record>,
}

/// A versioned map with transactions and change notification.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError>;

    /// All records whose key starts with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Does everything in the transaction or nothing. When it returns `Ok`, the transaction is
    /// durable and every sink has heard of it. A transaction that changes nothing returns the
    /// current revision.
    async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError>;

    /// Sends `sink` every change after the revision `after`, old ones first, then new ones as they
    /// happen. The call returns once the old ones are delivered.
    async fn watch(&self, after: Revision, sink: Box<dyn Sink>) -> Result<(), WatchError>;

    /// Forgets changes up to and including `revision`: no watch can start before it any more.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;

    /// The revision of the last committed transaction.
    fn revision(&self) -> Revision;

    /// The oldest revision after which a watch may start.
    fn compacted(&self) -> Revision;
}

/// Why a store could not be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store {path} is in use by another process")]
    Locked { path: PathBuf },
    #[error(
        "the store {path} is damaged: {detail}; restore a copy of it, or move it away to start empty"
    )]
    Corrupt { path: PathBuf, detail: String },
    #[error(
        "the store {path} was written by another version: format {found}, this program reads {known}"
    )]
    Format { path: PathBuf, found: u64, known: u64 },
    #[error("no space left on the device that holds the store {path}")]
    NoSpace { path: PathBuf },
    #[error("could not {action} the store {path}")]
    Io { action: &'static str, path: PathBuf, source: Arc<std::io::Error> },
    #[error("the store is shut down")]
    Closed,
}

/// Why a transaction did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold.
    #[error("the precondition on {key} does not hold (found revision {found:?})")]
    Failed {
        key: Arc<str>,
        /// The revision that wrote the key last; `None` when the key does not exist.
        found: Option<Revision>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a watch could not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    #[error("the changes up to revision {compacted} are forgotten")]
    Compacted { compacted: Revision },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether `found` satisfies `expect`.
fn holds(expect: Expect, found: Option<Revision>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(revision) => found == Some(revision),
    }
}
