//! `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1), the file of `proxy --config`.
//!
//! Fields that this version does not act on are accepted only where ignoring them changes no
//! packet; the rest is refused with the field's name. Specification:
//! <https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/>.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The parts of the file that Portolan acts on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KubeProxyConfiguration {
    api_version: String,
    kind: String,
    pub mode: Option<String>,
    #[serde(rename = "clusterCIDR")]
    pub cluster_cidr: Option<String>,
    pub hostname_override: Option<String>,
    pub oom_score_adj: Option<i32>,
    pub node_port_addresses: Option<Vec<String>>,
    pub metrics_bind_address: Option<String>,
    pub healthz_bind_address: Option<String>,
    pub client_connection: ClientConnection,
    pub conntrack: ConntrackFile,
    pub nftables: NfTables,
    pub iptables: IpTables,
    pub ipvs: Ipvs,
    // Accepted without effect: they tune what Portolan does by itself, or belong to modes that are
    // refused anyway.
    #[serde(rename = "bindAddress")]
    _bind_address: Ignored,
    #[serde(rename = "bindAddressHardFail")]
    _bind_address_hard_fail: Ignored,
    #[serde(rename = "configSyncPeriod")]
    _config_sync_period: Ignored,
    #[serde(rename = "detectLocal")]
    _detect_local: Ignored,
    #[serde(rename = "detectLocalMode")]
    pub detect_local_mode: Option<String>,
    #[serde(rename = "enableProfiling")]
    _enable_profiling: Ignored,
    #[serde(rename = "featureGates")]
    _feature_gates: Ignored,
    #[serde(rename = "logging")]
    _logging: Ignored,
    #[serde(rename = "portRange")]
    _port_range: Ignored,
    #[serde(rename = "showHiddenMetricsForVersion")]
    _show_hidden_metrics: Ignored,
    #[serde(rename = "winkernel")]
    _winkernel: Ignored,
    #[serde(rename = "windowsRunAsService")]
    _windows_run_as_service: Ignored,
}

/// Any value, not kept.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConnection {
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NfTables {
    #[serde(rename = "masqueradeAll")]
    pub masquerade_all: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpTables {
    #[serde(rename = "masqueradeAll")]
    pub masquerade_all: Option<bool>,
    pub localhost_node_ports: Option<bool>,
    /// 0 to 31.
    #[serde(rename = "masqueradeBit")]
    pub masquerade_bit: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConntrackFile {
    pub max_per_core: Option<u32>,
    pub min: Option<u32>,
    pub tcp_established_timeout: Option<String>,
    pub tcp_close_wait_timeout: Option<String>,
    pub tcp_be_liberal: Option<bool>,
    pub udp_timeout: Option<String>,
    pub udp_stream_timeout: Option<String>,
}

/// `syncPeriod` and `minSyncPeriod` are accepted without effect: changes are made at once.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipvs {
    pub scheduler: Option<String>,
    #[serde(rename = "excludeCIDRs")]
    pub exclude_cidrs: Option<Vec<String>>,
    #[serde(rename = "strictARP")]
    pub strict_arp: Option<bool>,
    pub tcp_timeout: Option<String>,
    pub tcp_fin_timeout: Option<String>,
    pub udp_timeout: Option<String>,
}

/// Reads the file.
pub fn read(path: &Path) -> anyhow::Result<KubeProxyConfiguration> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    parse(&text).with_context(|| format!("configuration file {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<KubeProxyConfiguration> {
    let config: KubeProxyConfiguration = serde_saphyr::from_str(text)
        .context("not a KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1")?;
    if config.kind != "KubeProxyConfiguration" {
        bail!("kind is {:?}; it must be KubeProxyConfiguration", config.kind);
    }
    if config.api_version != "kubeproxy.config.k8s.io/v1alpha1" {
        bail!(
            "apiVersion is {:?}; it must be kubeproxy.config.k8s.io/v1alpha1",
            config.api_version
        );
    }
    if let Some(mode) = &config.detect_local_mode {
        mode.parse::<DetectLocalMode>().context("detectLocalMode")?;
    }
    Ok(config)
}

/// How pods of this node are told from others (`detectLocalMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetectLocalMode {
    /// By the range of all pods' addresses.
    #[default]
    ClusterCidr,
    /// By the `podCIDRs` of the Node object.
    NodeCidr,
}

impl std::str::FromStr for DetectLocalMode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "ClusterCIDR" => Ok(Self::ClusterCidr),
            "NodeCIDR" => Ok(Self::NodeCidr),
            other => {
                bail!("{other} is not supported; use ClusterCIDR with clusterCIDR set, or NodeCIDR")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubeadm_writes() {
        let config = parse(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
             kind: KubeProxyConfiguration\n\
             bindAddress: 0.0.0.0\n\
             clientConnection:\n  acceptContentTypes: \"\"\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n\
             clusterCIDR: 10.244.0.0/16\n\
             conntrack:\n  maxPerCore: null\n  min: 65536\n  tcpEstablishedTimeout: 2h\n  udpTimeout: 0s\n\
             detectLocalMode: NodeCIDR\n\
             oomScoreAdj: null\n\
             healthzBindAddress: \"\"\n\
             iptables:\n  masqueradeAll: false\n  masqueradeBit: 7\n  minSyncPeriod: 1s\n\
             metricsBindAddress: \"\"\n\
             ipvs:\n  excludeCIDRs: null\n  minSyncPeriod: 0s\n  scheduler: lc\n  strictARP: true\n  tcpTimeout: 15m0s\n\
             mode: nftables\n\
             nftables:\n  masqueradeAll: true\n\
             nodePortAddresses: null\n",
        )
        .expect("the file");
        assert_eq!(config.mode.as_deref(), Some("nftables"));
        assert_eq!(config.cluster_cidr.as_deref(), Some("10.244.0.0/16"));
        assert_eq!(config.nftables.masquerade_all, Some(true));
        assert_eq!((config.conntrack.max_per_core, config.conntrack.min), (None, Some(65_536)));
        assert_eq!(config.conntrack.tcp_established_timeout.as_deref(), Some("2h"));
        assert_eq!(config.iptables.masquerade_all, Some(false));
        assert_eq!(config.iptables.masquerade_bit, Some(7));
        assert_eq!(config.ipvs.scheduler.as_deref(), Some("lc"));
        assert_eq!(config.ipvs.tcp_timeout.as_deref(), Some("15m0s"));
        assert_eq!((config.ipvs.strict_arp, config.ipvs.exclude_cidrs), (Some(true), None));
        assert_eq!(
            config.client_connection.kubeconfig.as_deref(),
            Some(Path::new("/var/lib/kube-proxy/kubeconfig.conf"))
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let error = parse("kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nmod: nftables\n")
            .expect_err("unknown field");
        assert!(format!("{error:#}").contains("mod"), "{error:#}");
        let error = parse("kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\ndetectLocalMode: BridgeInterface\n")
            .expect_err("another way");
        let error = format!("{error:#}");
        assert!(error.contains("detectLocalMode: BridgeInterface"), "{error}");
        let error = parse("kind: Config\napiVersion: v1\n").expect_err("another kind");
        assert!(format!("{error:#}").contains("KubeProxyConfiguration"), "{error:#}");
    }
}
