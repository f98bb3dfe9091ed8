//! Sizes, cases, mistakes and hostility.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::harness::*;

const COREFILE: &str = ". {\n kubernetes cluster.local in-addr.arpa {\n pods insecure\n }\n health \
                        127.0.0.1:0\n ready 127.0.0.1:0\n prometheus 127.0.0.1:0\n}";

fn cluster() -> Running {
    let running = start(COREFILE);
    fill(&running.stores[0]);
    running
}

#[test]
fn answers_fit_what_the_client_takes() {
    let server = cluster();
    let name = "crowd.default.svc.cluster.local";
    let ask = |kind, payload| {
        let answer = send(server.address, &query(name, kind, payload), Duration::from_secs(5));
        let answer = answer.expect("an answer");
        let limit = usize::from(payload.max(512));
        assert!(answer.as_slice().len() <= limit, "{} > {limit}", answer.as_slice().len());
        (answer.header().tc(), data(&answer).len())
    };
    assert_eq!(ask(Rtype::A, 0), (true, 28));
    assert_eq!(ask(Rtype::A, 100), (true, 28));
    assert_eq!(ask(Rtype::A, 4096), (false, 100));
    assert!(ask(Rtype::SRV, 1232).0);
    let mut stream = tcp(server.address);
    stream.write_all(&framed(&query(name, Rtype::A, 0))).expect("sent");
    let whole = read_framed(&mut stream);
    assert_eq!((whole.header().tc(), data(&whole).len()), (false, 100));
    stream.write_all(&framed(&query(name, Rtype::SRV, 0))).expect("sent");
    let whole = read_framed(&mut stream);
    assert_eq!((data(&whole).len(), whole.header_counts().arcount()), (100, 100));
}

#[test]
fn additional_records_are_left_out_without_a_word() {
    let server = cluster();
    let name = "_sql._tcp.db.default.svc.cluster.local";
    let full = send(server.address, &query(name, Rtype::SRV, 512), Duration::from_secs(5));
    let full = full.expect("an answer");
    assert!(!full.header().tc());
    assert_eq!(full.header_counts().ancount(), 3);
}

#[test]
fn names_are_answered_as_they_were_spelt() {
    let server = cluster();
    let message = query("wEb.DeFault.sVc.CLUSTER.local", Rtype::A, 0);
    let answer = send(server.address, &message, Duration::from_secs(5)).expect("an answer");
    assert_eq!(answer.as_slice()[12..message.len()], message[12..]);
    assert_eq!(data(&answer), ["10.96.0.80"]);
    let message = query("nOpe.CLUSTER.local", Rtype::A, 0);
    let answer = send(server.address, &message, Duration::from_secs(5)).expect("an answer");
    assert!(show(&answer).contains("! CLUSTER.local"));
}

#[test]
fn pipelined_queries_are_all_answered() {
    let server = cluster();
    let mut stream = tcp(server.address);
    let queries: Vec<_> = (0..200)
        .map(|n| query(&format!("10-0-0-{n}.default.pod.cluster.local"), Rtype::A, 0))
        .collect();
    let bytes: Vec<u8> = queries.iter().flat_map(|query| framed(query)).collect();
    for piece in bytes.chunks(7) {
        stream.write_all(piece).expect("sent");
    }
    for number in 0..200 {
        assert_eq!(data(&read_framed(&mut stream)), [format!("10.0.0.{number}")]);
    }
    // Half closed: what was asked is still answered, then the connection ends.
    stream.write_all(&framed(&queries[0])).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("shut down");
    assert_eq!(data(&read_framed(&mut stream)), ["10.0.0.0"]);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn slow_clients_disturb_nobody() {
    let server = cluster();
    let slow: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = tcp(server.address);
            stream.write_all(&[1, 0, 0]).expect("sent");
            stream
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..50 {
        let name = "web.default.svc.cluster.local";
        assert_eq!(data(&ask(server.address, name, Rtype::A)), ["10.96.0.80"]);
        let mut stream = tcp(server.address);
        stream.write_all(&framed(&query(name, Rtype::A, 0))).expect("sent");
        assert_eq!(data(&read_framed(&mut stream)), ["10.96.0.80"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(slow);
}

#[test]
fn pages_say_how_it_is() {
    let server = start(COREFILE);
    let [page, ..] = server.pages[..] else { panic!("pages") };
    assert_eq!(get(page, "/ready").0, 503);
    fill(&server.stores[0]);
    assert_eq!(get(page, "/ready"), (200, "OK".into()));
    assert_eq!(get(page, "/health"), (200, "OK".into()));
    assert_eq!(get(page, "/nope").0, 404);
    ask(server.address, "web.default.svc.cluster.local", Rtype::A);
    ask(server.address, "nope.default.svc.cluster.local", Rtype::AAAA);
    // Durations are counted once the answer is out.
    let begun = Instant::now();
    let metrics = loop {
        let (status, metrics) = get(page, "/metrics");
        assert_eq!(status, 200);
        let counted = metrics.lines().any(|line| {
            line.starts_with("coredns_dns_request_duration_seconds_count") && line.ends_with(" 2")
        });
        if counted || begun.elapsed() > Duration::from_secs(10) {
            break metrics;
        }
    };
    let at = "server=\"dns://:53\",zone=\".\",view=\"\"";
    for line in [
        format!("coredns_dns_requests_total{{{at},proto=\"udp\",family=\"1\",type=\"A\"}} 1"),
        format!("coredns_dns_requests_total{{{at},proto=\"udp\",family=\"1\",type=\"AAAA\"}} 1"),
        format!("coredns_dns_responses_total{{{at},rcode=\"NXDOMAIN\",plugin=\"kubernetes\"}} 1"),
        format!("coredns_dns_request_duration_seconds_count{{{at}}} 2"),
        format!("coredns_plugin_enabled{{{at},name=\"kubernetes\"}} 1"),
        "coredns_panics_total 0".into(),
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("coredns_build_info{"));
    assert!(metrics.contains("coredns_kubernetes_dns_programming_duration_seconds_bucket"));
}

#[test]
fn durations_belong_to_the_zone_that_answered() {
    let corefile = ". {\n prometheus 127.0.0.1:0\n hosts {\n 192.0.2.1 box.lan\n }\n}\n\
                    lan.test {\n hosts {\n 192.0.2.2 x.lan.test\n }\n}";
    let server = start(corefile);
    ask(server.address, "box.lan", Rtype::A);
    for transport in ["udp", "tcp"] {
        if transport == "udp" {
            ask(server.address, "x.lan.test", Rtype::A);
            continue;
        }
        let mut stream = tcp(server.address);
        let message = framed(&query("x.lan.test", Rtype::A, 0));
        std::io::Write::write_all(&mut stream, &message).expect("sent");
        read_framed(&mut stream);
    }
    let (_, metrics) = get(server.pages[0], "/metrics");
    for (zone, count) in [(".", 1), ("lan.test.", 2)] {
        let at = format!("server=\"dns://:53\",zone=\"{zone}\",view=\"\"");
        let line = format!("coredns_dns_request_duration_seconds_count{{{at}}} {count}");
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
}

#[test]
fn what_is_for_no_zone_is_counted_as_dropped() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = free.local_addr().expect("an address");
    drop(free);
    let port = address.port();
    let server = start(&format!(
        "lan.test:{port} {{\n prometheus 127.0.0.1:0\n hosts {{\n 192.0.2.2 x.lan.test\n }}\n}}"
    ));
    assert_eq!(ask(address, "www.example.org", Rtype::A).header().rcode().to_int(), 5);
    let (_, metrics) = get(server.pages[0], "/metrics");
    let found = metrics.lines().any(|line| {
        line.starts_with("coredns_dns_responses_total{")
            && line.contains("zone=\"dropped\"")
            && line.ends_with("rcode=\"REFUSED\",plugin=\"\"} 1")
    });
    assert!(found, "{metrics}");
    for name in [
        "coredns_reload_version_info{hash=\"sha512\",value=\"",
        "coredns_health_request_failures_total 0",
    ] {
        assert!(metrics.contains(name), "{name}\n{metrics}");
    }
}

#[test]
fn garbage_leaves_the_service_undisturbed() {
    let server = cluster();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let good = query("web.default.svc.cluster.local", Rtype::A, 1232);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let bytes = prop::collection::vec(any::<u8>(), 0..100);
    for round in 0..2000 {
        let garbage = bytes.new_tree(&mut runner).expect("garbage").current();
        let mut message = if round % 2 == 0 { garbage.clone() } else { good.clone() };
        for (index, octet) in garbage.iter().take(3).enumerate() {
            let length = message.len();
            message[(usize::from(*octet) * (index + 1)) % length] ^= octet.rotate_left(3);
        }
        socket.send_to(&message, server.address).expect("sent");
    }
    assert_eq!(
        data(&ask(server.address, "web.default.svc.cluster.local", Rtype::A)),
        ["10.96.0.80"]
    );
    assert!(get(server.pages[0], "/metrics").1.contains("coredns_panics_total 0"));
}

#[test]
fn dig_agrees() {
    if std::process::Command::new("dig").arg("-v").output().is_err() {
        eprintln!("skipped: dig is not installed");
        return;
    }
    let server = cluster();
    let dig = |args: &[&str]| {
        let output = std::process::Command::new("dig")
            .args(["@127.0.0.1", "-p", &server.address.port().to_string()])
            .args(["+time=2", "+tries=1"])
            .args(args)
            .output()
            .expect("dig");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(dig(&["+short", "web.default.svc.cluster.local"]), "10.96.0.80\n");
    assert_eq!(dig(&["+short", "-x", "10.96.0.80"]), "web.default.svc.cluster.local.\n");
    assert_eq!(dig(&["+short", "crowd.default.svc.cluster.local"]).lines().count(), 100);
    let plain = dig(&["+noedns", "+ignore", "crowd.default.svc.cluster.local"]);
    assert!(plain.contains("qr aa tc rd"), "{plain}");
    assert!(dig(&["+opcode=notify", "cluster.local"]).contains("NOTIMP"));
    assert!(dig(&["+edns=1", "+noednsneg", "cluster.local"]).contains("BADVERS"));
    assert!(dig(&["-c", "CH", "cluster.local"]).contains("REFUSED"));
}
