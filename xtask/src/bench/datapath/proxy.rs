//! The proxies under test, Portolan's and the real kube-proxy, each in a network namespace and
//! beside an API made up for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::place::{Group, Place};
use crate::bench::dns::api::{Api, NODE};

const METRICS: &str = "127.0.0.1:10249";

/// Whose program, and its mode.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) program: PathBuf,
    pub(super) mode: &'static str,
    pub(super) peer: bool,
    /// What the control groups' names begin with.
    pub(super) run: String,
}

impl Subject {
    pub(super) fn name(&self) -> String {
        if self.peer { format!("kube-proxy {}", self.mode) } else { self.mode.to_owned() }
    }

    /// What there is to compare: our modes and, with a kube-proxy, its.
    pub(super) fn list(
        programs: &Programs,
        ours: &[&'static str],
        peers: &[&'static str],
    ) -> Vec<Self> {
        let subject = |program: &Path, mode: &&'static str, peer| Self {
            program: program.to_owned(),
            mode,
            peer,
            run: programs.run.clone(),
        };
        let mut all: Vec<Self> =
            ours.iter().map(|mode| subject(&programs.portolan, mode, false)).collect();
        if let Some(program) = &programs.kube_proxy {
            all.extend(peers.iter().map(|mode| subject(program, mode, true)));
        }
        all
    }
}

/// The programs to run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Programs {
    #[arg(long)]
    pub(super) portolan: PathBuf,
    #[arg(long)]
    pub(super) kube_proxy: Option<PathBuf>,
    /// What the control groups' names begin with.
    #[arg(long)]
    pub(super) run: String,
}

/// A running proxy; killed when dropped. What it put into the kernel stays.
pub(super) struct Proxy {
    process: Child,
    directory: PathBuf,
    pub(super) memory: Group,
    sockets: Option<Group>,
    place: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
    }
}

/// How often it has written to the kernel, and the seconds of all that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) times: f64,
    pub(super) seconds: f64,
}

impl Proxy {
    pub(super) fn start(subject: &Subject, api: &Api, place: &Place) -> Result<Self> {
        let name = format!("{}-{}", subject.run, place.name);
        let directory = Path::new("/run").join(&name);
        std::fs::create_dir_all(&directory)?;
        let kubeconfig = directory.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c",
                "cluster": {"server": format!("http://{}", api.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, text.to_string())?;
        let log = std::fs::File::create(directory.join("log"))?;
        let memory = Group::of_memory(&name)?;
        let sockets = if subject.mode == "ebpf" { Some(Group::of_sockets(&name)?) } else { None };
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#])
            .arg(&memory.0)
            .args(["nsenter", &format!("--net={}", place.path().display())])
            .arg(&subject.program);
        if !subject.peer {
            command.arg("proxy");
        }
        command
            .args(["--hostname-override", NODE, "--cluster-cidr=10.0.0.0/8"])
            .args(["--metrics-bind-address", METRICS])
            .arg(format!("--proxy-mode={}", subject.mode))
            .arg("--kubeconfig")
            .arg(&kubeconfig);
        if subject.peer {
            command
                .args(["--kube-api-content-type=application/json"])
                .args(["--conntrack-max-per-core=0", "--conntrack-min=0"]);
        }
        if let Some(group) = &sockets {
            command.arg("--cgroup").arg(&group.0).arg("--bpf-dir").arg(directory.join("bpf"));
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", subject.program.display()))?;
        Ok(Self { process, directory, memory, sockets, place: place.path() })
    }

    /// The group whose sockets it serves, in mode `ebpf`.
    pub(super) fn sockets(&self) -> Option<&Path> {
        self.sockets.as_ref().map(|group| group.0.as_path())
    }

    /// Ends it at once.
    pub(super) fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The last lines that it wrote, for an error.
    pub(super) fn said(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// MiB of a field of proc_pid_status(5).
    pub(super) fn memory(&self, field: &str) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no such field")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    /// From its metrics; both programs have these names.
    pub(super) fn written(&self) -> Result<Written> {
        let path = &self.place;
        let text = std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                super::place::move_into(path)?;
                metrics()
            });
            thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked"))
        })?;
        let mut written = Written::default();
        for line in text.lines() {
            let name = "kubeproxy_sync_proxy_rules_duration_seconds_";
            let Some((name, value)) =
                line.strip_prefix(name).and_then(|rest| rest.rsplit_once(' '))
            else {
                continue;
            };
            let value: f64 = value.parse()?;
            // kube-proxy has one series for each family of addresses.
            if name.starts_with("sum") {
                written.seconds += value;
            } else if name.starts_with("count") {
                written.times += value;
            }
        }
        Ok(written)
    }
}

fn metrics() -> Result<String> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: metrics\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
