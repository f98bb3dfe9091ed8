use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::range::{PortRange, Ranges, service_ranges};
use crate::host;

/// Runs a whole cluster on this machine: control plane and node in one process
#[derive(Debug, clap::Args)]
#[command(after_long_help = TOUCHES)]
pub struct Args {
    /// Where everything that lasts is kept: the store, certificates, volumes, images.
    #[arg(long, default_value = "/var/lib/portolan", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where the state of running pods is kept, until the machine restarts.
    #[arg(long, default_value = "/run/portolan-node", value_name = "DIR")]
    pub run_dir: PathBuf,
    /// Where the kubeconfig is written. [default: DATA_DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// This node's name. [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// The machine's addresses, one per family. [default: those that reach the world]
    #[arg(long, value_name = "IP[,IP]", value_delimiter = ',')]
    pub node_ip: Vec<IpAddr>,
    /// Port of the API server, on 127.0.0.1 and the node's addresses.
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub secure_port: u16,
    /// Range of the Services' addresses, one per family.
    #[arg(long, value_name = "RANGE[,RANGE]", default_value = "10.96.0.0/16", value_parser = service_ranges)]
    pub service_cluster_ip_range: Ranges,
    /// Ports that NodePort Services are given from.
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    pub service_node_port_range: PortRange,
    /// Range of the pods' addresses, one per family.
    #[arg(long, value_name = "RANGE[,RANGE]", default_value = "10.244.0.0/16")]
    pub cluster_cidr: Ranges,
    /// The domain of the cluster's names.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// End all pods and remove everything that a cluster on this machine left, its data included.
    #[arg(long)]
    pub cleanup: bool,
}

/// What a careful administrator wants to know first.
const TOUCHES: &str = "\
What it touches on this machine:
  files      DATA_DIR (/var/lib/portolan), RUN_DIR (/run/portolan-node)
  cgroups    portolan.up below the cgroup2 hierarchy
  network    a virtual link and a route for each pod, IP forwarding;
             nftables tables of its own; the API server's port on 127.0.0.1 and the node's addresses
  sockets    where the kernel can: BPF programs at the root of the cgroup2 hierarchy, pinned in the
             BPF file system; they concern this machine's own processes and the cluster's pods
It runs in the foreground. SIGTERM or Ctrl-C stops the control plane and the node, in order; pods
and the rules that carry Services' packets stay, as with a kubelet, and the next start adopts them.
`portolan up --cleanup` ends the pods and removes all of the above.";

pub fn run(args: Args) -> anyhow::Result<()> {
    crate::lab::requirements::all("up")?;
    if args.cleanup {
        return host::cleanup(&args.data_dir, &args.run_dir);
    }
    crate::runtime::server()?.block_on(host::run(args))
}
