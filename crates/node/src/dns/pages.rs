//! What the pages over HTTP say.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::config::Config;
use super::generation::Generation;
use super::metrics::{Count, Histogram, Text, ZoneMetrics};
use super::plugin::cache::Cache;
use super::plugin::forward::Forward;
use super::runtime::Shared;
use super::site::loopback_if_wildcard;

/// The page `path` of the server at `address`, if that serves it.
pub(crate) fn page(
    shared: &Shared,
    address: SocketAddr,
    path: &str,
) -> Option<(StatusCode, String)> {
    let generation = shared.current.load();
    let any = |serves: fn(&Roles) -> Option<SocketAddr>| {
        generation.roles.iter().any(|roles| serves(roles) == Some(address))
    };
    match path {
        "/health" if any(|roles| roles.health) => Some((StatusCode::OK, "OK".into())),
        "/ready" if any(|roles| roles.ready) => Some(ready(shared, &generation)),
        "/metrics" if any(|roles| roles.prometheus) => {
            Some((StatusCode::OK, metrics(shared, &generation)))
        }
        _ => None,
    }
}

/// What the server learns from asking its own health page.
#[derive(Debug)]
pub(crate) struct SelfProbe {
    took: Histogram,
    failures: Count,
}

impl SelfProbe {
    pub(crate) fn new() -> Self {
        Self { took: Histogram::slim(), failures: Count::default() }
    }

    pub(crate) async fn ask(&self, page: SocketAddr) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let begun = Instant::now();
        let asking = async {
            let to = SocketAddr::new(loopback_if_wildcard(page.ip()), page.port());
            let mut stream = tokio::net::TcpStream::connect(to).await?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
            let mut status = [0; 12];
            stream.read_exact(&mut status).await?;
            Ok::<_, std::io::Error>(status.ends_with(b" 200"))
        };
        let answered = tokio::time::timeout(Duration::from_secs(5), asking).await;
        match answered {
            Ok(Ok(true)) => self.took.observe(begun.elapsed().as_secs_f64(), 1),
            _ => self.failures.increment(),
        }
    }
}

/// Which pages one server block asks for, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Roles {
    pub(crate) health: Option<SocketAddr>,
    pub(crate) ready: Option<SocketAddr>,
    pub(crate) prometheus: Option<SocketAddr>,
}

impl Roles {
    pub(crate) fn of(config: &Config) -> Vec<Self> {
        let roles = config.sites.iter().map(|site| Self {
            health: site.health.map(|health| health.address),
            ready: site.ready.map(|ready| ready.address),
            prometheus: site.prometheus,
        });
        roles.collect()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = (SocketAddr, &'static str)> {
        let all = [(self.health, "health"), (self.ready, "ready"), (self.prometheus, "prometheus")];
        all.into_iter().filter_map(|(address, purpose)| Some((address?, purpose)))
    }
}

/// 200 once all plugins can answer, else 503 and the names of those that cannot.
fn ready(shared: &Shared, generation: &Generation) -> (StatusCode, String) {
    let stores = generation.sites.iter().flat_map(|site| &site.kubernetes);
    let waiting = stores.filter(|plugin| !plugin.store().is_synced()).count();
    match waiting {
        // No new clients for one that is about to go.
        _ if shared.leaving.load(Ordering::Relaxed) => {
            (StatusCode::SERVICE_UNAVAILABLE, "leaving".into())
        }
        0 => (StatusCode::OK, "OK".into()),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "kubernetes".into()),
    }
}

fn metrics(shared: &Shared, generation: &Generation) -> String {
    let mut text = Text::default();
    let version = env!("CARGO_PKG_VERSION");
    text.head("coredns_build_info", "gauge", "The version of this server.");
    let labels = format!("version=\"{version}\",revision=\"portolan\",goversion=\"\"");
    text.line("coredns_build_info", &labels, 1);
    let panics = shared.listeners.lock().values().map(|bound| bound.listener.panics.get()).sum();
    text.single("coredns_panics_total", "counter", "Panics.", panics);
    let listeners: Vec<_> =
        shared.listeners.lock().values().map(|bound| bound.listener.clone()).collect();
    let mut zones: Vec<&ZoneMetrics> =
        generation.metrics.iter().map(|metrics| &**metrics).collect();
    zones.extend(listeners.iter().map(|listener| &listener.dropped));
    ZoneMetrics::write_all(&zones, &mut text);
    let sites = || generation.sites.iter().zip(&generation.servers);
    let caches: Vec<(&str, &Cache)> =
        sites().filter_map(|(site, server)| Some((&**server, site.cache.as_deref()?))).collect();
    Cache::write(&caches, &mut text);
    let forwards: Vec<&Forward> =
        sites().flat_map(|(site, _)| site.forward.iter()).map(|forward| &**forward).collect();
    Forward::write(&forwards, &mut text);
    let name = "coredns_kubernetes_dns_programming_duration_seconds";
    text.head(name, "histogram", "From the change of a pod to its being answered.");
    let stores = sites().flat_map(|(site, _)| &site.kubernetes);
    // One index is enough: all hear of the same changes.
    if let Some(plugin) = stores.into_iter().next() {
        for (kind, histogram) in plugin.store().programming.by_kind() {
            histogram.write(&mut text, name, &format!("service_kind=\"{kind}\""));
        }
    }
    if let Some(gate) = &shared.stores.gate {
        let name = "portolan_dns_proxy_skew_seconds";
        text.head(name, "histogram", "How long changes waited for the node's proxy.");
        gate.skew.write(&mut text, name, "");
        text.single(
            "portolan_dns_proxy_timeouts_total",
            "counter",
            "Changes that were answered before the node's proxy had them.",
            gate.timeouts.get(),
        );
    }
    let name = "coredns_health_request_duration_seconds";
    text.head(name, "histogram", "Time that the health page took, asked once a second.");
    shared.health.took.write(&mut text, name, "");
    text.single(
        "coredns_health_request_failures_total",
        "counter",
        "How often the health page did not answer.",
        shared.health.failures.get(),
    );
    text.head("coredns_hosts_entries", "gauge", "Entries of the hosts files.");
    for hosts in sites().filter_map(|(site, _)| site.hosts.as_ref()) {
        let labels = format!("hostsfile=\"{}\"", hosts.file().display());
        text.line("coredns_hosts_entries", &labels, hosts.entries());
    }
    let name = "coredns_hosts_reload_timestamp_seconds";
    text.head(name, "gauge", "When the newest of the hosts files was changed.");
    let modified = sites().filter_map(|(site, _)| site.hosts.as_ref()?.modified());
    text.line(name, "", modified.fold(0.0, f64::max));
    let limits = sites().filter_map(|(site, server)| {
        Some((server, site.front.as_ref()?.ratelimit.as_ref()?.limited.get()))
    });
    let name = "coredns_ratelimit_dropped_total";
    text.head(name, "counter", "Queries beyond their client's share.");
    for (server, limited) in limits {
        text.line(name, &format!("server=\"{server}\""), limited);
    }
    text.head("coredns_plugin_enabled", "gauge", "Which plugins a zone has.");
    for (labels, plugin) in &generation.plugins {
        let labels = format!("{labels},name=\"{plugin}\"");
        text.line("coredns_plugin_enabled", &labels, 1);
    }
    let failed = shared.failed_reloads.load(Ordering::Relaxed);
    text.single(
        "coredns_reload_failed_total",
        "counter",
        "Corefiles that could not be used.",
        failed,
    );
    text.head("coredns_reload_version_info", "gauge", "The Corefile in use.");
    let labels = format!("hash=\"sha512\",value=\"{}\"", generation.hash);
    text.line("coredns_reload_version_info", &labels, 1);
    process(&mut text);
    text.into_string()
}

/// What Prometheus' clients tell of their process, from proc_pid_stat(5) and its neighbours.
fn process(text: &mut Text) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}"));
    // Behind the program's name, which may hold anything: state is the third field.
    let stat = read("stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(0.0))
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
    let status = read("status").unwrap_or_default();
    let kib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        number.unwrap_or(0.0) * 1024.0
    };
    // Linux counts processor time for user space in hundredths of a second.
    let hertz = 100.0;
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let booted: f64 = booted.and_then(|word| word.trim().parse().ok()).unwrap_or(0.0);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time.",
            (field(14) + field(15)) / hertz,
        ),
        ("process_resident_memory_bytes", "gauge", "Resident memory.", kib("VmRSS:")),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", kib("VmSize:")),
        ("process_open_fds", "gauge", "Open files.", open as f64),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process was started.",
            booted + field(22) / hertz,
        ),
    ] {
        text.head(name, kind, help);
        text.line(name, "", value);
    }
}
