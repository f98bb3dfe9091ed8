//! Sockets to one upstream. Over UDP each question has a socket of its own, and so a port that
//! nobody can guess; connections over TCP and TLS are kept for the next one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio_rustls::TlsConnector;

use crate::dns::metrics::Count;
use crate::dns::plugin::upstream::{Relayed, mix_case, read, restore_case, same_case};
use crate::dns::wire::Transport;

/// Even without a limit in the Corefile, no more connections are kept.
const MOST_IDLE: usize = 64;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Stream = Box<dyn Duplex>;

/// One upstream's address and how to speak to it.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    source: Option<IpAddr>,
    expire: Duration,
    max_idle: usize,
    idle: Mutex<Vec<(Stream, Instant)>>,
    udp: Connections,
    streams: Connections,
}

/// How often a connection was there already, and how often one was made.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) kept: Count,
    pub(super) made: Count,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(
        address: SocketAddr,
        source: Option<IpAddr>,
        expire: Duration,
        max_idle: usize,
    ) -> Self {
        let max_idle = if max_idle == 0 { MOST_IDLE } else { max_idle };
        Self {
            address,
            tls: None,
            source,
            expire,
            max_idle,
            idle: Mutex::default(),
            udp: Connections::default(),
            streams: Connections::default(),
        }
    }

    /// Speaks TLS, to one whose certificate has `name`.
    pub(super) fn over_tls(self, config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        Self { tls: Some((TlsConnector::from(config), name)), ..self }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// By CoreDNS's names for the protocols.
    pub(super) fn connections(&self) -> [(&'static str, &Connections); 2] {
        [("udp", &self.udp), (if self.is_tls() { "tcp-tls" } else { "tcp" }, &self.streams)]
    }

    /// Asks, and waits no longer than `patience`.
    pub(super) async fn ask(
        &self,
        question: &[u8],
        transport: Transport,
        patience: Duration,
    ) -> io::Result<Relayed> {
        let asking = async {
            match transport {
                Transport::Udp if self.tls.is_none() => self.ask_udp(question).await,
                _ => self.ask_stream(question).await,
            }
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(done) => done,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn any(&self) -> IpAddr {
        match (self.source, self.address) {
            (Some(source), _) => source,
            (None, SocketAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (None, SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    async fn ask_udp(&self, question: &[u8]) -> io::Result<Relayed> {
        let mut mixed = question.to_vec();
        mix_case(&mut mixed);
        self.udp.made.increment();
        let socket = UdpSocket::bind((self.any(), 0)).await?;
        // Connected, it hears nobody else.
        socket.connect(self.address).await?;
        socket.send(&mixed).await?;
        let mut buffer = vec![0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match read(&mixed, buffer[..length].to_vec()) {
                Some(mut relayed) if same_case(&mixed, &relayed) => {
                    restore_case(question, &mut relayed.message);
                    return Ok(relayed);
                }
                // Either somebody guesses, or the upstream does not keep the spelling: over TCP
                // nobody can guess.
                Some(_) => return self.ask_stream(question).await,
                None => {}
            }
        }
    }

    async fn ask_stream(&self, question: &[u8]) -> io::Result<Relayed> {
        while let Some(mut stream) = self.kept() {
            // The other side may have ended it in the meantime: no reason to give up.
            if let Ok(relayed) = exchange(&mut stream, question).await {
                self.streams.kept.increment();
                self.keep(stream);
                return Ok(relayed);
            }
        }
        self.streams.made.increment();
        let mut stream = self.connect().await?;
        let relayed = exchange(&mut stream, question).await?;
        self.keep(stream);
        Ok(relayed)
    }

    async fn connect(&self) -> io::Result<Stream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }

    fn kept(&self) -> Option<Stream> {
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| since.elapsed() < self.expire);
        idle.pop().map(|(stream, _)| stream)
    }

    fn keep(&self, stream: Stream) {
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push((stream, Instant::now()));
        }
    }
}

async fn exchange(stream: &mut Stream, question: &[u8]) -> io::Result<Relayed> {
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    stream.flush().await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    read(question, answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
