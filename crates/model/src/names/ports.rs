//! Lists of ports, of which a cluster with thousands of Services has a handful.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::object::Protocol;

/// A port with a name, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) name: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) number: u16,
}

impl Port {
    pub(super) fn is(&self, name: &[u8], protocol: Protocol) -> bool {
        self.protocol == protocol && self.name.as_bytes().eq_ignore_ascii_case(name)
    }
}

/// One copy of each list.
#[derive(Debug, Default)]
pub(super) struct PortLists {
    lists: HashSet<Arc<[Port]>>,
    sweep_at: usize,
}

impl PortLists {
    /// Below this size a sweep is not worth its time.
    const SWEEP_FLOOR: usize = 256;

    pub(super) fn share(&mut self, ports: Vec<Port>) -> Arc<[Port]> {
        if let Some(known) = self.lists.get(&ports[..]) {
            return known.clone();
        }
        if self.lists.len() >= self.sweep_at.max(Self::SWEEP_FLOOR) {
            self.lists.retain(|list| Arc::strong_count(list) > 1);
            self.sweep_at = self.lists.len() * 2;
        }
        let list: Arc<[Port]> = ports.into();
        self.lists.insert(list.clone());
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_and_unused_ones_are_let_go() {
        let list = |number| vec![Port { name: "x".into(), protocol: Protocol::Tcp, number }];
        let mut lists = PortLists::default();
        let kept = lists.share(list(1));
        for number in 0..5000 {
            lists.share(list(number));
        }
        assert!(lists.lists.len() <= 2 * PortLists::SWEEP_FLOOR, "{} kept", lists.lists.len());
        assert!(Arc::ptr_eq(&kept, &lists.share(list(1))));
    }
}
