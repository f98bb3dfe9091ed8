//! Whose network namespaces are: where the cgroup is the whole machine's, other nodes' processes
//! are in it too, such as those of a lab. A namespace is this node's when one of its links leads
//! into the node's own. Programs ask for those that they meet, and leave them to the tables beneath
//! until somebody has looked.

use std::path::Path;

use portolan_linux::bpf::{self, Map};
use portolan_linux::cgroup::Cgroup;
use portolan_linux::netns::NetNs;
use portolan_linux::rtnl::Rtnl;
use portolan_linux::{Attempt, Failed};

use super::layout::{ASKED, MEMBER, STRANGER};
use super::sockets::networks;

/// Looks at the namespaces that were asked for; `node` is the node's own. Returns how many.
pub(super) fn look(namespaces: &Map, cgroup: &Path, node: &NetNs) -> Attempt<usize> {
    let asked: Vec<Vec<u8>> = namespaces
        .entries()?
        .iter()
        .filter(|(_, known)| *known == ASKED.to_ne_bytes())
        .map(|(cookie, _)| cookie.to_vec())
        .collect();
    if asked.is_empty() {
        return Ok(0);
    }
    let mut told = 0;
    for netns in networks(&Cgroup::existing(cgroup).all_threads()?).values() {
        let inside = || -> Result<_, Failed> {
            let cookie = bpf::netns_cookie()?.to_ne_bytes();
            let wanted = asked.iter().any(|asked| *asked == cookie);
            let linked = if wanted { Some(Rtnl::open()?.is_linked_to(node)?) } else { None };
            Ok((cookie, linked))
        };
        let (cookie, Some(linked)) = netns.run(inside)?? else { continue };
        let known = if linked { MEMBER } else { STRANGER };
        namespaces.put(&cookie, &known.to_ne_bytes())?;
        told += 1;
    }
    Ok(told)
}
