//! Events, recorded with the aggregation of Kubernetes' recorder: a repeated event counts up, many
//! similar ones are combined, and one object cannot flood the API.

use std::{collections::HashMap, time::Duration};

use jiff::{Timestamp, ToSpan};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;

/// What is worth a warning, and what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing to worry about.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that happened to an object.
#[derive(Clone, Debug)]
pub struct Happening {
    /// The object.
    pub about: ObjectReference,
    /// Normal or warning.
    pub kind: Kind,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The component that says so.
    pub component: &'static str,
}

/// A reference to an object, for events.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// How long equal and similar events are taken together.
const WINDOW_MINUTES: i64 = 10;
/// Events of one reason about one object with different messages, beyond which they are combined.
const MAX_SIMILAR: usize = 10;
/// Events that one object may cause at once; one more every five minutes.
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
/// Remembered objects and events; the oldest are forgotten first.
const REMEMBERED: usize = 1024;

/// What to write for a happening.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new Event.
    Create(Box<Event>),
    /// Another occurrence of the Event `namespace`/`name`.
    Count {
        /// The Event's namespace.
        namespace: String,
        /// The Event's name.
        name: String,
        /// Occurrences so far.
        count: i32,
        /// The latest words.
        message: String,
        /// When it happened last.
        at: Timestamp,
    },
}

struct Seen {
    namespace: String,
    name: String,
    count: i32,
    last: Timestamp,
}

#[derive(Default)]
struct Similar {
    messages: Vec<String>,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    last: Timestamp,
}

/// Decides what to write; remembers what was written.
#[derive(Default)]
pub struct Correlator {
    seen: HashMap<(String, &'static str, String), Seen>,
    similar: HashMap<(String, &'static str), Similar>,
    buckets: HashMap<String, Bucket>,
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}

fn forget<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    last: impl Fn(&V) -> Timestamp,
) {
    if map.len() > REMEMBERED {
        let mut ages: Vec<(Timestamp, K)> = map.iter().map(|(k, v)| (last(v), k.clone())).collect();
        ages.sort_by_key(|(at, _)| *at);
        for (_, key) in ages.into_iter().take(REMEMBERED / 4) {
            map.remove(&key);
        }
    }
}

impl Correlator {
    /// What to write for this happening at this time, if anything.
    pub fn observe(&mut self, happening: &Happening, now: Timestamp) -> Option<Write> {
        let about = &happening.about;
        let object = format!(
            "{}/{}/{}/{}",
            happening.component,
            about.kind.as_deref().unwrap_or(""),
            about.uid.as_deref().unwrap_or(""),
            about.name.as_deref().unwrap_or("")
        );
        let bucket =
            self.buckets.entry(object.clone()).or_insert(Bucket { tokens: BURST, last: now });
        let passed = now.duration_since(bucket.last).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed * REFILL_PER_SECOND).min(BURST);
        bucket.last = now;
        if bucket.tokens < 1.0 {
            return None;
        }
        bucket.tokens -= 1.0;
        forget(&mut self.buckets, |b| b.last);

        let window = now - WINDOW_MINUTES.minutes();
        let similar = self.similar.entry((object.clone(), happening.reason)).or_default();
        if similar.last < window {
            similar.messages.clear();
        }
        similar.last = now;
        if !similar.messages.contains(&happening.message) && similar.messages.len() <= MAX_SIMILAR {
            similar.messages.push(happening.message.clone());
        }
        let combined = similar.messages.len() > MAX_SIMILAR;
        forget(&mut self.similar, |s| s.last);
        let (identity, message) = if combined {
            (String::new(), format!("(combined from similar events): {}", happening.message))
        } else {
            (happening.message.clone(), happening.message.clone())
        };

        let key = (object, happening.reason, identity);
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.count += 1;
            seen.last = now;
            return Some(Write::Count {
                namespace: seen.namespace.clone(),
                name: seen.name.clone(),
                count: seen.count,
                message,
                at: now,
            });
        }
        let event = event(happening, message, now);
        self.seen.insert(
            key,
            Seen {
                namespace: event.metadata.namespace.clone().unwrap_or_default(),
                name: event.metadata.name.clone().unwrap_or_default(),
                count: 1,
                last: now,
            },
        );
        forget(&mut self.seen, |s| s.last);
        Some(Write::Create(Box::new(event)))
    }
}

fn event(happening: &Happening, message: String, now: Timestamp) -> Event {
    let about = &happening.about;
    Event {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}.{:x}",
                about.name.as_deref().unwrap_or("unknown"),
                now.as_nanosecond()
            )),
            namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".into())),
            ..Default::default()
        },
        involved_object: about.clone(),
        type_: Some(happening.kind.name().into()),
        reason: Some(happening.reason.into()),
        // As the API server demands at most 1,024 bytes.
        message: Some(message.chars().take(1000).collect()),
        source: Some(EventSource { component: Some(happening.component.into()), host: None }),
        reporting_component: Some(happening.component.into()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Default::default()
    }
}

/// Takes happenings without waiting; a task of its own writes them.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<Happening>);

/// The writing half of a [`Recorder`].
#[expect(missing_debug_implementations, reason = "a client has none")]
pub struct Writer {
    client: Client,
    queue: mpsc::Receiver<Happening>,
}

/// A recorder and the task that writes for it.
pub fn recorder(client: Client) -> (Recorder, Writer) {
    let (sender, queue) = mpsc::channel(1024);
    (Recorder(sender), Writer { client, queue })
}

impl Recorder {
    /// Records an event about `object`. If too many wait to be written, it is dropped.
    pub fn record<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        component: &'static str,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let happening = Happening {
            about: reference(object),
            kind,
            reason,
            message: message.into(),
            component,
        };
        if self.0.try_send(happening).is_err() {
            tracing::debug!(reason, "event dropped: too many wait to be written");
        }
    }
}

impl Writer {
    /// Writes events until every recorder is gone.
    pub async fn run(mut self) {
        let mut correlator = Correlator::default();
        while let Some(happening) = self.queue.recv().await {
            let Some(write) = correlator.observe(&happening, Timestamp::now()) else { continue };
            let written = tokio::time::timeout(Duration::from_secs(10), self.write(write)).await;
            match written {
                Ok(Ok(())) => (),
                Ok(Err(error)) => {
                    tracing::debug!(reason = happening.reason, %error, "event not written")
                }
                Err(_) => tracing::debug!(reason = happening.reason, "event not written in time"),
            }
        }
    }

    async fn write(&self, write: Write) -> Result<(), kube::Error> {
        match write {
            Write::Create(event) => {
                let api: Api<Event> = Api::namespaced(
                    self.client.clone(),
                    event.metadata.namespace.as_deref().unwrap_or("default"),
                );
                api.create(&PostParams::default(), &event).await.map(drop)
            }
            Write::Count { namespace, name, count, message, at } => {
                let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
                let patch = serde_json::json!({
                    "count": count, "lastTimestamp": Time(at), "message": message,
                });
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(message: &str) -> Happening {
        Happening {
            about: ObjectReference {
                kind: Some("Pod".into()),
                name: Some("a".into()),
                namespace: Some("ns".into()),
                uid: Some("u".into()),
                ..Default::default()
            },
            kind: Kind::Normal,
            reason: "Created",
            message: message.into(),
            component: "test",
        }
    }

    #[test]
    fn repeated_events_count_up() {
        let mut correlator = Correlator::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let Some(Write::Create(event)) = correlator.observe(&happening("x"), now) else {
            panic!("no event")
        };
        assert_eq!(event.count, Some(1));
        match correlator.observe(&happening("x"), now + 1.second()) {
            Some(Write::Count { name, count: 2, .. }) => {
                assert_eq!(Some(name), event.metadata.name)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn similar_events_are_combined() {
        let mut correlator = Correlator::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let created = (0..20)
            .filter_map(|i| {
                correlator
                    .observe(&happening(&format!("message {i}")), now + i64::from(i).seconds())
            })
            .filter(|w| matches!(w, Write::Create(_)))
            .count();
        assert_eq!(created, MAX_SIMILAR + 1);
    }

    #[test]
    fn one_object_cannot_flood() {
        let mut correlator = Correlator::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let written =
            (0..100).filter(|_| correlator.observe(&happening("x"), now).is_some()).count();
        assert_eq!(written, 25);
        assert!(correlator.observe(&happening("x"), now + 6.minutes()).is_some());
    }
}
