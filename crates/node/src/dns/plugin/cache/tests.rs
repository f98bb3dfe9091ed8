//! The cache with a clock of the test's own.

use std::path::Path;

use portolan_model::names::to_wire;

use super::*;
use crate::dns::corefile::{CorefileError, parse};
use crate::dns::wire::Transport;

fn config(args: &str) -> Result<CacheConfig, CorefileError> {
    let parsed = parse(&format!(". {{\n cache {args}\n}}"), Path::new("."), &|_| None)?;
    let zone = Zone::root();
    let key = crate::dns::config::Key { scheme: crate::dns::config::Scheme::Dns, zone, port: 53 };
    CacheConfig::read(&parsed.blocks[0].directives[0], &[key])
}

fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(to_wire(name).expect("a name"));
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// An answer with one address and this TTL, or a denial.
fn answer(name: &str, ttl: u32, rcode: Rcode) -> Relayed {
    let mut message = question(name);
    message[2] = 0x81;
    message[3] = 0x80 | rcode.0;
    let found = rcode == Rcode::NOERROR;
    let mut ttls = Vec::new();
    if found {
        message[7] = 1;
        message.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01");
        ttls.push(message.len() as u16);
        message.extend_from_slice(&ttl.to_be_bytes());
        message.extend_from_slice(b"\x00\x04\x01\x02\x03\x04");
    }
    Relayed {
        message,
        rcode,
        truncated: false,
        answers: found,
        ttl: found.then_some(ttl),
        negative_ttl: (!found).then_some(ttl),
        ttls,
    }
}

struct Bench {
    cache: Cache,
    begun: Instant,
}

impl Bench {
    fn new(args: &str) -> Self {
        Self { cache: Cache::new(config(args).expect(args)), begun: Instant::now() }
    }

    fn at(&self, second: u64) -> Instant {
        self.begun + Duration::from_secs(second)
    }

    fn store(&self, second: u64, name: &str, relayed: &Relayed) {
        let message = question(name);
        let query = Query::parse(&message, Transport::Udp).expect("a query");
        self.cache.store(&query, relayed, self.at(second));
    }

    /// What is known at a time, with the TTL that is shown.
    fn ask(&self, second: u64, name: &str) -> (Hit, u32) {
        let message = question(name);
        let query = Query::parse(&message, Transport::Udp).expect("a query");
        let mut out = Vec::new();
        let hit = self.cache.answer(&query, self.at(second), &mut out);
        let ttl = out.len().checked_sub(10).and_then(|at| out.get(at..at + 4)?.try_into().ok());
        (hit, ttl.map_or(0, u32::from_be_bytes))
    }

    fn failed(&self, second: u64, name: &str) {
        let message = question(name);
        let query = Query::parse(&message, Transport::Udp).expect("a query");
        self.cache.failed(&query, self.at(second));
    }
}

const DONE: Hit = Hit::Done(Rcode::NOERROR);
const REFRESH: Hit = Hit::Refresh(Rcode::NOERROR);

#[test]
fn entries_age_within_their_limits() {
    let bench = Bench::new("30");
    bench.store(0, "a", &answer("a", 60, Rcode::NOERROR));
    assert_eq!(bench.ask(10, "a"), (DONE, 20));
    assert_eq!(bench.ask(30, "a").0, Hit::Miss);
    bench.store(0, "a", &answer("a", 1, Rcode::NOERROR));
    assert_eq!(bench.ask(4, "a"), (DONE, 1), "five seconds at least");
    let bench = Bench::new("{\n keepttl\n success 100 50 20\n denial 100 7 1\n}");
    bench.store(0, "a", &answer("a", 1, Rcode::NOERROR));
    assert_eq!(bench.ask(15, "a"), (DONE, 20));
    bench.store(0, "b", &answer("b", 100, Rcode::NXDOMAIN));
    assert_eq!(bench.ask(6, "b").0, Hit::Done(Rcode::NXDOMAIN));
    assert_eq!(bench.ask(7, "b").0, Hit::Miss);
    // An answer takes the place of a denial.
    bench.store(8, "b", &answer("b", 30, Rcode::NOERROR));
    assert_eq!(bench.ask(9, "b").0, DONE);
    assert_eq!(bench.ask(9, "c").0, Hit::Miss);
}

#[test]
fn halves_may_be_switched_off_and_failures_last_as_said() {
    let bench = Bench::new("{\n disable success example.org\n disable denial\n servfail 2s\n}");
    bench.store(0, "a.example.org", &answer("a.example.org", 60, Rcode::NOERROR));
    assert_eq!(bench.ask(1, "a.example.org").0, Hit::Miss);
    bench.store(0, "a.net", &answer("a.net", 60, Rcode::NOERROR));
    assert_eq!(bench.ask(1, "a.net").0, DONE);
    bench.store(0, "b.net", &answer("b.net", 60, Rcode::NXDOMAIN));
    assert_eq!(bench.ask(1, "b.net").0, Hit::Miss);
    bench.store(0, "c.net", &answer("c.net", 60, Rcode::SERVFAIL));
    assert_eq!(bench.ask(1, "c.net").0, Hit::Done(Rcode::SERVFAIL));
    assert_eq!(bench.ask(2, "c.net").0, Hit::Miss);
    bench.store(0, "d.net", &answer("d.net", 60, Rcode::REFUSED));
    assert_eq!(bench.ask(1, "d.net").0, Hit::Miss);
    let mut cut = answer("e.net", 60, Rcode::NOERROR);
    cut.truncated = true;
    bench.store(0, "e.net", &cut);
    assert_eq!(bench.ask(1, "e.net").0, Hit::Miss);
}

#[test]
fn what_is_popular_is_asked_anew_once_before_it_expires() {
    let bench = Bench::new("{\n prefetch 2 30s 20%\n}");
    bench.store(0, "a", &answer("a", 100, Rcode::NOERROR));
    assert_eq!(bench.ask(70, "a").0, DONE);
    assert_eq!(bench.ask(75, "a").0, DONE, "there is time");
    assert_eq!(bench.ask(81, "a").0, REFRESH);
    assert_eq!(bench.ask(82, "a").0, DONE, "once");
    bench.store(83, "a", &answer("a", 100, Rcode::NOERROR));
    assert_eq!(bench.ask(84, "a"), (DONE, 99));
    // After a long pause it has to become popular anew.
    assert_eq!(bench.ask(164, "a").0, DONE);
    assert_eq!(bench.ask(165, "a").0, REFRESH);
}

#[test]
fn what_has_expired_is_better_than_nothing() {
    let bench = Bench::new("{\n serve_stale 1h immediate 30s 10s\n}");
    bench.store(0, "a", &answer("a", 60, Rcode::NOERROR));
    assert_eq!(bench.ask(61, "a"), (REFRESH, 30));
    assert_eq!(bench.ask(62, "a").0, DONE, "somebody is asking already");
    bench.failed(63, "a");
    assert_eq!(bench.ask(64, "a").0, DONE, "upstreams are left alone for a while");
    assert_eq!(bench.ask(74, "a").0, REFRESH);
    assert_eq!(bench.ask(3660, "a").0, Hit::Miss);
    let bench = Bench::new("{\n serve_stale 1h verify 100ms\n}");
    bench.store(0, "a", &answer("a", 60, Rcode::NOERROR));
    assert_eq!(bench.ask(61, "a").0, Hit::Miss, "upstreams are asked first");
    let message = question("a");
    let query = Query::parse(&message, Transport::Udp).expect("a query");
    assert_eq!(bench.cache.patience(&query, bench.at(61)), Some(Duration::from_millis(100)));
    let mut out = Vec::new();
    let rcode = bench.cache.answer_stale(&query, bench.at(61), &mut out);
    assert_eq!((rcode, out.is_empty()), (Some(Rcode::NOERROR), false));
    assert_eq!(Bench::new("30").cache.answer_stale(&query, bench.at(61), &mut out), None);
}

#[test]
fn it_is_bounded() {
    let bench = Bench::new("{\n success 320\n}");
    for n in 0..5000 {
        let name = format!("n{n}");
        bench.store(0, &name, &answer(&name, 60, Rcode::NOERROR));
    }
    assert!(bench.cache.success.len() <= 320);
    assert!(bench.cache.success.evictions.get() >= 4680);
}

#[test]
fn mistakes_are_named() {
    for (args, words) in [
        ("0", "TTL"),
        ("30 a..b", "no zone"),
        ("{\n success x\n}", "success takes"),
        ("{\n denial 1 0\n}", "denial takes"),
        ("{\n servfail 6m\n}", "at most 5m"),
        ("{\n disable all\n}", "success or denial"),
        ("{\n prefetch\n}", "prefetch takes"),
        ("{\n prefetch 1 1m 95%\n}", "prefetch takes"),
        ("{\n serve_stale soon\n}", "serve_stale takes"),
        ("{\n serve_stale 1h verify 1s 1.5s\n}", "serve_stale takes"),
        ("{\n keepttl 3\n}", "not supported"),
    ] {
        let error = config(args).expect_err(args);
        assert!(error.to_string().contains(words), "{args}: {error}");
    }
}
