use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use proptest::prelude::*;
use watcher::Event::{self, Apply, Delete, Init, InitApply, InitDone};

fn object(name: &str, uid: &str, revision: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(uid.into()),
            resource_version: Some(revision.to_string()),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn cache() -> (Arc<Cache<ConfigMap>>, Arc<Mutex<Vec<String>>>) {
    let cache = Cache::new(|_| (), |_, groups| groups.push("all".into()));
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = log.clone();
    cache.on_change(move |change: &Change<'_, ConfigMap>| {
        let show = |o: Option<&Arc<ConfigMap>>| {
            o.map_or("-".into(), |o| {
                format!("{}{}", o.metadata.name.clone().unwrap(), version(&o.metadata))
            })
        };
        sink.lock().push(format!("{}>{}", show(change.old), show(change.new)));
    });
    (cache, log)
}

#[test]
fn a_write_is_seen_before_the_watch_and_confirmed_by_it() {
    let (cache, log) = cache();
    for event in [Init, InitApply(object("a", "1", 1)), InitDone] {
        cache.handle(event);
    }
    cache.assume(object("b", "2", 5));
    assert!(cache.get("ns", "b").is_some());
    assert_eq!(cache.group("all").len(), 2);
    cache.handle(Apply(object("a", "1", 4)));
    assert!(cache.get("ns", "b").is_some(), "an older event proves nothing");
    cache.handle(Apply(object("b", "2", 5)));
    cache.handle(Apply(object("a", "1", 6)));
    assert!(cache.get("ns", "b").is_some());
    assert_eq!(*log.lock(), ["->a1", "a1>a4", "->b5", "a4>a6"]);
}

#[test]
fn an_assumption_that_the_watch_passes_is_a_ghost() {
    let (cache, log) = cache();
    for event in [Init, InitDone] {
        cache.handle(event);
    }
    cache.assume(object("b", "2", 5));
    cache.handle(Apply(object("a", "1", 6)));
    assert!(cache.get("ns", "b").is_none());
    assert_eq!(*log.lock(), ["b5>-", "->a6"]);
}

#[test]
fn an_older_event_does_not_undo_an_assumption() {
    let (cache, log) = cache();
    for event in [Init, InitApply(object("a", "1", 1)), InitDone] {
        cache.handle(event);
    }
    cache.assume(object("a", "1", 9));
    cache.handle(Apply(object("a", "1", 3)));
    assert_eq!(version(cache.get("ns", "a").unwrap().meta()), 9);
    cache.handle(Apply(object("a", "1", 9)));
    cache.handle(Delete(object("a", "1", 10)));
    assert!(cache.is_empty());
    assert_eq!(*log.lock(), ["->a1", "a1>a9", "a3>a9", "a9>-"]);
}

#[test]
fn a_new_list_drops_what_it_lacks_and_keeps_what_was_written_meanwhile() {
    let (cache, log) = cache();
    for event in
        [Init, InitApply(object("a", "1", 1)), InitApply(object("b", "2", 2)), InitDone, Init]
    {
        cache.handle(event);
    }
    cache.assume(object("c", "3", 7));
    for event in [InitApply(object("a", "9", 6)), InitDone] {
        cache.handle(event);
    }
    assert!(cache.get("ns", "b").is_none() && cache.get("ns", "c").is_some());
    assert_eq!(*log.lock(), ["->a1", "->b2", "a1>-", "->a6", "b2>-"]);
}

#[test]
fn a_removed_object_is_gone_at_once_and_told_by_the_watch() {
    let (cache, log) = cache();
    for event in [Init, InitApply(object("a", "1", 1)), InitDone] {
        cache.handle(event);
    }
    cache.assume_removed(&Key::new("ns", "a"), "other");
    assert_eq!(cache.len(), 1);
    cache.assume_removed(&Key::new("ns", "a"), "1");
    assert!(cache.is_empty() && cache.group("all").is_empty());
    cache.handle(Delete(object("a", "1", 2)));
    assert_eq!(*log.lock(), ["->a1", "a1>-"]);
}

/// An API server in small: objects with versions, and all events in order.
#[derive(Default)]
struct Server {
    revision: u64,
    objects: BTreeMap<String, ConfigMap>,
    log: Vec<Event<ConfigMap>>,
}

impl Server {
    fn write(&mut self, name: &str, fresh: bool) -> ConfigMap {
        self.revision += 1;
        let uid = match self.objects.get(name) {
            Some(old) if !fresh => old.metadata.uid.clone().unwrap(),
            _ => format!("uid-{}", self.revision),
        };
        let new = object(name, &uid, self.revision);
        self.objects.insert(name.into(), new.clone());
        self.log.push(Apply(new.clone()));
        new
    }

    fn remove(&mut self, name: &str) -> Option<ConfigMap> {
        let gone = self.objects.remove(name)?;
        self.revision += 1;
        self.log.push(Delete(object(name, gone.metadata.uid.as_deref().unwrap(), self.revision)));
        Some(gone)
    }
}

/// Name, uid and version of everything.
fn content<'a>(objects: impl IntoIterator<Item = &'a ConfigMap>) -> Vec<(String, String, u64)> {
    let show = |o: &ConfigMap| {
        (o.metadata.name.clone().unwrap(), o.metadata.uid.clone().unwrap(), version(&o.metadata))
    };
    objects.into_iter().map(show).collect()
}

proptest! {
    /// However far the watch lags, and whenever it starts anew: what we wrote is seen at once, the end is the
    /// server's state, and whoever only listens to the changes ends with the same.
    #[test]
    fn the_cache_ends_as_the_server(steps in prop::collection::vec((0..9u8, 0..4u8), 1..120)) {
        let cache = Cache::new(|_| (), |_, groups| groups.push("all".into()));
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        let sink = heard.clone();
        cache.on_change(move |change: &Change<'_, ConfigMap>| {
            let name = change.latest().metadata.name.clone().unwrap();
            match change.new {
                Some(new) => sink.lock().insert(name, new.metadata.uid.clone().unwrap()),
                None => sink.lock().remove(&name),
            };
        });
        let mut server = Server::default();
        let mut told = 0;
        let mut listing: Option<Vec<ConfigMap>> = None;
        for event in [Init, InitDone] {
            cache.handle(event);
        }
        for (step, name) in steps {
            let name = format!("o{name}");
            match step {
                // Others write.
                0 => drop(server.write(&name, false)),
                1 => drop(server.remove(&name)),
                2 => {
                    server.remove(&name);
                    server.write(&name, true);
                }
                // We write.
                3 | 4 => {
                    let answer = server.write(&name, false);
                    cache.assume(answer.clone());
                    let seen = cache.get("ns", &name).expect("what we wrote is there");
                    prop_assert!(version(&seen.metadata) >= version(&answer.metadata));
                }
                5 => if let Some(gone) = server.remove(&name) {
                    cache.assume_removed(&Key::new("ns", &name), gone.metadata.uid.as_deref().unwrap());
                },
                // The watch brings an event, or starts anew.
                6 | 7 => if listing.is_none() && told < server.log.len() {
                    cache.handle(server.log[told].clone());
                    told += 1;
                },
                _ => match listing.take() {
                    None => {
                        cache.handle(Init);
                        listing = Some(server.objects.values().cloned().collect());
                        told = server.log.len();
                    }
                    Some(objects) => {
                        for object in objects {
                            cache.handle(InitApply(object));
                        }
                        cache.handle(InitDone);
                    }
                },
            }
        }
        if let Some(objects) = listing {
            for object in objects {
                cache.handle(InitApply(object));
            }
            cache.handle(InitDone);
        }
        // One more change, as an assumption is disproved by the next event at the latest.
        server.write("last", false);
        for event in server.log.drain(told..) {
            cache.handle(event);
        }
        let cached = cache.list();
        prop_assert_eq!(content(cached.iter().map(|o| &**o)), content(server.objects.values()));
        let uids: BTreeMap<_, _> =
            server.objects.iter().map(|(n, o)| (n.clone(), o.metadata.uid.clone().unwrap())).collect();
        prop_assert_eq!(&*heard.lock(), &uids);
        prop_assert_eq!(cache.group("all").len(), server.objects.len());
    }
}
