//! Network links and their addresses.

use std::{fmt, net::IpAddr, os::fd::AsRawFd, str::FromStr};

use ipnet::IpNet;

use crate::{
    error::{Attempt, Attempted},
    netns::NetNs,
    rtnl::{Message, Rtnl, address, attributes, family, u16_at, u32_at},
};

const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// A link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            *byte = u8::from_str_radix(parts.next().unwrap_or(""), 16)?;
        }
        Ok(Self(bytes))
    }
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `veth`, `bridge`, …; absent for loopback and hardware.
    pub kind: Option<String>,
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// The index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// The index of a veth's other end, in that end's namespace.
    pub peer: Option<u32>,
    /// Administratively up.
    pub up: bool,
}

/// One end of a veth pair to be made.
#[derive(Clone, Copy, Debug)]
pub struct VethEnd<'a> {
    pub name: &'a str,
    /// The namespace to make it in; by default that of the [`Rtnl`].
    pub netns: Option<&'a NetNs>,
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: Option<u32>,
}

impl<'a> VethEnd<'a> {
    /// An end called `name` in the namespace of the [`Rtnl`].
    pub fn new(name: &'a str) -> Self {
        Self { name, netns: None, mac: None, mtu: None }
    }

    /// Makes the end in `netns`.
    #[must_use]
    pub fn netns(self, netns: &'a NetNs) -> Self {
        Self { netns: Some(netns), ..self }
    }

    /// Gives the end a link-layer address.
    #[must_use]
    pub fn mac(self, mac: Mac) -> Self {
        Self { mac: Some(mac), ..self }
    }

    /// Gives the end a maximum transmission unit, in bytes.
    #[must_use]
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu: Some(mtu), ..self }
    }

    fn describe(&self, message: &mut Message) {
        message.text(libc::IFLA_IFNAME, self.name);
        if let Some(netns) = self.netns {
            use std::os::fd::AsFd;
            message.number(libc::IFLA_NET_NS_FD, netns.as_fd().as_raw_fd().cast_unsigned());
        }
        if let Some(mac) = self.mac {
            message.attribute(libc::IFLA_ADDRESS, &mac.0);
        }
        if let Some(mtu) = self.mtu {
            message.number(libc::IFLA_MTU, mtu);
        }
    }
}

/// `struct ifinfomsg`.
fn header(family: i32, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = family as u8;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

const CREATE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;

impl Rtnl {
    /// Makes a pair of connected links. Fails with [`crate::Failed::exists`] if a name is taken.
    pub fn add_veth(&self, near: &VethEnd<'_>, far: &VethEnd<'_>) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &header(0, 0, 0, 0));
        near.describe(&mut message);
        message.nest(libc::IFLA_LINKINFO, |m| {
            m.attribute(libc::IFLA_INFO_KIND, b"veth");
            m.nest(libc::IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&header(0, 0, 0, 0));
                    far.describe(m);
                });
            });
        });
        self.request(message, || format!("create veth pair {} and {}", near.name, far.name))
    }

    /// Makes a bridge that forwards at once: no spanning tree, no forward delay.
    pub fn add_bridge(&self, name: &str) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &header(0, 0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        message.nest(libc::IFLA_LINKINFO, |m| {
            m.attribute(libc::IFLA_INFO_KIND, b"bridge");
            m.nest(libc::IFLA_INFO_DATA, |m| {
                m.number(IFLA_BR_STP_STATE, 0);
                m.number(IFLA_BR_FORWARD_DELAY, 0);
                m.attribute(IFLA_BR_MCAST_SNOOPING, &[0]);
            });
        });
        self.request(message, || format!("create bridge {name}"))
    }

    /// Makes a link of type `dummy`: it carries addresses and no packets.
    pub fn add_dummy(&self, name: &str) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &header(0, 0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        message.nest(libc::IFLA_LINKINFO, |m| m.attribute(libc::IFLA_INFO_KIND, b"dummy"));
        self.request(message, || format!("create dummy link {name}"))
    }

    /// Removes a link (and a veth's other end).
    pub fn delete_link(&self, name: &str) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_DELLINK, 0, &header(0, 0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        self.request(message, || format!("delete link {name}"))
    }

    /// Brings a link up.
    pub fn set_up(&self, name: &str) -> Attempt<()> {
        let up = libc::IFF_UP as u32;
        let mut message = Message::new(libc::RTM_SETLINK, 0, &header(0, 0, up, up));
        message.text(libc::IFLA_IFNAME, name);
        self.request(message, || format!("bring link {name} up"))
    }

    /// Takes a link down.
    pub fn set_down(&self, name: &str) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_SETLINK, 0, &header(0, 0, 0, libc::IFF_UP as u32));
        message.text(libc::IFLA_IFNAME, name);
        self.request(message, || format!("take link {name} down"))
    }

    /// Sets the maximum transmission unit, in bytes.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Attempt<()> {
        self.change(
            name,
            || format!("set mtu of link {name} to {mtu}"),
            |m| m.number(libc::IFLA_MTU, mtu),
        )
    }

    /// Sets the link-layer address.
    pub fn set_mac(&self, name: &str, mac: Mac) -> Attempt<()> {
        self.change(
            name,
            || format!("set address of link {name} to {mac}"),
            |m| m.attribute(libc::IFLA_ADDRESS, &mac.0),
        )
    }

    /// Makes a link a port of `bridge`; with `None` it leaves its bridge.
    pub fn set_master(&self, name: &str, bridge: Option<&str>) -> Attempt<()> {
        let index = bridge.map(|b| self.index(b)).transpose()?.unwrap_or(0);
        self.change(
            name,
            || format!("make link {name} a port of {}", bridge.unwrap_or("nothing")),
            |m| m.number(libc::IFLA_MASTER, index),
        )
    }

    /// Moves a link to another namespace.
    pub fn move_to(&self, name: &str, netns: &NetNs) -> Attempt<()> {
        use std::os::fd::AsFd;
        let fd = netns.as_fd().as_raw_fd().cast_unsigned();
        self.change(
            name,
            || format!("move link {name} to another namespace"),
            |m| m.number(libc::IFLA_NET_NS_FD, fd),
        )
    }

    /// Sets how a bridge treats the port `name`: whether frames may go back out where they came
    /// in (hairpin), and whether it is kept from other isolated ports.
    pub fn set_bridge_port(&self, name: &str, hairpin: bool, isolated: bool) -> Attempt<()> {
        let index = self.index(name)?;
        let mut message = Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_BRIDGE, index, 0, 0));
        // The kernel reads port settings only from an attribute marked as nested.
        message.nest(libc::IFLA_PROTINFO | libc::NLA_F_NESTED as u16, |m| {
            m.attribute(IFLA_BRPORT_MODE, &[hairpin.into()]);
            m.attribute(IFLA_BRPORT_ISOLATED, &[isolated.into()]);
        });
        self.request(message, || format!("set bridge port {name}"))
    }

    fn change(
        &self,
        name: &str,
        what: impl FnOnce() -> String,
        fill: impl FnOnce(&mut Message),
    ) -> Attempt<()> {
        let mut message = Message::new(libc::RTM_SETLINK, 0, &header(0, 0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        fill(&mut message);
        self.request(message, what)
    }

    /// The link called `name`, if there is one.
    pub fn link(&self, name: &str) -> Attempt<Option<Link>> {
        let mut message = Message::new(libc::RTM_GETLINK, 0, &header(0, 0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        let mut found = None;
        match self.query(message, |_, body| found = parse_link(body)) {
            Ok(()) => Ok(found),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(crate::Failed::new(format!("look up link {name}"), e)),
        }
    }

    /// The index of the link called `name`.
    pub fn index(&self, name: &str) -> Attempt<u32> {
        self.link(name)?.map(|l| l.index).ok_or_else(|| {
            crate::Failed::new(
                format!("look up link {name}"),
                std::io::Error::from_raw_os_error(libc::ENODEV),
            )
        })
    }

    /// All links of the namespace.
    pub fn links(&self) -> Attempt<Vec<Link>> {
        let mut found = Vec::new();
        self.dump(
            Message::new(libc::RTM_GETLINK, 0, &header(0, 0, 0, 0)),
            "list links",
            |_, body| {
                found.extend(parse_link(body));
            },
        )?;
        Ok(found)
    }

    /// Whether some link of this namespace has its other end, or what it stands on, in that one:
    /// a veth, a macvlan, an ipvlan.
    pub fn is_linked_to(&self, netns: &NetNs) -> Attempt<bool> {
        use std::os::fd::AsFd;
        let mut ends = Vec::new();
        // Namespaces that links lead to are given their numbers by being listed.
        self.dump(
            Message::new(libc::RTM_GETLINK, 0, &header(0, 0, 0, 0)),
            "list links",
            |_, body| {
                let rest = body.get(16..).unwrap_or_default();
                let end = attributes(rest).find(|(kind, _)| *kind == IFLA_LINK_NETNSID);
                ends.extend(end.map(|(_, value)| u32_at(value, 0)));
            },
        )?;
        let mut message = Message::new(libc::RTM_GETNSID, 0, &[0; 4]);
        message.number(NETNSA_FD, netns.as_fd().as_raw_fd().cast_unsigned());
        let mut number = None;
        self.query(message, |_, body| {
            let rest = body.get(4..).unwrap_or_default();
            number = attributes(rest)
                .find(|(kind, _)| *kind == NETNSA_NSID)
                .map(|(_, value)| u32_at(value, 0));
        })
        .attempted(|| "ask for the number of a network namespace".to_owned())?;
        Ok(number.is_some_and(|number| ends.contains(&number)))
    }

    /// Adds an address with its prefix length to a link; ready for use at once (no duplicate
    /// address detection). An address that it has already is no error.
    pub fn add_address(&self, name: &str, net: IpNet) -> Attempt<()> {
        let fixed = address_header(net, self.index(name)?);
        let mut message =
            Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &fixed);
        message.address(libc::IFA_LOCAL, net.addr());
        message.address(libc::IFA_ADDRESS, net.addr());
        if let IpNet::V4(v4) = net
            && v4.prefix_len() < 31
        {
            message.attribute(libc::IFA_BROADCAST, &v4.broadcast().octets());
        }
        message.number(libc::IFA_FLAGS, libc::IFA_F_NODAD);
        self.request(message, || format!("add address {net} to link {name}"))
    }

    /// Takes an address off a link.
    pub fn delete_address(&self, name: &str, net: IpNet) -> Attempt<()> {
        let mut message =
            Message::new(libc::RTM_DELADDR, 0, &address_header(net, self.index(name)?));
        message.address(libc::IFA_LOCAL, net.addr());
        message.address(libc::IFA_ADDRESS, net.addr());
        self.request(message, || format!("delete address {net} of link {name}"))
    }

    /// All addresses of the namespace, with the indexes of their links.
    pub fn addresses(&self) -> Attempt<Vec<(u32, IpNet)>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETADDR, 0, &[0; 8]), "list addresses", |_, body| {
            let Some(rest) = body.get(8..) else { return };
            let (mut local, mut other) = (None, None);
            for (kind, value) in attributes(rest) {
                match kind {
                    libc::IFA_LOCAL => local = address(value),
                    libc::IFA_ADDRESS => other = address(value),
                    _ => {}
                }
            }
            let net = local.or(other).and_then(|ip: IpAddr| IpNet::new(ip, body[1]).ok());
            found.extend(net.map(|net| (u32_at(body, 4), net)));
        })?;
        Ok(found)
    }
}

/// `struct ifaddrmsg`.
fn address_header(net: IpNet, index: u32) -> [u8; 8] {
    let mut bytes = [family(net.addr()), net.prefix_len(), 0, 0, 0, 0, 0, 0];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let rest = body.get(16..)?;
    let mut link = Link {
        index: u32_at(body, 4),
        name: String::new(),
        kind: None,
        mac: None,
        mtu: 0,
        master: None,
        peer: None,
        up: u32_at(body, 8) & libc::IFF_UP as u32 != 0,
    };
    debug_assert_eq!(u16_at(body, 0) & 0xff, 0);
    for (kind, value) in attributes(rest) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_MTU => link.mtu = u32_at(value, 0),
            libc::IFLA_MASTER => link.master = Some(u32_at(value, 0)),
            libc::IFLA_LINK => link.peer = Some(u32_at(value, 0)),
            libc::IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            libc::IFLA_LINKINFO => {
                link.kind =
                    attributes(value).find(|a| a.0 == libc::IFLA_INFO_KIND).map(|a| text(a.1));
            }
            _ => {}
        }
    }
    Some(link)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

#[cfg(test)]
mod tests;
