//! `cache`: what upstreams answered, for a while.
//!
//! It stands before `forward` only. Names of the cluster and of hosts files are answered from what
//! is true now, so a change shows at once.

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use parking_lot::Mutex;

use super::super::config::{duration, zones};
use super::super::corefile::{CorefileError, Directive};
use super::super::metrics::{Count, Text};
use super::super::wire::{Query, Rcode, Reply};
use super::super::zone::{Zone, longest};
use super::Step;
use super::upstream::Relayed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheConfig {
    zones: Vec<Zone>,
    success: Limits,
    denial: Limits,
    servfail: Duration,
    disable_success: Vec<Zone>,
    disable_denial: Vec<Zone>,
    keep_ttl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    capacity: usize,
    ttl: u32,
    min_ttl: u32,
}

const CAPACITY: usize = 9984;
const MIN_TTL: u32 = 5;

impl CacheConfig {
    pub(crate) fn read(directive: &Directive, keys: &[(Zone, u16)]) -> Result<Self, CorefileError> {
        let mut args = &directive.args[..];
        let mut ttls = (3600, 1800);
        if let Some(ttl) = args.first().and_then(|arg| arg.parse::<u32>().ok()) {
            if ttl == 0 {
                return Err(directive.error("its TTL is at least one second"));
            }
            ttls = (ttl, ttl);
            args = &args[1..];
        }
        let limits = |ttl| Limits { capacity: CAPACITY, ttl, min_ttl: MIN_TTL };
        let mut config = Self {
            zones: super::super::config::zones_or_block(directive, args, keys)?,
            success: limits(ttls.0),
            denial: limits(ttls.1),
            servfail: Duration::from_secs(5),
            disable_success: Vec::new(),
            disable_denial: Vec::new(),
            keep_ttl: false,
        };
        for option in &directive.options {
            match (option.name.as_str(), &option.args[..]) {
                ("success", args) => read_limits(&mut config.success, args)
                    .ok_or_else(|| bad_limits(directive, option.line, "success"))?,
                ("denial", args) => read_limits(&mut config.denial, args)
                    .ok_or_else(|| bad_limits(directive, option.line, "denial"))?,
                ("servfail", [text]) => {
                    config.servfail = duration(text)
                        .filter(|duration| *duration <= Duration::from_secs(300))
                        .ok_or_else(|| {
                            let problem = "servfail takes a duration of at most 5m";
                            directive.error_at(option.line, problem)
                        })?;
                }
                ("disable", [class, rest @ ..]) => {
                    let named = if rest.is_empty() {
                        vec![Zone::root()]
                    } else {
                        zones(directive, option.line, rest)?
                    };
                    match class.as_str() {
                        "success" => config.disable_success.extend(named),
                        "denial" => config.disable_denial.extend(named),
                        _ => {
                            let problem = "disable takes success or denial";
                            return Err(directive.error_at(option.line, problem));
                        }
                    }
                }
                ("keepttl", []) => config.keep_ttl = true,
                _ => return Err(directive.unknown(option)),
            }
        }
        Ok(config)
    }
}

fn bad_limits(directive: &Directive, line: usize, name: &str) -> CorefileError {
    directive.error_at(line, format!("{name} takes CAPACITY [TTL] [MINTTL], TTL at least 1"))
}

fn read_limits(limits: &mut Limits, args: &[String]) -> Option<()> {
    let mut numbers = args.iter().map(|arg| arg.parse::<u32>().ok());
    limits.capacity = numbers.next()??.max(1) as usize;
    if let Some(ttl) = numbers.next() {
        limits.ttl = ttl.filter(|ttl| *ttl > 0)?;
    }
    if let Some(min_ttl) = numbers.next() {
        limits.min_ttl = min_ttl?;
    }
    numbers.next().is_none().then_some(())
}

/// Name, type, and the bits of the query that change an answer: DO and CD.
type Key = Box<[u8]>;

#[derive(Debug)]
struct Entry {
    /// The answer without an OPT record.
    message: Box<[u8]>,
    /// Where its TTLs lie.
    ttls: Box<[u16]>,
    stored: Instant,
    /// In seconds from `stored`.
    ttl: u32,
}

#[derive(Debug, Default)]
struct Half {
    entries: Mutex<IndexMap<Key, Entry>>,
    hits: Count,
    evictions: Count,
}

#[derive(Debug)]
pub(crate) struct Cache {
    config: CacheConfig,
    success: Half,
    denial: Half,
    misses: Count,
}

impl Cache {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self { config, success: Half::default(), denial: Half::default(), misses: Count::default() }
    }

    /// Answers from what is remembered.
    pub(crate) fn answer(&self, query: &Query<'_>, now: Instant, out: &mut Vec<u8>) -> Step {
        if longest(&self.config.zones, query.name()).is_none() {
            return Step::Next;
        }
        let key = key(query);
        for half in [&self.success, &self.denial] {
            let mut entries = half.entries.lock();
            let Some(entry) = entries.get(&*key) else { continue };
            let age = now.saturating_duration_since(entry.stored).as_secs();
            let left = u64::from(entry.ttl).checked_sub(age).filter(|left| *left > 0);
            let Some(left) = left.and_then(|left| u32::try_from(left).ok()) else {
                entries.swap_remove(&*key);
                continue;
            };
            let shown = if self.config.keep_ttl { entry.ttl } else { left };
            let rcode = Reply::relay(out, query, &entry.message, (&entry.ttls, shown));
            half.hits.increment();
            return Step::Done(rcode);
        }
        self.misses.increment();
        Step::Next
    }

    /// Remembers what an upstream answered, if it may be.
    pub(crate) fn store(&self, query: &Query<'_>, relayed: &Relayed, now: Instant) {
        let name = query.name();
        if longest(&self.config.zones, name).is_none() || relayed.truncated {
            return;
        }
        let disabled = |zones: &[Zone]| longest(zones, name).is_some();
        let denied =
            relayed.rcode == Rcode::NXDOMAIN || relayed.rcode == Rcode::NOERROR && !relayed.answers;
        let (half, limits, ttl) = match relayed.rcode {
            Rcode::NOERROR if !denied => {
                if disabled(&self.config.disable_success) {
                    return;
                }
                (&self.success, self.config.success, relayed.ttl)
            }
            Rcode::SERVFAIL => {
                let seconds = self.config.servfail.as_secs() as u32;
                let limits = Limits { ttl: seconds, min_ttl: 0, ..self.config.denial };
                (&self.denial, limits, Some(seconds))
            }
            _ if denied => {
                if disabled(&self.config.disable_denial) {
                    return;
                }
                (&self.denial, self.config.denial, relayed.negative_ttl)
            }
            _ => return,
        };
        let Some(ttl) = ttl else { return };
        let ttl = ttl.max(limits.min_ttl).min(limits.ttl);
        if ttl == 0 {
            return;
        }
        let key = key(query);
        let mut entries = half.entries.lock();
        if entries.len() >= limits.capacity && !entries.contains_key(&*key) {
            // Any one will do; the place of a hash is as good as chance.
            let place = key.iter().fold(0_usize, |h, b| h.wrapping_mul(31) ^ usize::from(*b));
            let place = place % entries.len();
            entries.swap_remove_index(place);
            half.evictions.increment();
        }
        let entry = Entry {
            message: relayed.message.as_slice().into(),
            ttls: relayed.ttls.as_slice().into(),
            stored: now,
            ttl,
        };
        entries.insert(key.clone(), entry);
        drop(entries);
        // What has an answer now is no longer denied, and the other way round.
        let other = if std::ptr::eq(half, &self.success) { &self.denial } else { &self.success };
        other.entries.lock().swap_remove(&*key);
    }

    /// Appends this cache's metrics.
    pub(crate) fn write(all: &[(&str, &Self)], text: &mut Text) {
        type Of = fn(&Half) -> u64;
        let series: [(&str, &str, &str, Of); 3] = [
            ("coredns_cache_entries", "gauge", "Elements in the cache.", |half| {
                half.entries.lock().len() as u64
            }),
            ("coredns_cache_hits_total", "counter", "Cache hits.", |half| half.hits.get()),
            ("coredns_cache_evictions_total", "counter", "Cache evictions.", |half| {
                half.evictions.get()
            }),
        ];
        for (name, kind, help, of) in series {
            text.head(name, kind, help);
            for (server, cache) in all {
                for (half, label) in [(&cache.success, "success"), (&cache.denial, "denial")] {
                    let zones = cache.zones();
                    let labels =
                        format!("server=\"{server}\",type=\"{label}\",zones=\"{zones}\",view=\"\"");
                    text.line(name, &labels, of(half));
                }
            }
        }
        for (name, help) in [
            ("coredns_cache_misses_total", "Cache misses."),
            ("coredns_cache_requests_total", "Cache requests."),
        ] {
            text.head(name, "counter", help);
            for (server, cache) in all {
                let labels = format!("server=\"{server}\",zones=\"{}\",view=\"\"", cache.zones());
                let misses = cache.misses.get();
                let hits = cache.success.hits.get() + cache.denial.hits.get();
                text.line(
                    name,
                    &labels,
                    if name.contains("misses") { misses } else { misses + hits },
                );
            }
        }
    }

    fn zones(&self) -> String {
        self.config.zones.iter().map(Zone::to_string).collect::<Vec<_>>().join(",")
    }
}

fn key(query: &Query<'_>) -> Key {
    let name = query.name();
    let mut key = Vec::with_capacity(name.len() + 3);
    key.extend_from_slice(name);
    key.extend_from_slice(&query.kind.0.to_be_bytes());
    key.push(u8::from(query.dnssec()) | (query.message[3] & 0x10));
    key.into()
}
