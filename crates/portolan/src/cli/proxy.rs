mod conntrack;
mod ignored;
mod ipvs;
mod time;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use portolan_linux::{cgroup, process};
use portolan_model::node_view::NodePortAddresses;
use portolan_node::proxy::Conntrack;
use portolan_node::proxy::datapath::Host;

use crate::config::kube_proxy::{self, DetectLocalMode, KubeProxyConfiguration};
use crate::config::kubeconfig;
use crate::config::proxy_mode::ProxyMode;
use crate::config::range::Ranges;
use crate::runtime;

/// Runs the node proxy alone, against any Kubernetes API server
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// A KubeProxyConfiguration; flags given besides it go before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to reach the API server. [default: the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// This node's name. [default: the host name]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// How Services' packets are carried: ebpf, nftables, iptables, ipvs, userspace, or auto for the best there is. [default: auto]
    #[arg(long, value_name = "MODE")]
    proxy_mode: Option<ProxyMode>,
    /// Range of the pods' addresses, one per family: what comes from elsewhere is masqueraded.
    #[arg(long, value_name = "RANGE[,RANGE]")]
    cluster_cidr: Option<Ranges>,
    /// How pods of this node are known: ClusterCIDR by --cluster-cidr, NodeCIDR by the podCIDRs of
    /// the Node object. [default: ClusterCIDR]
    #[arg(long, value_name = "MODE")]
    detect_local_mode: Option<DetectLocalMode>,
    /// Where node ports answer: ranges, or `primary`. [default: every address of the node]
    #[arg(long, value_name = "RANGE,…", value_delimiter = ',')]
    nodeport_addresses: Vec<String>,
    /// Masquerade all traffic to Services' addresses.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    masquerade_all: Option<bool>,
    /// Whether node ports answer on 127.0.0.1, where the mode can do that. [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    iptables_localhost_nodeports: Option<bool>,
    /// The bit of packets' marks that mode iptables uses, 0 to 31. [default: 14]
    #[arg(long, value_name = "BIT", value_parser = clap::value_parser!(u8).range(0..32))]
    iptables_masquerade_bit: Option<u8>,
    /// Masquerade what pods send out of the cluster; for networks where nobody else does.
    #[arg(long)]
    masquerade_egress: bool,
    /// Where metrics are served. [default: 127.0.0.1:10249]
    #[arg(long, value_name = "IP:PORT")]
    metrics_bind_address: Option<String>,
    /// Where health is served. [default: 0.0.0.0:10256]
    #[arg(long, value_name = "IP:PORT")]
    healthz_bind_address: Option<String>,
    /// The address of the API server, in place of the kubeconfig's.
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    /// How readily the kernel ends this process when memory runs out, -1000 to 1000. [default: -999]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
    /// Remove what the proxy, in whichever mode, put into the kernel, and exit.
    #[arg(long)]
    cleanup: bool,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    conntrack: conntrack::ConntrackArgs,
    #[command(flatten)]
    ipvs: ipvs::IpvsArgs,
    #[command(flatten)]
    _ignored: ignored::IgnoredArgs,
}

/// Which part of the machine is this node's, for mode ebpf.
#[derive(Debug, Default, clap::Args)]
struct HostArgs {
    /// The cgroup of this node's processes, pods and all: a directory, or a path below the root of
    /// the cgroup2 hierarchy. [default: the root]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Processes of other nodes are in that cgroup too, as they are in the root: only those count
    /// whose network namespace is linked to this one.
    #[arg(long)]
    shared_cgroup: bool,
    /// A directory in a BPF file system; one is mounted there if it is not. [default: the
    /// machine's, else /run/portolan-bpf]
    #[arg(long, value_name = "DIRECTORY")]
    bpf_dir: Option<PathBuf>,
}

impl HostArgs {
    fn host(&self) -> anyhow::Result<Host> {
        let whole = |path: &PathBuf| -> anyhow::Result<PathBuf> {
            Ok(if path.is_absolute() { path.clone() } else { cgroup::root()?.join(path) })
        };
        let cgroup = self.cgroup.as_ref().map(whole).transpose().context("--cgroup")?;
        Ok(Host {
            cgroup,
            shared: self.shared_cgroup,
            bpf: self.bpf_dir.clone(),
            ..Host::default()
        })
    }
}

/// What runs, after flags and file are joined.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    kubeconfig: Option<PathBuf>,
    master: Option<String>,
    node_name: String,
    mode: ProxyMode,
    cluster_cidrs: Vec<ipnet::IpNet>,
    detect_local_mode: DetectLocalMode,
    nodeport_addresses: NodePortAddresses,
    localhost_node_ports: bool,
    oom_score_adj: i32,
    conntrack: Conntrack,
    masquerade_all: bool,
    masquerade_bit: Option<u8>,
    masquerade_egress: bool,
    metrics: SocketAddr,
    healthz: SocketAddr,
    ipvs: portolan_node::proxy::datapath::ipvs::Settings,
}

/// What kube-proxy asks for: to be among the last.
const OOM_SCORE: i32 = -999;

fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

fn join(args: Args, file: KubeProxyConfiguration, host: &str) -> anyhow::Result<Settings> {
    let parse_mode = |text: String| text.parse::<ProxyMode>().context("mode");
    let mode = match (args.proxy_mode, file.mode) {
        (Some(mode), _) => mode,
        (None, text) => parse_mode(text.unwrap_or_default())?,
    };
    let ranges = match (args.cluster_cidr, file.cluster_cidr.filter(|text| !text.is_empty())) {
        (Some(ranges), _) => ranges.0,
        (None, Some(text)) => text.parse::<Ranges>().context("clusterCIDR")?.0,
        (None, None) => Vec::new(),
    };
    let nodeport_addresses = match args.nodeport_addresses {
        given if !given.is_empty() => given,
        _ => file.node_port_addresses.unwrap_or_default(),
    };
    let nodeport_addresses = node_port_addresses(&nodeport_addresses)?;
    let masquerade_bit = args.iptables_masquerade_bit.or(file.iptables.masquerade_bit);
    if let Some(bit) = masquerade_bit.filter(|bit| *bit > 31) {
        bail!("iptables.masqueradeBit: {bit} is no bit of a mark; give 0 to 31");
    }
    let detect_local_mode = match (args.detect_local_mode, file.detect_local_mode) {
        (Some(mode), _) => mode,
        (None, text) => text.unwrap_or_default().parse().context("detectLocalMode")?,
    };
    let localhost = args.iptables_localhost_nodeports.or(file.iptables.localhost_node_ports);
    // The file has it once for each mode.
    let in_file = match mode {
        ProxyMode::Iptables => file.iptables.masquerade_all,
        _ => file.nftables.masquerade_all,
    };
    let named = args.hostname_override.or(file.hostname_override).filter(|name| !name.is_empty());
    Ok(Settings {
        kubeconfig: args
            .kubeconfig
            .or(file.client_connection.kubeconfig)
            .filter(|path| !path.as_os_str().is_empty()),
        master: args.master.filter(|url| !url.is_empty()),
        node_name: named.unwrap_or_else(|| host.to_owned()).trim().to_lowercase(),
        mode,
        cluster_cidrs: ranges,
        detect_local_mode,
        nodeport_addresses,
        localhost_node_ports: localhost.unwrap_or(true),
        oom_score_adj: args.oom_score_adj.or(file.oom_score_adj).unwrap_or(OOM_SCORE),
        conntrack: args.conntrack.join(file.conntrack, processors())?,
        masquerade_egress: args.masquerade_egress,
        masquerade_all: args.masquerade_all.or(in_file).unwrap_or(false),
        masquerade_bit,
        metrics: address(
            "metrics-bind-address",
            args.metrics_bind_address.or(file.metrics_bind_address),
            10249,
            "127.0.0.1:10249",
        )?,
        healthz: address(
            "healthz-bind-address",
            args.healthz_bind_address.or(file.healthz_bind_address),
            10256,
            "0.0.0.0:10256",
        )?,
        ipvs: args.ipvs.join(file.ipvs)?,
    })
}

/// `--nodeport-addresses`: ranges, or `primary` alone; nothing for every address.
fn node_port_addresses(words: &[String]) -> anyhow::Result<NodePortAddresses> {
    match words {
        [] => return Ok(NodePortAddresses::All),
        [word] if word == "primary" => return Ok(NodePortAddresses::Primary),
        _ => {}
    }
    let range = |text: &String| {
        text.parse().with_context(|| {
            format!(
                "--nodeport-addresses {text}: give address ranges such as 10.0.0.0/8, or primary alone"
            )
        })
    };
    Ok(NodePortAddresses::Within(words.iter().map(range).collect::<Result<_, _>>()?))
}

/// `IP:PORT`, or an IP alone with the usual port.
fn address(
    flag: &str,
    text: Option<String>,
    port: u16,
    default: &str,
) -> anyhow::Result<SocketAddr> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned());
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    text.parse().with_context(|| format!("--{flag} {text}: give IP:PORT, for example {default}"))
}

/// The networks of this node's pods, once its Node object has them.
async fn node_cidrs(client: &Client, name: &str) -> Vec<ipnet::IpNet> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut told = false;
    loop {
        let found = nodes.get_opt(name).await;
        let spec = found.as_ref().ok().and_then(|node| node.as_ref()?.spec.as_ref());
        let cidrs = spec.and_then(|spec| spec.pod_cidrs.as_ref()).into_iter().flatten();
        let cidrs: Vec<ipnet::IpNet> = cidrs.filter_map(|text| text.parse().ok()).collect();
        if !cidrs.is_empty() {
            tracing::info!(?cidrs, "the networks of this node's pods");
            return cidrs;
        }
        if !std::mem::replace(&mut told, true) {
            let problem = found.err().map(|error| error.to_string());
            tracing::warn!(node = name, problem, "the Node has no podCIDRs yet; waiting for them");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.cleanup {
        crate::lab::requirements::root("proxy")?;
        return Ok(portolan_node::proxy::cleanup(&args.host.host()?)?);
    }
    let file = args.config.as_deref().map(kube_proxy::read).transpose()?.unwrap_or_default();
    let part = args.host.host()?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let settings = join(args, file, &host)?;
    // Relays serve node ports without any privilege, and say what they cannot do.
    if settings.mode != ProxyMode::Userspace {
        crate::lab::requirements::root("proxy")?;
    }
    process::spare_from_oom(settings.oom_score_adj);
    runtime::small()?.block_on(async {
        let stop = runtime::stop_on_signal()?;
        let master = settings.master.as_deref();
        let client = kubeconfig::client_of(settings.kubeconfig.as_deref(), master).await?;
        let cluster_cidrs = match settings.detect_local_mode {
            DetectLocalMode::ClusterCidr => settings.cluster_cidrs,
            DetectLocalMode::NodeCidr => {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    cidrs = node_cidrs(&client, &settings.node_name) => cidrs,
                }
            }
        };
        let config = portolan_node::proxy::ProxyConfig {
            node_name: settings.node_name,
            mode: settings.mode.to_string(),
            cluster_cidrs,
            nodeport_addresses: settings.nodeport_addresses,
            localhost_node_ports: settings.localhost_node_ports,
            conntrack: settings.conntrack,
            masquerade_all: settings.masquerade_all,
            masquerade_egress: settings.masquerade_egress,
            metrics_bind_address: Some(settings.metrics),
            healthz_bind_address: Some(settings.healthz),
            host: Host { masquerade_bit: settings.masquerade_bit, ipvs: settings.ipvs, ..part },
            ..portolan_node::proxy::ProxyConfig::default()
        };
        Ok(portolan_node::proxy::run(client, config, stop).await?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kube_proxys() {
        let settings = join(Args::default(), KubeProxyConfiguration::default(), "Node-A")
            .expect("the defaults");
        assert_eq!(settings.node_name, "node-a");
        assert_eq!(settings.metrics.to_string(), "127.0.0.1:10249");
        assert_eq!(settings.healthz.to_string(), "0.0.0.0:10256");
        assert_eq!(settings.mode, ProxyMode::Auto);
    }

    #[test]
    fn flags_go_before_the_file() {
        let mut file = KubeProxyConfiguration::default();
        file.mode = Some("ipvs".to_owned());
        file.cluster_cidr = Some("10.1.0.0/16".to_owned());
        let args = Args { proxy_mode: Some(ProxyMode::Nftables), ..Args::default() };
        let settings = join(args, file.clone(), "n").expect("the flag decides");
        assert_eq!(settings.mode, ProxyMode::Nftables);
        assert_eq!(settings.cluster_cidrs[0].to_string(), "10.1.0.0/16");
        let settings = join(Args::default(), file, "n").expect("the file decides");
        assert_eq!(settings.mode, ProxyMode::Ipvs);
    }

    #[test]
    fn what_modes_have_of_their_own_is_told_apart() {
        let mut file = KubeProxyConfiguration::default();
        file.iptables.masquerade_all = Some(true);
        file.iptables.masquerade_bit = Some(9);
        let of = |mode, file| join(Args { proxy_mode: Some(mode), ..Args::default() }, file, "n");
        let classic = of(ProxyMode::Iptables, file.clone()).expect("the file");
        assert_eq!((classic.masquerade_all, classic.masquerade_bit), (true, Some(9)));
        let other = of(ProxyMode::Nftables, file.clone()).expect("the file");
        assert!(!other.masquerade_all, "that was said of another mode");
        file.iptables.masquerade_bit = Some(32);
        let error = of(ProxyMode::Iptables, file).expect_err("no such bit");
        assert!(error.to_string().contains("masqueradeBit"), "{error}");
    }

    #[test]
    fn kube_proxys_command_line_can_be_kept() {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("proxy"));
        let matches = command.try_get_matches_from([
            "proxy",
            "--v=2",
            "--bind-address=0.0.0.0",
            "--bind-address-hard-fail",
            "--boot-id-file=/proc/sys/kernel/random/boot_id",
            "--cluster-cidr=10.42.0.0/16",
            "--config-sync-period=15m0s",
            "--conntrack-max-per-core=0",
            "--conntrack-min",
            "1000",
            "--conntrack-tcp-be-liberal",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-udp-timeout-stream=0s",
            "--conntrack-udp-timeout=0s",
            "--detect-local-mode=NodeCIDR",
            "--feature-gates=NFTablesProxyMode=true",
            "--healthz-bind-address=127.0.0.1",
            "--hostname-override=server",
            "--iptables-localhost-nodeports=false",
            "--iptables-min-sync-period=1s",
            "--iptables-sync-period=30s",
            "--ipvs-min-sync-period=0s",
            "--ipvs-sync-period=30s",
            "--kube-api-burst=10",
            "--kube-api-content-type=application/json",
            "--kube-api-qps=5.5",
            "--kubeconfig=/k",
            "--log-flush-frequency=5s",
            "--logging-format=text",
            "--machine-id-file=/etc/machine-id",
            "--master=https://127.0.0.1:6443",
            "--metrics-bind-address=127.0.0.1:10249",
            "--oom-score-adj=-500",
            "--profiling=false",
            "--proxy-mode=iptables",
            "--show-hidden-metrics-for-version=1.35",
            "--vmodule=a=1",
        ]);
        let args = <Args as clap::FromArgMatches>::from_arg_matches(&matches.expect("all flags"));
        let settings = join(args.expect("arguments"), KubeProxyConfiguration::default(), "n");
        let settings = settings.expect("settings");
        assert_eq!(settings.detect_local_mode, DetectLocalMode::NodeCidr);
        assert_eq!((settings.oom_score_adj, settings.localhost_node_ports), (-500, false));
        assert_eq!(settings.conntrack, Conntrack { tcp_be_liberal: true, ..Conntrack::default() });
    }

    #[test]
    fn a_wrong_address_names_its_flag() {
        let args = Args { metrics_bind_address: Some("here".to_owned()), ..Args::default() };
        let error = join(args, KubeProxyConfiguration::default(), "n").expect_err("no address");
        assert!(error.to_string().starts_with("--metrics-bind-address here"), "{error}");
    }
}
