//! Where all this is kept while no process of ours runs, and how one set of maps and programs takes
//! the place of another.
//!
//! A node has one directory in a BPF file system, named after its network namespace. In it are the
//! links, which hold the programs to the cgroup, and one *generation*: a directory with the maps
//! and the programs that use them. A larger or newer generation is made and filled beside the old
//! one; then each link is handed its program, and the old one goes. What sockets and clients have
//! been given is in maps that wander along.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use portolan_linux::bpf::{self, Hook, Link, Map, Object, Program};
use sha2::{Digest, Sha256};

use super::EbpfError;
use super::layout::{
    BACKEND4, BACKEND6, KEPT, NODE_NETNS, PEER, SHARED_CGROUP, TALKS, TOGETHER, object,
};
use super::sizes::{Sizes, UNUSED};

/// The programs, and where they run.
pub(super) const HOOKS: [(&str, Hook); 11] = [
    ("connect4", Hook::Connect4),
    ("connect6", Hook::Connect6),
    ("sendmsg4", Hook::SendMessage4),
    ("sendmsg6", Hook::SendMessage6),
    ("recvmsg4", Hook::ReceiveMessage4),
    ("recvmsg6", Hook::ReceiveMessage6),
    ("getpeername4", Hook::GetPeerName4),
    ("getpeername6", Hook::GetPeerName6),
    ("release", Hook::SocketRelease),
    ("bind4", Hook::Bind4),
    ("bind6", Hook::Bind6),
];

/// Programs without which all Services work: node ports are not kept free of listeners then.
const OPTIONAL: [&str; 2] = ["bind4", "bind6"];

/// Maps that every generation shares, with the lengths of key and value.
const WANDERING: [(&str, usize, usize); 5] = [
    ("affinity", 16, KEPT),
    ("namespaces", 8, 4),
    ("connected", 8, PEER),
    ("peers", 4, PEER),
    ("conversations", 4, TALKS),
];

/// So many network namespaces are known, where the cgroup is not the node's alone.
const NAMESPACES: u32 = 4096;

/// A node's directory.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    node: PathBuf,
    /// Whether the cgroup is not the node's alone.
    shared: bool,
}

/// Maps and programs that belong together.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) path: PathBuf,
    /// The programs' numbers in the kernel.
    pub(super) programs: BTreeMap<&'static str, u32>,
}

fn named(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> EbpfError {
    let path = path.to_owned();
    move |source| EbpfError::Files { action, path, source }
}

fn program_path(generation: &Path, name: &str) -> PathBuf {
    generation.join(format!("program_{name}"))
}

impl Pins {
    pub(super) fn of(root: &Path, cookie: u64, shared: bool) -> Self {
        let node = root.join("portolan").join(format!("netns_{cookie}"));
        Self { node, shared }
    }

    /// Which programs these are: the object, and what of its constants may change.
    fn digest(&self) -> String {
        let digest = Sha256::new().chain_update(object()).chain_update([self.shared.into()]);
        digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn exist(&self) -> bool {
        self.node.exists()
    }

    fn link(&self, name: &str) -> PathBuf {
        self.node.join(format!("link_{name}"))
    }

    /// The generations that are there, with the digest of their object.
    fn generations(&self) -> Vec<(PathBuf, String, u32)> {
        let entries = fs::read_dir(&self.node).into_iter().flatten().flatten();
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let (digest, number) = name.strip_prefix("maps_")?.split_once('_')?;
            Some((entry.path(), digest.to_owned(), number.parse().ok()?))
        };
        entries.filter_map(read).collect()
    }

    /// The generation that the links run, if it is of this very object.
    pub(super) fn live(&self) -> Option<Generation> {
        let running = self.running();
        let ours = self.generations().into_iter().filter(|(_, found, _)| *found == self.digest());
        let mut all = ours.map(|(path, ..)| {
            let id = |name| Program::open(program_path(&path, name)).ok()?.id().ok();
            let programs: BTreeMap<_, _> =
                HOOKS.iter().filter_map(|(name, _)| Some((*name, id(name)?))).collect();
            Generation { path, programs }
        });
        all.find(|generation| {
            let complete = HOOKS
                .iter()
                .all(|(name, _)| generation.programs.contains_key(name) || OPTIONAL.contains(name));
            complete && generation.programs == running
        })
    }

    /// The programs that the pinned links run.
    fn running(&self) -> BTreeMap<&'static str, u32> {
        let id = |name| Some(Link::open(self.link(name)).ok()?.state().ok()?.program);
        HOOKS.iter().filter_map(|(name, _)| Some((*name, id(name)?))).collect()
    }

    /// Loads a new generation, empty but for what all generations share.
    pub(super) fn make(&self, sizes: Sizes, cookie: u64) -> Result<Generation, EbpfError> {
        let number = self.generations().iter().map(|(_, _, number)| number + 1).max().unwrap_or(1);
        let path = self.node.join(format!("maps_{}_{number}", self.digest()));
        fs::create_dir_all(&path).map_err(named(&path, "create"))?;
        let made = self.fill(&path, sizes, cookie);
        if made.is_err() {
            discard(&path);
        }
        Ok(Generation { programs: made?, path })
    }

    fn fill(
        &self,
        path: &Path,
        sizes: Sizes,
        cookie: u64,
    ) -> Result<BTreeMap<&'static str, u32>, EbpfError> {
        let namespaces = if self.shared { NAMESPACES } else { UNUSED };
        let sizes = [
            ("frontends", sizes.frontends),
            ("pools", sizes.pools),
            ("slots", sizes.slots / TOGETHER),
            ("backends4", sizes.backends4 / BACKEND4.together),
            ("backends6", sizes.backends6 / BACKEND6.together),
            ("affinity", sizes.affinity),
            ("namespaces", namespaces),
        ];
        self.take_along(path, &sizes)?;
        let loaded = bpf::load(&Object {
            bytes: object(),
            sizes: &sizes,
            constants: &[(NODE_NETNS, cookie), (SHARED_CGROUP, self.shared.into())],
            pins: path,
            optional: &OPTIONAL,
        })?;
        let mut programs = BTreeMap::new();
        for (name, _) in HOOKS {
            if let Some(program) = loaded.get(name) {
                program.pin(program_path(path, name))?;
                programs.insert(name, program.id()?);
            }
        }
        Ok(programs)
    }

    /// Pins what sockets and clients have been given in a new generation too, but for maps that
    /// are smaller than these sizes.
    fn take_along(&self, path: &Path, sizes: &[(&str, u32)]) -> Result<(), EbpfError> {
        let others = self.generations().into_iter().filter(|(other, ..)| other != path);
        let Some((before, ..)) = others.max_by_key(|(_, _, number)| *number) else { return Ok(()) };
        for (name, key, value) in WANDERING {
            let Ok(map) = Map::open(before.join(name)) else { continue };
            let shape = map.shape();
            let wanted =
                sizes.iter().find(|(sized, _)| *sized == name).map_or(0, |(_, size)| *size);
            if (shape.key, shape.value) == (key, value) && shape.max_entries >= wanted {
                map.pin(path.join(name))?;
            }
        }
        Ok(())
    }

    /// Has the cgroup's hooks run this generation. Returns how many hooks had to change.
    pub(super) fn attach(
        &self,
        generation: &Generation,
        cgroup: &Path,
    ) -> Result<usize, EbpfError> {
        let directory = fs::File::open(cgroup).map_err(named(cgroup, "open"))?;
        let inode = directory.metadata().map_err(named(cgroup, "read"))?.ino();
        let mut changed = 0;
        for (name, hook) in HOOKS {
            let pinned = self.link(name);
            let Some(wanted) = generation.programs.get(name) else {
                discard(&pinned);
                continue;
            };
            let state = Link::open(&pinned).and_then(|link| Ok((link.state()?, link)));
            match state {
                Ok((state, _)) if (state.cgroup, state.program) == (inode, *wanted) => continue,
                Ok((state, link)) if state.cgroup == inode => {
                    link.replace(&Program::open(program_path(&generation.path, name))?)?;
                }
                _ => {
                    let program = Program::open(program_path(&generation.path, name))?;
                    let link = Link::attach(&program, &directory, hook)?;
                    discard(&pinned);
                    link.pin(&pinned)?;
                }
            }
            changed += 1;
        }
        Ok(changed)
    }

    /// Whether every hook of the cgroup runs this generation.
    pub(super) fn attached(&self, generation: &Generation, cgroup: &Path) -> bool {
        let Ok(inode) = fs::metadata(cgroup).map(|found| found.ino()) else { return false };
        generation.programs.iter().all(|(name, program)| {
            let state = Link::open(self.link(name)).and_then(|link| link.state());
            state.is_ok_and(|state| (state.cgroup, state.program) == (inode, *program))
        })
    }

    /// Lets go of all generations but this one.
    pub(super) fn discard_others(&self, generation: &Generation) {
        for (path, _, number) in self.generations() {
            if path != generation.path {
                tracing::debug!(number, "an earlier set of BPF maps is let go");
                discard(&path);
            }
        }
    }

    /// Detaches everything and removes the directory, and that of all nodes if it is empty.
    pub(super) fn remove(&self) -> Result<(), EbpfError> {
        discard(&self.node);
        if let Some(all) = self.node.parent() {
            let _ = fs::remove_dir(all);
        }
        if self.node.exists() {
            let source = std::io::Error::other("something in it stays");
            return Err(named(&self.node, "remove")(source));
        }
        Ok(())
    }
}

/// Removes a pin, or a directory of pins; what is not there is no error.
fn discard(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
