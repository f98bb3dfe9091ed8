//! A small cluster of network namespaces: this node, its pods, other nodes, and the outside.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use portolan_linux::cgroup::{self, Cgroup};
use portolan_linux::link::VethEnd;
use portolan_linux::mount;
use portolan_linux::netns::{self, NetNs};
use portolan_linux::route::Route;
use portolan_linux::sysctl;
use portolan_model::object::Protocol;

use crate::proxy::datapath::{self, Datapath, Host};

/// How long a dropped packet is waited for, in milliseconds; a slow machine needs more.
const PATIENCE: u64 = 250;

pub(super) fn patience() -> Duration {
    let asked = std::env::var("PORTOLAN_TESTS_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(asked.unwrap_or(PATIENCE))
}

pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(super) const NODE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0x30, 0, 0, 0, 2);
pub(super) const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
pub(super) const PORTS: [u16; 2] = [8080, 9090];

/// A namespace that goes with its handle.
pub(super) struct Ns {
    path: PathBuf,
    pub(super) handle: NetNs,
    /// What runs here is in that cgroup.
    cgroup: Option<PathBuf>,
    _dir: tempfile::TempDir,
}

impl Ns {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let handle = NetNs::create(&path).unwrap();
        handle
            .run(|| {
                // No waiting for duplicate addresses, and answers may take any way.
                for name in ["all", "default"] {
                    sysctl::set(&format!("net.ipv6.conf.{name}.accept_dad"), "0").unwrap();
                    sysctl::set(&format!("net.ipv4.conf.{name}.rp_filter"), "0").unwrap();
                }
            })
            .unwrap();
        Self { path, handle, cgroup: None, _dir: dir }
    }

    fn within(cgroup: &Cgroup) -> Self {
        let mut ns = Self::new();
        ns.cgroup = Some(cgroup.path().to_owned());
        ns
    }

    /// Runs `work` as a process of this namespace would.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            if let Some(cgroup) = &self.cgroup {
                // This very thread.
                std::fs::write(cgroup.join("cgroup.threads"), "0").unwrap();
            }
            work()
        };
        self.handle.run(inside).unwrap()
    }
}

impl Drop for Ns {
    fn drop(&mut self) {
        netns::remove(&self.path).unwrap();
    }
}

/// What a client heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Who answered, and whom it saw.
    Answer {
        server: SocketAddr,
        peer: IpAddr,
    },
    Refused,
    Silence,
}

/// The namespaces of a test: `node` is the one with the proxy.
pub(super) struct Lab {
    pub(super) mode: &'static str,
    /// What is this node's: its pods and its own processes are in the cgroup.
    pub(super) host: Host,
    pub(super) node: Ns,
    /// 10.244.0.2 to .4, on this node.
    pub(super) pods: Vec<Ns>,
    /// The pods of all other nodes.
    pub(super) others: Ns,
    pub(super) outside: Ns,
    cgroup: Cgroup,
    _bpf: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for path in self.host.bpf.iter().filter(|path| path.is_dir()) {
            mount::detach_below(path).unwrap();
        }
        self.cgroup.remove().unwrap();
    }
}

/// A cgroup for threads, below the one of this process: each lab has its own, though all are one
/// process.
fn threads_cgroup() -> Cgroup {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("portolan-test-{}-{number}", std::process::id());
    let cgroup = Cgroup::at(cgroup::root().unwrap().join(own).join(name)).unwrap();
    std::fs::write(cgroup.path().join("cgroup.type"), "threaded").unwrap();
    cgroup
}

fn pod(node: u8, pod: u8) -> [IpAddr; 2] {
    [
        [10, 244, node, pod + 2].into(),
        Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, u16::from(pod) + 2).into(),
    ]
}

fn gateways() -> [IpAddr; 2] {
    [[10, 244, 0, 1].into(), Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1).into()]
}

impl Lab {
    /// A lab in that mode, or `None` after saying why there can be none here.
    pub(super) fn of(mode: &'static str) -> Option<Self> {
        if mode != "ipvs" {
            return Some(Self::new(mode));
        }
        // Most kernels that tests run on have it as a module or not at all; ./x test brings its
        // own, in a virtual machine, where skipping is not allowed.
        if let Err(error) = datapath::ipvs::check() {
            assert!(std::env::var_os("PORTOLAN_TESTS_IPVS_REQUIRED").is_none(), "{error}");
            let _ = writeln!(
                std::io::stderr(),
                "{}: skipped: {error}",
                thread::current().name().unwrap_or("test")
            );
            return None;
        }
        Some(Self::new(mode))
    }

    pub(super) fn new(mode: &'static str) -> Self {
        let (cgroup, bpf) = (threads_cgroup(), tempfile::tempdir().unwrap());
        let lab = Self {
            mode,
            host: Host {
                cgroup: Some(cgroup.path().to_owned()),
                bpf: Some(bpf.path().join("bpf")),
                ..Host::default()
            },
            node: Ns::within(&cgroup),
            pods: (0..3).map(|_| Ns::within(&cgroup)).collect(),
            others: Ns::new(),
            outside: Ns::new(),
            cgroup,
            _bpf: bpf,
        };
        lab.node.run(|| {
            sysctl::set("net.ipv4.ip_forward", "1").unwrap();
            sysctl::set("net.ipv6.conf.all.forwarding", "1").unwrap();
            // More is refused here in a second than the kernel would say by itself.
            let talk = ["net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"];
            talk.into_iter().for_each(|name| sysctl::set(name, "0").unwrap());
        });
        for (index, ns) in lab.pods.iter().enumerate() {
            lab.add_pod(index as u8, ns);
        }
        lab.add_others();
        lab.add_outside();
        lab.serve();
        lab
    }

    /// The lab's mode, as a process that has just started opens it.
    pub(super) fn open(&self) -> Box<dyn Datapath> {
        self.node.run(|| datapath::open(self.mode, &self.host)).unwrap()
    }

    fn join(&self, ns: &Ns, name: &str) {
        let node = self.node.handle.rtnl().unwrap();
        node.add_veth(&VethEnd::new(name), &VethEnd::new("eth0").netns(&ns.handle)).unwrap();
        node.set_up(name).unwrap();
        ns.handle.rtnl().unwrap().set_up("eth0").unwrap();
    }

    fn add_pod(&self, index: u8, ns: &Ns) {
        let name = format!("pod{index}");
        self.join(ns, &name);
        let (node, inside) = (self.node.handle.rtnl().unwrap(), ns.handle.rtnl().unwrap());
        for (address, gateway) in pod(0, index).into_iter().zip(gateways()) {
            node.add_address(&name, gateway.into()).unwrap();
            node.add_route(&Route::on(address.into(), &name)).unwrap();
            inside.add_address("eth0", address.into()).unwrap();
            inside.add_route(&Route::on(gateway.into(), "eth0")).unwrap();
            inside.add_route(&Route::default_via(gateway)).unwrap();
        }
    }

    fn add_others(&self) {
        self.join(&self.others, "others");
        let (node, inside) = (self.node.handle.rtnl().unwrap(), self.others.handle.rtnl().unwrap());
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        node.add_address("others", IpNet::new(NODE.into(), 24).unwrap()).unwrap();
        node.add_address("others", IpNet::new(NODE_V6.into(), 64).unwrap()).unwrap();
        inside.add_address("eth0", net("172.30.0.3/24")).unwrap();
        inside.add_address("eth0", net("2001:db8:0:30::3/64")).unwrap();
        for address in (1..3).flat_map(|node| (0..3).flat_map(move |index| pod(node, index))) {
            inside.add_address("lo", address.into()).unwrap();
        }
        for (there, here) in
            [("172.30.0.3", NODE.into()), ("2001:db8:0:30::3", IpAddr::from(NODE_V6))]
        {
            node.add_route(&Route::default_via(there.parse().unwrap())).unwrap();
            inside.add_route(&Route::default_via(here)).unwrap();
        }
    }

    fn add_outside(&self) {
        self.join(&self.outside, "outside");
        let (node, inside) =
            (self.node.handle.rtnl().unwrap(), self.outside.handle.rtnl().unwrap());
        for (here, there, bits) in [
            (IpAddr::from([198, 51, 100, 1]), IpAddr::from(OUTSIDE), 24),
            ("2001:db8:1::1".parse().unwrap(), OUTSIDE_V6.into(), 64),
        ] {
            node.add_address("outside", IpNet::new(here, bits).unwrap()).unwrap();
            inside.add_address("eth0", IpNet::new(there, bits).unwrap()).unwrap();
            inside.add_route(&Route::default_via(here)).unwrap();
        }
    }

    /// Starts servers on every pod address.
    fn serve(&self) {
        for (index, ns) in self.pods.iter().enumerate() {
            // Servers stay to the end of the process; the cgroup is to go before.
            ns.handle.run(|| pod(0, index as u8).into_iter().for_each(serve)).unwrap();
        }
        self.others.run(|| {
            (1..3).flat_map(|node| (0..3).flat_map(move |index| pod(node, index))).for_each(serve);
        });
    }

    /// The namespace with that address.
    pub(super) fn at(&self, address: IpAddr) -> &Ns {
        let pods = self.pods.iter().enumerate();
        let mut pods = pods.filter(|(index, _)| pod(0, *index as u8).contains(&address));
        match pods.next() {
            Some((_, ns)) => ns,
            None if address == IpAddr::from(OUTSIDE) || address == IpAddr::from(OUTSIDE_V6) => {
                &self.outside
            }
            None => &self.node,
        }
    }

    /// Dials from `source`, in the namespace that has this address.
    pub(super) fn dial(&self, source: IpAddr, protocol: Protocol, to: SocketAddr) -> Heard {
        self.at(source).run(|| match protocol {
            Protocol::Udp => dial_udp(source, to),
            _ => dial_tcp(source, to),
        })
    }
}

static NEXT_PORT: AtomicU32 = AtomicU32::new(0);

/// A source port that this process has not used for a while, so that no earlier connection is
/// taken up again.
fn source_port() -> u16 {
    20_000 + (NEXT_PORT.fetch_add(1, Ordering::Relaxed) % 9_000) as u16
}

fn read(line: &str) -> Heard {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap().to_owned();
    Heard::Answer { server: word().parse().unwrap(), peer: word().parse().unwrap() }
}

fn dial_tcp(source: IpAddr, to: SocketAddr) -> Heard {
    match connect(source, to) {
        Ok(stream) => {
            let mut line = String::new();
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            match BufReader::new(stream).read_line(&mut line) {
                Ok(_) => read(&line),
                Err(_) => Heard::Silence,
            }
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Heard::Refused,
        Err(_) => Heard::Silence,
    }
}

/// Connects from a given address; the standard library cannot bind before it connects.
pub(super) fn connect(source: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(source, source_port()).into())?;
    socket.connect_timeout(&to.into(), patience())?;
    Ok(socket.into())
}

fn dial_udp(source: IpAddr, to: SocketAddr) -> Heard {
    let socket = UdpSocket::bind(SocketAddr::new(source, source_port())).unwrap();
    ask_udp(&socket, to)
}

pub(super) fn ask_udp(socket: &UdpSocket, to: SocketAddr) -> Heard {
    socket.set_read_timeout(Some(patience())).unwrap();
    let mut buffer = [0; 200];
    socket.connect(to).unwrap();
    // What is stopped on the sending node is said to be forbidden; whether it was refused as
    // well, only the answer tells.
    if let Err(error) = socket.send(b"who")
        && error.kind() != ErrorKind::PermissionDenied
    {
        return if error.kind() == ErrorKind::ConnectionRefused {
            Heard::Refused
        } else {
            Heard::Silence
        };
    }
    match socket.recv(&mut buffer) {
        Ok(length) => read(std::str::from_utf8(&buffer[..length]).unwrap()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Heard::Refused,
        Err(_) => Heard::Silence,
    }
}

/// Answers on an address: who it is, and whom it sees; then echoes lines.
fn serve(address: IpAddr) {
    for port in PORTS {
        let here = SocketAddr::new(address, port);
        let tcp = TcpListener::bind(here).unwrap();
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let Ok(stream) = stream else { return };
                thread::spawn(move || converse(stream));
            }
        });
        let udp = UdpSocket::bind(here).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 200];
            while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(format!("{here} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }
}

fn converse(mut stream: TcpStream) {
    let (Ok(here), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let _ = writeln!(stream, "{here} {}", peer.ip());
    let Ok(copy) = stream.try_clone() else { return };
    for line in BufReader::new(copy).lines() {
        let Ok(line) = line else { return };
        if writeln!(stream, "{line}").is_err() {
            return;
        }
    }
}
