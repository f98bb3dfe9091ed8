//! Watch: changes as a stream of frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::read::{Filter, parse_revision};
use super::render::{self, include_object, meta_version};
use super::{Answer, Call, convert, response};
use crate::body::Body;
use crate::cache::{Change, Cursor, Object, Query, TableId};
use crate::metrics::Watching;
use crate::request::Rendering;
use crate::resource::{FieldError, Resource};
use crate::server::Server;
use crate::status::ApiError;
use crate::store::Revision;
use crate::table::IncludeObject;

/// How often a watch that allows bookmarks gets one.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// How long a watch lasts that names no time-out: this to twice this, in seconds.
const SHORTEST_SECONDS: u64 = 1800;
/// Changes read from the cache in one go.
const BATCH: usize = 256;
/// A frame is sent once it has this many bytes.
const FRAME_BYTES: usize = 32 << 10;

/// The state of one watch; [`Watcher::next`] gives its frames.
struct Watcher {
    server: Arc<Server>,
    resource: &'static Resource,
    table: TableId,
    filter: Filter,
    rendering: Rendering,
    include: IncludeObject,
    cursor: Cursor,
    changed: watch::Receiver<Revision>,
    /// Objects that existed at the start, not sent yet.
    initial: VecDeque<Arc<Object>>,
    /// The bookmark that ends the initial objects, not sent yet.
    initial_end: Option<Revision>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    ended: bool,
    _counted: Watching,
}

impl Call {
    pub(super) fn watch(&mut self) -> Answer {
        let filter = self.filter()?;
        let include = include_object(&self.options.include_object)?;
        self.check_watch_options()?;
        let options = &self.options;
        let asked = parse_revision(&options.resource_version)?;
        let cache = &self.server.cache;
        let table = self.path.table;
        let changed = cache.changes(table);
        let with_initial = match options.send_initial_events {
            Some(choice) => choice,
            None => matches!(asked, None | Some(0)),
        };
        let seconds = options
            .timeout_seconds
            .filter(|seconds| *seconds > 0)
            .unwrap_or_else(|| rand::rng().random_range(SHORTEST_SECONDS..2 * SHORTEST_SECONDS));
        let now = Instant::now();
        let mut watcher = Watcher {
            server: self.server.clone(),
            resource: self.resource(),
            table,
            rendering: self.accept.rendering,
            include,
            cursor: cache.end(table),
            changed,
            initial: VecDeque::new(),
            initial_end: None,
            bookmarks: options.allow_watch_bookmarks,
            next_bookmark: now + BOOKMARKS,
            deadline: now + Duration::from_secs(seconds),
            ended: false,
            _counted: self.server.metrics.watching(self.resource()),
            filter,
        };
        let mut refused = None;
        if with_initial {
            let query = Query { namespace: &watcher.filter.namespace, ..Query::default() };
            let matches = |object: &Object| watcher.filter.matches(object);
            // The current state always exists, so this never expires.
            if let Ok((page, cursor)) = cache.list(table, &query, &matches) {
                watcher.cursor = cursor;
                watcher.initial = page.objects.into();
                watcher.initial_end = (options.send_initial_events == Some(true)
                    && options.allow_watch_bookmarks)
                    .then_some(page.revision);
            }
        } else if let Some(asked) = asked.filter(|asked| *asked > 0) {
            let current = cache.revision();
            match cache.cursor(table, asked) {
                // From another life of this cluster: the client must begin anew.
                Ok(_) if asked > current => refused = Some(ApiError::expired(asked, current)),
                Ok(cursor) => watcher.cursor = cursor,
                Err(expired) => refused = Some(ApiError::expired(asked, expired.oldest)),
            }
        }
        let body = match refused {
            // As kube-apiserver's watch cache does: the watch starts, and its first event says no.
            Some(error) => Body::from(error_frame(&error)),
            None => Body::stream(futures::stream::unfold(watcher, |mut watcher| async move {
                watcher.next().await.map(|frame| (frame, watcher))
            })),
        };
        let media = match self.accept.rendering {
            Rendering::Object => "application/json",
            _ => "application/json;stream=watch",
        };
        Ok(response(StatusCode::OK, media, body))
    }

    fn check_watch_options(&self) -> Result<(), ApiError> {
        let options = &self.options;
        let forbidden = |field: &str, detail: &str| {
            let error = FieldError::forbidden(field, detail);
            Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[error]))
        };
        match (options.send_initial_events, &*options.resource_version_match) {
            (Some(_), "NotOlderThan") | (None, "") => Ok(()),
            (Some(_), _) => forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (None, _) => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        }
    }
}

impl Watcher {
    /// The next frame, or `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut frame = BytesMut::new();
        while let Some(object) = self.initial.pop_front() {
            self.put_object(&mut frame, "ADDED", object.bytes.clone());
            if frame.len() >= FRAME_BYTES {
                return Some(frame.freeze());
            }
        }
        if let Some(revision) = self.initial_end.take() {
            self.put_bookmark(&mut frame, revision, true);
        }
        if !frame.is_empty() {
            return Some(frame.freeze());
        }
        loop {
            match self.server.cache.read(self.table, &mut self.cursor, BATCH) {
                Ok((changes, seen)) => {
                    for change in &changes {
                        self.put_change(&mut frame, change);
                    }
                    if let Some(seen) = seen.filter(|_| self.bookmarks)
                        && Instant::now() >= self.next_bookmark
                    {
                        self.next_bookmark = Instant::now() + BOOKMARKS;
                        self.put_bookmark(&mut frame, seen, false);
                    }
                    if !frame.is_empty() {
                        return Some(frame.freeze());
                    }
                    if seen.is_none() {
                        continue;
                    }
                }
                Err(expired) => {
                    self.ended = true;
                    let seen = *self.changed.borrow();
                    let error = ApiError::expired(seen.min(expired.oldest), expired.oldest);
                    return Some(error_frame(&error));
                }
            }
            let wake =
                if self.bookmarks { self.deadline.min(self.next_bookmark) } else { self.deadline };
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= self.deadline {
                        return None;
                    }
                }
                () = self.server.stopping.cancelled() => return None,
            }
        }
    }

    fn put_change(&self, frame: &mut BytesMut, change: &Change) {
        if !self.filter.covers(&change.key) {
            return;
        }
        let matches = |object: &&Arc<Object>| self.filter.matches(object);
        let new = change.new.as_ref().filter(matches);
        let old = change.old.as_ref().filter(matches);
        match (new, old) {
            (Some(new), Some(_)) => self.put_object(frame, "MODIFIED", new.bytes.clone()),
            (Some(new), None) => self.put_object(frame, "ADDED", new.bytes.clone()),
            (None, Some(old)) => {
                self.put_object(frame, "DELETED", old.bytes_at(change.revision));
            }
            (None, None) => {}
        }
    }

    fn put_object(&self, frame: &mut BytesMut, kind: &str, json: Bytes) {
        let stored = self.server.cache.resource(self.table);
        let json = convert::to_served(self.resource, stored, json);
        let parsed = || serde_json::from_slice::<Value>(&json).unwrap_or_default();
        match self.rendering {
            Rendering::Object => put(frame, kind, &json),
            Rendering::Table { beta } => {
                let object = parsed();
                let mut table = render::table(self.resource, &[&object], self.include, beta);
                table["metadata"] =
                    json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                put(frame, kind, table.to_string().as_bytes());
            }
            Rendering::Metadata { beta } => {
                put(frame, kind, render::partial(&parsed(), beta).to_string().as_bytes());
            }
        }
    }

    fn put_bookmark(&self, frame: &mut BytesMut, revision: Revision, initial_end: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string(),
            "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.rendering {
            Rendering::Object => json!({"kind": self.resource.kind,
                "apiVersion": self.resource.api_version(), "metadata": metadata}),
            Rendering::Table { beta } => json!({"kind": "Table",
                "apiVersion": meta_version(beta), "metadata": metadata,
                "columnDefinitions": [], "rows": []}),
            Rendering::Metadata { beta } => json!({"kind": "PartialObjectMetadata",
                "apiVersion": meta_version(beta), "metadata": metadata}),
        };
        put(frame, "BOOKMARK", object.to_string().as_bytes());
    }
}

fn put(frame: &mut BytesMut, kind: &str, object: &[u8]) {
    frame.reserve(object.len() + kind.len() + 24);
    frame.put_slice(b"{\"type\":\"");
    frame.put_slice(kind.as_bytes());
    frame.put_slice(b"\",\"object\":");
    frame.put_slice(object);
    frame.put_slice(b"}\n");
}

fn error_frame(error: &ApiError) -> Bytes {
    let mut frame = BytesMut::new();
    put(&mut frame, "ERROR", &error.to_bytes());
    frame.freeze()
}
