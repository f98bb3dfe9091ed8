//! How large the tables of the legacy kind are: a cheap way to tell that somebody changed them.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::Table;
use crate::error::{Attempt, Attempted};
use crate::nftables::TableFamily;

/// Asks for the sizes of tables in the network namespace where it was opened.
#[derive(Debug)]
pub struct Sizes {
    socket: Socket,
    family: TableFamily,
}

/// `struct ipt_getinfo` and `struct ip6t_getinfo` (`linux/netfilter_ipv4/ip_tables.h`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct GetInfo {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    num_entries: u32,
    size: u32,
}

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;

impl Sizes {
    /// Opens the socket in the namespace of the calling thread.
    pub fn open(family: TableFamily) -> Attempt<Self> {
        let domain = match family {
            TableFamily::Ipv4 => Domain::IPV4,
            TableFamily::Ipv6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
        Ok(Self { socket: socket.attempted(|| "open a raw socket".to_owned())?, family })
    }

    /// The number of rules of a table, and their size in bytes.
    pub fn of(&self, table: Table) -> Attempt<(u32, u32)> {
        self.ask(table).attempted(|| format!("ask for the size of the table {}", table.name()))
    }

    fn ask(&self, table: Table) -> io::Result<(u32, u32)> {
        let mut info = GetInfo::default();
        // Shorter than the field, so a zero byte ends it.
        info.name[..table.name().len()].copy_from_slice(table.name().as_bytes());
        let mut length = size_of::<GetInfo>() as libc::socklen_t;
        let level = match self.family {
            TableFamily::Ipv4 => libc::IPPROTO_IP,
            TableFamily::Ipv6 => libc::IPPROTO_IPV6,
        };
        // SAFETY: the socket is open; `info` is `length` bytes of plain integers, of which the
        // kernel writes at most so many, and any bytes are valid integers.
        let done = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                level,
                GET_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((info.num_entries, info.size))
    }
}
