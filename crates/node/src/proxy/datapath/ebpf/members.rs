//! Whose network namespaces are: where the cgroup is the whole machine's, other nodes' processes
//! are in it too, such as those of a lab. A namespace is this node's when one of its links leads
//! into the node's own. Programs ask for those that they meet, and leave them to the tables beneath
//! until somebody has looked.

use std::collections::HashSet;
use std::path::Path;

use portolan_linux::bpf::{self, Map};
use portolan_linux::cgroup::Cgroup;
use portolan_linux::netns::NetNs;
use portolan_linux::rtnl::Rtnl;
use portolan_linux::{Attempt, Failed};

use super::layout::{ASKED, MEMBER, STRANGER};

/// So many threads are asked at a time which network namespace they are in.
const THREADS: usize = 64;

/// A look at the namespaces that were asked for, which goes through the cgroup in pieces.
#[derive(Debug)]
pub(super) struct Look {
    /// The cookies, as they are in the map.
    asked: HashSet<[u8; 8]>,
    groups: Vec<Cgroup>,
    /// Of the group that was taken last.
    threads: Vec<u32>,
    seen: HashSet<u64>,
}

impl Look {
    /// Begins one, unless nobody asks.
    pub(super) fn begin(namespaces: &Map, cgroup: &Path) -> Attempt<Option<Self>> {
        let entries = namespaces.entries()?;
        let asked = entries.iter().filter(|(_, known)| *known == ASKED.to_ne_bytes());
        let asked: HashSet<_> =
            asked.filter_map(|(cookie, _)| cookie.first_chunk().copied()).collect();
        Ok((!asked.is_empty()).then(|| Self {
            asked,
            groups: vec![Cgroup::existing(cgroup)],
            threads: vec![],
            seen: HashSet::new(),
        }))
    }

    /// Goes on a little; `node` is the node's own namespace. Returns whether that was all.
    pub(super) fn go_on(&mut self, namespaces: &Map, node: &NetNs) -> Attempt<bool> {
        if self.threads.is_empty() {
            let Some(group) = self.groups.pop() else { return Ok(true) };
            self.groups.extend(group.children()?);
            self.threads = group.threads()?;
        }
        for thread in self.threads.split_off(self.threads.len().saturating_sub(THREADS)) {
            // One that ends meanwhile has no socket that anybody waits for.
            let Ok(netns) = NetNs::of_process(thread) else { continue };
            let Ok(id) = netns.id() else { continue };
            if self.seen.insert(id) {
                self.tell(namespaces, &netns, node)?;
            }
        }
        Ok(self.asked.is_empty())
    }

    /// Says whose a namespace is, if that was asked.
    fn tell(&mut self, namespaces: &Map, netns: &NetNs, node: &NetNs) -> Attempt<()> {
        let inside = || -> Result<_, Failed> {
            let cookie = bpf::netns_cookie()?.to_ne_bytes();
            let wanted = self.asked.contains(&cookie);
            let linked = if wanted { Some(Rtnl::open()?.is_linked_to(node)?) } else { None };
            Ok((cookie, linked))
        };
        let (cookie, Some(linked)) = netns.run(inside)?? else { return Ok(()) };
        let known = if linked { MEMBER } else { STRANGER };
        namespaces.put(&cookie, &known.to_ne_bytes())?;
        self.asked.remove(&cookie);
        Ok(())
    }
}
