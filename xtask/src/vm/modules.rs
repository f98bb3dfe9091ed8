//! Kernel modules, in the order in which they can be loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What the tests use. Whatever is built into a kernel is no file, and not asked for here.
pub(super) const WANTED: [&str; 21] = [
    "veth",
    "nf_tables",
    "nf_conntrack_netlink",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_hash",
    "nft_numgen",
    "nft_fib_ipv4",
    "nft_fib_ipv6",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "udp_diag",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_lc",
    "ip_vs_wlc",
    "ip_vs_sh",
    "ip_vs_mh",
];

/// Loaded last: one test wants to be alone without it.
pub(super) const LAST: &str = "dummy";

/// The files of these modules and of all that they need, dependencies first.
pub(super) fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut order = Vec::new();
    for name in wanted {
        visit(name, &files, &mut order, 0)?;
    }
    Ok(order)
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Names are written with `-` or `_`, and mean the same.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

fn visit(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    order: &mut Vec<PathBuf>,
    depth: usize,
) -> Result<()> {
    let Some(path) = files.get(&name.replace('-', "_")) else {
        // What others need and is no file, the kernel has built in.
        return Ok(());
    };
    if order.contains(path) {
        return Ok(());
    }
    if depth > 32 {
        bail!("kernel modules need each other in a circle, {name} among them");
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    for needed in depends(&bytes) {
        visit(&needed, files, order, depth + 1)?;
    }
    order.push(path.clone());
    Ok(())
}

/// What a module needs, from the strings of its section `.modinfo`: `depends=a,b`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"depends=";
    let starts = |at: usize| at == 0 || module[at - 1] == 0;
    let found = module
        .windows(KEY.len())
        .enumerate()
        .find(|(at, window)| *window == KEY && starts(*at))
        .map(|(at, _)| &module[at + KEY.len()..]);
    let list = found.and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let directory = tempfile::tempdir().expect("a directory");
        let module = |name: &str, needs: &str| {
            let bytes = format!("junk depends=no\0license=GPL\0depends={needs}\0name={name}\0");
            let folder = directory.path().join(&name[..1]);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(format!("{name}.ko")), bytes).expect("a file");
        };
        module("top", "mid-dle,base");
        module("mid-dle", "base,built_in");
        module("base", "");
        module("alone", "");
        let order = in_order(directory.path(), &["top", "alone", "base"]).expect("an order");
        let names: Vec<_> = order.iter().filter_map(|path| module_name(path)).collect();
        assert_eq!(names, ["base", "mid_dle", "top", "alone"]);
    }
}
