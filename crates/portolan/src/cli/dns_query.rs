use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use portolan_node::dns::inspect::{Explained, Question, explain};

use crate::config::kubeconfig;
use crate::lab::paths::Paths;

/// Tells what a name resolves to, and which objects decide it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name, as a pod would write it.
    name: String,
    /// The record type.
    #[arg(default_value = "A")]
    kind: String,
    /// The namespace of the pod that asks.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// A Corefile. [default: that of the ConfigMap coredns in kube-system]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The domain of the cluster's names, where no Corefile says it.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// The lab that the name is in.
    #[arg(long = "name", id = "lab", default_value = "lab", conflicts_with = "kubeconfig")]
    lab: String,
    /// Another cluster than a lab.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let path = match &args.kubeconfig {
        Some(path) => path.clone(),
        None => Paths::of(&args.lab).kubeconfig(),
    };
    let explained = crate::runtime::small()?.block_on(async {
        let client = kubeconfig::client(&path).await?;
        let corefile = match &args.config {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
            ),
            None => cluster_corefile(&client).await?,
        };
        let question = Question {
            name: args.name.clone(),
            kind: args.kind.clone(),
            namespace: args.namespace.clone(),
            corefile,
            cluster_domain: args.cluster_domain.clone(),
        };
        anyhow::Ok(explain(&client, &question).await?)
    })?;
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text(&explained).as_bytes());
    Ok(())
}

/// The Corefile that the cluster's DNS follows, if it has one.
async fn cluster_corefile(client: &Client) -> anyhow::Result<Option<String>> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let map = maps.get_opt("coredns").await.context("cannot read the ConfigMap coredns")?;
    Ok(map.and_then(|map| map.data?.remove("Corefile")))
}

fn text(explained: &Explained) -> String {
    let Explained { name, kind, outcome, records, additional, why } = explained;
    let mut text = format!("{name} {kind}: {outcome}\n");
    for record in records {
        let _ = writeln!(text, "  {record}");
    }
    for record in additional {
        let _ = writeln!(text, "  {record}    (additional)");
    }
    text.push_str("because\n");
    for line in why {
        let _ = writeln!(text, "  {line}");
    }
    text
}
