//! Restarts, drift, and the administrator's own tools.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use portolan_linux::netlink::Socket;
use portolan_linux::nftables::{Batch, Data, TableFamily};
use portolan_model::Event;
use portolan_model::object::Protocol;

use super::lab::{Heard, Lab, connect};
use super::*;

in_every_mode! {
    a_restart_loses_no_connection_and_changes_nothing,
    what_changed_between_two_lives_is_caught_up;
    not_ipvs:
    // Its virtual servers have stories of their own.
    meddling_is_noticed_and_mended,
    meddling_is_noticed_beside_changes_of_our_own,
    what_others_do_with_their_own_tables_is_none_of_our_business,
    the_administrators_nft_lists_saves_and_restores_the_tables,
    cleanup_leaves_nothing,
}

/// A set that has grown is moved to a larger table by and by; who reads it meanwhile is told some
/// elements twice and others not at all.
#[test]
fn what_the_kernel_rearranges_is_read_again() {
    let lab = &Lab::new("nftables");
    let pods = |count: u32| -> Vec<String> {
        let address = |n: u32| IpAddr::from((0x0A80_0000 + n).to_be_bytes()).to_string();
        (1..=count).map(address).collect()
    };
    let of = |count| {
        let pods = pods(count);
        slice(&pods.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    // In one transaction a set outgrows several tables, and is emptied all but a little.
    for (before, after) in [(24_500, 25_000), (2, 50_000), (30_000, 1)] {
        for count in [before, after] {
            proxy.snapshot.apply(Event::EndpointSlice(of(count)));
            let dirty = proxy.snapshot.take_dirty();
            let changes = proxy.desired.update(&proxy.snapshot, &dirty);
            let (datapath, desired) = (&mut proxy.datapath, &proxy.desired);
            lab.node.run(|| {
                datapath.apply(desired, Scope::Changed(&changes)).unwrap();
                assert!(!datapath.may_have_drifted(), "much of our own is nobody else's");
                datapath.apply(desired, Scope::Everything).unwrap();
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let (datapath, desired) = (&mut proxy.datapath, &proxy.desired);
        let still = lab.node.run(|| datapath.apply(desired, Scope::Everything).unwrap());
        assert_eq!(still.writes, 0, "all is as it should be");
    }
}

fn nft(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.node.run(|| Command::new("nft").args(arguments).output().unwrap());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sticky() -> portolan_model::object::Service {
    let mut service = blue();
    service.affinity_seconds = Some(60);
    service.name = portolan_model::object::ObjectName::new("default", "sticky");
    service.cluster_ips = vec![[10, 96, 0, 10].into()];
    service.external_ips = vec![];
    service.ports.iter_mut().for_each(|port| port.node_port = port.node_port.map(|n| n + 10));
    service
}

fn sticky_slice(pods: &[&str]) -> portolan_model::object::EndpointSlice {
    let mut slice = slice(pods);
    slice.name = portolan_model::object::ObjectName::new("default", "sticky-v4");
    slice.service = Some(portolan_model::object::ObjectName::new("default", "sticky"));
    slice
}

fn a_restart_loses_no_connection_and_changes_nothing(lab: &Lab) {
    let proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2", "10.244.1.3"]));
    let stream =
        lab.at(ip("10.244.0.2")).run(|| connect(ip("10.244.0.2"), to("10.96.0.9:80")).unwrap());
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut stream = stream;
    assert!(lines.next().unwrap().unwrap().starts_with("10.244.1."));
    drop(proxy);
    writeln!(stream, "nobody is watching").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "nobody is watching");
    assert!(matches!(
        lab.dial(ip("10.244.0.3"), Protocol::Tcp, to("10.96.0.9:80")),
        Heard::Answer { .. }
    ));
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.3", "10.244.1.2"]));
    assert_eq!(proxy.first.writes, 0, "adopted as it was");
    writeln!(stream, "the next one is").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "the next one is");
    assert_eq!(proxy.differences(), [""; 0]);
}

fn what_changed_between_two_lives_is_caught_up(lab: &Lab) {
    let mut events = with_pods(&["10.244.1.2", "10.244.1.3"]).to_vec();
    events.extend([Event::Service(sticky()), Event::EndpointSlice(sticky_slice(&["10.244.0.2"]))]);
    drop(Proxy::start_with(lab, view(), events));
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.3", "10.244.2.2"]));
    assert_eq!(proxy.differences(), [""; 0]);
    let (applied, _) =
        proxy.hear([Event::Service(sticky()), Event::EndpointSlice(sticky_slice(&["10.244.0.3"]))]);
    assert!(applied.writes > 0);
    assert_eq!(proxy.differences(), [""; 0]);
}

fn meddling_is_noticed_and_mended(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let works = || lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("10.96.0.9:80")) != Heard::Silence;
    let meddlers: [&[&str]; 6] = [
        &["flush", "map", "ip", "portolan", "frontends"],
        &["flush", "map", "ip", "portolan", "endpoints_tcp"],
        &["flush", "chain", "ip", "portolan", "choose_1"],
        &["flush", "map", "ip", "portolan", "choose"],
        &["add", "element", "ip", "portolan", "cluster_ips", "{", "10.96.0.77", "}"],
        &["flush", "ruleset"],
    ];
    for meddler in meddlers {
        assert!(!proxy.datapath.may_have_drifted(), "before {meddler:?}");
        nft(lab, meddler);
        assert!(proxy.datapath.may_have_drifted(), "after {meddler:?}");
        let applied = proxy.everything();
        assert!(works(), "after {meddler:?}");
        assert_eq!(proxy.differences(), [""; 0], "after {meddler:?}");
        assert!(!proxy.datapath.may_have_drifted());
        let elements = !meddler.contains(&"chain") && !meddler.contains(&"choose");
        assert_eq!(applied.mended > 0, elements, "{meddler:?}");
    }
}

/// Changes of our own may come between a stranger's and the next look at the tables.
fn meddling_is_noticed_beside_changes_of_our_own(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    // More pods than there are chains for.
    let pods: Vec<String> = (2..60).map(|n| format!("10.244.1.{n}")).collect();
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let meddlers: [&[&str]; 3] = [
        &["add", "element", "ip", "portolan", "cluster_ips", "{", "10.96.0.77", "}"],
        &["flush", "chain", "ip", "portolan", "choose_1"],
        &["flush", "chain", "ip", "portolan", "output"],
    ];
    for (step, meddler) in meddlers.into_iter().enumerate() {
        nft(lab, meddler);
        proxy.hear([Event::Service(sticky()), Event::EndpointSlice(sticky_slice(&[]))]);
        proxy.hear([Event::EndpointSlice(sticky_slice(&pods[..20 * (step + 1) - 5]))]);
        proxy.hear([Event::ServiceDeleted(sticky().name)]);
        assert!(proxy.datapath.may_have_drifted(), "after {meddler:?}");
        proxy.everything();
        assert!(!proxy.datapath.may_have_drifted(), "mended {meddler:?}");
        assert_eq!(proxy.differences(), [""; 0], "after {meddler:?}");
        for client in ["10.244.0.2", "172.30.0.2"].map(ip) {
            let heard = lab.dial(client, Protocol::Tcp, to("10.96.0.9:80"));
            assert!(matches!(heard, Heard::Answer { .. }), "after {meddler:?}: {heard:?}");
        }
    }
}

/// A busy neighbour, say one that bans an address with every failed login, costs us nothing.
fn what_others_do_with_their_own_tables_is_none_of_our_business(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    nft(lab, &["add table ip somebody_elses { set banned { type ipv4_addr; }; }"]);
    for number in 1..5 {
        let address = format!("192.0.2.{number}");
        nft(lab, &["add", "element", "ip", "somebody_elses", "banned", "{", &address, "}"]);
        assert!(!proxy.datapath.may_have_drifted());
        proxy.hear([Event::Service(sticky()), Event::EndpointSlice(sticky_slice(&["10.244.1.3"]))]);
        proxy.hear([Event::ServiceDeleted(sticky().name)]);
        assert!(!proxy.datapath.may_have_drifted(), "nor is what we do ourselves");
    }
    assert_eq!(proxy.everything().mended, 0, "there was nothing to mend");
}

/// The kernel calls a reading of a large set doubtful when anybody changed anything meanwhile.
#[test]
fn a_busy_neighbour_does_not_keep_us_from_reading_our_tables() {
    let lab = &Lab::new("nftables");
    let pods: Vec<String> = (1..=60_000_u32)
        .map(|n| IpAddr::from((0x0A80_0000 + n).to_be_bytes()).to_string())
        .collect();
    let pods = slice(&pods.iter().map(String::as_str).collect::<Vec<_>>());
    let events = [Event::Service(blue()), Event::EndpointSlice(pods)];
    let mut proxy = Proxy::start_with(lab, view(), events);
    nft(lab, &["add table ip somebody_elses { set s { type ipv4_addr; }; }"]);
    let over = AtomicBool::new(false);
    let changes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut socket = lab.node.run(|| Socket::netfilter().unwrap());
            for number in 0..1_000_000_u32 {
                let mut batch = Batch::new(&mut socket);
                let key = number.to_be_bytes();
                batch.add(TableFamily::Ipv4, "somebody_elses", "s", &key, None, Data::None);
                batch.commit().unwrap();
                changes.fetch_add(1, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let before = changes.load(Ordering::Relaxed);
        let restarted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| proxy.restart()));
        let during = changes.load(Ordering::Relaxed) - before;
        over.store(true, Ordering::Relaxed);
        assert_eq!(restarted.unwrap().writes, 0, "all was there");
        assert!(during > 20, "{during}: the neighbour was not busy");
    });
}

fn the_administrators_nft_lists_saves_and_restores_the_tables(lab: &Lab) {
    let mut events = with_pods(&["10.244.1.2", "10.244.0.2"]).to_vec();
    events.push(Event::EndpointSlice(slice(&["fd00:10:244::2"])));
    events.extend([Event::Service(sticky()), Event::EndpointSlice(sticky_slice(&["10.244.0.3"]))]);
    let mut local = sticky();
    local.name = ObjectName::new("default", "balanced");
    local.cluster_ips = vec![[10, 96, 0, 11].into()];
    local.service_type = ServiceType::LoadBalancer;
    local.external_traffic_policy = TrafficPolicy::Local;
    local.load_balancer =
        vec![LoadBalancerIngress { ip: [203, 0, 113, 1].into(), ip_mode: IpMode::Vip }];
    local.load_balancer_source_ranges = vec!["198.51.100.0/24".parse().unwrap()];
    local.ports.iter_mut().for_each(|port| port.node_port = port.node_port.map(|n| n + 10));
    events.push(Event::Service(local));
    let mut proxy = Proxy::start_with(lab, view(), events);
    assert!(matches!(
        lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("10.96.0.10:80")),
        Heard::Answer { .. }
    ));
    let saved = nft(lab, &["list", "ruleset"]);
    for part in [
        "map frontends",
        "10.96.0.9 . tcp . 80",
        "choose_1_keep_60",
        "table ip6 portolan",
        "203.0.113.1",
    ] {
        assert!(saved.contains(part), "{part} is not in:\n{saved}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("saved.nft");
    std::fs::write(&file, &saved).unwrap();
    nft(lab, &["flush", "ruleset"]);
    nft(lab, &["-f", file.to_str().unwrap()]);
    assert_eq!(proxy.differences(), [""; 0], "a restored backup is as good as the original");
}

fn cleanup_leaves_nothing(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let (datapath, node) = (&mut proxy.datapath, &lab.node);
    node.run(|| datapath.remove().unwrap());
    assert_eq!(nft(lab, &["list", "ruleset"]), "");
    assert_eq!(
        node.run(|| portolan_linux::sysctl::get("net.ipv4.conf.all.route_localnet").unwrap()),
        "0"
    );
    node.run(|| datapath.remove().unwrap());
    let pins = lab.host.bpf.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten();
    // Some kernels put maps.debug and progs.debug into every BPF file system.
    let pins = pins.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(pins.filter(|name| !name.ends_with(".debug")).count(), 0);
}
