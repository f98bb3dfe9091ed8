//! iptables and ip6tables: rules as values, and the programs that save and restore them.
//!
//! There is no stable kernel interface for both of iptables' two kinds (its own tables, and those
//! that it keeps in nf_tables), so its programs are the interface: `iptables-save` tells what is,
//! `iptables-restore --noflush` changes some chains of a table at once and leaves the rest alone.

mod legacy;
mod program;
mod rule;
mod saved;

pub use legacy::Sizes;
pub use program::{Kind, Programs, RestoreError};
pub use rule::{Match, Net, Recent, Rule, Side, Target};
pub use saved::Saved;

/// The tables that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Filter,
    Mangle,
    Nat,
}

impl Table {
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
        }
    }
}
