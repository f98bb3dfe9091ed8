//! The sockets for one address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use portolan_linux::datagram;

use super::config::Scheme;
use super::server::{listen_tcp, without_ipv6};

/// Where a server block listens, and what is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) scheme: Scheme,
    pub(crate) address: SocketAddr,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.address)
    }
}

pub(crate) struct Sockets {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: std::net::TcpListener,
    pub(crate) local: SocketAddr,
}

impl Sockets {
    pub(crate) fn open(spot: Spot, workers: usize) -> io::Result<Self> {
        let address = spot.address;
        let address = if without_ipv6(address) {
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())
        } else {
            address
        };
        if spot.scheme == Scheme::Tls {
            let tcp = listen_tcp(address)?;
            let local = tcp.local_addr()?;
            return Ok(Self { udp: Vec::new(), tcp, local });
        }
        let bind = |address| datagram::bind(address).map_err(io::Error::other);
        // TCP first: two servers may not share it, so a port that is taken shows.
        let mut attempts = 0;
        let (tcp, first) = loop {
            let tcp = listen_tcp(address)?;
            match bind(tcp.local_addr()?) {
                Ok(udp) => break (tcp, udp),
                // The port was the system's choice, and is free for TCP only.
                Err(_) if address.port() == 0 && attempts < 16 => attempts += 1,
                Err(error) => return Err(error),
            }
        };
        let local = first.local_addr()?;
        let mut udp = vec![first];
        for _ in 1..workers.max(1) {
            udp.push(bind(local)?);
        }
        Ok(Self { udp, tcp, local })
    }
}
