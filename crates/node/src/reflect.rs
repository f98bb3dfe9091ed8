//! Following the API server: watches in, [`Update`]s out, trimmed at the edge.
//!
//! Whole API objects live only as long as it takes to trim them, so memory follows what the model
//! keeps. Nothing is spawned: the stream makes progress while it is polled, and whoever is behind
//! gets fewer, newer events.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use portolan_model::intern::Interner;
use portolan_model::object::{EndpointSlice, Node, ObjectName, Service};
use portolan_model::{Event, Snapshot};
use serde::de::DeserializeOwned;

use crate::reached::{Progress, Reached};

/// What a consumer wants to hear of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest {
    pub nodes: bool,
    /// The ranges of Services' addresses (`ServiceCIDR` objects).
    pub service_ranges: bool,
    /// Keep what only names need: hostnames, pods, headless Services' slices.
    pub names: bool,
}

/// News from the API server.
#[derive(Clone, Debug)]
pub enum Update {
    /// One object changed.
    Event {
        event: Event,
        /// When the change that led to this one happened (of slices, from the annotation
        /// `endpoints.kubernetes.io/last-change-trigger-time`).
        triggered: Option<Timestamp>,
    },
    /// All there is, after the watch began or had to begin again.
    Services(Vec<Service>),
    EndpointSlices(Vec<EndpointSlice>),
    Nodes(Vec<Node>),
    /// The networks of all `ServiceCIDR` objects. Empty where the API server has none to tell
    /// (before Kubernetes 1.33) or does not want to.
    ServiceRanges(Vec<IpNet>),
    /// A watch failed; it is tried again by itself. The data stay as they are.
    Disturbed(String),
}

impl Update {
    /// Takes the news into a snapshot.
    pub fn apply_to(self, snapshot: &mut Snapshot) {
        match self {
            Self::Event { event, .. } => snapshot.apply(event),
            Self::Services(all) => snapshot.replace_services(all),
            Self::EndpointSlices(all) => snapshot.replace_endpoint_slices(all),
            Self::Nodes(all) => snapshot.replace_nodes(all),
            Self::ServiceRanges(all) => snapshot.set_service_ranges(all),
            Self::Disturbed(_) => {}
        }
    }
}

/// Which kinds have been listed in full: before that, nothing may be removed from anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    services: bool,
    slices: bool,
    nodes: bool,
    service_ranges: bool,
}

impl Heard {
    /// Notes what an update brought.
    pub fn note(&mut self, update: &Update) {
        match update {
            Update::Services(_) => self.services = true,
            Update::EndpointSlices(_) => self.slices = true,
            Update::Nodes(_) => self.nodes = true,
            Update::ServiceRanges(_) => self.service_ranges = true,
            Update::Event { .. } | Update::Disturbed(_) => {}
        }
    }

    /// Whether everything of interest has been heard once.
    pub fn everything(&self, interest: Interest) -> bool {
        self.services
            && self.slices
            && (self.nodes || !interest.nodes)
            && (self.service_ranges || !interest.service_ranges)
    }
}

/// Watches the API server. The stream never ends; failures are retried with back-off. `reached`
/// follows what the stream has handed out.
pub fn watch(
    client: &Client,
    interest: Interest,
    reached: &Arc<Reached>,
) -> SelectAll<BoxStream<'static, Update>> {
    let foreign = "!service.kubernetes.io/service-proxy-name";
    let routed = format!("!service.kubernetes.io/headless,{foreign}");
    let selector = |text: &str| {
        let config = watcher::Config::default().any_semantic();
        if interest.names { config } else { config.labels(text) }
    };
    let mut all = SelectAll::new();
    all.push(follow(
        Api::<core::Service>::all(client.clone()),
        selector(foreign),
        |object| (Service::from(object), None),
        Event::Service,
        Event::ServiceDeleted,
        Update::Services,
        Some((reached.clone(), |reached| &reached.services)),
    ));
    all.push(follow(
        Api::<discovery::EndpointSlice>::all(client.clone()),
        selector(&routed),
        {
            // One copy of each string, from before the snapshot has any.
            let mut strings = Interner::default();
            move |object| {
                let slice = EndpointSlice::read(object, interest.names, &mut strings);
                (slice, triggered(object))
            }
        },
        Event::EndpointSlice,
        Event::EndpointSliceDeleted,
        Update::EndpointSlices,
        Some((reached.clone(), |reached| &reached.endpoint_slices)),
    ));
    if interest.nodes {
        all.push(follow(
            Api::<core::Node>::all(client.clone()),
            watcher::Config::default().any_semantic(),
            |object| (Node::from(object), None),
            Event::Node,
            |name| Event::NodeDeleted(name.name),
            Update::Nodes,
            None,
        ));
    }
    if interest.service_ranges {
        all.push(follow_ranges(Api::all(client.clone())));
    }
    all
}

/// Tells all ranges at every change, and none before the first list where that cannot be had.
fn follow_ranges(api: Api<networking::ServiceCIDR>) -> BoxStream<'static, Update> {
    let mut known: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    let mut told = false;
    let tell = |known: &BTreeMap<String, Vec<IpNet>>| {
        Some(Update::ServiceRanges(known.values().flatten().copied().collect()))
    };
    watcher(api, watcher::Config::default().any_semantic())
        .default_backoff()
        .filter_map(move |event| {
            let put = |object: networking::ServiceCIDR, known: &mut BTreeMap<_, _>| {
                let cidrs = object.spec.and_then(|spec| spec.cidrs).unwrap_or_default();
                let nets = cidrs.iter().filter_map(|text| text.parse().ok()).collect();
                known.insert(object.metadata.name.unwrap_or_default(), nets);
            };
            ready(match event {
                Ok(watcher::Event::Apply(object)) => {
                    put(object, &mut known);
                    tell(&known)
                }
                Ok(watcher::Event::Delete(object)) => {
                    known.remove(object.metadata.name.as_deref().unwrap_or_default());
                    tell(&known)
                }
                Ok(watcher::Event::Init) => {
                    known.clear();
                    None
                }
                Ok(watcher::Event::InitApply(object)) => {
                    put(object, &mut known);
                    None
                }
                Ok(watcher::Event::InitDone) => {
                    told = true;
                    tell(&known)
                }
                Err(error) if told => Some(Update::Disturbed(chain(&error))),
                Err(error) => {
                    told = true;
                    tracing::info!(error = chain(&error), "the API server does not tell the ranges of Services' addresses; external addresses in them are only known by the Services that have them");
                    Some(Update::ServiceRanges(Vec::new()))
                }
            })
        })
        .boxed()
}

/// The progress that a watch keeps.
type Keeps = Option<(Arc<Reached>, fn(&Reached) -> &Progress)>;

/// How long an API server may take to say how new its objects are.
const NEWEST_LIMIT: Duration = Duration::from_secs(5);

/// The newest resource version now. A list that begins after this has all changes up to here,
/// also deletions, which leave no object with their version.
async fn newest<K>(api: &Api<K>) -> Option<String>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let one = kube::api::ListParams::default().limit(1);
    let list = tokio::time::timeout(NEWEST_LIMIT, api.list_metadata(&one)).await;
    list.ok()?.ok()?.metadata.resource_version
}

fn follow<K, T: Send + 'static>(
    api: Api<K>,
    config: watcher::Config,
    mut trim: impl FnMut(&K) -> (T, Option<Timestamp>) + Send + 'static,
    changed: impl Fn(T) -> Event + Send + 'static,
    deleted: impl Fn(ObjectName) -> Event + Send + 'static,
    listed: impl Fn(Vec<T>) -> Update + Send + 'static,
    keeps: Keeps,
) -> BoxStream<'static, Update>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let mut listing = Vec::new();
    let asked = keeps.clone();
    watcher(api.clone(), config)
        .default_backoff()
        .then(move |event| {
            // The watcher lists when it is asked for what comes after this.
            let begins = matches!(event, Ok(watcher::Event::Init));
            let asked = asked.clone().filter(|_| begins);
            let api = api.clone();
            async move {
                if let Some((reached, of)) = asked {
                    of(&reached).begin(newest(&api).await.as_deref());
                }
                event
            }
        })
        .filter_map(move |event| {
            if let (Some((reached, of)), Ok(event)) = (&keeps, &event) {
                note(of(reached), event);
            }
            ready(match event {
                Ok(watcher::Event::Apply(object)) => {
                    let (object, triggered) = trim(&object);
                    Some(Update::Event { event: changed(object), triggered })
                }
                Ok(watcher::Event::Delete(object)) => {
                    Some(Update::Event { event: deleted(name_of(&object)), triggered: None })
                }
                Ok(watcher::Event::Init) => {
                    listing = Vec::new();
                    None
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listing.push(trim(&object).0);
                    None
                }
                Ok(watcher::Event::InitDone) => Some(listed(std::mem::take(&mut listing))),
                Err(error) => Some(Update::Disturbed(chain(&error))),
            })
        })
        .boxed()
}

fn note<K: Resource>(progress: &Progress, event: &watcher::Event<K>) {
    match event {
        watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
            progress.event(object.meta().resource_version.as_deref());
        }
        watcher::Event::InitApply(object) => {
            progress.listed(object.meta().resource_version.as_deref());
        }
        watcher::Event::InitDone => progress.end(),
        watcher::Event::Init => {}
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn name_of<K: Resource>(object: &K) -> ObjectName {
    let meta = object.meta();
    ObjectName::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn triggered(object: &discovery::EndpointSlice) -> Option<Timestamp> {
    let annotations: &BTreeMap<_, _> = object.metadata.annotations.as_ref()?;
    annotations.get("endpoints.kubernetes.io/last-change-trigger-time")?.parse().ok()
}

/// Lists everything once, for a one-time answer.
pub async fn list(client: &Client) -> Result<Snapshot, kube::Error> {
    let all = kube::api::ListParams::default();
    let mut snapshot = Snapshot::default();
    let services = Api::<core::Service>::all(client.clone()).list(&all).await?;
    snapshot.replace_services(services.iter().map(Service::from).collect());
    let slices = Api::<discovery::EndpointSlice>::all(client.clone()).list(&all).await?;
    snapshot.replace_endpoint_slices(slices.iter().map(EndpointSlice::from).collect());
    let nodes = Api::<core::Node>::all(client.clone()).list(&all).await?;
    snapshot.replace_nodes(nodes.iter().map(Node::from).collect());
    // An API server before Kubernetes 1.33 has none.
    if let Ok(ranges) = Api::<networking::ServiceCIDR>::all(client.clone()).list(&all).await {
        let cidrs = ranges.iter().flat_map(|range| range.spec.iter().flat_map(|spec| &spec.cidrs));
        let nets = cidrs.flatten().filter_map(|text| text.parse().ok());
        snapshot.set_service_ranges(nets.collect());
    }
    Ok(snapshot)
}
