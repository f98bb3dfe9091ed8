//! The kernel's table of connections: reading it and removing entries
//! (`linux/netfilter/nfnetlink_conntrack.h`).

use std::net::IpAddr;

use crate::netlink::{Attribute, Encoder, Message, NetlinkError, Socket, flags};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1;
/// `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = 1;
const DELETE: u16 = 2;

/// `CTA_*`.
mod attribute {
    pub(super) const ORIGINAL: u16 = 1;
    pub(super) const REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const ZONE: u16 = 18;
    pub(super) const FILTER: u16 = 25;
    /// `CTA_TUPLE_*`.
    pub(super) const TUPLE_IP: u16 = 1;
    pub(super) const TUPLE_PROTO: u16 = 2;
    /// `CTA_IP_*`.
    pub(super) const SOURCE_V4: u16 = 1;
    pub(super) const DESTINATION_V4: u16 = 2;
    pub(super) const SOURCE_V6: u16 = 3;
    pub(super) const DESTINATION_V6: u16 = 4;
    /// `CTA_PROTO_*`.
    pub(super) const NUMBER: u16 = 1;
    pub(super) const SOURCE_PORT: u16 = 2;
    pub(super) const DESTINATION_PORT: u16 = 3;
    /// `CTA_PROTOINFO_TCP` and `CTA_PROTOINFO_SCTP`, and the state in either.
    pub(super) const INFO_TCP: u16 = 1;
    pub(super) const INFO_SCTP: u16 = 3;
    pub(super) const STATE: u16 = 1;
    /// `CTA_FILTER_*`.
    pub(super) const FILTER_ORIGINAL: u16 = 1;
    pub(super) const FILTER_REPLY: u16 = 2;
}

/// `CTA_FILTER_FLAG(CTA_PROTO_NUM)`: the filter compares the protocol only.
const FILTER_PROTOCOL: u32 = 1 << 2;
/// `IPS_DST_NAT`.
const DESTINATION_NAT: u32 = 1 << 5;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub destination_port: u16,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The protocol has no connections of its own.
    Stateless,
    /// Both sides have not yet agreed.
    Opening,
    Open,
    /// One side has said that it ends, or both.
    Closing,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pub protocol: u8,
    pub original: Tuple,
    /// As the answers look on the wire: its source is who really answers.
    pub reply: Tuple,
    pub zone: u16,
    /// Whether the destination was translated: by netfilter, or by IPVS, which only changes who is
    /// expected to answer.
    pub destination_nat: bool,
    pub stage: Stage,
}

/// Which connections are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of IPv6 (`true`) or IPv4 alone.
    pub ipv6: Option<bool>,
    /// Of one IP protocol alone.
    pub protocol: Option<u8>,
}

/// Hands every such connection to `each`. Whatever the filter, the kernel walks its whole table,
/// which all network namespaces share.
///
/// Linux before 5.8 does not know the filter; there every connection is read and the others are
/// skipped here.
pub fn flows(
    socket: &mut Socket,
    filter: Filter,
    mut each: impl FnMut(Flow),
) -> Result<(), NetlinkError> {
    let mut encoder = Encoder::default();
    let family = match filter.ipv6 {
        None => libc::AF_UNSPEC,
        Some(false) => libc::AF_INET,
        Some(true) => libc::AF_INET6,
    };
    let sequence = socket.next_sequence();
    let kind = SUBSYSTEM << 8 | GET;
    let mark = encoder.begin(kind, flags::REQUEST | flags::DUMP, sequence, family as u8, 0);
    // The kernel tells protocols apart within one family only.
    if let (Some(protocol), true) = (filter.protocol, filter.ipv6.is_some()) {
        let filter = encoder.begin_nest(attribute::FILTER);
        encoder.attribute(attribute::FILTER_ORIGINAL, &FILTER_PROTOCOL.to_ne_bytes());
        encoder.attribute(attribute::FILTER_REPLY, &0_u32.to_ne_bytes());
        encoder.end_nest(filter);
        let tuple = encoder.begin_nest(attribute::ORIGINAL);
        let proto = encoder.begin_nest(attribute::TUPLE_PROTO);
        encoder.attribute(attribute::NUMBER, &[protocol]);
        encoder.end_nest(proto);
        encoder.end_nest(tuple);
    }
    encoder.end(mark);
    let wanted = |flow: &Flow| {
        filter.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && filter.ipv6.is_none_or(|ipv6| ipv6 == flow.original.source.is_ipv6())
    };
    socket.dump(
        encoder.as_bytes(),
        &mut (),
        |(), message| {
            if let Some(flow) = read(message).filter(wanted) {
                each(flow);
            }
        },
        // Connections come and go all the time: what was read is good, more is read again.
        |()| {},
    )
}

/// Removes a connection. Returns whether it was still there.
pub fn delete(socket: &mut Socket, flow: &Flow) -> Result<bool, NetlinkError> {
    let mut encoder = Encoder::default();
    let ipv6 = flow.original.source.is_ipv6();
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let sequence = socket.next_sequence();
    let kind = SUBSYSTEM << 8 | DELETE;
    let mark = encoder.begin(kind, flags::REQUEST | flags::ACK, sequence, family, 0);
    let tuple = encoder.begin_nest(attribute::ORIGINAL);
    let ip = encoder.begin_nest(attribute::TUPLE_IP);
    address(&mut encoder, &flow.original.source, attribute::SOURCE_V4, attribute::SOURCE_V6);
    let destination = &flow.original.destination;
    address(&mut encoder, destination, attribute::DESTINATION_V4, attribute::DESTINATION_V6);
    encoder.end_nest(ip);
    let proto = encoder.begin_nest(attribute::TUPLE_PROTO);
    encoder.attribute(attribute::NUMBER, &[flow.protocol]);
    encoder.attribute(attribute::SOURCE_PORT, &flow.original.source_port.to_be_bytes());
    encoder.attribute(attribute::DESTINATION_PORT, &flow.original.destination_port.to_be_bytes());
    encoder.end_nest(proto);
    encoder.end_nest(tuple);
    if flow.zone != 0 {
        encoder.attribute(attribute::ZONE, &flow.zone.to_be_bytes());
    }
    encoder.end(mark);
    match socket.transact(encoder.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn address(encoder: &mut Encoder, address: &IpAddr, v4: u16, v6: u16) {
    match address {
        IpAddr::V4(ip) => encoder.attribute(v4, &ip.octets()),
        IpAddr::V6(ip) => encoder.attribute(v6, &ip.octets()),
    }
}

fn read(message: Message<'_>) -> Option<Flow> {
    let attributes = message.attributes();
    let original = attributes.find(attribute::ORIGINAL)?;
    let protocol =
        original.nested().find(attribute::TUPLE_PROTO)?.nested().find(attribute::NUMBER)?;
    let status = attributes.find(attribute::STATUS).and_then(|status| status.be32()).unwrap_or(0);
    let (original, reply) = (tuple(original)?, tuple(attributes.find(attribute::REPLY)?)?);
    let answers_itself =
        (reply.source, reply.source_port) == (original.destination, original.destination_port);
    Some(Flow {
        protocol: protocol.byte()?,
        original,
        reply,
        zone: attributes.find(attribute::ZONE).and_then(|zone| zone.be16()).unwrap_or(0),
        destination_nat: status & DESTINATION_NAT != 0 || !answers_itself,
        stage: attributes.find(attribute::PROTOINFO).map_or(Stage::Stateless, stage),
    })
}

/// From `enum tcp_conntrack` and `enum sctp_conntrack`.
fn stage(info: Attribute<'_>) -> Stage {
    let of = |kind| info.nested().find(kind)?.nested().find(attribute::STATE)?.byte();
    match (of(attribute::INFO_TCP), of(attribute::INFO_SCTP)) {
        (Some(0..=2 | 9), _) | (None, Some(0..=3 | 8..)) => Stage::Opening,
        (Some(3), _) | (None, Some(4)) => Stage::Open,
        (None, None) => Stage::Stateless,
        _ => Stage::Closing,
    }
}

fn tuple(attribute: Attribute<'_>) -> Option<Tuple> {
    let ip = attribute.nested().find(attribute::TUPLE_IP)?.nested();
    let proto = attribute.nested().find(attribute::TUPLE_PROTO)?.nested();
    let address = |v4, v6| -> Option<IpAddr> {
        let four = ip.find(v4).and_then(|found| found.value.first_chunk::<4>().copied());
        let six = || ip.find(v6).and_then(|found| found.value.first_chunk::<16>().copied());
        four.map(IpAddr::from).or_else(|| six().map(IpAddr::from))
    };
    let port = |kind| proto.find(kind).and_then(|found| found.be16()).unwrap_or(0);
    Some(Tuple {
        source: address(attribute::SOURCE_V4, attribute::SOURCE_V6)?,
        destination: address(attribute::DESTINATION_V4, attribute::DESTINATION_V6)?,
        source_port: port(attribute::SOURCE_PORT),
        destination_port: port(attribute::DESTINATION_PORT),
    })
}
