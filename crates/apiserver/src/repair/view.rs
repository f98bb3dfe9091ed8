//! Reads what is looked at out of the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::plan::{Address, Holder, View};
use crate::cache::{Object, TableId};
use crate::handlers::{FAMILY_LABEL, MANAGED_BY, MANAGED_BY_LABEL, family_of, owner_of};
use crate::resource::{claimed_addresses, claimed_ports};
use crate::server::Server;

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn holder(object: &Object) -> Holder {
    let service = object.value();
    Holder {
        key: format!("{}/{}", text(&service, "namespace"), text(&service, "name")),
        uid: text(&service, "uid").to_owned(),
        revision: object.revision,
        addresses: claimed_addresses(&service).into_iter().map(str::to_owned).collect(),
        ports: claimed_ports(&service),
    }
}

fn address(object: &Object, now: jiff::Timestamp) -> Option<Address> {
    let value = object.value();
    let ip: IpAddr = text(&value, "name").parse().ok()?;
    let labels = &value["metadata"]["labels"];
    let managed = labels[MANAGED_BY_LABEL] == MANAGED_BY;
    let parent = &value["spec"]["parentRef"];
    let part = |field: &str| parent[field].as_str().unwrap_or_default();
    let made = text(&value, "creationTimestamp").parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Some(Address {
        ip,
        uid: text(&value, "uid").to_owned(),
        revision: object.revision,
        managed,
        labelled: managed && labels[FAMILY_LABEL] == family_of(ip),
        service: owner_of(&value),
        parent: ["group", "resource", "namespace", "name"]
            .map(part)
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/"),
        age_seconds: now.duration_since(made).as_secs(),
    })
}

/// Everything.
pub(super) fn all(server: &Server, services: TableId, addresses: TableId) -> View {
    let claims = server.cache.claims(services, addresses);
    let now = jiff::Timestamp::now();
    View {
        holders: claims.services.iter().map(|object| holder(object)).collect(),
        addresses: claims.addresses.iter().filter_map(|object| address(object, now)).collect(),
        ports: Some(claims.node_ports),
    }
}

/// Those addresses and Services, and the ones that they name.
///
/// The objects are not read at one moment; a plan that rests on a mixture fails when it is carried
/// out, for each step demands that its Service and its address are as they were seen.
pub(super) fn around(
    server: &Server,
    services: TableId,
    addresses: TableId,
    names: &BTreeSet<String>,
    owners: &BTreeSet<String>,
) -> View {
    let now = jiff::Timestamp::now();
    let mut known: BTreeMap<String, Holder> = BTreeMap::new();
    let mut found: BTreeMap<String, Arc<Object>> = BTreeMap::new();
    let (mut names, mut owners) = (names.clone(), owners.clone());
    // From an address to its Service, to that one's addresses, to the Services that these name.
    for _ in 0..3 {
        for name in std::mem::take(&mut names) {
            if let Some(object) = server.cache.get(addresses, &name) {
                owners.insert(owner_of(&object.value()));
                found.insert(name, object);
            }
        }
        for key in std::mem::take(&mut owners) {
            if known.contains_key(&key) {
                continue;
            }
            if let Some(object) = server.cache.get(services, &key) {
                let holder = holder(&object);
                names.extend(holder.addresses.iter().cloned());
                known.insert(key, holder);
            }
        }
    }
    View {
        holders: known.into_values().collect(),
        addresses: found.values().filter_map(|object| address(object, now)).collect(),
        ports: None,
    }
}
