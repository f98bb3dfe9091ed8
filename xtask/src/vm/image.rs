//! The machine's file system: an archive that the kernel unpacks into memory (`cpio -H newc`, as
//! in the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::init::{PLAN, TESTS};
use super::kernel::{Kernel, text};
use super::modules::{LAST, WANTED, in_order};

/// Programs that the tests run.
const PROGRAMS: [&str; 3] = ["nft", "ip", "ipvsadm"];
/// The tests of mode `ebpf`, which this kernel's verifier has to take too.
const SOCKETS: [&str; 5] =
    ["::ebpf::", "tests::socket::", "tests::kin::", "tests::redial::", "tests::drift::"];
/// The test that runs before [`LAST`] is loaded.
const WITHOUT_LAST: &str = "proxy::tests::ipvs::without_dummy_links_routes_carry_the_addresses";

/// Makes the archive and returns its path.
pub(super) fn make(
    folder: &Path,
    kernel: &Kernel,
    tests: &Path,
    filters: &[String],
    seed: Option<u64>,
) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "tmp", "run", "modules", "etc", "root"] {
        archive.directory(directory);
    }
    archive.console();
    // nft looks protocols up by name.
    archive.file("etc/protocols", 0o644, b"icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\nsctp 132\n");
    archive.file("etc/nsswitch.conf", 0o644, b"protocols: files\nservices: files\n");
    let mut plan = String::new();
    let load = |archive: &mut Archive, names: &[&str], plan: &mut String| -> Result<()> {
        for path in in_order(&kernel.modules, names)? {
            let name =
                format!("modules/{}", path.file_name().unwrap_or_default().to_string_lossy());
            archive.file(&name, 0o644, &std::fs::read(&path)?);
            let _ = writeln!(plan, "load /{name}");
        }
        Ok(())
    };
    load(&mut archive, &WANTED, &mut plan)?;
    if let Some(seed) = seed {
        let _ = writeln!(plan, "seed {seed}");
    }
    if filters.is_empty() {
        let _ = writeln!(plan, "run --exact --nocapture {WITHOUT_LAST}");
    }
    load(&mut archive, &[LAST], &mut plan)?;
    let mut run = |asked: &str| {
        let _ = writeln!(plan, "run --skip proxy::datapath:: --skip without_dummy_links {asked}");
    };
    match filters {
        [] => {
            run("ipvs::");
            run(&format!("--skip random:: {}", SOCKETS.join(" ")));
        }
        some => run(&format!("--nocapture {}", some.join(" "))),
    }
    archive.file(PLAN.trim_start_matches('/'), 0o644, plan.as_bytes());
    let own = std::env::current_exe()?;
    let mut needed = BTreeSet::new();
    for (from, to) in [(own.as_path(), "init"), (tests, TESTS.trim_start_matches('/'))] {
        archive.file(to, 0o755, &stripped(from)?);
        needed.extend(libraries(from)?);
    }
    for program in PROGRAMS {
        let path = find(program).with_context(|| format!("{program} is not installed"))?;
        needed.extend(libraries(&path)?);
        archive.file(&format!("usr/sbin/{program}"), 0o755, &std::fs::read(&path)?);
    }
    for library in needed {
        let to = library.to_string_lossy().trim_start_matches('/').to_owned();
        archive.file(&to, 0o755, &std::fs::read(&library)?);
    }
    let path = folder.join("initramfs.cpio");
    std::fs::write(&path, archive.end())?;
    Ok(path)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// A program without what debuggers want; as it is where there is no strip.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let to = directory.path().join("stripped");
    match text(Command::new("strip").arg("-o").arg(&to).arg(program)) {
        Ok(_) => Ok(std::fs::read(to)?),
        Err(_) => Ok(std::fs::read(program)?),
    }
}

/// The shared libraries of a program, and the one that loads them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let told = text(Command::new("ldd").arg(program))?;
    let paths = told.lines().filter_map(|line| {
        let place = line.split("=>").last()?.split_whitespace().next()?;
        place.starts_with('/').then(|| PathBuf::from(place))
    });
    Ok(paths.collect())
}

/// An archive in the making.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    known: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// With the folders that it lies in.
    fn directory(&mut self, path: &str) {
        if path.is_empty() || !self.known.insert(path.to_owned()) {
            return;
        }
        self.parent(path);
        self.entry(path, 0o040_755, (0, 0), &[]);
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        if self.known.insert(path.to_owned()) {
            self.parent(path);
            self.entry(path, 0o100_000 | mode, (0, 0), content);
        }
    }

    /// The device that the first process speaks to.
    fn console(&mut self) {
        self.entry("dev/console", 0o020_600, (5, 1), &[]);
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            let parent = parent.to_owned();
            self.directory(&parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inode += 1;
        let length = content.len() as u32;
        let numbers = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            length,
            0,
            0,
            device.0,
            device.1,
            path.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another reader of the format.
    #[test]
    fn cpio_reads_what_is_written() {
        let mut archive = Archive::default();
        archive.file("usr/lib/a", 0o755, b"hello");
        archive.file("usr/lib/b", 0o644, b"");
        archive.directory("usr/lib");
        let bytes = archive.end();
        let mut names = vec![];
        let (mut rest, mut contents) = (&bytes[..], vec![]);
        let number = |rest: &[u8], index: usize| {
            let digits = &rest[6 + 8 * index..][..8];
            usize::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("hex")
        };
        while !rest.is_empty() {
            assert_eq!(&rest[..6], b"070701");
            let (size, name) = (number(rest, 6), number(rest, 11));
            names.push(String::from_utf8_lossy(&rest[110..110 + name - 1]).into_owned());
            let start = (110 + name).next_multiple_of(4);
            contents.push(&rest[start..start + size]);
            rest = &rest[(start + size).next_multiple_of(4)..];
        }
        assert_eq!(names, ["usr", "usr/lib", "usr/lib/a", "usr/lib/b", "TRAILER!!!"]);
        assert_eq!(contents[2], b"hello");
    }
}
