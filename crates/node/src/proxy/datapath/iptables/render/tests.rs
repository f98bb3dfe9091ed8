//! Rules of whole clusters, as text.

use std::collections::HashMap as Texts;

use hashbrown::HashMap;
use portolan_linux::iptables::{Rule, Saved, Table};
use portolan_model::frontend::Family;
use portolan_model::node_view::NodePortAddresses;
use portolan_model::object::*;
use portolan_model::testing::{Dice, Universe};
use portolan_model::{Desired, Event, NodeView, Snapshot, desired};

use super::super::plane::Plane;
use super::Settings;

fn view() -> NodeView {
    NodeView {
        name: "node-0".into(),
        families: Family::BOTH.to_vec(),
        cluster_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "fd00:10::/32".parse().unwrap()],
        node_port_addresses: NodePortAddresses::All,
        loopback_node_ports: true,
        masquerade_all: false,
        masquerade_egress: false,
    }
}

fn port(node_port: Option<u16>) -> ServicePort {
    ServicePort { name: "p80".into(), protocol: Protocol::Tcp, port: 80, node_port }
}

fn service(number: u8, kind: ServiceType, node_port: Option<u16>) -> Service {
    Service {
        name: ObjectName::new(format!("ns{number}"), format!("svc{number}")),
        service_type: kind,
        cluster_ips: vec![[172, 30, 0, 40 + number].into()],
        headless: false,
        external_name: None,
        ports: vec![port(node_port)],
        external_ips: vec![],
        load_balancer: vec![],
        load_balancer_source_ranges: vec![],
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity_seconds: None,
        publish_not_ready_addresses: false,
        traffic_distribution: None,
        foreign_proxy: false,
    }
}

fn slice(number: u8, endpoints: &[(&str, bool)]) -> EndpointSlice {
    let endpoint = |(address, local): &(&str, bool)| Endpoint {
        node_name: Some(if *local { "node-0" } else { "node-1" }.into()),
        ..Endpoint::new(address.parse().unwrap())
    };
    EndpointSlice {
        name: ObjectName::new(format!("ns{number}"), format!("svc{number}-1")),
        service: Some(ObjectName::new(format!("ns{number}"), format!("svc{number}"))),
        address_type: AddressType::Ipv4,
        ports: vec![EndpointPort { name: "p80".into(), protocol: Protocol::Tcp, port: Some(80) }],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

/// The cluster of kube-proxy's own overall test, give or take.
fn cluster() -> Snapshot {
    let mut local = service(2, ServiceType::LoadBalancer, Some(3001));
    local.external_traffic_policy = TrafficPolicy::Local;
    local.health_check_node_port = Some(30_000);
    local.external_ips = vec!["192.168.99.22".parse().unwrap()];
    let vip = |ip: &str| LoadBalancerIngress { ip: ip.parse().unwrap(), ip_mode: IpMode::Vip };
    local.load_balancer = vec![vip("1.2.3.4")];
    let mut external = service(4, ServiceType::ClusterIP, None);
    external.external_ips = vec!["192.168.99.33".parse().unwrap()];
    let mut guarded = service(5, ServiceType::LoadBalancer, Some(3002));
    guarded.affinity_seconds = Some(10_800);
    guarded.load_balancer = vec![vip("5.6.7.8")];
    guarded.load_balancer_source_ranges = vec!["203.0.113.0/25".parse().unwrap()];
    let mut snapshot = Snapshot::default();
    let services = [
        service(1, ServiceType::ClusterIP, None),
        local,
        service(3, ServiceType::NodePort, Some(3003)),
        external,
        guarded,
        service(6, ServiceType::ClusterIP, None),
    ];
    services.into_iter().for_each(|service| snapshot.apply(Event::Service(service)));
    let slices = [
        slice(1, &[("10.180.0.1", false)]),
        slice(2, &[("10.180.0.2", false)]),
        slice(3, &[("10.180.0.3", false)]),
        slice(4, &[("10.180.0.4", false), ("10.180.0.5", true)]),
        slice(5, &[("10.180.0.3", false)]),
    ];
    slices.into_iter().for_each(|slice| snapshot.apply(Event::EndpointSlice(slice)));
    snapshot
}

fn text(desired: &Desired, family: Family) -> String {
    marking(desired, family, 0x4000)
}

fn marking(desired: &Desired, family: Family, mark: u32) -> String {
    let settings = Settings::new(desired, family, mark, true, false);
    Plane::new(settings).compare(desired, &HashMap::new()).text()
}

#[test]
fn the_mark_is_one_that_may_be_chosen() {
    let desired = desired(&cluster(), &view());
    let usual = text(&desired, Family::Ipv4);
    let other = marking(&desired, Family::Ipv4, 1 << 31);
    assert!(!other.contains("0x4000") && usual.contains("0x4000"));
    assert_eq!(other.replace("0x80000000", "0x4000"), usual);
}

#[test]
fn a_cluster_in_ipv4() {
    insta::assert_snapshot!(text(&desired(&cluster(), &view()), Family::Ipv4));
}

#[test]
fn a_cluster_in_ipv6_has_the_common_chains() {
    insta::assert_snapshot!(text(&desired(&cluster(), &view()), Family::Ipv6));
}

#[test]
fn other_settings() {
    let view = NodeView {
        cluster_cidrs: vec!["10.0.0.0/9".parse().unwrap(), "11.0.0.0/8".parse().unwrap()],
        node_port_addresses: NodePortAddresses::Within(vec!["172.16.0.0/12".parse().unwrap()]),
        loopback_node_ports: false,
        masquerade_egress: true,
        ..view()
    };
    insta::assert_snapshot!(text(&desired(&cluster(), &view), Family::Ipv4));
}

/// What kube-proxy lays out in its own overall test is all there; but a refusal of TCP is a reset.
#[test]
fn the_layout_is_kube_proxys() {
    let text = text(&desired(&cluster(), &view()), Family::Ipv4);
    let ours: Vec<(&str, Rule)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("-A ")?.split_once(' '))
        .map(|(chain, rule)| (chain, Rule::read(rule)))
        .collect();
    let theirs = r#"
        KUBE-SERVICES -m comment --comment "ns4/svc4:p80 cluster IP" -m tcp -p tcp -d 172.30.0.44 --dport 80 -j KUBE-SVC-4SW47YFZTEDKD3PK
        KUBE-SVC-4SW47YFZTEDKD3PK -m comment --comment "ns4/svc4:p80 cluster IP" -m tcp -p tcp -d 172.30.0.44 --dport 80 ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ
        KUBE-SVC-4SW47YFZTEDKD3PK -m comment --comment "ns4/svc4:p80 -> 10.180.0.4:80" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-UKSFD7AGPMPPLUHC
        KUBE-SVC-4SW47YFZTEDKD3PK -m comment --comment "ns4/svc4:p80 -> 10.180.0.5:80" -j KUBE-SEP-C6EBXVWJJZMIWKLZ
        KUBE-SEP-UKSFD7AGPMPPLUHC -m comment --comment ns4/svc4:p80 -s 10.180.0.4 -j KUBE-MARK-MASQ
        KUBE-SEP-UKSFD7AGPMPPLUHC -m comment --comment ns4/svc4:p80 -m tcp -p tcp -j DNAT --to-destination 10.180.0.4:80
        KUBE-EXT-GNZBNJ2PO5MGZ6GT -m comment --comment "pod traffic for ns2/svc2:p80 external destinations" -s 10.0.0.0/8 -j KUBE-SVC-GNZBNJ2PO5MGZ6GT
        KUBE-EXT-GNZBNJ2PO5MGZ6GT -m comment --comment "masquerade LOCAL traffic for ns2/svc2:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
        KUBE-EXT-GNZBNJ2PO5MGZ6GT -m comment --comment "route LOCAL traffic for ns2/svc2:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-GNZBNJ2PO5MGZ6GT
        KUBE-EXT-NUKIZ6OKUXPJNT4C -m comment --comment "masquerade traffic for ns5/svc5:p80 external destinations" -j KUBE-MARK-MASQ
        KUBE-EXT-NUKIZ6OKUXPJNT4C -j KUBE-SVC-NUKIZ6OKUXPJNT4C
        KUBE-FW-NUKIZ6OKUXPJNT4C -m comment --comment "ns5/svc5:p80 loadbalancer IP" -s 203.0.113.0/25 -j KUBE-EXT-NUKIZ6OKUXPJNT4C
        KUBE-FW-NUKIZ6OKUXPJNT4C -m comment --comment "other traffic to ns5/svc5:p80 will be dropped by KUBE-PROXY-FIREWALL"
        KUBE-PROXY-FIREWALL -m comment --comment "ns5/svc5:p80 traffic not accepted by KUBE-FW-NUKIZ6OKUXPJNT4C" -m tcp -p tcp -d 5.6.7.8 --dport 80 -j DROP
        KUBE-SVC-NUKIZ6OKUXPJNT4C -m comment --comment "ns5/svc5:p80 -> 10.180.0.3:80" -m recent --name KUBE-SEP-I77PXRDZVX7PMWMN --rcheck --seconds 10800 --reap -j KUBE-SEP-I77PXRDZVX7PMWMN
        KUBE-SEP-I77PXRDZVX7PMWMN -m comment --comment ns5/svc5:p80 -m recent --name KUBE-SEP-I77PXRDZVX7PMWMN --set -m tcp -p tcp -j DNAT --to-destination 10.180.0.3:80
        KUBE-NODEPORTS -m comment --comment ns3/svc3:p80 -m tcp -p tcp --dport 3003 -j KUBE-EXT-X27LE4BHSL4DOUIK
        KUBE-NODEPORTS -m comment --comment "ns2/svc2:p80 health check node port" -m tcp -p tcp --dport 30000 -j ACCEPT
        KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
        KUBE-SERVICES -m comment --comment "ns6/svc6:p80 has no endpoints" -m tcp -p tcp -d 172.30.0.46 --dport 80 -j REJECT --reject-with tcp-reset
        KUBE-EXTERNAL-SERVICES -m comment --comment "ns2/svc2:p80 has no local endpoints" -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 3001 -j DROP
        KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
        KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
        KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
        KUBE-POSTROUTING -j MARK --xor-mark 0x4000
        KUBE-MARK-MASQ -j MARK --or-mark 0x4000
    "#;
    for line in theirs.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (chain, rule) = line.split_once(' ').unwrap();
        let rule = Rule::read(rule);
        let found = ours.iter().any(|(name, ours)| *name == chain && ours.is_like(&rule));
        assert!(found, "{line} is not in\n{text}");
    }
    let services: Vec<_> = ours.iter().filter(|(name, _)| *name == "KUBE-SERVICES").collect();
    let last = services.last().unwrap();
    assert!(last.1.text().contains("must be the last rule"), "{last:?}");
}

/// A table as text, to which the input of `iptables-restore --noflush` can be applied.
#[derive(Default)]
struct Kernel {
    chains: Texts<(String, String), Vec<String>>,
}

impl Kernel {
    fn restore(&mut self, text: &str) {
        let mut table = String::new();
        for line in text.lines() {
            let (word, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
            let rest = rest.trim();
            let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
            let at = (table.clone(), chain.to_owned());
            match word {
                "-A" => self.chains.get_mut(&at).expect(line).push(rule.to_owned()),
                "-I" => self.chains.entry(at).or_default().insert(0, rule.to_owned()),
                "-X" => assert_eq!(self.chains.remove(&at), Some(vec![]), "{line}"),
                "COMMIT" => self.check(),
                name if name.starts_with('*') => table = name[1..].to_owned(),
                name => {
                    let name = name.strip_prefix(':').expect(line);
                    self.chains.insert((table.clone(), name.to_owned()), vec![]);
                }
            }
        }
    }

    /// No rule may lead to a chain that is not there.
    fn check(&self) {
        for ((table, chain), rules) in &self.chains {
            for rule in rules.iter().map(|rule| Rule::read(rule)) {
                let Some(to) = rule.target_chain() else { continue };
                let there = self.chains.contains_key(&(table.clone(), to.to_owned()));
                assert!(there || ["DROP", "ACCEPT", "RETURN"].contains(&to), "{chain}: {rule}");
            }
        }
    }

    fn saved(&self) -> HashMap<Table, Saved> {
        let of = |table: Table| {
            let mut text = String::new();
            for ((at, chain), rules) in &self.chains {
                if at == table.name() {
                    text += &format!(":{chain} - [0:0]\n");
                    rules.iter().for_each(|rule| text += &format!("-A {chain} {rule}\n"));
                }
            }
            (table, Saved::new(text))
        };
        [Table::Filter, Table::Nat].map(of).into_iter().collect()
    }
}

/// Following changes writes what looking at everything would, and what is read back is what is
/// desired.
#[test]
fn following_changes_ends_where_starting_over_does() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let universe = Universe::default();
        let mut snapshot = Snapshot::default();
        snapshot.set_service_ranges(Universe::service_ranges());
        let view = NodeView { masquerade_all: dice.once_in(3), ..view() };
        let mut desired = Desired::new(view);
        let mut kernels = [Kernel::default(), Kernel::default()];
        let mut planes = Family::BOTH.map(|family| {
            Plane::new(Settings::new(&desired, family, 0x4000, true, dice.once_in(2)))
        });
        for (kernel, plane) in kernels.iter_mut().zip(&mut planes) {
            kernel.restore(&plane.compare(&desired, &HashMap::new()).text());
        }
        for step in 0..60 {
            (0..=dice.below(6)).for_each(|_| snapshot.apply(universe.event(&mut dice)));
            let dirty = snapshot.take_dirty();
            let changes = desired.update(&snapshot, &dirty);
            let mut observed = crate::proxy::datapath::Observed::default();
            for (kernel, plane) in kernels.iter_mut().zip(&mut planes) {
                kernel.restore(&plane.follow(&desired, &changes).text());
                let saved = kernel.saved();
                super::super::observe::read(plane.settings.family, &saved, &mut observed);
                let mut again = Plane::new(plane.settings.clone());
                let left = again.compare(&desired, &saved).text();
                assert_eq!(left, "", "seed {seed}, step {step}");
            }
            assert_eq!(observed.differences(&desired), [""; 0], "seed {seed}, step {step}");
        }
        // And everything can be taken away.
        for kernel in &mut kernels {
            let removal = super::super::plane::removal(&kernel.saved(), false, false);
            for line in removal.lines().filter(|line| line.starts_with("-D ")) {
                let (chain, rule) = line[3..].split_once(' ').unwrap();
                for table in ["filter", "nat"] {
                    if let Some(rules) =
                        kernel.chains.get_mut(&(table.to_owned(), chain.to_owned()))
                    {
                        rules.retain(|held| held != rule);
                    }
                }
            }
            let rest: Vec<&str> = removal.lines().filter(|line| !line.starts_with("-D ")).collect();
            kernel.restore(&rest.join("\n"));
            assert!(kernel.chains.values().all(Vec::is_empty), "{:?}", kernel.chains);
        }
    }
}
