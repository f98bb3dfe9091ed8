//! Starting, following changes, stopping.
//!
//! A *generation* is what one Corefile makes: server blocks with their plugins. Sockets, indices
//! and their watches live longer: a reload hands them over, so that no query is lost.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use portolan_linux::datagram;
use portolan_linux::watch::FileWatch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{Config, SiteConfig};
use super::metrics::ZoneMetrics;
use super::pages::{Roles, SelfProbe, page};
use super::plugin::cache::Cache;
use super::plugin::forward::Forward;
use super::plugin::hosts::Hosts;
use super::plugin::kubernetes::Kubernetes;
use super::plugin::looping::LoopProbe;
use super::server::{Listener, http, listen_tcp, tcp, udp, without_ipv6};
use super::site::{Route, Routes, Site, loopback_if_wildcard};
use super::store::{StoreOptions, Stores};
use super::{DnsConfig, DnsError, default_corefile};

/// How long a new Corefile waits for an index of its own before it takes over regardless.
const SYNC_PATIENCE: Duration = Duration::from_secs(5);

/// Changes of files come in flurries.
const SETTLE: Duration = Duration::from_millis(20);

/// What one Corefile makes.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    pub(crate) sites: Vec<Arc<Site>>,
    /// The label `server` of each site.
    pub(crate) servers: Vec<String>,
    pub(crate) metrics: Vec<Arc<ZoneMetrics>>,
    pub(crate) roles: Vec<Roles>,
    /// Labels and name of each plugin in use.
    pub(crate) plugins: Vec<(String, &'static str)>,
    by_address: HashMap<SocketAddr, Vec<Route>>,
    lameduck: Duration,
    /// Identifies the text of the Corefile.
    pub(crate) hash: String,
    /// How often to look at the Corefile; `None` when it is not followed.
    reload: Option<Duration>,
    /// Ends the tasks that belong to these plugins.
    stop: CancellationToken,
}

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
    pub(crate) listeners: Mutex<HashMap<SocketAddr, Bound>>,
    pub(crate) failed_reloads: AtomicU64,
    pub(crate) health: SelfProbe,
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
    /// Reads the Corefile and listens. Answers come from now on; [`Server::serve`] follows changes.
    pub(crate) fn start(
        client: Option<kube::Client>,
        config: DnsConfig,
        stores: Stores,
    ) -> Result<Self, DnsError> {
        let shared = Shared {
            current: ArcSwap::default(),
            listeners: Mutex::default(),
            failed_reloads: AtomicU64::new(0),
            health: SelfProbe::new(),
            pages: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stores,
        };
        let mut server =
            Self { shared: Arc::new(shared), client, config, sources: Sources::default() };
        let (sources, parsed) = server.read()?;
        let mut generation = server.build(&parsed)?;
        generation.hash = hash(&sources.corefile);
        server.adopt(generation, &parsed).inspect_err(|_| server.shared.stop.cancel())?;
        server.sources = sources;
        Ok(server)
    }

    /// The addresses that DNS is served at.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.listeners.lock().values().map(|bound| bound.local).collect()
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
                () = sleep_or_never(generation.reload.unwrap_or(Duration::MAX)) => {}
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
                // Said once for each text.
                let text = self.corefile_text().unwrap_or_default();
                if std::mem::replace(&mut self.sources.corefile, text.clone()) != text {
                    failed(&error);
                }
                return false;
            }
        };
        self.sources = sources;
        let adopted = match self.build(&config) {
            Ok(mut generation) => {
                generation.hash = hash(&self.sources.corefile);
                let stores = generation.sites.iter().flat_map(|site| &site.kubernetes);
                let synced = futures::future::join_all(
                    stores.map(|kubernetes| kubernetes.store().wait_synced()),
                );
                let _ = tokio::time::timeout(SYNC_PATIENCE, synced).await;
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
        let config = Config::read(&corefile)?;
        let others = upstream_files(&config).map(|path| std::fs::read(path).ok()).collect();
        Ok((Sources { corefile, others }, config))
    }

    fn build(&self, config: &Config) -> Result<Generation, DnsError> {
        let mut generation = Generation { roles: Roles::of(config), ..Generation::default() };
        // `--listen` moves the block for `.:PORT`, and with it all blocks at that port.
        let root = config
            .sites
            .iter()
            .flat_map(|site| &site.keys)
            .find(|(zone, _)| zone.wire().is_empty());
        let moved = self.config.listen.and_then(|to| root.map(|(_, port)| (*port, to)));
        let address_of = |port: u16| match moved {
            Some((from, to)) if from == port => to,
            _ => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        };
        let own: Vec<SocketAddr> = config
            .sites
            .iter()
            .flat_map(|site| &site.keys)
            .map(|(_, port)| address_of(*port))
            .collect();
        let current = self.shared.current.load();
        for site in &config.sites {
            let running = Arc::new(self.site(site, &own, &generation.stop)?);
            generation.lameduck =
                generation.lameduck.max(site.health.map_or(Duration::ZERO, |h| h.lameduck));
            let reload = site.reload.map(|reload| reload.interval);
            generation.reload = generation.reload.into_iter().chain(reload).min();
            for (index, (zone, port)) in site.keys.iter().enumerate() {
                let server = format!("dns://:{port}");
                let labels = format!("server=\"{server}\",zone=\"{zone}\",view=\"\"");
                // Counters go on counting when the Corefile changes.
                let known = current.metrics.iter().find(|metrics| metrics.labels() == labels);
                let metrics = known.cloned().unwrap_or_else(|| Arc::new(ZoneMetrics::new(&labels)));
                generation.by_address.entry(address_of(*port)).or_default().push(Route {
                    zone: zone.clone(),
                    site: running.clone(),
                    metrics: metrics.clone(),
                });
                generation.metrics.push(metrics);
                let plugins = site.plugins().map(|plugin| (labels.clone(), plugin));
                generation.plugins.extend(plugins);
                if index == 0 {
                    generation.servers.push(server);
                }
            }
            generation.sites.push(running);
        }
        Ok(generation)
    }

    fn site(
        &self,
        config: &SiteConfig,
        own: &[SocketAddr],
        stop: &CancellationToken,
    ) -> Result<Site, DnsError> {
        let mut kubernetes = Vec::new();
        for plugin in &config.kubernetes {
            let Shared { tasks, stop, stores, .. } = &*self.shared;
            let store = match (stores.find(&plugin.store), &self.client) {
                (Some(store), _) => store,
                (None, Some(client)) => stores.open(&plugin.store, client, tasks, stop),
                (None, None) => return Err(DnsError::NoClient),
            };
            kubernetes.push(Kubernetes::new(plugin.clone(), store));
        }
        let forward: Vec<_> = config
            .forward
            .iter()
            .map(|forward| Arc::new(Forward::new(forward.clone(), own)))
            .collect();
        for forward in &forward {
            let (probing, stop, all) =
                (forward.clone().probe(), stop.clone(), self.shared.stop.clone());
            self.shared.tasks.spawn(async move {
                all.run_until_cancelled(stop.run_until_cancelled(probing)).await;
            });
        }
        let zone = config.keys.first().map(|(zone, _)| zone);
        Ok(Site {
            errors: config.errors,
            log: config.log.clone(),
            turn: config.rotate.then(AtomicUsize::default),
            hosts: config.hosts.clone().map(Hosts::new),
            kubernetes,
            probe: zone
                .filter(|_| config.detect_loop)
                .map(|zone| LoopProbe::new(zone, rand::random())),
            cache: config.cache.clone().map(Cache::new),
            forward,
        })
    }

    /// Puts a generation in place of the current one. On error the current one stays.
    fn adopt(&self, mut generation: Generation, config: &Config) -> Result<(), DnsError> {
        let by_address = std::mem::take(&mut generation.by_address);
        let shared = &self.shared;
        let mut opened = Vec::new();
        for (address, routes) in &by_address {
            if !shared.listeners.lock().contains_key(address) {
                let sockets = Sockets::open(*address, self.workers()).map_err(|source| {
                    DnsError::Listen { address: *address, purpose: "DNS", source }
                })?;
                opened.push((*address, sockets, routes.clone()));
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
        for (address, sockets, routes) in opened {
            let bound =
                self.listen(sockets, Routes::new(routes)).map_err(listen_error(address, "DNS"))?;
            shared.listeners.lock().insert(address, bound);
        }
        shared.listeners.lock().retain(|address, bound| {
            match by_address.get(address) {
                Some(routes) => bound.listener.routes.store(Routes::new(routes.clone()).into()),
                None => bound.listener.stop.cancel(),
            }
            by_address.contains_key(address)
        });
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

    fn listen(&self, sockets: Sockets, routes: Routes) -> io::Result<Bound> {
        let shared = &self.shared;
        let stop = shared.stop.child_token();
        let listener =
            Arc::new(Listener::new(routes, sockets.local.port(), shared.tasks.clone(), stop));
        for socket in sockets.udp {
            let serving = udp::serve(listener.clone(), socket);
            shared.tasks.spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "a UDP socket cannot be used any more");
                }
            });
        }
        let tcp = tokio::net::TcpListener::from_std(sockets.tcp)?;
        shared.tasks.spawn(tcp::serve(listener.clone(), tcp));
        tracing::info!(address = %sockets.local, "serving DNS");
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
                files.extend(upstream_files(&config).cloned());
            }
        }
        let hosts = generation.sites.iter().filter_map(|site| site.hosts.as_ref()?.followed());
        files.extend(hosts.map(PathBuf::from));
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
        for bound in self.shared.listeners.lock().values() {
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

/// The files that name upstreams.
fn upstream_files(config: &Config) -> impl Iterator<Item = &PathBuf> {
    config.sites.iter().flat_map(|site| &site.forward).flat_map(|forward| forward.files())
}

/// The sockets for one address.
struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: std::net::TcpListener,
    local: SocketAddr,
}

impl Sockets {
    fn open(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let address = if without_ipv6(address) {
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())
        } else {
            address
        };
        let bind = |address| datagram::bind(address).map_err(io::Error::other);
        // TCP first: two servers may not share it, so a port that is taken shows.
        let mut attempts = 0;
        let (tcp, first) = loop {
            let tcp = listen_tcp(address)?;
            match bind(tcp.local_addr()?) {
                Ok(udp) => break (tcp, udp),
                // The port was the system's choice, and is free for TCP only.
                Err(_) if address.port() == 0 && attempts < 16 => attempts += 1,
                Err(error) => return Err(error),
            }
        };
        let local = first.local_addr()?;
        let mut udp = vec![first];
        for _ in 1..workers.max(1) {
            udp.push(bind(local)?);
        }
        Ok(Self { udp, tcp, local })
    }
}
