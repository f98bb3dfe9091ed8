//! The floor that the DNS server is measured against: each datagram goes back with DNS's QR bit
//! set, by the same batches of system calls and nothing else.
//!
//! ```text
//! cargo run --release -p portolan-linux --example datagram_echo 127.0.0.1:15353
//! ```

use std::net::SocketAddr;
use std::os::fd::AsFd;

use portolan_linux::datagram::{Batch, bind};

fn main() {
    let address: SocketAddr = std::env::args()
        .nth(1)
        .and_then(|argument| argument.parse().ok())
        .expect("an address and port to serve on");
    let socket = bind(address).expect("the address can be bound");
    socket.set_nonblocking(false).expect("a blocking socket");
    let mut batch = Batch::new(2048);
    loop {
        // Waits; the batches themselves never do.
        let _ = socket.peek(&mut [0]);
        let Ok(count) = batch.receive(socket.as_fd()) else { continue };
        for slot in 0..count {
            let (message, _, out) = batch.slot(slot);
            let start = out.len();
            out.extend_from_slice(message);
            if let Some(flags) = out.get_mut(start + 2) {
                *flags |= 0x80;
            }
            batch.reply(slot, start);
        }
        batch.send(socket.as_fd());
    }
}
