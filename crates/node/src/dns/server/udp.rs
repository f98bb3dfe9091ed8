//! DNS over UDP: batches in, batches out.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use portolan_linux::datagram::{Batch, Peer, SLOTS, send_to};
use tokio::io::Interest;

use super::{Listener, answer_later, refuse_to_wait};
use crate::dns::site::{Routes, Wait};
use crate::dns::wire::Transport;

/// Longer queries are none: a name, a question and an OPT record take far less.
const LONGEST_QUERY: usize = 2048;

/// After so many full batches in a row, others get their turn on this thread.
const BATCHES: u32 = 16;

/// Answers what arrives at `socket` until the listener stops.
///
/// # Errors
/// When the socket cannot be used with this runtime.
pub(crate) async fn serve(listener: Arc<Listener>, socket: UdpSocket) -> io::Result<()> {
    let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
    let mut batch = Batch::new(LONGEST_QUERY);
    let stop = listener.stop.clone();
    while let Some(ready) = stop.run_until_cancelled(socket.readable()).await {
        ready?;
        let mut drained = false;
        for _ in 0..BATCHES {
            let mut count = 0;
            let received = socket.try_io(Interest::READABLE, || {
                count = batch.receive(socket.as_fd())?;
                // A batch that is not full has emptied the socket: the next datagram wakes us, and
                // nobody has to ask the kernel once more to know it.
                if count < SLOTS { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if count > 0 {
                answer(&listener, &socket, &mut batch, count);
            }
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drained = true;
                    break;
                }
                // An earlier answer that could not be delivered; the next call goes on.
                Err(error) => tracing::debug!(%error, "cannot receive"),
            }
        }
        if !drained {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn answer(
    listener: &Arc<Listener>,
    socket: &Arc<tokio::net::UdpSocket>,
    batch: &mut Batch,
    count: usize,
) {
    let now = Instant::now();
    let routes = listener.routes.load();
    let mut answered = 0;
    for slot in 0..count {
        let (message, peer, out) = batch.slot(slot);
        let start = out.len();
        let address = || peer.address();
        let wait = listener.answer_now(&routes, message, Transport::Udp, &address, now, out);
        answered += u64::from(wait.is_none());
        if let Some(wait) = wait {
            match listener.waiting.clone().try_acquire_owned() {
                Ok(permit) => {
                    let waiting = Waiting {
                        socket: socket.clone(),
                        routes: routes.clone(),
                        message: message.to_vec(),
                        peer: *peer,
                        since: now,
                    };
                    listener.tasks.spawn(async move {
                        waiting.finish(wait).await;
                        drop(permit);
                    });
                }
                Err(_) => refuse_to_wait(message, Transport::Udp, out),
            }
        }
        batch.reply(slot, start);
    }
    if let [route] = &routes.0[..] {
        // All of a batch leaves together, so one look at the clock is enough. Where zones share an
        // address, each answer is timed by itself.
        route.metrics.took(now.elapsed().as_secs_f64(), answered);
    }
    // Last: whoever has an answer finds it counted.
    batch.send(socket.as_fd());
}

struct Waiting {
    socket: Arc<tokio::net::UdpSocket>,
    routes: Arc<Routes>,
    message: Vec<u8>,
    peer: Peer,
    since: Instant,
}

impl Waiting {
    async fn finish(self, wait: Wait) {
        let peer: SocketAddr = self.peer.address();
        let message = &self.message;
        let answer =
            answer_later(&self.routes, message, Transport::Udp, wait, peer, self.since).await;
        if !answer.is_empty()
            && let Err(error) = send_to(self.socket.as_fd(), &self.peer, &answer)
        {
            tracing::debug!(%peer, %error, "cannot send an answer");
        }
    }
}
