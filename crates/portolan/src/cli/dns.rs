use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portolan_node::dns::DnsError;

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
    /// Say whether the Corefile, and the files that it names, can be used, and start nothing.
    #[arg(long, requires = "config")]
    check: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Query(super::dns_query::Args),
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Command::Query(args)) = &args.command {
        return super::dns_query::run(args);
    }
    if let Some(path) = args.config.as_ref().filter(|_| args.check) {
        writeln!(std::io::stdout(), "{}", check(path)?)?;
        return Ok(());
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

/// What a Corefile holds in one line, or the place of what is wrong with it: `FILE:LINE: plugin
/// NAME: PROBLEM`.
fn check(path: &Path) -> anyhow::Result<String> {
    let why = match portolan_node::dns::check_file(path) {
        Ok(summary) => return Ok(format!("{}: {summary}", path.display())),
        Err(DnsError::Corefile(why)) => why,
        Err(other) => return Err(other.into()),
    };
    let file = why.file.as_deref().unwrap_or(path).display();
    let plugin = why.plugin.map(|plugin| format!("plugin {plugin}: ")).unwrap_or_default();
    anyhow::bail!("{file}:{}: {plugin}{}", why.line, why.problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corefile_is_checked_without_starting_anything() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Corefile");
        let check_text = |text: &str| {
            std::fs::write(&path, text).expect("written");
            check(&path).map_err(|error| error.to_string())
        };
        let shown = path.display();
        assert_eq!(
            check_text(".:1053 {\n hosts\n errors\n}\n"),
            Ok(format!("{shown}: 1 server block: dns://.:1053 (errors hosts)"))
        );
        let wrong = check_text(". {\n cache {\n  success x\n }\n}\n").expect_err("wrong");
        assert!(wrong.starts_with(&format!("{shown}:3: plugin cache: success takes")), "{wrong}");
        let wrong = check_text(". {\n import part.conf\n}\n").expect_err("wrong");
        assert!(wrong.starts_with(&format!("{shown}:2: import:")), "{wrong}");
        std::fs::write(directory.path().join("part.conf"), "\nwhoami\n").expect("written");
        let wrong = check_text(". {\n import part.conf\n}\n").expect_err("wrong");
        assert!(wrong.contains("part.conf:2: plugin whoami: is not supported"), "{wrong}");
        assert!(check(&directory.path().join("none")).is_err());
    }
}
