//! Netlink messages for netfilter: a codec that allocates nothing per attribute, and a socket.
//!
//! `rtnetlink` serves links and routes; this module exists for `NETLINK_NETFILTER`, where a
//! quarter of a million set elements travel in one transaction (`include/uapi/linux/netlink.h`,
//! `linux/netfilter/nfnetlink.h`).

mod decode;
mod encode;
mod socket;

pub use decode::{Attribute, Attributes, Header, Message, Messages};
pub use encode::{Encoder, Mark};
pub use socket::{Dumped, NetlinkError, Socket};

/// Length of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;
/// Length of `struct nfgenmsg`, and of `struct genlmsghdr`.
pub const GENERIC_LEN: usize = 4;
/// Length of `struct nlattr`.
pub const ATTRIBUTE_LEN: usize = 4;

/// `NLM_F_*` of a request.
pub mod flags {
    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    /// `NLM_F_ROOT | NLM_F_MATCH`.
    pub const DUMP: u16 = 0x300;
    pub const CREATE: u16 = 0x400;
    /// On an answer: the dump is inconsistent, the table changed meanwhile.
    pub const DUMP_INTERRUPTED: u16 = 0x10;
}

/// Rounds up to netlink's alignment of four bytes.
pub const fn align(length: usize) -> usize {
    (length + 3) & !3
}
