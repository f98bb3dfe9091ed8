//! The node's part in the pod network: forwarding, and routes to the other nodes' pods by way of
//! their addresses on the network that the nodes share.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use portolan_linux::{
    Attempt,
    route::{Action, Route},
    rtnl::Rtnl,
    sysctl,
};

use super::{AgentConfig, node::internal_ips};
use crate::pods::sandbox::ROUTE_PROTOCOL;

/// Another node, as far as routes go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) pod_cidrs: Vec<IpNet>,
    pub(super) addresses: Vec<IpAddr>,
}

/// What routes need to know of a Node.
pub(super) fn peer(node: &Node) -> Option<(String, Peer)> {
    let name = node.metadata.name.clone()?;
    let spec = node.spec.as_ref();
    let mut texts = spec.and_then(|s| s.pod_cidrs.clone()).unwrap_or_default();
    if texts.is_empty() {
        texts.extend(spec.and_then(|s| s.pod_cidr.clone()));
    }
    let pod_cidrs = texts.iter().filter_map(|t| t.parse().ok()).collect();
    Some((name, Peer { pod_cidrs, addresses: internal_ips(node) }))
}

/// Lets this machine forward, and refuses addresses of its own range that no pod has.
pub(super) fn set_up(config: &AgentConfig, cidrs: &[IpNet]) -> Attempt<()> {
    let mut settings = vec![
        ("net.ipv4.ip_forward", "1"),
        // A pod's packet to a Service may go back out where it came in.
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.conf.default.send_redirects", "0"),
    ];
    if cidrs.iter().any(|c| c.addr().is_ipv6()) {
        settings.push(("net.ipv6.conf.all.forwarding", "1"));
    }
    // Strict reverse-path filtering drops answers that take another way back: make it loose.
    for name in ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"] {
        if sysctl::get(name).is_ok_and(|v| v == "1") {
            settings.push((name, "2"));
        }
    }
    let missing = sysctl::set_present(&settings)?;
    if !missing.is_empty() {
        tracing::warn!(?missing, "this kernel lacks settings of the pod network");
    }
    let rtnl = Rtnl::open()?;
    for cidr in cidrs {
        rtnl.replace_route(&own_range(*cidr))?;
    }
    tracing::info!(node = config.node_name, ?cidrs, "pod network ready");
    Ok(())
}

/// Packets to an address of the node's range that no pod has are refused here instead of
/// travelling in circles. Pods have routes of their own, which are longer.
fn own_range(cidr: IpNet) -> Route {
    Route {
        protocol: ROUTE_PROTOCOL,
        metric: Some(1024),
        ..Route::discard(cidr.trunc(), Action::Unreachable)
    }
}

/// The routes to the other nodes' pods.
fn wanted(own: &str, peers: &BTreeMap<String, Peer>) -> Vec<Route> {
    let mut routes = Vec::new();
    for (_, peer) in peers.iter().filter(|(name, _)| *name != own) {
        for cidr in &peer.pod_cidrs {
            let same_family = |a: &&IpAddr| a.is_ipv4() == cidr.addr().is_ipv4();
            if let Some(gateway) = peer.addresses.iter().find(same_family) {
                routes
                    .push(Route { protocol: ROUTE_PROTOCOL, ..Route::via(cidr.trunc(), *gateway) });
            }
        }
    }
    routes
}

/// Makes the kernel's routes to other nodes' pods those that the Nodes ask for.
pub(super) fn sync_routes(own: &str, peers: &BTreeMap<String, Peer>) -> Attempt<()> {
    let rtnl = Rtnl::open()?;
    let wanted = wanted(own, peers);
    let held = rtnl.routes()?;
    for route in held.iter().filter(|r| r.protocol == ROUTE_PROTOCOL && r.gateway.is_some()) {
        if !wanted.iter().any(|w| w.destination == route.destination) {
            rtnl.delete_route(route)?;
        }
    }
    for route in &wanted {
        let same = |r: &&Route| r.destination == route.destination && r.gateway == route.gateway;
        if !held.iter().any(|r| same(&r)) {
            rtnl.replace_route(route)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use portolan_linux::{
        link::VethEnd,
        netns::{self, NetNs},
    };

    use super::*;

    fn peer_of(cidrs: &[&str], addresses: &[&str]) -> Peer {
        Peer {
            pod_cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn each_family_goes_by_the_nodes_address_of_that_family() {
        let peers = BTreeMap::from([
            ("a".to_owned(), peer_of(&["10.244.0.0/24"], &["192.0.2.1"])),
            (
                "b".to_owned(),
                peer_of(&["10.244.1.0/24", "fd00:1::/64"], &["192.0.2.2", "2001:db8::2"]),
            ),
            ("c".to_owned(), peer_of(&[], &["192.0.2.3"])),
            ("d".to_owned(), peer_of(&["fd00:2::/64"], &["192.0.2.4"])),
        ]);
        let found: Vec<_> = wanted("a", &peers)
            .into_iter()
            .map(|r| (r.destination.to_string(), r.gateway.unwrap().to_string()))
            .collect();
        assert_eq!(
            found,
            [
                ("10.244.1.0/24".into(), "192.0.2.2".into()),
                ("fd00:1::/64".into(), "2001:db8::2".into())
            ]
        );
    }

    #[test]
    fn routes_follow_the_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        ns.run(|| {
            let rtnl = Rtnl::open().unwrap();
            rtnl.add_veth(&VethEnd::new("eth0"), &VethEnd::new("other")).unwrap();
            rtnl.add_address("eth0", "192.0.2.1/24".parse().unwrap()).unwrap();
            rtnl.set_up("eth0").unwrap();
            rtnl.set_up("other").unwrap();
            rtnl.add_route(&Route::default_via("192.0.2.254".parse().unwrap())).unwrap();
            set_up(&AgentConfig::new("a", vec![], "/x"), &["10.244.0.0/24".parse().unwrap()])
                .unwrap();
            assert_eq!(sysctl::get("net.ipv4.ip_forward").unwrap(), "1");
            let mut peers = BTreeMap::from([
                ("b".to_owned(), peer_of(&["10.244.1.0/24"], &["192.0.2.2"])),
                ("c".to_owned(), peer_of(&["10.244.2.0/24"], &["192.0.2.3"])),
            ]);
            sync_routes("a", &peers).unwrap();
            sync_routes("a", &peers).unwrap();
            let count = || rtnl.routes().unwrap().len();
            assert_eq!(count(), 4);
            peers.remove("c");
            peers.get_mut("b").unwrap().addresses = vec!["192.0.2.9".parse().unwrap()];
            sync_routes("a", &peers).unwrap();
            let routes = rtnl.routes().unwrap();
            assert_eq!(routes.len(), 3);
            assert!(routes.iter().any(|r| r.gateway == Some("192.0.2.9".parse().unwrap())));
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
