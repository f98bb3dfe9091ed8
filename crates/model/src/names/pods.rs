//! Pods and their addresses, for names below `pod.ZONE` and the search paths of those who ask.

use std::net::{IpAddr, Ipv4Addr};

use super::addresses::{AddressMap, AddressSet};
use super::label::push_label;
use super::table::{Keyed, Table};
use crate::object::ObjectName;

#[derive(Debug, Default)]
pub(super) struct Pods {
    pods: Table<Pod>,
    by_address: AddressMap,
}

#[derive(Debug)]
struct Pod {
    /// The namespace as a label in wire form, then the name.
    key: Box<[u8]>,
    /// The listing that told of it last.
    seen: u32,
    addresses: PodAddresses,
}

#[derive(Debug, PartialEq, Eq)]
enum PodAddresses {
    One(Ipv4Addr),
    Others(Box<[IpAddr]>),
}

impl PodAddresses {
    fn new(addresses: &[IpAddr]) -> Self {
        match addresses {
            [IpAddr::V4(only)] => Self::One(*only),
            _ => Self::Others(addresses.into()),
        }
    }

    fn set(&self) -> AddressSet {
        match self {
            Self::One(only) => AddressSet { v4: [*only].into(), v6: Box::default() },
            Self::Others(all) => all.iter().copied().collect(),
        }
    }
}

impl Keyed for Pod {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Pod {
    fn namespace(&self) -> &[u8] {
        &self.key[..=usize::from(self.key[0])]
    }
}

fn key(name: &ObjectName) -> Option<Box<[u8]>> {
    let mut key = Vec::with_capacity(name.namespace.len() + name.name.len() + 1);
    push_label(&mut key, name.namespace.as_bytes())?;
    key.extend_from_slice(name.name.as_bytes());
    Some(key.into())
}

impl Pods {
    /// Takes note of a pod's addresses; one without is none. Returns whether anything changed.
    pub(super) fn upsert(&mut self, name: &ObjectName, addresses: &[IpAddr], seen: u32) -> bool {
        if addresses.is_empty() {
            return self.remove(name);
        }
        let Some(key) = key(name) else { return false };
        let addresses = PodAddresses::new(addresses);
        let known = self.pods.find(&key).or_else(|| {
            let addresses = PodAddresses::Others(Box::default());
            self.pods.add(Pod { key, seen, addresses })
        });
        let Some((number, pod)) =
            known.and_then(|number| Some((number, self.pods.at_mut(number)?)))
        else {
            return false;
        };
        pod.seen = seen;
        if pod.addresses == addresses {
            return false;
        }
        let (before, after) = (pod.addresses.set(), addresses.set());
        pod.addresses = addresses;
        self.by_address.update(number, &before, &after);
        true
    }

    pub(super) fn remove(&mut self, name: &ObjectName) -> bool {
        let number = key(name).and_then(|key| self.pods.find(&key));
        number.is_some_and(|number| self.take(number))
    }

    fn take(&mut self, number: u32) -> bool {
        let Some(pod) = self.pods.remove(number) else { return false };
        self.by_address.update(number, &pod.addresses.set(), &AddressSet::default());
        true
    }

    /// Forgets those that the listing `now` has not told of; returns how many.
    pub(super) fn sweep(&mut self, now: u32) -> u32 {
        let gone = self.pods.numbers(|pod| pod.seen != now);
        gone.into_iter().map(|number| u32::from(self.take(number))).sum()
    }

    /// The namespaces, as labels in wire form, of the pods at `address`.
    pub(super) fn namespaces(&self, address: IpAddr) -> impl Iterator<Item = &[u8]> {
        let owners = self.by_address.owners(address);
        owners.filter_map(|number| self.pods.at(number)).map(Pod::namespace)
    }
}
