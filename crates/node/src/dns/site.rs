//! The way of a query through the plugins of its server block.
//!
//! What is known here is answered at once; only an upstream's answer is waited for, and that in a
//! task of its own, so nobody waits for somebody else's slow query.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::{AnswerBuilder, MessageBuilder};
use domain::base::name::Name;
use domain::base::{Message, Ttl};
use domain::rdata::{AllRecordData, Cname};
use futures::future::BoxFuture;
use portolan_model::names::RecordType;

use super::metrics::{Author, ZoneMetrics};
use super::plugin::cache::Cache;
use super::plugin::forward::Forward;
use super::plugin::hosts::Hosts;
use super::plugin::kubernetes::Kubernetes;
use super::plugin::log::LogConfig;
use super::plugin::looping::LoopProbe;
use super::plugin::{Step, Surroundings};
use super::wire::{HEADER, Query, Rcode, Reply, Transport};
use super::zone::Zone;

/// How long an alias waits for its target's addresses before it is answered without them: long
/// enough for an upstream to be found silent, and below the two seconds or more after which
/// clients ask again.
const ALIAS_PATIENCE: Duration = Duration::from_millis(1200);

/// How many aliases are followed from server block to server block.
const MAX_DEPTH: u8 = 4;

const IXFR: RecordType = RecordType(251);
const AXFR: RecordType = RecordType(252);

/// One server block at work.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) errors: bool,
    pub(crate) log: Option<LogConfig>,
    /// Counts answers when sets of addresses are to be rotated.
    pub(crate) turn: Option<AtomicUsize>,
    pub(crate) hosts: Option<Hosts>,
    pub(crate) kubernetes: Vec<Kubernetes>,
    pub(crate) probe: Option<LoopProbe>,
    pub(crate) cache: Option<Cache>,
    pub(crate) forward: Vec<Arc<Forward>>,
}

/// What was answered at once, or what has to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    Done(Rcode, Author),
    Later(Wait),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For the target of an alias that this `kubernetes` has found.
    Alias(usize),
    /// For an upstream of this `forward`.
    Forward(usize),
}

/// The server blocks that share one address to listen on.
#[derive(Debug, Default)]
pub(crate) struct Routes(pub(crate) Vec<Route>);

#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) zone: Zone,
    pub(crate) site: Arc<Site>,
    pub(crate) metrics: Arc<ZoneMetrics>,
}

impl Routes {
    /// The longest zones first, so that the first one found is the right one.
    pub(crate) fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.zone.wire().len()));
        Self(routes)
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<&Route> {
        self.0.iter().find(|route| route.zone.relative(name).is_some())
    }
}

impl Site {
    fn around(&self) -> Surroundings {
        Surroundings {
            turn: self.turn.as_ref().map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed)),
            recursion: !self.forward.is_empty(),
        }
    }

    /// Appends the answer to `query`, or nothing if it has to be waited for.
    pub(crate) fn answer_now(&self, query: &Query<'_>, now: Instant, out: &mut Vec<u8>) -> Now {
        if matches!(query.kind, AXFR | IXFR) {
            // Nobody may copy a zone from here (RFC 5936, 5).
            return Now::Done(Reply::empty(out, query, Rcode::REFUSED), Author::Nobody);
        }
        let around = self.around();
        let before = out.len();
        if let Some(hosts) = &self.hosts
            && let Step::Done(rcode) = hosts.answer(query, around, out)
        {
            return Now::Done(rcode, Author::Hosts);
        }
        for (index, kubernetes) in self.kubernetes.iter().enumerate() {
            match kubernetes.answer(query, around, out) {
                Step::Done(rcode) => return Now::Done(rcode, Author::Kubernetes),
                Step::Later => {
                    out.truncate(before);
                    return Now::Later(Wait::Alias(index));
                }
                Step::Next => {}
            }
        }
        let taken = self.forward.iter().position(|forward| forward.takes(query.name()));
        let Some(index) = taken else {
            return Now::Done(Reply::empty(out, query, Rcode::REFUSED), Author::Nobody);
        };
        if self.probe.as_ref().is_some_and(|probe| probe.notice(query)) {
            return Now::Done(Reply::empty(out, query, Rcode::SERVFAIL), Author::Loop);
        }
        if let Some(cache) = &self.cache
            && let Step::Done(rcode) = cache.answer(query, now, out)
        {
            return Now::Done(rcode, Author::Cache);
        }
        Now::Later(Wait::Forward(index))
    }

    /// Appends the answer that [`Site::answer_now`] had to leave.
    pub(crate) async fn answer_later(
        &self,
        routes: &Routes,
        query: &Query<'_>,
        wait: Wait,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        match wait {
            Wait::Forward(index) => (self.forward(query, index, false, out).await, Author::Forward),
            Wait::Alias(index) => {
                (self.alias(routes, query, index, 0, out).await, Author::Kubernetes)
            }
        }
    }

    async fn forward(
        &self,
        query: &Query<'_>,
        index: usize,
        complete: bool,
        out: &mut Vec<u8>,
    ) -> Rcode {
        let Some(forward) = self.forward.get(index) else {
            return Reply::empty(out, query, Rcode::SERVFAIL);
        };
        match forward.exchange(query, complete).await {
            Ok(relayed) => {
                if let Some(cache) = &self.cache {
                    cache.store(query, &relayed, Instant::now());
                }
                Reply::relay(out, query, &relayed.message, (&[], 0))
            }
            Err(error) => {
                if self.errors {
                    let name = portolan_model::names::to_text(query.name());
                    let kind = super::wire::type_name(query.kind.0);
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(name, kind, %error, cause, "cannot forward a query");
                }
                Reply::empty(out, query, error.rcode())
            }
        }
    }

    /// Answers an alias that leads out of the cluster: the CNAME records, then whatever this
    /// server says of the last target.
    async fn alias(
        &self,
        routes: &Routes,
        query: &Query<'_>,
        index: usize,
        depth: u8,
        out: &mut Vec<u8>,
    ) -> Rcode {
        let Some(kubernetes) = self.kubernetes.get(index) else {
            return Reply::empty(out, query, Rcode::SERVFAIL);
        };
        let chain = kubernetes.aliases(query);
        let Some(target) = chain.last() else {
            // It has changed while we were getting here.
            return Reply::empty(out, query, Rcode::SERVFAIL);
        };
        let asking = resolve(routes, target.clone(), query.kind, depth + 1);
        let found = tokio::time::timeout(ALIAS_PATIENCE, asking).await.unwrap_or_default();
        let recursion = !self.forward.is_empty();
        let message = compose(query, &chain, kubernetes.ttl(), &found);
        let mut reply = Reply::new(out, query);
        let rcode = message.map_or(Rcode::SERVFAIL, |message| {
            let counts = u16::from_be_bytes([message[6], message[7]]);
            reply.answers_or_truncate(&message[query.question_end()..], counts);
            Rcode::NOERROR
        });
        reply.finish(rcode, true, recursion)
    }
}

/// What the server blocks say of `name`, whole; empty when they say nothing.
fn resolve(routes: &Routes, name: Vec<u8>, kind: RecordType, depth: u8) -> BoxFuture<'_, Vec<u8>> {
    Box::pin(async move {
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend_from_slice(&name);
        message.push(0);
        message.extend_from_slice(&kind.0.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        let mut out = Vec::new();
        let Ok(query) = Query::parse(&message, Transport::Tcp) else { return out };
        let Some(route) = routes.find(query.name()) else { return out };
        let site = &route.site;
        match site.answer_now(&query, Instant::now(), &mut out) {
            Now::Done(..) => {}
            Now::Later(Wait::Forward(index)) => {
                site.forward(&query, index, true, &mut out).await;
            }
            Now::Later(Wait::Alias(index)) if depth < MAX_DEPTH => {
                site.alias(routes, &query, index, depth, &mut out).await;
            }
            Now::Later(Wait::Alias(_)) => {}
        }
        out
    })
}

/// An answer to `query` without OPT: a CNAME record for each of `chain`, and the answer records
/// of `found`.
fn compose(query: &Query<'_>, chain: &[Vec<u8>], ttl: u32, found: &[u8]) -> Option<Vec<u8>> {
    let absolute = |wire: &[u8]| Name::from_octets([wire, &[0]].concat()).ok();
    let builder =
        MessageBuilder::from_target(domain::base::StaticCompressor::new(Vec::new())).ok()?;
    let mut builder = builder.question();
    let kind = Rtype::from_int(query.kind.0);
    let end = query.question_end() - 4;
    let asked = Name::from_octets(query.message[HEADER..end].to_vec()).ok()?;
    builder.push((&asked, kind, Class::IN)).ok()?;
    let mut answer = builder.answer();
    let mut owner = asked;
    for target in chain {
        let target = absolute(target)?;
        let data = Cname::new(&target);
        answer.push((&owner, Class::IN, Ttl::from_secs(ttl), data)).ok()?;
        owner = target;
    }
    // Records that cannot be read are as good as none: the alias itself still is an answer.
    let whole = answer.as_message().as_slice().to_vec();
    match append(answer, found, kind) {
        Some(message) => Some(message),
        None => Some(whole),
    }
}

type Building = AnswerBuilder<domain::base::StaticCompressor<Vec<u8>>>;

fn append(mut answer: Building, found: &[u8], kind: Rtype) -> Option<Vec<u8>> {
    let found = Message::from_octets(found).ok()?;
    let records = found.answer().ok()?.limit_to::<AllRecordData<_, _>>();
    for record in records {
        let record = record.ok()?;
        if record.rtype() == kind || record.rtype() == Rtype::CNAME {
            answer.push((record.owner(), record.class(), record.ttl(), record.data())).ok()?;
        }
    }
    Some(answer.finish().into_target())
}

/// Whether an address is one of this machine's own that only it can reach.
pub(crate) fn loopback_if_wildcard(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        other => other,
    }
}
