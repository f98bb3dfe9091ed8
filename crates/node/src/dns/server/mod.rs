//! Sockets: DNS over UDP and TCP, and the pages over HTTP.

pub(crate) mod http;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::{Peer, asked};
use super::metrics::{Author, Count, Seen, ZoneMetrics};
use super::site::{Now, Route, Routes, Wait};
use super::wire::{CLASS_IN, Query, Rcode, Rejected, Reply, Transport, u16_at};

/// How many queries may wait for upstreams at one address to listen on.
const MAX_WAITING: usize = 8192;

/// One address that is listened on, whatever server blocks come and go behind it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) routes: ArcSwap<Routes>,
    /// For those who come over TLS.
    pub(crate) tls: ArcSwapOption<ServerConfig>,
    /// Tasks that belong to the address.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) waiting: Arc<Semaphore>,
    pub(crate) panics: Count,
    /// Counts what is for none of the zones here, under CoreDNS's word for it.
    pub(crate) dropped: ZoneMetrics,
}

impl Listener {
    pub(crate) fn new(
        routes: Routes,
        port: u16,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            routes: ArcSwap::from_pointee(routes),
            tls: ArcSwapOption::empty(),
            tasks,
            stop,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            panics: Count::default(),
            dropped: ZoneMetrics::new(&format!(
                "server=\"dns://:{port}\",zone=\"dropped\",view=\"\""
            )),
        }
    }

    /// Serves these blocks from now on.
    pub(crate) fn serve(&self, routes: Vec<Route>, tls: Option<Arc<ServerConfig>>) {
        self.tls.store(tls);
        self.routes.store(Routes::new(routes).into());
    }

    /// Appends the answer to a message if that can be done at once.
    pub(crate) fn answer_now(
        &self,
        routes: &Routes,
        message: &[u8],
        transport: Transport,
        peer: Peer<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Wait> {
        let start = out.len();
        // A mistake in here must cost one query, not the service.
        let answering =
            AssertUnwindSafe(|| answer_now(self, routes, message, transport, peer, now, out));
        match catch_unwind(answering) {
            Ok(wait) => wait,
            Err(_) => {
                self.panics.increment();
                out.truncate(start);
                None
            }
        }
    }
}

/// A query that was refused for its class, if some server block's `rewrite` makes IN of that; with
/// the class that was asked for.
fn of_other_class<'a>(
    routes: &Routes,
    message: &[u8],
    transport: Transport,
    refused: Rejected,
    copy: &'a mut Vec<u8>,
) -> Result<(Query<'a>, u16), Rejected> {
    let Rejected::With { rcode: Rcode::REFUSED, question_end, .. } = refused else {
        return Err(refused);
    };
    let class = u16_at(message, question_end - 2).ok_or(refused)?;
    if !routes.take_class(class) {
        return Err(refused);
    }
    copy.extend_from_slice(message);
    copy[question_end - 2..question_end].copy_from_slice(&CLASS_IN.to_be_bytes());
    Ok((Query::parse(copy, transport)?, class))
}

/// Puts the class that was asked for back into an answer.
fn put_class(query: &Query<'_>, class: u16, answer: &mut [u8]) {
    let end = query.question_end();
    if class != CLASS_IN
        && let Some(place) = answer.get_mut(end - 2..end)
    {
        place.copy_from_slice(&class.to_be_bytes());
    }
}

fn answer_now(
    listener: &Listener,
    routes: &Routes,
    message: &[u8],
    transport: Transport,
    peer: Peer<'_>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Option<Wait> {
    let (mut copy, mut class) = (Vec::new(), CLASS_IN);
    let query = match Query::parse(message, transport) {
        Ok(query) => query,
        Err(why) => match of_other_class(routes, message, transport, why, &mut copy) {
            Ok((query, asked)) => {
                class = asked;
                query
            }
            Err(why) => {
                Reply::reject(out, message, why);
                return None;
            }
        },
    };
    let Some(route) = routes.find(query.name()) else {
        let start = out.len();
        let rcode = Reply::empty(out, &query, Rcode::REFUSED);
        let size = out.len() - start;
        listener.dropped.count(&seen(&query, peer(), rcode, Author::Nobody, size));
        return None;
    };
    let start = out.len();
    match route.site.begin(&asked(&query, peer, now, class, routes), out) {
        Now::Later(wait) => Some(wait),
        Now::Done(rcode, author) => {
            put_class(&query, class, &mut out[start..]);
            let peer = peer();
            route.metrics.count(&seen(&query, peer, rcode, author, out.len() - start));
            if transport == Transport::Tcp || routes.0.len() > 1 {
                route.metrics.took(now.elapsed().as_secs_f64(), 1);
            }
            if let Some(log) = &route.site.log {
                log.line(&query, peer, &out[start..], now.elapsed());
            }
            None
        }
    }
}

/// The answer to a message that [`Listener::answer_now`] said had to be waited for.
pub(crate) async fn answer_later(
    routes: &Routes,
    message: &[u8],
    transport: Transport,
    wait: Wait,
    peer: SocketAddr,
    since: Instant,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut copy = Vec::new();
    let read = Query::parse(message, transport).map(|query| (query, CLASS_IN));
    let read = read.or_else(|why| of_other_class(routes, message, transport, why, &mut copy));
    let Ok((query, class)) = read else { return out };
    let Some(route) = routes.find(query.name()) else { return out };
    let who = || peer;
    let asked = asked(&query, &who, since, class, routes);
    let (rcode, author) = route.site.end(&asked, wait, &mut out).await;
    put_class(&query, class, &mut out);
    finish(route, &query, peer, (rcode, author), &out, since);
    out
}

/// The messages of a whole zone, for a query that is to wait for [`Wait::Transfer`].
pub(crate) fn transfer(
    routes: &Routes,
    message: &[u8],
    peer: SocketAddr,
    since: Instant,
) -> Vec<Vec<u8>> {
    let Ok(query) = Query::parse(message, Transport::Tcp) else { return Vec::new() };
    let Some(route) = routes.find(query.name()) else { return Vec::new() };
    let who = || peer;
    let (rcode, messages) = route.site.transfer(&asked(&query, &who, since, CLASS_IN, routes));
    let first = messages.first().map_or(&[][..], Vec::as_slice);
    finish(route, &query, peer, (rcode, Author::Transfer), first, since);
    messages
}

/// Counts and logs an answer that was waited for.
fn finish(
    route: &Route,
    query: &Query<'_>,
    peer: SocketAddr,
    (rcode, author): (Rcode, Author),
    answer: &[u8],
    since: Instant,
) {
    route.metrics.count(&seen(query, peer, rcode, author, answer.len()));
    route.metrics.took(since.elapsed().as_secs_f64(), 1);
    if let Some(log) = &route.site.log {
        log.line(query, peer, answer, since.elapsed());
    }
}

/// Says that too many wait already.
pub(crate) fn refuse_to_wait(message: &[u8], transport: Transport, out: &mut Vec<u8>) {
    if let Ok(query) = Query::parse(message, transport) {
        Reply::empty(out, &query, Rcode::SERVFAIL);
    }
}

fn seen(query: &Query<'_>, peer: SocketAddr, rcode: Rcode, author: Author, size: usize) -> Seen {
    Seen {
        transport: query.transport,
        peer: peer.ip(),
        kind: query.kind.0,
        dnssec: query.dnssec(),
        request_size: query.message.len(),
        response_size: size,
        rcode,
        author,
    }
}

/// A listening TCP socket, not blocking. The IPv6 wildcard takes IPv4 too, and where there is no
/// IPv6 it is the IPv4 wildcard.
pub(crate) fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        Ok(socket.into())
    };
    match open(address) {
        Err(_) if without_ipv6(address) => {
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        done => done,
    }
}

/// Whether `address` is the IPv6 wildcard on a machine that has no IPv6.
pub(crate) fn without_ipv6(address: SocketAddr) -> bool {
    let wildcard = matches!(address, SocketAddr::V6(v6) if v6.ip().is_unspecified());
    wildcard && !std::path::Path::new("/proc/net/if_inet6").exists()
}
