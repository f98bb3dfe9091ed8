//! Sockets: DNS over UDP and TCP, and the pages over HTTP.

pub(crate) mod http;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::{Author, Count, Seen, ZoneMetrics};
use super::site::{Now, Routes, Wait};
use super::wire::{Query, Rcode, Reply, Transport};

/// How many queries may wait for upstreams at one address to listen on.
const MAX_WAITING: usize = 8192;

/// One address that is listened on, whatever server blocks come and go behind it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) routes: ArcSwap<Routes>,
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
            tasks,
            stop,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            panics: Count::default(),
            dropped: ZoneMetrics::new(&format!(
                "server=\"dns://:{port}\",zone=\"dropped\",view=\"\""
            )),
        }
    }

    /// Appends the answer to a message if that can be done at once.
    pub(crate) fn answer_now(
        &self,
        routes: &Routes,
        message: &[u8],
        transport: Transport,
        peer: &dyn Fn() -> SocketAddr,
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

fn answer_now(
    listener: &Listener,
    routes: &Routes,
    message: &[u8],
    transport: Transport,
    peer: &dyn Fn() -> SocketAddr,
    now: Instant,
    out: &mut Vec<u8>,
) -> Option<Wait> {
    let query = match Query::parse(message, transport) {
        Ok(query) => query,
        Err(why) => {
            Reply::reject(out, message, why);
            return None;
        }
    };
    let Some(route) = routes.find(query.name()) else {
        let start = out.len();
        let rcode = Reply::empty(out, &query, Rcode::REFUSED);
        let size = out.len() - start;
        listener.dropped.count(&seen(&query, peer(), rcode, Author::Nobody, size));
        return None;
    };
    let start = out.len();
    match route.site.answer_now(&query, now, out) {
        Now::Later(wait) => Some(wait),
        Now::Done(rcode, author) => {
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
    let Ok(query) = Query::parse(message, transport) else { return out };
    let Some(route) = routes.find(query.name()) else { return out };
    let (rcode, author) = route.site.answer_later(routes, &query, wait, &mut out).await;
    route.metrics.count(&seen(&query, peer, rcode, author, out.len()));
    route.metrics.took(since.elapsed().as_secs_f64(), 1);
    if let Some(log) = &route.site.log {
        log.line(&query, peer, &out, since.elapsed());
    }
    out
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
