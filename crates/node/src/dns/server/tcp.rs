//! DNS over TCP (RFC 7766) and over TLS (RFC 7858): messages with their length in front, any number
//! to a connection, each answered as soon as it can be.
//!
//! What a connection may cost is bounded: its queries in octets and number, its answers in octets,
//! its silence in seconds. When connections grow scarce, the silent ones have to go sooner.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::{Listener, answer_later, transfer};
use crate::dns::config::Scheme;
use crate::dns::site::Wait;
use crate::dns::wire::Transport;

/// How many connections there may be; more wait to be accepted.
const MAX_CONNECTIONS: usize = 2048;

/// With fewer places left than this, connections are scarce.
const SCARCE: usize = MAX_CONNECTIONS / 4;

/// How many queries of one connection may wait for upstreams.
const MAX_PIPELINED: usize = 64;

/// Longer queries are none: a name, a question and an OPT record take far less.
const LONGEST_QUERY: usize = 4096;

/// No further query is read while so many octets of answers are waiting to be sent.
const MAX_OUTPUT: usize = 1 << 16;

/// How long a connection may bring no whole query, and a client take none of its answers; the
/// second is for when connections are scarce.
const IDLE: Duration = Duration::from_secs(10);
const SHORT_IDLE: Duration = Duration::from_secs(1);

/// How often a silent connection looks whether it has to go.
const LOOK: Duration = Duration::from_secs(1);

/// Accepts until the listener stops.
pub(crate) async fn serve(listener: Arc<Listener>, sockets: TcpListener, scheme: Scheme) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let stop = listener.stop.clone();
    let accepting = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match sockets.accept().await {
                Ok((stream, peer)) => {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    let connection = Connection {
                        listener: listener.clone(),
                        connections: connections.clone(),
                        peer,
                    };
                    listener.tasks.spawn(async move {
                        if let Err(error) = connection.start(stream, scheme).await {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

struct Connection {
    listener: Arc<Listener>,
    connections: Arc<Semaphore>,
    peer: SocketAddr,
}

/// Messages with their lengths in front.
type Answer = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

impl Connection {
    async fn start(self, stream: TcpStream, scheme: Scheme) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if scheme == Scheme::Dns {
            return self.serve(stream).await;
        }
        let Some(config) = self.listener.tls.load_full() else {
            return Err(io::Error::other("there is no certificate"));
        };
        let stop = self.listener.stop.clone();
        let greeting = timeout(IDLE, TlsAcceptor::from(config).accept(stream));
        match stop.run_until_cancelled(greeting).await {
            None => Ok(()),
            Some(greeted) => self.serve(greeted??).await,
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S) -> io::Result<()> {
        let (mut input, mut output) = (Vec::new(), Vec::new());
        let mut waiting: FuturesUnordered<Answer> = FuturesUnordered::new();
        let mut open = true;
        let mut heard = tokio::time::Instant::now();
        loop {
            let mut at = 0;
            while waiting.len() < MAX_PIPELINED && output.len() < MAX_OUTPUT {
                let Some(message) = frame(&input[at..])? else { break };
                waiting.extend(self.answer(message, &mut output));
                at += 2 + message.len();
                heard = tokio::time::Instant::now();
            }
            input.drain(..at);
            if !output.is_empty() {
                // Piece by piece, so that who takes a long answer slowly is not taken for dead.
                for piece in output.chunks(MAX_OUTPUT) {
                    timeout(IDLE, stream.write_all(piece)).await??;
                }
                timeout(IDLE, stream.flush()).await??;
                output = Vec::new();
                continue;
            }
            if !open && waiting.is_empty() {
                return Ok(());
            }
            let takes_more = open && waiting.len() < MAX_PIPELINED;
            let deadline = heard + self.patience();
            let look = deadline.min(tokio::time::Instant::now() + LOOK);
            tokio::select! {
                read = stream.read_buf(&mut input), if takes_more => open = read? > 0,
                Some(mut answer) = waiting.next() => output.append(&mut answer),
                () = sleep_until(look), if waiting.is_empty() => {
                    if tokio::time::Instant::now() >= deadline {
                        return Ok(());
                    }
                }
                () = self.listener.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// How long this connection may be silent.
    fn patience(&self) -> Duration {
        if self.connections.available_permits() < SCARCE { SHORT_IDLE } else { IDLE }
    }

    /// Answers one message, or returns the answer that has to be waited for.
    fn answer(&self, message: &[u8], output: &mut Vec<u8>) -> Option<Answer> {
        let now = Instant::now();
        let routes = self.listener.routes.load_full();
        let start = output.len();
        output.extend_from_slice(&[0, 0]);
        let peer = self.peer;
        let wait =
            self.listener.answer_now(&routes, message, Transport::Tcp, &|| peer, now, output);
        let length = output.len() - start - 2;
        match u16::try_from(length) {
            Ok(1..) => output[start..start + 2].copy_from_slice(&(length as u16).to_be_bytes()),
            _ => output.truncate(start),
        }
        let wait = wait?;
        let message = message.to_vec();
        Some(Box::pin(async move {
            let mut framed = Vec::new();
            if wait == Wait::Transfer {
                for answer in transfer(&routes, &message, peer, now) {
                    push(&mut framed, &answer);
                }
            } else {
                let answer = answer_later(&routes, &message, Transport::Tcp, wait, peer, now).await;
                push(&mut framed, &answer);
            }
            framed
        }))
    }
}

/// The first whole message of what has been read.
fn frame(input: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = input.split_first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > LONGEST_QUERY {
        return Err(io::Error::other("a query is too long"));
    }
    Ok(rest.get(..length))
}

fn push(output: &mut Vec<u8>, answer: &[u8]) {
    if let Ok(length @ 1..) = u16::try_from(answer.len()) {
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(answer);
    }
}
