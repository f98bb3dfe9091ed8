use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use crate::config::proxy_mode::ProxyMode;
use crate::config::range::{Families, PortRange, Ranges, service_ranges};
use crate::lab::exec::{self, Place};
use crate::lab::plan::Selector;
use crate::lab::spec::{LabSpec, SpecError, Wishes};
use crate::lab::{down, images, restart, status, up};

/// A cluster of several nodes on this machine, in network namespaces
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(UpArgs),
    Exec(ExecArgs),
    Image(ImageArgs),
    Load(LoadArgs),
    Restart(RestartArgs),
    Status(StatusArgs),
    Down(DownArgs),
}

#[derive(Debug, clap::Args)]
struct Name {
    /// The lab's name.
    #[arg(long, default_value = "lab", value_parser = lab_name)]
    name: String,
}

fn lab_name(text: &str) -> Result<String, SpecError> {
    LabSpec::check_name(text).map(|()| text.to_owned())
}

/// Starts a lab and returns once its API and DNS answer and its nodes are Ready
#[derive(Debug, clap::Args)]
struct UpArgs {
    #[command(flatten)]
    lab: Name,
    /// Nodes besides the control plane, which runs pods too.
    #[arg(long, default_value_t = 2)]
    workers: u16,
    /// How Services' packets are carried: ebpf, nftables, iptables, ipvs, userspace, or auto for the best there is.
    #[arg(long, default_value = "auto")]
    proxy_mode: ProxyMode,
    /// Where the kubeconfig is written. [default: /run/portolan/NAME/kubeconfig]
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// ipv4, ipv6 or both, the primary first. [default: as the ranges, else ipv4]
    #[arg(long, value_name = "FAMILIES")]
    ip_families: Option<Families>,
    /// Range of the Services' addresses, one per family. [default: 10.96.0.0/16 and fd00:10:96::/112]
    #[arg(long, value_name = "RANGE[,RANGE]", value_parser = service_ranges)]
    service_cluster_ip_range: Option<Ranges>,
    /// Ports that NodePort Services are given from.
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    service_node_port_range: PortRange,
    /// Range of the pods' addresses, one per family. [default: 10.244.0.0/16 and fd00:10:244::/56]
    #[arg(long, value_name = "RANGE[,RANGE]")]
    cluster_cidr: Option<Ranges>,
    /// The domain of the cluster's names.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
}

/// Runs a command on a node, on the client outside, or in a pod
#[derive(Debug, clap::Args)]
struct ExecArgs {
    #[command(flatten)]
    lab: Name,
    /// A node's name, `outside`, or pod/NAMESPACE/NAME.
    #[arg(value_name = "WHERE")]
    place: Place,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Manages the lab's images
#[derive(Debug, clap::Args)]
struct ImageArgs {
    #[command(flatten)]
    lab: Name,
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Adds an image that is this machine's root file system, read-only, running COMMAND
    Add {
        #[arg(value_name = "NAME[:TAG]")]
        image: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Loads images from an OCI or docker archive
#[derive(Debug, clap::Args)]
struct LoadArgs {
    #[command(flatten)]
    lab: Name,
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
}

/// Restarts a component
#[derive(Debug, clap::Args)]
struct RestartArgs {
    #[command(flatten)]
    lab: Name,
    /// Send SIGKILL and let the supervisor bring it back.
    #[arg(long)]
    kill: bool,
    /// Run the proxy in this mode from now on, also after later restarts.
    #[arg(long, value_name = "MODE")]
    proxy_mode: Option<ProxyMode>,
    /// apiserver, controllers, proxy, dns or node; without @NODE on every node.
    #[arg(value_name = "COMPONENT[@NODE]")]
    component: Selector,
}

/// Shows the lab's nodes and components
#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    lab: Name,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: status::Format,
}

/// Removes a lab and everything that belongs to it
#[derive(Debug, clap::Args)]
struct DownArgs {
    #[command(flatten)]
    lab: Name,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Up(args) => start(args),
        Command::Exec(args) => exec::run(&args.lab.name, &args.place, &args.command),
        Command::Image(args) => match args.command {
            ImageCommand::Add { image, command } => {
                let name = images::add(&args.lab.name, &image, command)?;
                print(&format!("added {name}"));
                Ok(())
            }
        },
        Command::Load(args) => {
            for name in images::load(&args.lab.name, &args.file)? {
                print(&format!("loaded {name}"));
            }
            Ok(())
        }
        Command::Restart(args) => {
            let how = restart::How { kill: args.kill, proxy_mode: args.proxy_mode };
            restart::run(&args.lab.name, &args.component, &how, &print)
        }
        Command::Status(args) => {
            print(&status::run(&args.lab.name, args.output)?);
            Ok(())
        }
        Command::Down(args) => stop(&args.lab.name),
    }
}

fn start(args: UpArgs) -> anyhow::Result<()> {
    let spec = LabSpec::complete(Wishes {
        name: args.lab.name,
        workers: args.workers,
        proxy_mode: args.proxy_mode,
        families: args.ip_families,
        service_ranges: args.service_cluster_ip_range,
        node_ports: Some(args.service_node_port_range),
        cluster_cidrs: args.cluster_cidr,
        cluster_domain: args.cluster_domain,
        kubeconfig: args.kubeconfig.map(std::path::absolute).transpose()?,
    })?;
    let name = spec.name.clone();
    let started = std::time::Instant::now();
    let lab = up::run(spec, &|step| {
        note(&format!("{:>6.2} s  {step}", started.elapsed().as_secs_f64()))
    })?;
    let nodes: Vec<_> = lab.plan.nodes.iter().map(|node| node.name.as_str()).collect();
    note(&format!("lab {name} is up after {:.2} s: {}", lab.took.as_secs_f64(), nodes.join(", ")));
    print(&format!("export KUBECONFIG={}", lab.kubeconfig.display()));
    Ok(())
}

fn stop(name: &str) -> anyhow::Result<()> {
    crate::lab::requirements::root("lab down")?;
    if down::is_there(name) {
        down::remove(name)?;
        note(&format!("lab {name} is down"));
    } else {
        note(&format!("there is no lab named {name}"));
    }
    Ok(())
}

/// What the command was asked for.
fn print(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What it tells besides.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
