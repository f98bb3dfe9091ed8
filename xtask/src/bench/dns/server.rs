//! The servers under load, each a process on processor 0.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::api::Api;
use super::client::query;

pub(super) enum Program {
    Portolan(PathBuf),
    CoreDns(PathBuf),
}

impl Program {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Portolan(_) => "Portolan",
            Self::CoreDns(_) => "CoreDNS",
        }
    }
}

/// A running server; killed when dropped.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// From the start to the first right answer.
    pub(super) loaded: Duration,
    process: Child,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}

fn on_one_processor(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).stdout(Stdio::null());
    command
}

impl Server {
    pub(super) fn start(program: &Program, api: &Api, upstream: SocketAddr) -> Result<Self> {
        Self::with_pods(program, api, upstream, "insecure")
    }

    /// `pods verified` makes a server follow all pods; it is whole when it knows one of the last.
    pub(super) fn with_pods(
        program: &Program,
        api: &Api,
        upstream: SocketAddr,
        pods: &str,
    ) -> Result<Self> {
        let address = free_address()?;
        let name = format!("portolan-bench-{}-{}", std::process::id(), address.port());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let corefile = directory.join("Corefile");
        let write = |port: u16, endpoint: &str| {
            let text = format!(
                ".:{port} {{\n bind 127.0.0.1\n errors\n kubernetes cluster.local in-addr.arpa \
                 ip6.arpa {{\n {endpoint}\n pods {pods}\n fallthrough in-addr.arpa ip6.arpa\n \
                 ttl 30\n }}\n forward . {upstream}\n cache 30 {{\n disable success \
                 cluster.local\n disable denial cluster.local\n }}\n loadbalance\n}}\n"
            );
            std::fs::write(&corefile, text)
        };
        let mut command = match program {
            Program::CoreDns(file) => {
                write(address.port(), &format!("endpoint http://{}", api.address))?;
                let mut command = on_one_processor(file);
                command.args(["-quiet", "-conf"]).arg(&corefile);
                command
            }
            Program::Portolan(file) => {
                let kubeconfig = directory.join("kubeconfig");
                let cluster =
                    format!("{{name: c, cluster: {{server: \"http://{}\"}}}}", api.address);
                let text = format!(
                    "apiVersion: v1\nkind: Config\nclusters: [{cluster}]\nusers: [{{name: u, user: \
                     {{}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
                     current-context: x\n"
                );
                std::fs::write(&kubeconfig, text)?;
                write(53, "")?;
                let text = std::fs::read_to_string(&corefile)?.replace(" bind 127.0.0.1\n", "");
                std::fs::write(&corefile, text)?;
                let mut command = on_one_processor(file);
                command.args(["dns", "--listen", &address.to_string(), "--config"]).arg(&corefile);
                command.arg("--kubeconfig").arg(&kubeconfig);
                command
            }
        };
        let begun = Instant::now();
        let process = command.spawn().context("cannot start the server")?;
        let mut server =
            Self { name: program.name(), address, loaded: Duration::ZERO, process, directory };
        // The last objects of their lists.
        let last = [api.last_service(), "crowd.ns0.svc.cluster.local A".to_owned(), api.last_pod()];
        while !last.iter().all(|line| server.answers(line)) {
            let ended = server.process.try_wait()?;
            ensure!(ended.is_none(), "{} has ended", server.name);
            ensure!(begun.elapsed() < Duration::from_secs(300), "{} does not answer", server.name);
            std::thread::sleep(Duration::from_millis(10));
        }
        server.loaded = begun.elapsed();
        Ok(server)
    }

    /// The bare echo.
    pub(super) fn echo(program: &Path) -> Result<Self> {
        let address = free_address()?;
        let process = on_one_processor(program).arg(address.to_string()).spawn()?;
        std::thread::sleep(Duration::from_millis(300));
        let directory = PathBuf::new();
        Ok(Self { name: "the echo", address, loaded: Duration::ZERO, process, directory })
    }

    /// Whether the question is answered with records.
    fn answers(&self, line: &str) -> bool {
        query(self.address, line).is_ok_and(|answer| answer.get(7).is_some_and(|count| *count > 0))
    }

    /// Seconds of processor time, from proc_pid_schedstat: nanoseconds, summed over threads.
    pub(super) fn cpu(&self) -> Result<f64> {
        let mut total = 0.0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let word = text.split_whitespace().next().context("an empty schedstat")?;
            total += word.parse::<f64>()? / 1e9;
        }
        Ok(total)
    }

    pub(super) fn resident(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most that was ever resident.
    pub(super) fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// A field of proc_pid_status(5) in MiB.
    fn status(&self, field: &str) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line =
            text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kib = line.split_whitespace().next().context("an empty field")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}
