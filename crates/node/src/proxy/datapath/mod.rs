//! Datapaths: the mechanisms that carry out what the model desires.
//!
//! One folder each; one row in [`MODES`] registers it. The flag's values, the order of `auto` and
//! the metrics' labels come from that table.

pub mod ebpf;
pub mod iptables;
pub mod ipvs;
pub mod nftables;
mod observed;
pub mod userspace;

use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// How much of that another mode took, which serves beneath this one.
    pub beneath: Duration,
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
    #[error(
        "this kernel has no IPVS: it needs the option CONFIG_IP_VS, or its module ip_vs; take proxy mode nftables, ebpf, iptables or userspace, or auto for the best of these"
    )]
    NoIpvs,
    #[error(transparent)]
    Ipvs(#[from] portolan_linux::ipvs::IpvsError),
    #[error("cannot start the threads that relay")]
    Relays(#[source] std::io::Error),
    #[error("cannot use this network namespace")]
    Namespace(#[from] portolan_linux::Failed),
    #[error("too many different numbers of endpoints: {0} does not fit any more")]
    TooManySizes(u32),
    #[error("too many Services for one node: no pool number is left")]
    TooManyPools,
    #[error("the socket half does not work")]
    Ebpf(#[from] ebpf::EbpfError),
}

impl ApplyError {
    /// Whether something in the kernel is full that could not be made larger.
    pub fn is_full(&self) -> bool {
        match self {
            Self::TooManySizes(_) | Self::TooManyPools => true,
            Self::Ebpf(error) => error.is_full(),
            _ => false,
        }
    }
}

/// What became of connections to backends that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redialled {
    /// They lead to another backend, or to where the tables refuse.
    pub moved: usize,
    /// Their owners were told.
    pub ended: usize,
}

/// What looking for others' changes has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    None,
    /// Something differs: a full pass is needed.
    Possible,
    /// There is more to look at.
    Unfinished,
}

/// What a datapath can do on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Node ports answer on 127.0.0.1.
    pub loopback_node_ports: bool,
    pub session_affinity: bool,
    pub source_ranges: bool,
}

/// Which part of the machine is this node's, and what it is to do there beyond Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The cgroup2 directory of the node's processes, pods and all (`--cgroup`). `None`: the root
    /// of the hierarchy, which is everybody's.
    pub cgroup: Option<PathBuf>,
    /// Whether processes of other nodes are in that cgroup too (`--shared-cgroup`); only network
    /// namespaces with a link into this one are this node's then.
    pub shared: bool,
    /// A directory in a BPF file system, or one where such may be mounted (`--bpf-dir`). `None`:
    /// the machine's.
    pub bpf: Option<PathBuf>,
    /// The bit of packets' marks that is the proxy's in mode iptables
    /// (`--iptables-masquerade-bit`). `None`: 14, as with kube-proxy.
    pub masquerade_bit: Option<u8>,
    /// How mode `ipvs` is set up.
    pub ipvs: ipvs::Settings,
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

    /// Finishes what had to wait for connections to end; asked for every few seconds.
    fn tend(&mut self) -> Result<(), ApplyError> {
        Ok(())
    }

    /// Whether somebody may have touched the host's tables since the last call of any method;
    /// cheap enough to ask every few seconds.
    fn may_have_drifted(&mut self) -> bool;

    /// The same in pieces, where it takes longer than a change may have to wait: looks at the next
    /// one. Between two of them everything else may be called.
    fn look_for_drift(&mut self) -> Drift {
        if self.may_have_drifted() { Drift::Possible } else { Drift::None }
    }

    /// Reads back what the host holds, in the model's terms.
    fn observe(&mut self) -> Result<Observed, ApplyError>;

    /// Moves the connections of local sockets to (frontend, backend) of which `is_stale` says that
    /// nobody would ever notice, and that netfilter does not know.
    fn redial_stale(
        &mut self,
        _is_stale: &mut dyn FnMut(SocketAddr, SocketAddr) -> bool,
    ) -> Result<Redialled, ApplyError> {
        Ok(Redialled::default())
    }

    /// Removes everything that this datapath put into the host.
    fn remove(&mut self) -> Result<(), ApplyError>;
}

/// Opens a datapath in the network namespace of the calling thread.
pub type Open = fn(&Host) -> Result<Box<dyn Datapath>, ApplyError>;

/// Removes what a mode put into the network namespace of the calling thread, but for what it
/// shares with the modes in [`ModeRow::beneath`].
pub type Clear = fn(&Host) -> Result<(), ApplyError>;

/// One row of the table of modes.
#[derive(Clone, Copy, Debug)]
pub struct ModeRow {
    /// The value of `--proxy-mode`.
    pub name: &'static str,
    pub summary: &'static str,
    /// Whether `auto` may choose it.
    pub automatic: bool,
    /// Modes whose state it uses, and which are not to be cleared while it runs.
    pub beneath: &'static [&'static str],
    pub open: Open,
    pub clear: Clear,
}

/// All modes, in the order in which `auto` tries them.
pub const MODES: [ModeRow; 5] = [
    ModeRow {
        name: "ebpf",
        summary: "socket-level rewriting, with nftables beneath",
        automatic: true,
        beneath: &["nftables"],
        open: |host| Ok(Box::new(ebpf::Ebpf::open(host)?)),
        clear: ebpf::Ebpf::clear,
    },
    ModeRow {
        name: "nftables",
        summary: "a handful of maps, written through netlink",
        automatic: true,
        beneath: &[],
        open: |_| Ok(Box::new(nftables::Nftables::open()?)),
        clear: |_| nftables::Nftables::open()?.remove(),
    },
    ModeRow {
        name: "iptables",
        summary: "kube-proxy's classic chains",
        automatic: false,
        beneath: &[],
        open: |host| Ok(Box::new(iptables::Iptables::open(host)?)),
        clear: |_| iptables::Iptables::clear(),
    },
    ModeRow {
        name: "ipvs",
        summary: "the kernel's virtual servers",
        automatic: false,
        beneath: &[],
        open: |host| Ok(Box::new(ipvs::Ipvs::open(&host.ipvs)?)),
        clear: |_| ipvs::Ipvs::clear(),
    },
    ModeRow {
        name: "userspace",
        summary: "relaying in the program itself",
        automatic: false,
        beneath: &[],
        open: |_| Ok(Box::new(userspace::Userspace::open()?)),
        clear: |_| userspace::Userspace::clear(),
    },
];

/// A mode that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    #[error("there is no proxy mode {0:?}; modes: auto, {list}", list = MODES.map(|mode| mode.name).join(", "))]
    Unknown(String),
    #[error("none of the proxy modes that auto tries works on this host")]
    NoneWorks,
    #[error("proxy mode {mode:?} does not work on this host")]
    Open {
        mode: &'static str,
        #[source]
        source: ApplyError,
    },
    #[error("cannot remove what proxy mode {mode:?} left")]
    Clear {
        mode: &'static str,
        #[source]
        source: ApplyError,
    },
}

/// Opens the datapath of that name; `auto` takes the first that works here.
pub fn open(mode: &str, host: &Host) -> Result<Box<dyn Datapath>, ModeError> {
    if matches!(mode, "auto" | "") {
        return open_first(host);
    }
    let row = MODES.iter().find(|row| row.name == mode);
    let row = row.ok_or_else(|| ModeError::Unknown(mode.to_owned()))?;
    (row.open)(host).map_err(|source| ModeError::Open { mode: row.name, source })
}

fn open_first(host: &Host) -> Result<Box<dyn Datapath>, ModeError> {
    let mut failed = ModeError::NoneWorks;
    for row in MODES.iter().filter(|row| row.automatic) {
        match (row.open)(host) {
            Ok(datapath) => return Ok(datapath),
            Err(source) => {
                tracing::info!(
                    mode = row.name,
                    reason = &source as &dyn std::error::Error,
                    "not on this host; trying the next mode"
                );
                failed = ModeError::Open { mode: row.name, source };
            }
        }
    }
    Err(failed)
}

/// Removes what other modes than this one may have left here; with `None`, what any mode has.
pub fn clear(keep: Option<&str>, host: &Host) -> Result<(), ModeError> {
    let kept = MODES.iter().find(|row| Some(row.name) == keep);
    let needed = |name| kept.is_some_and(|kept| kept.name == name || kept.beneath.contains(&name));
    for row in MODES.iter().filter(|row| !needed(row.name)) {
        (row.clear)(host).map_err(|source| ModeError::Clear { mode: row.name, source })?;
    }
    Ok(())
}
