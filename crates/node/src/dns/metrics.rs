//! Counters under CoreDNS's names, in the Prometheus text format 0.0.4.
//!
//! Labels that every query has are indices into arrays of atomics, so counting costs a handful of
//! nanoseconds; the text is put together when somebody scrapes.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::{Rcode, Transport};

/// A monotonic counter or a gauge.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Request durations in seconds: CoreDNS's buckets, and finer ones below where ours lie.
const SECONDS: &[f64] = &[
    0.00001, 0.00005, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
    0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];
const BYTES: &[f64] = &[
    0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3,
];
/// CoreDNS's: from a millisecond on, doubling, 20 of them.
const PROGRAMMING: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384, 32.768, 65.536, 131.072, 262.144, 524.288,
];

/// CoreDNS's few: from a quarter of a millisecond on, times ten.
const SLIM: &[f64] = &[0.00025, 0.0025, 0.025, 0.25, 2.5];

/// A distribution over fixed buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    buckets: Box<[Count]>,
    /// In millionths, so that it can be an integer.
    sum: Count,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Count::default()).collect();
        Self { bounds, buckets, sum: Count::default() }
    }

    pub(crate) fn seconds() -> Self {
        Self::new(SECONDS)
    }

    /// For what happens rarely and needs no detail.
    pub(crate) fn slim() -> Self {
        Self::new(SLIM)
    }

    pub(crate) fn programming() -> Self {
        Self::new(PROGRAMMING)
    }

    /// Counts `value` `times` over.
    pub(crate) fn observe(&self, value: f64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].add(times);
        self.sum.add((value * 1e6) as u64 * times);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.get() == 0)
    }

    pub(crate) fn write(&self, text: &mut Text, name: &str, labels: &str) {
        let mut total = 0;
        let comma = if labels.is_empty() { "" } else { "," };
        for (bucket, count) in self.buckets.iter().enumerate() {
            total += count.get();
            let bound = match self.bounds.get(bucket) {
                Some(bound) => bound.to_string(),
                None => "+Inf".to_owned(),
            };
            text.line(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), total);
        }
        text.line(&format!("{name}_sum"), labels, self.sum.get() as f64 / 1e6);
        text.line(&format!("{name}_count"), labels, total);
    }
}

/// The record types that are counted apart, as in CoreDNS.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (28, "AAAA"),
    (33, "SRV"),
    (12, "PTR"),
    (5, "CNAME"),
    (16, "TXT"),
    (6, "SOA"),
    (2, "NS"),
    (15, "MX"),
    (43, "DS"),
    (48, "DNSKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (50, "NSEC3"),
    (65, "HTTPS"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (0, "other"),
];

/// Who wrote an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    Nobody,
    Hosts,
    Kubernetes,
    Cache,
    Loop,
    Forward,
    Template,
    File,
    Transfer,
    Acl,
    Any,
    Ratelimit,
}

const AUTHORS: [(Author, &str); 12] = [
    (Author::Nobody, ""),
    (Author::Hosts, "hosts"),
    (Author::Kubernetes, "kubernetes"),
    (Author::Cache, "cache"),
    (Author::Loop, "loop"),
    (Author::Forward, "forward"),
    (Author::Template, "template"),
    (Author::File, "file"),
    (Author::Transfer, "transfer"),
    (Author::Acl, "acl"),
    (Author::Any, "any"),
    (Author::Ratelimit, "ratelimit"),
];

const RCODES: usize = 18;

/// One query, as far as counting goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) transport: Transport,
    pub(crate) peer: IpAddr,
    pub(crate) kind: u16,
    pub(crate) dnssec: bool,
    pub(crate) request_size: usize,
    pub(crate) response_size: usize,
    pub(crate) rcode: Rcode,
    pub(crate) author: Author,
}

/// What is counted for one zone of one server.
#[derive(Debug)]
pub(crate) struct ZoneMetrics {
    labels: String,
    /// By transport, family and type.
    requests: [[[Count; TYPES.len()]; 2]; 2],
    dnssec: Count,
    duration: Histogram,
    request_size: [Histogram; 2],
    response_size: [Histogram; 2],
    responses: [[Count; AUTHORS.len()]; RCODES],
}

const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];

impl ZoneMetrics {
    /// `labels` are those that all series of the zone have: server, zone and view.
    pub(crate) fn new(labels: &str) -> Self {
        let sizes = || [Histogram::new(BYTES), Histogram::new(BYTES)];
        Self {
            labels: labels.to_owned(),
            requests: Default::default(),
            dnssec: Count::default(),
            duration: Histogram::seconds(),
            request_size: sizes(),
            response_size: sizes(),
            responses: Default::default(),
        }
    }

    pub(crate) fn labels(&self) -> &str {
        &self.labels
    }

    pub(crate) fn count(&self, seen: &Seen) {
        let transport = usize::from(seen.transport == Transport::Tcp);
        let family = usize::from(seen.peer.is_ipv6());
        let known = TYPES.iter().position(|(kind, _)| *kind == seen.kind);
        self.requests[transport][family][known.unwrap_or(TYPES.len() - 1)].increment();
        if seen.dnssec {
            self.dnssec.increment();
        }
        self.request_size[transport].observe(seen.request_size as f64, 1);
        self.response_size[transport].observe(seen.response_size as f64, 1);
        let rcode = usize::from(seen.rcode.0).min(RCODES - 1);
        self.responses[rcode][seen.author as usize].increment();
    }

    /// Counts how long `times` queries took, in seconds.
    pub(crate) fn took(&self, seconds: f64, times: u64) {
        self.duration.observe(seconds, times);
    }

    /// Appends every series that has moved.
    pub(crate) fn write_all(all: &[&Self], text: &mut Text) {
        text.head(
            "coredns_dns_requests_total",
            "counter",
            "DNS requests by zone, protocol and family.",
        );
        for zone in all {
            for (t, transport) in TRANSPORTS.iter().enumerate() {
                for (f, family) in FAMILIES.iter().enumerate() {
                    for (k, (_, kind)) in TYPES.iter().enumerate() {
                        let labels = format!(
                            "{},proto=\"{transport}\",family=\"{family}\",type=\"{kind}\"",
                            zone.labels
                        );
                        let count = zone.requests[t][f][k].get();
                        text.moved("coredns_dns_requests_total", &labels, count);
                    }
                }
            }
        }
        text.head("coredns_dns_do_requests_total", "counter", "DNS requests with the DO bit set.");
        for zone in all {
            text.moved("coredns_dns_do_requests_total", &zone.labels, zone.dnssec.get());
        }
        text.head("coredns_dns_responses_total", "counter", "DNS responses by code and plugin.");
        for zone in all {
            for (code, authors) in zone.responses.iter().enumerate() {
                for ((_, author), count) in AUTHORS.iter().zip(authors) {
                    let rcode = Rcode(code as u8).name();
                    let labels = format!("{},rcode=\"{rcode}\",plugin=\"{author}\"", zone.labels);
                    text.moved("coredns_dns_responses_total", &labels, count.get());
                }
            }
        }
        Self::write_histograms(all, text);
    }

    fn write_histograms(all: &[&Self], text: &mut Text) {
        let name = "coredns_dns_request_duration_seconds";
        text.head(name, "histogram", "Time that each request took.");
        for zone in all.iter().filter(|zone| !zone.duration.is_empty()) {
            zone.duration.write(text, name, &zone.labels);
        }
        type Sizes = fn(&ZoneMetrics) -> &[Histogram; 2];
        let sizes: [(&str, &str, Sizes); 2] = [
            ("coredns_dns_request_size_bytes", "Size of the requests.", |zone| &zone.request_size),
            ("coredns_dns_response_size_bytes", "Size of the responses.", |zone| {
                &zone.response_size
            }),
        ];
        for (name, help, of) in sizes {
            text.head(name, "histogram", help);
            for zone in all {
                for (histogram, transport) in of(zone).iter().zip(TRANSPORTS) {
                    if !histogram.is_empty() {
                        let labels = format!("{},proto=\"{transport}\"", zone.labels);
                        histogram.write(text, name, &labels);
                    }
                }
            }
        }
    }
}

/// A metrics page in the making.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(crate) fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    /// A line for a series that exists once it has moved.
    pub(crate) fn moved(&mut self, name: &str, labels: &str, value: u64) {
        if value > 0 {
            self.line(name, labels, value);
        }
    }

    /// A metric with one series.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_in_order() {
        for (index, (author, _)) in AUTHORS.iter().enumerate() {
            assert_eq!(*author as usize, index);
        }
    }

    #[test]
    fn a_page_says_what_was_counted() {
        let at = "server=\"dns://:53\",zone=\".\",view=\"\"";
        let zone = ZoneMetrics::new(at);
        zone.count(&Seen {
            transport: Transport::Udp,
            peer: IpAddr::from([10, 0, 0, 1]),
            kind: 28,
            dnssec: true,
            request_size: 60,
            response_size: 600,
            rcode: Rcode::NXDOMAIN,
            author: Author::Kubernetes,
        });
        zone.took(0.0003, 2);
        let mut text = Text::default();
        ZoneMetrics::write_all(&[&zone], &mut text);
        let page = text.into_string();
        for line in [
            format!(
                "coredns_dns_requests_total{{{at},proto=\"udp\",family=\"1\",type=\"AAAA\"}} 1"
            ),
            format!(
                "coredns_dns_responses_total{{{at},rcode=\"NXDOMAIN\",plugin=\"kubernetes\"}} 1"
            ),
            format!("coredns_dns_request_duration_seconds_bucket{{{at},le=\"0.00025\"}} 0"),
            format!("coredns_dns_request_duration_seconds_bucket{{{at},le=\"0.0005\"}} 2"),
            format!("coredns_dns_request_duration_seconds_count{{{at}}} 2"),
            format!("coredns_dns_request_duration_seconds_sum{{{at}}} 0.0006"),
            format!("coredns_dns_response_size_bytes_bucket{{{at},proto=\"udp\",le=\"1023\"}} 1"),
        ] {
            assert!(page.lines().any(|known| known == line), "{line}\n{page}");
        }
    }
}
