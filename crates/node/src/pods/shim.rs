//! The shim: the parent of one container's first process.
//!
//! It outlives the agent, takes the container's output into the log file and writes down how the
//! container ended. It is plain blocking code: no runtime, no threads, little memory.

mod log;
mod rootfs;
pub mod spec;

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use super::report;
use portolan_linux::{
    cgroup::Cgroup,
    namespace::{self, Kind, Namespace},
    process::{self, Spawn},
};
use spec::{EXIT, Exit, RUNNING, Running, SPEC, Spec};

/// The descriptor on which the shim tells who started it that the container runs: nothing but an
/// end of file if all is well, else the reason why not.
pub const READY_FD: i32 = 3;

/// The exit code of a container that could not be started, as container runtimes give it.
const START_FAILED: i32 = 128;

/// The hidden command `shim DIRECTORY`. Call it before the process has a second thread.
///
/// Returns the process's exit status.
pub fn main(args: impl IntoIterator<Item = std::ffi::OsString>) -> i32 {
    let Some(directory) = args.into_iter().next().map(PathBuf::from) else {
        return 2;
    };
    let mut ready = process::inherited(READY_FD).ok().map(File::from);
    match run(&directory, &mut ready) {
        Ok(()) => 0,
        Err(e) => {
            let text = report(&e);
            let exit = Exit {
                code: START_FAILED,
                signal: None,
                finished_at: jiff::Timestamp::now(),
                start_error: Some(text.clone()),
            };
            let _ = spec::write(&directory.join(EXIT), &exit);
            if let Some(mut ready) = ready {
                let _ = ready.write_all(text.as_bytes());
            }
            1
        }
    }
}

/// Starts the container, follows it to its end and writes that down.
fn run(directory: &Path, ready: &mut Option<File>) -> io::Result<()> {
    let spec: Spec = spec::read(&directory.join(SPEC))?;
    for (kind, path) in [
        (Kind::Net, spec.netns.as_ref()),
        (Kind::Uts, Some(&spec.uts)),
        (Kind::Ipc, Some(&spec.ipc)),
    ] {
        if let Some(path) = path {
            Namespace::open(kind, path)?.enter()?;
        }
    }
    if !spec.host_pid {
        namespace::unshare_into(Kind::Pid)?;
    }
    let mut output = log::Writer::open(&spec.log)?;
    let stage = directory.join("root");
    std::fs::create_dir_all(&stage)?;
    let Some((program, args)) = spec.argv.split_first() else {
        return Err(io::Error::other("no command specified"));
    };
    let mut spawn = Spawn::new(program)
        .args(args)
        .only_env(spec.env.iter().map(|(k, v)| (k, v)))
        .directory(&spec.directory)
        .cgroup(&Cgroup::existing(&spec.cgroup))
        .new_session()
        .parent_death_signal(9)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(user) = &spec.user {
        spawn = spawn.user(user.uid, user.gid, user.groups.clone());
    }
    let view = spec.clone();
    let mut container = spawn.prepare(move || rootfs::enter(&view, &stage)).spawn()?;
    let (pid, shim) = (container.id(), std::process::id());
    let running = Running {
        pid,
        start: process::start_time(pid).unwrap_or(0),
        shim,
        shim_start: process::start_time(shim).unwrap_or(0),
        started_at: jiff::Timestamp::now(),
    };
    spec::write(&directory.join(RUNNING), &running)?;
    drop(ready.take());
    drop(spec);
    // From here on it mostly waits, perhaps for years.
    process::forget_file_pages();

    let (stdout, stderr) = (container.take_stdout(), container.take_stderr());
    log::follow(&mut output, stdout.map(Into::into), stderr.map(Into::into), container.pidfd());
    let ended = container.wait()?;
    let exit = Exit {
        code: ended.shell_status(),
        signal: ended.signal(),
        finished_at: jiff::Timestamp::now(),
        start_error: None,
    };
    spec::write(&directory.join(EXIT), &exit)
}
