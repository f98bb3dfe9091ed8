//! Datapaths: the mechanisms that carry out what the model desires.
//!
//! One folder each; one row in [`MODES`] registers it. The flag's values, the order of `auto` and
//! the metrics' labels come from that table.

pub mod iptables;
pub mod nftables;
mod observed;
pub mod userspace;

use std::time::Duration;

use portolan_model::{Changes, Desired};

pub use observed::{Observed, ObservedAction, ObservedFrontend};

/// What a datapath is to look at.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Only what changed since the last successful call.
    Changed(&'a Changes),
    /// Everything: read the host back and mend whatever differs.
    Everything,
}

/// What a datapath did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Map entries written or removed.
    pub writes: usize,
    /// Entries that were found to differ from what was written earlier; a full pass only.
    pub mended: usize,
    pub took: Duration,
}

/// A datapath could not make the host match.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("cannot load the rules")]
    Rules(#[from] portolan_linux::nftables::NftError),
    #[error("cannot write to the kernel's tables")]
    Netlink(#[from] portolan_linux::netlink::NetlinkError),
    #[error(transparent)]
    Iptables(#[from] portolan_linux::iptables::RestoreError),
    #[error("cannot start the threads that relay")]
    Relays(#[source] std::io::Error),
    #[error("cannot use this network namespace")]
    Namespace(#[from] portolan_linux::Failed),
    #[error("too many different numbers of endpoints: {0} does not fit any more")]
    TooManySizes(u32),
    #[error("too many Services for one node: no pool number is left")]
    TooManyPools,
}

/// What a datapath can do on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Node ports answer on 127.0.0.1.
    pub loopback_node_ports: bool,
    pub session_affinity: bool,
    pub source_ranges: bool,
}

/// A mechanism that carries connections from frontends to backends.
///
/// All policy is decided already; a datapath knows of frontends and pools only.
pub trait Datapath: Send {
    /// The mode's name.
    fn mode(&self) -> &'static str;

    fn capabilities(&self) -> Capabilities;

    /// Makes the host match `desired`. The result must not depend on `scope`.
    ///
    /// # Errors
    /// After an error the host holds either the old or the new state of each atomic step; the
    /// next call must be with [`Scope::Everything`].
    fn apply(&mut self, desired: &Desired, scope: Scope<'_>) -> Result<Applied, ApplyError>;

    /// Whether somebody may have touched the host's tables since the last call of any method;
    /// cheap enough to ask every few seconds.
    fn may_have_drifted(&mut self) -> bool;

    /// Reads back what the host holds, in the model's terms.
    fn observe(&mut self) -> Result<Observed, ApplyError>;

    /// Removes everything that this datapath put into the host.
    fn remove(&mut self) -> Result<(), ApplyError>;
}

/// Opens a datapath in the network namespace of the calling thread.
pub type Open = fn() -> Result<Box<dyn Datapath>, ApplyError>;

/// Removes what a mode put into the network namespace of the calling thread, whether or not it
/// could be opened here.
pub type Clear = fn() -> Result<(), ApplyError>;

/// One row of the table of modes.
#[derive(Clone, Copy, Debug)]
pub struct ModeRow {
    /// The value of `--proxy-mode`.
    pub name: &'static str,
    pub summary: &'static str,
    /// `None`: not part of this version.
    pub open: Option<Open>,
    pub clear: Option<Clear>,
}

/// All modes, in the order in which `auto` tries them.
pub const MODES: [ModeRow; 5] = [
    ModeRow {
        name: "ebpf",
        summary: "socket-level rewriting, with nftables beneath",
        open: None,
        clear: None,
    },
    ModeRow {
        name: "nftables",
        summary: "a handful of maps, written through netlink",
        open: Some(|| Ok(Box::new(nftables::Nftables::open()?))),
        clear: Some(|| nftables::Nftables::open()?.remove()),
    },
    ModeRow {
        name: "iptables",
        summary: "kube-proxy's classic chains",
        open: Some(|| Ok(Box::new(iptables::Iptables::open()?))),
        clear: Some(iptables::Iptables::clear),
    },
    ModeRow { name: "ipvs", summary: "the kernel's virtual servers", open: None, clear: None },
    ModeRow {
        name: "userspace",
        summary: "relaying in the program itself",
        open: Some(|| Ok(Box::new(userspace::Userspace::open()?))),
        clear: Some(userspace::Userspace::clear),
    },
];

/// A mode that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    #[error("there is no proxy mode {0:?}; modes: auto, {list}", list = MODES.map(|mode| mode.name).join(", "))]
    Unknown(String),
    #[error(
        "proxy mode {0:?} is not part of this version; use nftables, iptables, userspace or auto"
    )]
    Absent(String),
    #[error("proxy mode {mode:?} does not work on this host")]
    Open {
        mode: &'static str,
        #[source]
        source: ApplyError,
    },
}

/// Opens the datapath of that name; `auto` takes the first that this version has.
pub fn open(mode: &str) -> Result<Box<dyn Datapath>, ModeError> {
    let open = match mode {
        "auto" | "" => MODES.iter().find_map(|row| Some((row.name, row.open?))),
        name => {
            let row = MODES.iter().find(|row| row.name == name);
            let row = row.ok_or_else(|| ModeError::Unknown(name.to_owned()))?;
            row.open.map(|open| (row.name, open))
        }
    };
    let (name, open) = open.ok_or_else(|| ModeError::Absent(mode.to_owned()))?;
    open().map_err(|source| ModeError::Open { mode: name, source })
}
