//! The watch cache: everything the server serves, in memory, fed by the store.
//!
//! Each resource has a table of its current objects and a window of its latest changes. Watches
//! do not own queues: each keeps a position in the window and reads on when it is woken, so a slow
//! client costs no memory and delays no writer; one that falls out of the window is told that its
//! position expired. A list at an earlier revision is the current table with the window undone.
//!
//! **Invariant**: under the lock, tables, windows and [`Cache::revision`] are those of one revision
//! of the store; a transaction is seen whole or not at all.

mod object;
mod table;
mod taken;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::watch;

pub(crate) use self::object::{Object, splice_revision, to_stored};
use self::table::Table;
pub(crate) use self::table::{Change, Cursor, Expired, Page, Query};
use self::taken::Taken;
use crate::resource::{ClaimKey, Resource, Space};
use crate::store::{Event, Record, Revision, Sink, Store, StoreError, WatchError};

/// The prefix of all objects in the store.
const OBJECTS: &str = "/registry/";
/// The prefix of node ports in use; see [`crate::resource::ClaimKey::NodePort`].
const NODE_PORTS: &str = "/claims/nodeports/";
/// Changes from before a start that the windows begin with.
const HISTORY_REVISIONS: u64 = 1024;

/// Which table, as its position in [`crate::resource::table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TableId(pub(crate) usize);

pub(crate) struct Cache {
    kinds: Vec<Kind>,
    /// The table of `IPAddress` objects.
    addresses: Option<TableId>,
    by_name: HashMap<String, TableId>,
    state: RwLock<State>,
}

struct Kind {
    resource: &'static Resource,
    /// The revision of the table's latest change.
    changed: watch::Sender<Revision>,
}

struct State {
    revision: Revision,
    tables: Vec<Table>,
    /// Node port to its owner and the revision of the claim.
    node_ports: HashMap<u16, (Revision, Arc<str>)>,
    /// What is claimed, by [`Space`].
    taken: [Taken; 3],
}

/// Everything that claims and their owners consist of, as of one revision.
pub(crate) struct ClaimsView {
    pub(crate) services: Vec<Arc<Object>>,
    pub(crate) addresses: Vec<Arc<Object>>,
    pub(crate) node_ports: Vec<(u16, Revision, Arc<str>)>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

/// The store's key of an object; `namespace` is empty for cluster-scoped resources.
pub(crate) fn store_key(resource: &Resource, namespace: &str, name: &str) -> Arc<str> {
    let group = if resource.group.is_empty() { "core" } else { resource.group };
    let plural = resource.plural;
    if namespace.is_empty() {
        format!("{OBJECTS}{group}/{plural}/{name}").into()
    } else {
        format!("{OBJECTS}{group}/{plural}/{namespace}/{name}").into()
    }
}

pub(crate) fn node_port_key(port: u16) -> Arc<str> {
    format!("{NODE_PORTS}{port}").into()
}

/// An object's key in its table: `namespace/name`, or `name` alone.
pub(crate) fn object_key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

enum Place<'a> {
    Object(TableId, &'a str),
    NodePort(u16),
    Unknown,
}

impl Cache {
    /// Reads the store and follows it from there on. `window` is the most changes kept a resource.
    pub(crate) async fn load(
        store: &dyn Store,
        resources: &'static [Resource],
        window: usize,
    ) -> Result<Arc<Self>, StoreError> {
        let listing = store.list("/").await?;
        let after = listing.revision.saturating_sub(HISTORY_REVISIONS).max(store.compacted());
        let cache = Arc::new(Self::new(resources, window, listing.revision, after));
        cache.fill(listing.records);
        let sink = Follower { cache: cache.clone() };
        match store.watch(after, Box::new(sink)).await {
            Ok(()) => Ok(cache),
            Err(WatchError::Store(error)) => Err(error),
            Err(WatchError::Compacted { .. }) => Err(StoreError::Closed),
        }
    }

    fn new(
        resources: &'static [Resource],
        window: usize,
        revision: Revision,
        after: Revision,
    ) -> Self {
        let kind = |resource| Kind { resource, changed: watch::Sender::new(revision) };
        let group = |resource: &Resource| match resource.group {
            "" => "core",
            group => group,
        };
        let name = |(at, resource): (usize, &Resource)| {
            (format!("{}/{}", group(resource), resource.plural), TableId(at))
        };
        let tables = resources.iter().map(|_| Table::new(window, after)).collect();
        let by_name: HashMap<_, _> = resources.iter().enumerate().map(name).collect();
        Self {
            kinds: resources.iter().map(kind).collect(),
            addresses: by_name.get("networking.k8s.io/ipaddresses").copied(),
            by_name,
            state: RwLock::new(State {
                revision,
                tables,
                node_ports: HashMap::new(),
                taken: Default::default(),
            }),
        }
    }

    fn fill(&self, records: Vec<Record>) {
        let mut state = self.state.write();
        for record in records {
            match self.place(&record.key) {
                Place::Object(table, key) => {
                    let object = Object::new(record.revision, &record.value);
                    state.tables[table.0].load(key, object);
                    if Some(table) == self.addresses {
                        state.mark(address(key), true);
                    }
                }
                Place::NodePort(port) => {
                    let owner = String::from_utf8_lossy(&record.value).into();
                    state.node_ports.insert(port, (record.revision, owner));
                    state.mark(Some(ClaimKey::NodePort(port)), true);
                }
                Place::Unknown => tracing::warn!(key = %record.key, "unknown key in the store"),
            }
        }
    }

    fn place<'a>(&self, key: &'a str) -> Place<'a> {
        if let Some(port) = key.strip_prefix(NODE_PORTS) {
            return port.parse().map_or(Place::Unknown, Place::NodePort);
        }
        let Some(rest) = key.strip_prefix(OBJECTS) else { return Place::Unknown };
        let mut slashes = rest.match_indices('/').map(|(at, _)| at);
        let Some(end) = slashes.nth(1) else { return Place::Unknown };
        match self.by_name.get(&rest[..end]) {
            Some(table) => Place::Object(*table, &rest[end + 1..]),
            None => Place::Unknown,
        }
    }

    pub(crate) fn resource(&self, table: TableId) -> &'static Resource {
        self.kinds[table.0].resource
    }

    /// The row of that group and plural, and the table that its objects are in.
    pub(crate) fn find(&self, group: &str, plural: &str) -> Option<(&'static Resource, TableId)> {
        let row = |group: &str, plural: &str| {
            let group = if group.is_empty() { "core" } else { group };
            self.by_name.get(&format!("{group}/{plural}")).copied()
        };
        let own = row(group, plural)?;
        let resource = self.resource(own);
        match resource.stored_as {
            None => Some((resource, own)),
            Some((group, plural)) => Some((resource, row(group, plural)?)),
        }
    }

    /// The table of a resource that is known to exist.
    pub(crate) fn table_of(&self, resource: &Resource) -> Option<TableId> {
        self.find(resource.group, resource.plural).map(|(_, table)| table)
    }

    /// The store's revision that the cache has reached.
    pub(crate) fn revision(&self) -> Revision {
        self.state.read().revision
    }

    pub(crate) fn get(&self, table: TableId, key: &str) -> Option<Arc<Object>> {
        self.state.read().tables[table.0].get(key)
    }

    pub(crate) fn node_port_owner(&self, port: u16) -> Option<(Revision, Arc<str>)> {
        self.state.read().node_ports.get(&port).cloned()
    }

    /// The least number of a space that nobody has claimed and that is not below `from`.
    pub(crate) fn next_free(&self, space: Space, from: u128) -> Option<u128> {
        self.state.read().taken[space as usize].next_free(from)
    }

    /// All Services and all claims, each sorted by its key.
    pub(crate) fn claims(&self, services: TableId, addresses: TableId) -> ClaimsView {
        let state = self.state.read();
        let node_ports = state.node_ports.iter();
        let mut node_ports: Vec<_> =
            node_ports.map(|(port, (revision, owner))| (*port, *revision, owner.clone())).collect();
        node_ports.sort_unstable();
        ClaimsView {
            services: state.tables[services.0].all().collect(),
            addresses: state.tables[addresses.0].all().collect(),
            node_ports,
        }
    }

    /// The revision of a table's latest change, or that of the start.
    pub(crate) fn changed(&self, table: TableId) -> Revision {
        *self.kinds[table.0].changed.borrow()
    }

    /// A page of a list, and the cursor from which a watch continues it without gap.
    pub(crate) fn list(
        &self,
        table: TableId,
        query: &Query<'_>,
        matches: &dyn Fn(&Object) -> bool,
    ) -> Result<(Page, Cursor), Expired> {
        let state = self.state.read();
        let table = &state.tables[table.0];
        let page = table.list(query, state.revision, matches)?;
        Ok((page, table.end()))
    }

    /// How many objects each table holds.
    pub(crate) fn counts(&self) -> Vec<(&'static Resource, usize)> {
        let state = self.state.read();
        let counts = state.tables.iter().map(Table::len);
        let all = self.kinds.iter().map(|kind| kind.resource).zip(counts);
        all.filter(|(resource, _)| resource.is_stored() && resource.stored_as.is_none()).collect()
    }

    /// The position in a table's window after all changes up to `revision`.
    pub(crate) fn cursor(&self, table: TableId, revision: Revision) -> Result<Cursor, Expired> {
        self.state.read().tables[table.0].cursor(revision)
    }

    /// The position after all changes so far.
    pub(crate) fn end(&self, table: TableId) -> Cursor {
        self.state.read().tables[table.0].end()
    }

    /// Wakes when a table changes.
    pub(crate) fn changes(&self, table: TableId) -> watch::Receiver<Revision> {
        self.kinds[table.0].changed.subscribe()
    }

    /// Up to `limit` changes after the cursor, which moves on, and the revision up to which the
    /// cursor has then seen everything, when nothing is left.
    pub(crate) fn read(
        &self,
        table: TableId,
        cursor: &mut Cursor,
        limit: usize,
    ) -> Result<(Vec<Change>, Option<Revision>), Expired> {
        let state = self.state.read();
        let changes = state.tables[table.0].read(cursor, limit)?;
        let done = (*cursor == state.tables[table.0].end()).then_some(state.revision);
        Ok((changes, done))
    }

    /// Drops old changes; called now and then, so that an idle server gives memory back.
    pub(crate) fn trim(&self) {
        let now = Instant::now();
        let mut state = self.state.write();
        for table in &mut state.tables {
            table.trim(now);
        }
    }

    fn apply(&self, events: &[Event]) {
        // Parsing happens before the lock is taken.
        let mut prepared = Vec::with_capacity(events.len());
        for event in events {
            let place = self.place(&event.key);
            let object = match (&place, &event.value) {
                (Place::Object(..), Some(value)) => {
                    Some(Arc::new(Object::new(event.revision, value)))
                }
                _ => None,
            };
            prepared.push((place, object));
        }
        let now = Instant::now();
        let mut touched: Vec<(TableId, Revision)> = Vec::new();
        {
            let mut state = self.state.write();
            for (event, (place, object)) in events.iter().zip(prepared) {
                match place {
                    Place::Object(table, key) => {
                        if event.revision <= state.revision {
                            state.tables[table.0].recall(key, event, object, now);
                            continue;
                        }
                        if Some(table) == self.addresses {
                            state.mark(address(key), object.is_some());
                        }
                        state.tables[table.0].apply(key, event.revision, object, now);
                        match touched.iter_mut().find(|(known, _)| *known == table) {
                            Some((_, revision)) => *revision = event.revision,
                            None => touched.push((table, event.revision)),
                        }
                    }
                    Place::NodePort(_) if event.revision <= state.revision => {}
                    Place::NodePort(port) => {
                        state.mark(Some(ClaimKey::NodePort(port)), event.value.is_some());
                        match &event.value {
                            Some(owner) => {
                                let owner = String::from_utf8_lossy(owner).into();
                                state.node_ports.insert(port, (event.revision, owner));
                            }
                            None => {
                                state.node_ports.remove(&port);
                            }
                        }
                    }
                    Place::Unknown => {}
                }
            }
            if let Some(last) = events.last() {
                state.revision = state.revision.max(last.revision);
            }
        }
        for (table, revision) in touched {
            self.kinds[table.0].changed.send_replace(revision);
        }
    }
}

impl State {
    /// Keeps [`State::taken`] what the claims are.
    fn mark(&mut self, key: Option<ClaimKey>, claimed: bool) {
        let Some(key) = key else { return };
        let taken = &mut self.taken[key.space() as usize];
        match claimed {
            true => taken.insert(key.number()),
            false => taken.remove(key.number()),
        }
    }
}

/// The address that an `IPAddress` object's name stands for.
fn address(name: &str) -> Option<ClaimKey> {
    name.parse().ok().map(ClaimKey::ClusterIp)
}

/// Carries the store's events into the cache.
struct Follower {
    cache: Arc<Cache>,
}

impl Sink for Follower {
    fn apply(&mut self, events: &[Event]) {
        self.cache.apply(events);
    }
}
