//! The agent: makes this machine a node of the cluster and runs the pods bound to it.
//!
//! It registers the Node and keeps its Lease fresh ([`node`]), builds the pod network
//! ([`network`]), runs pods ([`crate::pods`]) and serves logs and commands in containers the way
//! a kubelet does. When it stops, pods and kernel state stay; the next start adopts them.

mod network;
mod node;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use crate::pods::sandbox::ROUTE_PROTOCOL;
use crate::pods::{self, images::ImageError};

/// What the agent has to know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    pub node_name: String,
    /// The node's addresses, one per family at most; the first one is the preferred family.
    pub internal_ips: Vec<IpAddr>,
    /// What must survive a restart of the machine: volumes and the writable layers of containers.
    pub root_dir: PathBuf,
    /// What need not: the state of running pods.
    pub run_dir: PathBuf,
    /// The image store, which the nodes of a lab share.
    pub images_dir: PathBuf,
    /// The directory of the cgroup below which pods get theirs.
    pub cgroup_parent: PathBuf,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// Where pods with `dnsPolicy: Default` get their resolver configuration from.
    pub resolv_conf: PathBuf,
    pub kubelet_port: u16,
    /// Without it, logs and exec are not served.
    pub kubelet_tls: Option<KubeletTls>,
    /// Labels of the Node beyond the well-known ones.
    pub labels: BTreeMap<String, String>,
    pub builtin_images: Vec<BuiltinImage>,
    /// The program that has the shim and the built-in images as hidden commands.
    pub program: PathBuf,
    /// The arguments before a shim's own, such as `shim`.
    pub shim_command: Vec<String>,
}

/// The certificates for the node's own server.
#[derive(Clone, Debug)]
pub struct KubeletTls {
    /// PEM file with the server's certificate chain.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose client certificates are accepted.
    pub client_ca: PathBuf,
}

/// An image that is a hidden command of the program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinImage {
    /// Without a tag, such as `portolan/echo`.
    pub name: String,
    /// What follows the program's name, such as `["image", "echo"]`; a container's `args` follow.
    pub entrypoint: Vec<String>,
    /// Arguments for containers that give none.
    pub command: Vec<String>,
}

impl AgentConfig {
    /// A configuration for node `node_name` with everything below `directory` and Kubernetes'
    /// defaults for the rest.
    pub fn new(
        node_name: impl Into<String>,
        internal_ips: Vec<IpAddr>,
        directory: impl Into<PathBuf>,
    ) -> Self {
        let directory = directory.into();
        Self {
            node_name: node_name.into(),
            internal_ips,
            root_dir: directory.join("root"),
            run_dir: directory.join("run"),
            images_dir: directory.join("images"),
            cgroup_parent: directory.join("cgroup"),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: "/etc/resolv.conf".into(),
            kubelet_port: 10250,
            kubelet_tls: None,
            labels: BTreeMap::new(),
            builtin_images: Vec::new(),
            program: portolan_linux::process::this_program(),
            shim_command: vec!["shim".to_owned()],
        }
    }
}

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("make the directory {path}")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("make the cgroup of the node's pods")]
    Cgroup(#[source] portolan_linux::Failed),
    #[error("open the image store")]
    Images(#[source] ImageError),
    #[error("set up the pod network")]
    Network(#[source] portolan_linux::Failed),
    #[error("serve the kubelet API")]
    Server(#[source] pods::server::ServerError),
    #[error("a part of the agent panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Runs the agent until `shutdown`. Running pods are left alone.
///
/// # Errors
/// Fails when the machine lacks what the agent needs; an API server that does not answer is
/// waited for.
pub async fn run(
    client: Client,
    config: AgentConfig,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    for path in [&config.root_dir, &config.run_dir] {
        std::fs::create_dir_all(path)
            .map_err(|source| AgentError::Directory { path: path.clone(), source })?;
    }
    portolan_linux::cgroup::Cgroup::at(&config.cgroup_parent).map_err(AgentError::Cgroup)?;
    let config = Arc::new(config);
    // Pods with a network of their own wait for the node's part of the cluster's range.
    let (ready, network) = watch::channel(None);
    let runtime = pods::Runtime::new(client.clone(), Arc::clone(&config), network)
        .map_err(AgentError::Images)?;

    let mut parts: JoinSet<Result<(), AgentError>> = JoinSet::new();
    if config.kubelet_tls.is_some() {
        let server =
            pods::server::Server::bind(Arc::clone(&runtime)).map_err(AgentError::Server)?;
        parts.spawn(async move {
            server.run().await;
            Ok(())
        });
    }
    parts.spawn(node::run(client, Arc::clone(&config), ready));
    parts.spawn(async move {
        pods::manager::run(runtime).await;
        Ok(())
    });
    tokio::select! {
        () = shutdown.cancelled() => {}
        ended = parts.join_next() => match ended {
            Some(Ok(result)) => result?,
            Some(Err(e)) => return Err(AgentError::Panicked(e)),
            None => {}
        },
    }
    parts.shutdown().await;
    Ok(())
}

/// How long to wait before the `n`th attempt at something that the API server refused.
pub(crate) fn backoff(n: u32) -> Duration {
    Duration::from_millis(50 << n.min(7))
}
