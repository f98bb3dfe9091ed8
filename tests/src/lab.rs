//! A lab for tests: a name of its own, up at the start, down at the end however the end comes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::{Environment, Namespace, Outcome, environment};

/// The longest that one command in a lab may take.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(90);

/// What is different about a lab.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Part of the lab's name, to tell labs apart in logs; at most eight characters.
    pub label: &'static str,
    /// Further arguments of `portolan lab up`.
    pub arguments: Vec<String>,
}

impl Options {
    pub fn new(label: &'static str) -> Self {
        Self { label, arguments: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }
}

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    pub name: String,
    pub kubeconfig: PathBuf,
    pub environment: &'static Environment,
    /// What `lab up` printed and how long it took.
    pub up: Outcome,
    scratch: tempfile::TempDir,
    guard: Guard,
}

impl Lab {
    /// Starts a lab, or skips the calling test (`None`).
    #[track_caller]
    pub fn start(options: &Options) -> Option<Self> {
        match Self::attempt(options)? {
            Ok(lab) => Some(lab),
            Err(up) => panic!("the lab did not come up: {up}"),
        }
    }

    /// Starts a lab, or returns what `lab up` said where it did not come up.
    #[track_caller]
    pub fn attempt(options: &Options) -> Option<Result<Self, Outcome>> {
        let environment = Environment::find()?;
        let name = unique_name(options.label);
        let guard = Guard::start(environment, &name);
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let kubeconfig = scratch.path().join("kubeconfig");
        let mut command = Command::new(&environment.portolan);
        command
            .args(["lab", "up", "--name", &name, "--kubeconfig"])
            .arg(&kubeconfig)
            .args(&options.arguments);
        // The same promises hold in every mode.
        if let Some(mode) = std::env::var_os("PORTOLAN_TESTS_PROXY_MODE")
            && !options.arguments.iter().any(|argument| argument.starts_with("--proxy-mode"))
        {
            command.arg("--proxy-mode").arg(mode);
        }
        let up = Outcome::of(&mut command, None, COMMAND_LIMIT);
        let lab = Self { name, kubeconfig, environment, up, scratch, guard };
        if !lab.up.succeeded() {
            lab.dump_logs();
            return Some(Err(lab.up.clone()));
        }
        Some(Ok(lab))
    }

    /// The lab of three nodes that most tests share, each in a Kubernetes namespace of its own.
    #[track_caller]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Lab>> = OnceLock::new();
        let lab = SHARED.get_or_init(|| Self::start(&Options::new("shared"))).as_ref();
        if lab.is_none() {
            Environment::find();
        }
        lab
    }

    /// A new Kubernetes namespace, deleted at the end of the test.
    #[track_caller]
    pub fn namespace(&self, name: &str) -> Namespace<'_> {
        Namespace::create(self, name)
    }

    /// `portolan` with `arguments`; `--name` of this lab goes behind the first two (`lab up`, `lab exec`).
    #[track_caller]
    pub fn portolan(&self, arguments: &[&str]) -> Outcome {
        let (verb, rest) = arguments.split_at(arguments.len().min(2));
        let mut command = Command::new(&self.environment.portolan);
        command.args(verb).args(["--name", &self.name]).args(rest);
        Outcome::of(&mut command, None, COMMAND_LIMIT)
    }

    /// A kubectl for this lab, to which arguments are added; its caches are the lab's own.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.environment.kubectl);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg(format!("--cache-dir={}", self.scratch.path().join("cache").display()))
            .env_remove("KUBECONFIG");
        command
    }

    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.kubectl_command().args(arguments), None, COMMAND_LIMIT)
    }

    /// kubectl with `input` on its standard input (`-f -`).
    #[track_caller]
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Outcome {
        Outcome::of(self.kubectl_command().args(arguments), Some(input), COMMAND_LIMIT)
    }

    /// `portolan lab exec WHERE -- …`, to which a command is added.
    pub fn exec_command(&self, place: &str) -> Command {
        let mut command = Command::new(&self.environment.portolan);
        command.args(["lab", "exec", "--name", &self.name, place, "--"]);
        command
    }

    /// Runs a program of the host in a node, `outside` or a pod (`pod/NAMESPACE/NAME`).
    #[track_caller]
    pub fn exec(&self, place: &str, words: &[impl AsRef<OsStr>]) -> Outcome {
        Outcome::of(self.exec_command(place).args(words), None, COMMAND_LIMIT)
    }

    /// `curl -sS` of `url` from `place`, a new connection, at most five seconds.
    #[track_caller]
    pub fn curl(&self, place: &str, url: &str) -> Outcome {
        self.exec(place, &["curl", "-sS", "--max-time", "5", "--globoff", url])
    }

    /// The bodies that `count` requests to `url`, each on a connection of its own, were answered with.
    ///
    /// Fails the test if one of them was not answered with 200.
    #[track_caller]
    pub fn answers(&self, place: &str, url: &str, count: u32) -> Vec<String> {
        let urls = format!("{url}?[1-{count}]");
        let words = [
            "curl",
            "-sS",
            "--fail",
            "--max-time",
            "10",
            "-H",
            "Connection: close",
            "-w",
            "\n",
            urls.as_str(),
        ];
        let answers = self.exec(place, &words).ok();
        let lines: Vec<String> = answers.lines().into_iter().map(str::to_owned).collect();
        assert_eq!(lines.len(), count as usize, "as many answers as requests: {answers}");
        lines
    }

    /// `dig +short` of `words` at the cluster's DNS from `place`.
    #[track_caller]
    pub fn dig(&self, place: &str, words: &[&str]) -> Outcome {
        let mut all = vec!["dig", "@10.96.0.10", "+time=2", "+tries=3"];
        all.extend(words);
        self.exec(place, &all)
    }

    pub fn nodes(&self) -> [&'static str; 3] {
        ["control-plane", "worker-1", "worker-2"]
    }

    /// The InternalIP (IPv4) of a node.
    #[track_caller]
    pub fn node_address(&self, node: &str) -> String {
        let path = r#"jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#;
        let addresses = self.kubectl(&["get", "node", node, "-o", path]).ok();
        let first = addresses.text().split_whitespace().find(|address| !address.contains(':'));
        first.unwrap_or_else(|| panic!("{node} has no IPv4 InternalIP: {addresses}")).to_owned()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.portolan(&["lab", "status", "-o", "json"]).ok().json()
    }

    /// Files that tests make.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// `portolan lab down`; dropping the lab does the same again, which must not matter.
    #[track_caller]
    pub fn down(&self) -> Outcome {
        self.portolan(&["lab", "down"])
    }

    /// The ends of the lab's logs, on standard error: for a failing test.
    pub fn dump_logs(&self) {
        eprintln!("=== the logs of lab {}", self.name);
        let mut logs = Vec::new();
        find_logs(&Path::new("/run/portolan").join(&self.name), &mut logs);
        for log in logs {
            let text = std::fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {}", log.display());
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dump_logs();
        }
        self.guard.finish();
    }
}

/// A process that takes the lab down when this one ends, even by SIGKILL, or when it is told to.
///
/// A static is never dropped and a killed test runs nothing, but a pipe is closed in any case.
#[derive(Debug)]
struct Guard {
    child: Child,
}

impl Guard {
    fn start(environment: &Environment, name: &str) -> Self {
        use std::os::unix::process::CommandExt;
        let child = Command::new("sh")
            .args(["-c", r#"cat >/dev/null; exec "$0" lab down --name "$1""#])
            .arg(&environment.portolan)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Self { child }
    }

    fn finish(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A name that no other lab has: the label, this process's id and a count.
pub fn unique_name(label: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{label}-{}-{count}", std::process::id())
}

fn find_logs(directory: &Path, logs: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => find_logs(&path, logs),
            Ok(kind) if kind.is_file() && path.extension() == Some(OsStr::new("log")) => {
                logs.push(path)
            }
            _ => {}
        }
    }
}

/// Root is needed even for tests that never start a lab; says so like [`Environment::find`].
pub fn root_or_skip() -> bool {
    let root = environment::is_root();
    if !root {
        environment::skip("needs root");
    }
    root
}
