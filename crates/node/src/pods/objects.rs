//! The ConfigMaps and Secrets that pods of this node use, each watched once however many use it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Resource, runtime::watcher};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::runtime::ClientHandle;

/// What kind of object holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    /// As error messages name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// The API server has not said yet.
    #[default]
    Unknown,
    Missing,
    Present(Arc<BTreeMap<String, Vec<u8>>>),
}

type Key = (Kind, String, String);

/// The objects in use.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    client: ClientHandle,
    watched: Arc<Mutex<HashMap<Key, watch::Sender<State>>>>,
}

/// How long an object that nobody uses is watched on, for the next pod that will.
const LINGER: Duration = Duration::from_secs(60);

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self { client: ClientHandle(client), watched: Arc::default() }
    }

    /// The object's data as it is and as it changes, for as long as the receiver lives.
    pub(crate) fn follow(&self, kind: Kind, namespace: &str, name: &str) -> watch::Receiver<State> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let mut watched = self.watched.lock();
        if let Some(sender) = watched.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(State::Unknown);
        watched.insert(key.clone(), sender.clone());
        let this = self.clone();
        tokio::spawn(async move {
            let client = this.client.0.clone();
            match kind {
                Kind::ConfigMap => {
                    let api = Api::<ConfigMap>::namespaced(client, &key.1);
                    this.run(api, &key, &sender, config_map_data).await;
                }
                Kind::Secret => {
                    let api = Api::<Secret>::namespaced(client, &key.1);
                    this.run(api, &key, &sender, |s| {
                        s.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect()
                    })
                    .await;
                }
            }
        });
        receiver
    }

    /// The object's data now. Waits for the API server, not for the object.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<BTreeMap<String, Vec<u8>>>> {
        let mut receiver = self.follow(kind, namespace, name);
        let state = receiver.wait_for(|s| *s != State::Unknown).await.ok()?.clone();
        match state {
            State::Present(data) => Some(data),
            _ => None,
        }
    }

    async fn run<K>(
        &self,
        api: Api<K>,
        key: &Key,
        sender: &watch::Sender<State>,
        data: impl Fn(K) -> BTreeMap<String, Vec<u8>>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", key.2));
        let mut events = std::pin::pin!(watcher(api, config));
        let mut seen = false;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = unused(sender) => {
                    // Checked again under the lock: somebody may have come in between.
                    let mut watched = self.watched.lock();
                    if sender.receiver_count() == 0 {
                        watched.remove(key);
                        return;
                    }
                    continue;
                }
            };
            let state = match event {
                Some(Ok(watcher::Event::Init)) => {
                    seen = false;
                    continue;
                }
                Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                    seen = true;
                    State::Present(Arc::new(data(object)))
                }
                Some(Ok(watcher::Event::Delete(_))) => State::Missing,
                Some(Ok(watcher::Event::InitDone)) if !seen => State::Missing,
                Some(Ok(watcher::Event::InitDone)) => continue,
                Some(Err(e)) => {
                    tracing::debug!(error = super::report(&e), object = ?key, "a watch broke");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
                None => return,
            };
            sender.send_if_modified(|held| {
                let changed = *held != state;
                *held = state;
                changed
            });
        }
    }
}

async fn unused(sender: &watch::Sender<State>) {
    sender.closed().await;
    tokio::time::sleep(LINGER).await;
}

fn config_map_data(map: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0));
    text.chain(binary).collect()
}
