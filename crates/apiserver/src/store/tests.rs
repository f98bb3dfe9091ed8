//! What every store must do, and what only the one on disk must survive.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::embedded::EmbeddedStore;
use super::memory::MemoryStore;
use super::*;

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, text: &str, expect: Expect) -> Transaction {
    Transaction::new().put(key, value(text), expect)
}

/// Collects what a watch hears.
fn listener() -> (Arc<Mutex<Vec<Event>>>, Box<dyn Sink>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    (heard, Box::new(move |events: &[Event]| sink.lock().extend_from_slice(events)))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn preconditions(store: &dyn Store) {
    let first = store.commit(put("/a", "1", Expect::Absent)).await.unwrap();
    let again = store.commit(put("/a", "2", Expect::Absent)).await;
    assert!(matches!(again, Err(CommitError::Failed { found: Some(r), .. }) if r == first));
    let second = store.commit(put("/a", "2", Expect::Revision(first))).await.unwrap();
    assert!(second > first);
    let stale = store.commit(put("/a", "3", Expect::Revision(first))).await;
    assert!(matches!(stale, Err(CommitError::Failed { .. })));
    // All or nothing.
    let both = put("/b", "1", Expect::Absent).delete("/a", Expect::Revision(first));
    assert!(store.commit(both).await.is_err());
    assert_eq!(store.get("/b").await.unwrap(), None);
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, value("2"));
    let both = put("/b", "1", Expect::Absent)
        .delete("/a", Expect::Revision(second))
        .check("/c", Expect::Absent);
    let third = store.commit(both).await.unwrap();
    assert_eq!(store.revision(), third);
    let listing = store.list("/").await.unwrap();
    assert_eq!(listing.records.len(), 1);
    assert_eq!(listing.records[0].revision, third);
    // Nothing to do is no revision.
    let nothing = Transaction::new().delete("/zz", Expect::Any).check("/b", Expect::Any);
    assert_eq!(store.commit(nothing).await.unwrap(), third);
}

async fn watches(store: &dyn Store) {
    let one = store.commit(put("/w/a", "1", Expect::Absent)).await.unwrap();
    let two = store.commit(put("/w/a", "2", Expect::Any)).await.unwrap();
    let (heard, sink) = listener();
    store.watch(one, sink).await.unwrap();
    let gone = store.commit(Transaction::new().delete("/w/a", Expect::Any)).await.unwrap();
    let heard = heard.lock().clone();
    let key: Arc<str> = "/w/a".into();
    assert_eq!(
        heard,
        [
            Event {
                revision: two,
                key: key.clone(),
                value: Some(value("2")),
                previous: Some((one, value("1"))),
            },
            Event { revision: gone, key, value: None, previous: Some((two, value("2"))) },
        ]
    );
    store.compact(two).await.unwrap();
    let (_, sink) = listener();
    assert!(matches!(store.watch(one, sink).await, Err(WatchError::Compacted { .. })));
    let (heard, sink) = listener();
    store.watch(two, sink).await.unwrap();
    assert_eq!(heard.lock().len(), 1);
}

#[test]
fn in_memory() {
    runtime().block_on(async {
        preconditions(&MemoryStore::new()).await;
        watches(&MemoryStore::new()).await;
    });
}

#[test]
fn on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| EmbeddedStore::open(directory.path().join(name)).unwrap();
    runtime().block_on(async {
        preconditions(&open("a")).await;
        watches(&open("b")).await;
        // After a restart the revision goes on, and old changes can still be watched.
        let store = open("b");
        let last = store.revision();
        let (heard, sink) = listener();
        store.watch(store.compacted(), sink).await.unwrap();
        assert_eq!(heard.lock().len(), 1);
        assert!(store.commit(put("/n", "", Expect::Any)).await.unwrap() > last);
    });
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let _held = EmbeddedStore::open(&path).unwrap();
    assert!(matches!(EmbeddedStore::open(&path), Err(StoreError::Locked { .. })));
}

#[test]
fn a_file_that_is_no_store_is_told_to_be_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    std::fs::write(&path, vec![7; 64 * 1024]).unwrap();
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => (0..6u8).prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Applying the events in order to the state at the start of a watch gives the state at the end,
/// and every event says truly what it replaced.
fn replay(events: &[Event], from: Revision) -> BTreeMap<String, Bytes> {
    let mut state: BTreeMap<String, (Revision, Bytes)> = BTreeMap::new();
    let mut last = from;
    for event in events {
        assert!(event.revision > last, "out of order");
        last = event.revision;
        let key = event.key.to_string();
        let previous = match &event.value {
            Some(value) => state.insert(key, (event.revision, value.clone())),
            None => state.remove(&key),
        };
        if from == 0 {
            assert_eq!(previous, event.previous);
        }
    }
    state.into_iter().map(|(key, (_, value))| (key, value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn history_leads_from_nothing_to_now(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        runtime().block_on(async {
            let store = EmbeddedStore::open(&path).unwrap();
            let (live, sink) = listener();
            store.watch(0, sink).await.unwrap();
            for step in &steps {
                let transaction = match step {
                    Step::Put(key, byte) => put(&format!("/{key}"), &byte.to_string(), Expect::Any),
                    Step::Delete(key) => Transaction::new().delete(format!("/{key}"), Expect::Any),
                };
                store.commit(transaction).await.unwrap();
            }
            drop(store);
            let store = EmbeddedStore::open(&path).unwrap();
            let (old, sink) = listener();
            store.watch(0, sink).await.unwrap();
            let (live, old) = (live.lock().clone(), old.lock().clone());
            assert_eq!(live, old);
            let records = store.list("/").await.unwrap().records;
            let state: BTreeMap<String, Bytes> =
                records.into_iter().map(|r| (r.key.to_string(), r.value)).collect();
            assert_eq!(replay(&old, 0), state);
        });
    }
}

/// A disk whose power can fail: what was not synced may be lost, in part, and writes may be torn.
#[derive(Clone, Debug, Default)]
struct Disk {
    inner: Arc<Mutex<DiskState>>,
}

#[derive(Debug, Default)]
struct DiskState {
    /// What reads see.
    written: Vec<u8>,
    /// What is certain to survive.
    synced: Vec<u8>,
    /// Writes since the last sync, in order: offset and bytes, or a new length.
    pending: Vec<(u64, Option<Vec<u8>>)>,
    /// Syncs left until the power fails; `None` for never.
    fails_after: Option<u32>,
}

impl Disk {
    /// The disk after power came back: of what was not synced, what `choose` says.
    fn after_power_loss(&self, mut choose: impl FnMut() -> u8) -> Self {
        let inner = self.inner.lock();
        let mut bytes = inner.synced.clone();
        for (offset, data) in &inner.pending {
            match data {
                None => {
                    if choose().is_multiple_of(2) {
                        bytes.resize(usize::try_from(*offset).unwrap(), 0);
                    }
                }
                Some(data) => {
                    let at = usize::try_from(*offset).unwrap();
                    // Sectors of 512 bytes are written whole, in any order.
                    for (sector, chunk) in data.chunks(512).enumerate() {
                        if choose().is_multiple_of(2) {
                            continue;
                        }
                        let at = at + sector * 512;
                        if bytes.len() < at + chunk.len() {
                            bytes.resize(at + chunk.len(), 0);
                        }
                        bytes[at..at + chunk.len()].copy_from_slice(chunk);
                    }
                }
            }
        }
        let state = DiskState { written: bytes.clone(), synced: bytes, ..DiskState::default() };
        Self { inner: Arc::new(Mutex::new(state)) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.lock().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner.lock();
        let at = usize::try_from(offset).unwrap();
        let found = inner.written.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.written.resize(usize::try_from(len).unwrap(), 0);
        inner.pending.push((len, None));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if let Some(left) = &mut inner.fails_after {
            if *left == 0 {
                return Err(io::Error::other("the power is out"));
            }
            *left -= 1;
        }
        inner.synced = inner.written.clone();
        inner.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let at = usize::try_from(offset).unwrap();
        if inner.written.len() < at + data.len() {
            inner.written.resize(at + data.len(), 0);
        }
        inner.written[at..at + data.len()].copy_from_slice(data);
        inner.pending.push((offset, Some(data.to_vec())));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whenever the power fails, what was acknowledged is there afterwards, what else is there is
    /// the one transaction that was under way, and the revision never goes back.
    #[test]
    fn power_loss_takes_nothing_that_was_acknowledged(
        syncs in 2..40u32,
        seed in any::<u64>(),
        size in 1..3000usize,
    ) {
        let disk = Disk::default();
        let mut acknowledged: BTreeMap<String, (Revision, Bytes)> = BTreeMap::new();
        let mut attempted = None;
        runtime().block_on(async {
            let store = EmbeddedStore::open_backend(disk.clone()).unwrap();
            disk.inner.lock().fails_after = Some(syncs);
            for count in 0..200usize {
                let key = format!("/{}", count % 7);
                let value = Bytes::from(vec![u8::try_from(count).unwrap(); size]);
                let transaction = Transaction::new().put(&*key, value.clone(), Expect::Any);
                match store.commit(transaction).await {
                    Ok(revision) => acknowledged.insert(key, (revision, value)),
                    Err(_) => {
                        attempted = Some((key, value));
                        break;
                    }
                };
            }
        });
        let mut random = seed | 1;
        let after = disk.after_power_loss(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[3]
        });
        runtime().block_on(async {
            let store = EmbeddedStore::open_backend(after).unwrap();
            let last = acknowledged.values().map(|(revision, _)| *revision).max().unwrap_or(0);
            assert!(store.revision() >= last && store.revision() <= last + 1);
            for (key, (revision, value)) in &acknowledged {
                let found = store.get(key).await.unwrap().expect("acknowledged, but lost");
                let under_way = attempted.as_ref() == Some(&(key.clone(), found.value.clone()));
                assert!(under_way || (found.revision, &found.value) == (*revision, value));
            }
            let next = store.commit(put("/next", "", Expect::Any)).await.unwrap();
            assert!(next > last);
        });
    }
}
