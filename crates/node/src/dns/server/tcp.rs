//! DNS over TCP (RFC 7766): messages with their length in front, any number to a connection, each
//! answered as soon as it can be.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Listener, answer_later};
use crate::dns::wire::Transport;

/// How many connections there may be; more wait to be accepted.
const MAX_CONNECTIONS: usize = 2048;

/// How many queries of one connection may wait for upstreams.
const MAX_PIPELINED: usize = 64;

/// How long a connection may bring no whole query, and a client take none of its answers.
const IDLE: Duration = Duration::from_secs(10);

/// Accepts until the listener stops.
pub(crate) async fn serve(listener: Arc<Listener>, sockets: TcpListener) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let stop = listener.stop.clone();
    let accepting = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match sockets.accept().await {
                Ok((stream, peer)) => {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    let connection = Connection { listener: listener.clone(), peer };
                    listener.tasks.spawn(async move {
                        if let Err(error) = connection.serve(stream).await {
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
    peer: SocketAddr,
}

type Answer = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

impl Connection {
    async fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut input, mut output) = (Vec::new(), Vec::new());
        let mut waiting: FuturesUnordered<Answer> = FuturesUnordered::new();
        let mut open = true;
        let mut deadline = tokio::time::Instant::now() + IDLE;
        loop {
            let mut at = 0;
            while waiting.len() < MAX_PIPELINED && output.len() < 1 << 20 {
                let Some(message) = frame(&input[at..]) else { break };
                waiting.extend(self.answer(message, &mut output));
                at += 2 + message.len();
                deadline = tokio::time::Instant::now() + IDLE;
            }
            input.drain(..at);
            if !output.is_empty() {
                tokio::time::timeout(IDLE, stream.write_all(&output)).await??;
                output.clear();
                continue;
            }
            if !open && waiting.is_empty() {
                return Ok(());
            }
            let takes_more = open && waiting.len() < MAX_PIPELINED;
            tokio::select! {
                read = stream.read_buf(&mut input), if takes_more => open = read? > 0,
                Some(answer) = waiting.next() => push(&mut output, &answer),
                () = tokio::time::sleep_until(deadline), if waiting.is_empty() => return Ok(()),
                () = self.listener.stop.cancelled() => return Ok(()),
            }
        }
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
            answer_later(&routes, &message, Transport::Tcp, wait, peer, now).await
        }))
    }
}

/// The first whole message of what has been read.
fn frame(input: &[u8]) -> Option<&[u8]> {
    let (length, rest) = input.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

fn push(output: &mut Vec<u8>, answer: &[u8]) {
    if let Ok(length @ 1..) = u16::try_from(answer.len()) {
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(answer);
    }
}
