//! Relaying UDP: what a client sends from one port goes to one backend, and answers go back.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::choice::{Choice, Shared, any_of};
use super::plan::Entry;

/// A session ends when neither side said anything for so long.
const IDLE: Duration = Duration::from_secs(60);
/// Sessions of one socket.
const SESSIONS: usize = 4_096;
const LARGEST: usize = 65_535;

struct Session {
    backend: SocketAddr,
    socket: Arc<UdpSocket>,
    pulse: Arc<Pulse>,
}

/// When a client last said something, in milliseconds since the socket was opened.
#[derive(Default)]
struct Pulse(AtomicU64);

/// Relays until it is dropped, and its sessions with it.
pub(super) async fn serve(socket: Arc<UdpSocket>, entry: Arc<ArcSwap<Entry>>, shared: Arc<Shared>) {
    let start = Instant::now();
    let mut sessions: HashMap<SocketAddr, Session> = HashMap::new();
    // Each returns its client when its session is over.
    let mut answering: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        let (length, client) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                // What an earlier answer met on its way.
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            Some(over) = answering.join_next() => {
                if let Ok(client) = over
                    && sessions.get(&client).is_some_and(|it| Arc::strong_count(&it.pulse) == 1)
                {
                    sessions.remove(&client);
                }
                continue;
            }
        };
        let entry = entry.load_full();
        let stays = |it: &Session| {
            Arc::strong_count(&it.pulse) > 1 && shared.may_stay(&entry, client.ip(), it.backend)
        };
        if !sessions.get(&client).is_some_and(stays) {
            sessions.remove(&client);
            if sessions.len() >= SESSIONS {
                continue;
            }
            let Some(session) = open(&entry, &shared, client).await else { continue };
            let (back, from) = (Arc::downgrade(&socket), Arc::downgrade(&session.socket));
            answering.spawn(answer(from, back, client, session.pulse.clone(), start));
            sessions.insert(client, session);
        }
        if let Some(session) = sessions.get(&client) {
            session.pulse.0.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
            let _ = session.socket.send(&buffer[..length]).await;
        }
    }
}

async fn open(entry: &Entry, shared: &Shared, client: SocketAddr) -> Option<Session> {
    let Choice::Try(order) = shared.choose(entry, client.ip(), Instant::now()) else {
        return None;
    };
    for backend in order {
        let connected: io::Result<UdpSocket> = async {
            let socket = UdpSocket::bind(any_of(backend)).await?;
            socket.connect(backend).await?;
            Ok(socket)
        }
        .await;
        match connected {
            Ok(socket) => {
                shared.keep(entry, client.ip(), backend, Instant::now());
                return Some(Session {
                    backend,
                    socket: Arc::new(socket),
                    pulse: Arc::new(Pulse::default()),
                });
            }
            Err(error) => tracing::debug!(%backend, %error, "trying another endpoint"),
        }
    }
    None
}

/// Passes answers back until nobody says anything any more, or the backend refuses.
async fn answer(
    from: Weak<UdpSocket>,
    back: Weak<UdpSocket>,
    client: SocketAddr,
    pulse: Arc<Pulse>,
    start: Instant,
) -> SocketAddr {
    let mut buffer = vec![0; LARGEST];
    loop {
        // The session may be given up at any time.
        let Some(socket) = from.upgrade() else { return client };
        let received = timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await;
        drop(socket);
        match received {
            Ok(Ok(length)) => {
                pulse.0.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
                let Some(socket) = back.upgrade() else { return client };
                let _ = socket.send_to(&buffer[..length], client).await;
            }
            // The backend is not there: the next word opens a new session.
            Ok(Err(_)) => return client,
            Err(_) => {
                let last = Duration::from_millis(pulse.0.load(Ordering::Relaxed));
                if start.elapsed().saturating_sub(last) > IDLE {
                    return client;
                }
            }
        }
    }
}
