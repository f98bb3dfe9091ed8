//! Connected UDP sockets whose backend is gone. Nothing that they send passes a hook any more, and
//! nobody would ever tell them; so they are told, and dial again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use hashbrown::{HashMap, HashSet};
use portolan_linux::bpf::Map;
use portolan_linux::cgroup::Cgroup;
use portolan_linux::netlink::Socket;
use portolan_linux::netns::NetNs;
use portolan_linux::sock_diag;

use super::EbpfError;
use super::layout::{Key, read_key};

/// Ends the connections for which `is_stale` says so of frontend and backend. Returns how many.
pub(super) fn end_stale(
    connected: &Map,
    cgroup: &Path,
    is_stale: &mut dyn FnMut(SocketAddr, SocketAddr) -> bool,
) -> Result<usize, EbpfError> {
    let mut stale: HashMap<u64, SocketAddr> = HashMap::new();
    for (cookie, peer) in connected.entries()?.iter() {
        let (frontend, backend) = peer.split_at(size_of::<Key>().min(peer.len()));
        let parts = (cookie.first_chunk(), read_key(frontend), read_key(backend));
        if let (Some(cookie), Some((frontend, _)), Some((backend, _))) = parts
            && is_stale(frontend, backend)
        {
            stale.insert(u64::from_ne_bytes(*cookie), backend);
        }
    }
    if stale.is_empty() {
        return Ok(0);
    }
    let mut ended = 0;
    for netns in networks(cgroup)?.values() {
        ended += netns.run(|| end_in_this(&stale))??;
    }
    let cookies: Vec<u8> = stale.keys().flat_map(|cookie| cookie.to_ne_bytes()).collect();
    connected.delete(&cookies)?;
    Ok(ended)
}

fn end_in_this(stale: &HashMap<u64, SocketAddr>) -> Result<usize, EbpfError> {
    let mut socket = Socket::sock_diag()?;
    let mut ended = 0;
    for found in sock_diag::connected_udp(&mut socket)? {
        if stale.get(&found.cookie) == Some(&found.peer) {
            ended += usize::from(sock_diag::abort(&mut socket, &found)?);
        }
    }
    Ok(ended)
}

/// The network namespaces that the cgroup's threads are in, by their numbers.
fn networks(cgroup: &Path) -> Result<BTreeMap<u64, NetNs>, EbpfError> {
    let mut found = BTreeMap::new();
    let mut seen = HashSet::new();
    for thread in Cgroup::existing(cgroup).all_threads()? {
        // One that ends meanwhile has no socket that anybody waits for.
        let Ok(netns) = NetNs::of_process(thread) else { continue };
        let Ok(id) = netns.id() else { continue };
        if seen.insert(id) {
            found.insert(id, netns);
        }
    }
    Ok(found)
}
