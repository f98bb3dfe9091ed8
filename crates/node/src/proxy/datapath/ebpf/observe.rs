//! Reading the maps back in the model's terms, as a program would.

use std::collections::{BTreeMap, BTreeSet};

use portolan_linux::Attempt;
use portolan_model::frontend::{Family, FrontendAddress, FrontendKey};
use portolan_model::object::Protocol;

use super::layout::{Entry, Key, NODE_ONLY, RESERVED, read_key};
use super::maps::Maps;
use super::plane::Plane;
use crate::proxy::datapath::{Observed, ObservedAction};

/// How an entry reads in a report.
fn text(key: &Key, entry: Entry) -> String {
    let (address, protocol) = match read_key(key) {
        Some((address, 17)) => (address.to_string(), "udp"),
        Some((address, _)) => (address.to_string(), "tcp"),
        None => ("?".to_owned(), "?"),
    };
    let whom = if entry.flags & NODE_ONLY != 0 { ", for the node's own processes" } else { "" };
    format!("map frontends {{ {address} {protocol} : pool {} }}{whom}", entry.pool)
}

/// Adds what the socket half holds to what the tables beneath do: where both serve a frontend,
/// they must say the same.
pub(super) fn add(maps: &Maps, plane: Option<&Plane>, observed: &mut Observed) -> Attempt<()> {
    let held = maps.frontends()?;
    let sorted: BTreeMap<&Key, Entry> = held.iter().map(|(key, entry)| (key, *entry)).collect();
    for (key, entry) in sorted {
        let place = text(key, entry);
        if entry.flags & RESERVED != 0 {
            continue;
        }
        let Some((address, number)) = read_key(key) else { continue };
        let protocol = if number == 17 { Protocol::Udp } else { Protocol::Tcp };
        let at = |address, port| FrontendKey { address, protocol, port };
        let exact = at(FrontendAddress::Ip(address.ip()), address.port());
        let node = at(FrontendAddress::Node(Family::of(&address.ip())), address.port());
        let known = if observed.frontends.contains_key(&exact) { exact } else { node };
        let Some(frontend) = observed.frontends.get_mut(&known) else {
            observed.strays.push(format!("{place} leads to a Service that is not there"));
            continue;
        };
        let pool = maps.pool(entry.pool, Family::of(&address.ip()));
        let served = pool.map(|pool| ObservedAction::Balance {
            backends: pool.members.iter().map(|(_, address)| *address).collect::<BTreeSet<_>>(),
            affinity_seconds: (pool.words.affinity != 0).then_some(pool.words.affinity),
        });
        if served.as_ref() != Some(&frontend.inside) {
            observed.strays.push(format!("{known} is {served:?} at the socket ({place})"));
        }
        frontend.place = format!("at the socket {place}; beneath {}", frontend.place);
    }
    let Some(plane) = plane else { return Ok(()) };
    for (key, entry) in plane.frontends.iter().filter(|(key, _)| !held.contains_key(*key)) {
        observed.strays.push(format!("missing at the socket: {}", text(key, entry)));
    }
    Ok(())
}
