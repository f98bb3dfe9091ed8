//! Zone files over the wire, whole and record by record.

use std::net::UdpSocket;
use std::time::Duration;

use domain::base::MessageBuilder;
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::Name;
use domain::base::{Serial, Ttl};
use domain::rdata::Soa;

use super::harness::*;

fn zone_text(serial: u32, records: usize) -> String {
    let mut text =
        format!("@ 60 IN SOA ns admin {serial} 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n");
    for n in 0..records {
        text.push_str(&format!("h{n} 60 IN A 10.0.{}.{}\n", n / 250, n % 250));
    }
    text.push_str("far 60 IN CNAME www.elsewhere.example.\n");
    text
}

#[test]
fn a_zone_file_is_served_and_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db.example.org");
    std::fs::write(&path, zone_text(1, 3)).expect("written");
    let to = scripted(|question, _| Some(reply(question, Rcode::NOERROR, Some(7))));
    let file = path.display();
    let server = start(&format!(
        ". {{\n file {file} example.org {{\n fallthrough through.example.org\n }}\n forward . {to}\n}}"
    ));
    let lines = |name, kind| show(&ask(server.address, name, kind));
    assert!(
        lines("H1.example.org", Rtype::A)
            .starts_with("NOERROR aa\n= H1.example.org 60 A 10.0.0.1\n")
    );
    assert!(lines("nope.example.org", Rtype::A).starts_with("NXDOMAIN aa\n! example.org 60 SOA"));
    assert!(lines("a.through.example.org", Rtype::A).contains("192.0.2.7"));
    let far = lines("far.example.org", Rtype::A);
    assert!(far.contains("CNAME www.elsewhere.example.") && far.contains("192.0.2.7"), "{far}");
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&path, zone_text(2, 5)).expect("written");
    let begun = std::time::Instant::now();
    while !lines("h4.example.org", Rtype::A).contains("10.0.0.4") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the file is followed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_zone_file_may_come_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db.example.org");
    let file = path.display();
    let server = start(&format!(". {{\n file {file} example.org {{\n reload 10ms\n }}\n}}"));
    let line = || show(&ask(server.address, "h1.example.org", Rtype::A));
    assert!(line().starts_with("SERVFAIL"), "{}", line());
    std::fs::write(&path, zone_text(1, 3)).expect("written");
    let begun = std::time::Instant::now();
    while !line().contains("10.0.0.1") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the file is taken when it comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The records of a whole answer over TCP, in as many messages as it takes.
fn transferred(server: &Running, message: &[u8]) -> (Rcode, usize, usize) {
    let mut stream = tcp(server.address);
    std::io::Write::write_all(&mut stream, &framed(message)).expect("sent");
    let (mut records, mut messages, mut soas) = (0, 0, 0);
    loop {
        let answer = read_framed(&mut stream);
        messages += 1;
        let section = answer.answer().expect("a section").flatten();
        section.for_each(|record| {
            records += 1;
            soas += usize::from(record.rtype() == Rtype::SOA);
        });
        if soas != 1 || answer.header().rcode() != Rcode::NOERROR {
            return (answer.header().rcode(), records, messages);
        }
    }
}

fn ixfr(serial: u32) -> Vec<u8> {
    let name = |text: &str| text.parse::<Name<Vec<u8>>>().expect("a name");
    let mut question = MessageBuilder::new_vec().question();
    question.push((name("example.org"), Rtype::IXFR)).expect("room");
    let mut authority = question.authority();
    let ttl = Ttl::from_secs(1);
    let soa = Soa::new(name("ns.x"), name("m.x"), Serial(serial), ttl, ttl, ttl, ttl);
    authority.push((name("example.org"), Class::IN, ttl, soa)).expect("room");
    authority.finish()
}

#[test]
fn zones_are_transferred_to_those_who_may() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db.example.org");
    std::fs::write(&path, zone_text(7, 3000)).expect("written");
    let file = path.display();
    let with = |transfer: &str| start(&format!(". {{\n file {file} example.org\n{transfer}\n}}"));
    let axfr = query("example.org", Rtype::AXFR, 0);
    let open = with(" transfer example.org {\n to *\n }");
    let (rcode, records, messages) = transferred(&open, &axfr);
    assert_eq!((rcode, records), (Rcode::NOERROR, 3005));
    assert!(messages > 1, "one message cannot hold it");
    assert_eq!(transferred(&open, &ixfr(6)).1, 3005, "the whole zone instead of a difference");
    // One SOA record alone: nothing has changed.
    let mut stream = tcp(open.address);
    std::io::Write::write_all(&mut stream, &framed(&ixfr(7))).expect("sent");
    assert_eq!(data(&read_framed(&mut stream)).len(), 1);
    let refused = (Rcode::REFUSED, 0, 1);
    assert_eq!(transferred(&with(""), &axfr), refused, "without the plugin");
    assert_eq!(transferred(&with(" transfer example.org {\n to 192.0.2.1\n }"), &axfr), refused);
    let no_zone = query("h1.example.org", Rtype::AXFR, 0);
    assert_eq!(transferred(&open, &no_zone), (Rcode::NOTAUTH, 0, 1));
    assert_eq!(show(&ask(open.address, "example.org", Rtype::AXFR)), "REFUSED\n", "over UDP");
    let blocked = with(" acl {\n block type AXFR\n }\n transfer example.org {\n to *\n }");
    assert_eq!(transferred(&blocked, &axfr), refused);
}

#[test]
fn others_hear_of_changes() {
    let other = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    other.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db.example.org");
    std::fs::write(&path, zone_text(1, 1)).expect("written");
    let (file, to) = (path.display(), other.local_addr().expect("bound"));
    let corefile = format!(
        ". {{\n file {file} example.org\n transfer example.org {{\n to {to}\n source 127.0.0.1\n }}\n}}"
    );
    let _server = start(&corefile);
    let hear = || {
        let mut buffer = [0; 512];
        let (length, from) = other.recv_from(&mut buffer).expect("a notification");
        assert_eq!(
            (buffer[2] & 0xf8, &buffer[12..length]),
            (0x20, &b"\x07example\x03org\x00\x00\x06\x00\x01"[..])
        );
        buffer[2] |= 0x80;
        other.send_to(&buffer[..length], from).expect("sent");
    };
    hear();
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&path, zone_text(2, 1)).expect("written");
    hear();
}

#[test]
fn the_cluster_s_zone_is_transferred() {
    let with = |to: &str| {
        start(&format!(
            ". {{\n kubernetes cluster.local in-addr.arpa {{\n ttl 30\n }}\n transfer {{\n to {to}\n \
             }}\n}}"
        ))
    };
    let server = with("*");
    let axfr = |name| query(name, Rtype::AXFR, 0);
    assert_eq!(
        transferred(&server, &axfr("cluster.local")),
        (Rcode::SERVFAIL, 0, 1),
        "unknown yet"
    );
    fill(&server.stores[0]);
    let mut stream = tcp(server.address);
    std::io::Write::write_all(&mut stream, &framed(&axfr("cluster.local"))).expect("sent");
    let whole = show(&read_framed(&mut stream));
    let lines: Vec<&str> = whole.lines().collect();
    let soa = "= cluster.local 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. ";
    assert_eq!((lines[0], lines[1].starts_with(soa)), ("NOERROR aa", true), "{whole}");
    assert_eq!(lines.first().map(|_| lines[1]), lines.last().copied(), "SOA at both ends");
    for line in [
        "cluster.local 30 NS ns.dns.cluster.local.",
        "ns.dns.cluster.local 30 A 127.0.0.1",
        "dns-version.cluster.local 28800 TXT \"1.1.0\"",
        "web.default.svc.cluster.local 30 A 10.96.0.80",
        "web.default.svc.cluster.local 30 AAAA fd00:10:96::80",
        "web.default.svc.cluster.local 30 SRV 0 25 80 web.default.svc.cluster.local",
        "_http._tcp.web.default.svc.cluster.local 30 SRV 0 50 80 web.default.svc.cluster.local",
        "_dns._udp.web.default.svc.cluster.local 30 SRV 0 50 53 web.default.svc.cluster.local",
        "db.default.svc.cluster.local 30 A 10.244.1.9",
        "db-0.db.default.svc.cluster.local 30 A 10.244.1.3",
        "10-244-1-9.db.default.svc.cluster.local 30 A 10.244.1.9",
        "_sql._tcp.db.default.svc.cluster.local 30 SRV 0 33 15432 db-1.db.default.svc.cluster.local",
        "ext.default.svc.cluster.local 30 CNAME www.example.org.",
    ] {
        let line = format!("= {line}");
        assert!(lines.contains(&line.as_str()), "{line} is not in {whole}");
    }
    assert!(!whole.contains("db-2.db"), "it is not ready");
    assert!(!whole.contains("empty.default"), "no endpoint, no name");
    // What the transfer has is what the names answer.
    for line in lines[2..lines.len() - 1].iter().filter(|line| line.contains(" A ")) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(data(&ask_tcp(server.address, words[1], Rtype::A)).contains(&words[4].to_owned()));
    }
    assert_eq!(transferred(&server, &axfr("in-addr.arpa")).0, Rcode::NOTAUTH, "reverse");
    assert_eq!(transferred(&with("192.0.2.1"), &axfr("cluster.local")).0, Rcode::REFUSED);
}
