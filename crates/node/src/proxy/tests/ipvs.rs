//! Mode `ipvs`: what is peculiar to it. Runs where the kernel has IPVS: `./x test` brings such a
//! kernel, in a virtual machine.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use portolan_linux::conntrack::{self, Filter};
use portolan_linux::ipvs::{self as kernel, ServerKey, Step, VirtualServer};
use portolan_linux::rtnl::Rtnl;
use portolan_linux::sysctl;
use portolan_model::Event;
use portolan_model::object::Protocol;

use super::lab::{Heard, Lab, NODE, OUTSIDE, ask_udp, connect};
use super::*;
use crate::proxy::datapath::Observed;
use crate::proxy::datapath::ipvs::{Ipvs, SCHEDULERS, Settings};

in_mode! { ipvs:
    one_virtual_server_for_each_address_of_a_service_port,
    the_administrators_ipvsadm_reads_the_same,
    every_scheduler_schedules,
    a_pod_that_goes_finishes_what_it_has,
    a_deleted_service_lets_its_connections_finish,
    udp_clients_go_to_another_pod_at_once,
    inside_and_outside_go_different_ways,
    a_mark_goes_with_its_last_connection,
    clients_inside_are_kept_too,
    a_service_address_exposes_nothing_of_the_node,
    the_node_is_seen_as_itself,
    others_virtual_servers_are_left_alone,
    meddling_with_virtual_servers_is_noticed_and_mended,
    what_kube_proxy_left_is_taken_over,
    cleanup_leaves_no_trace,
    settings_reach_the_kernel,
    a_small_change_is_few_writes,
}

fn ipvs(lab: &Lab) -> kernel::Ipvs {
    lab.node.run(|| kernel::Ipvs::open().unwrap())
}

fn run(lab: &Lab, program: &str, arguments: &[&str]) -> String {
    let output = lab.node.run(|| Command::new(program).args(arguments).output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The virtual servers and their real ones, as ipvsadm(8) lists them, without counters.
fn listed(lab: &Lab) -> Vec<String> {
    let mut ipvs = ipvs(lab);
    let mut lines = vec![];
    for server in ipvs.servers().unwrap() {
        let kept = if server.persistent { " persistent" } else { "" };
        lines.push(format!("{} {}{kept}", server.key, server.scheduler));
        let mut reals = ipvs.reals(&server.key).unwrap();
        reals.sort_by_key(|real| real.address);
        lines.extend(
            reals
                .iter()
                .map(|real| format!("  {} -> {} {}", server.key, real.address, real.weight)),
        );
    }
    lines.sort();
    lines
}

fn tcp(address: &str) -> ServerKey {
    let at = to(address);
    ServerKey::Address { ip: at.ip(), protocol: 6, port: at.port() }
}

fn weight(lab: &Lab, key: ServerKey, real: &str) -> Option<u32> {
    let reals = ipvs(lab).reals(&key).unwrap();
    reals.iter().find(|it| it.address == to(real)).map(|it| it.weight)
}

fn server(heard: Heard) -> IpAddr {
    match heard {
        Heard::Answer { server, .. } => server.ip(),
        other => panic!("{other:?}"),
    }
}

/// A conversation over one connection.
struct Talk(TcpStream, BufReader<TcpStream>);

impl Talk {
    fn start(lab: &Lab, from: IpAddr, at: &str) -> (Self, IpAddr) {
        let stream = lab.at(from).run(|| connect(from, to(at)).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut hello = String::new();
        lines.read_line(&mut hello).unwrap();
        let server: SocketAddr = hello.split_whitespace().next().unwrap().parse().unwrap();
        (Self(stream, lines), server.ip())
    }

    fn goes_on(&mut self, word: &str) {
        writeln!(self.0, "{word}").unwrap();
        let mut heard = String::new();
        self.1.read_line(&mut heard).unwrap();
        assert_eq!(heard.trim(), word);
    }

    /// With a reset: the kernel forgets such a connection within ten seconds.
    fn break_off(self) {
        let socket = socket2::SockRef::from(&self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Waits for connections to be forgotten; the clock only bounds the wait.
fn until(proxy: &mut Proxy<'_>, what: &str, ready: impl Fn(&mut Proxy<'_>) -> bool) {
    let start = Instant::now();
    loop {
        proxy.datapath.tend().unwrap();
        if ready(proxy) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still not: {what}");
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn one_virtual_server_for_each_address_of_a_service_port(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2", "10.244.0.2"]));
    let mut expected = vec![];
    // This node's addresses: on the link to the other nodes, to the outside, to its pods.
    for (protocol, node_port) in [("TCP", 30_002), ("UDP", 30_003)] {
        for at in [
            "10.96.0.9:80".to_owned(),
            "192.0.2.10:80".to_owned(),
            format!("172.30.0.2:{node_port}"),
            format!("198.51.100.1:{node_port}"),
            format!("10.244.0.1:{node_port}"),
        ] {
            expected.push(format!("{protocol} {at} rr"));
            expected.push(format!("  {protocol} {at} -> 10.244.0.2:8080 1"));
            expected.push(format!("  {protocol} {at} -> 10.244.1.2:8080 1"));
        }
    }
    expected.sort();
    assert_eq!(listed(lab), expected);
    assert_eq!(proxy.differences(), [""; 0]);
    let link = run(lab, "ip", &["-o", "address", "show", "dev", "kube-ipvs0"]);
    for address in ["10.96.0.9/32", "192.0.2.10/32", "fd00:10:96::9/128"] {
        assert!(link.contains(address), "{address} is not in:\n{link}");
    }
    // Without anybody to serve, there is no virtual server, and who dials is refused.
    proxy.hear([Event::EndpointSlice(slice(&[]))]);
    proxy.datapath.tend().unwrap();
    assert_eq!(listed(lab), [""; 0]);
    assert_eq!(proxy.differences(), [""; 0]);
}

/// Two readers of one kernel.
fn the_administrators_ipvsadm_reads_the_same(lab: &Lab) {
    let mut sticky = blue();
    sticky.affinity_seconds = Some(90);
    let events = [
        Event::Service(sticky),
        Event::EndpointSlice(slice(&["10.244.1.2"])),
        Event::EndpointSlice(slice(&["fd00:10:244:1::2"])),
    ];
    let _proxy = Proxy::start_with(lab, view(), events);
    let saved = run(lab, "ipvsadm", &["-Sn"]);
    for line in [
        "-A -t 10.96.0.9:80 -s rr -p 90",
        "-a -t 10.96.0.9:80 -r 10.244.1.2:8080 -m -w 1",
        "-A -u 172.30.0.2:30003 -s rr -p 90",
        "-A -t [fd00:10:96::9]:80 -s rr -p 90",
        "-a -t [fd00:10:96::9]:80 -r [fd00:10:244:1::2]:8080 -m -w 1",
    ] {
        assert!(saved.lines().any(|it| it.trim() == line), "{line} is not in:\n{saved}");
    }
    let mut ipvs = ipvs(lab);
    let ours = ipvs.servers().unwrap();
    let made = |start: &str| saved.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(ours.len(), made("-A"));
    let reals: usize = ours.iter().map(|server| ipvs.reals(&server.key).unwrap().len()).sum();
    assert_eq!(reals, made("-a"));
}

fn every_scheduler_schedules(lab: &Lab) {
    let pods = ["10.244.0.2", "10.244.1.2", "10.244.2.2"];
    for scheduler in ["rr", "wrr", "lc", "wlc", "sh", "mh"] {
        assert!(SCHEDULERS.contains(&scheduler));
        let settings = Settings { scheduler: scheduler.to_owned(), ..Settings::default() };
        let datapath: Box<dyn Datapath> = lab.node.run(|| Box::new(Ipvs::open(&settings).unwrap()));
        let mut proxy = Proxy::start_on(lab, datapath, view(), with_pods(&pods));
        assert!(listed(lab).contains(&format!("TCP 10.96.0.9:80 {scheduler}")), "{scheduler}");
        assert_eq!(proxy.differences(), [""; 0], "{scheduler}");
        let dial = || server(lab.dial(ip("10.244.0.3"), Protocol::Tcp, to("10.96.0.9:80")));
        let seen: Vec<IpAddr> = (0..12).map(|_| dial()).collect();
        let of = |pod: &str| seen.iter().filter(|it| **it == ip(pod)).count();
        match scheduler {
            // By turns.
            "rr" | "wrr" => pods.iter().for_each(|pod| assert_eq!(of(pod), 4, "{seen:?}")),
            // By the client's address.
            "sh" | "mh" => assert!(seen.iter().all(|it| *it == seen[0]), "{scheduler}: {seen:?}"),
            _ => assert!(pods.iter().all(|pod| of(pod) > 0), "{scheduler}: {seen:?}"),
        }
    }
    let settings = Settings { scheduler: "nosuch".to_owned(), ..Settings::default() };
    let mut unknown = lab.node.run(|| Ipvs::open(&settings).unwrap());
    let proxy = Proxy::start_with(lab, view(), with_pods(&pods));
    let error = lab.node.run(|| unknown.apply(&proxy.desired, Scope::Everything).unwrap_err());
    assert!(error.to_string().contains("no IPVS scheduler nosuch"), "{error}");
}

fn a_pod_that_goes_finishes_what_it_has(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let (vip, real) = (tcp("10.96.0.9:80"), "10.244.1.2:8080");
    let (mut talk, _) = Talk::start(lab, ip("10.244.0.2"), "10.96.0.9:80");
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.3"]))]);
    assert_eq!(weight(lab, vip, real), Some(0), "it gets nothing new");
    assert_eq!(proxy.differences(), [""; 0]);
    proxy.datapath.tend().unwrap();
    assert_eq!(weight(lab, vip, real), Some(0), "and stays while it has a connection");
    talk.goes_on("still here");
    for _ in 0..4 {
        let heard = lab.dial(ip("10.244.0.3"), Protocol::Tcp, to("10.96.0.9:80"));
        assert_eq!(server(heard), ip("10.244.1.3"));
    }
    // Nobody else dialled it: those are gone without waiting.
    assert_eq!(weight(lab, tcp("192.0.2.10:80"), real), None);
    assert!(!proxy.datapath.may_have_drifted());
    // A new process knows what the old one had begun.
    assert_eq!(proxy.restart().writes, 0);
    talk.goes_on("a new process");
    // It comes back, and goes again.
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2", "10.244.1.3"]))]);
    assert_eq!(weight(lab, vip, real), Some(1));
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.3"]))]);
    assert_eq!(weight(lab, vip, real), Some(0));
    talk.goes_on("came and went");
    talk.break_off();
    until(&mut proxy, "the real server is gone", |_| weight(lab, vip, real).is_none());
    assert!(!proxy.datapath.may_have_drifted());
}

fn a_deleted_service_lets_its_connections_finish(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let (mut talk, _) = Talk::start(lab, ip("10.244.0.2"), "10.96.0.9:80");
    let (mut outer, _) = Talk::start(lab, OUTSIDE.into(), "172.30.0.2:30002");
    proxy.hear([Event::ServiceDeleted(blue().name)]);
    assert_eq!(proxy.differences(), [""; 0]);
    proxy.datapath.tend().unwrap();
    talk.goes_on("the Service is gone");
    outer.goes_on("the node port too");
    let refused = |at: &str| {
        assert_eq!(lab.dial(ip("10.244.0.3"), Protocol::Tcp, to(at)), Heard::Refused, "{at}");
    };
    refused("10.96.0.9:80");
    refused("172.30.0.2:30002");
    // Netfilter may forget; what goes on is not taken for something new.
    lab.node.run(|| {
        let mut socket = portolan_linux::netlink::Socket::netfilter().unwrap();
        let mut flows = vec![];
        let filter = Filter { ipv6: Some(false), protocol: Some(6) };
        conntrack::flows(&mut socket, filter, |flow| flows.push(flow)).unwrap();
        let dialled = |flow: &conntrack::Flow| flow.original.destination == ip("10.96.0.9");
        let flow = flows.iter().find(|flow| dialled(flow)).unwrap();
        assert!(conntrack::delete(&mut socket, flow).unwrap());
    });
    talk.goes_on("forgotten by half of the kernel");
    assert_eq!(proxy.restart().writes, 0);
    talk.goes_on("and so is the process");
    talk.break_off();
    outer.break_off();
    until(&mut proxy, "nothing is left", |proxy| {
        listed(lab).is_empty() && proxy.datapath.observe().unwrap() == Observed::default()
    });
    let link = run(lab, "ip", &["-o", "address", "show", "dev", "kube-ipvs0"]);
    assert!(!link.contains("10.96.0.9"), "{link}");
}

fn udp_clients_go_to_another_pod_at_once(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.0.2"]));
    let socket =
        lab.at(ip("10.244.0.3")).run(|| std::net::UdpSocket::bind("10.244.0.3:19999").unwrap());
    let ask = || server(ask_udp(&socket, to("10.96.0.9:80")));
    assert_eq!(ask(), ip("10.244.0.2"));
    let (_, changes) = proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2"]))]);
    let mut sweeper = crate::proxy::conntrack::Sweeper::default();
    sweeper.note(&changes, []);
    let (snapshot, desired) = (&proxy.snapshot, &proxy.desired);
    // What the kernel has not forgotten by itself.
    lab.node.run(|| sweep(&mut sweeper, snapshot, desired).unwrap());
    assert_eq!(ask(), ip("10.244.1.2"));
}

/// A load-balancer Service of external policy Local, with a pod here and one elsewhere.
fn local() -> [Event; 2] {
    let mut service = blue();
    service.service_type = ServiceType::LoadBalancer;
    service.external_traffic_policy = TrafficPolicy::Local;
    service.external_ips = vec![];
    service.load_balancer =
        vec![LoadBalancerIngress { ip: [203, 0, 113, 1].into(), ip_mode: IpMode::Vip }];
    [Event::Service(service), Event::EndpointSlice(slice(&["10.244.0.2", "10.244.1.2"]))]
}

fn inside_and_outside_go_different_ways(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), local());
    assert_eq!(proxy.differences(), [""; 0]);
    let seen = |from: IpAddr, at: &str| -> BTreeSet<String> {
        let dial = || match lab.dial(from, Protocol::Tcp, to(at)) {
            Heard::Answer { server, peer } => format!("{} saw {peer}", server.ip()),
            other => format!("{other:?}"),
        };
        (0..8).map(|_| dial()).collect()
    };
    let all = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    for at in ["203.0.113.1:80", "172.30.0.2:30002"] {
        let outside = seen(OUTSIDE.into(), at);
        assert_eq!(outside, all(&["10.244.0.2 saw 198.51.100.7"]), "{at}");
        let inside = seen(ip("10.244.0.3"), at);
        let both = all(&["10.244.0.2 saw 10.244.0.3", "10.244.1.2 saw 10.244.0.3"]);
        assert_eq!(inside, both, "{at}");
        let node = seen(NODE.into(), at);
        assert_eq!(node, all(&["10.244.0.2 saw 172.30.0.2", "10.244.1.2 saw 172.30.0.2"]), "{at}");
    }
    let marks = |lab: &Lab| listed(lab).iter().filter(|line| line.starts_with("FWM")).count();
    assert_eq!(marks(lab), 2, "TCP and UDP");
    assert_eq!(proxy.restart().writes, 0, "adopted as it is");
}

fn a_mark_goes_with_its_last_connection(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), local());
    let marks = |lab: &Lab| listed(lab).iter().filter(|line| line.starts_with("FWM")).count();
    assert_eq!(marks(lab), 2, "TCP and UDP");
    // A connection of theirs goes on when the policy does not.
    let (mut talk, _) = Talk::start(lab, ip("10.244.0.3"), "203.0.113.1:80");
    let mut everywhere = local();
    if let Event::Service(service) = &mut everywhere[0] {
        service.external_traffic_policy = TrafficPolicy::Cluster;
    }
    proxy.hear(everywhere);
    proxy.datapath.tend().unwrap();
    assert_eq!(proxy.differences(), [""; 0]);
    talk.goes_on("by another rule");
    talk.break_off();
    until(&mut proxy, "the marks are gone", |_| marks(lab) == 0);
}

fn clients_inside_are_kept_too(lab: &Lab) {
    let mut events = local();
    if let Event::Service(service) = &mut events[0] {
        service.affinity_seconds = Some(60);
    }
    let mut proxy = Proxy::start_with(lab, view(), events);
    assert_eq!(proxy.differences(), [""; 0]);
    for from in ["10.244.0.3", "10.244.0.4"] {
        for at in ["203.0.113.1:80", "10.96.0.9:80"] {
            let dial = || server(lab.dial(ip(from), Protocol::Tcp, to(at)));
            let first = dial();
            (0..8).for_each(|_| assert_eq!(dial(), first, "{from} {at}"));
        }
    }
}

fn a_service_address_exposes_nothing_of_the_node(lab: &Lab) {
    let _proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let listener = lab.node.run(|| TcpListener::bind("0.0.0.0:81").unwrap());
    listener.set_nonblocking(true).unwrap();
    for from in [ip("10.244.0.2"), OUTSIDE.into(), NODE.into()] {
        for at in ["10.96.0.9:81", "192.0.2.10:81"] {
            let stream = lab.at(from).run(|| connect(from, to(at)));
            let error = stream.expect_err("nobody serves this port");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{from} {at}");
        }
    }
    assert!(listener.accept().is_err(), "a service of the node was reached");
    let stream = lab.at(OUTSIDE.into()).run(|| connect(OUTSIDE.into(), to("172.30.0.2:81")));
    assert!(stream.is_ok(), "at its own address the node serves what it likes");
}

/// The kernel takes a Service's address for the sender's, as the node has that address.
fn the_node_is_seen_as_itself(lab: &Lab) {
    let _proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    for at in ["10.96.0.9:80", "192.0.2.10:80"] {
        let stream = lab.node.run(|| TcpStream::connect(at).unwrap());
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "10.244.1.2:8080 172.30.0.2", "{at}");
    }
}

fn others_virtual_servers_are_left_alone(lab: &Lab) {
    let server =
        |key| VirtualServer { key, scheduler: "wlc".to_owned(), persistent: false, timeout: 0 };
    let theirs =
        [tcp("172.30.0.2:9999"), tcp("10.96.7.7:5"), ServerKey::Mark { mark: 5, ipv6: false }];
    let mut ipvs = ipvs(lab);
    let make = |ipvs: &mut kernel::Ipvs, keys: &[ServerKey]| {
        let mut edit = ipvs.edit();
        for key in keys {
            edit.push(Step::Create(server(*key)));
            edit.push(Step::Add(*key, to("10.244.2.2:8080"), 3));
        }
        edit.commit().unwrap();
    };
    make(&mut ipvs, &theirs);
    let settings =
        Settings { exclude: vec!["10.96.7.0/24".parse().unwrap()], ..Settings::default() };
    let datapath: Box<dyn Datapath> = lab.node.run(|| Box::new(Ipvs::open(&settings).unwrap()));
    let mut proxy = Proxy::start_on(lab, datapath, view(), with_pods(&["10.244.1.2"]));
    // One of theirs even lies on our link; its network is excluded.
    run(lab, "ip", &["address", "add", "10.96.7.7/32", "dev", "kube-ipvs0"]);
    run(lab, "ip", &["address", "add", "10.96.8.8/32", "dev", "kube-ipvs0"]);
    make(&mut ipvs, &[tcp("10.96.8.8:5")]);
    proxy.everything();
    proxy.datapath.tend().unwrap();
    let alive = |ipvs: &mut kernel::Ipvs, key: &ServerKey| {
        ipvs.reals(key).unwrap().iter().any(|real| real.weight == 3)
    };
    assert!(theirs.iter().all(|key| alive(&mut ipvs, key)), "{:?}", listed(lab));
    assert!(!alive(&mut ipvs, &tcp("10.96.8.8:5")), "what lies on our link is ours");
    let datapath = &mut proxy.datapath;
    lab.node.run(|| datapath.remove().unwrap());
    let left = ipvs.servers().unwrap();
    assert_eq!(left.len(), theirs.len(), "{left:?}");
    let conntrack = lab.node.run(|| sysctl::get("net.ipv4.vs.conntrack").unwrap());
    assert_eq!(conntrack, "1", "they may need it");
}

fn meddling_with_virtual_servers_is_noticed_and_mended(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2", "10.244.1.3"]));
    let works = || lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("10.96.0.9:80"));
    let meddlers: [(&str, &[&str]); 9] = [
        ("ipvsadm", &["-D", "-t", "10.96.0.9:80"]),
        ("ipvsadm", &["-d", "-t", "10.96.0.9:80", "-r", "10.244.1.2:8080"]),
        ("ipvsadm", &["-e", "-t", "10.96.0.9:80", "-r", "10.244.1.2:8080", "-m", "-w", "9"]),
        ("ipvsadm", &["-e", "-t", "10.96.0.9:80", "-r", "10.244.1.2:8080", "-m", "-w", "0"]),
        ("ipvsadm", &["-E", "-t", "10.96.0.9:80", "-s", "wlc"]),
        ("ipvsadm", &["-A", "-t", "10.96.0.9:7", "-s", "rr"]),
        ("ipvsadm", &["-C"]),
        ("ip", &["address", "del", "10.96.0.9/32", "dev", "kube-ipvs0"]),
        ("nft", &["flush", "ruleset"]),
    ];
    for (program, arguments) in meddlers {
        assert!(!proxy.datapath.may_have_drifted(), "before {arguments:?}");
        run(lab, program, arguments);
        assert!(proxy.datapath.may_have_drifted(), "after {arguments:?}");
        assert!(proxy.everything().mended > 0, "{arguments:?}");
        assert!(matches!(works(), Heard::Answer { .. }), "after {arguments:?}");
        assert_eq!(proxy.differences(), [""; 0], "after {arguments:?}");
        assert!(!proxy.datapath.may_have_drifted(), "mended {arguments:?}");
        assert_eq!(proxy.everything().mended, 0, "{arguments:?}");
    }
    run(lab, "ip", &["link", "del", "kube-ipvs0"]);
    assert!(proxy.datapath.may_have_drifted());
    proxy.everything();
    assert!(matches!(works(), Heard::Answer { .. }), "a new link");
    run(
        lab,
        "nft",
        &["delete", "element", "ip", "portolan_ipvs", "frontends", "{ 10.96.0.9 . tcp . 80 }"],
    );
    // Changes of our own do not hide it.
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2"]))]);
    proxy.hear([Event::EndpointSlice(slice(&["10.244.1.2", "10.244.1.3"]))]);
    assert!(proxy.datapath.may_have_drifted() && proxy.everything().mended == 1);
    run(lab, "nft", &["add", "table", "ip", "somebody_elses"]);
    assert!(!proxy.datapath.may_have_drifted());
    // A new address of the node serves node ports.
    run(lab, "ip", &["address", "add", "172.30.0.99/24", "dev", "others"]);
    assert!(proxy.datapath.may_have_drifted());
    proxy.everything();
    let heard = lab.dial(ip("10.244.0.2"), Protocol::Tcp, to("172.30.0.99:30002"));
    assert!(matches!(heard, Heard::Answer { .. }), "{heard:?}");
    assert_eq!(proxy.differences(), [""; 0]);
}

fn what_kube_proxy_left_is_taken_over(lab: &Lab) {
    run(lab, "ip", &["link", "add", "kube-ipvs0", "type", "dummy"]);
    for address in ["10.96.0.9/32", "10.96.0.200/32"] {
        run(lab, "ip", &["address", "add", address, "dev", "kube-ipvs0"]);
    }
    let stale = "10.96.0.200:80";
    for at in ["10.96.0.9:80", stale] {
        run(lab, "ipvsadm", &["-A", "-t", at, "-s", "rr"]);
        run(lab, "ipvsadm", &["-a", "-t", at, "-r", "10.244.1.2:8080", "-m"]);
    }
    let (mut talk, _) = Talk::start(lab, NODE.into(), "10.96.0.9:80");
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    talk.goes_on("another proxy");
    assert_eq!(proxy.differences(), [""; 0]);
    proxy.datapath.tend().unwrap();
    let left = listed(lab);
    assert!(!left.iter().any(|line| line.contains(stale)), "{left:?}");
    let link = run(lab, "ip", &["-o", "address", "show", "dev", "kube-ipvs0"]);
    assert!(link.contains("10.96.0.9/32") && !link.contains("10.96.0.200"), "{link}");
}

fn cleanup_leaves_no_trace(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), local());
    assert!(!listed(lab).is_empty());
    let (datapath, node) = (&mut proxy.datapath, &lab.node);
    node.run(|| datapath.remove().unwrap());
    assert_eq!(listed(lab), [""; 0]);
    assert_eq!(run(lab, "nft", &["list", "ruleset"]), "");
    let rtnl = node.run(|| Rtnl::open().unwrap());
    assert_eq!(rtnl.link("kube-ipvs0").unwrap(), None);
    for name in ["conntrack", "expire_nodest_conn", "expire_quiescent_template"] {
        let value = node.run(|| sysctl::get(&format!("net.ipv4.vs.{name}")).unwrap());
        assert_eq!(value, "0", "{name}");
    }
    node.run(|| datapath.remove().unwrap());
    node.run(|| Ipvs::clear().unwrap());
}

fn settings_reach_the_kernel(lab: &Lab) {
    let settings = Settings {
        strict_arp: true,
        tcp_timeout: Duration::from_secs(300),
        udp_timeout: Duration::from_secs(30),
        ..Settings::default()
    };
    let datapath: Box<dyn Datapath> = lab.node.run(|| Box::new(Ipvs::open(&settings).unwrap()));
    let _proxy = Proxy::start_on(lab, datapath, view(), with_pods(&["10.244.1.2"]));
    let timeouts = run(lab, "ipvsadm", &["-L", "--timeout"]);
    assert!(timeouts.contains("300 120 30"), "{timeouts}");
    for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
        let name = format!("net.ipv4.conf.all.{name}");
        assert_eq!(lab.node.run(|| sysctl::get(&name).unwrap()), value);
    }
}

/// What one Service costs does not depend on the others.
fn a_small_change_is_few_writes(lab: &Lab) {
    let mut proxy = Proxy::start_with(lab, view(), with_pods(&["10.244.1.2"]));
    let many: Vec<Event> = (0..150_u8)
        .map(|number| {
            let mut service = blue();
            service.name = ObjectName::new("default", format!("other-{number}"));
            service.cluster_ips = vec![[10, 96, 1, number].into()];
            service.external_ips = vec![];
            service.service_type = ServiceType::ClusterIP;
            Event::Service(service)
        })
        .collect();
    let few = proxy.hear([Event::EndpointSlice(slice(&["10.244.1.3"]))]).0.writes;
    assert!(proxy.hear(many).0.writes > 150);
    let again = proxy.hear([Event::EndpointSlice(slice(&["10.244.2.2"]))]).0.writes;
    // Five addresses; TCP changes a weight and adds a server, UDP takes one and adds one.
    assert_eq!((few, again), (20, 20));
    assert_eq!(proxy.differences(), [""; 0]);
}

/// Where the kernel has no dummy links, routes take their place. The virtual machine runs this
/// one before it loads that module.
#[test]
fn without_dummy_links_routes_carry_the_addresses() {
    let Some(lab) = Lab::of("ipvs") else { return };
    let rtnl = lab.node.run(|| Rtnl::open().unwrap());
    if rtnl.add_dummy("probe").is_ok() {
        eprintln!("skipped: this kernel has dummy links");
        return;
    }
    let mut proxy = Proxy::start_with(&lab, view(), with_pods(&["10.244.1.2"]));
    let ask = |at: &str| lab.dial(ip("10.244.0.2"), Protocol::Tcp, to(at));
    assert_eq!(server(ask("10.96.0.9:80")), ip("10.244.1.2"));
    assert_eq!(ask("10.96.0.9:81"), Heard::Refused);
    assert_eq!(proxy.differences(), [""; 0]);
    assert_eq!(proxy.restart().writes, 0);
    assert!(!proxy.datapath.may_have_drifted());
    let routes = || run(&lab, "ip", &["route", "show", "table", "local", "proto", "108"]);
    assert!(routes().contains("10.96.0.9"), "{}", routes());
    let datapath = &mut proxy.datapath;
    lab.node.run(|| datapath.remove().unwrap());
    assert_eq!(routes(), "");
    eprintln!("carried by routes");
}
