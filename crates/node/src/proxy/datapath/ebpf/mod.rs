//! Mode `ebpf`: sockets of this node are handed their backend when they dial; the nftables tables
//! beneath serve all else. See README.md in this folder.

mod arrays;
mod drift;
mod frontends;
mod host;
mod layout;
mod maps;
mod members;
mod numbers;
mod observe;
mod pins;
mod plane;
mod pool;
#[cfg(test)]
mod reproduce;
mod served;
mod sizes;
mod sockets;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use portolan_linux::netns::NetNs;
use portolan_linux::{Failed, bpf};
use portolan_model::{Changes, Desired};

use super::nftables::Nftables;
use super::{Applied, ApplyError, Capabilities, Datapath, Drift, Host, Observed, Redialled, Scope};
use drift::Round;
pub use host::EbpfError;
use maps::Maps;
use members::Look;
use pins::{Generation, Pins};
use plane::Plane;

/// The eBPF datapath of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Ebpf {
    beneath: Nftables,
    cgroup: PathBuf,
    pins: Pins,
    cookie: u64,
    /// The node's own network namespace, where the cgroup is not the node's alone.
    shared: Option<NetNs>,
    live: Option<Live>,
    /// What lies in the maps; `None` before the first pass.
    plane: Option<Plane>,
    /// A round of looking for what others changed, under way.
    round: Option<Round>,
    /// A look at network namespaces, under way.
    look: Option<Look>,
    /// The last call went well.
    steady: bool,
    /// All that the plane gave up was written over in the maps, so its numbers may be used again
    /// there. After a failure only new maps are safe.
    sound: bool,
}

/// The generation in use, open.
#[derive(Debug)]
struct Live {
    generation: Generation,
    maps: Maps,
}

impl Live {
    fn open(generation: Generation) -> Result<Self, EbpfError> {
        let maps = Maps::open(&generation.path)?;
        Ok(Self { generation, maps })
    }
}

impl Ebpf {
    /// Opens the datapath, after trying whether the kernel takes it; what runs is not changed.
    pub fn open(host: &Host) -> Result<Self, ApplyError> {
        let cgroup = host::find_cgroup(host)?;
        let cookie = bpf::netns_cookie().map_err(EbpfError::NoCookie)?;
        let root = host::find_file_system(host)?;
        let shared =
            host::is_shared(host).then(NetNs::current).transpose().map_err(EbpfError::from)?;
        let pins = Pins::of(&root, cookie, shared.is_some());
        let live = pins.live().and_then(|generation| Live::open(generation).ok());
        if live.is_none() {
            host::probe(&root, cookie, &cgroup)?;
        }
        let beneath = Nftables::open()?;
        Ok(Self {
            beneath,
            cgroup,
            pins,
            cookie,
            shared,
            live,
            plane: None,
            round: None,
            look: None,
            steady: false,
            sound: true,
        })
    }

    /// Removes the socket half alone.
    pub fn clear(host: &Host) -> Result<(), ApplyError> {
        Ok(host::clear(host)?)
    }

    /// Makes the socket half match in full. Returns how many entries and hooks were changed.
    fn sync(&mut self, desired: &Desired) -> Result<usize, EbpfError> {
        self.round = None;
        let mut plane = match (self.plane.take(), &self.live) {
            (Some(plane), _) => plane,
            (None, Some(live)) => live.maps.adopt(desired)?,
            (None, None) => Plane::default(),
        };
        let sound = std::mem::replace(&mut self.sound, false);
        let fits = sound && self.live.is_some() && plane.follow_all(desired).is_ok();
        let fresh = if fits { None } else { Some(self.start_over(&mut plane, desired)?) };
        let live = match fresh.as_ref().or(self.live.as_ref()) {
            Some(live) => live,
            None => return Err(EbpfError::TooSmall),
        };
        let mut writes = live.maps.mend(&plane)?;
        writes += self.pins.attach(&live.generation, &self.cgroup)?;
        self.pins.discard_others(&live.generation);
        if let Some(fresh) = fresh {
            self.live = Some(fresh);
        }
        self.plane = Some(plane);
        self.sound = true;
        Ok(writes)
    }

    /// Makes maps of the size that `desired` needs, for a plane to go on in.
    fn start_over(&self, plane: &mut Plane, desired: &Desired) -> Result<Live, EbpfError> {
        plane.start_over(desired).map_err(|_| EbpfError::TooSmall)?;
        let sizes = plane.sizes;
        tracing::info!(
            frontends = sizes.frontends,
            pools = sizes.pools,
            backends = sizes.backends4 + sizes.backends6,
            "new BPF maps are made"
        );
        let made = self.pins.make(sizes, self.cookie).and_then(Live::open);
        match (made, &self.live) {
            (Ok(fresh), Some(live)) => {
                fresh.maps.succeed(&live.maps);
                Ok(fresh)
            }
            (Err(error), Some(live)) => {
                // What they hold goes stale from here on.
                live.maps.withdraw()?;
                Err(EbpfError::full(sizes, error))
            }
            (made, None) => made,
        }
    }

    fn rest(&mut self) {
        if let Some(live) = &mut self.live {
            live.maps.rest();
        }
    }

    /// Follows a change; goes over to larger maps when these are full.
    fn follow(&mut self, desired: &Desired, changes: &Changes) -> Result<usize, EbpfError> {
        self.sound = false;
        if let (Some(plane), Some(live)) = (&mut self.plane, &self.live)
            && let Ok(writes) = plane.follow(desired, changes)
        {
            let written = live.maps.write(&writes)?;
            self.sound = true;
            return Ok(written);
        }
        self.sync(desired)
    }
}

/// Looking for drift.
impl Ebpf {
    /// What takes no time: the tables beneath, and the hooks.
    fn begin_round(&mut self) -> Drift {
        let (Some(plane), Some(live), true) = (&mut self.plane, &self.live, self.steady) else {
            return Drift::Possible;
        };
        if self.beneath.may_have_drifted() || !self.pins.attached(&live.generation, &self.cgroup) {
            return Drift::Possible;
        }
        self.round = Some(Round::begin(plane));
        if self.shared.is_some() && self.look.is_none() {
            match Look::begin(&live.maps.namespaces, &self.cgroup) {
                Ok(look) => self.look = look,
                Err(error) => not_told(&error),
            }
        }
        Drift::Unfinished
    }

    fn go_on(&mut self, mut round: Round) -> Drift {
        let (Some(plane), Some(live), true) = (&mut self.plane, &self.live, self.steady) else {
            return Drift::Possible;
        };
        if let (Some(look), Some(node)) = (&mut self.look, &self.shared) {
            match look.go_on(&live.maps.namespaces, node) {
                Ok(false) => {}
                Ok(true) => self.look = None,
                Err(error) => {
                    self.look = None;
                    not_told(&error);
                }
            }
            self.round = Some(round);
            return Drift::Unfinished;
        }
        let found = round.go_on(&live.maps, plane).unwrap_or(Drift::Possible);
        self.round = Some(round);
        found
    }
}

fn not_told(error: &Failed) {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "cannot tell whose some network namespaces are; the tables beneath serve them"
    );
}

impl Datapath for Ebpf {
    fn mode(&self) -> &'static str {
        "ebpf"
    }

    fn capabilities(&self) -> Capabilities {
        self.beneath.capabilities()
    }

    /// The tables beneath come first: they serve whatever the socket half does not know yet.
    fn apply(&mut self, desired: &Desired, scope: Scope<'_>) -> Result<Applied, ApplyError> {
        let start = Instant::now();
        let steady = std::mem::replace(&mut self.steady, false);
        let beneath = self.beneath.apply(desired, scope)?;
        let written = match scope {
            Scope::Changed(changes) if steady && !changes.own_addresses => {
                self.follow(desired, changes)
            }
            _ => self.sync(desired),
        };
        self.rest();
        let writes = written?;
        self.steady = true;
        let mended = if steady && matches!(scope, Scope::Everything) { writes } else { 0 };
        Ok(Applied {
            writes: beneath.writes + writes,
            mended: beneath.mended + mended,
            took: start.elapsed(),
            beneath: beneath.took,
        })
    }

    fn may_have_drifted(&mut self) -> bool {
        self.round = None;
        loop {
            match self.look_for_drift() {
                Drift::Unfinished => {}
                found => return found == Drift::Possible,
            }
        }
    }

    fn look_for_drift(&mut self) -> Drift {
        let found = match self.round.take() {
            None => self.begin_round(),
            Some(round) => self.go_on(round),
        };
        if found != Drift::Unfinished {
            self.round = None;
        }
        self.rest();
        found
    }

    fn observe(&mut self) -> Result<Observed, ApplyError> {
        let mut observed = self.beneath.observe()?;
        match &self.live {
            Some(live) => {
                observe::add(&live.maps, self.plane.as_ref(), &mut observed)
                    .map_err(EbpfError::from)?;
                if !self.pins.attached(&live.generation, &self.cgroup) {
                    observed.strays.push("some hook of the cgroup runs no program".to_owned());
                }
            }
            None => observed.strays.push("no BPF program is attached".to_owned()),
        }
        self.rest();
        Ok(observed)
    }

    fn redial_stale(
        &mut self,
        is_stale: &mut dyn FnMut(SocketAddr, SocketAddr) -> bool,
    ) -> Result<Redialled, ApplyError> {
        let Some(live) = &self.live else { return Ok(Redialled::default()) };
        Ok(sockets::redial_stale(&live.maps.connected, &self.cgroup, is_stale)?)
    }

    fn remove(&mut self) -> Result<(), ApplyError> {
        self.live = None;
        self.plane = None;
        self.steady = false;
        self.pins.remove()?;
        self.beneath.remove()
    }
}
