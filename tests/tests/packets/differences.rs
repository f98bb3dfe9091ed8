//! Where kube-proxy does otherwise. Each is something that ours does on purpose; a scenario asks
//! kube-proxy for what it does instead, so that a difference which is gone fails there.

use crate::ground::{Ground, Proxy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    LoopbackNodePorts,
    ClientsOfLocalPods,
    ClusterAddresses,
    UnknownPorts,
    NodesAtExternalAddresses,
}

/// The modes of kube-proxy that differ, and why ours does not do the same.
const DIFFERENCES: [(Difference, &[&str], &str); 5] = [
    (
        Difference::LoopbackNodePorts,
        &["nftables"],
        "node ports on 127.0.0.1 are kube-proxy's in mode iptables alone (localhostNodePorts, KEP-3866); ours are alike in all modes",
    ),
    (
        Difference::ClientsOfLocalPods,
        &["nftables", "iptables"],
        "kube-proxy masquerades all that comes from outside under policy Cluster; to a pod of the node that it came to this is not needed, as the answer passes there anyway",
    ),
    (
        Difference::ClusterAddresses,
        &["nftables", "iptables"],
        "kube-proxy hands the traffic of any address to the Service that names it in externalIPs (CVE-2020-8554); ours leaves pods, Services and loopback theirs (docs/reference/address-safety.md)",
    ),
    (
        Difference::UnknownPorts,
        &["iptables"],
        "kube-proxy refuses at a port that a ClusterIP does not have in mode nftables alone (KEP-3866); ours does in all modes",
    ),
    (
        Difference::NodesAtExternalAddresses,
        &["iptables"],
        "KUBE-EXTERNAL-SERVICES is not asked for what the node itself sends, so it hears nothing where all others are refused",
    ),
];

impl Ground<'_> {
    /// Whether this is kube-proxy, in a mode that does otherwise; says why.
    pub(crate) fn differs(&self, difference: Difference) -> bool {
        let Proxy::Kube(mode) = self.proxy else { return false };
        let found = DIFFERENCES.iter().find(|(named, ..)| *named == difference);
        let why = found.filter(|(_, modes, _)| modes.contains(&mode)).map(|(.., why)| why);
        if let Some(why) = why {
            eprintln!("{difference:?}: {why}");
        }
        why.is_some()
    }
}
