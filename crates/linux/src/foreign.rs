//! Sockets of other processes: finding who holds one, and using it as its owner could.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::socket_cookie;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use socket2::{Domain, SockRef};

use crate::error::{Attempt, Attempted, Failed};
use crate::process::Pidfd;

/// A descriptor in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    pub descriptor: i32,
}

/// Who holds the sockets with these inode numbers, among the processes of these threads; of each
/// process one descriptor. What may not be looked at is passed over.
pub fn holders(threads: &[u32], inodes: &HashSet<u32>) -> BTreeMap<u32, Vec<Holder>> {
    let processes: BTreeSet<u32> =
        threads.iter().filter_map(|thread| process_of(*thread)).collect();
    let mut found: BTreeMap<u32, Vec<Holder>> = BTreeMap::new();
    for process in processes {
        let entries = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        for entry in entries {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let inode = target.to_str().and_then(|text| {
                text.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok()
            });
            let Some(inode) = inode.filter(|inode| inodes.contains(inode)) else { continue };
            let name = entry.file_name();
            let Some(descriptor) = name.to_str().and_then(|text| text.parse().ok()) else {
                continue;
            };
            let held = found.entry(inode).or_default();
            if held.last().is_none_or(|holder| holder.process != process) {
                held.push(Holder { process, descriptor });
            }
        }
    }
    found
}

/// The process that a thread is of.
fn process_of(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Another process's socket, as a descriptor of our own.
#[derive(Debug)]
pub struct Foreign {
    fd: OwnedFd,
}

impl Foreign {
    /// Takes hold of the socket, if the descriptor still leads to the one with this cookie.
    ///
    /// # Errors
    /// Fails as [`Failed::missing`] if the process is gone, or holds another socket there. Needs
    /// `CAP_SYS_PTRACE` and Linux 5.6.
    pub fn open(holder: Holder, cookie: u64) -> Attempt<Self> {
        let Holder { process, descriptor } = holder;
        let what = || format!("take hold of descriptor {descriptor} of process {process}");
        let pidfd = Pidfd::open(process)?;
        let fd = match pidfd_getfd(&pidfd, descriptor, PidfdGetfdFlags::empty()) {
            // Closed meanwhile.
            Err(rustix::io::Errno::BADF) => Err(rustix::io::Errno::NOENT),
            other => other,
        }
        .attempted(what)?;
        if socket_cookie(&fd).is_ok_and(|found| found == cookie) {
            return Ok(Self { fd });
        }
        Err(Failed::new(what(), io::Error::from_raw_os_error(libc::ENOENT)))
    }

    /// Whom the socket is connected to, as its owner would be told.
    pub fn peer(&self) -> Attempt<SocketAddr> {
        let what = || "ask a socket for its peer".to_owned();
        let peer = SockRef::from(&self.fd).peer_addr().attempted(what)?;
        let peer = peer.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported));
        let peer = peer.attempted(what)?;
        Ok(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }

    /// Connects the socket, as its owner could; its own address and port stay.
    pub fn connect(&self, to: SocketAddr) -> Attempt<()> {
        let what = || format!("connect another process's socket to {to}");
        let socket = SockRef::from(&self.fd);
        let ip = match (to.ip(), socket.domain().attempted(what)?) {
            (IpAddr::V4(ip), Domain::IPV6) => ip.to_ipv6_mapped().into(),
            (ip, _) => ip,
        };
        socket.connect(&SocketAddr::new(ip, to.port()).into()).attempted(what)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::process::Spawn;

    fn inode(process: u32, descriptor: i32) -> u32 {
        fs::metadata(format!("/proc/{process}/fd/{descriptor}")).unwrap().ino() as u32
    }

    #[test]
    fn a_socket_of_another_process_is_connected_elsewhere() {
        let [first, second] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        // Nobody but the child holds this one, as its standard input.
        let theirs = UdpSocket::bind("[::]:0").unwrap();
        let port = theirs.local_addr().unwrap().port();
        let mapped = |socket: &UdpSocket| {
            SocketAddr::new(
                "::ffff:127.0.0.1".parse().unwrap(),
                socket.local_addr().unwrap().port(),
            )
        };
        theirs.connect(mapped(&first)).unwrap();
        let cookie = socket_cookie(&theirs).unwrap();
        let mut child = Spawn::new("sh")
            .args(["-c", "dd bs=64 count=1 status=none >&0; exec sleep 1000"])
            .stdin(std::process::Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        let inodes = HashSet::from([inode(child.id(), 0)]);
        let found = holders(&[child.id(), child.id()], &inodes);
        let held: Vec<_> = found.values().flatten().copied().collect();
        assert_eq!(held, [Holder { process: child.id(), descriptor: 0 }]);
        let wrong = Foreign::open(held[0], cookie + 1).unwrap_err();
        assert!(wrong.missing());
        let foreign = Foreign::open(held[0], cookie).unwrap();
        assert_eq!(foreign.peer().unwrap(), first.local_addr().unwrap());
        let to = second.local_addr().unwrap();
        foreign.connect(to).unwrap();
        assert_eq!(foreign.peer().unwrap(), to);
        drop(foreign);
        // The child, which waits in a read meanwhile, hears the new peer and answers it.
        second.send_to(b"hello\n", ("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = second.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.port()), (b"hello\n".as_slice(), port));
        child.signal(libc::SIGKILL).unwrap();
        child.wait().unwrap();
        let gone = Foreign::open(held[0], cookie).unwrap_err();
        assert!(gone.missing(), "{gone:?}");
        let own = holders(
            &[std::process::id()],
            &HashSet::from([inode(std::process::id(), first.as_raw_fd())]),
        );
        assert_eq!(own.len(), 1);
    }
}
