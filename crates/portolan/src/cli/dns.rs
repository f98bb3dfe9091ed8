use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::kubeconfig;
use crate::runtime;

/// Runs the cluster DNS alone, against any Kubernetes API server
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How to reach the API server. [default: the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The domain of the cluster's names; the Corefile says it too.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Serve `.:PORT` on this one address.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// A Corefile.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's address: a change is answered once the proxy there has programmed it.
    #[arg(long, value_name = "IP")]
    node_ip: Option<std::net::IpAddr>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Query(super::dns_query::Args),
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Command::Query(args)) = &args.command {
        return super::dns_query::run(args);
    }
    runtime::small()?.block_on(async {
        let stop = runtime::stop_on_signal()?;
        // Without either, a Corefile may still do without the plugin kubernetes.
        let client = match &args.kubeconfig {
            Some(path) => Some(kubeconfig::client(path).await?),
            None => kubeconfig::client_or_in_cluster(None).await.ok(),
        };
        let config = portolan_node::dns::DnsConfig {
            corefile: args.config,
            listen: args.listen,
            cluster_domain: args.cluster_domain,
            node: args.node_ip,
            ..portolan_node::dns::DnsConfig::default()
        };
        Ok(portolan_node::dns::run(client, config, stop).await?)
    })
}
