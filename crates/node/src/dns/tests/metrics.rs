//! The metrics page beside CoreDNS's: the same names with the same labels and buckets.

use domain::base::iana::{Rcode, Rtype};

use super::harness::*;

/// What CoreDNS 1.13.1 shows for a block with the plugins below once each has been used: the names
/// with their labels, of histograms with their buckets.
///
/// Not there: `coredns_kubernetes_rest_client_*`, which is of Go's client, `coredns_local_*`, which
/// is of a plugin that is none here, and everything under `go_`.
const RECORDED: &str = "
coredns_build_info goversion,revision,version
coredns_cache_entries server,type,view,zones
coredns_cache_hits_total server,type,view,zones
coredns_cache_misses_total server,view,zones
coredns_cache_prefetch_total server,view,zones
coredns_cache_requests_total server,view,zones
coredns_dns_do_requests_total server,view,zone
coredns_dns_request_duration_seconds server,view,zone 0.00025 0.0005 0.001 0.002 0.004 0.008 0.016 \
0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 +Inf
coredns_dns_request_size_bytes proto,server,view,zone 0 100 200 300 400 511 1023 2047 4095 8291 \
16000 32000 48000 64000 +Inf
coredns_dns_requests_total family,proto,server,type,view,zone
coredns_dns_response_size_bytes proto,server,view,zone 0 100 200 300 400 511 1023 2047 4095 8291 \
16000 32000 48000 64000 +Inf
coredns_dns_responses_total plugin,rcode,server,view,zone
coredns_forward_healthcheck_broken_total
coredns_forward_max_concurrent_rejects_total
coredns_health_request_duration_seconds - 0.00025 0.0025 0.025 0.25 2.5 +Inf
coredns_health_request_failures_total
coredns_hosts_entries hostsfile
coredns_hosts_reload_timestamp_seconds
coredns_panics_total
coredns_plugin_enabled name,server,view,zone
coredns_proxy_conn_cache_misses_total proto,proxy_name,to
coredns_proxy_request_duration_seconds proxy_name,rcode,to 0.00025 0.0005 0.001 0.002 0.004 0.008 \
0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 +Inf
coredns_reload_failed_total
process_cpu_seconds_total
process_open_fds
process_resident_memory_bytes
process_start_time_seconds
process_virtual_memory_bytes
";

/// Shown once a pod's change has been timed, or a connection used again (from CoreDNS's source).
const OCCASIONAL: &str = "
coredns_kubernetes_dns_programming_duration_seconds service_kind 0.001 0.002 0.004 0.008 0.016 \
0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 16.384 32.768 65.536 131.072 262.144 524.288 +Inf
coredns_proxy_conn_cache_hits_total proto,proxy_name,to
coredns_proxy_healthcheck_failures_total proxy_name,to
coredns_cache_evictions_total server,type,view,zones
coredns_cache_served_stale_total server,view,zones
coredns_reload_version_info hash,value
";

/// The labels of a series in order, without a histogram's bound, and that bound.
fn labels(series: &str) -> (String, Option<&str>) {
    let inside = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let pairs: Vec<(&str, &str)> = inside
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(name, value)| (name, value.trim_end_matches('"')))
        .collect();
    let bound = pairs.iter().find(|(name, _)| *name == "le").map(|(_, bound)| *bound);
    let mut names: Vec<&str> = pairs.iter().map(|pair| pair.0).filter(|n| *n != "le").collect();
    names.sort_unstable();
    (names.join(","), bound)
}

fn check(page: &str, recorded: &str) {
    for line in recorded.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let name = words.next().expect("a name");
        let wanted = words.next().filter(|word| *word != "-").unwrap_or("");
        let bounds: Vec<&str> = words.collect();
        let parts = if bounds.is_empty() { vec![""] } else { vec!["_bucket", "_sum", "_count"] };
        for part in parts {
            let whole = format!("{name}{part}");
            let of = |line: &&str| line.split(['{', ' ']).next() == Some(&whole);
            let series: Vec<_> = page
                .lines()
                .filter(of)
                .map(|line| labels(line.rsplit_once(' ').expect("a value").0))
                .collect();
            assert!(!series.is_empty(), "{whole} is not there:\n{page}");
            for (found, _) in &series {
                assert_eq!(found, wanted, "{whole}");
            }
            if part == "_bucket" {
                for bound in &bounds {
                    let has = series.iter().any(|(_, found)| *found == Some(bound));
                    assert!(has, "{whole} has no bucket for {bound}");
                }
            }
        }
    }
}

#[test]
fn the_page_has_what_coredns_s_has() {
    let to = scripted(|question, _| {
        let denied = question.windows(4).any(|octets| octets.eq_ignore_ascii_case(b"nope"));
        let rcode = if denied { Rcode::NXDOMAIN } else { Rcode::NOERROR };
        Some(reply(question, rcode, (!denied).then_some(1)))
    });
    let server = start(&format!(
        ".:15353 {{\n errors\n log\n health 127.0.0.1:0\n ready 127.0.0.1:0\n prometheus \
         127.0.0.1:0\n hosts /etc/hosts cluster.hosts {{\n 192.0.2.1 a.cluster.hosts\n }}\n \
         kubernetes cluster.local in-addr.arpa {{\n pods insecure\n }}\n cache 30\n forward . \
         {to} {{\n max_concurrent 1000\n }}\n loop\n reload\n loadbalance\n}}"
    ));
    fill(&server.stores[0]);
    for _ in 0..2 {
        ask(server.address, "www.example.org", Rtype::A);
        ask(server.address, "nope.example.org", Rtype::A);
        ask_tcp(server.address, "a.cluster.hosts", Rtype::A);
        ask(server.address, "x.y.svc.cluster.local", Rtype::A);
    }
    // With the DO bit.
    let mut message = query("www.example.org", Rtype::A, 1232);
    let flags = message.len() - 4;
    message[flags] |= 0x80;
    send(server.address, &message, std::time::Duration::from_secs(8)).expect("an answer");
    // Over TCP the second one finds the connection of the first.
    for name in ["one.example.org", "two.example.org"] {
        ask_tcp(server.address, name, Rtype::A);
    }
    let page = get(server.pages[0], "/metrics").1;
    check(&page, RECORDED);
    check(&page, OCCASIONAL);
    let hit = "coredns_proxy_conn_cache_hits_total{proxy_name=\"forward\",to=\"";
    assert!(page.contains(hit), "{page}");
}
