//! Relaying TCP connections.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use portolan_linux::splice::Pipe;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::choice::{Choice, Shared};
use super::plan::Entry;

/// How long a backend has to answer before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections that are relayed at a time, all frontends together.
const CONNECTIONS: usize = 16_384;
/// Empty pipes that are kept for whoever is next to have something to say.
const SPARE: usize = 64;

/// What all TCP relays share.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// A pipe belongs to a connection only while bytes are in it: silent connections cost none.
    pipes: Mutex<Vec<Pipe>>,
}

impl Default for Room {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS)), pipes: Mutex::default() }
    }
}

impl Room {
    fn pipe(&self) -> io::Result<Pipe> {
        let spare = self.pipes.lock().pop();
        spare.map_or_else(Pipe::new, Ok)
    }

    fn give_back(&self, pipe: Pipe) {
        let mut pipes = self.pipes.lock();
        if pipes.len() < SPARE {
            pipes.push(pipe);
        }
    }
}

/// Accepts and relays until it is dropped; connections live on in tasks of their own.
pub(super) async fn serve(
    listener: TcpListener,
    entry: Arc<ArcSwap<Entry>>,
    shared: Arc<Shared>,
    room: Arc<Room>,
) {
    loop {
        let Ok(place) = room.places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let (entry, shared, room) = (entry.load_full(), shared.clone(), room.clone());
                // Ends with its connection, which may outlive the frontend.
                tokio::spawn(async move {
                    let _place = place;
                    relay(stream, client, &entry, &shared, &room).await;
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

async fn relay(client: TcpStream, from: SocketAddr, entry: &Entry, shared: &Shared, room: &Room) {
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
    let Some(server) = server else {
        reset(client);
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let both = async {
        tokio::try_join!(pass(&client, &server, room), pass(&server, &client, room)).map(drop)
    };
    if both.await.is_err() {
        // One side broke off; so does the other.
        reset(client);
        reset(server);
    }
}

/// Passes on one direction to its end; the other goes on.
async fn pass(from: &TcpStream, to: &TcpStream, room: &Room) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut pipe = room.pipe()?;
        match from.try_io(Interest::READABLE, || pipe.fill(from)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while pipe.held() > 0 {
            to.async_io(Interest::WRITABLE, || pipe.drain(to)).await?;
        }
        room.give_back(pipe);
    }
    match socket2::SockRef::from(to).shutdown(Shutdown::Write) {
        // The other side is gone altogether, which its own direction finds out.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
