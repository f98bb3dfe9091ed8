//! `cache`: what upstreams answered, for a while.
//!
//! It stands before `forward` only. Names of the cluster and of hosts files are answered from what
//! is true now, so a change shows at once.

mod config;
mod key;

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::super::metrics::{Count, Text};
use super::super::wire::{Query, Rcode, Reply};
use super::super::zone::{Zone, longest};
use super::upstream::Relayed;
pub(crate) use config::CacheConfig;
use config::Limits;
use key::{Key, KeyRef, Passed};

/// No upstream is waited for longer.
const LONGEST_REFRESH: Duration = Duration::from_secs(6);

/// Locks are shared by names that hash alike.
const SHARDS: usize = 32;

#[derive(Debug)]
struct Entry {
    /// The answer without an OPT record.
    message: Box<[u8]>,
    /// Where its TTLs lie.
    ttls: Box<[u16]>,
    stored: Instant,
    /// In seconds from `stored`.
    ttl: u32,
    /// How often it was asked for of late, and when last.
    asked: u32,
    last: Instant,
    /// Somebody is asking anew, and has failed if this passes.
    refreshing: Option<Instant>,
    /// Asking anew has failed; nobody is to try before this.
    retry: Option<Instant>,
}

type Shard = Mutex<IndexMap<Key, Entry, Passed>>;

#[derive(Debug, Default)]
struct Half {
    shards: [Shard; SHARDS],
    hits: Count,
    evictions: Count,
}

#[derive(Debug)]
pub(crate) struct Cache {
    config: CacheConfig,
    success: Half,
    denial: Half,
    hasher: DefaultHashBuilder,
    misses: Count,
    prefetches: Count,
    stale: Count,
}

/// What is known of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Miss,
    /// The answer is written.
    Done(Rcode),
    /// The answer is written, and somebody should ask anew.
    Refresh(Rcode),
}

impl Cache {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self {
            config,
            success: Half::default(),
            denial: Half::default(),
            hasher: DefaultHashBuilder::default(),
            misses: Count::default(),
            prefetches: Count::default(),
            stale: Count::default(),
        }
    }

    fn key<'a>(&self, query: &'a Query<'_>) -> KeyRef<'a> {
        // DO and CD change an answer, too.
        let bits = u8::from(query.dnssec()) | (query.message[3] & 0x10);
        let (name, kind) = (query.name(), query.kind.0);
        KeyRef { hash: self.hasher.hash_one((name, kind, bits)), name, kind, bits }
    }

    /// Answers from what is remembered.
    pub(crate) fn answer(&self, query: &Query<'_>, now: Instant, out: &mut Vec<u8>) -> Hit {
        if longest(&self.config.zones, query.name()).is_none() {
            return Hit::Miss;
        }
        let key = self.key(query);
        for half in [&self.success, &self.denial] {
            let mut entries = half.shard(key.hash).lock();
            let Some(entry) = entries.get_mut(&key) else { continue };
            let hit = match entry.left(now) {
                Some(left) => {
                    let shown = if self.config.keep_ttl { entry.ttl } else { left };
                    let rcode = Reply::relay(out, query, &entry.message, (&entry.ttls, shown));
                    if self.is_due(entry, left, now) {
                        self.prefetches.increment();
                        Hit::Refresh(rcode)
                    } else {
                        Hit::Done(rcode)
                    }
                }
                None => match self.expired(entry, query, now, out) {
                    Some(hit) => hit,
                    None => {
                        entries.swap_remove(&key);
                        continue;
                    }
                },
            };
            if hit == Hit::Miss {
                break;
            }
            half.hits.increment();
            return hit;
        }
        self.misses.increment();
        Hit::Miss
    }

    /// Whether an entry that was asked for is so popular, and so old, that it is to be renewed.
    fn is_due(&self, entry: &mut Entry, left: u32, now: Instant) -> bool {
        let Some(prefetch) = self.config.prefetch.filter(|prefetch| prefetch.amount > 0) else {
            return false;
        };
        if now.saturating_duration_since(entry.last) > prefetch.pause {
            entry.asked = 0;
        }
        entry.asked = entry.asked.saturating_add(1);
        entry.last = now;
        let threshold = (u64::from(entry.ttl) * u64::from(prefetch.percentage)).div_ceil(100);
        let due = entry.asked >= prefetch.amount
            && u64::from(left) <= threshold.max(1)
            && !entry.rests(now);
        if due {
            entry.refreshing = Some(now + LONGEST_REFRESH);
        }
        due
    }

    /// An entry past its time: what to do with it while it may be served stale.
    fn expired(
        &self,
        entry: &mut Entry,
        query: &Query<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Hit> {
        let stale = self.config.stale.filter(|stale| entry.is_within(stale.duration, now))?;
        let rests = entry.rests(now);
        if !rests {
            entry.refreshing = Some(now + LONGEST_REFRESH);
            if stale.verify {
                return Some(Hit::Miss);
            }
        }
        let rcode = Reply::relay(out, query, &entry.message, (&entry.ttls, stale.ttl));
        self.stale.increment();
        Some(if rests { Hit::Done(rcode) } else { Hit::Refresh(rcode) })
    }

    /// How long upstreams may take before what is stale is served instead; `None` when there is
    /// nothing, or no haste.
    pub(crate) fn patience(&self, query: &Query<'_>, now: Instant) -> Option<Duration> {
        let stale = self.config.stale.filter(|stale| !stale.patience.is_zero())?;
        self.with_stale(query, now, |_| ())?;
        Some(stale.patience)
    }

    pub(crate) fn has_stale(&self, query: &Query<'_>, now: Instant) -> bool {
        self.with_stale(query, now, |_| ()).is_some()
    }

    /// Answers with what is stale, because upstreams have failed.
    pub(crate) fn answer_stale(
        &self,
        query: &Query<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Rcode> {
        let ttl = self.config.stale?.ttl;
        let rcode = self.with_stale(query, now, |entry| {
            Reply::relay(out, query, &entry.message, (&entry.ttls, ttl))
        });
        self.stale.add(u64::from(rcode.is_some()));
        rcode
    }

    fn with_stale<T>(
        &self,
        query: &Query<'_>,
        now: Instant,
        then: impl FnOnce(&mut Entry) -> T,
    ) -> Option<T> {
        let stale = self.config.stale?;
        let key = self.key(query);
        for half in [&self.success, &self.denial] {
            let mut entries = half.shard(key.hash).lock();
            if let Some(entry) = entries.get_mut(&key)
                && entry.is_within(stale.duration, now)
            {
                return Some(then(entry));
            }
        }
        None
    }

    /// Takes note that asking anew has failed.
    pub(crate) fn failed(&self, query: &Query<'_>, now: Instant) {
        let key = self.key(query);
        let recheck = self.config.stale.map_or(Duration::ZERO, |stale| stale.recheck);
        for half in [&self.success, &self.denial] {
            if let Some(entry) = half.shard(key.hash).lock().get_mut(&key) {
                entry.refreshing = None;
                entry.retry = Some(now + recheck);
            }
        }
    }

    /// Remembers what an upstream answered, if it may be.
    pub(crate) fn store(&self, query: &Query<'_>, relayed: &Relayed, now: Instant) {
        let name = query.name();
        if longest(&self.config.zones, name).is_none() || relayed.truncated {
            return self.failed(query, now);
        }
        let Some((half, limits, ttl)) = self.place(name, relayed) else {
            return self.failed(query, now);
        };
        let ttl = ttl.max(limits.min_ttl).min(limits.ttl);
        if ttl == 0 {
            return self.failed(query, now);
        }
        let key = self.key(query);
        let mut entry = Entry {
            message: relayed.message.as_slice().into(),
            ttls: relayed.ttls.as_slice().into(),
            stored: now,
            ttl,
            asked: 0,
            last: now,
            refreshing: None,
            retry: None,
        };
        let mut entries = half.shard(key.hash).lock();
        let capacity = limits.capacity.div_ceil(SHARDS).max(4);
        match entries.get(&key) {
            Some(old) => entry.asked = old.asked,
            None if entries.len() >= capacity => {
                // Any one will do; the place of a hash is as good as chance.
                let place = (key.hash >> 32) as usize % entries.len();
                entries.swap_remove_index(place);
                half.evictions.increment();
            }
            None => {}
        }
        entries.insert(key.into(), entry);
        drop(entries);
        // What has an answer now is no longer denied, and the other way round.
        let other = if std::ptr::eq(half, &self.success) { &self.denial } else { &self.success };
        other.shard(key.hash).lock().swap_remove(&key);
    }

    /// Where an answer belongs, and for how long.
    fn place(&self, name: &[u8], relayed: &Relayed) -> Option<(&Half, Limits, u32)> {
        let config = &self.config;
        let enabled = |zones: &[Zone]| longest(zones, name).is_none();
        let denied =
            relayed.rcode == Rcode::NXDOMAIN || relayed.rcode == Rcode::NOERROR && !relayed.answers;
        match relayed.rcode {
            Rcode::NOERROR if !denied => enabled(&config.disable_success).then_some((
                &self.success,
                config.success,
                relayed.ttl?,
            )),
            Rcode::SERVFAIL => {
                let seconds = config.servfail.as_secs() as u32;
                let limits = Limits { ttl: seconds, min_ttl: 0, ..config.denial };
                Some((&self.denial, limits, seconds))
            }
            _ if denied => enabled(&config.disable_denial).then_some((
                &self.denial,
                config.denial,
                relayed.negative_ttl?,
            )),
            _ => None,
        }
    }

    /// Appends this cache's metrics.
    pub(crate) fn write(all: &[(&str, &Self)], text: &mut Text) {
        type Of = fn(&Half) -> u64;
        let series: [(&str, &str, &str, Of); 3] = [
            ("coredns_cache_entries", "gauge", "Elements in the cache.", Half::len),
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
        type Whole = fn(&Cache) -> u64;
        let series: [(&str, &str, Whole); 4] = [
            ("coredns_cache_misses_total", "Cache misses.", |cache| cache.misses.get()),
            ("coredns_cache_requests_total", "Cache requests.", |cache| {
                cache.misses.get() + cache.success.hits.get() + cache.denial.hits.get()
            }),
            ("coredns_cache_prefetch_total", "Answers asked for before they expired.", |cache| {
                cache.prefetches.get()
            }),
            ("coredns_cache_served_stale_total", "Answers past their time.", |cache| {
                cache.stale.get()
            }),
        ];
        for (name, help, of) in series {
            text.head(name, "counter", help);
            for (server, cache) in all {
                let labels = format!("server=\"{server}\",zones=\"{}\",view=\"\"", cache.zones());
                text.line(name, &labels, of(cache));
            }
        }
    }

    fn zones(&self) -> String {
        self.config.zones.iter().map(Zone::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Half {
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[hash as usize % SHARDS]
    }

    fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().len() as u64).sum()
    }
}

impl Entry {
    /// The seconds that are left; `None` once there are none.
    fn left(&self, now: Instant) -> Option<u32> {
        let age = now.saturating_duration_since(self.stored).as_secs();
        let left = u64::from(self.ttl).checked_sub(age).filter(|left| *left > 0)?;
        u32::try_from(left).ok()
    }

    /// Whether nobody is to ask anew: somebody does, or has failed a moment ago.
    fn rests(&self, now: Instant) -> bool {
        [self.refreshing, self.retry].into_iter().flatten().any(|until| now < until)
    }

    /// Whether it has not been past its time for longer than this.
    fn is_within(&self, duration: Duration, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.stored);
        age < Duration::from_secs(self.ttl.into()).saturating_add(duration)
    }
}
