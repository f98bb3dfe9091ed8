//! The detached process that owns a lab: builds it, keeps its components running, answers on the
//! control socket. It ends with the lab.

mod children;
mod serve;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::Context;
use portolan_linux::netns::NetNs;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use self::children::Children;
use super::control::Progress;
use super::paths::Paths;
use super::plan::{API_PORT, Kind, Plan};
use super::{credentials, network, relay};

/// Runs the supervisor of the lab called `name`, whose plan is in its place, until it is stopped.
///
/// Standard input is the lab's lock, which it holds as long as it lives; on standard output it
/// says how far it is, as lines of [`Progress`].
pub fn run(name: &str) -> anyhow::Result<()> {
    // A failure means that it leads its session already.
    let _ = rustix::process::setsid();
    portolan_linux::process::become_subreaper()?;
    let paths = Paths::of(name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    runtime.block_on(async {
        match Supervisor::build(&paths) {
            Ok(supervisor) => supervisor.serve().await,
            Err(error) => {
                report(&Progress::Failed(format!("{error:#}")));
                Err(error)
            }
        }
    })
}

/// Nobody may be listening any more: then there is nobody to tell.
fn report(progress: &Progress) {
    if let Ok(line) = serde_json::to_string(progress) {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

struct Supervisor {
    children: Children,
    control: UnixListener,
    api_port: u16,
    _relay: relay::Relay,
}

impl Supervisor {
    fn build(paths: &Paths) -> anyhow::Result<Supervisor> {
        let text = std::fs::read(paths.plan())
            .with_context(|| format!("cannot read {}", paths.plan().display()))?;
        let plan: Plan = serde_json::from_slice(&text).context("the lab's plan")?;
        let started = Instant::now();

        report(&Progress::Step("network namespaces and the switch".to_owned()));
        network::build(&plan, paths).context("cannot build the lab's network")?;
        let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("cannot listen on 127.0.0.1 for the host's kubectl")?;
        let api_port = host.local_addr()?.port();
        let relay =
            relay::start(&plan, paths).context("cannot relay DNS to the host's resolvers")?;

        report(&Progress::Step("certificates".to_owned()));
        credentials::write(&plan, paths, api_port)?;

        report(&Progress::Step("components".to_owned()));
        let control = UnixListener::bind(paths.control())
            .with_context(|| format!("cannot listen on {}", paths.control().display()))?;
        std::fs::create_dir_all(paths.logs())?;
        let mut children = Children::new(paths.clone(), plan.components(paths));
        children.give_listeners(Kind::Apiserver, api_listeners(&plan, paths, host)?);
        children.start_all()?;
        tracing::info!(took = ?started.elapsed(), "the lab's components are started");
        report(&Progress::Started { api_port });
        Ok(Supervisor { children, control, api_port, _relay: relay })
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        let mut child = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut requests = serve::listen(self.control);
        // Some may have ended before the handler was there.
        self.children.reap();
        loop {
            let wake = self.children.next_start();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = child.recv() => self.children.reap(),
                Some(call) = requests.recv() => self.children.answer(call, self.api_port),
                () = sleep => self.children.start_due(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        self.children.stop_all();
        Ok(())
    }
}

/// The API server's listeners: one that the host reaches, and one for each of its node's
/// addresses. Held here, they queue connections while the API server restarts.
fn api_listeners(
    plan: &Plan,
    paths: &Paths,
    host: TcpListener,
) -> anyhow::Result<Vec<TcpListener>> {
    let node = plan.control_plane();
    let inside = NetNs::open(paths.netns(&node.name))?;
    let mut listeners = vec![host];
    for ip in node.ips().into_iter().chain([Ipv4Addr::LOCALHOST.into()]) {
        let address = SocketAddr::new(ip, API_PORT);
        let listener = inside
            .run(|| TcpListener::bind(address))?
            .with_context(|| format!("cannot listen on {address} of the node {}", node.name))?;
        listeners.push(listener);
    }
    // The default backlog of 128 is little for a restart under load.
    for listener in &listeners {
        rustix::net::listen(listener, 4096)?;
    }
    Ok(listeners)
}

/// Takes the lab's lock for a new lab; `None` while another process has it.
pub fn lock(paths: &Paths) -> anyhow::Result<Option<OwnedFd>> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(paths.lock())
        .with_context(|| format!("cannot open {}", paths.lock().display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file.into())),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", paths.lock().display()))
        }
    }
}
