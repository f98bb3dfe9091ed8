use proptest::prelude::*;

use super::*;
use crate::netlink::Messages;

const NUMBER: u16 = 0x22;

fn encoded(it: &Step) -> Vec<u8> {
    let mut encoder = Encoder::default();
    step(&mut encoder, NUMBER, flags::ACK, 9, it);
    encoder.as_bytes().to_vec()
}

/// Hexadecimal digits, grouped as one likes; `#` begins a remark.
fn hex(text: &str) -> Vec<u8> {
    let digits: String =
        text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn blue() -> VirtualServer {
    VirtualServer {
        key: ServerKey::Address { ip: [10, 96, 0, 9].into(), protocol: 6, port: 80 },
        scheduler: "rr".to_owned(),
        persistent: true,
        timeout: 10_800,
    }
}

#[cfg(target_endian = "little")]
#[test]
fn the_family_is_asked_for_by_name() {
    let mut encoder = Encoder::default();
    get_family(&mut encoder, 3);
    let expected = hex("20000000 1000 0100 03000000 00000000  # nlctrl, a request
         03 02 0000                            # GETFAMILY
         0900 0200 49505653 00 000000          # IPVS");
    assert_eq!(encoder.as_bytes(), expected);
}

#[cfg(target_endian = "little")]
#[test]
fn a_virtual_server_looks_so() {
    let expected = hex("68000000 2200 0500 09000000 00000000
         01 01 0000                            # NEW_SERVICE
         5400 0180
           0600 0100 0200 0000                 # AF_INET
           0600 0200 0600 0000                 # TCP
           1400 0300 0a600009 00000000 00000000 00000000
           0600 0400 0050 0000                 # 80
           0700 0600 727200 00                 # rr
           0c00 0700 01000000 ffffffff         # persistent
           0800 0800 302a0000                  # 10800 s
           0800 0900 ffffffff");
    assert_eq!(encoded(&Step::Create(blue())), expected);
}

#[cfg(target_endian = "little")]
#[test]
fn a_real_server_looks_so() {
    let key = ServerKey::Mark { mark: 7, ipv6: false };
    let expected = hex("70000000 2200 0500 09000000 00000000
         05 01 0000                            # NEW_DEST
         1400 0180
           0600 0100 0200 0000
           0800 0500 07000000                  # mark 7
         4800 0280
           0600 0b00 0200 0000
           1400 0100 0af40002 00000000 00000000 00000000
           0600 0200 1f90 0000                 # 8080
           0800 0300 00000000                  # masquerade
           0800 0400 01000000                  # weight 1
           0800 0500 00000000
           0800 0600 00000000");
    let real = "10.244.0.2:8080".parse().unwrap();
    assert_eq!(encoded(&Step::Add(key, real, 1)), expected);
}

#[test]
fn what_is_missing_reads_as_nothing() {
    let mut encoder = Encoder::default();
    get_servers(&mut encoder, NUMBER, 1);
    let message = Messages::new(encoder.as_bytes()).next().unwrap();
    assert_eq!(read_server(message), None);
    assert_eq!(read_real(message, false), None);
    assert_eq!(read_family(message), None);
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6)]
}

fn any_key() -> impl Strategy<Value = ServerKey> {
    let address = (any_ip(), any::<u8>(), any::<u16>());
    let mark = (1..u32::MAX, any::<bool>());
    prop_oneof![
        address.prop_map(|(ip, protocol, port)| ServerKey::Address { ip, protocol, port }),
        mark.prop_map(|(mark, ipv6)| ServerKey::Mark { mark, ipv6 }),
    ]
}

proptest! {
    /// The kernel answers in the attributes in which it is told.
    #[test]
    fn what_is_written_is_read(
        key in any_key(),
        scheduler in "[a-z]{1,15}",
        persistent: bool,
        timeout: u32,
        ip in any_ip(),
        port: u16,
        weight: u32,
    ) {
        let server = VirtualServer { key, scheduler, persistent, timeout };
        for it in [Step::Create(server.clone()), Step::Change(server.clone())] {
            let bytes = encoded(&it);
            let message = Messages::new(&bytes).next().unwrap();
            prop_assert_eq!(read_server(message), Some(server.clone()));
        }
        let address = SocketAddr::new(ip, port);
        let bytes = encoded(&Step::Weigh(key, address, weight));
        let real = read_real(Messages::new(&bytes).next().unwrap(), !ip.is_ipv6());
        let expected =
            RealServer { address, forward: Forward::Masquerade, weight, active: 0, inactive: 0 };
        prop_assert_eq!(real, Some(expected));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for message in Messages::new(&bytes) {
            let _ = (read_server(message), read_real(message, true), read_family(message));
        }
        let mut framed = Encoder::default();
        let mark = framed.begin_generic(NUMBER, 0, 1, 1, 1);
        for kind in [top::SERVICE, top::DESTINATION] {
            framed.attribute(kind, &bytes);
        }
        framed.end(mark);
        for message in Messages::new(framed.as_bytes()) {
            let _ = (read_server(message), read_real(message, false));
        }
    }
}
