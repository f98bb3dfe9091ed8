//! Starting, following changes, stopping.
//!
//! Sockets, indices and their watches live longer than what one Corefile makes: a reload hands them
//! over, so that no query is lost.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use portolan_linux::watch::FileWatch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{Config, Scheme};
use super::generation::{Generation, Maker, SpotConfig};
use super::pages::{Roles, SelfProbe, page};
use super::server::{Listener, http, listen_tcp, tcp, udp};
use super::site::{Routes, Site, loopback_if_wildcard};
use super::sockets::{Sockets, Spot};
use super::store::{StoreOptions, Stores};
use super::{DnsConfig, DnsError, default_corefile};

/// Changes of files come in flurries.
const SETTLE: Duration = Duration::from_millis(20);

/// A socket address in use.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: Arc<Listener>,
    /// Where it really is, should the port have been left to the system.
    local: SocketAddr,
}

/// What outlives generations.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) current: ArcSwap<Generation>,
    pub(crate) listeners: Mutex<HashMap<Spot, Bound>>,
    pub(crate) failed_reloads: AtomicU64,
    pub(crate) health: SelfProbe,
    /// The server answers still, but wants no new clients.
    pub(crate) leaving: AtomicBool,
    pages: Mutex<HashMap<SocketAddr, (CancellationToken, SocketAddr)>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    pub(crate) stores: Stores,
}

/// A server that listens.
pub(crate) struct Server {
    shared: Arc<Shared>,
    client: Option<kube::Client>,
    config: DnsConfig,
    /// What the current generation was made of.
    sources: Sources,
    /// The last thing that was wrong with a changed Corefile.
    said: Option<String>,
}

/// The text of all files that make a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sources {
    corefile: String,
    others: Vec<Option<Vec<u8>>>,
}

impl Shared {
    /// Where the health page is served.
    fn health_page(&self) -> Option<SocketAddr> {
        let asked = self.current.load().roles.iter().find_map(|roles| roles.health)?;
        self.pages.lock().get(&asked).map(|(_, local)| *local)
    }
}

impl Server {
    /// Reads the Corefile, waits for the names of the cluster (`startup_timeout`, as CoreDNS does)
    /// and listens. Answers come from now on; [`Server::serve`] follows changes.
    pub(crate) async fn start(
        client: Option<kube::Client>,
        config: DnsConfig,
        stores: Stores,
    ) -> Result<Self, DnsError> {
        let shared = Shared {
            current: ArcSwap::default(),
            listeners: Mutex::default(),
            failed_reloads: AtomicU64::new(0),
            health: SelfProbe::new(),
            leaving: AtomicBool::new(false),
            pages: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stores,
        };
        let mut server = Self {
            shared: Arc::new(shared),
            client,
            config,
            sources: Sources::default(),
            said: None,
        };
        // Who gives up in between leaves nothing running.
        let unfinished = server.shared.stop.clone().drop_guard();
        let (sources, parsed) = server.read()?;
        let mut generation = server.build(&parsed)?;
        generation.hash = hash(&sources.corefile);
        if server.client.is_some() {
            generation.synced().await;
        }
        server.adopt(generation, &parsed)?;
        unfinished.disarm();
        server.sources = sources;
        Ok(server)
    }

    /// The addresses that DNS is served at.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.shared.listeners.lock();
        let mut spots: Vec<_> = listeners.iter().collect();
        // In the order of the ports that were asked for, DNS before TLS.
        spots.sort_by_key(|(spot, _)| (spot.scheme, spot.address.port()));
        spots.into_iter().map(|(_, bound)| bound.local).collect()
    }

    /// The indices in use.
    #[cfg(test)]
    pub(crate) fn stores(&self) -> Vec<Arc<super::store::NameStore>> {
        let current = self.shared.current.load();
        let plugins = current.sites.iter().flat_map(|site| &site.kubernetes);
        plugins.map(|kubernetes| kubernetes.store().clone()).collect()
    }

    /// Where the pages are served that were asked for at `address`.
    #[cfg(test)]
    pub(crate) fn page_addresses(&self) -> Vec<SocketAddr> {
        self.shared.pages.lock().values().map(|(_, local)| *local).collect()
    }

    /// Serves until `shutdown`.
    pub(crate) async fn serve(mut self, shutdown: CancellationToken) -> Result<(), DnsError> {
        self.probe_health();
        if let Some(gate) = self.shared.stores.gate.clone() {
            let stop = self.shared.stop.clone();
            self.shared.tasks.spawn(async move {
                stop.run_until_cancelled(gate.follow()).await;
            });
        }
        let served = self.follow(&shutdown).await;
        self.shared.leaving.store(true, Ordering::Relaxed);
        if served.is_ok() {
            let lameduck = self.shared.current.load().lameduck;
            if !lameduck.is_zero() {
                tracing::info!(seconds = lameduck.as_secs_f64(), "going on for the lame duck time");
                tokio::time::sleep(lameduck).await;
            }
        }
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        served
    }

    /// Asks the own health page once a second, as CoreDNS does: that shows an overload.
    fn probe_health(&self) {
        let shared = Arc::downgrade(&self.shared);
        let stop = self.shared.stop.clone();
        self.shared.tasks.spawn(async move {
            let asking = async {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let Some(shared) = shared.upgrade() else { return };
                    if let Some(local) = shared.health_page() {
                        shared.health.ask(local).await;
                    }
                }
            };
            stop.run_until_cancelled(asking).await;
        });
    }

    /// Follows changes until `shutdown`, or until the server is found to ask itself.
    async fn follow(&mut self, shutdown: &CancellationToken) -> Result<(), DnsError> {
        let mut generation = self.shared.current.load_full();
        let mut probes = self.loop_probes(&generation);
        let mut files = FileWatch::new([])
            .inspect_err(|error| {
                tracing::warn!(%error, "cannot hear of changed files; looking from time to time");
            })
            .ok();
        loop {
            // Watch first, then look: what changes in between is heard of. And again each time,
            // for a file that was swapped is another file in another directory.
            if let Some(files) = &files {
                self.watch_files(files, &generation);
            }
            for hosts in generation.sites.iter().filter_map(|site| site.hosts.as_ref()) {
                if hosts.followed().is_some() {
                    hosts.load();
                }
            }
            for file in generation.sites.iter().flat_map(|site| &site.file) {
                if file.followed().is_some() {
                    file.load();
                }
            }
            for weighted in generation.weighted().filter(|weighted| weighted.followed().is_some()) {
                weighted.load();
            }
            if generation.reload.is_some() && self.reload().await {
                generation = self.shared.current.load_full();
                probes = self.loop_probes(&generation);
                continue;
            }
            let changed = async {
                match &mut files {
                    Some(files) => files.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(Some(zone)) = probes.next() => return Err(DnsError::Loop { zone }),
                result = changed => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "cannot hear of changed files any more");
                        files = None;
                    }
                    tokio::time::sleep(SETTLE).await;
                }
                () = sleep_or_never(generation.patience()) => {}
            }
        }
    }

    /// Takes over what the files say now; true if that is something new.
    async fn reload(&mut self) -> bool {
        let shared = self.shared.clone();
        let failed = |error: &DnsError| {
            shared.failed_reloads.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the changed Corefile cannot be used; going on with the old one");
        };
        let (sources, config) = match self.read() {
            Ok((sources, _)) if sources == self.sources => return false,
            Ok(read) => read,
            Err(error) => {
                // Said once.
                let text = error.to_string();
                if self.said.replace(text.clone()) != Some(text) {
                    failed(&error);
                }
                return false;
            }
        };
        self.said = None;
        self.sources = sources;
        let adopted = match self.build(&config) {
            Ok(mut generation) => {
                generation.hash = hash(&self.sources.corefile);
                generation.synced().await;
                self.adopt(generation, &config)
            }
            Err(error) => Err(error),
        };
        match adopted {
            Ok(()) => tracing::info!("the Corefile has changed and is in effect"),
            Err(error) => {
                failed(&error);
                return false;
            }
        }
        true
    }

    fn corefile_text(&self) -> Result<String, DnsError> {
        match &self.config.corefile {
            None => Ok(default_corefile(&self.config.cluster_domain)),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| DnsError::Read { path: path.clone(), source }),
        }
    }

    fn read(&self) -> Result<(Sources, Config), DnsError> {
        let corefile = self.corefile_text()?;
        let directory = self.config.corefile.as_deref().and_then(Path::parent);
        let config = Config::read_in(&corefile, directory.unwrap_or(Path::new(".")))?;
        let others = files(&config).map(|path| std::fs::read(path).ok()).collect();
        Ok((Sources { corefile, others }, config))
    }

    fn build(&self, config: &Config) -> Result<Generation, DnsError> {
        let shared = &self.shared;
        let maker = Maker {
            client: self.client.as_ref(),
            listen: self.config.listen,
            current: &shared.current.load(),
            stores: &shared.stores,
            tasks: &shared.tasks,
            stop: &shared.stop,
        };
        maker.build(config)
    }

    /// Puts a generation in place of the current one. On error the current one stays.
    fn adopt(&self, mut generation: Generation, config: &Config) -> Result<(), DnsError> {
        let spots = std::mem::take(&mut generation.spots);
        let shared = &self.shared;
        let mut opened = Vec::new();
        for spot in spots.keys() {
            if !shared.listeners.lock().contains_key(spot) {
                let sockets = Sockets::open(*spot, self.workers()).map_err(|source| {
                    DnsError::Listen { address: spot.address, purpose: "DNS", source }
                })?;
                opened.push((*spot, sockets));
            }
        }
        let wanted: HashMap<SocketAddr, &'static str> =
            generation.roles.iter().flat_map(Roles::addresses).collect();
        let mut opened_pages = Vec::new();
        for (address, purpose) in &wanted {
            if !shared.pages.lock().contains_key(address) {
                let socket = listen_tcp(*address).map_err(|source| DnsError::Listen {
                    address: *address,
                    purpose,
                    source,
                })?;
                opened_pages.push((*address, socket));
            }
        }
        // From here on nothing fails: the sockets are there.
        let listen_error =
            |address, purpose| move |source| DnsError::Listen { address, purpose, source };
        for (spot, sockets) in opened {
            let config = spots.get(&spot);
            let bound =
                self.listen(spot, sockets, config).map_err(listen_error(spot.address, "DNS"))?;
            shared.listeners.lock().insert(spot, bound);
        }
        shared.listeners.lock().retain(|spot, bound| {
            match spots.get(spot) {
                Some(config) => bound.listener.serve(config.routes.clone(), config.tls.clone()),
                None => bound.listener.stop.cancel(),
            }
            spots.contains_key(spot)
        });
        generation.notify(&shared.tasks);
        let old = shared.current.swap(generation.into());
        old.stop.cancel();
        for (address, socket) in opened_pages {
            let stop = shared.stop.child_token();
            let local = socket.local_addr().unwrap_or(address);
            let of = Arc::downgrade(shared);
            let pages = move |path: &str| page(&*of.upgrade()?, address, path);
            http::serve(socket, Arc::new(pages), &shared.tasks, stop.clone())
                .map_err(listen_error(address, "HTTP"))?;
            shared.pages.lock().insert(address, (stop, local));
        }
        shared.pages.lock().retain(|address, (stop, _)| {
            let keep = wanted.contains_key(address);
            if !keep {
                stop.cancel();
            }
            keep
        });
        let used: HashSet<StoreOptions> = config
            .sites
            .iter()
            .flat_map(|site| &site.kubernetes)
            .map(|k| k.store.clone())
            .collect();
        shared.stores.retain(&used);
        self.tell_server_addresses();
        Ok(())
    }

    fn workers(&self) -> usize {
        match self.config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(16),
            workers => workers,
        }
    }

    fn listen(
        &self,
        spot: Spot,
        sockets: Sockets,
        config: Option<&SpotConfig>,
    ) -> io::Result<Bound> {
        let shared = &self.shared;
        let stop = shared.stop.child_token();
        let listener =
            Listener::new(Routes::default(), sockets.local.port(), shared.tasks.clone(), stop);
        let listener = Arc::new(listener);
        if let Some(config) = config {
            listener.serve(config.routes.clone(), config.tls.clone());
        }
        for socket in sockets.udp {
            let serving = udp::serve(listener.clone(), socket);
            shared.tasks.spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "a UDP socket cannot be used any more");
                }
            });
        }
        let tcp = tokio::net::TcpListener::from_std(sockets.tcp)?;
        shared.tasks.spawn(tcp::serve(listener.clone(), tcp, spot.scheme));
        tracing::info!(scheme = spot.scheme.name(), address = %sockets.local, "serving DNS");
        Ok(Bound { listener, local: sockets.local })
    }

    /// `ns.dns.ZONE` is whatever leads to this server.
    fn tell_server_addresses(&self) {
        let locals: Vec<SocketAddr> =
            self.shared.listeners.lock().values().map(|bound| bound.local).collect();
        let mut own = Vec::new();
        for local in locals {
            if !local.ip().is_unspecified() {
                own.push(local.ip());
                continue;
            }
            // The address that this machine would use to reach others; nothing is sent.
            for (from, to) in [("0.0.0.0:0", "192.0.2.1:53"), ("[::]:0", "[2001:db8::1]:53")] {
                let source = UdpSocket::bind(from).and_then(|socket| {
                    socket.connect(to)?;
                    socket.local_addr()
                });
                own.extend(source.map(|address| address.ip()));
            }
        }
        own.sort_unstable();
        own.dedup();
        for kubernetes in self.shared.current.load().sites.iter().flat_map(|site| &site.kubernetes)
        {
            kubernetes.store().update(|names| names.set_server_addresses(own.clone()));
        }
    }

    /// Adds the files that `generation` is made of to those that are watched.
    fn watch_files(&self, watch: &FileWatch, generation: &Generation) {
        let mut files: Vec<PathBuf> = Vec::new();
        if generation.reload.is_some() {
            files.extend(self.config.corefile.clone());
            if let Ok((_, config)) = self.read() {
                files.extend(self::files(&config).cloned());
            }
        }
        let hosts = generation.sites.iter().filter_map(|site| site.hosts.as_ref()?.followed());
        files.extend(hosts.map(PathBuf::from));
        let zones = generation.sites.iter().flat_map(|site| &site.file);
        files.extend(zones.filter_map(|file| file.followed()).map(PathBuf::from));
        files.extend(generation.weighted().filter_map(|w| w.followed()).map(PathBuf::from));
        for file in files {
            if let Err(error) = watch.add(&file) {
                let file = file.display();
                tracing::debug!(%file, %error, "cannot hear of changes; looking from time to time");
            }
        }
    }

    /// Asks each server block once what only it is asked; yields the zones where that comes back.
    fn loop_probes(
        &self,
        generation: &Generation,
    ) -> FuturesUnordered<impl Future<Output = Option<String>> + use<>> {
        let probes = FuturesUnordered::new();
        for (spot, bound) in self.shared.listeners.lock().iter() {
            if spot.scheme != Scheme::Dns {
                continue;
            }
            let routes = bound.listener.routes.load();
            for site in &generation.sites {
                let route = routes.0.iter().find(|route| Arc::ptr_eq(&route.site, site));
                if let Some(route) = route.filter(|_| site.probe.is_some()) {
                    let to =
                        SocketAddr::new(loopback_if_wildcard(bound.local.ip()), bound.local.port());
                    probes.push(probe_loop(site.clone(), route.zone.to_string(), to));
                }
            }
        }
        probes
    }
}

fn hash(corefile: &str) -> String {
    use std::fmt::Write;
    let digest = <sha2::Sha512 as sha2::Digest>::digest(corefile);
    digest.iter().fold(String::with_capacity(128), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

async fn probe_loop(site: Arc<Site>, zone: String, to: SocketAddr) -> Option<String> {
    let probe = site.probe.as_ref()?;
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = tokio::net::UdpSocket::bind(any).await.ok()?;
    socket.connect(to).await.ok()?;
    let mut buffer = [0; 512];
    for wait in [2, 5, 10] {
        let _ = socket.send(&probe.message(rand::random())).await;
        let answered = tokio::time::timeout(Duration::from_secs(wait), socket.recv(&mut buffer));
        let answered = answered.await.is_ok_and(|received| received.is_ok());
        if probe.is_loop() {
            return Some(zone);
        }
        if answered {
            return None;
        }
    }
    None
}

async fn sleep_or_never(duration: Duration) {
    match duration {
        Duration::MAX => std::future::pending().await,
        duration => tokio::time::sleep(duration).await,
    }
}

/// The files besides the Corefile whose change is a change of the Corefile: those that it imports,
/// and those that name upstreams and certificates.
fn files(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let upstreams = config.sites.iter().flat_map(|site| &site.forward).flat_map(|f| f.files());
    let tls = config.sites.iter().filter_map(|site| site.tls.as_ref());
    config.imported.iter().chain(upstreams).chain(tls.flat_map(|tls| tls.files()))
}
