//! Names of chains: kube-proxy's, so that whoever knows its rules finds their way here too.

use portolan_model::frontend::{PortName, Scope};
use portolan_model::object::Protocol;
use sha2::{Digest, Sha256};

/// What other chains are reached from. The names are kube-proxy's.
pub(super) const SERVICES: &str = "KUBE-SERVICES";
pub(super) const EXTERNAL_SERVICES: &str = "KUBE-EXTERNAL-SERVICES";
pub(super) const NODE_PORTS: &str = "KUBE-NODEPORTS";
pub(super) const POSTROUTING: &str = "KUBE-POSTROUTING";
pub(super) const MARK_MASQ: &str = "KUBE-MARK-MASQ";
pub(super) const FORWARD: &str = "KUBE-FORWARD";
pub(super) const PROXY_FIREWALL: &str = "KUBE-PROXY-FIREWALL";
/// The guard of loopback addresses, which a kubelet may keep too.
pub(super) const FIREWALL: &str = "KUBE-FIREWALL";
/// Made by kube-proxy and of no use here.
pub(super) const CANARY: &str = "KUBE-PROXY-CANARY";

/// What kube-proxy has no chain for.
pub(super) const CLUSTER_IPS: &str = "PORTOLAN-CLUSTER-IPS";
pub(super) const REFUSE: &str = "PORTOLAN-REFUSE";
pub(super) const EGRESS: &str = "PORTOLAN-EGRESS";
pub(super) const LEAVING: &str = "PORTOLAN-LEAVING";
/// In tables of nf_tables from which everything else of ours was taken out.
pub(super) const REMOVED: &str = "PORTOLAN-REMOVED";
pub(super) const MARK_OTHERS: &str = "PORTOLAN-MARK-OTHERS";

/// What a chain of one Service port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Chooses among the endpoints of that scope.
    Pool(Scope),
    /// Traffic to external addresses: who may go where.
    External,
    /// Source ranges.
    Firewall,
}

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Self::Pool(Scope::Cluster) => "KUBE-SVC-",
            Self::Pool(Scope::Local) => "KUBE-SVL-",
            Self::External => "KUBE-EXT-",
            Self::Firewall => "KUBE-FW-",
        }
    }
}

const ENDPOINT: &str = "KUBE-SEP-";

/// The protocol as iptables names it.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// The first 16 characters of the base32 of the SHA-256 of all parts.
fn hash(parts: &[&str]) -> String {
    const ALPHABET: [u8; 32] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part.as_bytes()));
    let digest = hasher.finalize();
    // Ten bytes are sixteen groups of five bits.
    let bits = digest.iter().take(10).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    (0..16).map(|at| char::from(ALPHABET[(bits >> (75 - 5 * at)) as usize & 31])).collect()
}

/// The chain of a Service port for that purpose.
pub(super) fn chain(purpose: Purpose, port: &PortName) -> String {
    purpose.prefix().to_owned() + &hash(&[&port.to_string(), protocol(port.protocol)])
}

/// The chain of one endpoint of a Service port; `endpoint` is its address and port.
pub(super) fn endpoint_chain(port: &PortName, endpoint: &str) -> String {
    ENDPOINT.to_owned() + &hash(&[&port.to_string(), protocol(port.protocol), endpoint])
}

/// Whether the chain is that of some Service port or endpoint.
pub(super) fn is_of_service(chain: &str) -> bool {
    is_pool(chain)
        || ["KUBE-EXT-", "KUBE-FW-", ENDPOINT].iter().any(|prefix| {
            // KUBE-EXTERNAL-SERVICES is none.
            chain.strip_prefix(prefix).is_some_and(|rest| rest.len() == 16)
        })
}

/// Whether the chain chooses among endpoints.
pub(super) fn is_pool(chain: &str) -> bool {
    chain.starts_with("KUBE-SVC-") || chain.starts_with("KUBE-SVL-")
}

pub(super) fn is_endpoint(chain: &str) -> bool {
    chain.starts_with(ENDPOINT)
}

pub(super) fn is_firewall(chain: &str) -> bool {
    chain.starts_with("KUBE-FW-")
}

#[cfg(test)]
mod tests {
    use portolan_model::object::ObjectName;

    use super::*;

    fn port(namespace: &str, service: &str, port: &str) -> PortName {
        PortName {
            service: ObjectName::new(namespace, service),
            port: port.into(),
            protocol: Protocol::Tcp,
        }
    }

    /// The names in kube-proxy's own tests (`pkg/proxy/iptables/proxier_test.go`, 1.36).
    #[test]
    fn names_are_kube_proxys() {
        let one = port("ns1", "svc1", "p80");
        assert_eq!(chain(Purpose::Pool(Scope::Cluster), &one), "KUBE-SVC-XPGD46QRK7WJZT7O");
        assert_eq!(endpoint_chain(&one, "10.180.0.1:80"), "KUBE-SEP-SXIVWICOYRO3J4NJ");
        let five = port("ns5", "svc5", "p80");
        assert_eq!(chain(Purpose::Firewall, &five), "KUBE-FW-NUKIZ6OKUXPJNT4C");
        assert_eq!(chain(Purpose::External, &five), "KUBE-EXT-NUKIZ6OKUXPJNT4C");
        assert_eq!(endpoint_chain(&five, "10.180.0.3:80"), "KUBE-SEP-I77PXRDZVX7PMWMN");
        let two = port("ns2", "svc2", "p80");
        assert_eq!(chain(Purpose::Pool(Scope::Local), &two), "KUBE-SVL-GNZBNJ2PO5MGZ6GT");
    }

    #[test]
    fn chains_of_services_are_told_from_others() {
        for chain in
            ["KUBE-SVC-XPGD46QRK7WJZT7O", "KUBE-SEP-SXIVWICOYRO3J4NJ", "KUBE-EXT-NUKIZ6OKUXPJNT4C"]
        {
            assert!(is_of_service(chain), "{chain}");
        }
        for chain in [SERVICES, EXTERNAL_SERVICES, FORWARD, FIREWALL, "KUBE-IPTABLES-HINT", "CNI-1"]
        {
            assert!(!is_of_service(chain), "{chain}");
        }
    }
}
