//! DNS over TCP, clause by clause of RFC 7766.

use std::io::{Read, Write};
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};

use super::harness::*;

const NAME: &str = "web.default.svc.cluster.local";
const OTHER: &str = "v4.default.svc.cluster.local";

/// A cluster, and an upstream that answers names with `slow` in them late.
fn server() -> Running {
    let to = scripted(|question, _| {
        if question.windows(4).any(|octets| octets.eq_ignore_ascii_case(b"slow")) {
            std::thread::sleep(Duration::from_millis(300));
        }
        Some(reply(question, Rcode::NOERROR, Some(1)))
    });
    let server = start(&format!(". {{\n kubernetes cluster.local\n forward . {to}\n}}"));
    fill(&server.stores[0]);
    server
}

fn numbered(name: &str, id: u16) -> Vec<u8> {
    let mut message = query(name, Rtype::A, 0);
    message[..2].copy_from_slice(&id.to_be_bytes());
    framed(&message)
}

/// 5 and 6.2.1: a connection serves any number of queries, one after the other.
#[test]
fn a_connection_is_used_again() {
    let server = server();
    let mut stream = tcp(server.address);
    for id in 0..50 {
        stream.write_all(&numbered(NAME, id)).expect("sent");
        let answer = read_framed(&mut stream);
        assert_eq!((answer.header().id(), data(&answer)), (id, vec!["10.96.0.80".to_owned()]));
    }
}

/// 6.2.1.1 and 7: a query does not wait for the answer to an earlier one, and answers come as soon
/// as they are there, known by their number.
#[test]
fn answers_overtake_each_other() {
    let server = server();
    let mut stream = tcp(server.address);
    let all = [numbered("slow.example.org", 1), numbered(NAME, 2), numbered(OTHER, 3)];
    stream.write_all(&all.concat()).expect("sent");
    let answers: Vec<_> = (0..3).map(|_| read_framed(&mut stream)).collect();
    let ids: Vec<u16> = answers.iter().map(|answer| answer.header().id()).collect();
    assert_eq!(ids, [2, 3, 1]);
    assert_eq!(data(&answers[2]), ["192.0.2.1"]);
    // Twice the same number is the client's mistake, and costs nobody an answer.
    stream.write_all(&[numbered(NAME, 9), numbered(OTHER, 9)].concat()).expect("sent");
    for _ in 0..2 {
        assert_eq!(read_framed(&mut stream).header().id(), 9);
    }
}

/// 8: the length and the message may come in any pieces.
#[test]
fn pieces_of_any_size_are_put_together() {
    let server = server();
    let mut stream = tcp(server.address);
    stream.set_nodelay(true).expect("set");
    let message = numbered(NAME, 7);
    for octet in &message {
        stream.write_all(&[*octet]).expect("sent");
    }
    assert_eq!(data(&read_framed(&mut stream)), ["10.96.0.80"]);
    // The end of one query, and half the length of the next.
    let two = message.repeat(2);
    for piece in [&two[..1], &two[1..message.len() + 1], &two[message.len() + 1..]] {
        stream.write_all(piece).expect("sent");
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..2 {
        assert_eq!(data(&read_framed(&mut stream)), ["10.96.0.80"]);
    }
    // Nothing is no query, and ends nothing.
    stream.write_all(&[&[0, 0], &message[..]].concat()).expect("sent");
    assert_eq!(read_framed(&mut stream).header().id(), 7);
}

/// 6.2.3 and 6.2.4: whoever is silent has to go, but not before what was asked is answered; and
/// an answer is never cut short for its size (RFC 1035, 4.2.2).
#[test]
fn a_silent_connection_ends_after_its_answers() {
    let server = server();
    let mut stream = tcp(server.address);
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let asked = [numbered("crowd.default.svc.cluster.local", 1), numbered("slow.example.org", 2)];
    stream.write_all(&asked.concat()).expect("sent");
    let whole = read_framed(&mut stream);
    assert_eq!((whole.header().tc(), data(&whole).len()), (false, 100));
    assert_eq!(read_framed(&mut stream).header().id(), 2);
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);
}

/// 6.2.4: a client that goes away in the middle costs nobody else anything.
#[test]
fn a_client_that_goes_is_forgotten() {
    let server = server();
    for cut in [1, 5, 20] {
        let mut stream = tcp(server.address);
        stream.write_all(&numbered("slow.example.org", 1)).expect("sent");
        stream.write_all(&numbered(NAME, 2)[..cut]).expect("sent");
        drop(stream);
    }
    assert_eq!(data(&ask_tcp(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
}
