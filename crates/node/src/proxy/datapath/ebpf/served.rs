//! Which frontends are served at the socket, and under which keys. All others, and all that this
//! leaves out, are served by the tables beneath.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan_model::Desired;
use portolan_model::frontend::{
    Action, Family, Frontend, FrontendAddress, FrontendKey, FrontendKind, Scope,
};

use super::layout::{Key, NODE_ONLY, key, protocol_number};

/// How a frontend is served at the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) scope: Scope,
    pub(super) flags: u32,
}

/// Whether, and how, connections that local sockets open to a frontend can be given a backend
/// before the first packet, so that every answer is what the tables beneath would give.
pub(super) fn served(desired: &Desired, key: &FrontendKey, frontend: &Frontend) -> Option<Served> {
    protocol_number(key.protocol)?;
    // Refusing, dropping and telling pods from strangers needs the packet and its source address,
    // which a socket has only later.
    if frontend.inside != frontend.outside || frontend.sources.is_some() {
        return None;
    }
    let Action::Balance(scope) = frontend.inside else { return None };
    let cluster_ip = match &key.address {
        FrontendAddress::Ip(ip) => desired.is_cluster_ip(ip),
        FrontendAddress::Node(_) => false,
    };
    // Nobody is masqueraded at the socket.
    if desired.view.masquerade_all && cluster_ip {
        return None;
    }
    let pool = desired.pool_of(key, &frontend.port, scope)?;
    let hidden = frontend.masquerade_pods && pool.backends.iter().any(|backend| !backend.local);
    Some(Served { scope, flags: if hidden { NODE_ONLY } else { 0 } })
}

/// The addresses under which a frontend is dialled, as far as they are known beforehand: a node
/// port is known on the node's own InternalIPs. What another frontend has in its own name is its.
pub(super) fn keys(desired: &Desired, of: &FrontendKey) -> Vec<Key> {
    let Some(protocol) = protocol_number(of.protocol) else { return vec![] };
    let family = match &of.address {
        FrontendAddress::Ip(ip) => return vec![key(ip, of.port, protocol)],
        FrontendAddress::Node(family) => *family,
    };
    let nets = desired.node_port_networks(family);
    let answers = |ip: &&IpAddr| nets.iter().any(|net| net.contains(*ip));
    let free = |ip: &&IpAddr| {
        let exact = FrontendKey { address: FrontendAddress::Ip(**ip), ..*of };
        desired.frontend(&exact).is_none() && !desired.is_cluster_ip(ip)
    };
    let own = desired.own_addresses().iter().filter(|ip| Family::of(ip) == family);
    own.filter(answers).filter(free).map(|ip| key(ip, of.port, protocol)).collect()
}

/// The key that keeps a node port free of listeners.
pub(super) fn reservation(of: &FrontendKey, frontend: &Frontend) -> Option<Key> {
    let FrontendAddress::Node(family) = &of.address else { return None };
    let any: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let protocol = protocol_number(of.protocol)?;
    (frontend.kind == FrontendKind::NodePort).then(|| key(&any, of.port, protocol))
}
