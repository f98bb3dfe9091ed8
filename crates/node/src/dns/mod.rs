//! Cluster DNS, configured by a Corefile as CoreDNS is.
//!
//! ```text
//! socket → wire::Query → server block by zone → hosts → kubernetes → cache → forward
//!                                                        └ store: live index, fed by watches
//! ```
//!
//! Answers about the cluster come from the live index, never from the cache: a change shows in the
//! next answer. Everything that is known here is answered within the batch that it arrived in.

mod alias;
mod config;
mod corefile;
mod front;
mod gate;
mod generation;
pub mod inspect;
mod metrics;
mod pages;
mod plugin;
mod record;
mod runtime;
mod server;
mod site;
mod sockets;
mod store;
mod trim;
mod wire;
mod zone;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

pub use corefile::CorefileError;

/// How to run the server.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    /// The Corefile; without one, [`default_corefile`] is used.
    pub corefile: Option<PathBuf>,
    /// Where the server block for `.:PORT` serves instead of at all addresses.
    pub listen: Option<SocketAddr>,
    /// The cluster's domain for the default Corefile; empty means `cluster.local`.
    pub cluster_domain: String,
    /// How many tasks receive over UDP at each address; 0 means one for each processor.
    pub workers: usize,
    /// The address of the node: changes are answered once its proxy has programmed them.
    pub node: Option<std::net::IpAddr>,
}

/// Why the server could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("read the Corefile {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Corefile(#[from] CorefileError),
    #[error("the Corefile has the plugin kubernetes, but no API server is configured")]
    NoClient,
    #[error("listen on {address} for {purpose}")]
    Listen { address: SocketAddr, purpose: &'static str, source: std::io::Error },
    #[error(
        "queries that are forwarded from {zone} come back to this server: its upstream, perhaps \
         by way of /etc/resolv.conf, is itself"
    )]
    Loop { zone: String },
}

/// Serves until `shutdown`, and then as long as `health`'s `lameduck` says.
///
/// # Errors
/// When the Corefile cannot be used, an address cannot be listened on, or the server finds that
/// it forwards to itself. Later changes of the Corefile that cannot be used are logged and left.
pub async fn run(
    client: Option<kube::Client>,
    config: DnsConfig,
    shutdown: CancellationToken,
) -> Result<(), DnsError> {
    let gate = config.node.map(gate::Gate::new);
    let starting = runtime::Server::start(client, config, store::Stores::new(gate));
    match shutdown.run_until_cancelled(starting).await {
        Some(server) => server?.serve(shutdown).await,
        None => Ok(()),
    }
}

/// Says whether a Corefile can be used, without starting anything.
///
/// # Errors
/// The first mistake, with its line and plugin.
pub fn check(corefile: &str) -> Result<(), CorefileError> {
    config::Config::read(corefile).map(drop)
}

/// Says whether a Corefile can be used with the files that it names, without starting anything;
/// returns what it holds in one line.
///
/// # Errors
/// When it cannot be read, and the first mistake, with its place and plugin.
pub fn check_file(corefile: &Path) -> Result<String, DnsError> {
    let read = std::fs::read_to_string(corefile);
    let text = read.map_err(|source| DnsError::Read { path: corefile.to_owned(), source })?;
    let directory = corefile.parent().unwrap_or(Path::new("."));
    let config = config::Config::read_in(&text, directory)?;
    config.check_files()?;
    Ok(config.summary())
}

/// The Corefile that kubeadm lays out.
pub fn default_corefile(cluster_domain: &str) -> String {
    let domain = if cluster_domain.is_empty() { "cluster.local" } else { cluster_domain };
    format!(
        ".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"
    )
}
