//! `ratelimit`: no client gets more than its share. CoreDNS has no such plugin of its own; the
//! syntax follows the external one of this name.
//!
//! Each client, an IPv4 address or an IPv6 network of 64 bits, has a bucket of answers. Over UDP
//! the sender's address may be forged, so half of what is too much is dropped and the other half
//! answered by an empty message that says to come back over TCP: that makes no amplifier, and a
//! client that means it gets through. Over TCP the address is real, and too much is REFUSED.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use parking_lot::Mutex;

use super::super::config::networks;
use super::super::corefile::{CorefileError, Directive};
use super::super::metrics::Count;
use super::super::wire::Transport;

/// Locks are shared by those whose addresses hash alike.
const SHARDS: usize = 16;

/// How many clients are remembered in each shard; more push others out.
const CLIENTS: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateLimitConfig {
    /// Answers each second.
    rate: f64,
    /// Answers at once after a while of silence.
    burst: f64,
    exempt: Vec<IpNet>,
}

impl RateLimitConfig {
    /// `ratelimit LIMIT { burst N; whitelist NETWORK… }`.
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        let limit = match &directive.args[..] {
            [limit] => limit.parse::<u32>().ok().filter(|limit| *limit > 0),
            _ => None,
        };
        let Some(limit) = limit else {
            return Err(directive.error("takes the answers that a client may have each second"));
        };
        let mut config =
            Self { rate: limit.into(), burst: f64::from(limit) * 2.0, exempt: Vec::new() };
        for option in &directive.options {
            match option.name.as_str() {
                "burst" => {
                    let burst: u32 = directive.one_as(option, "a number of answers")?;
                    config.burst = f64::from(burst.max(1));
                }
                "whitelist" if !option.args.is_empty() => {
                    config.exempt.extend(networks(directive, option.line, &option.args)?);
                }
                _ => return Err(directive.unknown(option)),
            }
        }
        Ok(config)
    }
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    Answer,
    /// An empty answer with TC set.
    Truncated,
    Refused,
    Nothing,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    filled: Instant,
    /// Counts what was too much.
    over: u32,
}

#[derive(Debug)]
pub(crate) struct RateLimit {
    config: RateLimitConfig,
    shards: [Mutex<HashMap<u64, Bucket>>; SHARDS],
    hasher: RandomState,
    pub(crate) limited: Count,
}

impl RateLimit {
    pub(crate) fn new(config: RateLimitConfig) -> Self {
        Self {
            config,
            shards: Default::default(),
            hasher: RandomState::new(),
            limited: Count::default(),
        }
    }

    pub(crate) fn ask(&self, peer: IpAddr, transport: Transport, now: Instant) -> Share {
        if self.config.exempt.iter().any(|network| network.contains(&peer)) {
            return Share::Answer;
        }
        let client: u64 = match peer {
            IpAddr::V4(v4) => u32::from(v4).into(),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
        };
        let hash = self.hasher.hash_one((client, peer.is_ipv6()));
        let mut shard = self.shards[hash as usize % SHARDS].lock();
        if shard.len() >= CLIENTS && !shard.contains_key(&hash) {
            // Who is full is as good as new; if nobody is, the first one found has to go.
            let full = |bucket: &Bucket| {
                let since = now.saturating_duration_since(bucket.filled).as_secs_f64();
                bucket.level + since * self.config.rate >= self.config.burst
            };
            shard.retain(|_, bucket| !full(bucket));
            if shard.len() >= CLIENTS
                && let Some(one) = shard.keys().next().copied()
            {
                shard.remove(&one);
            }
        }
        let burst = self.config.burst;
        let bucket = shard.entry(hash).or_insert(Bucket { level: burst, filled: now, over: 0 });
        let since = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.level = (bucket.level + since * self.config.rate).min(burst);
        bucket.filled = bucket.filled.max(now);
        if bucket.level >= 1.0 {
            bucket.level -= 1.0;
            return Share::Answer;
        }
        bucket.over = bucket.over.wrapping_add(1);
        self.limited.increment();
        match transport {
            Transport::Tcp => Share::Refused,
            Transport::Udp if bucket.over.is_multiple_of(2) => Share::Truncated,
            Transport::Udp => Share::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_client_has_its_share_and_memory_is_bounded() {
        let config = RateLimitConfig { rate: 10.0, burst: 20.0, exempt: Vec::new() };
        let limit = RateLimit::new(config);
        let now = Instant::now();
        let ask = |peer: [u8; 4], at: u64| {
            let now = now + Duration::from_millis(at);
            limit.ask(peer.into(), Transport::Udp, now) == Share::Answer
        };
        assert_eq!((0..100).filter(|_| ask([10, 0, 0, 1], 0)).count(), 20);
        assert!(ask([10, 0, 0, 2], 0), "others are not touched");
        assert_eq!((0..100).filter(|_| ask([10, 0, 0, 1], 1000)).count(), 10);
        assert_eq!(limit.limited.get(), 170);
        for n in 0..200_000_u32 {
            ask((n | 0x0b00_0000).to_be_bytes(), 1000);
        }
        let known: usize = limit.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(known <= SHARDS * CLIENTS);
    }
}
