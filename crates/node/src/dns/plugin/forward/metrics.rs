//! What is counted of upstreams.

use super::Forward;
use super::connection::Connections;
use crate::dns::metrics::{Count, Text};
use crate::dns::wire::Rcode;

impl Forward {
    /// Appends the metrics of all `forwards`.
    pub(crate) fn write(forwards: &[&Self], text: &mut Text) {
        let sum = |of: fn(&Self) -> u64| forwards.iter().map(|forward| of(forward)).sum();
        text.single(
            "coredns_forward_max_concurrent_rejects_total",
            "counter",
            "Queries rejected because too many were waiting.",
            sum(|forward| forward.rejects.get()),
        );
        text.single(
            "coredns_forward_healthcheck_broken_total",
            "counter",
            "Times that all upstreams were down.",
            sum(|forward| forward.all_down.get()),
        );
        let upstreams = || forwards.iter().flat_map(|forward| &forward.upstreams);
        let name = "coredns_proxy_healthcheck_failures_total";
        text.head(name, "counter", "Failed health checks.");
        for upstream in upstreams() {
            let labels = format!("proxy_name=\"forward\",to=\"{}\"", upstream.endpoint.address);
            text.line(name, &labels, upstream.probe_failures.get());
        }
        let name = "coredns_proxy_request_duration_seconds";
        text.head(name, "histogram", "Time that each upstream took, by the code it answered with.");
        for upstream in upstreams() {
            for (code, duration) in upstream.durations.iter().enumerate() {
                if duration.is_empty() {
                    continue;
                }
                let (to, rcode) = (upstream.endpoint.address, Rcode(code as u8).name());
                let labels = format!("proxy_name=\"forward\",to=\"{to}\",rcode=\"{rcode}\"");
                duration.write(text, name, &labels);
            }
        }
        type Of = fn(&Connections) -> &Count;
        let series: [(&str, &str, Of); 2] = [
            ("coredns_proxy_conn_cache_hits_total", "Connections used again.", |of| &of.kept),
            ("coredns_proxy_conn_cache_misses_total", "Connections made.", |of| &of.made),
        ];
        for (name, help, of) in series {
            text.head(name, "counter", help);
            for upstream in upstreams() {
                for (proto, connections) in upstream.endpoint.connections() {
                    let to = upstream.endpoint.address;
                    let labels = format!("proxy_name=\"forward\",to=\"{to}\",proto=\"{proto}\"");
                    text.moved(name, &labels, of(connections).get());
                }
            }
        }
    }
}
