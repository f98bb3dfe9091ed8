//! Neighbours: which link-layer address an address on a link has.

use std::net::IpAddr;

use crate::{
    error::Attempt,
    link::Mac,
    rtnl::{Message, Rtnl, address, attributes, family, u16_at, u32_at},
};

/// A neighbour as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub link: u32,
    pub address: IpAddr,
    pub mac: Option<Mac>,
    /// Set by hand, never asked for.
    pub permanent: bool,
}

/// `struct ndmsg`.
fn header(ip: IpAddr, index: u32, state: u16) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0] = family(ip);
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..10].copy_from_slice(&state.to_ne_bytes());
    bytes
}

impl Rtnl {
    /// Sets for good which link-layer address `ip` has on the link `name`.
    pub fn set_neighbour(&self, name: &str, ip: IpAddr, mac: Mac) -> Attempt<()> {
        let fixed = header(ip, self.index(name)?, libc::NUD_PERMANENT);
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let mut message = Message::new(libc::RTM_NEWNEIGH, flags, &fixed);
        message.address(libc::NDA_DST, ip);
        message.attribute(libc::NDA_LLADDR, &mac.0);
        self.request(message, || format!("set neighbour {ip} on {name} to {mac}"))
    }

    /// Forgets a neighbour.
    pub fn delete_neighbour(&self, name: &str, ip: IpAddr) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_DELNEIGH, 0, &header(ip, self.index(name)?, 0));
        message.address(libc::NDA_DST, ip);
        self.request(message, || format!("delete neighbour {ip} on {name}"))
    }

    /// All neighbours of the namespace.
    pub fn neighbours(&self) -> Attempt<Vec<Neighbour>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETNEIGH, 0, &[0; 12]), "list neighbours", |_, body| {
            let Some(rest) = body.get(12..) else { return };
            let (mut ip, mut mac) = (None, None);
            for (kind, value) in attributes(rest) {
                match kind {
                    libc::NDA_DST => ip = address(value),
                    libc::NDA_LLADDR => mac = <[u8; 6]>::try_from(value).ok().map(Mac),
                    _ => {}
                }
            }
            let permanent = u16_at(body, 8) & libc::NUD_PERMANENT != 0;
            found.extend(ip.map(|address| Neighbour {
                link: u32_at(body, 4),
                address,
                mac,
                permanent,
            }));
        })?;
        Ok(found)
    }
}
