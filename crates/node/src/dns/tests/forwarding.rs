//! Upstreams, the cache before them, hosts files and loops.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::base::iana::{Rcode, Rtype};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder, Ttl};
use domain::rdata::{A, Cname, Soa};

use super::harness::*;
use crate::dns::DnsError;

/// An upstream that knows a few names; counts what it is asked over UDP and TCP.
struct Upstream {
    address: SocketAddr,
    udp: Arc<AtomicU32>,
    tcp: Arc<AtomicU32>,
}

fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().expect("a name")
}

fn respond(question: &[u8], over_tcp: bool) -> Vec<u8> {
    let message = Message::from_octets(question).expect("a message");
    let asked = message.sole_question().expect("a question");
    let text = asked.qname().to_string().to_ascii_lowercase();
    let mut answer =
        MessageBuilder::new_vec().start_answer(&message, Rcode::NOERROR).expect("room");
    answer.header_mut().set_ra(true);
    let owner = name(&text);
    let ttl = Ttl::from_secs(60);
    match (text.as_str(), asked.qtype()) {
        ("www.example.org", Rtype::A) => {
            answer.push((&owner, ttl, Cname::new(name("host.example.org")))).expect("room");
            answer
                .push((name("host.example.org"), ttl, A::from_octets(192, 0, 2, 1)))
                .expect("room");
        }
        ("big.example.org", Rtype::A) if !over_tcp => answer.header_mut().set_tc(true),
        ("big.example.org", Rtype::A) => {
            for n in 0..100 {
                answer.push((&owner, ttl, A::from_octets(192, 0, 2, n))).expect("room");
            }
        }
        _ => {
            answer.header_mut().set_rcode(Rcode::NXDOMAIN);
            let mut authority = answer.authority();
            let soa =
                Soa::new(name("ns.x"), name("m.x"), 1.into(), ttl, ttl, ttl, Ttl::from_secs(20));
            authority.push((name("org"), ttl, soa)).expect("room");
            return authority.finish();
        }
    }
    answer.finish()
}

fn upstream() -> Upstream {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = tcp.local_addr().expect("bound");
    let udp = UdpSocket::bind(address).expect("a socket");
    let counts = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (of_udp, of_tcp) = counts.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            of_udp.fetch_add(1, Ordering::SeqCst);
            // Somebody else's answers come first.
            let mut forged = respond(&buffer[..length], false);
            forged[0] ^= 1;
            let _ = udp.send_to(&forged, from);
            let _ = udp.send_to(&respond(&buffer[..length], false), from);
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            of_tcp.fetch_add(1, Ordering::SeqCst);
            let question = read_framed(&mut stream);
            let answer = framed(&respond(question.as_slice(), true));
            let _ = std::io::Write::write_all(&mut stream, &answer);
        }
    });
    Upstream { address, udp: counts.0, tcp: counts.1 }
}

#[test]
fn names_of_the_outside_are_forwarded_and_remembered() {
    let upstream = upstream();
    let server = start(&format!(". {{\n forward . {}\n cache 30\n errors\n}}", upstream.address));
    let answer = ask(server.address, "WWW.Example.org", Rtype::A);
    assert_eq!(data(&answer), ["host.example.org.", "192.0.2.1"]);
    assert!(answer.header().ra() && !answer.header().aa());
    std::thread::sleep(Duration::from_millis(1100));
    let again = ask(server.address, "www.EXAMPLE.org", Rtype::A);
    assert_eq!(data(&again), ["host.example.org.", "192.0.2.1"]);
    assert_eq!(upstream.udp.load(Ordering::SeqCst), 1, "the second answer was remembered");
    assert!(show(&again).contains("29 CNAME"), "{}", show(&again));
    for _ in 0..3 {
        assert!(show(&ask(server.address, "nope.example.org", Rtype::A)).starts_with("NXDOMAIN"));
    }
    assert_eq!(upstream.udp.load(Ordering::SeqCst), 2);
}

#[test]
fn long_answers_come_over_tcp() {
    let upstream = upstream();
    let server = start(&format!(". {{\n forward . {}\n cache\n}}", upstream.address));
    let cut = ask(server.address, "big.example.org", Rtype::A);
    assert!(cut.header().tc());
    let mut stream = tcp(server.address);
    let message = framed(&query("big.example.org", Rtype::A, 0));
    std::io::Write::write_all(&mut stream, &message).expect("sent");
    assert_eq!(data(&read_framed(&mut stream)).len(), 100);
    assert_eq!(upstream.tcp.load(Ordering::SeqCst), 1);
    // It is known now, but does not fit: never half of it with wrong TTLs.
    let cut = send(server.address, &query("big.example.org", Rtype::A, 0), Duration::from_secs(5));
    let cut = cut.expect("an answer");
    assert!(cut.header().tc() && data(&cut).is_empty());
}

#[test]
fn an_external_name_comes_with_its_addresses() {
    let upstream = upstream();
    let server =
        start(&format!(". {{\n kubernetes cluster.local\n forward . {}\n}}", upstream.address));
    fill(&server.stores[0]);
    let answer = ask(server.address, "Ext.default.svc.cluster.local", Rtype::A);
    assert_eq!(
        show(&answer),
        "NOERROR aa\n= Ext.default.svc.cluster.local 5 CNAME www.example.org.\n\
         = www.example.org 60 CNAME host.example.org.\n= host.example.org 60 A 192.0.2.1\n"
    );
}

#[test]
fn a_silent_upstream_costs_time_and_no_answer() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let upstream = upstream();
    let server = start(&format!(
        ". {{\n forward . {} {} {{\n policy sequential\n health_check 50ms\n }}\n}}",
        silent.local_addr().expect("bound"),
        upstream.address
    ));
    let begun = Instant::now();
    assert_eq!(data(&ask(server.address, "www.example.org", Rtype::A)).len(), 2);
    assert!(begun.elapsed() > Duration::from_secs(1));
    ask(server.address, "www.example.org", Rtype::A);
    // Two failures in a row: it is left out from now on.
    let begun = Instant::now();
    ask(server.address, "www.example.org", Rtype::A);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn without_an_upstream_that_answers_it_fails_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("bound");
    let server = start(&format!(". {{\n errors\n forward . {closed}\n}}"));
    let begun = Instant::now();
    assert_eq!(show(&ask(server.address, "www.example.org", Rtype::A)), "SERVFAIL\n");
    assert!(begun.elapsed() < Duration::from_secs(1), "the kernel says that nobody listens");
}

#[test]
fn too_many_waiting_are_refused() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = silent.local_addr().expect("bound");
    let server = start(&format!(". {{\n forward . {to} {{\n max_concurrent 1\n }}\n}}"));
    let first = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    first.send_to(&query("a.org", Rtype::A, 0), server.address).expect("sent");
    silent.recv(&mut [0; 512]).expect("forwarded");
    assert_eq!(show(&ask(server.address, "b.org", Rtype::A)), "REFUSED\n");
}

#[test]
fn hosts_answer_before_upstreams() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("hosts");
    std::fs::write(&file, "192.0.2.9 box.lan alias.lan # here\nfd00::9 box.lan\nx y\n")
        .expect("written");
    let server = start(&format!(
        ". {{\n hosts {} {{\n 192.0.2.7 inline.lan\n ttl 60\n fallthrough\n }}\n}}",
        file.display()
    ));
    let ask = |name, kind| show(&ask(server.address, name, kind));
    assert_eq!(ask("BOX.lan", Rtype::A), "NOERROR aa\n= BOX.lan 60 A 192.0.2.9\n");
    assert_eq!(ask("box.lan", Rtype::AAAA), "NOERROR aa\n= box.lan 60 AAAA fd00::9\n");
    assert_eq!(ask("alias.lan", Rtype::AAAA), "NOERROR aa\n");
    assert_eq!(ask("inline.lan", Rtype::A), "NOERROR aa\n= inline.lan 60 A 192.0.2.7\n");
    assert!(ask("9.2.0.192.in-addr.arpa", Rtype::PTR).contains("PTR box.lan."));
    assert_eq!(ask("nope.lan", Rtype::A), "REFUSED\n");
    std::fs::write(&file, "192.0.2.8 box.lan\n").expect("written");
    let begun = Instant::now();
    while ask("box.lan", Rtype::A) != "NOERROR aa\n= box.lan 60 A 192.0.2.8\n" {
        assert!(begun.elapsed() < Duration::from_secs(5), "the file is followed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_that_asks_itself_says_so() {
    let free = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("bound");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Corefile");
    std::fs::write(&path, format!(". {{\n loop\n forward . {free}\n}}")).expect("written");
    let mut server = start_file(&path, &free.to_string());
    let ended = server.serving.take().expect("running").join().expect("no panic");
    assert!(matches!(ended, Err(DnsError::Loop { .. })), "{ended:?}");
}

#[test]
fn a_server_that_asks_others_does_not() {
    let upstream = upstream();
    let server = start(&format!(". {{\n loop\n forward . {}\n}}", upstream.address));
    let begun = Instant::now();
    while upstream.udp.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the probe is sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(data(&ask(server.address, "www.example.org", Rtype::A)).len(), 2);
}
