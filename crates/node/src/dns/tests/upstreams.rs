//! How `forward` chooses whom it asks, and what `cache` makes of what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::base::iana::{Rcode, Rtype};

use super::harness::*;

fn always(rcode: Rcode, last: Option<u8>) -> std::net::SocketAddr {
    scripted(move |question, _| Some(reply(question, rcode, last)))
}

fn first(server: &Running, name: &str) -> String {
    let answer = ask(server.address, name, Rtype::A);
    data(&answer).first().cloned().unwrap_or_else(|| answer.header().rcode().to_string())
}

#[test]
fn policies_choose_the_upstream() {
    let (a, b) = (always(Rcode::NOERROR, Some(1)), always(Rcode::NOERROR, Some(2)));
    let with = |policy| start(&format!(". {{\n forward . {a} {b} {{\n policy {policy}\n }}\n}}"));
    let sequential = with("sequential");
    assert!((0..6).all(|_| first(&sequential, "a.org") == "192.0.2.1"));
    let turns = with("round_robin");
    let got: Vec<_> = (0..4).map(|_| first(&turns, "a.org")).collect();
    assert_ne!(got[0], got[1]);
    assert_eq!((&got[0], &got[1]), (&got[2], &got[3]));
    let random = with("random");
    let begun = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "both are asked some time");
        seen.insert(first(&random, "a.org"));
    }
}

#[test]
fn some_codes_lead_to_the_next_upstream_or_the_next_forward() {
    let (bad, good) = (always(Rcode::SERVFAIL, None), always(Rcode::NOERROR, Some(1)));
    let none = always(Rcode::NXDOMAIN, None);
    let with = |text: String| start(&format!(". {{\n{text}\n}}"));
    let plain = with(format!(" forward . {bad} {good} {{\n policy sequential\n }}"));
    assert_eq!(first(&plain, "a.org"), "SERVFAIL");
    let over = with(format!(
        " forward . {bad} {good} {{\n policy sequential\n failover SERVFAIL REFUSED\n }}"
    ));
    assert_eq!(first(&over, "a.org"), "192.0.2.1");
    let all_bad = with(format!(" forward . {bad} {bad} {{\n failover SERVFAIL\n }}"));
    assert_eq!(first(&all_bad, "a.org"), "SERVFAIL", "the last answer is the answer");
    let next = with(format!(" forward . {none} {{\n next NXDOMAIN\n }}\n forward . {good}"));
    assert_eq!(first(&next, "a.org"), "192.0.2.1");
    let empty = always(Rcode::NOERROR, None);
    let nodata = with(format!(" forward . {empty} {{\n next_on_nodata\n }}\n forward . {good}"));
    assert_eq!(first(&nodata, "a.org"), "192.0.2.1");
    let last = with(format!(" forward . {none} {{\n next NXDOMAIN\n }}"));
    assert_eq!(first(&last, "a.org"), "NXDOMAIN");
    let except = with(format!(" forward . {none} {{\n except b.org\n }}\n forward b.org {good}"));
    assert_eq!(first(&except, "x.b.org"), "192.0.2.1");
    assert_eq!(first(&except, "a.org"), "NXDOMAIN");
}

#[test]
fn transports_are_as_the_corefile_says() {
    let (udp, tcp) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counts = (udp.clone(), tcp.clone());
    let to = scripted(move |question, over_tcp| {
        if over_tcp { &counts.1 } else { &counts.0 }.fetch_add(1, Ordering::SeqCst);
        Some(reply(question, Rcode::NOERROR, Some(1)))
    });
    let moved = || (udp.swap(0, Ordering::SeqCst), tcp.swap(0, Ordering::SeqCst));
    let name = "a.org";
    let forced = start(&format!(
        ". {{\n forward . {to} {{\n force_tcp\n expire 5s\n max_idle_conns 2\n }}\n}}"
    ));
    ask(forced.address, name, Rtype::A);
    assert_eq!(moved(), (0, 1));
    let plain = start(&format!(". {{\n forward . {to} {{\n source_address 127.0.0.1\n }}\n}}"));
    ask(plain.address, name, Rtype::A);
    ask_tcp(plain.address, name, Rtype::A);
    assert_eq!(moved(), (1, 1), "over TCP for who asks over TCP");
    let udp_first = start(&format!(". {{\n forward . {to} {{\n prefer_udp\n }}\n}}"));
    ask_tcp(udp_first.address, name, Rtype::A);
    assert_eq!(moved(), (1, 0));
}

#[test]
fn an_upstream_that_changes_the_spelling_is_asked_over_tcp() {
    let to = scripted(|question, over_tcp| {
        let mut answer = reply(question, Rcode::NOERROR, Some(if over_tcp { 2 } else { 1 }));
        answer[12..question.len()].make_ascii_uppercase();
        Some(answer)
    });
    let server = start(&format!(". {{\n forward . {to}\n}}"));
    // Forty letters: by chance they are never all upper case.
    let name = format!("{}.org", "a".repeat(40));
    assert_eq!(first(&server, &name), "192.0.2.2");
}

#[test]
fn attempts_are_bounded_and_all_down_may_fail_fast() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let silent = scripted(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        None
    });
    let server = start(&format!(
        ". {{\n forward . {silent} {{\n max_connect_attempts 1\n read_timeout 50ms\n max_fails 1\n \
         health_check 1h no_rec domain health.example\n failfast_all_unhealthy_upstreams\n }}\n}}"
    ));
    assert_eq!(first(&server, "a.org"), "SERVFAIL");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(first(&server, "a.org"), "SERVFAIL");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nobody is asked while all are down");
    let page = start(&format!(". {{\n forward . {silent}\n prometheus 127.0.0.1:0\n}}"));
    assert!(
        get(page.pages[0], "/metrics").1.contains("coredns_forward_max_concurrent_rejects_total")
    );
}

#[test]
fn what_is_stale_is_served_when_upstreams_fail() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = broken.clone();
    let to = scripted(move |question, _| {
        let rcode = if fails.load(Ordering::SeqCst) { Rcode::SERVFAIL } else { Rcode::NOERROR };
        Some(reply(question, rcode, (rcode == Rcode::NOERROR).then_some(1)))
    });
    for mode in ["immediate", "verify", "verify 200ms"] {
        broken.store(false, Ordering::SeqCst);
        let server = start(&format!(
            ". {{\n forward . {to}\n cache {{\n success 100 1 0\n serve_stale 1h {mode}\n servfail 0\n }}\n prometheus 127.0.0.1:0\n}}"
        ));
        assert_eq!(first(&server, "a.org"), "192.0.2.1", "{mode}");
        broken.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1100));
        for _ in 0..3 {
            let answer = ask(server.address, "a.org", Rtype::A);
            assert_eq!(show(&answer), "NOERROR\n= a.org 0 A 192.0.2.1\n", "{mode}");
        }
        let page = get(server.pages[0], "/metrics").1;
        assert!(
            page.contains(
                "coredns_cache_served_stale_total{server=\"dns://:53\",zones=\".\",view=\"\"} 3"
            ),
            "{mode}: {page}"
        );
        broken.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        while !show(&ask(server.address, "a.org", Rtype::A)).contains(" 1 A ") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{mode}: it is fresh again");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn what_is_popular_is_asked_for_before_it_expires() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let to = scripted(move |question, _| {
        let last = count.fetch_add(1, Ordering::SeqCst);
        Some(reply(question, Rcode::NOERROR, Some(last as u8 + 1)))
    });
    let with = |prefetch: &str| {
        start(&format!(
            ". {{\n forward . {to}\n cache {{\n success 100 2 0\n {prefetch}\n }}\n prometheus \
             127.0.0.1:0\n}}"
        ))
    };
    let server = with("prefetch 2 1m 90%");
    assert_eq!(first(&server, "a.org"), "192.0.2.1");
    // The first hit is one too few; the second is answered as before, and somebody asks anew.
    assert_eq!(first(&server, "a.org"), "192.0.2.1");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(first(&server, "a.org"), "192.0.2.1");
    let begun = Instant::now();
    while first(&server, "a.org") == "192.0.2.1" {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is renewed");
        std::thread::sleep(Duration::from_millis(1));
    }
    let page = get(server.pages[0], "/metrics").1;
    let name = "coredns_cache_prefetch_total{server=\"dns://:53\",zones=\".\",view=\"\"} ";
    let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("a counter");
    assert!(line.parse::<u32>().expect("a number") >= 1, "{page}");
    let before = asked.load(Ordering::SeqCst);
    let plain = with("keepttl");
    for _ in 0..5 {
        first(&plain, "b.org");
    }
    assert_eq!(asked.load(Ordering::SeqCst), before + 1, "nobody asked for it");
}

#[test]
fn weights_draw_the_first_address() {
    let directory = tempfile::tempdir().expect("a directory");
    let weights = directory.path().join("weights");
    std::fs::write(&weights, "a.org\n192.0.2.1 1\n192.0.2.2 255\n").expect("written");
    let to = scripted(|question, _| Some(reply_all(question, Rcode::NOERROR, &[1, 2])));
    let file = weights.display();
    let server = start(&format!(
        ". {{\n forward . {to}\n cache 30\n loadbalance weighted {file} {{\n reload 1h\n }}\n}}"
    ));
    let count = |wanted: &str| (0..60).filter(|_| first(&server, "a.org") == wanted).count();
    let heavy = count("192.0.2.2");
    assert!(heavy > 40, "{heavy} of 60");
    // Its changes are heard of.
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&weights, "a.org\n192.0.2.1 255\n192.0.2.2 1\n").expect("written");
    let begun = Instant::now();
    while count("192.0.2.1") < 40 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the file is followed");
    }
}
