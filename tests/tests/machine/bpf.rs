//! What a lab's proxies have in the kernel's BPF.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portolan_linux::bpf::{self, Kind, Link, Map, Program, is_bpffs};

/// Programs, maps and links of BPF by their numbers, which are the whole machine's.
pub(crate) type BpfObjects = BTreeSet<(Kind, u32)>;

/// What the proxies of the lab `name` have pinned.
pub(crate) fn bpf_objects(name: &str) -> BpfObjects {
    let mut found = BpfObjects::new();
    let nodes = PathBuf::from(format!("/run/portolan/{name}/node"));
    let mut folders: Vec<_> = std::fs::read_dir(nodes)
        .into_iter()
        .flatten()
        .flatten()
        .map(|node| node.path().join("bpf"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if is_bpffs(&folder) {
                found.extend(bpf_object(&path));
            }
        }
    }
    found
}

fn bpf_object(path: &Path) -> Option<(Kind, u32)> {
    let name = path.file_name()?.to_str()?;
    Some(if name.starts_with("link_") {
        (Kind::Link, Link::open(path).ok()?.state().ok()?.id)
    } else if name.starts_with("program_") {
        (Kind::Program, Program::open(path).ok()?.id().ok()?)
    } else {
        (Kind::Map, Map::open(path).ok()?.shape().id)
    })
}

/// Those that the kernel still has.
pub(crate) fn still_there(objects: &BpfObjects) -> BpfObjects {
    let now = [Kind::Program, Kind::Map, Kind::Link]
        .map(|kind| (kind, bpf::ids(kind).expect("the kernel's list of BPF objects")));
    let there = |kind: Kind, id: u32| now.iter().any(|(k, ids)| *k == kind && ids.contains(&id));
    objects.iter().copied().filter(|(kind, id)| there(*kind, *id)).collect()
}
