//! Relaying TCP connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::choice::{Choice, Shared};
use super::plan::Entry;

/// How long a backend has to answer before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections that are relayed at a time, all frontends together.
pub(super) const CONNECTIONS: usize = 16_384;
const BUFFER: usize = 32 * 1024;

/// Accepts and relays until it is dropped; connections live on in tasks of their own.
pub(super) async fn serve(
    listener: TcpListener,
    entry: Arc<ArcSwap<Entry>>,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let (entry, shared) = (entry.load_full(), shared.clone());
                // Ends with its connection, which may outlive the frontend.
                tokio::spawn(async move {
                    let _place = place;
                    relay(stream, client, &entry, &shared).await;
                });
            }
            Err(error) if error.raw_os_error() == Some(INVALID) => return,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// `EINVAL`: the socket listens no more.
const INVALID: i32 = 22;

async fn relay(mut client: TcpStream, from: SocketAddr, entry: &Entry, shared: &Shared) {
    let mut server = None;
    if let Choice::Try(order) = shared.choose(entry, from.ip(), Instant::now()) {
        for backend in order {
            match timeout(PATIENCE, TcpStream::connect(backend)).await {
                Ok(Ok(stream)) => {
                    shared.keep(entry, from.ip(), backend, Instant::now());
                    server = Some(stream);
                    break;
                }
                Ok(Err(error)) => tracing::debug!(%backend, %error, "trying another endpoint"),
                Err(_) => tracing::debug!(%backend, "no answer; trying another endpoint"),
            }
        }
    }
    let Some(mut server) = server else {
        reset(client);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // The end of one direction is passed on, and the other goes on.
    if copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await.is_err() {
        // One side broke off; so does the other.
        reset(client);
        reset(server);
    }
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
