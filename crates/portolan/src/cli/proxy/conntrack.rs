//! The flags of the kernel's connection tracking, named as kube-proxy's.

use std::time::Duration;

use portolan_node::proxy::Conntrack;

use super::time::time;
use crate::config::kube_proxy::ConntrackFile;

/// How the kernel tracks connections; set once, at the start.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ConntrackArgs {
    /// So many connections can be tracked for each processor, up to 1,048,576 in all; 0 leaves the
    /// limit as it is, and so does a higher limit. [default: 32768]
    #[arg(long, value_name = "COUNT")]
    conntrack_max_per_core: Option<u32>,
    /// But at least so many. [default: 131072]
    #[arg(long, value_name = "COUNT")]
    conntrack_min: Option<u32>,
    /// How long a silent TCP connection is remembered; 0 for the kernel's. [default: 24h]
    #[arg(long, value_name = "TIME")]
    conntrack_tcp_timeout_established: Option<String>,
    /// The same for one whose server has ended it. [default: 1h]
    #[arg(long, value_name = "TIME")]
    conntrack_tcp_timeout_close_wait: Option<String>,
    /// The same for UDP that nobody has answered. [default: the kernel's]
    #[arg(long, value_name = "TIME")]
    conntrack_udp_timeout: Option<String>,
    /// The same for UDP with answers. [default: the kernel's]
    #[arg(long, value_name = "TIME")]
    conntrack_udp_timeout_stream: Option<String>,
    /// Take TCP packets outside of their connection's window for valid.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    conntrack_tcp_be_liberal: Option<bool>,
}

const PER_CORE: u32 = 32 * 1024;
const MIN: u32 = 128 * 1024;
/// More would take much memory on machines with many processors.
const MOST: u32 = 1024 * 1024;
const ESTABLISHED: Duration = Duration::from_secs(24 * 3600);
const CLOSE_WAIT: Duration = Duration::from_secs(3600);

impl ConntrackArgs {
    /// What holds on a machine with so many processors: flags go before the file.
    pub(super) fn join(self, file: ConntrackFile, processors: u32) -> anyhow::Result<Conntrack> {
        let per_core = self.conntrack_max_per_core.or(file.max_per_core).unwrap_or(PER_CORE);
        let min = self.conntrack_min.or(file.min).unwrap_or(MIN);
        let wait = |flag, given: Option<String>, in_file: Option<String>, default| {
            Ok::<_, anyhow::Error>(time(flag, given.or(in_file))?.unwrap_or(default))
        };
        let liberal = self.conntrack_tcp_be_liberal.or(file.tcp_be_liberal);
        Ok(Conntrack {
            at_least: match per_core {
                0 => 0,
                count => count.saturating_mul(processors).max(min).min(MOST.max(min)),
            },
            tcp_timeout_established: wait(
                "--conntrack-tcp-timeout-established",
                self.conntrack_tcp_timeout_established,
                file.tcp_established_timeout,
                ESTABLISHED,
            )?,
            tcp_timeout_close_wait: wait(
                "--conntrack-tcp-timeout-close-wait",
                self.conntrack_tcp_timeout_close_wait,
                file.tcp_close_wait_timeout,
                CLOSE_WAIT,
            )?,
            udp_timeout: wait(
                "--conntrack-udp-timeout",
                self.conntrack_udp_timeout,
                file.udp_timeout,
                Duration::ZERO,
            )?,
            udp_timeout_stream: wait(
                "--conntrack-udp-timeout-stream",
                self.conntrack_udp_timeout_stream,
                file.udp_stream_timeout,
                Duration::ZERO,
            )?,
            tcp_be_liberal: liberal.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_kube_proxys() {
        let of = |processors| {
            ConntrackArgs::default().join(ConntrackFile::default(), processors).expect("defaults")
        };
        assert_eq!(of(2).at_least, MIN);
        assert_eq!(of(16).at_least, 16 * PER_CORE);
        assert_eq!(of(128).at_least, MOST);
        assert_eq!(of(2).tcp_timeout_established, Duration::from_secs(86_400));
        assert_eq!(of(2).udp_timeout, Duration::ZERO);
    }

    #[test]
    fn flags_go_before_the_file() {
        let file = ConntrackFile {
            max_per_core: Some(0),
            tcp_established_timeout: Some("0s".to_owned()),
            udp_timeout: Some("20s".to_owned()),
            ..ConntrackFile::default()
        };
        let from_file = ConntrackArgs::default().join(file.clone(), 2).expect("the file");
        assert_eq!((from_file.at_least, from_file.udp_timeout), (0, Duration::from_secs(20)));
        assert_eq!(from_file.tcp_timeout_established, Duration::ZERO);
        let args = ConntrackArgs {
            conntrack_udp_timeout: Some("1m".to_owned()),
            ..ConntrackArgs::default()
        };
        assert_eq!(args.join(file, 2).expect("both").udp_timeout, Duration::from_secs(60));
        let args = ConntrackArgs {
            conntrack_udp_timeout: Some("soon".to_owned()),
            ..ConntrackArgs::default()
        };
        let error = args.join(ConntrackFile::default(), 2).expect_err("no time");
        assert!(error.to_string().starts_with("--conntrack-udp-timeout soon"), "{error}");
    }
}
