//! The server under load: one thread and epoll. A connection's first octet says what it wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{BULK, ONCE};

pub(in crate::bench::datapath) const PORT: u16 = 8080;
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    wish: Option<u8>,
}

/// Serves until it is killed.
pub(super) fn serve() -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 256 << 10];
    println!("ready");
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let token = event.data.u64();
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    let at = stream.as_raw_fd() as usize;
                    epoll::add(&epoll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
                    if connections.len() <= at {
                        connections.resize_with(at + 1, || None);
                    }
                    connections[at] = Some(Connection { stream, wish: None });
                }
            } else if let Some(slot) = connections.get_mut(token as usize)
                && let Some(connection) = slot
                && !connection.goes_on(&mut buffer)
            {
                // Closing takes it out of the epoll.
                *slot = None;
            }
        }
    }
}

impl Connection {
    /// Takes in what there is; returns whether the connection stays open.
    fn goes_on(&mut self, buffer: &mut [u8]) -> bool {
        let length = match self.stream.read(buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        };
        match *self.wish.get_or_insert(buffer[0]) {
            ONCE => {
                let _ = self.stream.write_all(&buffer[..1]);
                false
            }
            BULK => true,
            _ => self.stream.write_all(&buffer[..length]).is_ok(),
        }
    }
}
