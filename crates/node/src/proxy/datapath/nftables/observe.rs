//! Reading the tables back in the model's terms.
//!
//! This follows the maps as a packet would, and shares no state with the code that writes them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;
use ipnet::IpNet;
use portolan_linux::netlink::NetlinkError;
use portolan_linux::nftables::{Elements, Reader};
use portolan_model::frontend::{Family, FrontendAddress, FrontendKey};

use super::layout::{
    CHOOSE, Class, Number, Set, TABLE, frontend_key, read_frontend_key, read_ip, read_port,
    table_family,
};
use crate::proxy::datapath::{Observed, ObservedAction, ObservedFrontend};

/// Which set, pool and index.
type Slot = (Set, u32, u32);

struct Maps {
    family: Family,
    classes: HashMap<u16, String>,
    inside: HashMap<u32, Number>,
    outside: HashMap<u32, Number>,
    endpoints: HashMap<Slot, SocketAddr>,
    slots: HashMap<Slot, u32>,
    kept: HashMap<u32, SocketAddr>,
    allowed: HashMap<FrontendKey, BTreeSet<IpNet>>,
    used: BTreeSet<Slot>,
}

/// Adds what one family's table holds to `observed`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    family: Family,
    observed: &mut Observed,
) -> Result<(), NetlinkError> {
    let table = table_family(family);
    let mut dump = |name: &str| match reader.elements(table, TABLE, name) {
        Err(error) if error.is_not_found() => Ok(Elements::default()),
        other => other,
    };
    let number = |bytes: &[u8]| Number::from_bytes(bytes);
    let u32_at = |bytes: &[u8], at: usize| number(bytes.get(at..).unwrap_or_default()).0;
    let address = |bytes: &[u8]| {
        let (ip, rest) = read_ip(family, bytes)?;
        Some(SocketAddr::new(ip, read_port(rest)?))
    };
    let mut maps = Maps {
        family,
        classes: dump(CHOOSE)?
            .iter()
            .map(|e| (number(e.key).class(), e.chain.to_owned()))
            .collect(),
        inside: dump(Set::Inside.name())?
            .iter()
            .map(|e| (number(e.key).0, number(e.data)))
            .collect(),
        outside: dump(Set::Outside.name())?
            .iter()
            .map(|e| (number(e.key).0, number(e.data)))
            .collect(),
        endpoints: HashMap::new(),
        slots: HashMap::new(),
        kept: dump(Set::Kept.name())?
            .iter()
            .filter_map(|e| Some((number(e.key).0, address(e.data)?)))
            .collect(),
        allowed: HashMap::new(),
        used: BTreeSet::new(),
    };
    for set in [Set::EndpointsTcp, Set::EndpointsUdp, Set::EndpointsSctp] {
        let held = dump(set.name())?;
        let slots = held
            .iter()
            .filter_map(|e| Some(((set, u32_at(e.key, 0), u32_at(e.key, 4)), address(e.data)?)));
        maps.endpoints.extend(slots);
    }
    for element in dump(Set::Slots.name())?.iter() {
        let slot = (Set::Slots, u32_at(element.key, 0), u32_at(element.key, 4));
        maps.slots.insert(slot, number(element.data).0);
    }
    let guarded = dump(Set::Guarded.name())?;
    for element in guarded.iter() {
        if let Some(key) = read_frontend_key(family, Set::Frontends, element.key) {
            maps.allowed.insert(key, BTreeSet::new());
        }
    }
    for element in dump(Set::Allowed.name())?.iter() {
        maps.allow(element.key, element.key_end.unwrap_or_default(), observed);
    }
    for set in [Set::Frontends, Set::NodePorts] {
        for element in dump(set.name())?.iter() {
            let Some(key) = read_frontend_key(family, set, element.key) else {
                observed.strays.push(format!("{} holds a key of no known form", set.name()));
                continue;
            };
            let frontend = maps.frontend(&key, set, number(element.data));
            observed.frontends.insert(key, frontend);
        }
    }
    maps.strays(observed);
    let mut addresses = |set: Set, into: &mut BTreeSet<IpAddr>| -> Result<(), NetlinkError> {
        into.extend(dump(set.name())?.iter().filter_map(|e| Some(read_ip(family, e.key)?.0)));
        Ok(())
    };
    addresses(Set::ClusterIps, &mut observed.cluster_ips)?;
    addresses(Set::LocalEndpoints, &mut observed.local_addresses)?;
    addresses(Set::Nodes, &mut observed.node_addresses)?;
    let pairs = dump(Set::Hairpin.name())?;
    let hairpin: BTreeSet<IpAddr> =
        pairs.iter().filter_map(|e| Some(read_ip(family, e.key)?.0)).collect();
    let local = observed.local_addresses.iter().filter(|ip| Family::of(ip) == family);
    if !hairpin.iter().eq(local) {
        observed.strays.push(format!("hairpin holds {hairpin:?}, unlike local_endpoints"));
    }
    Ok(())
}

impl Maps {
    fn allow(&mut self, first: &[u8], last: &[u8], observed: &mut Observed) {
        let width = match self.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 16,
        };
        let at = width + 8;
        let key = read_frontend_key(self.family, Set::Frontends, first);
        let source = |bytes: &[u8]| Some(read_ip(self.family, bytes.get(at..)?)?.0);
        let net = source(first).zip(source(last)).and_then(|(first, last)| between(first, last));
        match key.zip(net) {
            Some((key, net)) if self.allowed.contains_key(&key) => {
                self.allowed.entry(key).or_default().insert(net);
            }
            _ => observed.strays.push("allowed holds an entry of no guarded frontend".to_owned()),
        }
    }

    fn frontend(&mut self, key: &FrontendKey, set: Set, number: Number) -> ObservedFrontend {
        let (_, bytes) = frontend_key(key);
        debug_assert!(!bytes.is_empty());
        let (inside, outside) = if number.class() == Class::SPLIT {
            (self.split(key, number, true), self.split(key, number, false))
        } else {
            (self.action(key, number), self.action(key, number))
        };
        let masquerade_pods = number.masquerades();
        let dialled = match key.address {
            FrontendAddress::Ip(ip) => format!("{ip} . "),
            FrontendAddress::Node(_) => String::new(),
        };
        let protocol = key.protocol.as_str().to_lowercase();
        ObservedFrontend {
            inside,
            outside,
            masquerade_pods,
            sources: self.allowed.get(key).cloned(),
            place: format!(
                "table {} {TABLE}, map {} {{ {dialled}{protocol} . {} : {number} }}",
                table_family(self.family).keyword(),
                set.name(),
                key.port,
            ),
        }
    }

    fn split(&mut self, key: &FrontendKey, number: Number, inside: bool) -> ObservedAction {
        let map = if inside { &self.inside } else { &self.outside };
        match map.get(&number.0) {
            Some(number) => self.action(key, *number),
            None => ObservedAction::Broken(format!("{number} is in neither half")),
        }
    }

    fn action(&mut self, key: &FrontendKey, number: Number) -> ObservedAction {
        let class = match self.classes.get(&number.class()).map(String::as_str) {
            Some("refuse") => return ObservedAction::Reject,
            Some("discard") => return ObservedAction::Drop,
            Some(chain) => Class::of_chain(chain),
            None => None,
        };
        let Some(class) = class else {
            return ObservedAction::Broken(format!("no chain for {number}"));
        };
        let pool = number.0 & Number::POOL_MASK;
        let mut backends = BTreeSet::new();
        for index in 0..class.count {
            let set = match class.affinity {
                None => Set::endpoints(key.protocol),
                Some(_) => Set::Slots,
            };
            let slot = (set, pool, index);
            self.used.insert(slot);
            let backend = match class.affinity {
                None => self.endpoints.get(&slot),
                Some(_) => self.slots.get(&slot).and_then(|label| self.kept.get(label)),
            };
            match backend {
                Some(backend) => drop(backends.insert(*backend)),
                None => return ObservedAction::Broken(format!("{number} has no backend {index}")),
            }
        }
        ObservedAction::Balance { backends, affinity_seconds: class.affinity }
    }

    fn strays(&self, observed: &mut Observed) {
        let all = self.endpoints.keys().chain(self.slots.keys());
        *observed.unreached.get_or_insert(0) +=
            all.filter(|slot| !self.used.contains(*slot)).count();
        let labels: BTreeSet<u32> = self.slots.values().copied().collect();
        let lost = self.kept.keys().filter(|label| !labels.contains(*label));
        observed.strays.extend(
            lost.map(|label| format!("kept holds {}, which nobody reaches", Number(*label))),
        );
    }
}

/// The network from its first address to its last; `None` if the two do not bound one.
fn between(first: IpAddr, last: IpAddr) -> Option<IpNet> {
    let bits = if first.is_ipv4() { 32 } else { 128 };
    (0..=bits).rev().find_map(|length| {
        let net = IpNet::new(first, length).ok()?;
        (net.network() == first && net.broadcast() == last).then_some(net)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_by_its_ends() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for text in ["10.0.0.0/8", "192.0.2.1/32", "0.0.0.0/0", "2001:db8::/64", "::1/128"] {
            assert_eq!(between(net(text).network(), net(text).broadcast()), Some(net(text)));
        }
        assert_eq!(between([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), None);
    }
}
