//! A *generation* is what one Corefile makes: server blocks with their plugins.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::DnsError;
use super::config::{Config, Key, ReloadConfig, Scheme, SiteConfig};
use super::corefile::CorefileError;
use super::front::Front;
use super::metrics::ZoneMetrics;
use super::pages::Roles;
use super::plugin::cache::Cache;
use super::plugin::errors::Errors;
use super::plugin::file::File;
use super::plugin::forward::Forward;
use super::plugin::hosts::Hosts;
use super::plugin::kubernetes::Kubernetes;
use super::plugin::looping::LoopProbe;
use super::plugin::weighted::Weighted;
use super::site::{Route, Site};
use super::sockets::Spot;
use super::store::Stores;

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
    pub(super) spots: HashMap<Spot, SpotConfig>,
    pub(super) lameduck: Duration,
    /// Identifies the text of the Corefile.
    pub(crate) hash: String,
    /// How the Corefile is followed; `None` when it is not.
    pub(super) reload: Option<ReloadConfig>,
    /// Ends the tasks that belong to these plugins.
    pub(super) stop: CancellationToken,
}

/// What is served at one address.
#[derive(Debug, Default)]
pub(super) struct SpotConfig {
    pub(super) routes: Vec<Route>,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

impl Drop for Generation {
    /// One that never came to be leaves nothing behind either.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What generations are made with.
pub(super) struct Maker<'a> {
    pub(super) client: Option<&'a kube::Client>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) current: &'a Generation,
    pub(super) stores: &'a Stores,
    pub(super) tasks: &'a TaskTracker,
    pub(super) stop: &'a CancellationToken,
}

impl Maker<'_> {
    pub(super) fn build(&self, config: &Config) -> Result<Generation, DnsError> {
        let mut generation = Generation::default();
        generation.roles = Roles::of(config);
        generation.stop = self.stop.child_token();
        let mut places = Vec::new();
        for site in &config.sites {
            places.push(self.places(config, site)?);
        }
        let own: Vec<SocketAddr> = places.iter().flatten().map(|(_, spot)| spot.address).collect();
        for (site, places) in config.sites.iter().zip(&places) {
            let running = Arc::new(self.site(site, &own, &generation.stop)?);
            generation.lameduck =
                generation.lameduck.max(site.health.map_or(Duration::ZERO, |h| h.lameduck));
            let reload = generation.reload.into_iter().chain(site.reload);
            generation.reload = reload.min_by_key(|reload| reload.interval);
            let tls = site.tls.as_ref().map(|tls| tls.load()).transpose()?;
            for (index, (key, spot)) in places.iter().enumerate() {
                let Key { scheme, zone, port } = key;
                let bound = if site.bind.is_empty() {
                    String::new()
                } else {
                    SocketAddr::new(spot.address.ip(), 0).to_string().replace(":0", "")
                };
                let server = format!("{}://{bound}:{port}", scheme.name());
                let labels = format!("server=\"{server}\",zone=\"{zone}\",view=\"\"");
                // Counters go on counting when the Corefile changes.
                let known = self.current.metrics.iter().find(|known| known.labels() == labels);
                let metrics = known.cloned().unwrap_or_else(|| Arc::new(ZoneMetrics::new(&labels)));
                let at = generation.spots.entry(*spot).or_default();
                at.routes.push(Route {
                    zone: zone.clone(),
                    site: running.clone(),
                    metrics: metrics.clone(),
                });
                if at.tls.is_none() && *scheme == Scheme::Tls {
                    at.tls = tls.clone();
                }
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

    /// Where each zone of a server block is served.
    fn places(
        &self,
        config: &Config,
        site: &SiteConfig,
    ) -> Result<Vec<(Key, Spot)>, CorefileError> {
        // `--listen` moves the block for `.:PORT`, and with it all blocks at that port.
        let keys = || config.sites.iter().flat_map(|site| &site.keys);
        let root = keys().find(|key| key.zone.wire().is_empty() && key.scheme == Scheme::Dns);
        let moved = self.listen.and_then(|to| root.map(|key| (key.port, to)));
        let mut bound: Vec<IpAddr> = Vec::new();
        for bind in &site.bind {
            bound.extend(bind.addresses()?);
        }
        bound.sort_unstable();
        bound.dedup();
        if bound.is_empty() {
            bound.push(Ipv6Addr::UNSPECIFIED.into());
        }
        let mut places = Vec::new();
        for key in &site.keys {
            let scheme = key.scheme;
            match moved {
                Some((from, address)) if from == key.port && scheme == Scheme::Dns => {
                    places.push((key.clone(), Spot { scheme, address }));
                }
                _ => places.extend(bound.iter().map(|ip| {
                    let address = SocketAddr::new(*ip, key.port);
                    (key.clone(), Spot { scheme, address })
                })),
            }
        }
        Ok(places)
    }

    fn site(
        &self,
        config: &SiteConfig,
        own: &[SocketAddr],
        stop: &CancellationToken,
    ) -> Result<Site, DnsError> {
        let mut kubernetes = Vec::new();
        for plugin in &config.kubernetes {
            let store = match (self.stores.find(&plugin.store), self.client) {
                (Some(store), _) => store,
                (None, Some(client)) => {
                    self.stores.open(&plugin.store, client, self.tasks, self.stop)
                }
                (None, None) => return Err(DnsError::NoClient),
            };
            kubernetes.push(Kubernetes::new(plugin.clone(), store));
        }
        let mut forward = Vec::new();
        for plugin in &config.forward {
            forward.push(Arc::new(Forward::new(plugin.clone(), own)?));
        }
        for forward in &forward {
            let (probing, stop) = (forward.clone().probe(), stop.clone());
            self.tasks.spawn(async move {
                stop.run_until_cancelled(probing).await;
            });
        }
        let mut file = Vec::new();
        for plugin in &config.file {
            file.push(File::new(plugin.clone())?);
        }
        let zone = config.keys.first().map(|key| &key.zone);
        Ok(Site {
            errors: config.errors.clone().map(Errors::new),
            log: config.log.clone(),
            turn: config.rotate.then(AtomicUsize::default),
            front: Front::new(config)?,
            template: config.template.clone(),
            transfer: config.transfer.clone(),
            hosts: config.hosts.clone().map(Hosts::new),
            kubernetes,
            file,
            probe: zone
                .filter(|_| config.detect_loop)
                .map(|zone| LoopProbe::new(zone, rand::random())),
            cache: config.cache.clone().map(|cache| Arc::new(Cache::new(cache))),
            forward: forward.into(),
            tasks: self.tasks.clone(),
            stop: stop.clone(),
        })
    }
}

impl Generation {
    /// Tells other servers of the zones that they may transfer.
    pub(super) fn notify(&self, tasks: &TaskTracker) {
        for site in &self.sites {
            for transfer in &site.transfer {
                for zone in transfer.notified(&site.file) {
                    let (telling, stop) =
                        (transfer.clone().notify(zone.clone()), self.stop.clone());
                    tasks.spawn(async move {
                        stop.run_until_cancelled(telling).await;
                    });
                }
            }
        }
    }

    /// The files of weights in use.
    pub(super) fn weighted(&self) -> impl Iterator<Item = &Weighted> {
        let fronts = self.sites.iter().filter_map(|site| site.front.as_ref());
        fronts.filter_map(|front| front.weighted.as_ref())
    }

    /// Waits until the names of the cluster are complete, but not longer than the Corefile says.
    pub(super) async fn synced(&self) {
        let plugins = || self.sites.iter().flat_map(|site| &site.kubernetes);
        let Some(patience) = plugins().map(Kubernetes::startup_timeout).max() else { return };
        let all = plugins().map(|kubernetes| kubernetes.store().wait_synced());
        if tokio::time::timeout(patience, futures::future::join_all(all)).await.is_err() {
            tracing::warn!("serving although the API server has not told of everything yet");
        }
    }

    /// How long to wait until files are looked at, where their changes are not heard of.
    pub(super) fn patience(&self) -> Duration {
        let corefile = self.reload.map(|reload| {
            let (interval, jitter) = (reload.interval, reload.jitter);
            let low = interval.saturating_sub(jitter);
            low + (jitter * 2).mul_f64(rand::random_range(0.0..1.0))
        });
        let zones = self.sites.iter().flat_map(|site| &site.file).map(File::interval);
        let weights = self.weighted().map(Weighted::interval);
        corefile.into_iter().chain(zones).chain(weights).min().unwrap_or(Duration::MAX)
    }
}
