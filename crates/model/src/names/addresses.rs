//! Addresses kept small: an IPv4 address takes four octets.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::answer::Addresses;

/// Addresses of both families, each sorted and once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressSet {
    pub(super) v4: Box<[Ipv4Addr]>,
    pub(super) v6: Box<[Ipv6Addr]>,
}

impl FromIterator<IpAddr> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        Self { v4: v4.into(), v6: v6.into() }
    }
}

impl AddressSet {
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.binary_search(&address).is_ok(),
            IpAddr::V6(address) => self.v6.binary_search(&address).is_ok(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.v6.iter().copied().map(IpAddr::V6);
        self.v4.iter().copied().map(IpAddr::V4).chain(v6)
    }

    pub(super) fn all(&self) -> Addresses<'_> {
        Addresses::Both(&self.v4, &self.v6)
    }
}

/// Who has an address, as numbers of a [`super::table::Table`]. Nearly every address has one owner.
#[derive(Debug, Default)]
pub(super) struct AddressMap {
    v4: HashTable<(Ipv4Addr, u32)>,
    v6: HashTable<(Ipv6Addr, u32)>,
    hasher: DefaultHashBuilder,
}

impl AddressMap {
    pub(super) fn owners(&self, address: IpAddr) -> Owners<'_> {
        match address {
            IpAddr::V4(address) => {
                let found = self.v4.iter_hash(self.hasher.hash_one(address));
                Owners::V4(address, found)
            }
            IpAddr::V6(address) => {
                let found = self.v6.iter_hash(self.hasher.hash_one(address));
                Owners::V6(address, found)
            }
        }
    }

    fn add(&mut self, address: IpAddr, owner: u32) {
        match address {
            IpAddr::V4(address) => add(&mut self.v4, &self.hasher, address, owner),
            IpAddr::V6(address) => add(&mut self.v6, &self.hasher, address, owner),
        }
    }

    fn remove(&mut self, address: IpAddr, owner: u32) {
        match address {
            IpAddr::V4(address) => remove(&mut self.v4, &self.hasher, address, owner),
            IpAddr::V6(address) => remove(&mut self.v6, &self.hasher, address, owner),
        }
    }

    /// Replaces the addresses of one owner, touching only those that differ.
    pub(super) fn update(&mut self, owner: u32, before: &AddressSet, after: &AddressSet) {
        for gone in before.iter().filter(|address| !after.contains(*address)) {
            self.remove(gone, owner);
        }
        for new in after.iter().filter(|address| !before.contains(*address)) {
            self.add(new, owner);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// The owners of one address, in no order.
pub(super) enum Owners<'a> {
    V4(Ipv4Addr, hashbrown::hash_table::IterHash<'a, (Ipv4Addr, u32)>),
    V6(Ipv6Addr, hashbrown::hash_table::IterHash<'a, (Ipv6Addr, u32)>),
}

impl Iterator for Owners<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Self::V4(address, found) => found.find(|known| known.0 == *address).map(|of| of.1),
            Self::V6(address, found) => found.find(|known| known.0 == *address).map(|of| of.1),
        }
    }
}

fn add<A: Copy + Hash>(
    table: &mut HashTable<(A, u32)>,
    hasher: &DefaultHashBuilder,
    address: A,
    owner: u32,
) {
    table.insert_unique(hasher.hash_one(address), (address, owner), |of| hasher.hash_one(of.0));
}

fn remove<A: Copy + Hash + Eq>(
    table: &mut HashTable<(A, u32)>,
    hasher: &DefaultHashBuilder,
    address: A,
    owner: u32,
) {
    let known = table.find_entry(hasher.hash_one(address), |known| *known == (address, owner));
    if let Ok(known) = known {
        known.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_many_owners() {
        let shared: IpAddr = "10.0.0.1".parse().expect("an address");
        let own = |n: u32| IpAddr::from(Ipv6Addr::from(u128::from(n)));
        let mut map = AddressMap::default();
        let set = |n: u32| AddressSet::from_iter([shared, own(n), shared]);
        for n in 0..500 {
            map.update(n, &AddressSet::default(), &set(n));
        }
        let mut owners: Vec<u32> = map.owners(shared).collect();
        owners.sort_unstable();
        assert_eq!(owners, (0..500).collect::<Vec<_>>());
        assert_eq!(map.owners(own(7)).collect::<Vec<_>>(), [7]);
        for n in 0..500 {
            map.update(n, &set(n), &AddressSet::from_iter([own(n)]));
        }
        assert_eq!(map.owners(shared).count(), 0);
        for n in 0..500 {
            map.update(n, &AddressSet::from_iter([own(n)]), &AddressSet::default());
        }
        assert!(map.is_empty());
    }
}
