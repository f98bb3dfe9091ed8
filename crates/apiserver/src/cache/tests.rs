//! The cache against a plain model, and under concurrent writers.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::resource;
use crate::store::memory::MemoryStore;
use crate::store::{Expect, Transaction};

fn config_maps() -> &'static Resource {
    resource::find("", "v1", "configmaps").unwrap()
}

fn object(name: &str, number: u64) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "ns"}, "data": {"n": number.to_string()}})
}

fn number(object: &Object) -> u64 {
    object.value()["data"]["n"].as_str().unwrap().parse().unwrap()
}

async fn load(store: &dyn Store, window: usize) -> (Arc<Cache>, TableId) {
    let cache = Cache::load(store, resource::table(), window).await.unwrap();
    let table = cache.table_of(config_maps()).unwrap();
    (cache, table)
}

async fn put(store: &dyn Store, name: &str, number: u64) -> Revision {
    let key = store_key(config_maps(), "ns", name);
    let value = to_stored(&object(name, number));
    store.commit(Transaction::new().put(key, value, Expect::Any)).await.unwrap()
}

async fn delete(store: &dyn Store, name: &str) -> Revision {
    let key = store_key(config_maps(), "ns", name);
    store.commit(Transaction::new().delete(key, Expect::Any)).await.unwrap()
}

fn state(page: &Page) -> BTreeMap<String, u64> {
    let name =
        |object: &Arc<Object>| object.value()["metadata"]["name"].as_str().unwrap().to_owned();
    page.objects.iter().map(|object| (name(object), number(object))).collect()
}

fn list(cache: &Cache, table: TableId, revision: Option<Revision>) -> Result<Page, Expired> {
    let query = Query { namespace: "ns", revision, ..Query::default() };
    cache.list(table, &query, &|_| true).map(|(page, _)| page)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A list at any revision in the window is what the table held then; beyond it, it says so.
    #[test]
    fn lists_at_a_revision_are_what_was_there(
        steps in proptest::collection::vec((0..5u8, any::<bool>()), 1..40),
        window in 1..50usize,
        restart in any::<bool>(),
    ) {
        runtime().block_on(async {
            let store = MemoryStore::new();
            let (mut cache, table) = load(&store, window).await;
            let mut model = BTreeMap::new();
            let mut states = vec![(0, model.clone())];
            for (count, (key, remove)) in steps.into_iter().enumerate() {
                let name = format!("m{key}");
                let revision = if remove {
                    model.remove(&name);
                    delete(&store, &name).await
                } else {
                    model.insert(name.clone(), count as u64);
                    put(&store, &name, count as u64).await
                };
                states.retain(|(known, _)| *known != revision);
                states.push((revision, model.clone()));
            }
            if restart {
                cache = load(&store, window).await.0;
            }
            let newest = states.last().unwrap().0;
            prop_assert_eq!(cache.revision(), newest);
            let mut kept = 0;
            for (revision, expected) in &states {
                match list(&cache, table, Some(*revision)) {
                    Ok(page) => {
                        prop_assert_eq!(&state(&page), expected);
                        kept += 1;
                    }
                    Err(expired) => prop_assert!(*revision < expired.oldest),
                }
            }
            prop_assert!(kept >= states.len().min(window));
            Ok(())
        })?;
    }
}

#[test]
fn pages_add_up_to_the_list() {
    runtime().block_on(async {
        let store = MemoryStore::new();
        let (cache, table) = load(&store, 100).await;
        for count in 0..10 {
            put(&store, &format!("m{count}"), count).await;
        }
        let (mut names, mut after, mut seen) = (Vec::new(), None::<Arc<str>>, 0);
        loop {
            let query =
                Query { namespace: "ns", after: after.as_deref(), limit: 3, revision: None };
            let (page, _) = cache.list(table, &query, &|_| true).unwrap();
            seen += page.objects.len();
            assert_eq!(page.remaining, 10 - seen);
            names.extend(state(&page).into_keys());
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, (0..10).map(|n| format!("m{n}")).collect::<Vec<_>>());
    });
}

/// Many writers, many watchers that start at different times: each sees every change after its
/// start once and in order, and ends with the state of the table.
#[test]
fn watchers_see_every_change_once_and_in_order() {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 300;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(
            crate::store::embedded::EmbeddedStore::open(directory.path().join("s")).unwrap(),
        );
        let (cache, table) = load(&*store, 100_000).await;
        let end = WRITERS * WRITES;
        let watch = |cache: Arc<Cache>| async move {
            let mut changed = cache.changes(table);
            let query = Query { namespace: "ns", ..Query::default() };
            let (page, mut cursor) = cache.list(table, &query, &|_| true).unwrap();
            let mut known: BTreeMap<String, Arc<Object>> = page
                .objects
                .iter()
                .map(|o| (o.value()["metadata"]["name"].as_str().unwrap().to_owned(), o.clone()))
                .collect();
            let mut last = page.revision;
            loop {
                let (changes, _) = cache.read(table, &mut cursor, 7).unwrap();
                if changes.is_empty() {
                    if last >= end {
                        break;
                    }
                    changed.changed().await.unwrap();
                    continue;
                }
                for change in changes {
                    assert_eq!(change.revision, last + 1, "a gap, a repetition or a swap");
                    last = change.revision;
                    let name = change.key.strip_prefix("ns/").unwrap().to_owned();
                    let old = match change.new {
                        Some(new) => known.insert(name, new),
                        None => known.remove(&name),
                    };
                    let (old, told) = (old.map(|o| o.revision), change.old.map(|o| o.revision));
                    assert_eq!(old, told);
                }
            }
            known.into_iter().map(|(name, o)| (name, number(&o))).collect::<BTreeMap<_, _>>()
        };
        let mut tasks = Vec::new();
        let mut watchers = vec![tokio::spawn(watch(cache.clone()))];
        for writer in 0..WRITERS {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                for count in 0..WRITES {
                    // Keys of its own and one that all share.
                    let name = match count % 4 {
                        0 => "shared".to_owned(),
                        other => format!("w{writer}-{other}"),
                    };
                    let key = store_key(config_maps(), "ns", &name);
                    let value = to_stored(&object(&name, count));
                    store.commit(Transaction::new().put(key, value, Expect::Any)).await.unwrap();
                }
            }));
        }
        for _ in 0..6 {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            watchers.push(tokio::spawn(watch(cache.clone())));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let expected = state(&list(&cache, table, None).unwrap());
        for watcher in watchers {
            assert_eq!(watcher.await.unwrap(), expected);
        }
    });
}

#[test]
fn one_that_falls_behind_is_told_so() {
    runtime().block_on(async {
        let store = MemoryStore::new();
        let (cache, table) = load(&store, 4).await;
        let mut cursor = cache.end(table);
        for count in 0..5 {
            put(&store, "a", count).await;
        }
        assert!(cache.read(table, &mut cursor, 10).is_err());
        assert!(cache.cursor(table, 0).is_err());
        let mut cursor = cache.cursor(table, 2).unwrap();
        let (changes, seen) = cache.read(table, &mut cursor, 10).unwrap();
        assert_eq!(changes.iter().map(|c| c.revision).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(seen, Some(5));
    });
}

#[test]
fn an_idle_window_is_given_back() {
    runtime().block_on(async {
        let store = MemoryStore::new();
        let (cache, table) = load(&store, 100_000).await;
        for count in 0..5000 {
            put(&store, "a", count).await;
        }
        let later = Instant::now() + std::time::Duration::from_secs(3600);
        cache.state.write().tables[table.0].trim(later);
        assert!(cache.cursor(table, 4000).is_err());
        assert!(cache.cursor(table, 4999).is_ok());
    });
}
