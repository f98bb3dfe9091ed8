//! Clients that mean no good, or are merely slow.

use std::io::{Read, Write};
use std::time::Duration;

use domain::base::iana::Rtype;

use super::harness::*;

const NAME: &str = "web.default.svc.cluster.local";

/// Raises this process's limit of open files, as a server's is raised; false when it may not be.
pub(super) fn many_files() -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).and_then(|word| word.parse().ok()).is_none_or(|n: u64| n > 4000)
}

#[test]
fn a_thousand_slow_connections_disturb_nobody() {
    if !many_files() {
        eprintln!("skipped: no more than 4000 files may be open");
        return;
    }
    let server = start(". {\n kubernetes cluster.local\n}");
    fill(&server.stores[0]);
    let mut slow: Vec<_> = (0..1000)
        .map(|n| {
            let mut stream = tcp(server.address);
            // The half of a length, of a message, or a whole one whose answer nobody reads.
            let message = framed(&query(NAME, Rtype::A, 0));
            stream.write_all(&message[..[1, 9, message.len()][n % 3]]).expect("sent");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(data(&ask(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
        assert_eq!(data(&ask_tcp(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
    }
    // And in the end they have to go.
    let last = &mut slow[0];
    last.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    assert_eq!(last.read(&mut [0; 8]).expect("the end"), 0);
    assert_eq!(data(&ask_tcp(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
}

#[test]
fn a_client_that_reads_no_answers_is_not_read_for_ever() {
    let server = start(". {\n kubernetes cluster.local\n}");
    fill(&server.stores[0]);
    let mut stream = tcp(server.address);
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let message = framed(&query("crowd.default.svc.cluster.local", Rtype::A, 0)).repeat(100);
    let mut sent = 0_u64;
    // The server stops reading once it has answers that nobody takes.
    while stream.write_all(&message).is_ok() {
        sent += message.len() as u64;
        assert!(sent < 1 << 28, "memory for answers is bounded");
    }
    assert_eq!(data(&ask(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
}

#[test]
fn a_query_of_64_kilobytes_ends_the_connection() {
    let server = start(". {\n kubernetes cluster.local\n}");
    fill(&server.stores[0]);
    let mut stream = tcp(server.address);
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).expect("sent");
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    assert_eq!(data(&ask_tcp(server.address, NAME, Rtype::A)), ["10.96.0.80"]);
}
