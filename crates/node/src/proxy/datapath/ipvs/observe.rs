//! Reading virtual servers and tables back in the model's terms.
//!
//! This follows a packet through them, and shares no state with the code that writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;
use ipnet::IpNet;
use portolan_linux::ipvs::{Forward, RealServer, ServerKey, VirtualServer};
use portolan_model::frontend::{Family, FrontendAddress, FrontendKey};

use super::host::Addresses;
use super::layout::{Door, Set, TABLE};
use super::plane::Element;
use super::servers::Choice;
use crate::proxy::datapath::nftables::layout::{read_ip, table_family};
use crate::proxy::datapath::{Observed, ObservedAction, ObservedFrontend};

/// What was read.
pub(super) struct Host {
    pub(super) elements: BTreeSet<Element>,
    pub(super) servers: Vec<(VirtualServer, Vec<RealServer>)>,
    pub(super) addresses: Addresses,
}

/// The elements, by set and key.
struct Tables<'h> {
    by_key: HashMap<(Family, Set, &'h [u8]), &'h Element>,
}

impl<'h> Tables<'h> {
    fn has(&self, set: Set, door: &Door) -> bool {
        self.get(set, door).is_some()
    }

    fn get(&self, set: Set, door: &Door) -> Option<&'h Element> {
        self.by_key.get(&(door.family(), set, &*door.bytes())).copied()
    }
}

/// Says what the host holds.
pub(super) fn observed(host: &Host) -> Observed {
    let tables = Tables {
        by_key: host.elements.iter().map(|it| ((it.family, it.set, &*it.key), it)).collect(),
    };
    let servers: HashMap<ServerKey, &(VirtualServer, Vec<RealServer>)> =
        host.servers.iter().map(|server| (server.0.key, server)).collect();
    let allowed = allowed(host);
    let mut observed = Observed::default();
    let mut used = BTreeSet::new();
    let mut node_ports: BTreeMap<FrontendKey, Vec<ObservedFrontend>> = BTreeMap::new();
    for element in host.elements.iter().filter(|it| it.set == Set::Frontends) {
        let Some(door) = Door::from_bytes(element.family, &element.key) else {
            observed.strays.push("frontends holds a key of no known form".to_owned());
            continue;
        };
        let frontend = frontend(&tables, &servers, &door, &allowed, &mut used);
        let delivered =
            [&host.addresses.carried, &host.addresses.own].iter().any(|it| it.contains(&door.ip));
        let frontend = if delivered { frontend } else { lost(frontend) };
        if tables.has(Set::NodePorts, &door) {
            node_ports.entry(node_port(&door)).or_default().push(frontend);
        } else {
            let address = FrontendAddress::Ip(door.ip);
            let key = FrontendKey { address, protocol: door.protocol, port: door.port };
            observed.frontends.insert(key, frontend);
        }
    }
    for element in host.elements.iter().filter(|it| it.set == Set::NodePorts) {
        let door = Door::from_bytes(element.family, &element.key);
        let Some(door) = door.filter(|door| door.ip.is_unspecified()) else { continue };
        if !node_ports.contains_key(&node_port(&door)) {
            observed.undialled.insert(node_port(&door));
        }
    }
    for (key, all) in node_ports {
        observed.frontends.insert(key, merged(all));
    }
    strays(host, &servers, &used, &mut observed);
    addresses(host, &mut observed);
    observed
}

fn node_port(door: &Door) -> FrontendKey {
    let address = FrontendAddress::Node(door.family());
    FrontendKey { address, protocol: door.protocol, port: door.port }
}

fn frontend(
    tables: &Tables<'_>,
    servers: &HashMap<ServerKey, &(VirtualServer, Vec<RealServer>)>,
    door: &Door,
    allowed: &HashMap<Door, BTreeSet<IpNet>>,
    used: &mut BTreeSet<ServerKey>,
) -> ObservedFrontend {
    let mut serve = |key: ServerKey| match servers.get(&key) {
        None => ObservedAction::Broken(format!("there is no virtual server {key}")),
        Some((server, reals)) => {
            used.insert(key);
            let serving = reals.iter().filter(|real| real.weight > 0);
            if let Some(real) = serving.clone().find(|real| real.forward != Forward::Masquerade) {
                return ObservedAction::Broken(format!("{key} sends {} elsewhere", real.address));
            }
            ObservedAction::Balance {
                backends: serving.map(|real| real.address).collect::<BTreeSet<SocketAddr>>(),
                affinity_seconds: Choice::of(server).affinity(),
            }
        }
    };
    let mark = tables
        .get(Set::InsideMarks, door)
        .and_then(|it| it.data.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)))
        .map(|mark| ServerKey::Mark { mark, ipv6: door.ip.is_ipv6() });
    let mut action = |refused, dropped, key: ServerKey| {
        if tables.has(refused, door) {
            ObservedAction::Reject
        } else if tables.has(dropped, door) {
            ObservedAction::Drop
        } else {
            serve(key)
        }
    };
    let inside =
        action(Set::RefusedInside, Set::DroppedInside, mark.unwrap_or_else(|| door.server()));
    let outside = action(Set::RefusedOutside, Set::DroppedOutside, door.server());
    let table = format!("table {} {TABLE}", table_family(door.family()).keyword());
    let marked = mark.map(|key| format!(", {key} for the inside")).unwrap_or_default();
    ObservedFrontend {
        inside,
        outside,
        masquerade_pods: tables.has(Set::Masqueraded, door),
        sources: tables
            .has(Set::Guarded, door)
            .then(|| allowed.get(door).cloned().unwrap_or_default()),
        place: format!("IPVS virtual server {}{marked}; {table}, set frontends", door.server()),
    }
}

/// A frontend whose packets do not come by.
fn lost(frontend: ObservedFrontend) -> ObservedFrontend {
    let gone = |action| match action {
        ObservedAction::Balance { .. } => {
            ObservedAction::Broken("its address is not delivered to this node".to_owned())
        }
        other => other,
    };
    ObservedFrontend { inside: gone(frontend.inside), outside: gone(frontend.outside), ..frontend }
}

/// A node port, from what was read at each of the node's addresses.
fn merged(all: Vec<ObservedFrontend>) -> ObservedFrontend {
    let place = all.iter().map(|it| it.place.as_str()).collect::<Vec<_>>().join("; ");
    let mut all = all.into_iter();
    let Some(first) = all.next() else {
        return ObservedFrontend {
            inside: ObservedAction::Reject,
            outside: ObservedAction::Reject,
            masquerade_pods: false,
            sources: None,
            place,
        };
    };
    let plain = |it: &ObservedFrontend| ObservedFrontend { place: String::new(), ..it.clone() };
    if all.any(|other| plain(&other) != plain(&first)) {
        let broken = || ObservedAction::Broken("the node's addresses are not alike".to_owned());
        return ObservedFrontend { inside: broken(), outside: broken(), place, ..first };
    }
    ObservedFrontend { place, ..first }
}

fn allowed(host: &Host) -> HashMap<Door, BTreeSet<IpNet>> {
    let mut all: HashMap<Door, BTreeSet<IpNet>> = HashMap::new();
    for it in host.elements.iter().filter(|it| it.set == Set::Allowed) {
        let source = |bytes: &[u8], skip: usize| Some(read_ip(it.family, bytes.get(skip..)?)?.0);
        let skip = it.key.len() - if it.family == Family::Ipv4 { 4 } else { 16 };
        let net = source(&it.key, skip)
            .zip(source(&it.end, skip))
            .and_then(|(first, last)| between(first, last));
        if let (Some(door), Some(net)) = (Door::from_bytes(it.family, &it.key), net) {
            all.entry(door).or_default().insert(net);
        }
    }
    all
}

/// The network from its first address to its last; `None` if the two do not bound one.
fn between(first: IpAddr, last: IpAddr) -> Option<IpNet> {
    let bits = if first.is_ipv4() { 32 } else { 128 };
    (0..=bits).rev().find_map(|length| {
        let net = IpNet::new(first, length).ok()?;
        (net.network() == first && net.broadcast() == last).then_some(net)
    })
}

fn strays(
    host: &Host,
    servers: &HashMap<ServerKey, &(VirtualServer, Vec<RealServer>)>,
    used: &BTreeSet<ServerKey>,
    observed: &mut Observed,
) {
    // That of a mark is reached by nobody unless a frontend gives the mark, which it may not do yet,
    // or no more: another Service may have all its addresses.
    let ours = |key: &ServerKey| match key {
        ServerKey::Mark { .. } => false,
        ServerKey::Address { ip, .. } => host.addresses.carried.contains(ip),
    };
    let mut lost: Vec<String> = servers
        .iter()
        .filter(|(key, (_, reals))| {
            // One that only lets connections finish is no stray.
            ours(key) && !used.contains(*key) && reals.iter().any(|real| real.weight > 0)
        })
        .map(|(key, _)| format!("virtual server {key} belongs to no frontend"))
        .collect();
    lost.sort();
    observed.strays.extend(lost);
}

fn addresses(host: &Host, observed: &mut Observed) {
    let of = |set: Set| -> BTreeSet<IpAddr> {
        let elements = host.elements.iter().filter(|it| it.set == set);
        elements.filter_map(|it| Some(read_ip(it.family, &it.key)?.0)).collect()
    };
    observed.cluster_ips = of(Set::ClusterIps);
    observed.local_addresses = of(Set::LocalEndpoints);
    observed.node_addresses = of(Set::Nodes);
    let hairpin = of(Set::Hairpin);
    if hairpin != observed.local_addresses {
        observed.strays.push(format!("hairpin holds {hairpin:?}, unlike local_endpoints"));
    }
    let guarded = of(Set::Addresses);
    if guarded != host.addresses.carried {
        let carried = &host.addresses.carried;
        observed.strays.push(format!("addresses holds {guarded:?}, this node has {carried:?}"));
    }
}
