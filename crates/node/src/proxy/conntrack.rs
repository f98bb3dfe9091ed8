//! UDP connections that the kernel remembers although their endpoint is gone.
//!
//! A TCP connection ends with its endpoint. A UDP "connection" is only a memory of the kernel,
//! kept alive by the client's own packets, and would send them to a dead address for as long as
//! the client goes on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use portolan_linux::conntrack::{self, Flow, Tuple};
use portolan_linux::netlink::{NetlinkError, Socket};
use portolan_model::desired::candidates;
use portolan_model::frontend::{Action, Family, Frontend, FrontendAddress, FrontendKey};
use portolan_model::object::Protocol;
use portolan_model::{Changes, Desired, Snapshot};

/// Whether the changes can have left stale connections behind.
pub(super) fn concerns(changes: &Changes) -> bool {
    changes.pools.keys().any(|key| key.port.protocol == Protocol::Udp)
        || changes.frontends.keys().any(|key| key.protocol == Protocol::Udp)
}

/// Deletes the UDP connections to frontends whose answers come from no backend of theirs. Returns
/// how many.
pub(super) fn sweep(
    snapshot: &Snapshot,
    desired: &Desired,
    changes: Option<&Changes>,
) -> Result<usize, NetlinkError> {
    let removed = removed(changes);
    let mut socket = Socket::netfilter()?;
    let mut deleted = 0;
    for family in &desired.view.families {
        let mut stale = Vec::new();
        conntrack::flows(&mut socket, *family == Family::Ipv6, Protocol::Udp.number(), |flow| {
            if is_stale(snapshot, desired, &removed, &flow) {
                stale.push(flow);
            }
        })?;
        for flow in stale {
            deleted += usize::from(conntrack::delete(&mut socket, &flow)?);
        }
    }
    Ok(deleted)
}

/// The frontends that changes took away.
pub(super) fn removed(changes: Option<&Changes>) -> BTreeSet<FrontendKey> {
    changes
        .into_iter()
        .flat_map(|changes| &changes.frontends)
        .filter(|(_, change)| change.after.is_none())
        .map(|(key, _)| *key)
        .collect()
}

/// The same question about a UDP socket that dialled a frontend and was handed a backend.
pub(super) fn is_stale_socket(
    snapshot: &Snapshot,
    desired: &Desired,
    removed: &BTreeSet<FrontendKey>,
    dialled: SocketAddr,
    backend: SocketAddr,
) -> bool {
    // Seen from the wire, a translation like any other.
    let tuple = |source: SocketAddr, destination: SocketAddr| Tuple {
        source: source.ip(),
        destination: destination.ip(),
        source_port: source.port(),
        destination_port: destination.port(),
    };
    let nobody = SocketAddr::new(dialled.ip(), 0);
    let flow = Flow {
        protocol: Protocol::Udp.number(),
        original: tuple(nobody, dialled),
        reply: tuple(backend, nobody),
        zone: 0,
        destination_nat: true,
    };
    is_stale(snapshot, desired, removed, &flow)
}

fn is_stale(
    snapshot: &Snapshot,
    desired: &Desired,
    removed: &BTreeSet<FrontendKey>,
    flow: &Flow,
) -> bool {
    let at = |address| FrontendKey {
        address,
        protocol: Protocol::Udp,
        port: flow.original.destination_port,
    };
    let dialled = flow.original.destination;
    let exact = at(FrontendAddress::Ip(dialled));
    if let Some(frontend) = desired.frontend(&exact) {
        return !answers(snapshot, desired, &exact, frontend, flow);
    }
    if desired.is_cluster_ip(&dialled) || removed.contains(&exact) {
        return flow.destination_nat;
    }
    // Whether the address was this node's is only certain for those that the Node object lists; a
    // translated connection to a node port's number is taken for one to the node.
    let node = at(FrontendAddress::Node(Family::of(&dialled)));
    if !flow.destination_nat && !desired.own_addresses().contains(&dialled) {
        return false;
    }
    match desired.frontend(&node) {
        Some(frontend) => !answers(snapshot, desired, &node, frontend, flow),
        None => flow.destination_nat && removed.contains(&node),
    }
}

/// Whether who answers is a backend of the frontend, or one that still serves while it goes.
fn answers(
    snapshot: &Snapshot,
    desired: &Desired,
    key: &FrontendKey,
    frontend: &Frontend,
    flow: &Flow,
) -> bool {
    let (ip, port): (IpAddr, u16) = (flow.reply.source, flow.reply.source_port);
    let in_pool = [frontend.inside, frontend.outside].into_iter().any(|action| {
        let Action::Balance(scope) = action else { return false };
        let pool = desired.pool_of(key, &frontend.port, scope);
        pool.is_some_and(|pool| {
            pool.backends.iter().any(|backend| (backend.address, backend.port) == (ip, port))
        })
    });
    if in_pool {
        return true;
    }
    let slices: Vec<_> = snapshot.slices(&frontend.port.service).cloned().collect();
    let all = candidates(&slices, &frontend.port, key.family(), &desired.view.name);
    let mut leaving = all.iter().filter(|item| item.endpoint.serving && item.endpoint.terminating);
    leaving.any(|item| (item.backend.address, item.backend.port) == (ip, port))
}
