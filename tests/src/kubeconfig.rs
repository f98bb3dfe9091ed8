//! What a kubeconfig of the lab holds, for clients other than kubectl.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use serde::Deserialize;

/// The server of a kubeconfig's first cluster and the credentials of its first user.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// `https://HOST:PORT`
    pub server: String,
    /// PEM
    pub authority: Vec<u8>,
    /// PEM
    pub certificate: Vec<u8>,
    /// PEM
    pub key: Vec<u8>,
}

#[derive(Deserialize)]
struct File {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: Option<String>,
    client_certificate: Option<String>,
    client_key_data: Option<String>,
    client_key: Option<String>,
}

impl Kubeconfig {
    /// # Errors
    /// Where the file cannot be read or lacks a cluster, a user or one of their certificates.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let file: File =
            serde_saphyr::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
        let cluster =
            file.clusters.into_iter().next().context("the kubeconfig has no cluster")?.cluster;
        let user = file.users.into_iter().next().context("the kubeconfig has no user")?.user;
        Ok(Self {
            server: cluster.server,
            authority: data_or_file(
                cluster.certificate_authority_data,
                cluster.certificate_authority,
            )
            .context("certificate-authority")?,
            certificate: data_or_file(user.client_certificate_data, user.client_certificate)
                .context("client-certificate")?,
            key: data_or_file(user.client_key_data, user.client_key).context("client-key")?,
        })
    }
}

fn data_or_file(data: Option<String>, file: Option<String>) -> Result<Vec<u8>> {
    match (data, file) {
        (Some(data), _) => Ok(base64::engine::general_purpose::STANDARD.decode(data)?),
        (None, Some(file)) => std::fs::read(&file).with_context(|| format!("reading {file}")),
        (None, None) => anyhow::bail!("neither data nor a file"),
    }
}
