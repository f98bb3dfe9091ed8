//! What a scenario stands on: a lab of one stack, a namespace in it, and the words to ask with.

use std::net::{IpAddr, SocketAddr};

use portolan_tests::manifest::{pod, service};
use portolan_tests::probe::Seen;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};

use crate::kube_proxy;

pub(crate) const PORTS: &str = "ports: [{name: http, port: 80, targetPort: http}, {name: lines, port: 81, targetPort: lines, protocol: UDP}, {name: tcp, port: 82, targetPort: tcp}]";

/// The families of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    Ipv4,
    Dual,
    Ipv6,
}

impl Stack {
    /// Starts a lab of that stack.
    pub(crate) fn start(self, label: &'static str, proxy: Proxy) -> Option<Lab> {
        let families = match self {
            Self::Ipv4 => "ipv4",
            Self::Dual => "ipv4,ipv6",
            Self::Ipv6 => "ipv6",
        };
        let options = Options::new(label).with(&["--ip-families", families]);
        match proxy {
            Proxy::Usual => Lab::start(&options),
            Proxy::In(mode) => Lab::start(&options.with(&["--proxy-mode", mode])),
            Proxy::Kube(mode) => {
                let program = kube_proxy::program()?;
                let lab = Lab::start(&options.with(&["--proxy-mode", "nftables"]))?;
                kube_proxy::take_over(&lab, &program, mode, self);
                Some(lab)
            }
        }
    }

    pub(crate) fn families(self) -> &'static [Family] {
        match self {
            Self::Ipv4 => &[Family::Ipv4],
            Self::Dual => &[Family::Ipv4, Family::Ipv6],
            Self::Ipv6 => &[Family::Ipv6],
        }
    }
}

/// What serves the Services of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// Ours, in the mode that it takes by itself.
    Usual,
    /// Ours, in that mode.
    In(&'static str),
    /// kube-proxy, in that mode.
    Kube(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(crate) fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Self::Ipv4)
    }

    /// One of the two, by family.
    pub(crate) fn pick<T>(self, four: T, six: T) -> T {
        match self {
            Self::Ipv4 => four,
            Self::Ipv6 => six,
        }
    }
}

pub(crate) struct Ground<'lab> {
    pub(crate) stack: Stack,
    pub(crate) proxy: Proxy,
    /// Whether the proxies relay: mode `userspace`, where the nodes are all that pods see, and
    /// where nobody can be met with silence.
    pub(crate) relays: bool,
    pub(crate) namespace: Namespace<'lab>,
}

impl Ground<'_> {
    pub(crate) fn lab(&self) -> &Lab {
        self.namespace.lab
    }

    pub(crate) fn families(&self) -> &'static [Family] {
        self.stack.families()
    }

    /// A Service in all families of the lab.
    pub(crate) fn service(&self, name: &str, spec: &str) -> String {
        let policy = match self.stack {
            Stack::Dual => "ipFamilyPolicy: RequireDualStack, ",
            _ => "",
        };
        service(name, &format!("{policy}{spec}"))
    }

    /// Pods `one` on worker-1 and `two` on worker-2, ready, and the Service `pair` of both that
    /// answers on every node.
    pub(crate) fn pair(&self, spec: &str) {
        let pods =
            pod("one", "pair", Some("worker-1"), "") + &pod("two", "pair", Some("worker-2"), "");
        let spec = format!("{spec}selector: {{app: pair}}, {PORTS}");
        self.namespace.apply(&(pods + &self.service("pair", &spec))).ok();
        self.namespace.wait_ready(&["one", "two"]);
        self.programmed("pair", 2);
    }

    /// Waits until all nodes' kernels balance to so many pods.
    pub(crate) fn programmed(&self, service: &str, pods: usize) {
        for family in self.families() {
            let vip = self.vip(service, *family, 80);
            for node in self.lab().nodes() {
                eventually(&format!("{pods} pods answer at {vip} on {node}"), || {
                    let seen = self.ask(node, vip, "/hostname", 12 * pods as u32);
                    check(seen.failed == 0 && seen.bodies.len() == pods, &seen)
                });
            }
        }
    }

    fn address(&self, arguments: &[&str], family: Family) -> IpAddr {
        let words = self.namespace.kubectl(arguments).ok();
        let mut all = words.text().split_whitespace().filter_map(|word| word.parse().ok());
        all.find(|ip| family.has(ip))
            .unwrap_or_else(|| panic!("no {family:?} address: {arguments:?}: {words}"))
    }

    pub(crate) fn vip(&self, service: &str, family: Family, port: u16) -> SocketAddr {
        let path = "jsonpath={.spec.clusterIPs[*]}";
        SocketAddr::new(self.address(&["get", "service", service, "-o", path], family), port)
    }

    pub(crate) fn pod_ip(&self, pod: &str, family: Family) -> IpAddr {
        self.address(&["get", "pod", pod, "-o", "jsonpath={.status.podIPs[*].ip}"], family)
    }

    pub(crate) fn node_ip(&self, node: &str, family: Family) -> IpAddr {
        let path = r#"jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#;
        self.address(&["get", "node", node, "-o", path], family)
    }

    /// The node port of the Service's port of that index, at a node.
    pub(crate) fn door(&self, service: &str, index: u8, node: &str, family: Family) -> SocketAddr {
        let path = format!(".spec.ports[{index}].nodePort");
        let port = self.namespace.field("service", service, &path);
        SocketAddr::new(self.node_ip(node, family), port.parse().expect("a node port"))
    }

    /// The address of the client outside.
    pub(crate) fn outside(&self, family: Family) -> IpAddr {
        let all = self.lab().exec("outside", &["ip", "-json", "address", "show"]).ok().json();
        let links = all.as_array().into_iter().flatten();
        let infos = links.flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
        let mut global = infos
            .filter(|info| info["scope"] == "global")
            .filter_map(|info| info["local"].as_str()?.parse().ok());
        global.find(|ip| family.has(ip)).expect("the client outside has an address")
    }

    /// What so many HTTP requests to `path` saw, each on a connection of its own.
    pub(crate) fn ask(&self, place: &str, to: SocketAddr, path: &str, count: u32) -> Seen {
        self.ask_within(3000, place, to, path, count)
    }

    fn ask_within(
        &self,
        milliseconds: u32,
        place: &str,
        to: SocketAddr,
        path: &str,
        count: u32,
    ) -> Seen {
        let probe = self.lab().environment.probe.display().to_string();
        let (to, count, limit) = (to.to_string(), count.to_string(), milliseconds.to_string());
        let words = [&probe, "requests", &to, path, "--count", &count, "--timeout-ms", &limit];
        serde_json::from_value(self.lab().exec(place, &words).ok().json()).expect("a tally")
    }

    /// As [`Ground::ask`], with UDP lines.
    pub(crate) fn ask_udp(&self, place: &str, to: SocketAddr, line: &str, count: u32) -> Seen {
        let probe = self.lab().environment.probe.display().to_string();
        let (to, count) = (to.to_string(), count.to_string());
        let words = [&probe, "udp", &to, line, "--count", &count, "--timeout-ms", "3000"];
        serde_json::from_value(self.lab().exec(place, &words).ok().json()).expect("a tally")
    }

    /// All of them were answered, by exactly these.
    #[track_caller]
    pub(crate) fn by(&self, seen: &Seen, pods: &[&str], what: &str) {
        let answered: Vec<&str> = seen.bodies.keys().map(String::as_str).collect();
        assert!(seen.failed == 0 && answered == pods, "{what}: not by {pods:?}: {seen:?}");
    }

    /// Whom the pods saw, ports left aside.
    #[track_caller]
    pub(crate) fn client(&self, place: &str, to: SocketAddr) -> IpAddr {
        let seen = self.ask(place, to, "/clientip", 1);
        let peer = seen.bodies.keys().next().and_then(|peer| peer.parse::<SocketAddr>().ok());
        peer.unwrap_or_else(|| panic!("nobody told whom it saw: {place} to {to}: {seen:?}")).ip()
    }

    /// The pods saw the client itself; where proxies relay, `node`, whose proxy it spoke to.
    #[track_caller]
    pub(crate) fn sees(&self, client: IpAddr, node: &str, place: &str, to: SocketAddr) {
        let family = if to.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let expected = if self.relays { self.node_ip(node, family) } else { client };
        assert_eq!(self.client(place, to), expected, "{place} to {to}, at {node}");
    }

    /// Waits until `place` is refused there.
    pub(crate) fn refused(&self, place: &str, to: SocketAddr) {
        eventually(&format!("{to} refuses {place}"), || {
            let seen = self.ask(place, to, "/hostname", 1);
            let why = seen.failures.first().map(String::as_str).unwrap_or_default();
            check(why.contains("Connection refused"), &seen)
        });
    }

    /// Waits until `place` hears nothing from there.
    pub(crate) fn silent(&self, place: &str, to: SocketAddr) {
        eventually(&format!("{to} is silent to {place}"), || {
            let seen = self.ask_within(1000, place, to, "/hostname", 1);
            let why = seen.failures.first().map(String::as_str).unwrap_or_default();
            let refused = why.contains("refused") || why.contains("reset");
            check(if self.relays { refused } else { why.contains("timed out") }, &seen)
        });
    }

    /// Nobody takes care of what `place` sends there: neither answer nor refusal.
    #[track_caller]
    pub(crate) fn unheard(&self, place: &str, to: SocketAddr) {
        let seen = self.ask_within(1000, place, to, "/hostname", 1);
        let refused = seen.failures.iter().any(|why| why.contains("refused"));
        assert!(seen.answered == 0 && !refused, "{place} to {to}: {seen:?}");
    }

    /// Waits until `place` is answered there.
    pub(crate) fn answered(&self, place: &str, to: SocketAddr) {
        eventually(&format!("{to} answers {place}"), || {
            let seen = self.ask(place, to, "/hostname", 1);
            check(seen.failed == 0, &seen)
        });
    }
}
