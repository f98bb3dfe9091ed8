//! A store in one file on disk, with nothing else to install or run.
//!
//! One thread owns the file. It takes whatever transactions wait in its queue, up to
//! [`GROUP_BYTES`], commits them as a group with one `fdatasync`, tells the sinks, and only then
//! acknowledges each. A group that fails acknowledges nothing; the file is opened again, and
//! whatever of the group turns out to have reached the disk is reported like any other change.

mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use self::file::File;
use super::{
    CommitError, Event, Listing, Operation, Record, Revision, Sink, Store, StoreError, Transaction,
    WatchError,
};

/// The most bytes that one group writes.
const GROUP_BYTES: usize = 4 << 20;
/// The most transactions in one group.
const GROUP_LENGTH: usize = 1024;

/// [`Store`] in a redb file. Dropping it ends the thread once its queue is empty.
#[derive(Debug)]
pub struct EmbeddedStore {
    queue: Option<mpsc::Sender<Command>>,
    thread: Option<std::thread::JoinHandle<()>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    revision: AtomicU64,
    compacted: AtomicU64,
}

enum Command {
    Commit(Transaction, oneshot::Sender<Result<Revision, CommitError>>),
    Get(String, oneshot::Sender<Result<Option<Record>, StoreError>>),
    List(String, oneshot::Sender<Result<Listing, StoreError>>),
    Watch(Revision, Box<dyn Sink>, oneshot::Sender<Result<(), WatchError>>),
    Compact(Revision, oneshot::Sender<Result<(), StoreError>>),
}

impl EmbeddedStore {
    /// Opens the file, creating it and its directory when missing. Only one process can hold it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| StoreError::Io {
                action: "create the directory of",
                path: path.clone(),
                source: Arc::new(error),
            })?;
        }
        let file = File::open(path.clone())?;
        Self::start(file, Some(path))
    }

    /// Opens a store on anything that redb can write to; tests inject faults here.
    pub fn open_backend(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        Self::start(File::open_backend(backend)?, None)
    }

    fn start(file: File, path: Option<PathBuf>) -> Result<Self, StoreError> {
        let counters = Arc::new(Counters::default());
        counters.publish(&file);
        let (queue, commands) = mpsc::channel();
        let committer =
            Committer { file: Some(file), path, sinks: Vec::new(), counters: counters.clone() };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(&commands))
            .map_err(|error| StoreError::Io {
                action: "start the thread of",
                path: PathBuf::new(),
                source: Arc::new(error),
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), counters })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(command(answer)).map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.ask(|answer| Command::Get(key.to_owned(), answer)).await?
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.ask(|answer| Command::List(prefix.to_owned(), answer)).await?
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        self.ask(|answer| Command::Commit(transaction, answer)).await?
    }

    async fn watch(&self, after: Revision, sink: Box<dyn Sink>) -> Result<(), WatchError> {
        self.ask(|answer| Command::Watch(after, sink, answer)).await?
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.ask(|answer| Command::Compact(revision, answer)).await?
    }

    fn revision(&self) -> Revision {
        self.counters.revision.load(Ordering::Acquire)
    }

    fn compacted(&self) -> Revision {
        self.counters.compacted.load(Ordering::Acquire)
    }
}

impl Counters {
    fn publish(&self, file: &File) {
        self.revision.store(file.revision, Ordering::Release);
        self.compacted.store(file.compacted, Ordering::Release);
    }
}

/// The thread's state.
struct Committer {
    /// `None` after a failure, until the file could be opened again.
    file: Option<File>,
    /// Where to open it again; a backend cannot be.
    path: Option<PathBuf>,
    sinks: Vec<Box<dyn Sink>>,
    counters: Arc<Counters>,
}

impl Committer {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| commands.recv().ok()) {
            match command {
                Command::Commit(transaction, answer) => {
                    let mut bytes = size(&transaction);
                    let mut transactions = vec![transaction];
                    let mut answers = vec![answer];
                    while bytes < GROUP_BYTES && transactions.len() < GROUP_LENGTH {
                        match commands.try_recv() {
                            Ok(Command::Commit(transaction, answer)) => {
                                bytes += size(&transaction);
                                transactions.push(transaction);
                                answers.push(answer);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(transactions, answers);
                }
                // An answer that nobody waits for any more is dropped.
                Command::Get(key, answer) => {
                    let _ = answer.send(self.file().and_then(|file| file.get(&key)));
                }
                Command::List(prefix, answer) => {
                    let _ = answer.send(self.file().and_then(|file| file.list(&prefix)));
                }
                Command::Watch(after, sink, answer) => {
                    let _ = answer.send(self.watch(after, sink));
                }
                Command::Compact(revision, answer) => {
                    let done = self.file().and_then(|file| file.compact(revision));
                    if let Some(file) = &self.file {
                        self.counters.publish(file);
                    }
                    let _ = answer.send(done);
                }
            }
        }
    }

    /// The open file; opens it again after a failure.
    fn file(&mut self) -> Result<&mut File, StoreError> {
        if self.file.is_none() {
            let path = self.path.clone().ok_or(StoreError::Closed)?;
            let file = File::open(path)?;
            let known = self.counters.revision.load(Ordering::Acquire);
            let missed = file.history(known)?;
            self.tell(&missed);
            self.counters.publish(&file);
            self.file = Some(file);
        }
        self.file.as_mut().ok_or(StoreError::Closed)
    }

    fn tell(&mut self, events: &[Event]) {
        if !events.is_empty() {
            for sink in &mut self.sinks {
                sink.apply(events);
            }
        }
    }

    fn commit(
        &mut self,
        transactions: Vec<Transaction>,
        answers: Vec<oneshot::Sender<Result<Revision, CommitError>>>,
    ) {
        let done = self.file().and_then(|file| file.commit(transactions));
        let results = match done {
            Ok(group) => {
                if let Some(file) = &self.file {
                    self.counters.publish(file);
                }
                self.tell(&group.events);
                group.results
            }
            Err(error) => {
                tracing::error!(%error, "writing to the store failed; nothing was acknowledged");
                self.file = None;
                answers.iter().map(|_| Err(CommitError::Store(error.clone()))).collect()
            }
        };
        for (answer, result) in answers.into_iter().zip(results) {
            let _ = answer.send(result);
        }
    }

    fn watch(&mut self, after: Revision, mut sink: Box<dyn Sink>) -> Result<(), WatchError> {
        let file = self.file()?;
        if after < file.compacted {
            return Err(WatchError::Compacted { compacted: file.compacted });
        }
        let old = file.history(after)?;
        if !old.is_empty() {
            sink.apply(&old);
        }
        self.sinks.push(sink);
        Ok(())
    }
}

fn size(transaction: &Transaction) -> usize {
    let size = |operation: &Operation| match operation {
        Operation::Put { value, .. } => value.len(),
        _ => 64,
    };
    transaction.operations.iter().map(size).sum()
}
