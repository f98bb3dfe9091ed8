//! The kernel's UDP sockets: finding connected ones, and telling their owners that it is over
//! (`linux/inet_diag.h`, `linux/sock_diag.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::netlink::{HEADER_LEN, Message, NetlinkError, Socket, flags};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY`.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const UDP: u8 = 17;
/// Length of `struct inet_diag_sockid`.
const ID_LEN: usize = 48;
/// Where it begins in an answer (`struct inet_diag_msg`).
const ID_AT: usize = 4;
/// Where the inode number is, the last of four words behind the id and a timer.
const INODE_AT: usize = ID_AT + ID_LEN + 16;
/// `TCP_ESTABLISHED`: what connected UDP sockets are in.
const CONNECTED: u32 = 1 << 1;

/// A connected UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpSocket {
    /// What BPF programs know it by.
    pub cookie: u64,
    pub peer: SocketAddr,
    /// What its owners' descriptors lead to in /proc.
    pub inode: u32,
    family: u8,
    id: [u8; ID_LEN],
}

/// `struct inet_diag_req_v2` in a netlink message.
fn request(kind: u16, how: u16, sequence: u32, family: u8, states: u32, id: &[u8]) -> Vec<u8> {
    let length = HEADER_LEN + 8 + ID_LEN;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(how.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, UDP, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(id);
    bytes.resize(length, 0);
    bytes
}

fn read(message: Message<'_>) -> Option<UdpSocket> {
    let family = message.family();
    let id: [u8; ID_LEN] = *message.payload.get(ID_AT..)?.first_chunk()?;
    let port = u16::from_be_bytes([id[2], id[3]]);
    let ip: IpAddr = if i32::from(family) == libc::AF_INET {
        Ipv4Addr::from(*id[20..].first_chunk::<4>()?).into()
    } else {
        Ipv6Addr::from(*id[20..].first_chunk::<16>()?).into()
    };
    // Two words, the lower first.
    let word = |at: usize| -> Option<u64> {
        Some(u32::from_ne_bytes(*id[at..].first_chunk::<4>()?).into())
    };
    let cookie = word(40)? | word(44)? << 32;
    let inode = u32::from_ne_bytes(*message.payload.get(INODE_AT..)?.first_chunk()?);
    Some(UdpSocket { cookie, peer: SocketAddr::new(ip.to_canonical(), port), inode, family, id })
}

/// All connected UDP sockets of the calling thread's network namespace.
pub fn connected_udp(socket: &mut Socket) -> Result<Vec<UdpSocket>, NetlinkError> {
    let mut found = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let sequence = socket.next_sequence();
        let how = flags::REQUEST | flags::DUMP;
        socket.dump(
            &request(BY_FAMILY, how, sequence, family, CONNECTED, &[]),
            &mut found,
            |found, message| found.extend(read(message)),
            |_| {},
        )?;
    }
    Ok(found)
}

/// Ends a socket's connection: its owner hears `ECONNABORTED`. Returns whether it was still there.
///
/// Needs `CAP_NET_ADMIN` and a kernel with `CONFIG_INET_DIAG_DESTROY`.
pub fn abort(socket: &mut Socket, victim: &UdpSocket) -> Result<bool, NetlinkError> {
    let sequence = socket.next_sequence();
    let how = flags::REQUEST | flags::ACK;
    let bytes = request(DESTROY, how, sequence, victim.family, CONNECTED, &victim.id);
    match socket.transact(&bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::UdpSocket as Std;

    use super::*;
    use crate::netns::{self, NetNs};

    #[test]
    fn a_connected_socket_is_found_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        ns.run(|| {
            let sockets = ["127.0.0.1:0", "[::1]:0"].map(|address| Std::bind(address).unwrap());
            sockets[0].connect("127.0.0.1:7001").unwrap();
            sockets[1].connect("[::1]:7002").unwrap();
            let _unconnected = Std::bind("127.0.0.1:0").unwrap();
            let mut diag = Socket::sock_diag().unwrap();
            let mut found = connected_udp(&mut diag).unwrap();
            found.sort_by_key(|socket| socket.peer.port());
            let peers: Vec<_> = found.iter().map(|socket| socket.peer.to_string()).collect();
            assert_eq!(peers, ["127.0.0.1:7001", "[::1]:7002"]);
            for (victim, socket) in found.iter().zip(&sockets) {
                assert!(abort(&mut diag, victim).unwrap());
                let error = socket.recv(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            }
            assert_eq!(connected_udp(&mut diag).unwrap(), []);
        })
        .unwrap();
        drop(ns);
        netns::remove(&path).unwrap();
    }
}
