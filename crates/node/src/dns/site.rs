//! The way of a query through the plugins of its server block.
//!
//! What is known here is answered at once; only an upstream's answer is waited for, and that in a
//! task of its own, so nobody waits for somebody else's slow query.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use portolan_model::names::RecordType;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alias;
use super::front::{Front, Peer};
use super::metrics::{Author, ZoneMetrics};
use super::plugin::cache::{Cache, Hit};
use super::plugin::errors::Errors;
use super::plugin::file::{File, Found};
use super::plugin::forward::{Asking, Forward, ForwardError};
use super::plugin::hosts::Hosts;
use super::plugin::kubernetes::Kubernetes;
use super::plugin::log::LogConfig;
use super::plugin::looping::LoopProbe;
use super::plugin::template::Template;
use super::plugin::transfer::{self, AXFR, IXFR, TransferConfig};
use super::plugin::upstream::Relayed;
use super::plugin::{Step, Surroundings};
use super::record::{Edited, Parts, write};
use super::trim::rotate;
use super::wire::{CLASS_IN, Query, Rcode, Reply, Transport};
use super::zone::Zone;

const EXTENDED_ERROR: u16 = 15;

/// One server block at work.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) errors: Option<Errors>,
    pub(crate) log: Option<LogConfig>,
    /// Counts answers when sets of addresses are to be rotated.
    pub(crate) turn: Option<AtomicUsize>,
    /// What stands around all of this, if anything does.
    pub(crate) front: Option<Box<Front>>,
    pub(crate) template: Vec<Template>,
    pub(crate) transfer: Vec<TransferConfig>,
    pub(crate) hosts: Option<Hosts>,
    pub(crate) kubernetes: Vec<Kubernetes>,
    pub(crate) file: Vec<File>,
    pub(crate) probe: Option<LoopProbe>,
    pub(crate) cache: Option<Arc<Cache>>,
    pub(crate) forward: Arc<[Arc<Forward>]>,
    /// Where work goes on once an answer is given.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// A query and what is around it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a, 'm> {
    pub(crate) query: &'a Query<'m>,
    pub(crate) peer: Peer<'a>,
    pub(crate) now: Instant,
    /// The class that was asked for; the query's own is always IN.
    pub(crate) class: u16,
    /// The server blocks that share the address.
    pub(crate) routes: &'a Routes,
    /// EDNS options for upstreams.
    pub(crate) options: &'a [u8],
}

impl Asked<'_, '_> {
    pub(crate) fn peer(&self) -> SocketAddr {
        (self.peer)()
    }
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
    /// For the target of an alias that a template or a zone file has.
    Template,
    File(usize),
    /// For an upstream of this `forward`.
    Forward(usize),
    /// For a name of a client's search path.
    Path,
    /// For a whole zone.
    Transfer,
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

    /// Whether some server block turns this class into IN.
    pub(crate) fn take_class(&self, class: u16) -> bool {
        let fronts = self.0.iter().filter_map(|route| route.site.front.as_ref());
        fronts.into_iter().any(|front| front.takes_class(class))
    }
}

impl Site {
    fn around(&self) -> Surroundings {
        Surroundings {
            turn: self.turn.as_ref().map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed)),
            recursion: self.recursion(),
        }
    }

    fn recursion(&self) -> bool {
        !self.forward.is_empty()
    }

    /// Appends the answer to a query that has just come in, or nothing if it has to be waited for.
    pub(crate) fn begin(&self, asked: &Asked<'_, '_>, out: &mut Vec<u8>) -> Now {
        match &self.front {
            None if asked.class != CLASS_IN => {
                Now::Done(Reply::empty(out, asked.query, Rcode::REFUSED), Author::Nobody)
            }
            None => self.answer(asked, out),
            Some(front) => front.answer_now(self, asked, out),
        }
    }

    /// Appends the answer that [`Site::begin`] had to leave.
    pub(crate) async fn end(
        &self,
        asked: &Asked<'_, '_>,
        wait: Wait,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        match &self.front {
            None => self.answer_later(asked, wait, out).await,
            Some(front) => front.answer_later(self, asked, wait, out).await,
        }
    }

    /// The same for a query by itself, which nobody sent.
    pub(crate) fn answer_now(&self, query: &Query<'_>, now: Instant, out: &mut Vec<u8>) -> Now {
        let nobody = || SocketAddr::from(([127, 0, 0, 1], 1));
        let routes = Routes::default();
        let asked = super::front::asked(query, &nobody, now, CLASS_IN, &routes);
        self.answer(&asked, out)
    }

    /// Appends the answer of the plugins that have one.
    pub(crate) fn answer(&self, asked: &Asked<'_, '_>, out: &mut Vec<u8>) -> Now {
        let query = asked.query;
        if matches!(query.kind, AXFR | IXFR) {
            // Without `transfer`, nobody may copy a zone from here (RFC 5936, 5).
            if self.transfer.is_empty() || query.transport != Transport::Tcp {
                return Now::Done(Reply::empty(out, query, Rcode::REFUSED), Author::Nobody);
            }
            return Now::Later(Wait::Transfer);
        }
        let before = out.len();
        if !self.template.is_empty()
            && let Some(found) = self.template(asked)
        {
            return match found.chase {
                Some(_) => Now::Later(Wait::Template),
                None => Now::Done(self.compose(query, &found, out), Author::Template),
            };
        }
        let around = self.around();
        if let Some(hosts) = &self.hosts
            && let Step::Done(rcode) = hosts.answer(query, around, out)
        {
            self.rotate(&mut out[before..], around);
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
        for (index, file) in self.file.iter().enumerate() {
            let Some(found) = self.zone(file, query) else { continue };
            if found.found.chase.is_some() {
                return Now::Later(Wait::File(index));
            }
            let rcode = self.compose(query, &found, out);
            self.rotate(&mut out[before..], around);
            return Now::Done(rcode, Author::File);
        }
        let taken = self.forward.iter().position(|forward| forward.takes(query.name()));
        let Some(index) = taken else {
            return Now::Done(Reply::empty(out, query, Rcode::REFUSED), Author::Nobody);
        };
        if self.probe.as_ref().is_some_and(|probe| probe.notice(query)) {
            return Now::Done(Reply::empty(out, query, Rcode::SERVFAIL), Author::Loop);
        }
        if let Some(cache) = &self.cache {
            let rcode = match cache.answer(query, asked.now, out) {
                Hit::Miss => return Now::Later(Wait::Forward(index)),
                Hit::Done(rcode) => rcode,
                Hit::Refresh(rcode) => {
                    self.refresh(cache, asked, index);
                    rcode
                }
            };
            self.rotate(&mut out[before..], around);
            return Now::Done(rcode, Author::Cache);
        }
        Now::Later(Wait::Forward(index))
    }

    /// Appends the answer that [`Site::answer`] had to leave.
    pub(crate) async fn answer_later(
        &self,
        asked: &Asked<'_, '_>,
        wait: Wait,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        let before = out.len();
        match wait {
            Wait::Forward(index) => {
                let (rcode, author) = self.forward(asked, index, false, out).await;
                self.rotate(&mut out[before..], self.around());
                (rcode, author)
            }
            wait => self.follow(asked, wait, 0, out).await,
        }
    }

    /// Completes an alias with what this server says of its target.
    pub(super) async fn follow(
        &self,
        asked: &Asked<'_, '_>,
        wait: Wait,
        depth: u8,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        let query = asked.query;
        let (found, author) = match wait {
            Wait::Alias(index) => {
                let Some(kubernetes) = self.kubernetes.get(index) else {
                    return (Reply::empty(out, query, Rcode::SERVFAIL), Author::Kubernetes);
                };
                let recursion = self.recursion();
                let rcode = alias::of_cluster(kubernetes, asked, depth, recursion, out).await;
                return (rcode, Author::Kubernetes);
            }
            Wait::Template => (self.template(asked), Author::Template),
            Wait::File(index) => {
                (self.file.get(index).and_then(|file| self.zone(file, query)), Author::File)
            }
            Wait::Forward(_) | Wait::Path | Wait::Transfer => (None, Author::Nobody),
        };
        let Some(mut found) = found else {
            // It has changed while we were getting here.
            return (Reply::empty(out, query, Rcode::SERVFAIL), author);
        };
        if let Some(target) = found.found.chase.take() {
            let parts = &mut found.found.parts;
            alias::complete(asked.routes, parts, target, query.kind, depth).await;
        }
        (self.compose(query, &found, out), author)
    }

    /// The messages that answer a request for a whole zone.
    pub(crate) fn transfer(&self, asked: &Asked<'_, '_>) -> (Rcode, Vec<Vec<u8>>) {
        let (query, peer) = (asked.query, asked.peer().ip());
        transfer::answer(&self.transfer, &self.file, &self.kubernetes, query, peer)
    }

    /// What the first template for this query says.
    fn template(&self, asked: &Asked<'_, '_>) -> Option<Composed<'_>> {
        let peer: IpAddr = asked.peer().ip();
        let fitting = self.template.iter().find_map(|template| {
            template.answer(asked.query, peer).map(|answer| (template, answer))
        });
        let (template, answer) = fitting?;
        let parts = answer.unwrap_or_else(|failed| {
            self.tell(asked.query, Rcode::SERVFAIL, &failed.to_string());
            Parts { rcode: Rcode::SERVFAIL, ..Parts::default() }
        });
        let asks = matches!(asked.query.kind, RecordType::A | RecordType::AAAA);
        let last = parts.sections[0].last().filter(|record| record.kind == RecordType::CNAME);
        let chase = last.filter(|_| asks).and_then(|record| record.target().map(<[u8]>::to_vec));
        let found = Found { parts, chase };
        Some(Composed { found, extended_error: template.extended_error() })
    }

    /// What a zone file says; `None` when it is not for this query.
    fn zone(&self, file: &File, query: &Query<'_>) -> Option<Composed<'_>> {
        let zone = file.zone(query.name())?;
        let Some(data) = zone.data() else {
            let parts = Parts { rcode: Rcode::SERVFAIL, ..Parts::default() };
            let found = Found { parts, chase: None };
            return Some(Composed { found, extended_error: None });
        };
        let found = data.lookup(query.name(), query.kind);
        let nothing = found.parts.sections[0].is_empty() && found.parts.rcode == Rcode::NXDOMAIN;
        let passes = nothing && file.passes(query.name());
        (!passes).then_some(Composed { found, extended_error: None })
    }

    fn compose(&self, query: &Query<'_>, found: &Composed<'_>, out: &mut Vec<u8>) -> Rcode {
        let option = found.extended_error.map(|data| (EXTENDED_ERROR, data));
        let start = out.len();
        let rcode = write(query, &found.found.parts, Edited { option }, out);
        if self.recursion() {
            out[start + 3] |= 0x80;
        }
        rcode
    }

    fn rotate(&self, message: &mut [u8], around: Surroundings) {
        if self.turn.is_some() {
            rotate(message, around.turn);
        }
    }

    /// Asks upstreams. `complete` wants no truncated answer.
    pub(super) async fn forward(
        &self,
        asked: &Asked<'_, '_>,
        index: usize,
        complete: bool,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        let query = asked.query;
        let asking = Asking { complete, options: asked.options };
        let Some(cache) = &self.cache else {
            let relayed = exchange(&self.forward, index, query, asking).await;
            return (self.relay(query, relayed, out), Author::Forward);
        };
        let relayed = match cache.patience(query, asked.now) {
            None => fetch(cache, &self.forward, index, query, asking).await,
            Some(patience) => {
                // Whoever cannot wait is served what is stale; the asking goes on.
                let fetching = self.spawn(cache, asked, index);
                match tokio::time::timeout(patience, fetching).await {
                    Ok(Ok(Some(relayed))) => relayed,
                    _ => Err(ForwardError::NoUpstream),
                }
            }
        };
        let failed = relayed.as_ref().map_or(true, |relayed| relayed.rcode == Rcode::SERVFAIL);
        if failed && let Some(rcode) = cache.answer_stale(query, Instant::now(), out) {
            return (rcode, Author::Cache);
        }
        (self.relay(query, relayed, out), Author::Forward)
    }

    fn relay(
        &self,
        query: &Query<'_>,
        relayed: Result<Relayed, ForwardError>,
        out: &mut Vec<u8>,
    ) -> Rcode {
        match relayed {
            Ok(relayed) => Reply::relay(out, query, &relayed.message, (&[], 0)),
            Err(error) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                self.tell(query, error.rcode(), &format!("forward: {error}{cause}"));
                Reply::empty(out, query, error.rcode())
            }
        }
    }

    /// Asks upstreams behind the back of an answer that is given already.
    fn refresh(&self, cache: &Arc<Cache>, asked: &Asked<'_, '_>, index: usize) {
        drop(self.spawn(cache, asked, index));
    }

    /// Asks upstreams in a task of its own; what they say is remembered.
    fn spawn(
        &self,
        cache: &Arc<Cache>,
        asked: &Asked<'_, '_>,
        index: usize,
    ) -> tokio::task::JoinHandle<Option<Result<Relayed, ForwardError>>> {
        let (cache, forward) = (cache.clone(), self.forward.clone());
        let (message, transport) = (asked.query.message.to_vec(), asked.query.transport);
        let (options, stop) = (asked.options.to_vec(), self.stop.clone());
        let fetching = async move {
            let query = Query::parse(&message, transport).ok()?;
            let asking = Asking { complete: false, options: &options };
            Some(fetch(&cache, &forward, index, &query, asking).await)
        };
        self.tasks.spawn(async move { stop.run_until_cancelled(fetching).await.flatten() })
    }

    /// Tells of an error, when the server block wants it told.
    fn tell(&self, query: &Query<'_>, rcode: Rcode, problem: &str) {
        if let Some(errors) = &self.errors {
            let name = portolan_model::names::to_text(query.name());
            let kind = super::wire::type_name(query.kind.0);
            errors.tell(&format!("{} {name} {kind}", rcode.0), problem);
        }
    }
}

/// An answer that is put together from records.
struct Composed<'a> {
    found: Found,
    /// The data of an extended DNS error.
    extended_error: Option<&'a [u8]>,
}

impl std::ops::Deref for Composed<'_> {
    type Target = Found;

    fn deref(&self) -> &Found {
        &self.found
    }
}

/// Asks the `forward` at `index`, and those after it that its `next` leads to.
async fn exchange(
    forwards: &[Arc<Forward>],
    index: usize,
    query: &Query<'_>,
    asking: Asking<'_>,
) -> Result<Relayed, ForwardError> {
    let mut last = Err(ForwardError::NoUpstream);
    let takers = forwards.iter().skip(index).filter(|forward| forward.takes(query.name()));
    for forward in takers {
        last = forward.exchange(query, asking).await;
        if !last.as_ref().is_ok_and(|relayed| forward.passes(relayed)) {
            break;
        }
    }
    last
}

/// Asks upstreams and remembers what they say. A failure does not take the place of what is known.
async fn fetch(
    cache: &Cache,
    forwards: &[Arc<Forward>],
    index: usize,
    query: &Query<'_>,
    asking: Asking<'_>,
) -> Result<Relayed, ForwardError> {
    let relayed = exchange(forwards, index, query, asking).await;
    let now = Instant::now();
    match &relayed {
        Ok(relayed) if relayed.rcode == Rcode::SERVFAIL && cache.has_stale(query, now) => {
            cache.failed(query, now);
        }
        Ok(relayed) => cache.store(query, relayed, now),
        Err(_) => cache.failed(query, now),
    }
    relayed
}

/// Whether an address is one of this machine's own that only it can reach.
pub(crate) fn loopback_if_wildcard(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        other => other,
    }
}
