//! A node and what is around it, for one subject: pods on it, another node with pods, somebody
//! outside. All wires are point to point; no bridge is on a path.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::load::{Agent, Order, PORT};
use super::place::Place;
use super::proxy::{Proxy, Subject};
use crate::bench::dns::api::{Api, Extra, Objects};
use crate::lab::output;

const NODE_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

/// The way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) name: &'static str,
    /// Not a pod of the node, but somebody outside dials, at a node port.
    pub(super) outside: bool,
    /// The pods behind the Service are on another node.
    pub(super) far: bool,
}

pub(super) const PATHS: [Path; 4] = [
    Path { name: "pod to pod on its node", outside: false, far: false },
    Path { name: "pod to pod on another node", outside: false, far: true },
    Path { name: "node port, pod on the node", outside: true, far: false },
    Path { name: "node port, pod on another node", outside: true, far: true },
];

impl Path {
    fn number(self) -> u8 {
        1 + u8::from(self.far) + 2 * u8::from(self.outside)
    }

    fn backends(self) -> Vec<Ipv4Addr> {
        (10..13).map(|last| Ipv4Addr::new(10, 1, u8::from(self.far), last)).collect()
    }

    fn service(self) -> Extra {
        Extra {
            name: ["near", "away", "port-near", "port-away"][usize::from(self.number()) - 1],
            cluster_ip: Ipv4Addr::new(10, 95, 0, self.number()),
            node_port: self.outside.then(|| self.node_port()),
            endpoints: self.backends(),
            on_node: !self.far,
        }
    }

    fn node_port(self) -> u16 {
        30_000 + u16::from(self.number())
    }

    /// What is dialled: the Service, or without one the first of the pods behind it.
    fn address(self, direct: bool) -> SocketAddr {
        match (direct, self.outside) {
            (true, _) => (self.backends()[0], PORT).into(),
            (false, true) => (NODE_IP, self.node_port()).into(),
            (false, false) => (self.service().cluster_ip, 80).into(),
        }
    }
}

/// The namespaces, and who is in them.
pub(super) struct Cluster {
    pub(super) name: String,
    node: Place,
    client: Agent,
    /// Several, so that some have the same port.
    outside: Vec<Agent>,
    proxy: Option<Proxy>,
    _servers: [Agent; 2],
    servers: [Place; 2],
    _others: Vec<Place>,
}

/// A node, its API and the proxy that is to come up.
pub(super) struct Starting {
    name: String,
    node: Place,
    proxy: Option<Proxy>,
    _api: Option<Api>,
    begun: Instant,
    services: usize,
}

impl Starting {
    /// Starts the proxy of `subject`; of none, for connections without any Service.
    pub(super) fn begin(number: usize, subject: Option<&Subject>, services: usize) -> Result<Self> {
        let node = Place::create(format!("n{number}-node"))?;
        node.set("ipv4/ip_forward", "1")?;
        node.ip(&format!("address add {NODE_IP}/32 dev lo\n"))?;
        let objects = Objects {
            node_ip: NODE_IP,
            extra: PATHS.iter().map(|path| path.service()).collect(),
            ..Objects::of(services.saturating_sub(PATHS.len()), 1)
        };
        let mut started = (None, None);
        if let Some(subject) = subject {
            let api = node.enter(|| Api::serve(objects, TcpListener::bind("127.0.0.1:0")?))?;
            started = (Some(Proxy::start(subject, &api, &node)?), Some(api));
        }
        let (proxy, api) = started;
        let name = subject.map_or_else(|| "direct".into(), Subject::name);
        Ok(Self { name, node, proxy, _api: api, begun: Instant::now(), services })
    }

    /// Wires everything up and waits until all paths work.
    pub(super) fn finish(
        self,
        number: usize,
        keep: bool,
        outside: usize,
        limit: Duration,
    ) -> Result<Cluster> {
        let place = |what: &str| Place::create(format!("n{number}-{what}"));
        let (client, near, far, server) =
            (place("client")?, place("near")?, place("far")?, place("server")?);
        far.set("ipv4/ip_forward", "1")?;
        wire(&self.node, NODE_IP, &client, &[CLIENT_IP])?;
        let near_path = Path { name: "", outside: false, far: false };
        wire(&self.node, NODE_IP, &near, &near_path.backends())?;
        wire(&self.node, NODE_IP, &far, &[FAR_IP])?;
        let pods = Path { far: true, ..near_path }.backends();
        wire(&far, FAR_IP, &server, &pods)?;
        let to_far = pods
            .iter()
            .map(|pod| format!("route add {pod} via {FAR_IP} dev {} onlink\n", far.name));
        self.node.ip(&to_far.collect::<String>())?;
        let mut others = vec![client, far];
        let group = self.proxy.as_ref().and_then(Proxy::sockets).map(std::path::Path::to_owned);
        let group = group.as_deref();
        let servers = [Agent::start(&near, group, true)?, Agent::start(&server, None, true)?];
        for place in [&near, &server] {
            // Servers close first, and what they remember is not to meet the next run.
            place.set("ipv4/tcp_max_tw_buckets", "0")?;
        }
        let client = Agent::start(&others[0], group, false)?;
        let mut agents = Vec::new();
        for n in 0..outside {
            let place = Place::create(format!("n{number}-out{n}"))?;
            wire(&self.node, NODE_IP, &place, &[Ipv4Addr::new(198, 51, 100, n as u8 + 1)])?;
            agents.push(Agent::start(&place, None, false)?);
            others.push(place);
        }
        let mut cluster = Cluster {
            name: self.name,
            node: self.node,
            client,
            outside: agents,
            proxy: self.proxy,
            _servers: servers,
            servers: [near, server],
            _others: others,
        };
        cluster.wait(self.begun, limit, self.services)?;
        if !keep && let Some(proxy) = &mut cluster.proxy {
            proxy.end();
        }
        Ok(cluster)
    }
}

/// A wire from a router to a place that has these addresses and sends everything there.
fn wire(router: &Place, router_ip: Ipv4Addr, to: &Place, addresses: &[Ipv4Addr]) -> Result<()> {
    let name = &to.name;
    router.ip(&format!("link add {name} type veth peer name eth0 netns {name}\n"))?;
    let routes = addresses.iter().map(|ip| format!("route add {ip} dev {name}\n"));
    router.ip(&format!(
        "link set {name} up\naddress add {router_ip}/32 dev {name}\n{}",
        routes.collect::<String>()
    ))?;
    let own = addresses.iter().map(|ip| format!("address add {ip}/32 dev eth0\n"));
    to.ip(&format!(
        "{}link set eth0 up\nroute add default via {router_ip} dev eth0 onlink\n",
        own.collect::<String>()
    ))
}

impl Cluster {
    pub(super) fn is_direct(&self) -> bool {
        self.proxy.is_none()
    }

    fn agent(&mut self, path: Path) -> &mut Agent {
        if path.outside { &mut self.outside[0] } else { &mut self.client }
    }

    /// Has the client of that path do something to what is dialled there: the Service, or the pod
    /// itself.
    pub(super) fn order(
        &mut self,
        path: Path,
        pod: bool,
        order: impl Fn(SocketAddr) -> Order,
    ) -> Result<serde_json::Value> {
        let order = order(path.address(pod || self.is_direct()));
        let name = self.name.clone();
        self.agent(path).order(&order).with_context(|| format!("{name}, {}", path.name))
    }

    /// The same by all clients outside at once.
    pub(super) fn order_all_outside(
        &mut self,
        path: Path,
        order: impl Fn(SocketAddr) -> Order,
    ) -> Result<Vec<serde_json::Value>> {
        let order = &order(path.address(self.is_direct()));
        std::thread::scope(|scope| {
            let agents = self.outside.iter_mut();
            let threads: Vec<_> =
                agents.map(|agent| scope.spawn(move || agent.order(order))).collect();
            let results = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")));
            results.collect()
        })
    }

    /// Servers remember so many closed connections.
    pub(super) fn remember(&self, count: usize) -> Result<()> {
        let mut servers = self.servers.iter();
        servers.try_for_each(|place| place.set("ipv4/tcp_max_tw_buckets", &count.to_string()))
    }

    /// SYNs that servers took for late ones of a connection which they had just closed.
    pub(super) fn refused_for_age(&self) -> Result<u64> {
        let mut sum = 0;
        for place in &self.servers {
            let text = output(place.command("cat").arg("/proc/net/netstat"))?;
            // A line of names, then a line of numbers.
            let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
            let (names, numbers) = (lines.next(), lines.next());
            let names = names.unwrap_or_default().split(' ');
            let pairs = names.zip(numbers.unwrap_or_default().split(' '));
            let of_age = pairs.filter(|(name, _)| *name == "PAWSTimewait");
            sum += of_age.filter_map(|(_, number)| number.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(sum)
    }

    fn wait(&mut self, begun: Instant, limit: Duration, services: usize) -> Result<()> {
        for path in PATHS {
            loop {
                let Err(error) = self.order(path, false, |to| Order::OneByOne { to, count: 1 })
                else {
                    break;
                };
                if let Some(proxy) = &mut self.proxy {
                    ensure!(proxy.runs(), "{} ends: {}", self.name, proxy.said());
                }
                let late = || format!("{} has no {services} Services after {limit:?}", self.name);
                if begun.elapsed() > limit {
                    return Err(error).with_context(late);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let Some(proxy) = &mut self.proxy else { return Ok(()) };
        while !proxy.written().is_ok_and(|written| written.times > 0.0) {
            ensure!(begun.elapsed() < limit, "{} does not say that it is done", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Forgets the node's connections.
    pub(super) fn flush(&self) -> Result<()> {
        let mut command = self.node.command("conntrack");
        // There may be none to forget, which is an error to conntrack(8).
        command.arg("-F").stderr(std::process::Stdio::null()).status()?;
        Ok(())
    }
}
