use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::{Program, sys};
use crate::error::{Attempt, Attempted};

/// Where a program runs: those of `enum bpf_attach_type` that concern a cgroup's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    Bind4 = 8,
    Bind6 = 9,
    Connect4 = 10,
    Connect6 = 11,
    SendMessage4 = 14,
    SendMessage6 = 15,
    ReceiveMessage4 = 19,
    ReceiveMessage6 = 20,
    GetPeerName4 = 29,
    GetPeerName6 = 30,
    SocketRelease = 34,
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub id: u32,
    pub program: u32,
    /// The cgroup's inode number; 0 when somebody detached the link.
    pub cgroup: u64,
}

/// A program that runs at a hook of a cgroup, for as long as this handle or a pin lives.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl Link {
    /// Attaches a program, besides whatever others have attached there.
    pub fn attach(program: &Program, cgroup: impl AsFd, hook: Hook) -> Attempt<Self> {
        let cgroup = cgroup.as_fd().as_raw_fd();
        let fd = sys::link_create(program.as_fd().as_raw_fd(), cgroup, hook as u32)
            .attempted(|| format!("attach a program to the cgroup's hook {hook:?}"))?;
        Ok(Self { fd })
    }

    /// Opens the link that is pinned there.
    pub fn open(path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        let fd = sys::get(path).attempted(|| format!("open the link {}", path.display()))?;
        Ok(Self { fd })
    }

    pub fn pin(&self, path: impl AsRef<Path>) -> Attempt<()> {
        let path = path.as_ref();
        sys::pin(self.fd.as_raw_fd(), path).attempted(|| format!("pin the link {}", path.display()))
    }

    /// Puts another program in the place of the one that runs: no event in between meets none.
    pub fn replace(&self, program: &Program) -> Attempt<()> {
        sys::link_update(self.fd.as_raw_fd(), program.as_fd().as_raw_fd())
            .attempted(|| "replace an attached program".to_owned())
    }

    pub fn state(&self) -> Attempt<LinkState> {
        // struct bpf_link_info: type, id, prog_id, then for a cgroup its id and the hook.
        let mut info = [0_u64; 8];
        sys::info(self.fd.as_raw_fd(), &mut info).attempted(|| "ask about a link".to_owned())?;
        let word = |index: usize| {
            let bytes = info[index / 2].to_ne_bytes();
            let half = &bytes[index % 2 * 4..][..4];
            u32::from_ne_bytes([half[0], half[1], half[2], half[3]])
        };
        Ok(LinkState { id: word(1), program: word(2), cgroup: info[2] })
    }
}
