//! Starting a component: its namespace, cgroup, log and listeners.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::Context;
use portolan_linux::cgroup::Cgroup;
use portolan_linux::netns::NetNs;
use portolan_linux::process::{Pidfd, Spawn};

use super::paths::Paths;
use super::plan::Component;

/// The program itself, or what it runs where its file was replaced since.
pub fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => portolan_linux::process::this_program(),
    }
}

/// Starts the component. It gets the listeners as descriptors from 3 on, by the convention of
/// sd_listen_fds(3), without LISTEN_PID.
pub fn start(
    component: &Component,
    paths: &Paths,
    listeners: &[TcpListener],
) -> anyhow::Result<Pidfd> {
    let cgroup = Cgroup::create(&component.cgroup)?;
    let netns = NetNs::open(paths.netns(&component.node))?;
    let mut spawn = Spawn::new(program())
        .arg0("portolan")
        .args(&component.args)
        .env("MALLOC_ARENA_MAX", "2")
        .output_to(&component.log)
        .directory("/")
        .netns(&netns)
        .cgroup(&cgroup)
        .new_session();
    if !listeners.is_empty() {
        spawn = spawn.env("LISTEN_FDS", listeners.len().to_string());
        for (number, listener) in (3..).zip(listeners) {
            spawn = spawn.descriptor(listener, number);
        }
    }
    let process = spawn.spawn().with_context(|| format!("cannot start {}", component.name()))?;
    Ok(process.into_pidfd())
}

/// The listeners that this process was started with, by the convention of sd_listen_fds(3).
pub fn inherited_listeners() -> anyhow::Result<Vec<TcpListener>> {
    let Ok(count) = std::env::var("LISTEN_FDS") else { return Ok(Vec::new()) };
    let count: i32 = count.parse().with_context(|| format!("LISTEN_FDS is {count:?}"))?;
    (3..3 + count)
        .map(|number| {
            let fd = portolan_linux::process::inherited(number)
                .with_context(|| format!("LISTEN_FDS is {count}"))?;
            let listener = TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .collect()
}

/// The last lines of a log, for a message about what went wrong.
pub fn last_lines(log: &std::path::Path, count: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(16 * 1024)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        assert_eq!(last_lines(&log, 2), "");
        std::fs::write(&log, "a\nb\nc\n").expect("a log");
        assert_eq!(last_lines(&log, 2), "b\nc");
    }
}
