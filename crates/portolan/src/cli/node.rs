use std::net::IpAddr;
use std::path::PathBuf;

use portolan_node::agent::{AgentConfig, KubeletTls};

use crate::config::kubeconfig;
use crate::runtime;

/// Runs the node's agent alone: registers the node and runs its pods
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to reach the API server.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// This node's name. [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// The node's addresses, one per family, the primary first.
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',', required = true)]
    pub node_ip: Vec<IpAddr>,
    /// Where pods' files are kept.
    #[arg(long, default_value = "/var/lib/portolan/node", value_name = "DIR")]
    pub root_dir: PathBuf,
    /// Where the state of running pods is kept.
    #[arg(long, default_value = "/run/portolan-node", value_name = "DIR")]
    pub run_dir: PathBuf,
    /// Where images are kept.
    #[arg(long, default_value = "/var/lib/portolan/images", value_name = "DIR")]
    pub image_dir: PathBuf,
    /// The cgroup of all pods, from the root of the cgroup2 hierarchy.
    #[arg(long, default_value = "portolan-pods", value_name = "PATH")]
    pub cgroup_root: PathBuf,
    /// Addresses of the cluster's DNS, for the pods' resolv.conf.
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',')]
    pub cluster_dns: Vec<IpAddr>,
    /// The domain of the cluster's names.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// The resolv.conf that pods with the node's DNS get.
    #[arg(long, default_value = "/etc/resolv.conf", value_name = "FILE")]
    pub resolv_conf: PathBuf,
    /// Labels that the Node is registered with.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = label)]
    pub node_labels: Vec<(String, String)>,
    /// Port of the node's API, for logs and exec.
    #[arg(long, default_value_t = 10250)]
    pub port: u16,
    /// The node's certificate.
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: PathBuf,
    /// The certificate's key.
    #[arg(long, value_name = "FILE")]
    pub tls_private_key_file: PathBuf,
    /// CA of those who may ask the node for logs and exec.
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: PathBuf,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written as KEY=VALUE".to_owned()),
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    crate::lab::requirements::all("node")?;
    let config = config(args)?;
    runtime::small()?.block_on(async {
        let stop = runtime::stop_on_signal()?;
        let client = kubeconfig::client(&config.1).await?;
        Ok(portolan_node::agent::run(client, config.0, stop).await?)
    })
}

/// The agent's configuration, and the kubeconfig.
fn config(args: Args) -> anyhow::Result<(AgentConfig, PathBuf)> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = args.hostname_override.unwrap_or(host).to_lowercase();
    let tls = KubeletTls {
        certificate: args.tls_cert_file,
        key: args.tls_private_key_file,
        client_ca: args.client_ca_file,
    };
    let config = AgentConfig {
        root_dir: args.root_dir,
        run_dir: args.run_dir,
        images_dir: args.image_dir,
        cgroup_parent: portolan_linux::cgroup::root()?.join(args.cgroup_root),
        cluster_dns: args.cluster_dns,
        cluster_domain: args.cluster_domain,
        resolv_conf: args.resolv_conf,
        kubelet_port: args.port,
        kubelet_tls: Some(tls),
        labels: args.node_labels.into_iter().collect(),
        builtin_images: crate::image::builtin(),
        program: crate::lab::process::program(),
        ..AgentConfig::new(name, args.node_ip, "/var/lib/portolan/node")
    };
    Ok((config, args.kubeconfig))
}
