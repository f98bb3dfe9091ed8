//! The lab's certificates, keys and kubeconfigs: one identity for each part.

use anyhow::Context;
use portolan_apiserver::pki::Pki;

use super::paths::Paths;
use super::plan::Plan;

/// Makes whatever the components and the user need to know and trust each other.
pub fn write(plan: &Plan, paths: &Paths, api_port: u16) -> anyhow::Result<()> {
    let pki = Pki::load_or_create(paths.pki())?;
    pki.service_account_key_file()?;
    pki.server("apiserver", "kube-apiserver", &[], &plan.api_names())?;
    let client = |name: &str, user: &str, groups: &[&str]| pki.client(name, user, groups);

    let admin = client("admin", "kubernetes-admin", &["system:masters"])?;
    let host_url = format!("https://127.0.0.1:{api_port}");
    let cluster = format!("portolan-{}", plan.spec.name);
    pki.write_kubeconfig(&paths.kubeconfig(), &host_url, &cluster, "kubernetes-admin", &admin)
        .context("cannot write the kubeconfig")?;

    let url = plan.api_url();
    let kubeconfig = |file: &str, user: &str, groups: &[&str]| {
        let pair = client(file, user, groups)?;
        pki.write_kubeconfig(&paths.component_kubeconfig(file), &url, &cluster, user, &pair)
    };
    kubeconfig("controllers", "system:kube-controller-manager", &[])?;
    kubeconfig("proxy", "system:kube-proxy", &[])?;
    for node in &plan.nodes {
        let user = format!("system:node:{}", node.name);
        kubeconfig(&format!("node-{}", node.name), &user, &["system:nodes"])?;
        // What the node's own API shows to those who ask it for logs.
        let mut names: Vec<_> = node.ips().iter().map(ToString::to_string).collect();
        names.push(node.name.clone());
        pki.server(&format!("kubelet-{}", node.name), &user, &["system:nodes"], &names)?;
    }
    Ok(())
}
