//! Clients of an API server, as kubeconfig files or a pod's service account describe it.

use std::path::Path;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A client for the file's current context.
pub async fn client(path: &Path) -> anyhow::Result<Client> {
    Ok(Client::try_from(read(path).await?)?)
}

/// A client for the file, or for the cluster whose pod this process is in.
pub async fn client_or_in_cluster(path: Option<&Path>) -> anyhow::Result<Client> {
    client_of(path, None).await
}

/// The same, of the API server at `url` where one is given.
pub async fn client_of(path: Option<&Path>, url: Option<&str>) -> anyhow::Result<Client> {
    let url: Option<http::Uri> = url
        .map(str::parse)
        .transpose()
        .with_context(|| format!("--master {}: give a URL", url.unwrap_or_default()))?;
    let mut config = match (path, &url) {
        (Some(path), _) => read(path).await?,
        (None, Some(url)) => Config::new(url.clone()),
        (None, None) => Config::incluster().context(
            "no --kubeconfig is given, and this is no pod with a service account; give --kubeconfig",
        )?,
    };
    if let Some(url) = url {
        config.cluster_url = url;
    }
    Ok(Client::try_from(config)?)
}

async fn read(path: &Path) -> anyhow::Result<Config> {
    let problem = || format!("cannot use the kubeconfig {}", path.display());
    let file = Kubeconfig::read_from(path).with_context(problem)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.with_context(problem)
}
