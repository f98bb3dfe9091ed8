//! Connected UDP sockets whose backend is gone. Nothing that they send passes a hook any more, and
//! nobody would ever tell them. So they are connected again, to the address that they dialled, in
//! their owners' stead: the programs hand them another backend, and where there is none the tables
//! beneath serve them from then on. Where an owner's descriptor cannot be had, the connection is
//! ended, and the owner dials again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use hashbrown::{HashMap, HashSet};
use portolan_linux::bpf::Map;
use portolan_linux::cgroup::Cgroup;
use portolan_linux::foreign::{Foreign, Holder, holders};
use portolan_linux::netlink::Socket;
use portolan_linux::netns::NetNs;
use portolan_linux::sock_diag::{self, UdpSocket};
use portolan_linux::{Attempt, Failed};

use super::EbpfError;
use super::layout::{Key, read_key};
use crate::proxy::datapath::Redialled;

/// What a socket dialled and got, as it is in the map.
struct Stale {
    frontend: SocketAddr,
    backend: SocketAddr,
    value: Vec<u8>,
}

/// Connects anew what `is_stale` says so of, by frontend and backend.
pub(super) fn redial_stale(
    connected: &Map,
    cgroup: &Path,
    is_stale: &mut dyn FnMut(SocketAddr, SocketAddr) -> bool,
) -> Result<Redialled, EbpfError> {
    let mut stale: HashMap<u64, Stale> = HashMap::new();
    for (cookie, value) in connected.entries()?.iter() {
        let (frontend, backend) = value.split_at(size_of::<Key>().min(value.len()));
        let parts = (cookie.first_chunk(), read_key(frontend), read_key(backend));
        if let (Some(cookie), Some((frontend, _)), Some((backend, _))) = parts
            && is_stale(frontend, backend)
        {
            let value = value.to_vec();
            stale.insert(u64::from_ne_bytes(*cookie), Stale { frontend, backend, value });
        }
    }
    let mut done = Redialled::default();
    if stale.is_empty() {
        return Ok(done);
    }
    let threads = Cgroup::existing(cgroup).all_threads()?;
    let mut found: Vec<(Socket, Vec<UdpSocket>)> = Vec::new();
    for netns in networks(&threads).values() {
        found.push(netns.run(|| find_in_this(&stale))??);
    }
    let inodes = found.iter().flat_map(|(_, sockets)| sockets.iter().map(|socket| socket.inode));
    let held = holders(&threads, &inodes.collect());
    for (diag, sockets) in &mut found {
        for socket in sockets.iter() {
            let Some(stale) = stale.get(&socket.cookie) else { continue };
            let holders = held.get(&socket.inode).map_or(&[][..], Vec::as_slice);
            match redial(holders, socket.cookie, stale) {
                Some(Ok(())) => done.moved += 1,
                // Its owner has dialled somebody else meanwhile, or closed it.
                Some(Err(error)) if error.missing() => {}
                failed => {
                    let reason = failed.and_then(Result::err);
                    tracing::debug!(
                        dialled = %stale.frontend,
                        backend = %stale.backend,
                        reason = reason.as_ref().map(|error| error as &dyn std::error::Error),
                        "a connected UDP socket cannot be moved to another endpoint; it is ended"
                    );
                    done.ended += usize::from(sock_diag::abort(diag, socket)?);
                }
            }
        }
    }
    forget(connected, &stale)?;
    Ok(done)
}

/// Connects a socket again by one of the descriptors that lead to it; `None` if there is none.
fn redial(holders: &[Holder], cookie: u64, stale: &Stale) -> Option<Attempt<()>> {
    let mut last = None;
    for holder in holders {
        let result = Foreign::open(*holder, cookie).and_then(|socket| {
            // As long as it is connected to that backend it says that its peer is the frontend.
            if socket.peer()? != stale.frontend {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Failed::new("find a socket as it was", source));
            }
            socket.connect(stale.frontend)
        });
        if result.is_ok() {
            return Some(result);
        }
        last = Some(result);
    }
    last
}

/// Forgets the sockets that are as they were; programs have remembered the others anew.
fn forget(connected: &Map, stale: &HashMap<u64, Stale>) -> Attempt<()> {
    let mut gone = Vec::new();
    for (cookie, stale) in stale {
        let cookie = cookie.to_ne_bytes();
        if connected.get(&cookie)?.is_some_and(|value| value == stale.value) {
            gone.extend(cookie);
        }
    }
    if gone.is_empty() { Ok(()) } else { connected.delete(&gone) }
}

fn find_in_this(stale: &HashMap<u64, Stale>) -> Result<(Socket, Vec<UdpSocket>), EbpfError> {
    let mut socket = Socket::sock_diag()?;
    let all = sock_diag::connected_udp(&mut socket);
    let mut found = all.map_err(|error| match error.is_not_found() {
        true => EbpfError::NoUdpDiag,
        false => error.into(),
    })?;
    found.retain(|found| stale.get(&found.cookie).is_some_and(|stale| stale.backend == found.peer));
    Ok((socket, found))
}

/// The network namespaces that the threads are in, by their numbers.
fn networks(threads: &[u32]) -> BTreeMap<u64, NetNs> {
    let mut found = BTreeMap::new();
    let mut seen = HashSet::new();
    for thread in threads {
        // One that ends meanwhile has no socket that anybody waits for.
        let Ok(netns) = NetNs::of_process(*thread) else { continue };
        let Ok(id) = netns.id() else { continue };
        if seen.insert(id) {
            found.insert(id, netns);
        }
    }
    found
}
