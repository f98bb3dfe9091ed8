use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use super::*;
use crate::{
    netns,
    process::Spawn,
    route::{Action, Route},
};

/// Namespaces that are removed at the end of a test.
struct Lab {
    dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), paths: Vec::new() }
    }

    fn netns(&mut self, name: &str) -> NetNs {
        let path = self.dir.path().join(name);
        self.paths.push(path.clone());
        NetNs::create(path).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for path in &self.paths {
            netns::remove(path).unwrap();
        }
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn links_tell_what_they_lead_to() {
    let mut lab = Lab::new();
    let (node, pod, stranger) = (lab.netns("node"), lab.netns("pod"), lab.netns("stranger"));
    let rtnl = node.rtnl().unwrap();
    rtnl.add_veth(&VethEnd::new("pod"), &VethEnd::new("eth0").netns(&pod)).unwrap();
    let inside = pod.rtnl().unwrap();
    assert!(inside.is_linked_to(&node).unwrap());
    assert!(rtnl.is_linked_to(&pod).unwrap());
    assert!(!inside.is_linked_to(&stranger).unwrap());
    assert!(!stranger.rtnl().unwrap().is_linked_to(&node).unwrap());
    rtnl.delete_link("pod").unwrap();
    assert!(!inside.is_linked_to(&node).unwrap());
}

#[test]
fn two_namespaces_talk_over_a_bridge_in_a_third() {
    let mut lab = Lab::new();
    let (middle, a, b) = (lab.netns("middle"), lab.netns("a"), lab.netns("b"));
    let rtnl = middle.rtnl().unwrap();
    rtnl.add_bridge("br0").unwrap();
    assert!(rtnl.add_bridge("br0").unwrap_err().exists());
    rtnl.set_up("br0").unwrap();
    let mac: Mac = "02:00:00:00:00:0a".parse().unwrap();
    for (ns, port, host) in [(&a, "port-a", 1), (&b, "port-b", 2)] {
        let mut far = VethEnd::new("eth0").netns(ns).mtu(1400);
        if port == "port-a" {
            far = far.mac(mac);
        }
        rtnl.add_veth(&VethEnd::new(port).mtu(1400), &far).unwrap();
        rtnl.set_master(port, Some("br0")).unwrap();
        rtnl.set_bridge_port(port, true, false).unwrap();
        rtnl.set_up(port).unwrap();
        let inside = ns.rtnl().unwrap();
        inside.add_address("eth0", net(&format!("10.1.0.{host}/24"))).unwrap();
        inside.add_address("eth0", net(&format!("fd00::{host}/64"))).unwrap();
        inside.add_address("eth0", net(&format!("fd00::{host}/64"))).unwrap();
        inside.set_up("eth0").unwrap();
    }
    let mut cat = Spawn::new("cat")
        .arg("/sys/class/net/port-a/brport/hairpin_mode")
        .netns(&middle)
        .own_sysfs()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let hairpin = std::io::read_to_string(cat.take_stdout().unwrap()).unwrap();
    assert!(cat.wait().unwrap().success());
    assert_eq!(hairpin, "1\n");
    let links = rtnl.links().unwrap();
    assert_eq!(links.len(), 4);
    let bridge = rtnl.link("br0").unwrap().unwrap();
    let port = rtnl.link("port-a").unwrap().unwrap();
    assert_eq!((bridge.kind.as_deref(), port.kind.as_deref()), (Some("bridge"), Some("veth")));
    assert_eq!((port.master, port.mtu, port.up), (Some(bridge.index), 1400, true));
    assert_eq!(rtnl.link("nothing").unwrap(), None);
    let inside = a.rtnl().unwrap();
    let eth0 = inside.link("eth0").unwrap().unwrap();
    assert_eq!((eth0.mac, eth0.peer), (Some(mac), Some(port.index)));
    assert!(inside.addresses().unwrap().contains(&(eth0.index, net("10.1.0.1/24"))));
    assert!(inside.addresses().unwrap().contains(&(eth0.index, net("fd00::1/64"))));
    // Real packets, both families, right away.
    for address in ["10.1.0.2:80", "[fd00::2]:80"] {
        let address: SocketAddr = address.parse().unwrap();
        let listener = b.run(|| TcpListener::bind(address).unwrap()).unwrap();
        let from = a.run(|| TcpStream::connect(address).unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap().1, from.local_addr().unwrap());
    }
    inside.delete_address("eth0", net("10.1.0.1/24")).unwrap();
    assert!(inside.delete_address("eth0", net("10.1.0.1/24")).unwrap_err().missing());
    rtnl.delete_link("port-a").unwrap();
    assert_eq!(inside.link("eth0").unwrap(), None);
    assert!(rtnl.delete_link("port-a").unwrap_err().missing());
}

#[test]
fn routed_point_to_point_links_need_no_neighbour_discovery() {
    let mut lab = Lab::new();
    let (host, pod) = (lab.netns("host"), lab.netns("pod"));
    let (host_mac, pod_mac) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let rtnl = host.rtnl().unwrap();
    let far = VethEnd::new("eth0").netns(&pod).mac(pod_mac);
    rtnl.add_veth(&VethEnd::new("veth1").mac(host_mac), &far).unwrap();
    rtnl.set_up("veth1").unwrap();
    rtnl.add_address("lo", net("192.0.2.1/32")).unwrap();
    let inside = pod.rtnl().unwrap();
    inside.add_address("eth0", net("10.2.0.7/32")).unwrap();
    inside.set_up("eth0").unwrap();
    let gateway: IpAddr = "169.254.1.1".parse().unwrap();
    inside.add_route(&Route::on(net("169.254.1.1/32"), "eth0")).unwrap();
    let default = Route { device: Some("eth0".to_owned()), ..Route::default_via(gateway) };
    inside.add_route(&default).unwrap();
    assert!(inside.add_route(&default).unwrap_err().exists());
    inside.set_neighbour("eth0", gateway, host_mac).unwrap();
    let to_pod = Route {
        source: Some("192.0.2.1".parse().unwrap()),
        ..Route::on(net("10.2.0.7/32"), "veth1")
    };
    rtnl.replace_route(&to_pod).unwrap();
    rtnl.replace_route(&to_pod).unwrap();
    rtnl.set_neighbour("veth1", "10.2.0.7".parse().unwrap(), pod_mac).unwrap();
    rtnl.add_route(&Route::discard(net("10.2.0.0/24"), Action::Blackhole)).unwrap();
    assert!(rtnl.neighbours().unwrap().iter().any(|n| n.mac == Some(pod_mac) && n.permanent));

    let routes = rtnl.routes().unwrap();
    assert!(routes.contains(&to_pod), "{routes:?}");
    assert!(
        routes.iter().any(|r| r.action == Action::Blackhole && r.destination == net("10.2.0.0/24"))
    );
    assert_eq!(inside.routes().unwrap().len(), 2);

    let listener = pod.run(|| TcpListener::bind("10.2.0.7:80").unwrap()).unwrap();
    let from = host.run(|| TcpStream::connect("10.2.0.7:80").unwrap()).unwrap();
    assert_eq!(from.local_addr().unwrap().ip(), "192.0.2.1".parse::<IpAddr>().unwrap());
    listener.accept().unwrap();
    rtnl.delete_route(&to_pod).unwrap();
    assert!(rtnl.delete_route(&to_pod).unwrap_err().missing());
    rtnl.delete_neighbour("veth1", "10.2.0.7".parse().unwrap()).unwrap();
}
