//! One resource's objects and the window of its latest changes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Object;
use crate::store::{Event, Revision};

/// A change younger than this is dropped only when the window is full.
const FRESH: Duration = Duration::from_secs(75);
/// Changes kept whatever their age.
const KEPT: usize = 128;
/// Bytes of replaced objects that may be kept whatever their age.
const KEPT_BYTES: usize = 256 << 10;
/// Bytes of replaced objects at most.
const MOST_BYTES: usize = 64 << 20;

/// One object's change. Neither `new` nor `old` is there when an object is created and deleted.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    pub(crate) key: Arc<str>,
    pub(crate) new: Option<Arc<Object>>,
    pub(crate) old: Option<Arc<Object>>,
    at: Instant,
}

/// How many changes of a table came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(u64);

/// What was asked for is older than the window; `oldest` would still have worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) oldest: Revision,
}

/// Which part of a table to list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'a> {
    /// Only the objects of this namespace; empty for all.
    pub(crate) namespace: &'a str,
    /// Only keys after this one.
    pub(crate) after: Option<&'a str>,
    /// As of this revision instead of now.
    pub(crate) revision: Option<Revision>,
    /// No more than this; 0 for all.
    pub(crate) limit: usize,
}

/// What a list found.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) revision: Revision,
    pub(crate) objects: Vec<Arc<Object>>,
    /// The last key of the page, when objects follow it.
    pub(crate) last: Option<Arc<str>>,
    /// How many objects follow the page, matching or not.
    pub(crate) remaining: usize,
}

#[derive(Debug)]
pub(super) struct Table {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    window: VecDeque<Change>,
    /// The cursor of the window's first change.
    first: u64,
    /// Changes up to this revision are not in the window.
    dropped: Revision,
    /// Bytes of the `old` objects in the window.
    bytes: usize,
    most: usize,
}

impl Table {
    pub(super) fn new(most: usize, dropped: Revision) -> Self {
        Self {
            objects: BTreeMap::new(),
            window: VecDeque::new(),
            first: 0,
            dropped,
            bytes: 0,
            most,
        }
    }

    pub(super) fn load(&mut self, key: &str, object: Object) {
        self.objects.insert(key.into(), Arc::new(object));
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    /// Every object, sorted by key.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Object>> {
        self.objects.values().cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn apply(
        &mut self,
        key: &str,
        revision: Revision,
        new: Option<Arc<Object>>,
        at: Instant,
    ) {
        let key: Arc<str> = match self.objects.get_key_value(key) {
            Some((known, _)) => known.clone(),
            None => key.into(),
        };
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), new.clone()),
            None => self.objects.remove(&*key),
        };
        self.push(Change { revision, key, new, old, at });
    }

    /// Puts a change from before the cache was loaded into the window; objects are shared with the
    /// table and with the change before.
    pub(super) fn recall(
        &mut self,
        key: &str,
        event: &Event,
        new: Option<Arc<Object>>,
        at: Instant,
    ) {
        let same = |object: &&Arc<Object>, revision| object.revision == revision;
        let new = match self.objects.get(key).filter(|object| same(object, event.revision)) {
            Some(current) => Some(current.clone()),
            None => new,
        };
        let old = event.previous.as_ref().map(|(revision, value)| {
            let before = self.window.iter().rev().find(|change| &*change.key == key);
            match before.and_then(|change| change.new.as_ref()).filter(|o| same(o, *revision)) {
                Some(known) => known.clone(),
                None => Arc::new(Object::new(*revision, value)),
            }
        });
        self.push(Change { revision: event.revision, key: key.into(), new, old, at });
    }

    fn push(&mut self, change: Change) {
        self.bytes += change.old.as_ref().map_or(0, |old| old.bytes.len());
        let now = change.at;
        self.window.push_back(change);
        self.trim(now);
    }

    pub(super) fn trim(&mut self, now: Instant) {
        while let Some(change) = self.window.front() {
            let stale = now.duration_since(change.at) > FRESH
                && (self.window.len() > KEPT || self.bytes > KEPT_BYTES);
            if !stale && self.window.len() <= self.most && self.bytes <= MOST_BYTES {
                break;
            }
            // Changes of one revision go together: a cursor never points between them.
            let revision = change.revision;
            while self.window.front().is_some_and(|change| change.revision == revision) {
                if let Some(change) = self.window.pop_front() {
                    self.bytes -= change.old.as_ref().map_or(0, |old| old.bytes.len());
                    self.first += 1;
                }
            }
            self.dropped = revision;
        }
        if self.window.capacity() > 4 * KEPT && self.window.len() < self.window.capacity() / 4 {
            self.window.shrink_to(2 * self.window.len());
        }
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor(self.first + self.window.len() as u64)
    }

    pub(super) fn cursor(&self, revision: Revision) -> Result<Cursor, Expired> {
        if revision < self.dropped {
            return Err(Expired { oldest: self.dropped });
        }
        let seen = self.window.partition_point(|change| change.revision <= revision);
        Ok(Cursor(self.first + seen as u64))
    }

    pub(super) fn read(&self, cursor: &mut Cursor, limit: usize) -> Result<Vec<Change>, Expired> {
        let Some(from) = cursor.0.checked_sub(self.first) else {
            return Err(Expired { oldest: self.dropped });
        };
        let from = (from as usize).min(self.window.len());
        let mut to = (from + limit).min(self.window.len());
        // Never between the changes of one revision: the next read could not tell them apart.
        while to < self.window.len() && self.window[to].revision == self.window[to - 1].revision {
            to += 1;
        }
        cursor.0 = self.first + to as u64;
        Ok(self.window.range(from..to).cloned().collect())
    }

    pub(super) fn list(
        &self,
        query: &Query<'_>,
        now: Revision,
        matches: &dyn Fn(&Object) -> bool,
    ) -> Result<Page, Expired> {
        let undone = match query.revision {
            Some(revision) if revision < now => Some(self.undo(revision)?),
            _ => None,
        };
        let prefix = match query.namespace {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        let from = match query.after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(&*prefix),
        };
        let range = self.objects.range::<str, _>((from, Bound::Unbounded));
        let current = range.take_while(|(key, _)| key.starts_with(&prefix));
        let mut page = Page {
            revision: query.revision.map_or(now, |revision| revision.min(now)),
            objects: Vec::new(),
            last: None,
            remaining: 0,
        };
        match undone {
            None => page.fill(current, query.limit, matches),
            Some(undone) => {
                let mut merged: BTreeMap<&Arc<str>, &Arc<Object>> = current.collect();
                for (key, old) in &undone {
                    let after = query.after.is_none_or(|after| &***key > after);
                    match old {
                        Some(old) if after && key.starts_with(&prefix) => {
                            merged.insert(key, old);
                        }
                        _ => {
                            merged.remove(key);
                        }
                    }
                }
                page.fill(merged.into_iter(), query.limit, matches);
            }
        }
        Ok(page)
    }

    /// For each key changed after `revision`, what it held then.
    fn undo(&self, revision: Revision) -> Result<Undone<'_>, Expired> {
        if revision < self.dropped {
            return Err(Expired { oldest: self.dropped });
        }
        let seen = self.window.partition_point(|change| change.revision <= revision);
        let mut undone = Undone::new();
        for change in self.window.range(seen..).rev() {
            undone.insert(&change.key, change.old.as_ref());
        }
        Ok(undone)
    }
}

type Undone<'a> = BTreeMap<&'a Arc<str>, Option<&'a Arc<Object>>>;

impl Page {
    fn fill<'a>(
        &mut self,
        mut objects: impl Iterator<Item = (&'a Arc<str>, &'a Arc<Object>)>,
        limit: usize,
        matches: &dyn Fn(&Object) -> bool,
    ) {
        for (key, object) in objects.by_ref() {
            if !matches(object) {
                continue;
            }
            self.objects.push(object.clone());
            if self.objects.len() == limit {
                self.last = Some(key.clone());
                break;
            }
        }
        if self.last.is_some() {
            self.remaining = objects.count();
            if self.remaining == 0 {
                self.last = None;
            }
        }
    }
}
