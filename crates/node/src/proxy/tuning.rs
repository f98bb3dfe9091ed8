//! Settings of the kernel's connection tracking, which a proxy makes once, at its start.

use std::time::Duration;

use portolan_linux::sysctl;

/// What is set, as kube-proxy's flags say; `None` and zero leave the kernel's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// At least so many connections can be tracked (`nf_conntrack_max`). Never lowered: what the
    /// machine has more of, somebody wanted.
    pub at_least: u32,
    pub tcp_timeout_established: Duration,
    pub tcp_timeout_close_wait: Duration,
    pub udp_timeout: Duration,
    pub udp_timeout_stream: Duration,
    /// Take TCP packets for valid that are outside of their connection's window.
    pub tcp_be_liberal: bool,
}

/// So many connections share a bucket of the kernel's table when it is full, as with kube-proxy.
const FOR_EACH_BUCKET: u32 = 4;

impl Conntrack {
    /// The kernel's parameters, their values, and whether they are only ever raised.
    fn parameters(&self) -> Vec<(&'static str, u64, bool)> {
        let seconds = |time: Duration| time.as_secs();
        [
            ("nf_conntrack_max", self.at_least.into(), true),
            ("nf_conntrack_buckets", (self.at_least / FOR_EACH_BUCKET).into(), true),
            ("nf_conntrack_tcp_timeout_established", seconds(self.tcp_timeout_established), false),
            ("nf_conntrack_tcp_timeout_close_wait", seconds(self.tcp_timeout_close_wait), false),
            ("nf_conntrack_udp_timeout", seconds(self.udp_timeout), false),
            ("nf_conntrack_udp_timeout_stream", seconds(self.udp_timeout_stream), false),
            ("nf_conntrack_tcp_be_liberal", self.tcp_be_liberal.into(), false),
        ]
        .into_iter()
        .filter(|(_, value, _)| *value > 0)
        .collect()
    }

    /// Sets all that differs. What cannot be set is told, and nothing fails for it.
    pub(super) fn apply(&self) {
        for (name, wanted, only_raised) in self.parameters() {
            let name = format!("net.netfilter.{name}");
            let Some(found) = sysctl::get(&name).ok().and_then(|text| text.parse::<u64>().ok())
            else {
                tracing::debug!(name, "this kernel has no such parameter");
                continue;
            };
            if found == wanted || only_raised && found > wanted {
                continue;
            }
            match sysctl::set(&name, &wanted.to_string()) {
                Ok(()) => tracing::info!(name, value = wanted, before = found, "set"),
                // Some are the machine's, and not to be set from a network namespace of one's own.
                Err(error) => tracing::info!(name, value = wanted, %error, "stays as it is"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_linux::netns::{self, NetNs};

    use super::*;

    #[test]
    fn what_is_asked_for_is_set_in_this_network_namespace() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("netns");
        let netns = NetNs::create(&path).expect("a network namespace");
        let wish = Conntrack {
            // The machine's, which nobody changes from in here.
            at_least: 1 << 30,
            tcp_timeout_established: Duration::from_secs(86_400),
            tcp_timeout_close_wait: Duration::from_secs(3_600),
            udp_timeout_stream: Duration::from_secs(90),
            ..Conntrack::default()
        };
        let of = |name: &str| sysctl::get(&format!("net.netfilter.{name}")).expect("a parameter");
        let names = ["udp_timeout", "tcp_be_liberal"].map(|name| format!("nf_conntrack_{name}"));
        netns
            .run(|| {
                let before = (of("nf_conntrack_max"), names.clone().map(|name| of(&name)));
                wish.apply();
                assert_eq!(of("nf_conntrack_tcp_timeout_established"), "86400");
                assert_eq!(of("nf_conntrack_tcp_timeout_close_wait"), "3600");
                assert_eq!(of("nf_conntrack_udp_timeout_stream"), "90");
                let after = (of("nf_conntrack_max"), names.clone().map(|name| of(&name)));
                assert_eq!(after, before, "what nobody asked for, or may ask for");
            })
            .expect("inside");
        netns::remove(&path).expect("removed");
    }
}
