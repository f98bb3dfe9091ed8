//! The routing netlink: one blocking socket and the messages on it.
//!
//! Wire format: netlink(7) and rtnetlink(7). A socket belongs to the network namespace of the
//! thread that opened it, so one opened inside [`crate::netns::NetNs::run`] may be used anywhere.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::error::{Attempt, Attempted, Failed};

/// The links, addresses, routes and neighbours of one network namespace.
///
/// What can be done with it is in [`crate::link`], [`crate::route`] and [`crate::neighbour`].
#[derive(Debug)]
pub struct Rtnl {
    socket: OwnedFd,
    sequence: AtomicU32,
    turn: std::sync::Mutex<()>,
}

const HEADER: usize = 16;
/// The kernel fills at most 32 KiB per datagram of a dump.
const RECEIVE: usize = 32 * 1024;

impl Rtnl {
    /// Opens a handle on the namespace of the calling thread.
    pub fn open() -> Attempt<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .attempted(|| "open a routing netlink socket".to_owned())?;
        Ok(Self { socket, sequence: AtomicU32::new(1), turn: std::sync::Mutex::new(()) })
    }

    /// Sends one request and waits for the kernel's acknowledgement.
    pub(crate) fn request(&self, message: Message, what: impl FnOnce() -> String) -> Attempt<()> {
        self.exchange(message, libc::NLM_F_ACK as u16, |_, _| {})
            .map_err(|e| Failed::new(what(), e))
    }

    /// Sends a dump request and hands every answer's type and body to `each`.
    pub(crate) fn dump(
        &self,
        message: Message,
        what: &str,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Attempt<()> {
        self.exchange(message, libc::NLM_F_DUMP as u16, &mut each).attempted(|| what.to_owned())
    }

    /// Sends a request for one object and hands the answer to `each`.
    pub(crate) fn query(
        &self,
        message: Message,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.exchange(message, libc::NLM_F_ACK as u16, &mut each)
    }

    fn exchange(
        &self,
        mut message: Message,
        flags: u16,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let bytes = message.finish(flags, sequence);
        send(self.socket.as_raw_fd(), bytes, MsgFlags::empty())?;
        let mut buffer = vec![0; RECEIVE];
        loop {
            let n = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = &buffer[..n];
            while rest.len() >= HEADER {
                let length = u32_at(rest, 0) as usize;
                if length < HEADER || length > rest.len() {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
                let (kind, from) = (u16_at(rest, 4), u32_at(rest, 8));
                let body = &rest[HEADER..length];
                rest = rest.get(align(length)..).unwrap_or_default();
                if from != sequence {
                    continue;
                }
                match i32::from(kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        let code = if body.len() >= 4 { u32_at(body, 0).cast_signed() } else { 0 };
                        return if code == 0 {
                            Ok(())
                        } else {
                            Err(io::Error::from_raw_os_error(-code))
                        };
                    }
                    libc::NLMSG_NOOP => {}
                    _ => each(kind, body),
                }
            }
        }
    }
}

/// A request under construction.
#[derive(Debug)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request of type `kind` (`RTM_…`) with `flags` beyond `NLM_F_REQUEST`, whose body starts
    /// with the family's fixed structure.
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self(bytes)
    }

    /// Adds bytes to the body as they are, padded to the netlink alignment.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.pad();
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value);
    }

    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// A string with the zero byte that the kernel wants at its end.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    pub(crate) fn address(&mut self, kind: u16, value: std::net::IpAddr) {
        match value {
            std::net::IpAddr::V4(a) => self.attribute(kind, &a.octets()),
            std::net::IpAddr::V6(a) => self.attribute(kind, &a.octets()),
        }
    }

    /// An attribute that holds what `fill` adds.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.attribute(kind, &[]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.0.resize(align(self.0.len()), 0);
    }

    fn finish(&mut self, flags: u16, sequence: u32) -> &[u8] {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16_at(&self.0, 6) | flags;
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.0
    }
}

/// The attributes in `bytes`, without the nesting and byte-order bits of their types.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let length = usize::from(u16_at(bytes, 0));
        let value = bytes.get(4..length)?;
        let kind = u16_at(bytes, 2) & 0x3fff;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An address of either family, from an attribute's value.
pub(crate) fn address(value: &[u8]) -> Option<std::net::IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(value).ok().map(Into::into),
        _ => None,
    }
}

fn align(n: usize) -> usize {
    n.next_multiple_of(4)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

/// `AF_INET` or `AF_INET6`.
pub(crate) fn family(address: std::net::IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn attributes_come_back_as_they_were_put(list in proptest::collection::vec((0u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut message = Message::new(0, 0, &[]);
            for (kind, value) in &list {
                message.attribute(*kind, value);
            }
            let found: Vec<_> = attributes(&message.0[HEADER..]).map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(found, list);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, value) in attributes(&bytes) {
                let _ = address(value);
            }
        }
    }
}
