//! The node: a network namespace in which the proxy works and in which all pods' addresses are,
//! so that the kernel can be asked where a connection goes by making one.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use portolan_linux::netns::{self, NetNs};
use portolan_node::proxy::{self, ProxyConfig};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Expected};
use crate::reference::{PODS, TCP_PORTS, UDP_PORT, address};

/// The address of the node on which the proxy runs.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Kernel {
    namespace: NetNs,
    path: String,
    proxy: Option<Proxy>,
}

#[derive(Debug)]
struct Proxy {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

impl Kernel {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let path = format!("/run/netns/portolan-events-{}", std::process::id());
        std::fs::create_dir_all("/run/netns").expect("/run/netns");
        let namespace = NetNs::create(&path).expect("a network namespace");
        let mut kernel = Self { namespace, path, proxy: None };
        kernel.lay_network();
        kernel.listen();
        kernel.restart_proxy(cluster);
        kernel
    }

    fn lay_network(&self) {
        let mut batch = String::from(
            "link set lo up\nlink add node type veth peer name wire\nlink set node up\nlink set wire up\n",
        );
        batch.push_str(&format!("address add {NODE}/24 dev node\nroute add default dev node\n"));
        for pod in 0..PODS {
            batch.push_str(&format!("address add {}/32 dev node\n", address(pod)));
        }
        self.namespace
            .run(|| {
                let mut ip = Command::new("ip")
                    .args(["-batch", "-"])
                    .stdin(std::process::Stdio::piped())
                    .spawn()
                    .expect("ip");
                ip.stdin.take().expect("a pipe").write_all(batch.as_bytes()).expect("ip");
                assert!(ip.wait().expect("ip").success());
            })
            .expect("the namespace");
    }

    /// Every pod's port answers with its own address.
    fn listen(&self) {
        self.namespace
            .run(|| {
                for port in TCP_PORTS {
                    let listener =
                        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a port");
                    std::thread::spawn(move || {
                        for mut stream in listener.incoming().flatten() {
                            let own =
                                stream.local_addr().map(|own| own.to_string()).unwrap_or_default();
                            let _ = stream.write_all(own.as_bytes());
                        }
                    });
                }
                for pod in 0..PODS {
                    let own = format!("{}:{UDP_PORT}", address(pod));
                    let socket = UdpSocket::bind(&own).expect("a port");
                    std::thread::spawn(move || {
                        let mut buffer = [0; 64];
                        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                            let _ = socket.send_to(own.as_bytes(), peer);
                        }
                    });
                }
            })
            .expect("the namespace");
    }

    /// Ends the proxy, if there is one, at whatever it is doing, and starts another.
    pub(crate) fn restart_proxy(&mut self, cluster: &Cluster) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop.cancel();
            proxy.thread.join().expect("the proxy's thread");
        }
        let stop = CancellationToken::new();
        let (api, shutdown) = (cluster.api.clone(), stop.clone());
        let namespace = self.namespace.try_clone().expect("the namespace");
        let thread = std::thread::spawn(move || {
            // The runtime's threads are made in the namespace and so stay in it.
            namespace
                .run(|| {
                    let runtime = tokio::runtime::Builder::new_multi_thread()
                        .worker_threads(1)
                        .enable_all()
                        .build();
                    runtime.expect("a runtime").block_on(async {
                        let client = kube::Client::new(api.service(), "default");
                        proxy::run(client, config(), shutdown).await.expect("the proxy");
                    });
                })
                .expect("the namespace");
        });
        self.proxy = Some(Proxy { stop, thread });
    }

    /// Opens connections to all frontends: a few, or enough to meet every endpoint.
    pub(crate) fn compare(&self, services: &[Expected], thorough: bool) -> Result<(), String> {
        self.namespace
            .run(|| services.iter().try_for_each(|service| ask(service, thorough)))
            .expect("the namespace")
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop.cancel();
            let _ = proxy.thread.join();
        }
        let _ = netns::remove(&self.path);
    }
}

fn config() -> ProxyConfig {
    ProxyConfig { node_name: "node-0".into(), ..Default::default() }
}

fn ask(service: &Expected, thorough: bool) -> Result<(), String> {
    let targets = |port: u16| -> Vec<String> {
        service.endpoints.iter().map(|ip| format!("{ip}:{port}")).collect()
    };
    let leaving: Vec<String> =
        service.leaving.iter().map(|ip| format!("{ip}:{UDP_PORT}")).collect();
    // Missing one of n endpoints in 30 n connections: less than one in 10^12.
    let times = if thorough { 30 * service.endpoints.len().max(1) } else { 3 };
    for (kind, dialled, expected) in [
        ("TCP", &service.web, targets(service.target_port)),
        ("UDP", &service.lines, targets(UDP_PORT)),
    ] {
        for (index, (address, port)) in dialled.iter().enumerate() {
            let mut met = std::collections::BTreeSet::new();
            for time in 0..times {
                let to = SocketAddr::new(IpAddr::V4(*address), *port);
                let answer = if kind == "TCP" { tcp(to) } else { udp(to, index, time) };
                let fits = match &answer {
                    Ok(who) => {
                        expected.contains(who) || (goes_on(kind, time) && leaving.contains(who))
                    }
                    Err(error) => refused(error) && expected.is_empty(),
                };
                if !fits {
                    return Err(format!(
                        "{} at {to} ({kind}): {answer:?}, expected one of {expected:?}",
                        service.name
                    ));
                }
                met.extend(answer.ok().filter(|who| expected.contains(who)));
            }
            if thorough && !service.affine && met.len() != expected.len() {
                return Err(format!(
                    "{} at {to} ({kind}): met only {met:?} of {expected:?}",
                    service.name,
                    to = address
                ));
            }
        }
    }
    Ok(())
}

/// A sender on the node itself may hear of the refusal (a packet that its own kernel did not let go)
/// before it hears of ICMP's port unreachable.
fn refused(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied)
}

fn tcp(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whether a question belongs to a flow that may have begun before.
fn goes_on(kind: &str, time: usize) -> bool {
    kind == "UDP" && time.is_multiple_of(2)
}

/// Every other question comes from a port that was used before: its flow may be known to connection
/// tracking, which must not lead it to an endpoint that is gone.
fn udp(to: SocketAddr, frontend: usize, time: usize) -> std::io::Result<String> {
    let port = if goes_on("UDP", time) { 20_000 + u16::try_from(frontend).unwrap_or(0) } else { 0 };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(to)?;
    socket.send(b"who")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
