//! Keys, words and names of the maps: the Rust side of bpf/socket.bpf.c.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use portolan_model::object::Protocol;

/// An ELF file, aligned as its parser wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("bpf/socket.bpf.o"));

/// The object with the programs and maps.
pub(super) fn object() -> &'static [u8] {
    &ALIGNED.0
}

/// Constants of the object: the node's network namespace, and whether its cgroup is others' too.
pub(super) const NODE_NETNS: &str = "node_netns";
pub(super) const SHARED_CGROUP: &str = "shared_cgroup";

/// `struct address`: a frontend's key, and both halves of `struct peer`.
pub(super) type Key = [u8; 20];

/// Lengths of the values of maps that only programs write: `struct kept`, `struct peer` and
/// `struct talks`.
pub(super) const KEPT: usize = 16;
pub(super) const PEER: usize = 2 * size_of::<Key>();
pub(super) const TALKS: usize = 224;

/// `frontend.flags`.
pub(super) const NODE_ONLY: u32 = 1;
pub(super) const RESERVED: u32 = 2;

/// Of so many backends on this node the dialler's own is looked for.
pub(super) const LOCALS: usize = 128;

/// What is known of a network namespace: nobody has looked; it is this node's; it is not.
pub(super) const ASKED: u32 = 0;
pub(super) const MEMBER: u32 = 1;
pub(super) const STRANGER: u32 = 2;

/// `struct pool`, in bytes.
pub(super) mod pool {
    pub(in super::super) const RANGE: usize = 0;
    pub(in super::super) const LOCAL: usize = 8;
    pub(in super::super) const AFFINITY: usize = 16;
    pub(in super::super) const GENERATION: usize = 20;
}

/// How many slots, or IPv4 backends, share one element of their array.
pub(super) const TOGETHER: u32 = 2;

/// `struct backend4` and `struct backend6`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackendShape {
    /// How many share one element of the array.
    pub(super) together: u32,
    pub(super) size: usize,
    pub(super) port_serial: usize,
    pub(super) pool: usize,
}

pub(super) const BACKEND4: BackendShape =
    BackendShape { together: TOGETHER, size: 12, port_serial: 4, pool: 8 };
pub(super) const BACKEND6: BackendShape =
    BackendShape { together: 1, size: 24, port_serial: 16, pool: 20 };

/// `struct frontend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pool: u32,
    pub(super) flags: u32,
}

impl Entry {
    pub(super) fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.pool.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.flags.to_ne_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Self { pool: word(0)?, flags: word(4)? })
    }
}

fn mapped(ip: &IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The number of a protocol that sockets are rewritten for.
pub(super) fn protocol_number(protocol: Protocol) -> Option<u8> {
    matches!(protocol, Protocol::Tcp | Protocol::Udp).then(|| protocol.number())
}

pub(super) fn key(ip: &IpAddr, port: u16, protocol: u8) -> Key {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&mapped(ip));
    key[16..18].copy_from_slice(&port.to_be_bytes());
    key[18] = protocol;
    key
}

/// Address and protocol of a key.
pub(super) fn read_key(key: &[u8]) -> Option<(SocketAddr, u8)> {
    let ip = Ipv6Addr::from(*key.first_chunk::<16>()?);
    let port = u16::from_be_bytes(*key.get(16..)?.first_chunk()?);
    // `to_canonical` would leave ::1 alone, as it should be.
    Some((SocketAddr::new(IpAddr::from(ip).to_canonical(), port), *key.get(18)?))
}

/// `port_serial` of a backend.
pub(super) fn port_serial(port: u16, serial: u16) -> u32 {
    u32::from(serial) << 16 | u32::from(port.to_be())
}

/// Port and serial.
pub(super) fn read_port_serial(word: u32) -> (u16, u16) {
    (u16::from_be(word as u16), (word >> 16) as u16)
}

/// `pool.range` and `pool.local`: where slots begin, and how many there are.
pub(super) fn range(first: u32, count: u32) -> u64 {
    u64::from(count) << 32 | u64::from(first)
}

/// First slot and number of slots.
pub(super) fn read_range(range: u64) -> (u32, u32) {
    (range as u32, (range >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a section of a 64-bit little-endian ELF file.
    fn section<'a>(file: &'a [u8], wanted: &str) -> &'a [u8] {
        let number = |at: usize, length: usize| {
            file[at..at + length].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (headers, size, count) = (number(0x28, 8), number(0x3A, 2), number(0x3C, 2));
        let header = |index: usize| headers + index * size;
        let content = |index: usize| {
            let (start, length) =
                (number(header(index) + 0x18, 8), number(header(index) + 0x20, 8));
            &file[start..start + length]
        };
        let names = content(number(0x3E, 2));
        let name = |index: usize| {
            let start = &names[number(header(index), 4)..];
            &start[..start.iter().position(|byte| *byte == 0).unwrap()]
        };
        let found = (1..count).find(|index| name(*index) == wanted.as_bytes());
        content(found.unwrap_or_else(|| panic!("no section {wanted}")))
    }

    #[test]
    fn c_and_rust_have_the_same_layouts() {
        let found: Vec<usize> = section(object(), "layout")
            .chunks_exact(2)
            .map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]).into())
            .collect();
        let key_length = size_of::<Key>();
        assert_eq!(
            found,
            [
                [key_length, 16, 18].as_slice(),
                &[size_of_val(&Entry { pool: 0, flags: 0 }.bytes()), 4],
                &[24, pool::LOCAL, pool::AFFINITY, pool::GENERATION],
                &[size_of::<[u32; TOGETHER as usize]>()],
                &[BACKEND4.size, BACKEND4.port_serial, BACKEND4.pool],
                &[BACKEND4.size * BACKEND4.together as usize],
                &[BACKEND6.size, BACKEND6.port_serial, BACKEND6.pool],
                &[16, 8],
                &[KEPT, 4, 8],
                // `struct kinship`, which programs alone know.
                &[16],
                &[PEER, key_length],
                &[TALKS],
                &[NODE_ONLY as usize, RESERVED as usize, LOCALS],
                &[ASKED as usize, MEMBER as usize, STRANGER as usize],
            ]
            .concat()
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["10.1.2.3:80", "[fd00::1]:443", "[::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let key = key(&address.ip(), address.port(), 17);
            assert_eq!(read_key(&key), Some((address, 17)));
        }
        assert_eq!(read_port_serial(port_serial(8080, 9)), (8080, 9));
        assert_eq!(read_range(range(5, 12)), (5, 12));
        let entry = Entry { pool: 3, flags: RESERVED };
        assert_eq!(Entry::read(&entry.bytes()), Some(entry));
    }
}
