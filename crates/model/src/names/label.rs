//! Names in wire form, and the labels that are made from addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A label may hold 63 octets and a whole name 255, its root octet included (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 254;

/// Reads a name as text into lower-case wire form without the root octet; a final dot is allowed.
/// `None` when it is no name: an empty label, or one or the whole too long.
pub fn to_wire(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::with_capacity(text.len() + 1);
    if text.is_empty() {
        return Some(wire);
    }
    for label in text.split('.') {
        push_label(&mut wire, label.as_bytes())?;
    }
    (wire.len() <= MAX_NAME).then_some(wire)
}

/// A name in wire form as text for people: dots between labels, octets that are not printable
/// escaped as RFC 1035, 5.1 has it, and a final dot.
pub fn to_text(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len() + 1);
    for label in labels(wire) {
        for &octet in label {
            match octet {
                b'.' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(octet));
                }
                0x21..=0x7e => text.push(char::from(octet)),
                _ => text.push_str(&format!("\\{octet:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

pub(super) fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Option<()> {
    if label.is_empty() || label.len() > MAX_LABEL {
        return None;
    }
    wire.push(label.len() as u8);
    wire.extend(label.iter().map(u8::to_ascii_lowercase));
    Some(())
}

/// The labels of a well-formed wire name, from the left; a malformed rest ends the walk.
pub(super) fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (&length, tail) = rest.split_first()?;
        let label = tail.get(..usize::from(length))?;
        if label.is_empty() {
            return None;
        }
        rest = &tail[label.len()..];
        Some(label)
    })
}

/// The part of `name` left of `zone`, both in lower-case wire form; `None` when `name` is not in
/// `zone`. Compares whole labels: `xcluster.local` is not in `cluster.local`.
pub fn relative_labels<'a>(name: &'a [u8], zone: &[u8]) -> Option<&'a [u8]> {
    let relative = name.len().checked_sub(zone.len())?;
    if &name[relative..] != zone {
        return None;
    }
    let mut at = 0;
    while at < relative {
        at += 1 + usize::from(name[at]);
    }
    (at == relative).then(|| &name[..relative])
}

/// The label that an endpoint without a name of its own gets: its address with dashes
/// (`10-244-1-3`, `fd00--1`), an IPv6 address that would end in a dash with a final zero.
#[derive(Clone, Copy)]
pub struct IpLabel {
    octets: [u8; 40],
    length: u8,
}

impl IpLabel {
    pub fn new(address: IpAddr) -> Self {
        use fmt::Write;
        let mut label = Self { octets: [0; 40], length: 0 };
        if let IpAddr::V4(address) = address {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    label.push(b'-');
                }
                if octet > 99 {
                    label.push(b'0' + octet / 100);
                }
                if octet > 9 {
                    label.push(b'0' + octet / 10 % 10);
                }
                label.push(b'0' + octet % 10);
            }
            return label;
        }
        // The longest textual address has 39 octets, so writing cannot fail.
        let _ = write!(label, "{address}");
        let length = usize::from(label.length);
        for octet in &mut label.octets[..length] {
            if *octet == b':' {
                *octet = b'-';
            }
        }
        if label.octets[length.saturating_sub(1)] == b'-' {
            label.octets[length] = b'0';
            label.length += 1;
        }
        label
    }

    fn push(&mut self, octet: u8) {
        self.octets[usize::from(self.length)] = octet;
        self.length += 1;
    }

    /// The address that `label` spells, if it is spelt as [`IpLabel::new`] does.
    pub fn parse(label: &[u8]) -> Option<IpAddr> {
        let address = parse_loosely(label)?;
        (Self::new(address).as_bytes() == label).then_some(address)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl fmt::Write for IpLabel {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.length);
        let room = self.octets.get_mut(start..start + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len() as u8;
        Ok(())
    }
}

impl fmt::Debug for IpLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Any spelling of an address with dashes, as pod names may use it.
pub(super) fn parse_loosely(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok().filter(|text| text.len() < 64)?;
    let dashes = label.iter().filter(|octet| **octet == b'-').count();
    if dashes == 3 && !text.contains("--") {
        return text.replace('-', ".").parse().map(IpAddr::V4).ok();
    }
    text.replace('-', ":").parse().map(IpAddr::V6).ok()
}

/// What an endpoint is called below its Service. Orders names before addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostLabel<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

impl HostLabel<'_> {
    /// Appends the label to a name in wire form.
    pub fn write(&self, wire: &mut Vec<u8>) {
        match self {
            Self::Name(name) => {
                wire.push(name.len() as u8);
                wire.extend_from_slice(name.as_bytes());
            }
            Self::Ip(address) => {
                let label = IpLabel::new(*address);
                wire.push(label.length);
                wire.extend_from_slice(label.as_bytes());
            }
        }
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035, 3.5 and RFC
/// 3596, 2.5); the name whole and in lower-case wire form.
pub fn from_reverse(name: &[u8]) -> Option<IpAddr> {
    if let Some(relative) = relative_labels(name, b"\x07in-addr\x04arpa") {
        let mut octets = [0; 4];
        let mut count = 0;
        for label in labels(relative) {
            let text = std::str::from_utf8(label).ok()?;
            if label.len() > 1 && label[0] == b'0' || !label.iter().all(u8::is_ascii_digit) {
                return None;
            }
            *octets.get_mut(3_usize.checked_sub(count)?)? = text.parse().ok()?;
            count += 1;
        }
        return (count == 4).then(|| Ipv4Addr::from(octets).into());
    }
    let relative = relative_labels(name, b"\x03ip6\x04arpa")?;
    if relative.len() != 64 {
        return None;
    }
    let mut bits = 0_u128;
    for (place, pair) in relative.chunks_exact(2).enumerate() {
        let &[1, digit] = pair else { return None };
        let nibble = char::from(digit).to_digit(16)?;
        bits |= u128::from(nibble) << (4 * place);
    }
    Some(Ipv6Addr::from(bits).into())
}

/// The reverse zones that together hold exactly the addresses of `network`: one when its prefix
/// ends between labels, else as many as the next label needs.
pub fn reverse_zones(network: IpNet) -> Vec<Vec<u8>> {
    let bits_per_label = if network.addr().is_ipv4() { 8 } else { 4 };
    let rounded = network.prefix_len().div_ceil(bits_per_label) * bits_per_label;
    let Ok(subnets) = network.subnets(rounded) else { return Vec::new() };
    subnets.map(|subnet| reverse_zone(subnet, usize::from(rounded / bits_per_label))).collect()
}

fn reverse_zone(network: IpNet, count: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    let (labels, suffix): (Vec<String>, &[u8]) = match network.network() {
        IpAddr::V4(address) => {
            (address.octets()[..count].iter().map(u8::to_string).collect(), b"\x07in-addr\x04arpa")
        }
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", u128::from(address));
            (digits[..count].chars().map(String::from).collect(), b"\x03ip6\x04arpa")
        }
    };
    for label in labels.iter().rev() {
        push_label(&mut wire, label.as_bytes());
    }
    wire.extend_from_slice(suffix);
    wire
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_become_labels() {
        for (address, label) in [
            ("10.244.1.3", "10-244-1-3"),
            ("fd00:10:244::3", "fd00-10-244--3"),
            ("fd00::", "fd00--0"),
            ("::1", "--1"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(IpLabel::new(address).as_bytes(), label.as_bytes());
            assert_eq!(IpLabel::parse(label.as_bytes()), Some(address));
        }
        for wrong in ["10-244-1-03", "10-244-1", "web", "", "fd00-0-0-0-0-0-0-1", "1-2-3-256"] {
            assert_eq!(IpLabel::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_zone_ends_at_a_label() {
        let zone = to_wire("cluster.local").expect("a name");
        let inside = to_wire("web.Cluster.Local.").expect("a name");
        assert_eq!(relative_labels(&inside, &zone), Some(b"\x03web".as_slice()));
        assert_eq!(relative_labels(&zone, &zone), Some(b"".as_slice()));
        // The label's own octets spell the zone, length octet included.
        let mut trap = vec![15];
        trap.extend_from_slice(b"x\x07cluster\x05local");
        assert_eq!(relative_labels(&trap, &zone), None);
    }

    #[test]
    fn networks_become_reverse_zones() {
        let text = |net: &str| -> Vec<String> {
            reverse_zones(net.parse().expect("a network")).iter().map(|w| to_text(w)).collect()
        };
        assert_eq!(text("10.96.0.0/16"), ["96.10.in-addr.arpa."]);
        assert_eq!(text("10.96.0.0/15"), ["96.10.in-addr.arpa.", "97.10.in-addr.arpa."]);
        assert_eq!(text("fd00:10::/32"), ["0.1.0.0.0.0.d.f.ip6.arpa."]);
        assert_eq!(text("0.0.0.0/0"), ["in-addr.arpa."]);
    }

    proptest! {
        #[test]
        fn reverse_names_read_back(bits: u128, v4: u32) {
            for address in [IpAddr::from(Ipv6Addr::from(bits)), IpAddr::from(Ipv4Addr::from(v4))] {
                let name = reverse_zones(address.into()).remove(0);
                prop_assert_eq!(from_reverse(&name), Some(address));
                prop_assert_eq!(IpLabel::parse(IpLabel::new(address).as_bytes()), Some(address));
            }
        }

        #[test]
        fn no_octets_panic(name: Vec<u8>, zone: Vec<u8>) {
            let _ = from_reverse(&name);
            let _ = IpLabel::parse(&name);
            let _ = to_text(&name);
            let _ = relative_labels(&name, &zone);
            let _ = to_wire(&String::from_utf8_lossy(&name));
        }
    }
}
