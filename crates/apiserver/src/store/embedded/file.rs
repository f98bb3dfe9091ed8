//! The redb file: three tables, and what one group of transactions does to them.
//!
//! `objects` holds the current values. `history` holds, for each change, the key and what was
//! replaced: the values that changes led to are found again by walking back from the current ones,
//! so that a create writes its value once only. `meta` holds the counters.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::store::{
    CommitError, Event, Listing, Operation, Record, Revision, StoreError, Transaction, holds,
};

/// Key to revision (8 bytes, little endian) and value.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Revision and position in the transaction to [`encode_change`].
const HISTORY: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("history");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: u64 = 1;
/// Pages that redb keeps; the watch cache serves all reads, so a few suffice.
const PAGE_CACHE_BYTES: usize = 4 << 20;
/// Revisions whose changes are kept on disk for watches after a restart.
pub(super) const KEPT_REVISIONS: u64 = 8 * 1024;

/// An open file with its counters.
pub(super) struct File {
    database: Database,
    path: PathBuf,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
}

/// What a group of transactions came to: one result each, and the events of those that happened.
pub(super) struct Group {
    pub(super) results: Vec<Result<Revision, CommitError>>,
    pub(super) events: Vec<Event>,
}

impl File {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let database = redb::Builder::new()
            .set_cache_size(PAGE_CACHE_BYTES)
            .create(&path)
            .map_err(|error| store_error(&path, "open", error.into()))?;
        Self::prepare(database, path)
    }

    pub(super) fn open_backend(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let path = PathBuf::from("(backend)");
        let database = redb::Builder::new()
            .set_cache_size(PAGE_CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| store_error(&path, "open", error.into()))?;
        Self::prepare(database, path)
    }

    fn prepare(database: Database, path: PathBuf) -> Result<Self, StoreError> {
        let mut file = Self { database, path, revision: 0, compacted: 0 };
        let format =
            file.read_counters().map_err(|error| store_error(&file.path, "read", error))?;
        match format {
            Some(FORMAT) => Ok(file),
            Some(found) => Err(StoreError::Format { path: file.path, found, known: FORMAT }),
            None => {
                file.create_tables().map_err(|error| store_error(&file.path, "write", error))?;
                Ok(file)
            }
        }
    }

    fn read_counters(&mut self) -> Result<Option<u64>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let read = |name| Ok::<_, redb::Error>(meta.get(name)?.map_or(0, |value| value.value()));
        self.revision = read("revision")?;
        self.compacted = read("compacted")?;
        Ok(Some(read("format")?))
    }

    fn create_tables(&mut self) -> Result<(), redb::Error> {
        let transaction = self.begin()?;
        transaction.open_table(OBJECTS)?;
        transaction.open_table(HISTORY)?;
        transaction.open_table(META)?.insert("format", FORMAT)?;
        transaction.commit()?;
        Ok(())
    }

    /// A write transaction whose commit is durable. One `fdatasync` for each: the alternative that
    /// spares the next opening after a crash its walk over the file (`set_quick_repair`) takes two,
    /// and writes twice as many pages. The walk is short, since the file holds what memory does.
    fn begin(&self) -> Result<redb::WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        Ok(transaction)
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(OBJECTS)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        let value = read().map_err(|error| store_error(&self.path, "read", error))?;
        value.map(|value| self.record(key, &value)).transpose()
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let mut records = Vec::new();
        let mut read = || -> Result<Result<(), StoreError>, redb::Error> {
            let table = self.database.begin_read()?.open_table(OBJECTS)?;
            for row in table.range(prefix..)? {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                match self.record(key.value(), value.value()) {
                    Ok(record) => records.push(record),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(()))
        };
        read().map_err(|error| store_error(&self.path, "read", error))??;
        Ok(Listing { revision: self.revision, records })
    }

    fn record(&self, key: &str, value: &[u8]) -> Result<Record, StoreError> {
        let (revision, value) = split_revision(value).ok_or_else(|| StoreError::Corrupt {
            path: self.path.clone(),
            detail: format!("the record of {key} has no revision"),
        })?;
        Ok(Record { key: key.into(), revision, value: Bytes::copy_from_slice(value) })
    }

    /// The events after `after`, oldest first, rebuilt by walking back from the current values.
    pub(super) fn history(&self, after: Revision) -> Result<Vec<Event>, StoreError> {
        let io = |error| store_error(&self.path, "read", error);
        let corrupt = |detail: &str| StoreError::Corrupt {
            path: self.path.clone(),
            detail: detail.to_owned(),
        };
        let rows = (|| -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(HISTORY)?;
            let mut rows = Vec::new();
            for row in table.range((after + 1, 0)..)? {
                let (key, value) = row?;
                rows.push((key.value().0, value.value().to_vec()));
            }
            Ok(rows)
        })()
        .map_err(io)?;
        let mut newer: HashMap<Arc<str>, Option<Bytes>> = HashMap::new();
        let mut events = Vec::with_capacity(rows.len());
        for (revision, row) in rows.into_iter().rev() {
            let (key, previous) =
                decode_change(&row).ok_or_else(|| corrupt("a row of the history is malformed"))?;
            let value = match newer.get(key) {
                Some(value) => value.clone(),
                None => self.get(key)?.map(|record| record.value),
            };
            let key: Arc<str> = key.into();
            newer.insert(key.clone(), previous.as_ref().map(|(_, value)| value.clone()));
            events.push(Event { revision, key, value, previous });
        }
        events.reverse();
        Ok(events)
    }

    /// Does each of the transactions or none of its operations, and makes all of it durable with
    /// one commit. On `Err` nothing is known to have happened: the file must be opened again.
    pub(super) fn commit(&mut self, transactions: Vec<Transaction>) -> Result<Group, StoreError> {
        let result = self.commit_group(transactions);
        result.map_err(|error| store_error(&self.path, "write", error))
    }

    fn commit_group(&mut self, transactions: Vec<Transaction>) -> Result<Group, redb::Error> {
        let write = self.begin()?;
        let mut group =
            Group { results: Vec::with_capacity(transactions.len()), events: Vec::new() };
        let mut revision = self.revision;
        let mut compacted = self.compacted;
        {
            let mut objects = write.open_table(OBJECTS)?;
            let mut history = write.open_table(HISTORY)?;
            let mut meta = write.open_table(META)?;
            let mut row = Vec::new();
            for transaction in transactions {
                let before = group.events.len();
                if let Err(error) = check(&objects, &transaction)? {
                    group.results.push(Err(error));
                    continue;
                }
                for operation in transaction.operations {
                    let (key, value, old) = match operation {
                        Operation::Put { key, value, .. } => {
                            row.clear();
                            row.extend_from_slice(&(revision + 1).to_le_bytes());
                            row.extend_from_slice(&value);
                            let old = objects.insert(&*key, &*row)?;
                            let old = old.map(|old| old.value().to_vec());
                            (key, Some(value), old)
                        }
                        Operation::Delete { key, .. } => {
                            let old = objects.remove(&*key)?.map(|old| old.value().to_vec());
                            if old.is_none() {
                                continue;
                            }
                            (key, None, old)
                        }
                        Operation::Check { .. } => continue,
                    };
                    let previous = old.as_deref().and_then(split_revision);
                    encode_change(&key, previous, &mut row);
                    let position = (group.events.len() - before) as u32;
                    history.insert((revision + 1, position), &*row)?;
                    let previous =
                        previous.map(|(revision, value)| (revision, Bytes::copy_from_slice(value)));
                    group.events.push(Event { revision: revision + 1, key, value, previous });
                }
                revision += u64::from(group.events.len() > before);
                group.results.push(Ok(revision));
            }
            // Forgets a little more than was added, so that no single commit pays for much.
            let mut budget = 16 + 2 * group.events.len();
            while budget > 0 && compacted + KEPT_REVISIONS < revision {
                let Some((key, _)) = history.pop_first()? else { break };
                compacted = compacted.max(key.value().0);
                budget -= 1;
            }
            meta.insert("revision", revision)?;
            meta.insert("compacted", compacted)?;
        }
        if group.events.is_empty() {
            write.abort()?;
        } else {
            write.commit()?;
            self.revision = revision;
            self.compacted = compacted;
        }
        Ok(group)
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        let revision = revision.min(self.revision).max(self.compacted);
        let run = || -> Result<(), redb::Error> {
            let write = self.begin()?;
            write.open_table(HISTORY)?.retain_in((0, 0)..(revision + 1, 0), |_, _| false)?;
            write.open_table(META)?.insert("compacted", revision)?;
            Ok(write.commit()?)
        };
        run().map_err(|error| store_error(&self.path, "compact", error))?;
        self.compacted = revision;
        Ok(())
    }
}

/// Whether all preconditions hold.
fn check(
    objects: &redb::Table<'_, &str, &[u8]>,
    transaction: &Transaction,
) -> Result<Result<(), CommitError>, redb::Error> {
    for operation in &transaction.operations {
        if operation.expect() == Expect::Any {
            continue;
        }
        let key = operation.key();
        let found =
            objects.get(&**key)?.and_then(|value| split_revision(value.value()).map(|(r, _)| r));
        if !holds(operation.expect(), found) {
            return Ok(Err(CommitError::Failed { key: key.clone(), found }));
        }
    }
    Ok(Ok(()))
}
use crate::store::Expect;

fn split_revision(value: &[u8]) -> Option<(Revision, &[u8])> {
    let (revision, value) = value.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*revision), value))
}

/// The key's length (4 bytes), the key, and, if there was one, the replaced revision and value.
fn encode_change(key: &str, previous: Option<(Revision, &[u8])>, row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&(key.len() as u32).to_le_bytes());
    row.extend_from_slice(key.as_bytes());
    if let Some((revision, value)) = previous {
        row.extend_from_slice(&revision.to_le_bytes());
        row.extend_from_slice(value);
    }
}

type Change<'a> = (&'a str, Option<(Revision, Bytes)>);

fn decode_change(row: &[u8]) -> Option<Change<'_>> {
    let (length, rest) = row.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let previous = match rest {
        [] => None,
        rest => split_revision(rest)
            .map(|(revision, value)| (revision, Bytes::copy_from_slice(value)))
            .map(Some)?,
    };
    Some((std::str::from_utf8(key).ok()?, previous))
}

fn store_error(path: &std::path::Path, action: &'static str, error: redb::Error) -> StoreError {
    let path = path.to_path_buf();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::Locked { path },
        redb::Error::Corrupted(detail) => StoreError::Corrupt { path, detail },
        redb::Error::RepairAborted => {
            StoreError::Corrupt { path, detail: "its repair did not finish".to_owned() }
        }
        redb::Error::UpgradeRequired(found) => {
            StoreError::Format { path, found: found.into(), known: FORMAT }
        }
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            StoreError::NoSpace { path }
        }
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt { path, detail: error.to_string() }
        }
        redb::Error::Io(error) => StoreError::Io { action, path, source: Arc::new(error) },
        other => StoreError::Io { action, path, source: Arc::new(std::io::Error::other(other)) },
    }
}
