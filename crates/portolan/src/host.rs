//! `portolan up`: a cluster of one machine, all parts as supervised tasks of one process.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kube::Client;
use portolan_apiserver::pki::Pki;
use portolan_apiserver::resource::ClusterConfig;
use portolan_apiserver::serve::{TlsFiles, serve};
use portolan_apiserver::{ApiServer, Config};
use portolan_linux::cgroup::{self, Cgroup};
use portolan_linux::rtnl::Rtnl;
use portolan_node::agent::{AgentConfig, KubeletTls};
use portolan_node::proxy::ProxyConfig;
use portolan_node::proxy::datapath::Host;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bootstrap;
use crate::cli::up::Args;
use crate::config::range::{Family, nth_address};
use crate::server::{listen, service_names};
use crate::supervise::keep_running;

/// The cgroup of everything that runs in pods; a lab's is `portolan-NAME`, whatever its name.
const CGROUP: &str = "portolan.up";

/// Runs the cluster until it is told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let stop = crate::runtime::stop_on_signal()?;
    let node = Node::of(&args)?;
    let mut listeners = Vec::new();
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST)].iter().chain(&node.ips) {
        listeners.push(listen(SocketAddr::new(*ip, args.secure_port))?);
    }
    let kubeconfig = args.kubeconfig.clone().unwrap_or_else(|| args.data_dir.join("kubeconfig"));
    let tls = credentials(&args, &node, &kubeconfig)?;
    let config = Config {
        cluster: ClusterConfig {
            service_ranges: args.service_cluster_ip_range.0.clone(),
            node_ports: args.service_node_port_range.as_range(),
        },
        advertise: node.ips.first().map(|ip| SocketAddr::new(*ip, args.secure_port)),
        cluster_domain: args.cluster_domain.clone(),
        ..Config::default()
    };
    let config = Pki::load_or_create(pki_dir(&args.data_dir))?.configure(config)?;
    let api = crate::server::start(&args.data_dir, config).await?;
    let tls = tls.load()?;
    // Stopped last: what the other parts still have to say shall be heard.
    let stop_api = CancellationToken::new();
    let serving = {
        let (api, stop) = (api.clone(), stop_api.clone());
        tokio::spawn(serve(api, listeners, tls, async move { stop.cancelled().await }))
    };
    tracing::info!(took = ?started.elapsed(), "the API server is ready");

    let tasks = TaskTracker::new();
    start_parts(&args, &node, &api, &stop, &tasks)?;
    tell(&kubeconfig);
    stop.cancelled().await;
    tasks.close();
    if tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await.is_err() {
        tracing::warn!("some parts did not stop in time");
    }
    stop_api.cancel();
    Ok(serving.await??)
}

fn start_parts(
    args: &Args,
    node: &Node,
    api: &ApiServer,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<()> {
    let client = || Client::new(api.service(), "default");
    let agent = agent_config(args, node)?;
    tasks.spawn(keep_running("node", stop.clone(), {
        let (client, stop) = (client(), stop.clone());
        move || portolan_node::agent::run(client.clone(), agent.clone(), stop.clone())
    }));
    let proxy = ProxyConfig {
        node_name: node.name.clone(),
        cluster_cidrs: args.cluster_cidr.0.clone(),
        masquerade_egress: true,
        ..ProxyConfig::default()
    };
    tasks.spawn(keep_running("proxy", stop.clone(), {
        let (client, stop) = (client(), stop.clone());
        move || portolan_node::proxy::run(client.clone(), proxy.clone(), stop.clone())
    }));
    let controllers = portolan_controllers::Config {
        cluster_cidrs: args.cluster_cidr.0.clone(),
        leader_elect: false,
        identity: node.name.clone(),
        root_ca: Some(std::fs::read_to_string(pki_dir(&args.data_dir).join("ca.crt"))?),
        ..portolan_controllers::Config::default()
    };
    tasks.spawn(keep_running("controllers", stop.clone(), {
        let (client, stop) = (client(), stop.clone());
        move || portolan_controllers::run(client.clone(), controllers.clone(), stop.clone())
    }));
    let values = bootstrap::Values {
        cluster_domain: args.cluster_domain.clone(),
        dns_addresses: node.dns_addresses.clone(),
        dns_replicas: 1,
    };
    let (client, stop) = (client(), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            result = bootstrap::create(&client, &values) => if let Err(error) = result {
                tracing::error!(error = %format!("{error:#}"), "cannot create the cluster's DNS");
            },
            () = stop.cancelled() => {}
        }
    });
    Ok(())
}

/// This machine as a node.
struct Node {
    name: String,
    ips: Vec<IpAddr>,
    dns_addresses: Vec<IpAddr>,
}

impl Node {
    fn of(args: &Args) -> anyhow::Result<Node> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = args.hostname_override.clone().unwrap_or(host).to_lowercase();
        let ranges = &args.service_cluster_ip_range.0;
        let ips = if args.node_ip.is_empty() {
            ranges.iter().filter_map(|range| own_address(Family::of_net(range))).collect()
        } else {
            args.node_ip.clone()
        };
        if ips.is_empty() {
            bail!(
                "this machine has no address that reaches other machines; give one of its addresses with --node-ip"
            );
        }
        let dns_addresses = ranges.iter().filter_map(|range| nth_address(range, 10)).collect();
        Ok(Node { name, ips, dns_addresses })
    }
}

/// The address that this machine would use towards the world; nothing is sent to learn it.
fn own_address(family: Family) -> Option<IpAddr> {
    // Addresses of documentation: RFC 5737, RFC 3849.
    let (any, far): (IpAddr, &str) = match family {
        Family::Ipv4 => (Ipv4Addr::UNSPECIFIED.into(), "192.0.2.1:9"),
        Family::Ipv6 => (Ipv6Addr::UNSPECIFIED.into(), "[2001:db8::1]:9"),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn pki_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pki")
}

/// Makes certificates and the user's kubeconfig; what there is stays.
fn credentials(args: &Args, node: &Node, kubeconfig: &Path) -> anyhow::Result<TlsFiles> {
    let pki = Pki::load_or_create(pki_dir(&args.data_dir)).with_context(|| {
        format!(
            "cannot keep certificates in {}; choose another --data-dir",
            args.data_dir.display()
        )
    })?;
    pki.service_account_key_file()?;
    let mut names = service_names(&args.cluster_domain);
    names.extend(["localhost", "127.0.0.1", "::1", &node.name].map(str::to_owned));
    names.extend(node.ips.iter().map(IpAddr::to_string));
    let firsts = args.service_cluster_ip_range.0.iter().filter_map(|range| nth_address(range, 1));
    names.extend(firsts.map(|address| address.to_string()));
    pki.server("apiserver", "kube-apiserver", &[], &names)?;
    let user = format!("system:node:{}", node.name);
    let mut names: Vec<_> = node.ips.iter().map(IpAddr::to_string).collect();
    names.push(node.name.clone());
    pki.server("kubelet", &user, &["system:nodes"], &names)?;
    let admin = pki.client("admin", "kubernetes-admin", &["system:masters"])?;
    let url = format!("https://127.0.0.1:{}", args.secure_port);
    pki.write_kubeconfig(kubeconfig, &url, "portolan", "kubernetes-admin", &admin)?;
    Ok(TlsFiles {
        certificate: pki.certificate_file("apiserver"),
        key: pki.key_file("apiserver"),
        client_ca: Some(pki.ca_file()),
    })
}

fn agent_config(args: &Args, node: &Node) -> anyhow::Result<AgentConfig> {
    let pki = pki_dir(&args.data_dir);
    Ok(AgentConfig {
        root_dir: args.data_dir.join("node"),
        run_dir: args.run_dir.clone(),
        images_dir: args.data_dir.join("images"),
        cgroup_parent: cgroup::root()?.join(CGROUP),
        cluster_dns: node.dns_addresses.clone(),
        cluster_domain: args.cluster_domain.clone(),
        kubelet_tls: Some(KubeletTls {
            certificate: pki.join("kubelet.crt"),
            key: pki.join("kubelet.key"),
            client_ca: pki.join("ca.crt"),
        }),
        builtin_images: crate::image::builtin(),
        program: crate::lab::process::program(),
        ..AgentConfig::new(node.name.clone(), node.ips.clone(), &args.data_dir)
    })
}

fn tell(kubeconfig: &Path) {
    let _ = writeln!(std::io::stdout(), "export KUBECONFIG={}", kubeconfig.display());
}

/// Ends all pods and removes what a cluster on this machine left.
pub fn cleanup(data_dir: &Path, run_dir: &Path) -> anyhow::Result<()> {
    Cgroup::existing(cgroup::root()?.join(CGROUP))
        .destroy(Duration::from_secs(10))
        .context("cannot end the pods")?;
    remove_routes().context("cannot remove the routes to pods")?;
    portolan_node::proxy::cleanup(&Host::default()).context("cannot remove the proxy's rules")?;
    portolan_linux::mount::detach_below(run_dir)?;
    portolan_linux::mount::detach_below(data_dir)?;
    remove(run_dir)?;
    // Only what is Portolan's: the directory may have been somebody's before.
    for name in ["node", "images", "pki"] {
        remove(&data_dir.join(name))?;
    }
    for name in ["store.redb", "kubeconfig"] {
        let file = data_dir.join(name);
        gone(std::fs::remove_file(&file), &file)?;
    }
    let _ = std::fs::remove_dir(data_dir);
    Ok(())
}

/// The routes to pods and to other nodes' pods, known by their protocol number.
fn remove_routes() -> Result<(), portolan_linux::Failed> {
    let rtnl = Rtnl::open()?;
    for route in rtnl.routes()? {
        if route.protocol == portolan_node::agent::ROUTE_PROTOCOL {
            rtnl.delete_route(&route)?;
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    gone(std::fs::remove_dir_all(directory), directory)
}

/// What is not there needs no removal.
fn gone(result: std::io::Result<()>, path: &Path) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
