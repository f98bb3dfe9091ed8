//! The server: what is shared by all requests, and its start.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::auth::{Attributes, Identity};
use crate::body::{Body, BoxError};
use crate::cache::{Cache, TableId};
use crate::handlers;
use crate::resource::{self, ClusterConfig, Resource};
use crate::status::ApiError;
use crate::store::{Store, StoreError};

/// The namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// How often old changes are dropped from the watch windows.
const TRIM: Duration = Duration::from_secs(30);

/// Who may do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorizationMode {
    /// Whoever is authenticated may do everything.
    #[default]
    AlwaysAllow,
    /// The built-in policy, as kubeadm's clusters start with it.
    Rbac,
}

/// What an API server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    pub cluster: ClusterConfig,
    /// The endpoint of the Service `default/kubernetes`; without it that Service is not made.
    pub advertise: Option<SocketAddr>,
    pub authorization: AuthorizationMode,
    /// The DNS domain of the cluster.
    pub cluster_domain: String,
    /// The most changes that a watch can be behind, for each resource.
    pub watch_window: usize,
}

impl Default for Config {
    fn default() -> Self {
        let range = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 16);
        Self {
            cluster: ClusterConfig {
                service_ranges: vec![range.into()],
                node_ports: 30000..=32767,
            },
            advertise: None,
            authorization: AuthorizationMode::default(),
            cluster_domain: "cluster.local".to_owned(),
            watch_window: 64 * 1024,
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("could not read the store")]
    Store(#[from] StoreError),
    #[error("could not create what every cluster has: {0}")]
    Bootstrap(#[from] ApiError),
    #[error("the table of resources has no {0}")]
    MissingResource(&'static str),
}

/// What all requests share.
pub(crate) struct Server {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) config: Config,
    /// Cancelled when the server stops: watches end.
    pub(crate) stopping: CancellationToken,
    /// The row and the table of namespaces.
    pub(crate) namespaces: (&'static Resource, TableId),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// A running API server; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct ApiServer {
    pub(crate) server: Arc<Server>,
    /// Ends the background task with the last handle.
    _guard: Arc<DropGuard>,
}

impl ApiServer {
    /// Loads the cache from the store, repairs what a crash may have left, and creates what every
    /// cluster has.
    pub async fn start(store: Arc<dyn Store>, config: Config) -> Result<Self, StartError> {
        let cache = Cache::load(&*store, resource::table(), config.watch_window).await?;
        let namespaces =
            cache.find("", "namespaces").ok_or(StartError::MissingResource("namespaces"))?;
        let stopping = CancellationToken::new();
        let server =
            Arc::new(Server { store, cache, config, stopping: stopping.clone(), namespaces });
        server.bootstrap().await?;
        let trimmed = server.cache.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TRIM);
            loop {
                tokio::select! {
                    _ = ticks.tick() => trimmed.trim(),
                    () = stopping.cancelled() => return,
                }
            }
        });
        let guard = Arc::new(server.stopping.clone().drop_guard());
        Ok(Self { server, _guard: guard })
    }

    /// The whole API as a service in process, acting as `system:masters`.
    pub fn service(&self) -> Service {
        Service { api: self.clone(), identity: Arc::new(Identity::admin()) }
    }

    /// The same, acting as somebody else.
    pub fn service_as(&self, identity: Identity) -> Service {
        Service { api: self.clone(), identity: Arc::new(identity) }
    }

    /// Ends all watches and refuses readiness.
    pub fn stop(&self) {
        self.server.stopping.cancel();
    }
}

impl Server {
    async fn bootstrap(&self) -> Result<(), ApiError> {
        let (resource, table) = self.namespaces;
        for name in NAMESPACES {
            let object = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            });
            handlers::bootstrap(self, resource, table, object).await?;
        }
        Ok(())
    }

    pub(crate) fn authenticate(&self, parts: &Parts) -> Result<Arc<Identity>, ApiError> {
        if let Some(identity) = parts.extensions.get::<Arc<Identity>>() {
            return Ok(identity.clone());
        }
        Err(ApiError::unauthorized())
    }

    pub(crate) fn authorize(
        &self,
        _user: &Identity,
        _attributes: &Attributes<'_>,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    pub(crate) fn authorize_path(&self, _user: &Identity, _path: &str) -> Result<(), ApiError> {
        Ok(())
    }

    pub(crate) fn store_is_well(&self) -> bool {
        true
    }

    pub(crate) fn metrics_text(&self) -> String {
        String::new()
    }

    pub(crate) fn issuer_document(&self, _keys: bool) -> Result<Response<Body>, ApiError> {
        Err(ApiError::no_such_resource())
    }
}

/// The API in process, as a tower service of one user.
#[derive(Clone, Debug)]
pub struct Service {
    api: ApiServer,
    identity: Arc<Identity>,
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<Body>, std::convert::Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let server = self.api.server.clone();
        request.extensions_mut().insert(self.identity.clone());
        Box::pin(async move { Ok(handlers::respond(server, request).await) })
    }
}
