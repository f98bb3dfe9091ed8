//! nftables: rules as text through `nft`, set elements through netlink.
//!
//! Rules are few, change rarely and are to be reviewed, so they stay text. Elements are many and
//! change all the time: they are written as netlink messages by ourselves, in one atomic
//! transaction, without starting a process (`linux/netfilter/nf_tables.h`).

mod batch;
mod dump;
mod listener;
mod skeleton;

pub use batch::{Batch, Data};
pub use dump::{Element, Elements, Reader};
pub use listener::Listener;
pub use skeleton::{NftError, delete_table, delete_table_if_unused, run_nft};

/// An address family of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableFamily {
    Ipv4,
    Ipv6,
}

impl TableFamily {
    /// `NFPROTO_*`.
    pub fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// The keyword of `nft`.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        }
    }
}

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;

/// Message types of the subsystem (`enum nf_tables_msg_types`).
mod message {
    pub(super) const NEW_SET_ELEMENT: u16 = 12;
    pub(super) const GET_SET_ELEMENT: u16 = 13;
    pub(super) const DELETE_SET_ELEMENT: u16 = 14;
    pub(super) const GET_RULE: u16 = 7;
    pub(super) const NEW_GENERATION: u16 = 15;
    pub(super) const GET_GENERATION: u16 = 16;
}

/// `NFTA_SET_ELEM_LIST_*`.
mod list_attribute {
    pub(super) const TABLE: u16 = 1;
    pub(super) const SET: u16 = 2;
    pub(super) const ELEMENTS: u16 = 3;
    /// `NFTA_LIST_ELEM`.
    pub(super) const ELEMENT: u16 = 1;
}

/// `NFTA_SET_ELEM_*`, `NFTA_DATA_*` and `NFTA_VERDICT_*`.
mod element_attribute {
    pub(super) const KEY: u16 = 1;
    pub(super) const DATA: u16 = 2;
    pub(super) const KEY_END: u16 = 10;
    pub(super) const VALUE: u16 = 1;
    pub(super) const VERDICT: u16 = 2;
    pub(super) const VERDICT_CODE: u16 = 1;
    pub(super) const VERDICT_CHAIN: u16 = 2;
}
