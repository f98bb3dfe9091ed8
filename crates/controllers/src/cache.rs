//! One watch per resource, shared by every controller: a sorted, indexed, trimmed cache.
//!
//! A controller writes what it was answered back into the cache ([`Cache::assume`]), so that it
//! never decides again from a state older than its own last write: the reason why a lagging
//! watch cannot make it create a pod twice. The watch confirms an assumption with the event of
//! the same resource version, or disproves it by a later event (the versions of one resource are
//! comparable numbers since Kubernetes 1.35, KEP-5504).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Namespace and name; the namespace of cluster-wide objects is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Key {
    /// Empty for cluster-wide objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Key {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object by its metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What happened to one object: created (no `old`), changed, or deleted (no `new`).
#[derive(Debug)]
pub struct Change<'a, K> {
    /// The object as the watch knew it before.
    pub old: Option<&'a Arc<K>>,
    /// The object now.
    pub new: Option<&'a Arc<K>>,
}

impl<K> Change<'_, K> {
    /// The object after the change, or the last state of a deleted one.
    pub fn latest(&self) -> &Arc<K> {
        self.new.or(self.old).expect("a change has an object before or after")
    }

    /// Both states, for handlers that must see what an object belonged to as well.
    pub fn both(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.into_iter().chain(self.new)
    }
}

type Handler<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;
/// Gives the names of the groups that an object belongs to.
pub type Index<K> = fn(&K, &mut Vec<String>);

struct Entry<K> {
    object: Arc<K>,
    /// What the watch last said, if `object` is an assumption on top of it.
    beneath: Option<Option<Arc<K>>>,
}

impl<K> Entry<K> {
    /// The object as the watch knew it; what was assumed if it never heard of it.
    fn known(self) -> Arc<K> {
        self.beneath.flatten().unwrap_or(self.object)
    }
}

struct State<K> {
    objects: BTreeMap<Key, Entry<K>>,
    groups: HashMap<String, HashSet<Key>>,
    /// Assumptions by resource version.
    assumed: BTreeMap<u64, Key>,
    /// Objects that we removed ahead of the watch, which has yet to tell of it: as it knew them.
    removed: HashMap<Key, Arc<K>>,
    /// The highest resource version that the watch brought.
    reached: u64,
    /// While a list is under way: what it has brought so far, and the versions assumed meanwhile.
    listing: Option<(HashSet<Key>, HashSet<u64>)>,
}

/// See the module.
pub struct Cache<K> {
    state: RwLock<State<K>>,
    handlers: RwLock<Vec<Handler<K>>>,
    index: Index<K>,
    trim: fn(&mut K),
    synced: watch::Sender<bool>,
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("objects", &self.state.read().objects.len())
            .finish_non_exhaustive()
    }
}

/// An object's resource version as a number.
pub(crate) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

impl<K: Resource + 'static> Cache<K> {
    /// An empty cache. `trim` drops what no controller reads before an object is kept.
    pub fn new(trim: fn(&mut K), index: Index<K>) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State {
                objects: BTreeMap::new(),
                groups: HashMap::new(),
                assumed: BTreeMap::new(),
                removed: HashMap::new(),
                reached: 0,
                listing: None,
            }),
            handlers: RwLock::new(Vec::new()),
            index,
            trim,
            synced: watch::Sender::new(false),
        })
    }

    /// Calls `handler` for every change that the watch brings. Handlers must be quick: they put keys into queues.
    pub fn on_change(&self, handler: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        self.handlers.write().push(Box::new(handler));
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&Key::new(namespace, name))
    }

    /// One object by its key.
    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.state.read().objects.get(key).map(|e| e.object.clone())
    }

    /// All objects, sorted by key.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().map(|e| e.object.clone()).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects of one namespace, sorted by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        state
            .objects
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, e)| e.object.clone())
            .collect()
    }

    /// The objects of one group of the index, sorted by key.
    pub fn group(&self, name: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        let Some(keys) = state.groups.get(name) else { return Vec::new() };
        let mut keys: Vec<&Key> = keys.iter().collect();
        keys.sort();
        keys.into_iter()
            .filter_map(|key| state.objects.get(key))
            .map(|e| e.object.clone())
            .collect()
    }

    /// The highest resource version that the watch brought, that of deletions included.
    pub fn reached(&self) -> u64 {
        self.state.read().reached
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits for the first complete list.
    pub async fn wait_synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|s| *s).await;
    }

    /// Takes an object from the answer to a write of ours, ahead of the watch.
    pub fn assume(&self, mut object: K) {
        (self.trim)(&mut object);
        let key = Key::of(object.meta());
        let revision = version(object.meta());
        let mut state = self.state.write();
        let beneath = match state.objects.get(&key) {
            // The watch was faster.
            Some(entry) if version(entry.object.meta()) >= revision => return,
            Some(Entry { beneath: Some(beneath), .. }) => Some(beneath.clone()),
            Some(entry) => Some(Some(entry.object.clone())),
            None => Some(None),
        };
        state.assumed.insert(revision, key.clone());
        if let Some((_, meanwhile)) = &mut state.listing {
            meanwhile.insert(revision);
        }
        state.put(self.index, key, Entry { object: Arc::new(object), beneath });
    }

    /// Takes a deletion from the answer to a write of ours, ahead of the watch.
    pub fn assume_removed(&self, key: &Key, uid: &str) {
        let mut state = self.state.write();
        if state.objects.get(key).is_some_and(|e| e.object.meta().uid.as_deref() == Some(uid))
            && let Some(entry) = state.take(self.index, key)
            && let Some(known) = entry.beneath.unwrap_or(Some(entry.object))
        {
            state.removed.insert(key.clone(), known);
        }
    }

    fn notify(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        if old.is_none() && new.is_none() {
            return;
        }
        let change = Change { old, new };
        for handler in self.handlers.read().iter() {
            handler(&change);
        }
    }

    /// Applies one event of the watch.
    pub fn handle(&self, event: watcher::Event<K>) {
        match event {
            watcher::Event::Init => self.state.write().listing = Some(Default::default()),
            watcher::Event::InitApply(object) => {
                let key = Key::of(object.meta());
                if let Some((seen, _)) = &mut self.state.write().listing {
                    seen.insert(key);
                }
                self.apply(object, false);
            }
            watcher::Event::InitDone => {
                self.finish_list();
                self.synced.send_replace(true);
            }
            watcher::Event::Apply(object) => self.apply(object, true),
            watcher::Event::Delete(object) => self.delete(object),
        }
    }

    fn apply(&self, mut object: K, ordered: bool) {
        (self.trim)(&mut object);
        let key = Key::of(object.meta());
        let revision = version(object.meta());
        let object = Arc::new(object);
        let mut state = self.state.write();
        state.reached = state.reached.max(revision);
        let ghosts = if ordered { state.disproved(self.index, revision, &key) } else { Vec::new() };
        let (old, new) = match state.objects.get_mut(&key) {
            Some(entry) if version(entry.object.meta()) > revision => {
                // An assumption is ahead of the watch: remember what the watch says, keep what we know.
                let old = match &mut entry.beneath {
                    Some(beneath) => beneath.replace(object),
                    None => return,
                };
                let new = entry.object.clone();
                (old.or_else(|| state.removed.remove(&key)), new)
            }
            _ => {
                let entry = Entry { object: object.clone(), beneath: None };
                let old = state.put(self.index, key.clone(), entry);
                state.assumed.remove(&revision);
                let old = old.and_then(|e| e.beneath.unwrap_or(Some(e.object)));
                (old.or_else(|| state.removed.remove(&key)), object)
            }
        };
        drop(state);
        for ghost in ghosts {
            self.notify(Some(&ghost), None);
        }
        // A new list repeats what is known.
        if !ordered
            && old
                .as_ref()
                .is_some_and(|o| version(o.meta()) == revision && o.meta().uid == new.meta().uid)
        {
            return;
        }
        match &old {
            // The name was given to another object while nobody watched.
            Some(before) if before.meta().uid != new.meta().uid => {
                self.notify(Some(before), None);
                self.notify(None, Some(&new));
            }
            old => self.notify(old.as_ref(), Some(&new)),
        }
    }

    fn delete(&self, object: K) {
        let key = Key::of(object.meta());
        let revision = version(object.meta());
        let mut state = self.state.write();
        state.reached = state.reached.max(revision);
        let ghosts = state.disproved(self.index, revision, &key);
        let same =
            state.objects.get(&key).is_some_and(|e| e.object.meta().uid == object.meta().uid);
        let mut old = same.then(|| state.take(self.index, &key)).flatten().map(Entry::known);
        old = old.or_else(|| state.removed.remove(&key));
        drop(state);
        if old.is_none() {
            // Nobody knew of it.
            let mut object = object;
            (self.trim)(&mut object);
            old = Some(Arc::new(object));
        }
        for ghost in ghosts {
            self.notify(Some(&ghost), None);
        }
        self.notify(old.as_ref(), None);
    }

    fn finish_list(&self) {
        let mut state = self.state.write();
        let Some((seen, meanwhile)) = state.listing.take() else { return };
        let gone: Vec<Key> = state
            .objects
            .iter()
            .filter(|(key, entry)| {
                let fresh =
                    entry.beneath.is_some() && meanwhile.contains(&version(entry.object.meta()));
                !seen.contains(*key) && !fresh
            })
            .map(|(key, _)| key.clone())
            .collect();
        let mut gone: Vec<Arc<K>> =
            gone.iter().filter_map(|key| state.take(self.index, key)).map(Entry::known).collect();
        let told: Vec<Key> = state.removed.keys().filter(|k| !seen.contains(*k)).cloned().collect();
        gone.extend(told.iter().filter_map(|key| state.removed.remove(key)));
        state.assumed.retain(|revision, _| meanwhile.contains(revision));
        drop(state);
        for object in gone {
            self.notify(Some(&object), None);
        }
    }

    /// Follows the watch until `shutdown`.
    pub async fn run(
        self: Arc<Self>,
        api: Api<K>,
        config: watcher::Config,
        shutdown: CancellationToken,
    ) where
        K: Clone + DeserializeOwned + fmt::Debug + Send + Sync,
    {
        self.follow(watcher(api, config), shutdown).await;
    }

    /// Follows a stream of watch events until `shutdown`; an interrupted watch is taken up again.
    pub async fn follow<S>(self: Arc<Self>, events: S, shutdown: CancellationToken)
    where
        S: futures::Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
    {
        let mut events = std::pin::pin!(events.backoff(Reconnect::default()));
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => self.handle(event),
                Some(Err(error)) => {
                    tracing::debug!(resource = std::any::type_name::<K>(), %error, "watch interrupted, taking it up again");
                }
                None => return,
            }
        }
    }
}

/// Pauses before an interrupted watch is taken up again: 20 ms at first, doubling to 3 s.
#[derive(Debug, Default)]
struct Reconnect(u32);

impl Iterator for Reconnect {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(20) * 2u32.pow(self.0.min(8));
        self.0 += 1;
        Some(pause.min(Duration::from_secs(3)))
    }
}

impl Backoff for Reconnect {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

impl<K: Resource> State<K> {
    fn put(&mut self, index: Index<K>, key: Key, entry: Entry<K>) -> Option<Entry<K>> {
        let mut groups = Vec::new();
        index(&entry.object, &mut groups);
        let old = self.objects.insert(key.clone(), entry);
        if let Some(old) = &old {
            self.leave(index, &key, &old.object, &groups);
        }
        for group in groups {
            self.groups.entry(group).or_default().insert(key.clone());
        }
        old
    }

    fn take(&mut self, index: Index<K>, key: &Key) -> Option<Entry<K>> {
        let old = self.objects.remove(key)?;
        self.leave(index, key, &old.object, &[]);
        Some(old)
    }

    fn leave(&mut self, index: Index<K>, key: &Key, object: &K, stays: &[String]) {
        let mut groups = Vec::new();
        index(object, &mut groups);
        for group in groups.iter().filter(|g| !stays.contains(g)) {
            if let Some(keys) = self.groups.get_mut(group) {
                keys.remove(key);
                if keys.is_empty() {
                    self.groups.remove(group);
                }
            }
        }
    }

    /// Drops assumptions that the watch has passed without confirming: those objects were deleted meanwhile.
    fn disproved(&mut self, index: Index<K>, revision: u64, arriving: &Key) -> Vec<Arc<K>> {
        let mut ghosts = Vec::new();
        while let Some(first) = self.assumed.first_entry().filter(|e| *e.key() < revision) {
            let at = *first.key();
            let key = first.remove();
            let stale = key != *arriving
                && self
                    .objects
                    .get(&key)
                    .is_some_and(|e| e.beneath.is_some() && version(e.object.meta()) == at);
            if stale && let Some(entry) = self.take(index, &key) {
                ghosts.push(entry.known());
            }
        }
        ghosts
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
