//! All that a lab could leave behind on a machine, listed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a machine (or the namespaces that [`crate::alone`] makes) holds at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Command lines with process ids, kernel threads and this process left out.
    pub processes: BTreeSet<String>,
    pub links: BTreeSet<String>,
    pub addresses: BTreeSet<String>,
    pub routes: BTreeSet<String>,
    pub rules: BTreeSet<String>,
    /// Lines of `nft list ruleset`
    pub packet_filter: BTreeSet<String>,
    /// Mount points
    pub mounts: BTreeSet<String>,
    /// Names below `/run/netns`
    pub namespaces: BTreeSet<String>,
    /// Files, cgroups and sockets whose path has the lab's name
    pub named: BTreeSet<String>,
}

impl Machine {
    /// Looks at the machine; `name` is the lab's.
    pub fn look(name: &str) -> Self {
        Self {
            processes: processes(),
            links: lines("ip", &["-o", "link", "show"]),
            addresses: lines("ip", &["-o", "address", "show"]),
            routes: &lines("ip", &["route", "show", "table", "all"])
                | &lines("ip", &["-6", "route", "show", "table", "all"]),
            rules: &lines("ip", &["rule", "show"]) | &lines("ip", &["-6", "rule", "show"]),
            packet_filter: lines("nft", &["list", "ruleset"]),
            mounts: mounts(),
            namespaces: entries(Path::new("/run/netns")),
            named: named(name),
        }
    }

    /// The part that is the host's own network, which a lab does not touch even while it runs.
    pub fn network(&self) -> [&BTreeSet<String>; 5] {
        [&self.links, &self.addresses, &self.routes, &self.rules, &self.packet_filter]
    }

    /// What is here and was not there `before`, one line each.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let pairs = [
            ("process", &self.processes, &before.processes),
            ("link", &self.links, &before.links),
            ("address", &self.addresses, &before.addresses),
            ("route", &self.routes, &before.routes),
            ("rule", &self.rules, &before.rules),
            ("nft", &self.packet_filter, &before.packet_filter),
            ("mount", &self.mounts, &before.mounts),
            ("network namespace", &self.namespaces, &before.namespaces),
            ("file or cgroup", &self.named, &before.named),
        ];
        let new = |(kind, now, then): (&str, &BTreeSet<String>, &BTreeSet<String>)| {
            now.difference(then).map(|what| format!("{kind}: {what}")).collect::<Vec<_>>()
        };
        pairs.into_iter().flat_map(new).collect()
    }
}

/// The cgroup (version 2) of the lab `name`.
pub fn cgroup(name: &str) -> Option<PathBuf> {
    let path = cgroup2()?.join(format!("portolan-{name}"));
    path.is_dir().then_some(path)
}

/// Where cgroup2 is mounted: `/sys/fs/cgroup`, or elsewhere beside version 1.
pub fn cgroup2() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    line.split(' ').nth(1).map(PathBuf::from)
}

/// Ends everything in the lab's cgroup by SIGKILL, supervisor and pods alike.
///
/// # Panics
/// Where the lab has no cgroup.
#[track_caller]
pub fn kill_everything(name: &str) {
    let cgroup = cgroup(name).unwrap_or_else(|| panic!("no cgroup of lab {name}"));
    std::fs::write(cgroup.join("cgroup.kill"), "1").expect("cgroup.kill");
}

fn processes() -> BTreeSet<String> {
    let own = std::process::id().to_string();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if !words.trim().is_empty() {
            found.insert(format!("{pid} {}", words.trim()));
        }
    }
    found
}

fn lines(program: &str, arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(program).args(arguments).output().expect(program);
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn mounts() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

fn entries(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Paths with the lab's name where programs keep such things.
fn named(name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for directory in [
        "/run",
        "/run/portolan",
        "/run/netns",
        "/var/lib",
        "/var/lib/portolan",
        "/var/run",
        "/tmp",
        "/dev/shm",
    ] {
        for entry in entries(Path::new(directory)) {
            if entry.contains(name) {
                found.insert(format!("{directory}/{entry}"));
            }
        }
    }
    for entry in cgroup2().as_deref().map(entries).unwrap_or_default() {
        if entry.contains(name) {
            found.insert(format!("cgroup {entry}"));
        }
    }
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    found.extend(
        sockets.lines().filter(|line| line.contains(name)).map(|line| format!("socket {line}")),
    );
    found
}
