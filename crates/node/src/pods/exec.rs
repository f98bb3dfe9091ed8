//! Commands in running containers, for probes, hooks and `kubectl exec`.

use std::{io::Read, path::Path, process::Stdio, time::Duration};

use portolan_linux::{
    Attempt,
    cgroup::Cgroup,
    process::{Process, Spawn, namespaces_of},
};

use super::{
    report,
    shim::spec::{self, SPEC, Spec},
    worker::Running,
};

/// Most of a command's output that is kept, in bytes.
const OUTPUT: u64 = 10 * 1024;

/// A command that will run in a container as its own program does: same environment, user,
/// directory and control group.
pub(crate) fn command(running: &Running, argv: &[String]) -> Attempt<Spawn> {
    let spec: Spec = spec::read(&running.directory.join(SPEC))
        .map_err(|e| portolan_linux::Failed::new("read the container's description", e))?;
    let (program, args) = argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let mut spawn = Spawn::new(program)
        .args(args)
        .only_env(spec.env.iter().map(|(k, v)| (k, v)))
        .directory(Path::new(&spec.directory))
        .cgroup(&Cgroup::existing(&spec.cgroup));
    if let Some(user) = &spec.user {
        spawn = spawn.user(user.uid, user.gid, user.groups.clone());
    }
    for namespace in namespaces_of(running.pid)? {
        spawn = spawn.namespace(&namespace);
    }
    Ok(spawn)
}

/// How a command in a container ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With this exit status; what it printed.
    Ended(i32, String),
    TimedOut,
    /// It could not be started; why.
    Failed(String),
}

/// Runs a command to its end, or kills it after `timeout`.
pub(crate) async fn run(running: Running, argv: Vec<String>, timeout: Duration) -> Outcome {
    let started = tokio::task::spawn_blocking(move || {
        let (reader, writer) =
            std::io::pipe().map_err(|e| portolan_linux::Failed::new("make a pipe", e))?;
        let second =
            writer.try_clone().map_err(|e| portolan_linux::Failed::new("duplicate a pipe", e))?;
        let process = command(&running, &argv)?
            .new_session()
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(second)
            .spawn()?;
        Ok::<_, portolan_linux::Failed>((process, reader))
    });
    let (mut process, reader) = match started.await {
        Ok(Ok(started)) => started,
        Ok(Err(e)) => return Outcome::Failed(report(&e)),
        Err(e) => return Outcome::Failed(e.to_string()),
    };
    if tokio::time::timeout(timeout, process.pidfd().end()).await.is_err() {
        let _ = process.signal(9);
        reap(process);
        return Outcome::TimedOut;
    }
    let code = process.wait().map(portolan_linux::process::Ended::shell_status).unwrap_or(-1);
    let text = tokio::task::spawn_blocking(move || output(reader)).await.unwrap_or_default();
    Outcome::Ended(code, text)
}

/// What is in the pipe of a command that has ended. What it left running may hold the pipe open,
/// so only what is there is read.
fn output(reader: std::io::PipeReader) -> String {
    use std::os::fd::AsFd;
    let mut bytes = Vec::new();
    let mut limited = reader.take(OUTPUT);
    let mut chunk = [0; 4096];
    loop {
        let ready = portolan_linux::process::wait_readable(
            &[limited.get_ref().as_fd()],
            Some(Duration::ZERO),
        );
        if !ready.is_ok_and(|r| r == [true]) {
            break;
        }
        match limited.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a process that was killed, in the background.
fn reap(mut process: Process) {
    tokio::spawn(async move {
        if process.pidfd().end().await.is_ok() {
            let _ = process.try_wait();
        }
    });
}
