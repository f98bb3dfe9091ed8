//! Decides what a lab consists of: names, addresses, namespaces and processes. Pure.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::paths::Paths;
use super::spec::{LabSpec, lab_network};
use crate::config::range::{Family, join, nth_address};

/// The node that runs the API server and the controllers.
pub const CONTROL_PLANE: &str = "control-plane";
/// The client on the nodes' network that is no part of the cluster.
pub const OUTSIDE: &str = "outside";
/// The namespace that holds the bridge between them.
pub const SWITCH: &str = "switch";
/// The API server's port on its node's address.
pub const API_PORT: u16 = 6443;

/// A machine of the lab: a network namespace with an interface on the lab's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    /// With the prefix length of the network, in the order of the lab's families.
    pub addresses: Vec<IpNet>,
}

impl Machine {
    pub fn ips(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(IpNet::addr).collect()
    }
}

/// A lab, decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub spec: LabSpec,
    /// Control plane first.
    pub nodes: Vec<Machine>,
    pub outside: Machine,
    /// The switch's own addresses: the nodes' gateway, which relays DNS to the host's resolvers.
    pub gateway: Machine,
    /// The address of the Service `kube-dns`, one per family.
    pub dns_addresses: Vec<IpAddr>,
}

impl Plan {
    pub fn new(spec: LabSpec) -> Plan {
        let machine = |name: &str, index: u32| Machine {
            name: name.to_owned(),
            addresses: spec.families.iter().map(|family| lab_address(*family, index)).collect(),
        };
        let mut nodes = vec![machine(CONTROL_PLANE, 2)];
        for worker in 1..=u32::from(spec.workers) {
            nodes.push(machine(&format!("worker-{worker}"), 2 + worker));
        }
        let dns_addresses =
            spec.service_ranges.iter().filter_map(|range| nth_address(range, 10)).collect();
        let outside = machine(OUTSIDE, 250);
        let gateway = machine(SWITCH, 1);
        Plan { spec, nodes, outside, gateway, dns_addresses }
    }

    pub fn control_plane(&self) -> &Machine {
        &self.nodes[0]
    }

    /// The nodes and the outside client.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.nodes.iter().chain([&self.outside])
    }

    pub fn node(&self, name: &str) -> Option<&Machine> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The names and addresses that the API server's certificate is valid for.
    pub fn api_names(&self) -> Vec<String> {
        let mut names = crate::server::service_names(&self.spec.cluster_domain);
        names.extend(["localhost", "127.0.0.1", "::1", CONTROL_PLANE].map(str::to_owned));
        names.extend(self.control_plane().ips().iter().map(IpAddr::to_string));
        let firsts = self.spec.service_ranges.iter().filter_map(|range| nth_address(range, 1));
        names.extend(firsts.map(|address| address.to_string()));
        names
    }

    /// The API server as the lab's own processes reach it.
    pub fn api_url(&self) -> String {
        let address = self.control_plane().addresses[0].addr();
        format!("https://{}", std::net::SocketAddr::new(address, API_PORT))
    }

    /// The processes that the supervisor keeps running, in the order of their start.
    pub fn components(&self, paths: &Paths) -> Vec<Component> {
        let mut components = vec![self.apiserver(paths), self.controllers(paths)];
        for node in &self.nodes {
            components.push(self.agent(paths, node));
            components.push(self.proxy(paths, node));
        }
        components
    }

    fn apiserver(&self, paths: &Paths) -> Component {
        let pki = paths.pki();
        let file = |name: &str| pki.join(name).display().to_string();
        let address = self.control_plane().addresses[0].addr();
        Component::new(Kind::Apiserver, self.control_plane(), paths)
            .flag("bind-address", address)
            .flag("secure-port", API_PORT)
            .flag("advertise-address", address)
            .flag("data-dir", paths.data().display())
            .flag("service-cluster-ip-range", join(&self.spec.service_ranges))
            .flag("service-node-port-range", self.spec.node_ports)
            .flag("cluster-domain", &self.spec.cluster_domain)
            .flag("cert-dir", pki.display())
            .flag("client-ca-file", file("ca.crt"))
            .flag("tls-cert-file", file("apiserver.crt"))
            .flag("tls-private-key-file", file("apiserver.key"))
    }

    fn controllers(&self, paths: &Paths) -> Component {
        Component::new(Kind::Controllers, self.control_plane(), paths)
            .flag("kubeconfig", paths.component_kubeconfig("controllers").display())
            .flag("root-ca-file", paths.pki().join("ca.crt").display())
            .flag("cluster-cidr", join(&self.spec.cluster_cidrs))
            .flag("leader-elect", false)
    }

    fn agent(&self, paths: &Paths, node: &Machine) -> Component {
        let pki = paths.pki();
        let file = |name: String| pki.join(name).display().to_string();
        let name = &node.name;
        let dns: Vec<_> = self.dns_addresses.iter().map(IpAddr::to_string).collect();
        let ips: Vec<_> = node.ips().iter().map(IpAddr::to_string).collect();
        Component::new(Kind::Node, node, paths)
            .flag("kubeconfig", paths.component_kubeconfig(&format!("node-{name}")).display())
            .flag("hostname-override", name)
            .flag("node-ip", ips.join(","))
            .flag("root-dir", paths.node(name).join("root").display())
            .flag("run-dir", paths.node(name).join("run").display())
            .flag("image-dir", paths.images().display())
            .flag("cgroup-root", paths.node_cgroup(name).join("pods").display())
            .flag("cluster-dns", dns.join(","))
            .flag("cluster-domain", &self.spec.cluster_domain)
            .flag("resolv-conf", paths.resolv_conf().display())
            .flag("client-ca-file", file("ca.crt".to_owned()))
            .flag("tls-cert-file", file(format!("kubelet-{name}.crt")))
            .flag("tls-private-key-file", file(format!("kubelet-{name}.key")))
    }

    fn proxy(&self, paths: &Paths, node: &Machine) -> Component {
        Component::new(Kind::Proxy, node, paths)
            .flag("kubeconfig", paths.component_kubeconfig("proxy").display())
            .flag("hostname-override", &node.name)
            .flag("proxy-mode", self.spec.proxy_mode)
            .flag("cluster-cidr", join(&self.spec.cluster_cidrs))
            .flag("cgroup", paths.node_cgroup(&node.name).display())
            .flag("bpf-dir", paths.bpf(&node.name).display())
            .switch("masquerade-egress")
    }
}

fn lab_address(family: Family, index: u32) -> IpNet {
    let network = lab_network(family);
    let address = nth_address(&network, index).expect("the lab's network holds every machine");
    IpNet::new(address, network.prefix_len()).expect("the prefix is the network's own")
}

/// What a component is; the words of `lab restart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Apiserver,
    Controllers,
    Node,
    Proxy,
    /// Runs in pods, so that the nodes' agents supervise it.
    Dns,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Apiserver => "apiserver",
            Kind::Controllers => "controllers",
            Kind::Node => "node",
            Kind::Proxy => "proxy",
            Kind::Dns => "dns",
        }
    }

    /// Whether every node has one.
    const fn per_node(self) -> bool {
        matches!(self, Kind::Node | Kind::Proxy | Kind::Dns)
    }
}

/// `COMPONENT[@NODE]`; without a node, the component on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    pub kind: Kind,
    pub node: Option<String>,
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, node) = match text.split_once('@') {
            Some((word, node)) => (word, Some(node.to_owned())),
            None => (text, None),
        };
        let kinds = [Kind::Apiserver, Kind::Controllers, Kind::Proxy, Kind::Dns, Kind::Node];
        let kind = kinds.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
            format!(
                "there is no component {word:?}; the components are apiserver, controllers, proxy, dns and node, with @NODE for the one on a certain node"
            )
        })?;
        Ok(Selector { kind, node })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}@{node}", self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

/// One process that the supervisor keeps running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    pub kind: Kind,
    /// Where it runs: the name of the node whose network namespace it is in.
    pub node: String,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    pub log: PathBuf,
    /// Relative to the root of the cgroup2 hierarchy.
    pub cgroup: PathBuf,
}

impl Component {
    fn new(kind: Kind, machine: &Machine, paths: &Paths) -> Component {
        let node = machine.name.clone();
        let (log, cgroup) = if kind.per_node() {
            (format!("{}@{node}.log", kind.name()), paths.node_cgroup(&node))
        } else {
            (format!("{}.log", kind.name()), paths.cgroup().join("control"))
        };
        Component {
            kind,
            args: vec![kind.name().to_owned()],
            log: paths.logs().join(log),
            cgroup: cgroup.join(kind.name()),
            node,
        }
    }

    fn flag(mut self, name: &str, value: impl fmt::Display) -> Component {
        self.args.push(format!("--{name}={value}"));
        self
    }

    /// Gives a flag that it has another value, from its next start on.
    pub fn set_flag(&mut self, name: &str, value: impl fmt::Display) {
        let flag = format!("--{name}=");
        for arg in self.args.iter_mut().filter(|arg| arg.starts_with(&flag)) {
            *arg = format!("{flag}{value}");
        }
    }

    fn switch(mut self, name: &str) -> Component {
        self.args.push(format!("--{name}"));
        self
    }

    /// `apiserver`, `proxy@worker-1`.
    pub fn name(&self) -> String {
        if self.kind.per_node() {
            format!("{}@{}", self.kind.name(), self.node)
        } else {
            self.kind.name().to_owned()
        }
    }

    pub fn is_selected(&self, selector: &Selector) -> bool {
        self.kind == selector.kind && selector.node.as_ref().is_none_or(|node| *node == self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::spec::Wishes;

    fn plan(families: &str) -> Plan {
        let wishes = Wishes {
            name: "lab".to_owned(),
            workers: 2,
            families: Some(families.parse().expect("families")),
            cluster_domain: "cluster.local".to_owned(),
            ..Wishes::default()
        };
        Plan::new(LabSpec::complete(wishes).expect("a spec"))
    }

    #[test]
    fn every_machine_has_an_address_of_each_family() {
        let plan = plan("ipv4,ipv6");
        let text = |machine: &Machine| join(&machine.addresses);
        assert_eq!(text(plan.control_plane()), "172.18.0.2/16,fd00:172:18::2/64");
        assert_eq!(text(&plan.nodes[2]), "172.18.0.4/16,fd00:172:18::4/64");
        assert_eq!(text(&plan.outside), "172.18.0.250/16,fd00:172:18::fa/64");
        assert_eq!(plan.nodes[2].name, "worker-2");
        let dns: Vec<IpAddr> =
            ["10.96.0.10", "fd00:10:96::a"].map(|text| text.parse().expect("address")).into();
        assert_eq!(plan.dns_addresses, dns);
    }

    #[test]
    fn every_node_has_an_agent_and_a_proxy() {
        let paths = Paths::of("lab");
        let plan = plan("ipv4");
        let components = plan.components(&paths);
        let names: Vec<_> = components.iter().map(Component::name).collect();
        assert_eq!(
            names[..4],
            ["apiserver", "controllers", "node@control-plane", "proxy@control-plane"]
        );
        assert_eq!(names.len(), 8);
        assert!(components[0].args.contains(&"--service-node-port-range=30000-32767".to_owned()));
        assert_eq!(
            components[7].log,
            std::path::Path::new("/run/portolan/lab/log/proxy@worker-2.log")
        );
        let selector: Selector = "proxy@worker-2".parse().expect("a selector");
        let selected: Vec<_> = components.iter().filter(|c| c.is_selected(&selector)).collect();
        assert_eq!(selected.len(), 1);
        let all: Selector = "proxy".parse().expect("a selector");
        assert_eq!(components.iter().filter(|c| c.is_selected(&all)).count(), 3);
        assert!("kubelet".parse::<Selector>().expect_err("no such").contains("the components are"));
    }

    #[test]
    fn a_flag_gets_another_value_in_its_place() {
        let mut proxy = plan("ipv4").components(&Paths::of("lab")).swap_remove(3);
        let before = proxy.args.clone();
        let place = before.iter().position(|arg| arg == "--proxy-mode=auto").expect("the flag");
        proxy.set_flag("proxy-mode", "iptables");
        assert_eq!(proxy.args[place], "--proxy-mode=iptables");
        proxy.set_flag("proxy-mode", "auto");
        assert_eq!(proxy.args, before);
    }

    #[test]
    fn the_api_servers_certificate_covers_what_clients_dial() {
        let names = plan("ipv6,ipv4").api_names();
        for name in
            ["127.0.0.1", "kubernetes.default.svc.cluster.local", "fd00:10:96::1", "172.18.0.2"]
        {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
        assert_eq!(plan("ipv6").api_url(), "https://[fd00:172:18::2]:6443");
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plan = plan("ipv4,ipv6");
        let text = serde_json::to_string(&plan).expect("JSON");
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("the same plan"), plan);
    }
}
