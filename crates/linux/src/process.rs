//! Starting processes in given namespaces and cgroups, and waiting for processes that are not
//! necessarily children.

#![allow(unsafe_code)]

mod child;
mod pidfd;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cgroup::Cgroup,
    error::{Attempt, Attempted, Failed},
    namespace::Namespace,
};

pub use child::become_subreaper;
pub use pidfd::{Ended, Pidfd, Process, ended_children, start_time, wait_readable};

/// What runs in the new process just before its program, in a single-threaded parent only.
type Prepare = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// A process to be started.
pub struct Spawn {
    command: Command,
    name: String,
    setup: child::Setup,
    prepare: Option<Prepare>,
    problem: Option<Failed>,
}

impl Spawn {
    /// Starts `program`, which is looked up in `PATH` inside the namespaces that it will run in.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        Self {
            command: Command::new(program),
            name: program.to_string_lossy().into_owned(),
            setup: child::Setup::default(),
            prepare: None,
            problem: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// The program's zeroth argument, if not its name.
    #[must_use]
    pub fn arg0(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg0(arg);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Starts from an empty environment with just these variables.
    #[must_use]
    pub fn only_env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.command.env_clear().envs(variables);
        self
    }

    /// The working directory, as seen inside the namespaces.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        match child::c_string(directory.as_ref().as_os_str()) {
            Ok(directory) => self.setup.directory = Some(directory),
            Err(e) => self.refuse("set a working directory", e),
        }
        self
    }

    /// Standard input; inherited unless set.
    #[must_use]
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Standard output; inherited unless set.
    #[must_use]
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// Standard error; inherited unless set.
    #[must_use]
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self
    }

    /// Reads nothing, and appends output and errors to the file `path`.
    #[must_use]
    pub fn output_to(mut self, path: impl AsRef<Path>) -> Self {
        let open = || -> io::Result<(File, File)> {
            let file = OpenOptions::new().create(true).append(true).open(path.as_ref())?;
            Ok((file.try_clone()?, file))
        };
        match open() {
            Ok((out, err)) => self.stdin(Stdio::null()).stdout(out).stderr(err),
            Err(e) => {
                self.refuse(&format!("open {}", path.as_ref().display()), e);
                self
            }
        }
    }

    /// Hands an open file down as descriptor `number` (3 or more).
    #[must_use]
    pub fn descriptor(mut self, fd: impl AsFd, number: RawFd) -> Self {
        match fd.as_fd().try_clone_to_owned() {
            Ok(fd) if number > 2 => self.setup.descriptors.push((fd, number)),
            Ok(_) => {
                self.refuse("hand down a descriptor below 3", io::ErrorKind::InvalidInput.into())
            }
            Err(e) => self.refuse("duplicate a descriptor", e),
        }
        self
    }

    /// Runs in `namespace`. May be said once for each kind; a mount namespace is entered last.
    ///
    /// For a PID namespace the process becomes the child of one that stays behind, passes
    /// signals on and ends with the same status.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        match namespace.as_fd().try_clone_to_owned() {
            Ok(fd) => self.setup.enter(fd, namespace.kind()),
            Err(e) => self.refuse("duplicate a namespace's descriptor", e),
        }
        self
    }

    /// Runs in the network namespace `netns`.
    #[must_use]
    pub fn netns(self, netns: &crate::netns::NetNs) -> Self {
        self.namespace(netns.as_namespace())
    }

    /// Gives the process mounts of its own, in which `/sys` shows its network namespace.
    #[must_use]
    pub fn own_sysfs(mut self) -> Self {
        self.setup.own_sysfs = true;
        self
    }

    /// Runs in `cgroup` from its first instruction on.
    #[must_use]
    pub fn cgroup(mut self, cgroup: &Cgroup) -> Self {
        let path = cgroup.path().join("cgroup.procs");
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => self.setup.cgroup = Some(file.into()),
            Err(e) => self.refuse(&format!("open {}", path.display()), e),
        }
        self
    }

    /// Makes the process the leader of a session of its own, without a terminal.
    #[must_use]
    pub fn new_session(mut self) -> Self {
        self.setup.session = true;
        self
    }

    /// As [`Spawn::new_session`], with standard input as the controlling terminal.
    #[must_use]
    pub fn new_session_on_terminal(mut self) -> Self {
        self.setup.session = true;
        self.setup.terminal = true;
        self
    }

    /// Has the kernel send `signal` to the process when the thread that started it ends.
    #[must_use]
    pub fn parent_death_signal(mut self, signal: i32) -> Self {
        self.setup.parent_death_signal = Some(signal);
        self
    }

    /// Runs as user `uid` and group `gid` with the supplementary `groups`.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        self.setup.user = Some((uid, gid, groups));
        self
    }

    /// Runs `prepare` in the new process, inside its namespaces and before it changes directory
    /// and user: the place to build its mounts.
    ///
    /// Only a process with a single thread may do so: after a fork the other threads' locks stay
    /// locked for ever. Starting fails otherwise.
    #[must_use]
    pub fn prepare(
        mut self,
        prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    fn refuse(&mut self, what: &str, e: io::Error) {
        self.problem.get_or_insert_with(|| Failed::new(what, e));
    }

    /// Installs what happens between fork and exec.
    fn arm(&mut self) -> Attempt<()> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.prepare.is_some() && !single_threaded() {
            let e = io::Error::from(io::ErrorKind::Unsupported);
            return Err(Failed::new("prepare a process from a program with several threads", e));
        }
        let mut setup = std::mem::take(&mut self.setup);
        let mut prepare = self.prepare.take();
        // SAFETY: `Setup` calls only async-signal-safe functions and allocates nothing;
        // `prepare` may allocate because this process has a single thread, as checked above.
        unsafe {
            self.command.pre_exec(move || {
                setup.enter_all()?;
                prepare.as_mut().map_or(Ok(()), |p| p())?;
                setup.become_it()
            });
        }
        Ok(())
    }

    /// Starts the process. Fails also when its program cannot be executed.
    pub fn spawn(mut self) -> Attempt<Process> {
        self.arm()?;
        let child = self.command.spawn().attempted(|| format!("start {}", self.name))?;
        Process::new(child)
    }

    /// Turns the calling process into the one described. Returns only the reason why not.
    #[must_use]
    pub fn exec(mut self) -> Failed {
        if let Err(e) = self.arm() {
            return e;
        }
        let e = self.command.exec();
        Failed::new(format!("execute {}", self.name), e)
    }
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn").field("command", &self.command).field("setup", &self.setup).finish()
    }
}

/// Whether this process has just the calling thread.
fn single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// The namespaces of process `pid` that differ from the caller's, for [`Spawn::namespace`].
pub fn namespaces_of(pid: u32) -> Attempt<Vec<Namespace>> {
    use crate::namespace::Kind;
    let mut found = Vec::new();
    for kind in [Kind::Net, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Mount] {
        let theirs = Namespace::of_process(kind, pid)?;
        if theirs.id()? != Namespace::current(kind)?.id()? {
            found.push(theirs);
        }
    }
    Ok(found)
}

/// Lets descriptor `fd` survive an exec of this process.
pub fn keep_over_exec(fd: BorrowedFd<'_>) -> Attempt<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
        .attempted(|| format!("keep descriptor {} over exec", fd.as_raw_fd()))
}

/// Takes possession of descriptor `number`, which this process was started with.
///
/// The descriptor will not survive a further exec. Each number may be taken once.
///
/// # Errors
/// Fails if it is not open, is one of the standard three or was taken before.
pub fn inherited(number: RawFd) -> Attempt<OwnedFd> {
    use std::os::fd::FromRawFd;
    static TAKEN: std::sync::Mutex<Vec<RawFd>> = std::sync::Mutex::new(Vec::new());
    let what = || format!("take inherited descriptor {number}");
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if number < 3 || taken.contains(&number) {
        return Err(Failed::new(what(), io::Error::from(io::ErrorKind::InvalidInput)));
    }
    // SAFETY: borrowed for this call only; if the number is not open the call answers EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).attempted(what)?;
    taken.push(number);
    // SAFETY: it is open, and `TAKEN` sees to it that nobody else gets it from here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives back the memory of this process that is only a copy of files: the pages of programs and
/// libraries that were needed to start. What is needed again is read again.
pub fn forget_file_pages() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    let mut range = None;
    for line in maps.lines() {
        if let Some((ends, rest)) = line.split_once(' ')
            && let Some((from, to)) = ends.split_once('-')
            && let (Ok(from), Ok(to)) =
                (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
        {
            // Private, readable, never written to, and of a file.
            let fits = rest.starts_with("r-")
                && rest.as_bytes().get(3) == Some(&b'p')
                && rest.contains('/');
            range = fits.then_some((from, to));
        } else if line.starts_with("Anonymous:")
            && line.split_ascii_whitespace().nth(1) == Some("0")
            && let Some((from, to)) = range.take()
        {
            // SAFETY: the mapping is backed by a file and holds no page of its own, as the kernel
            // just said, and it cannot be written: dropped pages come back as they were.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
        }
    }
}

/// Runs `work` on a thread of its own that has given up every capability (capabilities(7)), and
/// waits for it. What it starts has none either.
pub fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Attempt<T> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    std::thread::scope(|scope| {
        let inside = || {
            set_capabilities(None, none).attempted(|| "give up all capabilities".to_owned())?;
            Ok(work())
        };
        crate::namespace::join(
            std::thread::Builder::new().name("unprivileged".to_owned()).spawn_scoped(scope, inside),
        )
    })
}

/// Says how readily this process is to be ended when memory runs out, -1000 to 1000. Less readily
/// than before takes a right; without it all stays as it was.
pub fn spare_from_oom(score: i32) {
    let _ = std::fs::write("/proc/self/oom_score_adj", score.to_string());
}

/// Lowers the priority of the calling thread for good: it runs when others leave it time.
pub fn give_way() {
    // Nobody is refused this; if somebody were, all would work as before.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}

/// The path of the program that this process runs, also after the file was replaced.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The program name and arguments as one, for logs.
pub fn command_line(pid: u32) -> Option<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|b| *b == 0).filter(|w| !w.is_empty());
    Some(words.map(|w| OsString::from_vec(w.to_vec())).collect())
}

#[cfg(test)]
mod tests;
