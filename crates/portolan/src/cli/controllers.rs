use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::config::kubeconfig;
use crate::config::range::Ranges;
use crate::runtime;

/// Runs the controllers alone, against any Kubernetes API server
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to reach the API server. [default: the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Take turns with other instances: only the one that holds the lease acts.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL")]
    leader_elect: bool,
    /// Range that nodes are given pod ranges from, one per family; without it they are not.
    #[arg(long, value_name = "RANGE[,RANGE]")]
    cluster_cidr: Option<Ranges>,
    /// CA that pods trust for the API server, for the ConfigMap kube-root-ca.crt in every
    /// namespace; without it there is none.
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,
    /// How long a node may be silent, in seconds, before it counts as unreachable.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    node_monitor_grace_period: Option<Duration>,
}

/// `40`, or `40s` as kube-controller-manager writes it.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "give a number of seconds such as 40s".to_owned())?;
    Ok(Duration::from_secs(number))
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let root_ca = args.root_ca_file.map(|path| {
        std::fs::read_to_string(&path)
            .with_context(|| format!("--root-ca-file: cannot read {}", path.display()))
    });
    let root_ca = root_ca.transpose()?;
    let defaults = portolan_controllers::Config::default();
    runtime::small()?.block_on(async {
        let stop = runtime::stop_on_signal()?;
        let client = kubeconfig::client_or_in_cluster(args.kubeconfig.as_deref()).await?;
        let config = portolan_controllers::Config {
            root_ca,
            node_monitor_grace_period: args
                .node_monitor_grace_period
                .unwrap_or(defaults.node_monitor_grace_period),
            cluster_cidrs: args.cluster_cidr.map(|ranges| ranges.0).unwrap_or_default(),
            leader_elect: args.leader_elect,
            identity: format!(
                "{}_{}",
                rustix::system::uname().nodename().to_string_lossy(),
                uuid::Uuid::new_v4()
            ),
            ..defaults
        };
        Ok(portolan_controllers::run(client, config, stop).await?)
    })
}
