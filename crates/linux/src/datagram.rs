//! UDP in batches: many datagrams in, as many answers out, two system calls (recvmmsg(2) and
//! sendmmsg(2)). Answers leave from the address that the question came to, also on a socket that
//! is bound to the wildcard address (`IP_PKTINFO`, ip(7); RFC 3542, 6.2).
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Attempt, Failed};

/// How many datagrams one call moves at most.
pub const SLOTS: usize = 32;

/// Room for one `struct in6_pktinfo` with its header, and some.
const CONTROL: usize = 64;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Where a datagram came from, and which of our addresses it came to.
#[derive(Clone, Copy)]
pub struct Peer {
    name: libc::sockaddr_storage,
    name_length: libc::socklen_t,
    control: Control,
    control_length: usize,
}

impl Peer {
    const NOBODY: Self = Self {
        // SAFETY: `sockaddr_storage` is plain bytes and integers; all zeroes is a value of it.
        name: unsafe { mem::zeroed() },
        name_length: 0,
        control: Control([0; CONTROL]),
        control_length: 0,
    };

    /// The sender's address; an IPv4 address that arrived at an IPv6 socket reads as IPv4.
    pub fn address(&self) -> SocketAddr {
        let v4 = |name: &libc::sockaddr_in| {
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            SocketAddr::new(ip.into(), u16::from_be(name.sin_port))
        };
        let v6 = |name: &libc::sockaddr_in6| {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            SocketAddr::new(IpAddr::from(ip).to_canonical(), u16::from_be(name.sin6_port))
        };
        let name: *const libc::sockaddr_storage = &self.name;
        match i32::from(self.name.ss_family) {
            // SAFETY: `sockaddr_storage` is as large and as aligned as every socket address, and
            // any bytes are a `sockaddr_in` and a `sockaddr_in6`.
            libc::AF_INET => v4(unsafe { &*name.cast() }),
            // SAFETY: as above.
            _ => v6(unsafe { &*name.cast() }),
        }
    }

    /// Lets routing choose the interface that the answer leaves by, unless a link-local address
    /// means nothing without it.
    fn unpin_interface(&mut self) {
        // SAFETY: `header` is `msghdr` over our own aligned control buffer with the length that
        // the kernel reported, so CMSG_FIRSTHDR is null or points to a whole `cmsghdr` in it, and
        // the data is checked to be long enough before it is touched.
        unsafe {
            let mut header: libc::msghdr = mem::zeroed();
            header.msg_control = self.control.0.as_mut_ptr().cast();
            header.msg_controllen = self.control_length;
            let Some(message) = libc::CMSG_FIRSTHDR(&header).as_mut() else { return };
            let data = libc::CMSG_DATA(message);
            let room =
                message.cmsg_len.saturating_sub(data as usize - (message as *mut _ as usize));
            match (message.cmsg_level, message.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO)
                    if room >= mem::size_of::<libc::in_pktinfo>() =>
                {
                    (*data.cast::<libc::in_pktinfo>()).ipi_ifindex = 0;
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
                    if room >= mem::size_of::<libc::in6_pktinfo>() =>
                {
                    let info = &mut *data.cast::<libc::in6_pktinfo>();
                    if info.ipi6_addr.s6_addr[..2] != [0xfe, 0x80] {
                        info.ipi6_ifindex = 0;
                    }
                }
                _ => self.control_length = 0,
            }
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address())
    }
}

/// Received datagrams and the answers to them. One is made per receiving task and used over and
/// over.
#[derive(Debug)]
pub struct Batch {
    buffers: Box<[u8]>,
    size: usize,
    peers: Box<[Peer; SLOTS]>,
    lengths: [usize; SLOTS],
    count: usize,
    out: Vec<u8>,
    replies: Vec<(usize, Range<usize>)>,
}

impl Batch {
    /// For datagrams of at most `size` octets; longer ones are dropped on arrival.
    pub fn new(size: usize) -> Self {
        Self {
            buffers: vec![0; size * SLOTS].into(),
            size,
            peers: Box::new([Peer::NOBODY; SLOTS]),
            lengths: [0; SLOTS],
            count: 0,
            out: Vec::new(),
            replies: Vec::with_capacity(SLOTS),
        }
    }

    /// Takes what has arrived at `socket`, at least one datagram; returns how many. An error of
    /// kind [`io::ErrorKind::WouldBlock`] means that there is none.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        self.out.clear();
        self.replies.clear();
        // SAFETY: all zeroes is a value of these structs of integers and pointers.
        let mut vectors: [libc::iovec; SLOTS] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { mem::zeroed() };
        let slots = self.buffers.chunks_exact_mut(self.size).zip(self.peers.iter_mut());
        for ((vector, header), (buffer, peer)) in vectors.iter_mut().zip(&mut headers).zip(slots) {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            let header = &mut header.msg_hdr;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut peer.name).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as _;
            header.msg_control = peer.control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
        }
        // SAFETY: the kernel writes only within the buffers, names and control areas that the
        // headers point to with their true lengths; all of them outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                SLOTS as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        self.count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (slot, header) in headers[..self.count].iter().enumerate() {
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            self.lengths[slot] = if truncated { 0 } else { header.msg_len as usize };
            let peer = &mut self.peers[slot];
            peer.name_length = header.msg_hdr.msg_namelen;
            peer.control_length = header.msg_hdr.msg_controllen.min(CONTROL);
            if peer.control_length > 0 {
                peer.unpin_interface();
            }
        }
        Ok(self.count)
    }

    /// The datagram in `slot` with its sender, and the buffer to append an answer to it; the
    /// answer is what [`Batch::reply`] is then told of.
    pub fn slot(&mut self, slot: usize) -> (&[u8], &Peer, &mut Vec<u8>) {
        let start = slot * self.size;
        (&self.buffers[start..start + self.lengths[slot]], &self.peers[slot], &mut self.out)
    }

    /// Everything that was appended to the buffer since it was `from` long is the answer to the
    /// datagram in `slot`; nothing means no answer.
    pub fn reply(&mut self, slot: usize, from: usize) {
        if from < self.out.len() {
            self.replies.push((slot, from..self.out.len()));
        }
    }

    /// Sends the answers, and returns how many could not be sent: the network's own way of
    /// losing them. What the socket has no room for just now is lost as well.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        // SAFETY: all zeroes is a value of these structs of integers and pointers.
        let mut vectors: [libc::iovec; SLOTS] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { mem::zeroed() };
        let count = self.replies.len().min(SLOTS);
        for ((vector, header), (slot, range)) in
            vectors.iter_mut().zip(&mut headers).zip(&self.replies)
        {
            fill(vector, &mut header.msg_hdr, &self.peers[*slot], &self.out[range.clone()]);
        }
        let (mut at, mut lost) = (0, 0);
        while at < count {
            // SAFETY: the headers point to answers, names and control areas that outlive the
            // call, with their true lengths; the kernel only reads them.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers[at..].as_mut_ptr(),
                    (count - at) as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => at += sent,
                // The first one failed: pass over it, the others may go elsewhere.
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    at += 1;
                    lost += 1;
                }
            }
        }
        self.replies.clear();
        self.out.clear();
        lost
    }
}

fn fill(vector: &mut libc::iovec, header: &mut libc::msghdr, peer: &Peer, message: &[u8]) {
    vector.iov_base = message.as_ptr().cast_mut().cast();
    vector.iov_len = message.len();
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_name = (&raw const peer.name).cast_mut().cast();
    header.msg_namelen = peer.name_length;
    if peer.control_length > 0 {
        header.msg_control = peer.control.0.as_ptr().cast_mut().cast();
        header.msg_controllen = peer.control_length;
    }
}

/// Sends one answer outside a batch.
pub fn send_to(socket: BorrowedFd<'_>, peer: &Peer, message: &[u8]) -> io::Result<()> {
    // SAFETY: all zeroes is a value of these structs of integers and pointers.
    let (mut vector, mut header): (libc::iovec, libc::msghdr) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    fill(&mut vector, &mut header, peer, message);
    // SAFETY: the header points to a message, name and control area that outlive the call, with
    // their true lengths; the kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A UDP socket for [`Batch`], not blocking, that others may share the address with
/// (`SO_REUSEPORT`). The IPv6 wildcard takes IPv4 too.
pub fn bind(address: SocketAddr) -> Attempt<UdpSocket> {
    try_bind(address).map_err(|source| Failed::new(format!("bind UDP {address}"), source))
}

fn try_bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if address.ip().is_unspecified() {
        let (level, option) = match address {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        let on: libc::c_int = 1;
        // SAFETY: the option takes an int, and `on` is one that outlives the call.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const on).cast(),
                mem::size_of::<libc::c_int>() as _,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // A burst waits in the kernel rather than being lost; as much as the host permits.
    let _ = socket.set_recv_buffer_size(1 << 20);
    let _ = socket.set_send_buffer_size(1 << 20);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    fn client(family: &str) -> UdpSocket {
        let socket = UdpSocket::bind(family).expect("a client");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        socket
    }

    fn receive(batch: &mut Batch, server: &UdpSocket) -> usize {
        server.set_nonblocking(false).expect("blocking");
        server.peek(&mut [0]).expect("a datagram");
        batch.receive(server.as_fd()).expect("a batch")
    }

    #[test]
    fn answers_leave_from_the_address_that_was_asked() {
        for (bind_to, ask, family) in [
            ("0.0.0.0:0", "127.0.0.53", "127.0.0.1:0"),
            ("[::]:0", "127.0.0.54", "127.0.0.1:0"),
            ("[::]:0", "::1", "[::1]:0"),
            ("127.0.0.1:0", "127.0.0.1", "127.0.0.1:0"),
        ] {
            let Ok(server) = bind(bind_to.parse().expect("an address")) else { continue };
            let port = server.local_addr().expect("bound").port();
            let client = client(family);
            // A connected socket hears nobody but whom it asked.
            client.connect((ask, port)).expect("connected");
            client.send(b"ping").expect("sent");
            let mut batch = Batch::new(512);
            assert_eq!(receive(&mut batch, &server), 1, "{bind_to}");
            let (bytes, peer, out) = batch.slot(0);
            assert_eq!(bytes, b"ping");
            assert_eq!(peer.address(), client.local_addr().expect("bound"));
            let peer = *peer;
            out.extend_from_slice(b"pong");
            batch.reply(0, 0);
            assert_eq!(batch.send(server.as_fd()), 0);
            let mut answer = [0; 16];
            let length = client.recv(&mut answer).expect("an answer");
            assert_eq!(&answer[..length], b"pong");
            send_to(server.as_fd(), &peer, b"later").expect("sent");
            let length = client.recv(&mut answer).expect("a second answer");
            assert_eq!(&answer[..length], b"later");
        }
    }

    #[test]
    fn a_batch_answers_each_its_own_and_drops_what_is_too_long() {
        let server = bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let to = server.local_addr().expect("bound");
        let clients: Vec<_> = (0..SLOTS).map(|_| client("127.0.0.1:0")).collect();
        for (number, client) in clients.iter().enumerate() {
            let message = if number == 3 { vec![7; 100] } else { vec![number as u8; 8] };
            client.send_to(&message, to).expect("sent");
        }
        let mut batch = Batch::new(64);
        assert_eq!(receive(&mut batch, &server), SLOTS);
        for slot in 0..SLOTS {
            let (bytes, _, out) = batch.slot(slot);
            let (from, bytes) = (out.len(), bytes.to_vec());
            batch.slot(slot).2.extend(bytes);
            batch.reply(slot, from);
        }
        assert_eq!(batch.send(server.as_fd()), 0);
        for (number, client) in clients.iter().enumerate().filter(|(number, _)| *number != 3) {
            let mut answer = [0; 16];
            let length = client.recv(&mut answer).expect("an answer");
            assert_eq!(answer[..length], vec![number as u8; 8]);
        }
        let again = batch.receive(server.as_fd());
        assert_eq!(again.map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
    }
}
