//! What nobody should send: mutated packets, Corefiles and upstreams' replies. A bounded number in
//! every run; as many as `PORTOLAN_FUZZ_CASES` says in a long one.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::harness::*;
use super::slow::many_files;
use crate::dns::config::Config;
use crate::dns::default_corefile;
use crate::dns::plugin::upstream;
use crate::dns::wire::{Query, Reply, Transport};

const NAME: &str = "web.default.svc.cluster.local";

fn cases(usual: usize) -> usize {
    let asked = std::env::var("PORTOLAN_FUZZ_CASES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

/// Changes a message in one of the ways that parsers stumble over.
fn mutate(random: &mut StdRng, message: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        let length = message.len();
        if length == 0 {
            return;
        }
        let at = random.random_range(0..length);
        match random.random_range(0..8) {
            0 => message[at] ^= 1 << random.random_range(0..8),
            1 => message[at] = random.random(),
            2 => message.truncate(at),
            3 => message.insert(at, random.random()),
            4 => drop(message.remove(at)),
            // A pointer to anywhere, itself included.
            5 if at + 1 < length => {
                message[at] = 0xc0 | random.random_range(0..2_u8);
                message[at + 1] = random.random();
            }
            // Counts that promise more than there is.
            6 if length > 11 => message[random.random_range(4..12)] = random.random_range(0..4),
            _ => {
                let end = random.random_range(at..length.min(at + 40));
                let piece = message[at..end].to_vec();
                message.extend_from_slice(&piece);
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let long = format!("{}.default.svc.cluster.local", vec!["abcdefgh"; 20].join("."));
    [
        ("web.default.svc.cluster.local", Rtype::A, 1232),
        ("_http._tcp.web.default.svc.cluster.local", Rtype::SRV, 0),
        ("3.1.244.10.in-addr.arpa", Rtype::PTR, 512),
        ("crowd.default.svc.cluster.local", Rtype::A, 4096),
        ("outer.default.svc.cluster.local", Rtype::AAAA, 1),
        (long.as_str(), Rtype::ANY, 65_535),
    ]
    .map(|(name, kind, payload)| query(name, kind, payload))
    .into()
}

/// Keeps so many connections open, each of which brings a query octet by octet and never whole,
/// and makes them anew when they have to go; until `stop`. Returns how many were made.
fn drip(to: SocketAddr, connections: usize, stop: &AtomicBool) -> usize {
    let message = framed(&query(NAME, Rtype::A, 0));
    let mut made = 0;
    let mut slow: Vec<Option<(TcpStream, usize)>> = (0..connections).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for place in &mut slow {
            let sent = place.as_mut().is_some_and(|(stream, at)| {
                *at += 1;
                let octet = message.get(*at..*at + 1).filter(|_| *at + 1 < message.len());
                octet.is_some_and(|octet| stream.write_all(octet).is_ok())
            });
            if !sent {
                *place = TcpStream::connect(to).ok().and_then(|mut stream| {
                    stream.write_all(&message[..1]).ok()?;
                    made += 1;
                    Some((stream, 0))
                });
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    made
}

/// Malformed datagrams in bulk and a thousand slow connections, and all the while a client that
/// means it is served. No datagram is lost on the way: after each 64 an honest one is answered.
#[test]
fn malformed_packets_leave_the_service_undisturbed() {
    let corefile = ". {\n kubernetes cluster.local in-addr.arpa\n prometheus 127.0.0.1:0\n}";
    let server = start(corefile);
    fill(&server.stores[0]);
    let connections = if many_files() { 1000 } else { 100 };
    let (stop, to) = (Arc::new(AtomicBool::new(false)), server.address);
    let stopped = stop.clone();
    let slow = std::thread::spawn(move || drip(to, connections, &stopped));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server.address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut random = StdRng::seed_from_u64(7);
    let (seeds, mut buffer) = (seeds(), [0; 65_536]);
    let (begun, count) = (Instant::now(), cases(20_000));
    let (mut answers, mut served) = (0_u64, 0_u64);
    for case in 0..count {
        let mut message = seeds[random.random_range(0..seeds.len())].clone();
        mutate(&mut random, &mut message);
        let _ = socket.send(&message);
        if case % 64 == 63 {
            let honest = query(NAME, Rtype::A, 0);
            socket.send(&honest).expect("sent");
            loop {
                let length = socket.recv(&mut buffer).expect("an honest client is served");
                // Answers, where there are any, are answers, and no larger than they may be.
                assert!((12..=4096).contains(&length) && buffer[2] & 0x80 != 0);
                if buffer[..2] == honest[..2] && buffer[length - 4..length] == [10, 96, 0, 80] {
                    break;
                }
                answers += 1;
            }
            served += 1;
        }
        if case % 4096 == 0 {
            let answer = ask_tcp(server.address, NAME, Rtype::A);
            assert_eq!(data(&answer), ["10.96.0.80"], "after {case} packets");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let slow = slow.join().expect("no panic");
    eprintln!(
        "{count} malformed packets in {:?}, {answers} of them answered, {served} honest ones served, \
         {slow} slow connections",
        begun.elapsed()
    );
    assert!(answers > 0 && slow >= connections);
    assert_eq!(data(&ask(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
    assert!(get(server.pages[0], "/metrics").1.contains("coredns_panics_total 0"));
}

#[test]
fn mutated_corefiles_are_read_or_refused() {
    let words = [
        "kubernetes",
        "cluster.local",
        "{",
        "}",
        "\n",
        ".:53",
        "forward",
        ".",
        "10.0.0.1",
        "cache",
        "30",
        "hosts",
        "fallthrough",
        "pods",
        "insecure",
        "ttl",
        "\"",
        "\\",
        "#",
        "{$HOME}",
        "(x)",
        "import",
        "health",
        ":8080",
        "reload",
        "5s",
        "log",
        "errors",
        "é",
        "\t",
        "-1",
        "//",
        "::",
        "18446744073709551616",
        "0.0.0.0/0",
        "::/0",
        "ip6.arpa",
        "tls://",
        "/",
        "in-addr.arpa",
    ];
    let whole = default_corefile("cluster.local");
    let mut random = StdRng::seed_from_u64(8);
    let (begun, count) = (Instant::now(), cases(3_000));
    let mut understood = 0;
    for _ in 0..count {
        let mut text: Vec<&str> = whole.split_inclusive(' ').collect();
        for _ in 0..random.random_range(1..6) {
            let word = words[random.random_range(0..words.len())];
            let at = random.random_range(0..text.len());
            match random.random_range(0..4) {
                0 => drop(text.remove(at)),
                1 => text[at] = word,
                2 => text.truncate(at + 1),
                _ => text.insert(at, word),
            }
            if text.is_empty() {
                text.push(word);
            }
        }
        let text = text.concat();
        match Config::read(&text) {
            Ok(_) => understood += 1,
            Err(error) => {
                let lines = text.lines().count().max(1);
                assert!((1..=lines + 1).contains(&error.line), "{error} in {text}");
            }
        }
    }
    eprintln!("{count} Corefiles in {:?}, {understood} of them understood", begun.elapsed());
    assert!(understood > 0 && understood < count);
}

#[test]
fn mutated_replies_are_passed_on_whole_or_not_at_all() {
    let asked = query("www.example.org", Rtype::A, 1232);
    let asked = Query::parse(&asked, Transport::Udp).expect("a query");
    let question = upstream::question(&asked, 77, &[]);
    let mut reply = question.clone();
    reply[2] |= 0x80;
    reply[7] = 3;
    reply[11] = 0;
    reply.truncate(asked.question_end());
    reply.extend_from_slice(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03web\xc0\x10");
    reply.extend_from_slice(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x07");
    reply.extend_from_slice(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x08");
    assert!(upstream::read(&question, reply.clone()).is_some(), "the reply is one");
    let mut random = StdRng::seed_from_u64(9);
    let (begun, count) = (Instant::now(), cases(20_000));
    let mut taken = 0;
    for _ in 0..count {
        let mut mutated = reply.clone();
        mutate(&mut random, &mut mutated);
        let Some(relayed) = upstream::read(&question, mutated) else { continue };
        taken += 1;
        let mut out = Vec::new();
        Reply::relay(&mut out, &asked, &relayed.message, (&[], 0));
        assert!(out.len() <= asked.limit());
        let message = domain::base::Message::from_octets(out).expect("a message");
        for section in [message.answer(), message.authority(), message.additional()] {
            for record in section.expect("a section") {
                record.expect("a record");
            }
        }
    }
    eprintln!("{count} replies in {:?}, {taken} of them taken", begun.elapsed());
    assert!(taken > 0 && taken < count);
}
