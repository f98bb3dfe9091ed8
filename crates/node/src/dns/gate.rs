//! One view with the node's proxy: a change is answered once the kernel of this node has it.
//!
//! The proxy tells on its health port up to which revision of Services and EndpointSlices the
//! kernel is. A change that is newer waits, but not for long: a proxy that is away, or stuck, must
//! not keep names from following the cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::metrics::{Count, Histogram};
use crate::reached::Kind;

/// kube-proxy's own port for health.
const HEALTH: u16 = 10_256;

/// How long an answer waits for the kernel at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two looks at a proxy that is being waited for.
const LOOK: Duration = Duration::from_millis(1);

/// Before a proxy that did not answer is asked again.
const AWAY: Duration = Duration::from_secs(1);

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What is known of the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    services: u64,
    endpoint_slices: u64,
    /// Nobody waits for a proxy that is not there.
    #[serde(skip)]
    away: bool,
}

impl Applied {
    fn has(self, kind: Kind, revision: u64) -> bool {
        match kind {
            _ if self.away => true,
            Kind::Services => self.services >= revision,
            Kind::EndpointSlices => self.endpoint_slices >= revision,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Gate {
    proxy: SocketAddr,
    applied: watch::Sender<Applied>,
    waiting: AtomicUsize,
    wanted: Notify,
    /// How long changes waited for the kernel.
    pub(crate) skew: Histogram,
    /// Changes that were answered although the kernel did not have them.
    pub(crate) timeouts: Count,
}

impl Gate {
    /// For the proxy of the node that has this address.
    pub(crate) fn new(node: IpAddr) -> Arc<Self> {
        Self::at(SocketAddr::new(node, HEALTH))
    }

    pub(crate) fn at(proxy: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            proxy,
            applied: watch::Sender::new(Applied::default()),
            waiting: AtomicUsize::new(0),
            wanted: Notify::new(),
            skew: Histogram::programming(),
            timeouts: Count::default(),
        })
    }

    /// Waits until the kernel has the object of this kind at this revision, or until it is clear
    /// that waiting is of no use.
    pub(crate) async fn wait(&self, kind: Kind, revision: u64) {
        if self.applied.borrow().has(kind, revision) {
            return;
        }
        let begun = Instant::now();
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.wanted.notify_one();
        let mut applied = self.applied.subscribe();
        let waited = applied.wait_for(|applied| applied.has(kind, revision));
        let waited = tokio::time::timeout(PATIENCE, waited).await.is_ok();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if waited {
            self.skew.observe(begun.elapsed().as_secs_f64(), 1);
        } else {
            self.timeouts.increment();
            tracing::warn!(
                proxy = %self.proxy, ?kind, revision,
                "the node's proxy does not get on; names go on without it for a while",
            );
            // What comes next does not wait as long again.
            self.applied.send_modify(|applied| applied.away = true);
        }
    }

    /// Asks the proxy as long as somebody waits; never ends.
    pub(crate) async fn follow(&self) {
        let mut link = None;
        loop {
            let away = self.applied.borrow().away;
            if away {
                tokio::time::sleep(AWAY).await;
            } else if self.waiting.load(Ordering::Acquire) == 0 {
                self.wanted.notified().await;
            }
            match tokio::time::timeout(PATIENCE, ask(&mut link, self.proxy)).await {
                Ok(Ok(applied)) => {
                    self.applied.send_replace(applied);
                    tokio::time::sleep(LOOK).await;
                }
                failed => {
                    if !away {
                        let error = failed.ok().and_then(Result::err).map(|e| e.to_string());
                        let error = error.unwrap_or_else(|| "no answer in time".to_owned());
                        tracing::info!(proxy = %self.proxy, error, "no proxy to wait for");
                    }
                    link = None;
                    self.applied.send_modify(|applied| applied.away = true);
                }
            }
        }
    }
}

type Link = Option<SendRequest<Empty<Bytes>>>;

async fn ask(link: &mut Link, proxy: SocketAddr) -> Result<Applied, Failed> {
    let sender = match link {
        Some(sender) if !sender.is_closed() => sender,
        _ => {
            let stream = tokio::net::TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // Ends with its sender.
            tokio::spawn(connection);
            link.insert(sender)
        }
    };
    let request = hyper::Request::get("/applied")
        .header(hyper::header::HOST, proxy.to_string())
        .body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), 4096).collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A proxy whose kernel is where `revision` says.
    async fn proxy(revision: Arc<AtomicU64>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                let revision = revision.load(Ordering::SeqCst);
                let body = format!("{{\"services\":{revision},\"endpointSlices\":3}}");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_change_waits_for_the_kernel() {
        let revision = Arc::new(AtomicU64::new(5));
        let gate = Gate::at(proxy(revision.clone()).await);
        let following = gate.clone();
        let following = tokio::spawn(async move { following.follow().await });
        gate.wait(Kind::Services, 5).await;
        gate.wait(Kind::EndpointSlices, 3).await;
        let waiting = gate.clone();
        let waiting = tokio::spawn(async move { waiting.wait(Kind::Services, 6).await });
        while gate.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished(), "the kernel is at 5");
        revision.store(6, Ordering::SeqCst);
        waiting.await.expect("no panic");
        assert_eq!(gate.timeouts.get(), 0);
        // A kernel that stays behind holds nobody up for good, and then nobody at all.
        gate.wait(Kind::Services, 7).await;
        assert_eq!(gate.timeouts.get(), 1);
        gate.wait(Kind::Services, 8).await;
        assert_eq!(gate.timeouts.get(), 1);
        following.abort();
    }

    #[tokio::test]
    async fn nobody_waits_for_a_proxy_that_is_not_there() {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let gate = Gate::at(unused.local_addr().expect("an address"));
        drop(unused);
        let following = gate.clone();
        let following = tokio::spawn(async move { following.follow().await });
        gate.wait(Kind::Services, 9).await;
        assert_eq!(gate.timeouts.get(), 0);
        following.abort();
    }
}
