//! Network namespaces and control groups. All is made within a mount and a process namespace of
//! its own, so that nothing stays however this ends; only control groups have to be removed.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::lab::output;

/// A network namespace with a name; gone when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
}

/// Hides what the machine has in /run, for namespaces' names and locks.
pub(super) fn own_run() -> Result<()> {
    output(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"])).map(drop)
}

impl Place {
    pub(super) fn create(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        output(Command::new("ip").args(["netns", "add", &name]))?;
        let place = Self { name };
        place.ip("link set lo up")?;
        Ok(place)
    }

    pub(super) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs lines of ip(8) in it.
    pub(super) fn ip(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().context("starting ip")?;
        child.stdin.take().context("ip's input")?.write_all(lines.as_bytes())?;
        let done = child.wait_with_output()?;
        if !done.status.success() {
            bail!("ip in {}: {}", self.name, String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }

    /// Sets a file below /proc/sys/net.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(name);
        // /proc/sys/net is the reading thread's, so a process within has to do it.
        let mut command = self.command("sh");
        command.args(["-c", "printf %s \"$1\" > \"$0\""]).arg(path).arg(value);
        output(&mut command).map(drop)
    }

    /// A command that runs in it.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program.as_ref());
        command
    }

    /// Runs `work` on a thread in it.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into(&path)?;
                work()
            });
            thread.join().unwrap_or_else(|_| bail!("a thread panicked"))
        })
    }
}

/// Moves the calling thread into a network namespace.
pub(super) fn move_into(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(file.as_fd(), kind)?)
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Where a kind of control group is mounted, by the mount table.
fn hierarchy(wanted: impl Fn(&str, &str) -> bool) -> Result<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mounts")?;
    let found = table.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, target, kind, options) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        wanted(kind, options).then(|| PathBuf::from(target))
    });
    found.context("no such hierarchy of control groups is mounted")
}

fn has_memory(kind: &str, options: &str) -> bool {
    kind == "cgroup" && options.split(',').any(|word| word == "memory")
}

/// A control group, removed when dropped.
#[derive(Debug)]
pub(super) struct Group(pub(super) PathBuf);

impl Group {
    /// One of version 2, whose sockets mode `ebpf` serves.
    pub(super) fn of_sockets(name: &str) -> Result<Self> {
        Self::make(hierarchy(|kind, _| kind == "cgroup2")?.join(name))
    }

    /// One to which memory is charged, of whichever version there is.
    pub(super) fn of_memory(name: &str) -> Result<Self> {
        let root = hierarchy(has_memory).or_else(|_| hierarchy(|kind, _| kind == "cgroup2"))?;
        Self::make(root.join(name))
    }

    fn make(path: PathBuf) -> Result<Self> {
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    /// Moves this process into the group of that directory.
    pub(super) fn join(path: &Path) -> Result<()> {
        Ok(std::fs::write(path.join("cgroup.procs"), "0")?)
    }

    /// MiB of the kernel's own memory that are charged to it.
    pub(super) fn kernel_memory(&self) -> Result<f64> {
        let bytes = match std::fs::read_to_string(self.0.join("memory.kmem.usage_in_bytes")) {
            Ok(text) => text.trim().parse::<f64>()?,
            Err(_) => {
                let text = std::fs::read_to_string(self.0.join("memory.stat"))?;
                let line = text.lines().find_map(|line| line.strip_prefix("kernel "));
                line.context("no kernel memory is counted")?.trim().parse()?
            }
        };
        Ok(bytes / f64::from(1 << 20))
    }

    /// Waits until the kernel has let go of what was charged here, for it takes its time.
    pub(super) fn wait_until_free(&self, limit: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < limit && self.kernel_memory().is_ok_and(|mib| mib > 8.0) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let begun = Instant::now();
        // Processes that just ended may still be in it.
        while std::fs::remove_dir(&self.0).is_err() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Removes control groups that a run left whose processes were killed.
pub(super) fn clear(run: &str) {
    let roots = [hierarchy(|kind, _| kind == "cgroup2"), hierarchy(has_memory)];
    for root in roots.into_iter().flatten() {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(run);
        entries.filter(|entry| ours(&entry.file_name())).for_each(|entry| {
            drop(Group(entry.path()));
        });
    }
}
