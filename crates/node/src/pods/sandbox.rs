//! A pod's sandbox: the network, host name and IPC namespaces that its containers share, and the
//! pair of links that connects it to the node.
//!
//! The link is point to point: the pod has its address alone and sends everything to the other
//! end, the node has a route to each pod. Every packet of a pod thus passes the node's routing
//! and with it all netfilter hooks, also between two pods of the node and from a pod to itself
//! through a Service. Nobody asks for link-layer addresses: both ends know them.

use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use portolan_linux::{
    Attempt, Failed,
    link::{Mac, VethEnd},
    namespace::{self, Kind},
    netns::NetNs,
    route::{self, Route},
    rtnl::Rtnl,
    sysctl,
};
use serde::{Deserialize, Serialize};

use super::shim::spec;

/// By this number the node knows its own routes again.
pub const ROUTE_PROTOCOL: u8 = 112;

/// What every pod sees as its gateway's link-layer address.
const NODE_MAC: Mac = Mac([0xee, 0xee, 0xee, 0xee, 0xee, 0xee]);

/// The sandbox of one pod, as it is written to `sandbox.json` in the pod's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) hostname: String,
    /// Empty for pods on the host's network.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) host_network: bool,
    /// Settings of the pod's own kernel parameters.
    #[serde(default)]
    pub(crate) sysctls: Vec<(String, String)>,
}

const FILE: &str = "sandbox.json";

impl Sandbox {
    /// The sandbox whose pod has the directory `dir`, if it was completed.
    pub(crate) fn load(dir: &Path) -> Option<Self> {
        spec::read(&dir.join(FILE)).ok()
    }

    pub(crate) fn netns(&self, dir: &Path) -> Option<PathBuf> {
        (!self.host_network).then(|| dir.join("netns"))
    }

    /// Makes the namespaces and the link. Takes the remains of an earlier attempt away first.
    /// `mtu` is in bytes.
    pub(crate) fn create(&self, dir: &Path, mtu: u32) -> Attempt<()> {
        let io = |what: &str, e: io::Error| Failed::new(format!("{what} {}", dir.display()), e);
        fs::create_dir_all(dir).map_err(|e| io("create", e))?;
        self.remove_namespaces(dir)?;
        let (netns, uts, ipc) = (dir.join("netns"), dir.join("uts"), dir.join("ipc"));
        let mut kinds = vec![(Kind::Uts, uts.as_path()), (Kind::Ipc, ipc.as_path())];
        if !self.host_network {
            kinds.push((Kind::Net, netns.as_path()));
        }
        namespace::create(&kinds, || self.prepare())?;
        if !self.host_network {
            self.connect(&NetNs::open(&netns)?, mtu)?;
        }
        spec::write(&dir.join(FILE), self).map_err(|e| io("describe", e))
    }

    /// Runs inside the new namespaces.
    fn prepare(&self) -> Attempt<()> {
        namespace::set_hostname(&self.hostname)?;
        if self.host_network {
            return Ok(());
        }
        Rtnl::open()?.set_up("lo")?;
        sysctl::set_present(&[
            // As other container runtimes have it: no privilege needed for low ports and pings.
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
        ])?;
        for (name, value) in &self.sysctls {
            sysctl::set(name, value)?;
        }
        Ok(())
    }

    fn connect(&self, netns: &NetNs, mtu: u32) -> Attempt<()> {
        let node = Rtnl::open()?;
        let link = self.link_name();
        if node.link(&link)?.is_some() {
            node.delete_link(&link)?;
        }
        let mac = pod_mac(&self.ips);
        let far = VethEnd::new("eth0").netns(netns).mac(mac).mtu(mtu);
        node.add_veth(&VethEnd::new(&link).mac(NODE_MAC).mtu(mtu), &far)?;
        node.set_up(&link)?;
        let pod = netns.rtnl()?;
        pod.set_up("eth0")?;
        for ip in &self.ips {
            let alone = IpNet::from(*ip);
            pod.add_address("eth0", alone)?;
            let gateway = gateway(*ip);
            pod.set_neighbour("eth0", gateway, NODE_MAC)?;
            let default = Route {
                device: Some("eth0".to_owned()),
                onlink: true,
                ..Route::via(route::any(*ip), gateway)
            };
            pod.replace_route(&default)?;
            node.replace_route(&Route { protocol: ROUTE_PROTOCOL, ..Route::on(alone, &link) })?;
            node.set_neighbour(&link, *ip, mac)?;
        }
        Ok(())
    }

    /// The node's end of the link; made from the pod's uid, so it can be found again.
    pub(crate) fn link_name(&self) -> String {
        format!("veth{}", &super::images::digest(self.uid.as_bytes())[7..17])
    }

    /// Takes link and namespaces away. Nothing may run in them any more.
    pub(crate) fn remove(&self, dir: &Path) -> Attempt<()> {
        if !self.host_network {
            match Rtnl::open()?.delete_link(&self.link_name()) {
                Err(e) if !e.missing() => return Err(e),
                _ => {}
            }
        }
        self.remove_namespaces(dir)
    }

    fn remove_namespaces(&self, dir: &Path) -> Attempt<()> {
        for name in ["netns", "uts", "ipc"] {
            namespace::remove(dir.join(name))?;
        }
        Ok(())
    }
}

/// An address that no pod and no node has, as the pod's next hop.
fn gateway(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => IpAddr::from([169, 254, 1, 1]),
        IpAddr::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// A locally administered address that follows from the pod's IP address.
fn pod_mac(ips: &[IpAddr]) -> Mac {
    let tail = match ips.first() {
        Some(IpAddr::V4(ip)) => ip.octets(),
        Some(IpAddr::V6(ip)) => {
            let o = ip.octets();
            [o[12], o[13], o[14], o[15]]
        }
        None => [0, 0, 0, 1],
    };
    Mac([0x0a, 0x58, tail[0], tail[1], tail[2], tail[3]])
}

/// The smallest transmission unit of the links that carry the node's addresses, in bytes.
pub(crate) fn node_mtu(addresses: &[IpAddr]) -> Attempt<u32> {
    let rtnl = Rtnl::open()?;
    let held = rtnl.addresses()?;
    let links = rtnl.links()?;
    let mine = links
        .iter()
        .filter(|l| held.iter().any(|(i, net)| *i == l.index && addresses.contains(&net.addr())));
    Ok(mine.map(|l| l.mtu).min().unwrap_or(1500).min(65535))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use portolan_linux::netns;

    use super::*;

    #[test]
    fn two_pods_of_a_node_reach_each_other_and_the_node_in_both_families() {
        let dir = tempfile::tempdir().unwrap();
        let node_path = dir.path().join("node");
        let node = NetNs::create(&node_path).unwrap();
        let sandbox = |n: u8| Sandbox {
            name: format!("pod-{n}"),
            namespace: "default".to_owned(),
            uid: format!("uid-{n}"),
            hostname: format!("pod-{n}"),
            ips: vec![IpAddr::from([10, 244, 1, n]), format!("fd00:1::{n}").parse().unwrap()],
            host_network: false,
            sysctls: vec![("net.core.somaxconn".to_owned(), "99".to_owned())],
        };
        let (a, b) = (sandbox(2), sandbox(3));
        let (dir_a, dir_b) = (dir.path().join("a"), dir.path().join("b"));
        node.run(|| {
            let rtnl = Rtnl::open().unwrap();
            rtnl.add_address("lo", "192.0.2.1/32".parse().unwrap()).unwrap();
            rtnl.add_address("lo", "2001:db8::1/128".parse().unwrap()).unwrap();
            sysctl::set("net.ipv4.ip_forward", "1").unwrap();
            sysctl::set("net.ipv6.conf.all.forwarding", "1").unwrap();
            a.create(&dir_a, 1400).unwrap();
            b.create(&dir_b, 1400).unwrap();
            // A second time, as after a crash in the middle.
            b.create(&dir_b, 1400).unwrap();
        })
        .unwrap();
        assert_eq!(Sandbox::load(&dir_a), Some(a.clone()));
        let (pod_a, pod_b) =
            (NetNs::open(dir_a.join("netns")).unwrap(), NetNs::open(dir_b.join("netns")).unwrap());
        for ip in &b.ips {
            let at = std::net::SocketAddr::new(*ip, 80);
            let listener = pod_b.run(|| TcpListener::bind(at).unwrap()).unwrap();
            let from = pod_a.run(|| TcpStream::connect(at).unwrap()).unwrap();
            assert_eq!(listener.accept().unwrap().1, from.local_addr().unwrap());
            assert!(a.ips.contains(&from.local_addr().unwrap().ip()));
            node.run(|| TcpStream::connect(at).unwrap()).unwrap();
        }
        pod_a.run(|| assert_eq!(sysctl::get("net.core.somaxconn").unwrap(), "99")).unwrap();
        drop((pod_a, pod_b));
        node.run(|| {
            a.remove(&dir_a).unwrap();
            a.remove(&dir_a).unwrap();
            b.remove(&dir_b).unwrap();
            assert_eq!(Rtnl::open().unwrap().links().unwrap().len(), 1);
        })
        .unwrap();
        netns::remove(&node_path).unwrap();
    }
}
