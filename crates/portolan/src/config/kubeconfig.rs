//! Clients of an API server, as kubeconfig files or a pod's service account describe it.

use std::path::Path;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A client for the file's current context.
pub async fn client(path: &Path) -> anyhow::Result<Client> {
    let file = Kubeconfig::read_from(path)
        .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?;
    Ok(Client::try_from(config)?)
}

/// A client for the file, or for the cluster whose pod this process is in.
pub async fn client_or_in_cluster(path: Option<&Path>) -> anyhow::Result<Client> {
    if let Some(path) = path {
        return client(path).await;
    }
    let config = Config::incluster().context(
        "no --kubeconfig is given, and this is no pod with a service account; give --kubeconfig",
    )?;
    Ok(Client::try_from(config)?)
}
