//! The server: what is shared by all requests, and its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admission::Plugins;
use crate::auth::token::{Signer, StaticTokens};
use crate::auth::{Attributes, Authenticator, Identity, Refused, TokenError, policy};
use crate::body::{Body, BoxError};
use crate::cache::{Cache, TableId};
use crate::handlers::{self, ServiceRanges};
use crate::metrics::Metrics;
use crate::repair::Meddled;
use crate::resource::{self, ClusterConfig, Resource};
use crate::serve::{ServeError, kubelet_connector, pod_connector};
use crate::status::ApiError;
use crate::store::{CommitError, Revision, Store, StoreError, Transaction};

/// How often Events are looked through for those that nobody needs any more.
const EXPIRE: Duration = Duration::from_secs(300);
/// How often the server looks after the objects that describe itself.
const RECONCILE: Duration = Duration::from_secs(10);
/// How often claims are compared with the Services that should hold them, as kube-apiserver does.
const REPAIR: Duration = Duration::from_secs(180);
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
    pub admission: Plugins,
    /// The DNS domain of the cluster.
    pub cluster_domain: String,
    /// Signs the tokens of service accounts; without it a key is made that ends with the process.
    pub service_account_key: Option<PathBuf>,
    /// What the server shows to kubelets, and whom it believes to be one.
    pub kubelet: Option<KubeletClient>,
    /// `--token-auth-file`.
    pub token_file: Option<PathBuf>,
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
            admission: Plugins::default(),
            cluster_domain: "cluster.local".to_owned(),
            service_account_key: None,
            kubelet: None,
            token_file: None,
            watch_window: 64 * 1024,
        }
    }
}

/// The files for connections to kubelets, all PEM (`--kubelet-client-certificate` and its like).
#[derive(Clone, Debug)]
pub struct KubeletClient {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("could not read the store")]
    Store(#[from] StoreError),
    #[error("could not create what every cluster has: {0}")]
    Bootstrap(#[from] ApiError),
    #[error("could not prepare TLS to kubelets")]
    Tls(#[from] ServeError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the table of resources has no {0}")]
    MissingResource(&'static str),
}

/// What all requests share.
pub(crate) struct Server {
    store: Arc<dyn Store>,
    store_failed: AtomicBool,
    pub(crate) metrics: Metrics,
    pub(crate) cache: Arc<Cache>,
    pub(crate) config: Config,
    /// The ranges of the `ServiceCIDR` objects as they were last read.
    pub(crate) ranges: ArcSwap<ServiceRanges>,
    /// Whether the difference between the flag and the default `ServiceCIDR` was reported.
    pub(crate) mismatch_told: AtomicBool,
    /// Whose addresses somebody else wrote to.
    pub(crate) meddled: Meddled,
    /// Cancelled when the server stops: watches end.
    pub(crate) stopping: CancellationToken,
    pub(crate) authenticator: Authenticator,
    /// TLS to kubelets, when the configuration has a client certificate.
    pub(crate) kubelet_tls: Option<TlsConnector>,
    /// TLS to pods, whose certificates nobody vouches for.
    pub(crate) pod_tls: Option<TlsConnector>,
    /// Whoever has no credentials; recognized by its address.
    anonymous: Arc<Identity>,
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
        let issuer = format!("https://kubernetes.default.svc.{}", config.cluster_domain);
        let signer = Signer::new(config.service_account_key.as_deref(), issuer)?;
        let statics = match &config.token_file {
            Some(path) => StaticTokens::load(path)?,
            None => StaticTokens::default(),
        };
        let kubelet_tls = config.kubelet.as_ref().map(kubelet_connector).transpose()?;
        let server = Arc::new(Server {
            kubelet_tls,
            pod_tls: Some(pod_connector()?),
            store,
            store_failed: AtomicBool::new(false),
            metrics: Metrics::new(),
            cache,
            config,
            ranges: ArcSwap::default(),
            mismatch_told: AtomicBool::new(false),
            meddled: Meddled::default(),
            stopping: stopping.clone(),
            authenticator: Authenticator::new(signer, statics),
            anonymous: Arc::new(Identity::anonymous()),
            namespaces,
        });
        server.bootstrap().await?;
        tokio::spawn(housekeeping(Arc::downgrade(&server), stopping));
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

#[derive(Clone, Copy, Debug)]
enum Chore {
    Trim,
    Reconcile,
    Expire,
    Repair,
    RepairMeddled,
}

/// Trims the windows and mends the server's own objects, until the server stops.
async fn housekeeping(server: Weak<Server>, stopping: CancellationToken) {
    let mut trim = tokio::time::interval(TRIM);
    let mut reconcile = tokio::time::interval(RECONCILE);
    let mut expire = tokio::time::interval(EXPIRE);
    // The start has done the first.
    let mut repair = tokio::time::interval_at(tokio::time::Instant::now() + REPAIR, REPAIR);
    let Some(meddled) = server.upgrade().map(|server| server.meddled.notify.clone()) else {
        return;
    };
    loop {
        let chore = tokio::select! {
            _ = trim.tick() => Chore::Trim,
            _ = reconcile.tick() => Chore::Reconcile,
            _ = expire.tick() => Chore::Expire,
            _ = repair.tick() => Chore::Repair,
            () = meddled.notified() => Chore::RepairMeddled,
            () = stopping.cancelled() => return,
        };
        let Some(server) = server.upgrade() else { return };
        let done = match chore {
            Chore::Trim => {
                server.cache.trim();
                Ok(())
            }
            Chore::Reconcile => server.reconcile().await,
            Chore::Expire => server.expire_events().await,
            Chore::Repair => server.repair_all().await,
            Chore::RepairMeddled => server.repair_meddled().await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, ?chore, "housekeeping failed; it is tried again");
        }
    }
}

impl Server {
    /// Commits, and remembers whether the store still takes anything.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        let done = self.store.commit(transaction).await;
        let failed = matches!(done, Err(CommitError::Store(_)));
        if failed != self.store_failed.load(Ordering::Relaxed) {
            self.store_failed.store(failed, Ordering::Relaxed);
        }
        done
    }

    /// Who sends the request. Whoever has no credentials is anonymous; bad ones are refused.
    pub(crate) fn authenticate(&self, parts: &Parts) -> Result<Arc<Identity>, ApiError> {
        if let Some(identity) = parts.extensions.get::<Arc<Identity>>() {
            return Ok(identity.clone());
        }
        match self.authenticator.bearer(&self.cache, &parts.headers) {
            Ok(Some(identity)) => Ok(identity),
            Ok(None) => Ok(self.anonymous.clone()),
            Err(Refused) => Err(ApiError::unauthorized()),
        }
    }

    /// Whom the request is to be done as: `Impersonate-User` and `Impersonate-Group`, for those
    /// who may.
    pub(crate) fn act_as(
        &self,
        user: Arc<Identity>,
        parts: &Parts,
    ) -> Result<Arc<Identity>, ApiError> {
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let groups = parts.headers.get_all("impersonate-group");
        let groups: Vec<String> = groups.iter().map(text).collect();
        let Some(name) = parts.headers.get("impersonate-user").map(text) else {
            if groups.is_empty() {
                return Ok(user);
            }
            return Err(ApiError::bad_request("requested groups without impersonating a user"));
        };
        let asked = |resource, name| Attributes {
            verb: "impersonate",
            group: "",
            resource,
            subresource: "",
            namespace: "",
            name,
        };
        self.authorize(&user, &asked("users", &name))?;
        for group in &groups {
            self.authorize(&user, &asked("groups", group))?;
        }
        let mut implied = groups;
        if let Some(account) = name.strip_prefix("system:serviceaccount:")
            && implied.is_empty()
        {
            let namespace = account.split(':').next().unwrap_or_default();
            implied.push("system:serviceaccounts".to_owned());
            implied.push(format!("system:serviceaccounts:{namespace}"));
        }
        Ok(Arc::new(Identity::new(&name, implied)))
    }

    pub(crate) fn authorize(
        &self,
        user: &Arc<Identity>,
        asked: &Attributes<'_>,
    ) -> Result<(), ApiError> {
        if Arc::ptr_eq(user, &self.anonymous) {
            return Err(ApiError::unauthorized());
        }
        let allowed = match self.config.authorization {
            AuthorizationMode::AlwaysAllow => true,
            AuthorizationMode::Rbac => policy::allows(user, asked).is_some(),
        };
        if allowed {
            return Ok(());
        }
        Err(ApiError::forbidden_request(asked, &asked.refusal(&user.name)))
    }

    /// The same for a path that is no resource.
    pub(crate) fn authorize_path(
        &self,
        user: &Arc<Identity>,
        verb: &str,
        path: &str,
    ) -> Result<(), ApiError> {
        let anonymous = Arc::ptr_eq(user, &self.anonymous);
        let allowed = match self.config.authorization {
            AuthorizationMode::AlwaysAllow if !anonymous => true,
            _ => policy::allows_path(user, verb, path).is_some(),
        };
        match allowed {
            true => Ok(()),
            false if anonymous => Err(ApiError::unauthorized()),
            false => {
                let why = format!("User {:?} cannot {verb} path {path:?}", user.name);
                Err(ApiError::forbidden_path(&why))
            }
        }
    }

    /// Whether the last transaction could be written.
    pub(crate) fn store_is_well(&self) -> bool {
        !self.store_failed.load(Ordering::Relaxed)
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
