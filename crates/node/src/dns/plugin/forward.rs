//! `forward`: other people's names, from upstream servers.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portolan_model::names::to_wire;
use tokio::sync::{Notify, Semaphore};

use super::super::config::{duration, zones};
use super::super::corefile::{CorefileError, Directive, DirectiveOption};
use super::super::metrics::{Count, Histogram, Text};
use super::super::wire::{Query, Rcode, Transport};
use super::super::zone::{Zone, longest};
use super::upstream::{self, Relayed};

/// How long a query may take in all, as in CoreDNS.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long an upstream may take in the first round, and in the second.
const PATIENCE: Duration = Duration::from_secs(1);
const LONG_PATIENCE: Duration = Duration::from_secs(3);

/// How long an upstream may take when none is expected to answer.
const IMPATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Random,
    RoundRobin,
    Sequential,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Address(SocketAddr),
    /// A file as /etc/resolv.conf is.
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardConfig {
    from: Zone,
    to: Vec<Target>,
    except: Vec<Zone>,
    policy: Policy,
    /// 0 means any number.
    max_concurrent: usize,
    force_tcp: bool,
    prefer_udp: bool,
    /// Failures in a row after which an upstream is left out until it answers again; 0 never.
    max_fails: u32,
    probe_every: Duration,
    probe_recursion: bool,
    probe_name: Vec<u8>,
}

impl ForwardConfig {
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        let [from, to @ ..] = &directive.args[..] else {
            return Err(directive.error("takes a zone and at least one upstream"));
        };
        let from = zones(directive, directive.line, std::slice::from_ref(from))?;
        let [from] = &from[..] else {
            return Err(directive.error("takes a network that ends between labels"));
        };
        if to.is_empty() {
            return Err(directive.error("names no upstream"));
        }
        let mut config = Self {
            from: from.clone(),
            to: to.iter().map(|text| target(directive, text)).collect::<Result<_, _>>()?,
            except: Vec::new(),
            policy: Policy::Random,
            max_concurrent: 0,
            force_tcp: false,
            prefer_udp: false,
            max_fails: 2,
            probe_every: Duration::from_millis(500),
            probe_recursion: true,
            probe_name: Vec::new(),
        };
        for option in &directive.options {
            config.option(directive, option)?;
        }
        Ok(config)
    }

    fn option(
        &mut self,
        directive: &Directive,
        option: &DirectiveOption,
    ) -> Result<(), CorefileError> {
        match option.name.as_str() {
            "except" if !option.args.is_empty() => {
                self.except.extend(zones(directive, option.line, &option.args)?);
            }
            "force_tcp" => {
                directive.option_without_args(option)?;
                self.force_tcp = true;
            }
            "prefer_udp" => {
                directive.option_without_args(option)?;
                self.prefer_udp = true;
            }
            "max_concurrent" => self.max_concurrent = directive.one_as(option, "a number")?,
            "max_fails" => self.max_fails = directive.one_as(option, "a number")?,
            "policy" => {
                let what = "random, round_robin or sequential";
                self.policy = match directive.one(option, what)? {
                    "random" => Policy::Random,
                    "round_robin" => Policy::RoundRobin,
                    "sequential" => Policy::Sequential,
                    other => {
                        let problem = format!("policy takes {what}, not \"{other}\"");
                        return Err(directive.error_at(option.line, problem));
                    }
                };
            }
            // Connections are not kept, so none outlives any time that is set here.
            "expire" => {
                let text = directive.one(option, "a duration")?;
                self.read_duration(directive, option, text)?;
            }
            "health_check" => {
                let Some((text, rest)) = option.args.split_first() else {
                    return Err(directive.error_at(option.line, "health_check takes a duration"));
                };
                self.probe_every = self.read_duration(directive, option, text)?;
                self.read_probe(directive, option, rest)?;
            }
            _ => return Err(directive.unknown(option)),
        }
        Ok(())
    }

    fn read_duration(
        &self,
        directive: &Directive,
        option: &DirectiveOption,
        text: &str,
    ) -> Result<Duration, CorefileError> {
        duration(text)
            .ok_or_else(|| directive.error_at(option.line, format!("\"{text}\" is no duration")))
    }

    fn read_probe(
        &mut self,
        directive: &Directive,
        option: &DirectiveOption,
        args: &[String],
    ) -> Result<(), CorefileError> {
        match args {
            [] => Ok(()),
            [word, rest @ ..] if word == "no_rec" => {
                self.probe_recursion = false;
                self.read_probe(directive, option, rest)
            }
            [word, name, rest @ ..] if word == "domain" => {
                self.probe_name = to_wire(name).ok_or_else(|| {
                    directive.error_at(option.line, format!("\"{name}\" is no domain"))
                })?;
                self.read_probe(directive, option, rest)
            }
            [other, ..] => {
                let problem = format!("health_check: \"{other}\" is not supported");
                Err(directive.error_at(option.line, problem))
            }
        }
    }

    /// The files that name upstreams.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.to.iter().filter_map(|target| match target {
            Target::File(path) => Some(path),
            Target::Address(_) => None,
        })
    }
}

fn target(directive: &Directive, text: &str) -> Result<Target, CorefileError> {
    let address = match text.split_once("://") {
        Some(("dns", address)) => address,
        Some((scheme, _)) => {
            return Err(directive.error(format!("{scheme}:// is not supported in \"{text}\"")));
        }
        None => text,
    };
    if address.starts_with('/') {
        return Ok(Target::File(address.into()));
    }
    let whole = address.parse().ok();
    let bare = address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let read = whole.or_else(|| bare.map(|ip| SocketAddr::new(ip, 53)));
    read.map(Target::Address)
        .ok_or_else(|| directive.error(format!("upstream \"{text}\" is neither address nor file")))
}

/// The addresses of `nameserver` lines (resolv.conf(5)).
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_server)?;
        // A scope (`%eth0`) cannot be kept, and the address alone would not be reachable.
        address.parse().ok().map(|ip| SocketAddr::new(ip, 53))
    });
    servers.collect()
}

/// Those of `servers` that are not this server.
fn others(servers: Vec<SocketAddr>, own: &[SocketAddr], file: &Path) -> Vec<SocketAddr> {
    let is_own = |server: &SocketAddr| {
        own.iter().any(|own| {
            let here =
                own.ip() == server.ip() || own.ip().is_unspecified() && server.ip().is_loopback();
            here && own.port() == server.port()
        })
    };
    let (own, others): (Vec<_>, Vec<_>) = servers.into_iter().partition(is_own);
    for upstream in own {
        let file = file.display();
        tracing::warn!(%upstream, %file, "leaving out an upstream that is this server itself");
    }
    others
}

/// Why a query could not be forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("there is no upstream server to ask")]
    NoUpstream,
    #[error("as many queries as max_concurrent allows are waiting for answers")]
    TooMany,
    #[error("ask upstream {upstream}")]
    Upstream { upstream: SocketAddr, source: std::io::Error },
}

impl ForwardError {
    pub(crate) fn rcode(&self) -> Rcode {
        match self {
            Self::TooMany => Rcode::REFUSED,
            Self::NoUpstream | Self::Upstream { .. } => Rcode::SERVFAIL,
        }
    }
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    /// In a row.
    fails: AtomicU32,
    duration: Histogram,
    probe_failures: Count,
    by_rcode: [Count; 16],
}

#[derive(Debug)]
pub(crate) struct Forward {
    config: ForwardConfig,
    upstreams: Vec<Upstream>,
    turn: AtomicUsize,
    permits: Option<Semaphore>,
    rejects: Count,
    all_down: Count,
    /// Some upstream has failed and wants probing.
    failed: Notify,
}

impl Forward {
    /// `own` are the addresses that this server listens on: to forward to them would be to ask
    /// oneself, which is what a resolv.conf that names a stub on this machine comes down to.
    pub(crate) fn new(config: ForwardConfig, own: &[SocketAddr]) -> Self {
        let mut addresses = Vec::new();
        for target in &config.to {
            match target {
                Target::Address(address) => addresses.push(*address),
                Target::File(path) => match std::fs::read_to_string(path) {
                    Ok(text) => addresses.extend(others(nameservers(&text), own, path)),
                    Err(error) => {
                        let file = path.display();
                        tracing::warn!(%file, %error, "cannot read the upstreams' file");
                    }
                },
            }
        }
        addresses.dedup();
        if addresses.is_empty() {
            tracing::warn!(
                zone = %config.from,
                "no upstream server is known: names outside of the cluster will not resolve"
            );
        }
        let upstreams = addresses.into_iter().map(|address| Upstream {
            address,
            fails: AtomicU32::new(0),
            duration: Histogram::seconds(),
            probe_failures: Count::default(),
            by_rcode: Default::default(),
        });
        Self {
            upstreams: upstreams.collect(),
            turn: AtomicUsize::new(0),
            permits: (config.max_concurrent > 0).then(|| Semaphore::new(config.max_concurrent)),
            rejects: Count::default(),
            all_down: Count::default(),
            failed: Notify::new(),
            config,
        }
    }

    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        self.config.from.relative(name).is_some() && longest(&self.config.except, name).is_none()
    }

    /// Asks the upstreams in turn until one answers. `complete` wants no truncated answer.
    pub(crate) async fn exchange(
        &self,
        query: &Query<'_>,
        complete: bool,
    ) -> Result<Relayed, ForwardError> {
        let _permit = match &self.permits {
            None => None,
            Some(permits) => Some(permits.try_acquire().map_err(|_| {
                self.rejects.increment();
                ForwardError::TooMany
            })?),
        };
        let begun = Instant::now();
        let mut last = ForwardError::NoUpstream;
        let (upstreams, rounds) = self.order();
        for patience in rounds {
            for upstream in &upstreams {
                let left = DEADLINE.saturating_sub(begun.elapsed());
                let asked = Instant::now();
                match self.ask(upstream, query, complete, left.min(*patience)).await {
                    Ok(relayed) => {
                        upstream.fails.store(0, Ordering::Relaxed);
                        upstream.duration.observe(asked.elapsed().as_secs_f64(), 1);
                        upstream.by_rcode[usize::from(relayed.rcode.0 & 0x0f)].increment();
                        return Ok(relayed);
                    }
                    Err(source) => {
                        self.fail(upstream);
                        last = ForwardError::Upstream { upstream: upstream.address, source };
                    }
                }
                if begun.elapsed() >= DEADLINE {
                    return Err(last);
                }
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        upstream: &Upstream,
        query: &Query<'_>,
        complete: bool,
        patience: Duration,
    ) -> std::io::Result<Relayed> {
        let question = upstream::question(query, rand::random());
        let udp_first = self.config.prefer_udp || complete || query.transport == Transport::Udp;
        if self.config.force_tcp || !udp_first {
            return upstream::ask(upstream.address, &question, Transport::Tcp, patience).await;
        }
        let relayed = upstream::ask(upstream.address, &question, Transport::Udp, patience).await?;
        if relayed.truncated && (complete || query.transport == Transport::Tcp) {
            return upstream::ask(upstream.address, &question, Transport::Tcp, patience).await;
        }
        Ok(relayed)
    }

    /// The upstreams to try, and for each round how long to wait for one of them.
    fn order(&self) -> (Vec<&Upstream>, &'static [Duration]) {
        let count = self.upstreams.len();
        if count == 0 {
            return (Vec::new(), &[]);
        }
        let first = match self.config.policy {
            Policy::Random => rand::random_range(0..count),
            Policy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            Policy::Sequential => 0,
        };
        let (later, sooner) = self.upstreams.split_at(first);
        let (up, down): (Vec<_>, Vec<_>) =
            sooner.iter().chain(later).partition(|upstream| !self.is_down(upstream));
        if up.is_empty() {
            // Perhaps it is the probe that is wrong; but clients should not wait long for what
            // nobody expects to come.
            self.all_down.increment();
            return (down, &[IMPATIENCE]);
        }
        (up, &[PATIENCE, LONG_PATIENCE])
    }

    fn is_down(&self, upstream: &Upstream) -> bool {
        let limit = self.config.max_fails;
        limit > 0 && upstream.fails.load(Ordering::Relaxed) >= limit
    }

    fn fail(&self, upstream: &Upstream) {
        let fails = upstream.fails.fetch_add(1, Ordering::Relaxed) + 1;
        if fails == self.config.max_fails {
            tracing::warn!(upstream = %upstream.address, "upstream does not answer; leaving it out");
        }
        self.failed.notify_one();
    }

    /// Probes failed upstreams until they answer again; never returns.
    pub(crate) async fn probe(self: Arc<Self>) {
        loop {
            self.failed.notified().await;
            while self.upstreams.iter().any(|up| up.fails.load(Ordering::Relaxed) > 0) {
                tokio::time::sleep(self.config.probe_every).await;
                for upstream in &self.upstreams {
                    if upstream.fails.load(Ordering::Relaxed) > 0 {
                        self.probe_one(upstream).await;
                    }
                }
            }
        }
    }

    async fn probe_one(&self, upstream: &Upstream) {
        let id: u16 = rand::random();
        let mut message = id.to_be_bytes().to_vec();
        message.extend_from_slice(&[u8::from(self.config.probe_recursion), 0, 0, 1]);
        message.extend_from_slice(&[0; 6]);
        message.extend_from_slice(&self.config.probe_name);
        // NS of the root, or of what the Corefile says.
        message.extend_from_slice(&[0, 0, 2, 0, 1]);
        let transport = if self.config.force_tcp { Transport::Tcp } else { Transport::Udp };
        match upstream::ask(upstream.address, &message, transport, PATIENCE).await {
            Ok(_) => {
                if upstream.fails.swap(0, Ordering::Relaxed) >= self.config.max_fails.max(1) {
                    tracing::info!(upstream = %upstream.address, "upstream answers again");
                }
            }
            Err(_) => upstream.probe_failures.increment(),
        }
    }

    /// Appends the metrics of all `forwards`.
    pub(crate) fn write(forwards: &[&Self], text: &mut Text) {
        let sum = |of: fn(&Self) -> u64| forwards.iter().map(|forward| of(forward)).sum();
        text.single(
            "coredns_forward_max_concurrent_rejects_total",
            "counter",
            "Queries rejected because too many were waiting.",
            sum(|forward| forward.rejects.get()),
        );
        text.single(
            "coredns_forward_healthcheck_broken_total",
            "counter",
            "Times that all upstreams were down.",
            sum(|forward| forward.all_down.get()),
        );
        let upstreams = || forwards.iter().flat_map(|forward| &forward.upstreams);
        let name = "coredns_proxy_healthcheck_failures_total";
        text.head(name, "counter", "Failed health checks.");
        for upstream in upstreams() {
            let labels = format!("proxy_name=\"forward\",to=\"{}\"", upstream.address);
            text.line(name, &labels, upstream.probe_failures.get());
        }
        let name = "coredns_proxy_request_duration_seconds";
        text.head(name, "histogram", "Time that each upstream took.");
        for upstream in upstreams() {
            let labels = format!("proxy_name=\"forward\",to=\"{}\"", upstream.address);
            upstream.duration.write(text, name, &labels);
        }
        let name = "coredns_forward_responses_total";
        text.head(name, "counter", "Responses of upstreams by code.");
        for upstream in upstreams() {
            for (code, count) in upstream.by_rcode.iter().enumerate() {
                if count.get() > 0 {
                    let rcode = Rcode(code as u8).name();
                    let labels = format!("to=\"{}\",rcode=\"{rcode}\"", upstream.address);
                    text.line(name, &labels, count.get());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_names_upstreams() {
        let text =
            "# x\nsearch a\nnameserver 10.0.0.1\n nameserver fd00::1 \nnameserver fe80::1%e\n";
        let servers: Vec<_> = nameservers(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fd00::1]:53"]);
    }

    #[test]
    fn a_server_is_not_its_own_upstream() {
        let read = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let left = |own: &str| {
            let servers = vec![read("127.0.0.53:53"), read("10.0.0.1:53")];
            others(servers, &[read(own)], Path::new("resolv.conf")).len()
        };
        assert_eq!(left("[::]:53"), 1);
        assert_eq!(left("[::]:1053"), 2);
        assert_eq!(left("10.0.0.1:53"), 1);
        assert_eq!(left("127.0.0.1:53"), 2);
    }
}
