//! The options of `cache`.

use std::time::Duration;

use crate::dns::config::{Key, duration, zones, zones_or_block};
use crate::dns::corefile::{CorefileError, Directive, DirectiveOption};
use crate::dns::zone::Zone;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheConfig {
    pub(super) zones: Vec<Zone>,
    pub(super) success: Limits,
    pub(super) denial: Limits,
    pub(super) servfail: Duration,
    pub(super) disable_success: Vec<Zone>,
    pub(super) disable_denial: Vec<Zone>,
    pub(super) keep_ttl: bool,
    pub(super) prefetch: Option<Prefetch>,
    pub(super) stale: Option<Stale>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) capacity: usize,
    pub(super) ttl: u32,
    pub(super) min_ttl: u32,
}

/// What is asked for often is asked anew before it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefetch {
    /// How often, with no longer pause than `pause`.
    pub(super) amount: u32,
    pub(super) pause: Duration,
    /// How much of the TTL is left then.
    pub(super) percentage: u32,
}

/// What has expired is better than nothing (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) duration: Duration,
    /// Upstreams are asked first; else they are asked behind the answer's back.
    pub(super) verify: bool,
    /// How long they may take then; zero means as long as they do.
    pub(super) patience: Duration,
    pub(super) ttl: u32,
    /// How long upstreams that failed are left alone.
    pub(super) recheck: Duration,
}

const CAPACITY: usize = 9984;
const MIN_TTL: u32 = 5;

impl CacheConfig {
    /// `cache [TTL] [ZONE…] { … }`.
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
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
            zones: zones_or_block(directive, args, keys)?,
            success: limits(ttls.0),
            denial: limits(ttls.1),
            servfail: Duration::from_secs(5),
            disable_success: Vec::new(),
            disable_denial: Vec::new(),
            keep_ttl: false,
            prefetch: None,
            stale: None,
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
        let error = |problem: String| directive.error_at(option.line, problem);
        match (option.name.as_str(), &option.args[..]) {
            (name @ ("success" | "denial"), args) => {
                let limits = if name == "success" { &mut self.success } else { &mut self.denial };
                limits.read(args).ok_or_else(|| {
                    error(format!("{name} takes CAPACITY [TTL] [MINTTL], TTL at least 1"))
                })?;
            }
            ("servfail", [text]) => {
                self.servfail = duration(text)
                    .filter(|duration| *duration <= Duration::from_secs(300))
                    .ok_or_else(|| error("servfail takes a duration of at most 5m".into()))?;
            }
            ("disable", [class, rest @ ..]) => {
                let named = if rest.is_empty() {
                    vec![Zone::root()]
                } else {
                    zones(directive, option.line, rest)?
                };
                match class.as_str() {
                    "success" => self.disable_success.extend(named),
                    "denial" => self.disable_denial.extend(named),
                    _ => return Err(error("disable takes success or denial".into())),
                }
            }
            ("keepttl", []) => self.keep_ttl = true,
            ("prefetch", args) => {
                self.prefetch = Some(Prefetch::read(args).ok_or_else(|| {
                    error("prefetch takes AMOUNT [DURATION [PERCENTAGE%]], 10% to 90%".into())
                })?);
            }
            ("serve_stale", args) => {
                self.stale = Some(Stale::read(args).ok_or_else(|| {
                    let what = "[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL \
                                [RECHECK]]]]";
                    error(format!("serve_stale takes {what}"))
                })?);
            }
            _ => return Err(directive.unknown(option)),
        }
        Ok(())
    }
}

impl Limits {
    fn read(&mut self, args: &[String]) -> Option<()> {
        let mut numbers = args.iter().map(|arg| arg.parse::<u32>().ok());
        self.capacity = numbers.next()??.max(1) as usize;
        if let Some(ttl) = numbers.next() {
            self.ttl = ttl.filter(|ttl| *ttl > 0)?;
        }
        if let Some(min_ttl) = numbers.next() {
            self.min_ttl = min_ttl?;
        }
        numbers.next().is_none().then_some(())
    }
}

impl Prefetch {
    fn read(args: &[String]) -> Option<Self> {
        let mut prefetch = Self { amount: 0, pause: Duration::from_secs(60), percentage: 10 };
        let mut args = args.iter();
        prefetch.amount = args.next()?.parse().ok()?;
        if let Some(pause) = args.next() {
            prefetch.pause = duration(pause)?;
        }
        if let Some(percentage) = args.next() {
            prefetch.percentage = percentage.strip_suffix('%')?.parse().ok()?;
        }
        let good = (10..=90).contains(&prefetch.percentage) && args.next().is_none();
        good.then_some(prefetch)
    }
}

impl Stale {
    fn read(args: &[String]) -> Option<Self> {
        let mut stale = Self {
            duration: Duration::from_secs(3600),
            verify: false,
            patience: Duration::ZERO,
            ttl: 0,
            recheck: Duration::ZERO,
        };
        let mut args = args.iter().map(String::as_str).peekable();
        if let Some(text) = args.next_if(|arg| !["immediate", "verify"].contains(arg)) {
            stale.duration = duration(text)?;
        }
        match args.next() {
            None | Some("immediate") => {}
            Some(_) => {
                stale.verify = true;
                if let Some(text) = args.next() {
                    stale.patience = duration(text)?;
                }
            }
        }
        if let Some(text) = args.next() {
            let ttl = duration(text).filter(|ttl| ttl.subsec_nanos() == 0)?;
            stale.ttl = u32::try_from(ttl.as_secs()).ok()?;
        }
        if let Some(text) = args.next() {
            stale.recheck = duration(text)?;
        }
        args.next().is_none().then_some(stale)
    }
}
