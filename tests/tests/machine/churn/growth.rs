//! How large the lab's processes are at quiet points, and whether they grow.

use std::collections::BTreeMap;
use std::{fmt, fs};

use portolan_tests::Lab;
use portolan_tests::wait::{check, eventually};

use crate::bpf::{BpfObjects, bpf_objects, still_there};

/// A process at a quiet point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    memory_kib: usize,
    sockets: usize,
    /// But for sockets.
    descriptors: usize,
    threads: usize,
}

impl Size {
    /// `None` where the process has just ended.
    fn of(pid: u64) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let is_socket = |entry: fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        };
        let (sockets, others): (Vec<bool>, Vec<bool>) = open.map(is_socket).partition(|is| *is);
        Some(Self {
            memory_kib: number("VmRSS:")?,
            sockets: sockets.len(),
            descriptors: others.len(),
            threads: number("Threads:")?,
        })
    }
}

/// The name of a part and the number of its process: after a restart it is another one.
type Process = (String, u64);

/// The lab at a quiet point.
pub(super) struct Sizes {
    processes: BTreeMap<Process, Size>,
    bpf: BpfObjects,
}

impl Sizes {
    pub(super) fn look(lab: &Lab) -> Self {
        let status = lab.status();
        let parts = status["components"].as_array().cloned().unwrap_or_default();
        let parts =
            parts.iter().filter_map(|part| Some((part["name"].as_str()?, part["pid"].as_u64()?)));
        let supervisor = status["supervisor"]["pid"].as_u64().map(|pid| ("supervisor", pid));
        let size = |(name, pid): (&str, u64)| Some(((name.to_owned(), pid), Size::of(pid)?));
        let processes = parts.chain(supervisor).filter_map(size).collect();
        Self { processes, bpf: bpf_objects(&lab.name) }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, _), size) in &self.processes {
            let Size { memory_kib, sockets, descriptors, threads } = size;
            let mebibytes = memory_kib / 1024;
            write!(f, "{name} {mebibytes} MiB {descriptors}+{sockets} fd {threads} th; ")?;
        }
        write!(f, "{} BPF objects", self.bpf.len())
    }
}

/// How much of something is growth.
struct Rule {
    what: &'static str,
    of: fn(&Size) -> usize,
    /// So much more comes and goes with the work at hand.
    slack: usize,
    /// Fewer quiet points than this say nothing.
    points: usize,
}

const RULES: [Rule; 4] = [
    // Connections are kept for a while in case that they are needed again.
    Rule { what: "sockets", of: |size| size.sockets, slack: 48, points: 2 },
    // Nothing but the mode of a proxy makes a difference, of half as many.
    Rule { what: "descriptors", of: |size| size.descriptors, slack: 12, points: 2 },
    Rule { what: "threads", of: |size| size.threads, slack: 6, points: 2 },
    // Caches fill, and the allocator keeps holes.
    Rule { what: "KiB of memory", of: |size| size.memory_kib, slack: 16 * 1024, points: 12 },
];

/// What was seen at all quiet points.
#[derive(Default)]
pub(super) struct Growth {
    /// Of each process, while it lived.
    processes: BTreeMap<Process, Vec<Size>>,
    /// Of each part, whichever process it was.
    parts: BTreeMap<String, Vec<Size>>,
    /// What the proxies had pinned at the last one.
    pinned: BpfObjects,
}

impl Growth {
    /// Takes note of a quiet point, at which nothing of BPF is left that nobody has pinned any more.
    #[track_caller]
    pub(super) fn note(&mut self, sizes: Sizes) {
        for (process, size) in sizes.processes {
            self.parts.entry(process.0.clone()).or_default().push(size);
            self.processes.entry(process).or_default().push(size);
        }
        let gone: BpfObjects = self.pinned.difference(&sizes.bpf).copied().collect();
        eventually("the kernel lets go of BPF objects that were unpinned", || {
            let left = still_there(&gone);
            check(left.is_empty(), &left)
        });
        self.pinned = sizes.bpf;
    }

    /// What has grown, one line each.
    pub(super) fn found(&self) -> Vec<String> {
        let processes = self
            .processes
            .iter()
            .map(|((name, pid), sizes)| (format!("{name}, process {pid}"), sizes));
        let parts = self.parts.iter().map(|(name, sizes)| (name.clone(), sizes));
        processes.chain(parts).flat_map(|(who, sizes)| grown(&who, sizes)).collect()
    }
}

/// What has grown of one process or part.
fn grown(who: &str, sizes: &[Size]) -> Vec<String> {
    let judged = RULES.iter().filter(|rule| sizes.len() >= rule.points);
    judged
        .filter_map(|rule| {
            let (first, last) = ends(sizes, rule.of);
            let what = rule.what;
            (last > first + rule.slack).then(|| format!("{who}: {first} {what} have become {last}"))
        })
        .collect()
}

/// The medians of the first quarter of the points and of the last.
fn ends(sizes: &[Size], of: impl Fn(&Size) -> usize) -> (usize, usize) {
    let quarter = sizes.len().div_ceil(4);
    let median = |sizes: &[Size]| {
        let mut values: Vec<usize> = sizes.iter().map(&of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    (median(&sizes[..quarter]), median(&sizes[sizes.len() - quarter..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Size = Size { memory_kib: 60_000, sockets: 20, descriptors: 30, threads: 4 };

    fn sizes(count: usize, size: impl Fn(usize) -> Size) -> Vec<Size> {
        (0..count).map(size).collect()
    }

    #[test]
    fn noise_is_no_growth() {
        let noisy = sizes(180, |index| Size {
            memory_kib: 60_000 + index * 7919 % 9000,
            sockets: 20 + index * 13 % 20,
            descriptors: 30 + index % 7,
            threads: 4 + index % 3,
        });
        assert_eq!(grown("it", &noisy), [""; 0]);
    }

    #[test]
    fn one_for_each_restart_is_found() {
        // In the shortest run, with some ten restarts from one quiet point to the next.
        let descriptors = sizes(3, |index| Size { descriptors: 30 + 10 * index, ..USUAL });
        assert_eq!(grown("it", &descriptors), ["it: 30 descriptors have become 50"]);
        let threads = sizes(3, |index| Size { threads: 4 + 10 * index, ..USUAL });
        assert_eq!(grown("it", &threads), ["it: 4 threads have become 24"]);
        let sockets = sizes(180, |index| Size { sockets: 20 + index, ..USUAL });
        assert_eq!(grown("it", &sockets), ["it: 42 sockets have become 177"]);
    }

    #[test]
    fn memory_is_judged_in_long_runs() {
        let memory = sizes(180, |index| Size { memory_kib: 60_000 + 200 * index, ..USUAL });
        assert_eq!(grown("it", &memory), ["it: 64400 KiB of memory have become 91400"]);
        assert_eq!(grown("it", &memory[100..111]), [""; 0]);
    }

    #[test]
    fn one_point_has_not_grown() {
        assert_eq!(grown("it", &[USUAL]), [""; 0]);
    }
}
