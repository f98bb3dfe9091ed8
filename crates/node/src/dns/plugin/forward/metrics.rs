//! What is counted of upstreams.

use super::Forward;
use crate::dns::metrics::Text;
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
        text.head(name, "histogram", "Time that each upstream took.");
        for upstream in upstreams() {
            let labels = format!("proxy_name=\"forward\",to=\"{}\"", upstream.endpoint.address);
            upstream.duration.write(text, name, &labels);
        }
        let name = "coredns_forward_responses_total";
        text.head(name, "counter", "Responses of upstreams by code.");
        for upstream in upstreams() {
            for (code, count) in upstream.by_rcode.iter().enumerate() {
                if count.get() > 0 {
                    let rcode = Rcode(code as u8).name();
                    let labels = format!("to=\"{}\",rcode=\"{rcode}\"", upstream.endpoint.address);
                    text.line(name, &labels, count.get());
                }
            }
        }
    }
}
