//! EDNS options that are sent on to upstreams.

use std::net::{IpAddr, SocketAddr};

use super::matcher::Words;
use crate::dns::corefile::CorefileError;
use crate::dns::wire::{Query, TYPE_OPT, Transport, skip_name, u16_at};

const NSID: u16 = 3;
const SUBNET: u16 = 8;
/// Options that concern one hop only: cookie, keepalive, padding (RFC 7873, 7828, 7830).
const HOP_BY_HOP: [u16; 3] = [10, 11, 12];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Set,
    Append,
    Replace,
    Unset,
}

#[derive(Clone, Debug)]
enum Data {
    Octets(Vec<u8>),
    Name,
    Type,
    ClientIp,
    ClientPort,
    Protocol,
    /// The client's network, in so many bits of each family.
    Subnet(u8, u8),
}

#[derive(Clone, Debug)]
pub(super) struct EdnsRule {
    action: Action,
    code: u16,
    data: Data,
}

impl EdnsRule {
    /// `edns0 local ACTION CODE DATA`, `edns0 nsid ACTION`, `edns0 subnet ACTION BITS BITS`.
    pub(super) fn read(words: &mut Words<'_>) -> Result<Self, CorefileError> {
        let kind = words.next("local, nsid or subnet")?.to_ascii_lowercase();
        let action = match words.next("an action")?.to_ascii_lowercase().as_str() {
            "set" => Action::Set,
            "append" => Action::Append,
            "replace" => Action::Replace,
            "unset" => Action::Unset,
            other => {
                let problem = format!("edns0 takes set, append, replace or unset, not \"{other}\"");
                return Err(words.error(problem));
            }
        };
        let gone = action == Action::Unset;
        let (code, data) = match kind.as_str() {
            "nsid" => (NSID, Data::Octets(Vec::new())),
            "subnet" if gone => (SUBNET, Data::Octets(Vec::new())),
            "subnet" => (SUBNET, Data::Subnet(bits(words, 32)?, bits(words, 128)?)),
            "local" => {
                let text = words.next("the option's code")?;
                let code = number(text)
                    .ok_or_else(|| words.error(format!("\"{text}\" is no option's code")))?;
                (code, if gone { Data::Octets(Vec::new()) } else { data(words)? })
            }
            other => {
                let problem = format!("edns0 takes local, nsid or subnet, not \"{other}\"");
                return Err(words.error(problem));
            }
        };
        // Options of upstreams' answers are not passed on, so there is nothing to revert.
        words.take("revert");
        Ok(Self { action, code, data })
    }

    /// Changes the options of a query; false when there was nothing to do.
    pub(super) fn apply(
        &self,
        options: &mut Vec<(u16, Vec<u8>)>,
        query: &Query<'_>,
        peer: SocketAddr,
    ) -> bool {
        let place = options.iter().position(|(code, _)| *code == self.code);
        match (self.action, place) {
            (Action::Unset, Some(at)) => {
                options.remove(at);
            }
            (Action::Unset, None) => {}
            (Action::Set | Action::Replace, Some(at)) => options[at].1 = self.octets(query, peer),
            (Action::Set | Action::Append, None) => {
                options.push((self.code, self.octets(query, peer)));
            }
            (Action::Append, Some(_)) | (Action::Replace, None) => return false,
        }
        true
    }

    fn octets(&self, query: &Query<'_>, peer: SocketAddr) -> Vec<u8> {
        let address = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        match &self.data {
            Data::Octets(octets) => octets.clone(),
            Data::Name => portolan_model::names::to_text(query.name()).into_bytes(),
            Data::Type => query.kind.0.to_be_bytes().to_vec(),
            Data::ClientIp => address(peer.ip()),
            Data::ClientPort => peer.port().to_be_bytes().to_vec(),
            Data::Protocol => match query.transport {
                Transport::Udp => b"udp".to_vec(),
                Transport::Tcp => b"tcp".to_vec(),
            },
            Data::Subnet(v4, v6) => {
                let (family, bits) = if peer.is_ipv4() { (1, *v4) } else { (2, *v6) };
                // RFC 7871, 6: only as many octets as the bits need, the rest of them zero.
                let network = ipnet::IpNet::new_assert(peer.ip(), bits).network();
                let mut octets = vec![0, family, bits, 0];
                octets.extend(&address(network)[..usize::from(bits).div_ceil(8)]);
                octets
            }
        }
    }
}

fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn bits(words: &mut Words<'_>, most: u8) -> Result<u8, CorefileError> {
    let text = words.next("the bits of a network")?;
    let bits = text.parse().ok().filter(|bits| *bits <= most);
    bits.ok_or_else(|| words.error(format!("\"{text}\" is no number of bits up to {most}")))
}

fn data(words: &mut Words<'_>) -> Result<Data, CorefileError> {
    let text = words.next("the option's data")?;
    if text.starts_with('{') && text.ends_with('}') {
        return Ok(match text {
            "{qname}" => Data::Name,
            "{qtype}" => Data::Type,
            "{client_ip}" => Data::ClientIp,
            "{client_port}" => Data::ClientPort,
            "{protocol}" => Data::Protocol,
            other => {
                let known = "{qname} {qtype} {client_ip} {client_port} {protocol}";
                let problem = format!("variable {other} is not supported; there are {known}");
                return Err(words.error(problem));
            }
        });
    }
    let Some(hex) = text.strip_prefix("0x") else { return Ok(Data::Octets(text.into())) };
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    let octets: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(pair).collect();
    octets
        .filter(|_| hex.len() % 2 == 0)
        .map(Data::Octets)
        .ok_or_else(|| words.error(format!("\"{text}\" is not hexadecimal")))
}

/// The options that a query came with and that may go further.
pub(super) fn options(query: &Query<'_>) -> Vec<(u16, Vec<u8>)> {
    read(query).unwrap_or_default()
}

fn read(query: &Query<'_>) -> Option<Vec<(u16, Vec<u8>)>> {
    let message = query.message;
    let mut at = query.question_end();
    loop {
        at = skip_name(message, at)?;
        let kind = u16_at(message, at)?;
        let end = at + 10 + usize::from(u16_at(message, at + 8)?);
        if kind != TYPE_OPT {
            at = end;
            continue;
        }
        let (mut options, mut at) = (Vec::new(), at + 10);
        while at < end {
            let (code, length) = (u16_at(message, at)?, usize::from(u16_at(message, at + 2)?));
            let data = message.get(at + 4..at + 4 + length)?;
            if !HOP_BY_HOP.contains(&code) {
                options.push((code, data.to_vec()));
            }
            at += 4 + length;
        }
        return Some(options);
    }
}

/// Options as an OPT record holds them.
pub(super) fn wire(options: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (code, data) in options {
        wire.extend_from_slice(&code.to_be_bytes());
        wire.extend_from_slice(&(data.len() as u16).to_be_bytes());
        wire.extend_from_slice(data);
    }
    wire
}
