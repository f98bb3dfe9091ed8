//! `forward`: other people's names, from upstream servers.

mod config;
mod connection;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::sync::{Notify, Semaphore};

use super::super::corefile::CorefileError;
use super::super::metrics::{Count, Histogram};
use super::super::wire::{Query, Rcode, Transport};
use super::super::zone::longest;
use super::upstream::{self, Relayed};
pub(crate) use config::ForwardConfig;
use config::{Policy, Target, nameservers, others};
use connection::Endpoint;

/// How long a query may take in all, as in CoreDNS.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long an upstream may take in the first round, and in later ones.
const PATIENCE: Duration = Duration::from_secs(1);
const LONG_PATIENCE: Duration = Duration::from_secs(3);

/// How long an upstream may take when none is expected to answer.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// Why a query could not be forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("there is no upstream server to ask")]
    NoUpstream,
    #[error("all upstream servers are down")]
    AllDown,
    #[error("as many queries as max_concurrent allows are waiting for answers")]
    TooMany,
    #[error("ask upstream {upstream}")]
    Upstream { upstream: SocketAddr, source: std::io::Error },
}

impl ForwardError {
    pub(crate) fn rcode(&self) -> Rcode {
        match self {
            Self::TooMany => Rcode::REFUSED,
            Self::NoUpstream | Self::AllDown | Self::Upstream { .. } => Rcode::SERVFAIL,
        }
    }
}

#[derive(Debug)]
struct Upstream {
    endpoint: Endpoint,
    /// In a row.
    fails: AtomicU32,
    /// By code.
    durations: [Histogram; 16],
    probe_failures: Count,
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

/// What besides the question matters to who is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking<'a> {
    /// No truncated answer will do.
    pub(crate) complete: bool,
    /// EDNS options to send along.
    pub(crate) options: &'a [u8],
}

impl Forward {
    /// `own` are the addresses that this server listens on: to forward to them would be to ask
    /// oneself, which is what a resolv.conf that names a stub on this machine comes down to.
    pub(crate) fn new(config: ForwardConfig, own: &[SocketAddr]) -> Result<Self, CorefileError> {
        let endpoint =
            |address| Endpoint::new(address, config.source, config.expire, config.max_idle);
        let needs_tls = config.to.iter().any(|target| matches!(target, Target::Tls(..)));
        let tls = match needs_tls {
            true => Some(config.tls.load().map_err(|problem| config.error(problem))?),
            false => None,
        };
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for target in &config.to {
            match target {
                Target::Address(address) => endpoints.push(endpoint(*address)),
                Target::Tls(address, name) => {
                    let name = name.as_ref().or(config.tls_name.as_ref());
                    // Without a name, the certificate has to hold the address itself.
                    let name = match name {
                        None => ServerName::from(address.ip()),
                        Some(name) => ServerName::try_from(name.clone())
                            .map_err(|_| config.error(format!("\"{name}\" is no server's name")))?,
                    };
                    endpoints.extend(tls.clone().map(|tls| endpoint(*address).over_tls(tls, name)));
                }
                Target::File(path) => match std::fs::read_to_string(path) {
                    Ok(text) => {
                        let servers = others(nameservers(&text), own, path);
                        endpoints.extend(servers.into_iter().map(endpoint));
                    }
                    Err(error) => {
                        let file = path.display();
                        tracing::warn!(%file, %error, "cannot read the upstreams' file");
                    }
                },
            }
        }
        endpoints.dedup_by_key(|endpoint| (endpoint.address, endpoint.is_tls()));
        if endpoints.is_empty() {
            tracing::warn!(
                zone = %config.from,
                "no upstream server is known: names outside of the cluster will not resolve"
            );
        }
        let upstreams = endpoints.into_iter().map(|endpoint| Upstream {
            endpoint,
            fails: AtomicU32::new(0),
            durations: std::array::from_fn(|_| Histogram::seconds()),
            probe_failures: Count::default(),
        });
        Ok(Self {
            upstreams: upstreams.collect(),
            turn: AtomicUsize::new(0),
            permits: (config.max_concurrent > 0).then(|| Semaphore::new(config.max_concurrent)),
            rejects: Count::default(),
            all_down: Count::default(),
            failed: Notify::new(),
            config,
        })
    }

    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        self.config.from.relative(name).is_some() && longest(&self.config.except, name).is_none()
    }

    /// Whether the next `forward` that takes the name is to be asked after this answer.
    pub(crate) fn passes(&self, relayed: &Relayed) -> bool {
        let nodata = relayed.rcode == Rcode::NOERROR && !relayed.answers;
        self.config.next.contains(&relayed.rcode) || self.config.next_on_nodata && nodata
    }

    /// Asks the upstreams in turn until one answers.
    pub(crate) async fn exchange(
        &self,
        query: &Query<'_>,
        asking: Asking<'_>,
    ) -> Result<Relayed, ForwardError> {
        let _permit = match &self.permits {
            None => None,
            Some(permits) => Some(permits.try_acquire().map_err(|_| {
                self.rejects.increment();
                ForwardError::TooMany
            })?),
        };
        let begun = Instant::now();
        let (upstreams, any_up) = self.order();
        if !any_up && self.config.fail_fast && !upstreams.is_empty() {
            return Err(ForwardError::AllDown);
        }
        let mut last = Err(ForwardError::NoUpstream);
        let attempts = self.attempts(upstreams.len(), any_up);
        for (attempt, upstream) in (0..attempts).zip(upstreams.iter().cycle()) {
            let patience = match (any_up, self.config.read_timeout, attempt / upstreams.len()) {
                (_, Some(patience), _) => patience,
                (false, None, _) => IMPATIENCE,
                (true, None, 0) => PATIENCE,
                (true, None, _) => LONG_PATIENCE,
            };
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let asked = Instant::now();
            match self.ask(upstream, query, asking, left.min(patience)).await {
                Ok(relayed) => {
                    upstream.fails.store(0, Ordering::Relaxed);
                    let durations = &upstream.durations[usize::from(relayed.rcode.0 & 0x0f)];
                    durations.observe(asked.elapsed().as_secs_f64(), 1);
                    let others = attempt + 1 < upstreams.len();
                    if !others || !self.config.failover.contains(&relayed.rcode) {
                        return Ok(relayed);
                    }
                    last = Ok(relayed);
                }
                Err(source) => {
                    self.fail(upstream);
                    if last.is_err() {
                        let upstream = upstream.endpoint.address;
                        last = Err(ForwardError::Upstream { upstream, source });
                    } else if attempt + 1 >= upstreams.len() {
                        return last;
                    }
                }
            }
            if begun.elapsed() >= DEADLINE {
                return last;
            }
        }
        last
    }

    /// How often upstreams are asked for one query.
    fn attempts(&self, upstreams: usize, any_up: bool) -> usize {
        match self.config.max_attempts {
            _ if upstreams == 0 => 0,
            Some(0) => usize::MAX,
            Some(most) => most as usize,
            None if any_up => upstreams * 2,
            // Perhaps it is the probe that is wrong; but clients should not wait long for what
            // nobody expects to come.
            None => upstreams,
        }
    }

    async fn ask(
        &self,
        upstream: &Upstream,
        query: &Query<'_>,
        asking: Asking<'_>,
        patience: Duration,
    ) -> std::io::Result<Relayed> {
        let question = upstream::question(query, rand::random(), asking.options);
        let endpoint = &upstream.endpoint;
        let udp_first =
            self.config.prefer_udp || asking.complete || query.transport == Transport::Udp;
        if self.config.force_tcp || !udp_first {
            return endpoint.ask(&question, Transport::Tcp, patience).await;
        }
        let relayed = endpoint.ask(&question, Transport::Udp, patience).await?;
        if relayed.truncated && (asking.complete || query.transport == Transport::Tcp) {
            return endpoint.ask(&question, Transport::Tcp, patience).await;
        }
        Ok(relayed)
    }

    /// The upstreams to try, in order, and whether any of them is expected to answer.
    fn order(&self) -> (Vec<&Upstream>, bool) {
        let count = self.upstreams.len();
        if count == 0 {
            return (Vec::new(), false);
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
            self.all_down.increment();
            return (down, false);
        }
        (up, true)
    }

    fn is_down(&self, upstream: &Upstream) -> bool {
        let limit = self.config.max_fails;
        limit > 0 && upstream.fails.load(Ordering::Relaxed) >= limit
    }

    fn fail(&self, upstream: &Upstream) {
        let fails = upstream.fails.fetch_add(1, Ordering::Relaxed) + 1;
        if fails == self.config.max_fails {
            let upstream = upstream.endpoint.address;
            tracing::warn!(%upstream, "upstream does not answer; leaving it out");
        }
        if self.config.max_fails > 0 {
            self.failed.notify_one();
        }
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
        match upstream.endpoint.ask(&message, transport, PATIENCE).await {
            Ok(_) => {
                if upstream.fails.swap(0, Ordering::Relaxed) >= self.config.max_fails.max(1) {
                    let upstream = upstream.endpoint.address;
                    tracing::info!(%upstream, "upstream answers again");
                }
            }
            Err(_) => upstream.probe_failures.increment(),
        }
    }
}
