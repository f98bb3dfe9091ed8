//! The line protocol of `portolan/echo`: one line in, one line out, over UDP and TCP.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use portolan_linux::datagram::Batch;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Identity, canonical, next};

/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 64 * 1024;
/// The longest datagram that is read, in bytes.
const DATAGRAM_MAX: usize = 4096;

/// The answer to one line, without its end.
fn answer(line: &str, peer: SocketAddr, identity: &Identity) -> String {
    let line = line.trim_end_matches(['\r', '\n']);
    match line.split_once(' ').unwrap_or((line, "")) {
        ("hostname", _) => identity.name.clone(),
        ("clientip", _) => peer.to_string(),
        ("echo", text) => text.to_owned(),
        (other, _) => format!("unknown command {other:?}; known are hostname, clientip and echo"),
    }
}

/// Answers from the address that was asked: the pod may share a node's many addresses.
pub(super) async fn serve_udp(socket: UdpSocket, identity: Arc<Identity>, stop: CancellationToken) {
    let mut batch = Batch::new(DATAGRAM_MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            ready = socket.readable() => if ready.is_err() { return },
        }
        let received = socket.try_io(Interest::READABLE, || batch.receive(socket.as_fd()));
        // An error is that there is none after all, or an ICMP message about an earlier answer.
        for slot in 0..received.unwrap_or(0) {
            let (question, peer, out) = batch.slot(slot);
            let from = out.len();
            let line = String::from_utf8_lossy(question);
            out.extend(answer(&line, peer.address(), &identity).into_bytes());
            out.push(b'\n');
            batch.reply(slot, from);
        }
        batch.send(socket.as_fd());
    }
}

pub(super) async fn serve_tcp(
    listener: TcpListener,
    identity: Arc<Identity>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some((stream, peer)) = next(&listener, &stop).await {
        let identity = Arc::clone(&identity);
        tasks.spawn(async move {
            let _ = converse(stream, canonical(peer), &identity).await;
        });
    }
}

/// Answers line after line until the client closes.
async fn converse(stream: TcpStream, peer: SocketAddr, identity: &Identity) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = format!("{}\n", answer(&String::from_utf8_lossy(&line), peer, identity));
        writer.write_all(text.as_bytes()).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_line_is_answered() {
        let identity = Identity { name: "web-0".to_owned(), failing: AtomicBool::new(false) };
        let peer = "[fd00::1]:4242".parse().expect("address");
        assert_eq!(answer("hostname\n", peer, &identity), "web-0");
        assert_eq!(answer("clientip\r\n", peer, &identity), "[fd00::1]:4242");
        assert_eq!(answer("echo a  b\n", peer, &identity), "a  b");
        assert!(answer("what", peer, &identity).contains("unknown command"));
    }
}
