//! What travels: attributes of generic netlink's family `IPVS`, and of `nlctrl`, which knows the
//! families' numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Forward, RealServer, ServerKey, Timeouts, VirtualServer};
use crate::netlink::{Attribute, Attributes, Encoder, Message, flags};

/// `IPVS_GENL_NAME` and `IPVS_GENL_VERSION`.
pub(super) const FAMILY: &str = "IPVS";
const VERSION: u8 = 1;
/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_*`.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `IPVS_CMD_*`.
mod command {
    pub(super) const NEW_SERVICE: u8 = 1;
    pub(super) const SET_SERVICE: u8 = 2;
    pub(super) const DELETE_SERVICE: u8 = 3;
    pub(super) const GET_SERVICE: u8 = 4;
    pub(super) const NEW_DESTINATION: u8 = 5;
    pub(super) const SET_DESTINATION: u8 = 6;
    pub(super) const DELETE_DESTINATION: u8 = 7;
    pub(super) const GET_DESTINATION: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 12;
}

/// `IPVS_CMD_ATTR_*`.
mod top {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DESTINATION: u16 = 2;
    pub(super) const TIMEOUT_TCP: u16 = 4;
    pub(super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(super) const TIMEOUT_UDP: u16 = 6;
}

/// `IPVS_SVC_ATTR_*`.
mod service {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDRESS: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const MARK: u16 = 5;
    pub(super) const SCHEDULER: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
}

/// `IPVS_DEST_ATTR_*`.
mod destination {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const FORWARD: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const UPPER: u16 = 5;
    pub(super) const LOWER: u16 = 6;
    pub(super) const ACTIVE: u16 = 7;
    pub(super) const INACTIVE: u16 = 8;
    pub(super) const FAMILY: u16 = 11;
}

/// `IP_VS_SVC_F_PERSISTENT`.
const PERSISTENT: u32 = 1;
/// `IP_VS_CONN_F_FWD_MASK` and `IP_VS_CONN_F_MASQ`.
const FORWARD_MASK: u32 = 7;
const MASQUERADE: u32 = 0;

/// A change of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Create(VirtualServer),
    /// Changes scheduler, persistence and timeout.
    Change(VirtualServer),
    /// With all its real servers.
    Delete(ServerKey),
    Add(ServerKey, SocketAddr, u32),
    /// Changes the weight.
    Weigh(ServerKey, SocketAddr, u32),
    Remove(ServerKey, SocketAddr),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(server) => write!(f, "make virtual server {}", server.key),
            Self::Change(server) => write!(f, "change virtual server {}", server.key),
            Self::Delete(key) => write!(f, "remove virtual server {key}"),
            Self::Add(key, real, _) => write!(f, "add real server {real} to {key}"),
            Self::Weigh(key, real, weight) => {
                write!(f, "give real server {real} of {key} the weight {weight}")
            }
            Self::Remove(key, real) => write!(f, "take real server {real} from {key}"),
        }
    }
}

pub(super) fn get_family(encoder: &mut Encoder, sequence: u32) {
    let mark = encoder.begin_generic(CONTROLLER, flags::REQUEST, sequence, GET_FAMILY, 2);
    encoder.string(FAMILY_NAME, FAMILY);
    encoder.end(mark);
}

pub(super) fn read_family(message: Message<'_>) -> Option<u16> {
    message.attributes().find(FAMILY_ID)?.ne16()
}

pub(super) fn step(encoder: &mut Encoder, family: u16, how: u16, sequence: u32, step: &Step) {
    let (command, key) = match step {
        Step::Create(server) => (command::NEW_SERVICE, server.key),
        Step::Change(server) => (command::SET_SERVICE, server.key),
        Step::Delete(key) => (command::DELETE_SERVICE, *key),
        Step::Add(key, ..) => (command::NEW_DESTINATION, *key),
        Step::Weigh(key, ..) => (command::SET_DESTINATION, *key),
        Step::Remove(key, _) => (command::DELETE_DESTINATION, *key),
    };
    let mark = encoder.begin_generic(family, flags::REQUEST | how, sequence, command, VERSION);
    let nest = encoder.begin_nest(top::SERVICE);
    write_key(encoder, &key);
    if let Step::Create(server) | Step::Change(server) = step {
        write_server(encoder, server);
    }
    encoder.end_nest(nest);
    match step {
        Step::Add(_, real, weight) | Step::Weigh(_, real, weight) => {
            write_real(encoder, real, Some(*weight));
        }
        Step::Remove(_, real) => write_real(encoder, real, None),
        _ => {}
    }
    encoder.end(mark);
}

pub(super) fn get_servers(encoder: &mut Encoder, family: u16, sequence: u32) {
    let how = flags::REQUEST | flags::DUMP;
    let mark = encoder.begin_generic(family, how, sequence, command::GET_SERVICE, VERSION);
    encoder.end(mark);
}

pub(super) fn get_reals(encoder: &mut Encoder, family: u16, sequence: u32, key: &ServerKey) {
    let how = flags::REQUEST | flags::DUMP;
    let mark = encoder.begin_generic(family, how, sequence, command::GET_DESTINATION, VERSION);
    let nest = encoder.begin_nest(top::SERVICE);
    write_key(encoder, key);
    encoder.end_nest(nest);
    encoder.end(mark);
}

pub(super) fn set_timeouts(encoder: &mut Encoder, family: u16, sequence: u32, all: Timeouts) {
    let how = flags::REQUEST | flags::ACK;
    let mark = encoder.begin_generic(family, how, sequence, command::SET_CONFIG, VERSION);
    let pairs = [
        (top::TIMEOUT_TCP, all.tcp),
        (top::TIMEOUT_TCP_FIN, all.tcp_fin),
        (top::TIMEOUT_UDP, all.udp),
    ];
    for (kind, seconds) in pairs {
        encoder.attribute(kind, &seconds.to_ne_bytes());
    }
    encoder.end(mark);
}

fn family_of(ipv6: bool) -> u16 {
    (if ipv6 { libc::AF_INET6 } else { libc::AF_INET }) as u16
}

/// `union nf_inet_addr`: 16 bytes for either family.
fn address_bytes(ip: &IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn read_address(attribute: Attribute<'_>, ipv6: bool) -> Option<IpAddr> {
    if ipv6 {
        return attribute.value.first_chunk().map(|bytes| Ipv6Addr::from(*bytes).into());
    }
    attribute.value.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into())
}

fn write_key(encoder: &mut Encoder, key: &ServerKey) {
    encoder.attribute(service::FAMILY, &family_of(key.is_ipv6()).to_ne_bytes());
    match key {
        ServerKey::Mark { mark, .. } => encoder.attribute(service::MARK, &mark.to_ne_bytes()),
        ServerKey::Address { ip, protocol, port } => {
            encoder.attribute(service::PROTOCOL, &u16::from(*protocol).to_ne_bytes());
            encoder.attribute(service::ADDRESS, &address_bytes(ip));
            encoder.attribute(service::PORT, &port.to_be_bytes());
        }
    }
}

fn write_server(encoder: &mut Encoder, server: &VirtualServer) {
    encoder.string(service::SCHEDULER, &server.scheduler);
    // struct ip_vs_flags: the flags, and which of them are meant.
    let flags = if server.persistent { PERSISTENT } else { 0 };
    let mut both = [0; 8];
    both[..4].copy_from_slice(&flags.to_ne_bytes());
    both[4..].copy_from_slice(&u32::MAX.to_ne_bytes());
    encoder.attribute(service::FLAGS, &both);
    encoder.attribute(service::TIMEOUT, &server.timeout.to_ne_bytes());
    // Each client by itself: a mask for IPv4, a length for IPv6.
    let netmask = if server.key.is_ipv6() { 128 } else { u32::MAX };
    encoder.attribute(service::NETMASK, &netmask.to_ne_bytes());
}

fn write_real(encoder: &mut Encoder, real: &SocketAddr, weight: Option<u32>) {
    let nest = encoder.begin_nest(top::DESTINATION);
    encoder.attribute(destination::FAMILY, &family_of(real.is_ipv6()).to_ne_bytes());
    encoder.attribute(destination::ADDRESS, &address_bytes(&real.ip()));
    encoder.attribute(destination::PORT, &real.port().to_be_bytes());
    if let Some(weight) = weight {
        let numbers = [
            (destination::FORWARD, MASQUERADE),
            (destination::WEIGHT, weight),
            (destination::UPPER, 0),
            (destination::LOWER, 0),
        ];
        numbers.iter().for_each(|(kind, value)| encoder.attribute(*kind, &value.to_ne_bytes()));
    }
    encoder.end_nest(nest);
}

/// Reads one message of an answer to [`get_servers`].
pub(super) fn read_server(message: Message<'_>) -> Option<VirtualServer> {
    let all = message.attributes().find(top::SERVICE)?.nested();
    let ipv6 = all.find(service::FAMILY)?.ne16()? == family_of(true);
    let key = match all.find(service::MARK).and_then(|mark| mark.ne32()) {
        Some(mark) => ServerKey::Mark { mark, ipv6 },
        None => ServerKey::Address {
            ip: read_address(all.find(service::ADDRESS)?, ipv6)?,
            protocol: u8::try_from(all.find(service::PROTOCOL)?.ne16()?).ok()?,
            port: all.find(service::PORT)?.be16()?,
        },
    };
    let number = |kind| all.find(kind).and_then(|found| found.ne32()).unwrap_or(0);
    Some(VirtualServer {
        key,
        scheduler: all.find(service::SCHEDULER)?.text().to_owned(),
        persistent: number(service::FLAGS) & PERSISTENT != 0,
        timeout: number(service::TIMEOUT),
    })
}

/// Reads one message of an answer to [`get_reals`] about a server of that family.
pub(super) fn read_real(message: Message<'_>, ipv6: bool) -> Option<RealServer> {
    let all: Attributes<'_> = message.attributes().find(top::DESTINATION)?.nested();
    // Kernels before 3.18 do not say: all real servers are of their server's family there.
    let family = all.find(destination::FAMILY).and_then(|family| family.ne16());
    let ipv6 = family.map_or(ipv6, |family| family == family_of(true));
    let number = |kind| all.find(kind).and_then(|found| found.ne32()).unwrap_or(0);
    let forward = match number(destination::FORWARD) & FORWARD_MASK {
        MASQUERADE => Forward::Masquerade,
        other => Forward::Other(other),
    };
    let ip = read_address(all.find(destination::ADDRESS)?, ipv6)?;
    Some(RealServer {
        address: SocketAddr::new(ip, all.find(destination::PORT)?.be16()?),
        forward,
        weight: number(destination::WEIGHT),
        active: number(destination::ACTIVE),
        inactive: number(destination::INACTIVE),
    })
}

#[cfg(test)]
mod tests;
