//! The flags of mode `ipvs`, named as kube-proxy's.

use anyhow::{Context, bail};
use ipnet::IpNet;
use portolan_node::proxy::datapath::ipvs::{SCHEDULERS, Settings};

use super::time::time;
use crate::config::kube_proxy::Ipvs;

/// How mode ipvs works.
#[derive(Debug, Default, clap::Args)]
pub(super) struct IpvsArgs {
    /// Mode ipvs: who gets the next connection, as ipvsadm(8) names it: rr, wrr, lc, wlc, sh, mh, …
    /// [default: rr]
    #[arg(long, value_name = "NAME")]
    ipvs_scheduler: Option<String>,
    /// Mode ipvs: networks in which virtual servers of others are left alone.
    #[arg(long, value_name = "RANGE,…", value_delimiter = ',')]
    ipvs_exclude_cidrs: Vec<String>,
    /// Mode ipvs: links do not answer for Services' addresses.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    ipvs_strict_arp: Option<bool>,
    /// Mode ipvs: how long a silent TCP connection is remembered, such as 15m; 0 for the kernel's.
    #[arg(long, value_name = "TIME")]
    ipvs_tcp_timeout: Option<String>,
    /// The same for a TCP connection of which one side has ended.
    #[arg(long, value_name = "TIME")]
    ipvs_tcpfin_timeout: Option<String>,
    /// The same for UDP.
    #[arg(long, value_name = "TIME")]
    ipvs_udp_timeout: Option<String>,
    /// Accepted without effect: changes are made at once.
    #[arg(long, value_name = "TIME", hide = true)]
    ipvs_min_sync_period: Option<String>,
    /// Accepted without effect: what others change is noticed within seconds.
    #[arg(long, value_name = "TIME", hide = true)]
    ipvs_sync_period: Option<String>,
}

impl IpvsArgs {
    /// What holds: flags go before the file.
    pub(super) fn join(self, file: Ipvs) -> anyhow::Result<Settings> {
        for (flag, ignored) in [
            ("--ipvs-min-sync-period", self.ipvs_min_sync_period),
            ("--ipvs-sync-period", self.ipvs_sync_period),
        ] {
            time(flag, ignored)?;
        }
        let named = self.ipvs_scheduler.or(file.scheduler).filter(|name| !name.is_empty());
        let scheduler = named.unwrap_or_else(|| SCHEDULERS[0].to_owned());
        if !SCHEDULERS.contains(&scheduler.as_str()) {
            bail!(
                "--ipvs-scheduler {scheduler}: there is no such scheduler; known are {}",
                SCHEDULERS.join(", ")
            );
        }
        let exclude = match self.ipvs_exclude_cidrs {
            given if !given.is_empty() => given,
            _ => file.exclude_cidrs.unwrap_or_default(),
        };
        let range = |text: &String| {
            text.parse::<IpNet>().with_context(|| {
                format!("--ipvs-exclude-cidrs {text}: give address ranges such as 10.0.0.0/8")
            })
        };
        Ok(Settings {
            scheduler,
            exclude: exclude.iter().map(range).collect::<Result<_, _>>()?,
            strict_arp: self.ipvs_strict_arp.or(file.strict_arp).unwrap_or(false),
            tcp_timeout: time("--ipvs-tcp-timeout", self.ipvs_tcp_timeout.or(file.tcp_timeout))?
                .unwrap_or_default(),
            tcp_fin_timeout: time(
                "--ipvs-tcpfin-timeout",
                self.ipvs_tcpfin_timeout.or(file.tcp_fin_timeout),
            )?
            .unwrap_or_default(),
            udp_timeout: time("--ipvs-udp-timeout", self.ipvs_udp_timeout.or(file.udp_timeout))?
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn flags_go_before_the_file_and_the_rest_is_kube_proxys() {
        assert_eq!(
            IpvsArgs::default().join(Ipvs::default()).expect("defaults"),
            Settings::default()
        );
        let file = Ipvs {
            scheduler: Some("lc".to_owned()),
            exclude_cidrs: Some(vec!["10.1.0.0/16".to_owned()]),
            tcp_timeout: Some("15m0s".to_owned()),
            ..Ipvs::default()
        };
        let settings = IpvsArgs::default().join(file.clone()).expect("the file");
        assert_eq!(settings.scheduler, "lc");
        assert_eq!(settings.exclude[0].to_string(), "10.1.0.0/16");
        assert_eq!(settings.tcp_timeout, Duration::from_secs(900));
        let args = IpvsArgs { ipvs_scheduler: Some("mh".to_owned()), ..IpvsArgs::default() };
        assert_eq!(args.join(file).expect("both").scheduler, "mh");
    }

    #[test]
    fn what_is_wrong_names_its_flag() {
        let scheduler = IpvsArgs { ipvs_scheduler: Some("best".to_owned()), ..IpvsArgs::default() };
        let ranges =
            IpvsArgs { ipvs_exclude_cidrs: vec!["here".to_owned()], ..IpvsArgs::default() };
        let wait = IpvsArgs { ipvs_udp_timeout: Some("soon".to_owned()), ..IpvsArgs::default() };
        for (args, flag) in [
            (scheduler, "--ipvs-scheduler best"),
            (ranges, "--ipvs-exclude-cidrs here"),
            (wait, "--ipvs-udp-timeout soon"),
        ] {
            let error = args.join(Ipvs::default()).expect_err(flag);
            assert!(error.to_string().starts_with(flag), "{error}");
        }
    }
}
