//! What happens to packets, for every family that a lab has.

use std::net::{IpAddr, SocketAddr};

use portolan_tests::eventually;
use portolan_tests::manifest::pod;
use portolan_tests::probe::{Background, DnsAnswer};
use portolan_tests::wait::check;
use serde_json::{Value, json};

use crate::differences::Difference;
use crate::ground::{Family, Ground, PORTS};

/// Nodes, pods and Services have addresses of the lab's families, and of no other.
pub(crate) fn the_lab_speaks_its_families(ground: &Ground<'_>) {
    ground.pair("");
    let families = |addresses: &str| -> Vec<Family> {
        let of = |ip: IpAddr| if ip.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        addresses.split_whitespace().filter_map(|word| word.parse().ok()).map(of).collect()
    };
    let read = |kind: &str, name: &str, path: &str| {
        let path = format!("jsonpath={{{path}}}");
        families(ground.namespace.kubectl(&["get", kind, name, "-o", &path]).ok().text())
    };
    let expected = ground.families();
    for node in ground.lab().nodes() {
        let addresses = r#".status.addresses[?(@.type=="InternalIP")].address"#;
        assert_eq!(read("node", node, addresses), expected, "{node}");
    }
    assert_eq!(read("pod", "one", ".status.podIPs[*].ip"), expected);
    assert_eq!(read("service", "pair", ".spec.clusterIPs[*]"), expected);
    // kubectl reached the lab from the host to say all this; in the cluster the API has its
    // Service's address.
    let api = ground
        .lab()
        .kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"])
        .ok();
    let api: IpAddr = api.text().parse().expect("an address");
    assert!(expected[0].has(&api));
    let url = format!("https://{}/readyz", SocketAddr::new(api, 443));
    let place = ground.namespace.pod("one");
    let ready = ground.lab().exec(&place, &["curl", "-skS", "--globoff", "--max-time", "5", &url]);
    // Whether anonymous clients are told is not asked here; that they are answered is.
    assert!(ready.succeeded(), "{ready}");
}

/// The cluster's DNS is at the tenth address of each range, and answers with the lab's families.
pub(crate) fn names_have_the_labs_addresses(ground: &Ground<'_>) {
    ground.pair("");
    let name = ground.namespace.dns("pair");
    for family in ground.families() {
        let tenth = family.pick("10.96.0.10", "fd00:10:96::a");
        let server = SocketAddr::new(tenth.parse().expect("an address"), 53).to_string();
        let probe = ground.lab().environment.probe.display().to_string();
        let place = ground.namespace.pod("two");
        let ask = |place: &str, name: &str, kind: &str| -> DnsAnswer {
            let words = [probe.as_str(), "dns", &server, name, kind];
            serde_json::from_value(ground.lab().exec(place, &words).ok().json()).expect("an answer")
        };
        for place in ["worker-1", place.as_str()] {
            for (kind, family) in [("A", Family::Ipv4), ("AAAA", Family::Ipv6)] {
                let answer = ask(place, &name, kind);
                assert_eq!(answer.rcode, "NOERROR", "{kind}: {answer:?}");
                if ground.families().contains(&family) {
                    let vip = ground.vip("pair", family, 0).ip();
                    let tail = format!(" IN {kind} {vip}");
                    assert!(answer.answer.iter().any(|one| one.ends_with(&tail)), "{answer:?}");
                } else {
                    assert!(answer.answer.is_empty(), "{answer:?}");
                }
            }
        }
        let srv = ask("worker-2", &format!("_http._tcp.{name}"), "SRV");
        // As CoreDNS shares it out: among the addresses of both families.
        let weight = 100 / ground.families().len();
        let target = format!(" IN SRV 0 {weight} 80 {name}.");
        assert!(
            srv.answer.len() == 1
                && srv.answer[0].trim_end_matches('.').ends_with(target.trim_end_matches('.')),
            "{srv:?}"
        );
        let vip = ground.vip("pair", *family, 0).ip();
        let ptr = ask("worker-2", &reverse(vip), "PTR");
        assert!(
            ptr.answer.iter().any(|one| one.trim_end_matches('.').ends_with(&name)),
            "{vip}: {ptr:?}"
        );
    }
    // By the C library's resolver, from a pod, whichever family it prefers.
    let found = ground.lab().exec(&ground.namespace.pod("one"), &["getent", "ahosts", "pair"]).ok();
    for family in ground.families() {
        let vip = ground.vip("pair", *family, 0).ip().to_string();
        assert!(found.stdout.contains(&vip), "{vip}: {found}");
    }
}

/// The name under which an address is asked for.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => {
            let mut parts: Vec<String> = ip.octets().iter().map(u8::to_string).collect();
            parts.reverse();
            format!("{}.in-addr.arpa", parts.join("."))
        }
        IpAddr::V6(ip) => {
            let text: String = ip.octets().iter().map(|octet| format!("{octet:02x}")).collect();
            let nibbles: Vec<String> = text.chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    }
}

pub(crate) fn cluster_ips_answer_inside_only(ground: &Ground<'_>) {
    ground.pair("");
    let mut inside: Vec<String> = ground.lab().nodes().map(str::to_owned).into();
    inside.extend([ground.namespace.pod("one"), ground.namespace.pod("two")]);
    for family in ground.families() {
        let vip = ground.vip("pair", *family, 80);
        let lines = ground.vip("pair", *family, 81);
        for place in &inside {
            ground.by(&ground.ask(place, vip, "/hostname", 40), &["one", "two"], place);
            ground.by(&ground.ask_udp(place, lines, "hostname", 40), &["one", "two"], place);
        }
        let unknown = [8080, 443].map(|port| SocketAddr::new(vip.ip(), port));
        for (place, port) in ["worker-1", &inside[3]].into_iter().zip(unknown) {
            if ground.differs(Difference::UnknownPorts) {
                ground.unheard(place, port);
            } else {
                ground.refused(place, port);
            }
        }
        let outside = ground.ask("outside", vip, "/hostname", 1);
        assert_eq!(outside.answered, 0, "{outside:?}");
    }
}

pub(crate) fn node_ports_answer_on_every_node(ground: &Ground<'_>) {
    ground.pair("type: NodePort, ");
    for family in ground.families() {
        for node in ground.lab().nodes() {
            let (http, lines) =
                (ground.door("pair", 0, node, *family), ground.door("pair", 1, node, *family));
            for place in ["outside", node] {
                let what = format!("{place} to {http}");
                ground.by(&ground.ask(place, http, "/hostname", 40), &["one", "two"], &what);
                ground.by(&ground.ask_udp(place, lines, "hostname", 40), &["one", "two"], &what);
            }
        }
        let door = ground.door("pair", 0, "worker-1", *family);
        let place = ground.namespace.pod("two");
        ground.by(&ground.ask(&place, door, "/hostname", 40), &["one", "two"], "a pod");
        // The kernel routes 127.0.0.0/8 when told to; there is no such thing for ::1.
        let port = door.port();
        if *family == Family::Ipv4 {
            let loopback = SocketAddr::from(([127, 0, 0, 1], port));
            if ground.differs(Difference::LoopbackNodePorts) {
                ground.refused("worker-1", loopback);
                continue;
            }
            ground.by(
                &ground.ask("worker-1", loopback, "/hostname", 40),
                &["one", "two"],
                "loopback",
            );
        }
    }
}

/// No address is hidden that need not be.
pub(crate) fn the_client_is_seen_where_it_can_be(ground: &Ground<'_>) {
    // One pod on worker-1, clients on all sides of it.
    let pods = pod("server", "seen", Some("worker-1"), "")
        + &pod("near", "other", Some("worker-1"), "")
        + &pod("far", "other", Some("worker-2"), "");
    let spec = format!("type: NodePort, selector: {{app: seen}}, {PORTS}");
    ground.namespace.apply(&(pods + &ground.service("seen", &spec))).ok();
    ground.namespace.wait_ready(&["server", "near", "far"]);
    ground.programmed("seen", 1);
    let [near, far, server] = ["near", "far", "server"].map(|pod| ground.namespace.pod(pod));
    for family in ground.families() {
        let vip = ground.vip("seen", *family, 80);
        let node = |name: &str| ground.node_ip(name, *family);
        let door = |at: &str| ground.door("seen", 0, at, *family);
        let [near_ip, far_ip] = ["near", "far"].map(|pod| ground.pod_ip(pod, *family));
        // A pod beside it, a pod of another node, another node.
        ground.sees(near_ip, "worker-1", &near, vip);
        ground.sees(far_ip, "worker-2", &far, vip);
        ground.sees(node("worker-2"), "worker-2", "worker-2", vip);
        // From outside, through the pod's own node: the answer passes there anyway.
        let hidden = ground.differs(Difference::ClientsOfLocalPods);
        let shown = |client: IpAddr| if hidden { node("worker-1") } else { client };
        ground.sees(shown(ground.outside(*family)), "worker-1", "outside", door("worker-1"));
        assert_eq!(
            ground.client("outside", door("worker-2")),
            node("worker-2"),
            "from outside, through another node"
        );
        ground.sees(shown(near_ip), "worker-1", &near, door("worker-1"));
        // What reaches itself would never see an answer from itself.
        let itself = ground.client(&server, vip);
        assert_ne!(itself, ground.pod_ip("server", *family), "a pod that dials itself");
    }
}

/// A health check's status and what it says.
fn health(ground: &Ground<'_>, at: SocketAddr) -> (String, Value) {
    let url = format!("http://{at}/");
    let words = [
        "curl",
        "-sS",
        "--globoff",
        "--max-time",
        "5",
        "-w",
        "\n%{http_code} %header{X-Load-Balancing-Endpoint-Weight}",
        &url,
    ];
    let answer = ground.lab().exec("outside", &words);
    let (body, status) = answer.stdout.trim().rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

pub(crate) fn external_policy_local_keeps_the_client(ground: &Ground<'_>) {
    let pods =
        pod("here", "local", Some("worker-1"), "") + &pod("client", "x", Some("worker-2"), "");
    let spec = format!(
        "type: LoadBalancer, externalTrafficPolicy: Local, selector: {{app: local}}, {PORTS}"
    );
    ground.namespace.apply(&(pods + &ground.service("local", &spec))).ok();
    ground.namespace.wait_ready(&["here", "client"]);
    ground.programmed("local", 1);
    let port = ground.namespace.field("service", "local", ".spec.healthCheckNodePort");
    let port: u16 = port.parse().expect("a health check port");
    for family in ground.families() {
        let door = |node: &str| ground.door("local", 0, node, *family);
        ground.sees(ground.outside(*family), "worker-1", "outside", door("worker-1"));
        ground.silent("outside", door("worker-2"));
        ground.silent("outside", door("control-plane"));
        // Inside the cluster the node port leads to any endpoint: from the node itself and from
        // its pods. Another node comes from outside, to this one.
        for place in ["worker-2", &ground.namespace.pod("client")] {
            ground.by(&ground.ask(place, door("worker-2"), "/hostname", 5), &["here"], place);
        }
        let check_at = |node: &str| SocketAddr::new(ground.node_ip(node, *family), port);
        let (status, body) = health(ground, check_at("worker-1"));
        assert_eq!(status, "200 1", "{body}");
        assert_eq!(
            body,
            json!({"service": {"namespace": ground.namespace.name, "name": "local"}, "localEndpoints": 1, "serviceProxyHealthy": true})
        );
        let (status, body) = health(ground, check_at("worker-2"));
        assert_eq!((status.as_str(), &body["localEndpoints"]), ("503 0", &json!(0)));
    }
    // The pod goes: its node drops out as well.
    ground.namespace.kubectl(&["delete", "pod", "here"]).ok();
    for family in ground.families() {
        let at = SocketAddr::new(ground.node_ip("worker-1", *family), port);
        eventually("the health check fails", || {
            let seen = health(ground, at);
            check(seen.0 == "503 0", &seen)
        });
        // With no endpoint anywhere there is nobody to wait for.
        ground.refused("outside", ground.door("local", 0, "worker-1", *family));
    }
}

pub(crate) fn internal_policy_local_stays_on_the_node(ground: &Ground<'_>) {
    ground.pair("internalTrafficPolicy: Cluster, ");
    ground
        .namespace
        .kubectl(&[
            "patch",
            "service",
            "pair",
            "-p",
            r#"{"spec":{"internalTrafficPolicy":"Local"}}"#,
        ])
        .ok();
    for family in ground.families() {
        let vip = ground.vip("pair", *family, 80);
        ground.silent("control-plane", vip);
        for (place, pod) in [
            ("worker-1".to_owned(), "one"),
            ("worker-2".to_owned(), "two"),
            (ground.namespace.pod("one"), "one"),
        ] {
            eventually(&format!("only {pod} answers {place}"), || {
                let seen = ground.ask(&place, vip, "/hostname", 10);
                check(seen.failed == 0 && seen.bodies.keys().eq([pod]), &seen)
            });
            ground.by(&ground.ask(&place, vip, "/hostname", 20), &[pod], &place);
        }
    }
}

pub(crate) fn clients_keep_their_pod(ground: &Ground<'_>) {
    ground.pair("type: NodePort, ");
    let patch = r#"{"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":600}}}}"#;
    ground.namespace.kubectl(&["patch", "service", "pair", "-p", patch]).ok();
    for family in ground.families() {
        let vip = ground.vip("pair", *family, 80);
        let door = ground.door("pair", 0, "control-plane", *family);
        for (place, to) in [
            ("worker-1".to_owned(), vip),
            ("control-plane".to_owned(), vip),
            (ground.namespace.pod("one"), vip),
            ("outside".to_owned(), door),
        ] {
            // Forty requests to one of two pods by chance: once in 10^12.
            eventually(&format!("{place} keeps its pod"), || {
                let seen = ground.ask(&place, to, "/hostname", 40);
                check(seen.failed == 0 && seen.bodies.len() == 1, &seen)
            });
            let first = ground.ask(&place, to, "/hostname", 1).bodies;
            let again = ground.ask(&place, to, "/hostname", 20).bodies;
            assert!(again.keys().eq(first.keys()), "{place}: {first:?}, then {again:?}");
        }
        // At every address of a port a client is the same client.
        let inside = ground.ask("control-plane", vip, "/hostname", 1).bodies;
        let through = ground.ask("control-plane", door, "/hostname", 20).bodies;
        assert!(inside.keys().eq(through.keys()), "{inside:?}, through the node port {through:?}");
    }
}

pub(crate) fn external_addresses_are_served_and_guarded(ground: &Ground<'_>) {
    let external: Vec<&str> = ground
        .families()
        .iter()
        .map(|family| family.pick("192.0.2.77", "2001:db8:77::1"))
        .collect();
    ground.pair(&format!("type: LoadBalancer, externalIPs: [{}], ", quoted(&external)));
    let balanced: Vec<&str> = ground
        .families()
        .iter()
        .map(|family| family.pick("203.0.113.77", "2001:db8:78::1"))
        .collect();
    let write = |mode: &str| {
        let ingress: Vec<_> = balanced.iter().map(|ip| json!({"ip": ip, "ipMode": mode})).collect();
        let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
        let words =
            ["patch", "service", "pair", "--subresource=status", "--type=merge", "-p", &patch];
        ground.namespace.kubectl(&words).ok();
    };
    write("VIP");
    let table = ground.namespace.kubectl(&["get", "service", "pair", "--no-headers"]).ok();
    for address in &balanced {
        let cell = table.text().split_whitespace().nth(3).unwrap_or_default();
        assert!(cell.split(',').any(|one| one == *address), "{table}");
    }
    let routed = |address: &str, family: Family| {
        let node = ground.node_ip("worker-2", family).to_string();
        let bits = family.pick("32", "128");
        let route = format!("{address}/{bits}");
        let ip = family.pick("-4", "-6");
        ground.lab().exec("outside", &["ip", ip, "route", "replace", &route, "via", &node]).ok();
        SocketAddr::new(address.parse().expect("an address"), 80)
    };
    for (index, family) in ground.families().iter().enumerate() {
        for address in [external[index], balanced[index]] {
            let at = routed(address, *family);
            for place in ["outside", "worker-1", &ground.namespace.pod("one")] {
                ground.answered(place, at);
                ground.by(&ground.ask(place, at, "/hostname", 40), &["one", "two"], place);
            }
        }
    }
    // Only some networks may use the load balancer's address; the others are not concerned.
    let nowhere: Vec<&str> = ground
        .families()
        .iter()
        .map(|family| family.pick("198.51.100.0/24", "2001:db8:99::/64"))
        .collect();
    let ranges = |nets: &[String]| {
        let patch = json!({"spec": {"loadBalancerSourceRanges": nets}}).to_string();
        ground.namespace.kubectl(&["patch", "service", "pair", "--type=merge", "-p", &patch]).ok();
    };
    ranges(&nowhere.iter().map(|net| (*net).to_owned()).collect::<Vec<_>>());
    for (index, family) in ground.families().iter().enumerate() {
        let port = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 80);
        ground.silent("outside", port(balanced[index]));
        ground.answered("outside", port(external[index]));
        ground.answered("outside", ground.door("pair", 0, "worker-1", *family));
        ground.answered("worker-1", ground.vip("pair", *family, 80));
    }
    let mine: Vec<String> = ground
        .families()
        .iter()
        .map(|family| format!("{}/{}", ground.outside(*family), family.pick(32, 128)))
        .collect();
    ranges(&mine);
    for address in &balanced {
        let at = SocketAddr::new(address.parse().expect("an address"), 80);
        ground.answered("outside", at);
        ground.silent("worker-1", at);
    }
    // A load balancer that is a proxy wants its address for itself, from inside as well.
    write("Proxy");
    ranges(&[]);
    for address in &balanced {
        let at = SocketAddr::new(address.parse().expect("an address"), 80);
        eventually(&format!("the nodes leave {address} to the load balancer"), || {
            let seen = ground.ask("worker-1", at, "/hostname", 1);
            check(seen.answered == 0, &seen)
        });
    }
    for (index, family) in ground.families().iter().enumerate() {
        for address in [external[index], balanced[index]] {
            let (ip, bits) = (family.pick("-4", "-6"), family.pick("32", "128"));
            let route = format!("{address}/{bits}");
            ground.lab().exec("outside", &["ip", ip, "route", "del", &route]).ok();
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

/// A Service that asks for a pod's address does not get that pod's traffic, and is told so; one
/// that asks for a node's own address gets what it asks for.
pub(crate) fn the_clusters_own_addresses_are_nobodys(ground: &Ground<'_>) {
    let pods = pod("victim", "victim", Some("worker-1"), "")
        + &pod("thief", "thief", Some("worker-2"), "");
    ground.namespace.apply(&pods).ok();
    ground.namespace.wait_ready(&["victim", "thief"]);
    let addresses = |address: &dyn Fn(Family) -> IpAddr| {
        let all: Vec<String> =
            ground.families().iter().map(|family| address(*family).to_string()).collect();
        quoted(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let theirs = addresses(&|family| ground.pod_ip("victim", family));
    let steal = format!(
        "externalIPs: [{theirs}], selector: {{app: thief}}, ports: [{{port: 8080, targetPort: http}}]"
    );
    let usual = format!(
        "externalIPs: [{}], selector: {{app: thief}}, ports: [{{port: 8088, targetPort: http}}]",
        addresses(&|family| ground.node_ip("worker-1", family)),
    );
    let manifest = ground.service("thief", &steal) + &ground.service("usual", &usual);
    ground.namespace.apply(&manifest).ok();
    for family in ground.families() {
        let own = SocketAddr::new(ground.node_ip("worker-1", *family), 8088);
        for place in ["outside", "worker-1", "worker-2", &ground.namespace.pod("victim")] {
            ground.answered(place, own);
            ground.by(&ground.ask(place, own, "/hostname", 5), &["thief"], place);
        }
        // The Service itself works by now; its stolen address does not.
        let vip = SocketAddr::new(ground.vip("thief", *family, 8080).ip(), 8080);
        ground.answered("worker-2", vip);
        let victim = SocketAddr::new(ground.pod_ip("victim", *family), 8080);
        if ground.differs(Difference::ClusterAddresses) {
            ground.by(&ground.ask("worker-1", victim, "/hostname", 5), &["thief"], "worker-1");
            continue;
        }
        for place in ["worker-1", "worker-2", "control-plane", &ground.namespace.pod("thief")] {
            ground.by(&ground.ask(place, victim, "/hostname", 5), &["victim"], place);
        }
    }
    if ground.differs(Difference::ClusterAddresses) {
        return;
    }
    eventually("kubectl describe tells why", || {
        let described = ground.namespace.kubectl(&["describe", "service", "thief"]);
        let told = described.stdout.contains("AddressNotServed")
            && described.stdout.contains("the range of the pods' addresses");
        check(told, &described.to_string())
    });
    let events = ["get", "events", "--field-selector=reason=AddressNotServed", "-o", "name"];
    let events = ground.namespace.kubectl(&events).ok();
    assert_eq!(
        events.lines().len(),
        ground.families().len(),
        "one for each address, however many nodes there are: {events}"
    );
}

pub(crate) fn nobody_home_refuses_at_once(ground: &Ground<'_>) {
    let external: Vec<&str> = ground
        .families()
        .iter()
        .map(|family| family.pick("192.0.2.78", "2001:db8:77::2"))
        .collect();
    let spec = format!(
        "type: NodePort, externalIPs: [{}], selector: {{app: nobody}}, {PORTS}",
        quoted(&external)
    );
    ground
        .namespace
        .apply(&(pod("client", "x", Some("worker-1"), "") + &ground.service("empty", &spec)))
        .ok();
    ground.namespace.wait_ready(&["client"]);
    let client = ground.namespace.pod("client");
    for (index, family) in ground.families().iter().enumerate() {
        let vip = ground.vip("empty", *family, 80);
        let door = ground.door("empty", 0, "worker-2", *family);
        let address = SocketAddr::new(external[index].parse().expect("an address"), 80);
        for place in ["control-plane", "worker-1", &client] {
            ground.refused(place, vip);
            if place != client && ground.differs(Difference::NodesAtExternalAddresses) {
                ground.unheard(place, address);
            } else {
                ground.refused(place, address);
            }
        }
        ground.refused("outside", door);
        let lines = ground.ask_udp(&client, ground.vip("empty", *family, 81), "hostname", 1);
        assert!(lines.failures.iter().any(|why| why.contains("refused")), "{lines:?}");
    }
}

/// KEP-1669: rather a pod that is going than none at all.
pub(crate) fn the_last_pod_serves_until_it_is_gone(ground: &Ground<'_>) {
    let patient = pod(
        "last",
        "last",
        Some("worker-1"),
        "lifecycle: {preStop: {exec: {command: [sleep, '25']}}}",
    )
    .replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 40");
    let spec =
        format!("type: NodePort, externalTrafficPolicy: Local, selector: {{app: last}}, {PORTS}");
    ground.namespace.apply(&(patient + &ground.service("last", &spec))).ok();
    ground.namespace.wait_ready(&["last"]);
    ground.programmed("last", 1);
    ground.namespace.kubectl(&["delete", "pod", "last", "--wait=false"]).ok();
    eventually("the slices say that it terminates", || {
        let slices = ground.namespace.kubectl(&["get", "endpointslices", "-o", "json"]).ok().json();
        let all = slices["items"].as_array().cloned().unwrap_or_default();
        let conditions: Vec<_> =
            all.iter().map(|slice| slice["endpoints"][0]["conditions"].clone()).collect();
        let going = |one: &Value| {
            one["ready"] == false && one["serving"] == true && one["terminating"] == true
        };
        check(!conditions.is_empty() && conditions.iter().all(going), &conditions)
    });
    for family in ground.families() {
        for (place, to) in [
            ("worker-2", ground.vip("last", *family, 80)),
            ("outside", ground.door("last", 0, "worker-1", *family)),
        ] {
            ground.by(&ground.ask(place, to, "/hostname", 10), &["last"], place);
        }
    }
    // And a ready one takes over at once.
    ground.namespace.apply(&pod("next", "last", Some("worker-2"), "")).ok();
    ground.namespace.wait_ready(&["next"]);
    for family in ground.families() {
        let vip = ground.vip("last", *family, 80);
        eventually("only the ready pod answers", || {
            let seen = ground.ask("worker-1", vip, "/hostname", 10);
            check(seen.failed == 0 && seen.bodies.keys().eq(["next"]), &seen)
        });
    }
}

pub(crate) fn pods_that_are_not_ready_are_used_when_asked_for(ground: &Ground<'_>) {
    let spec = |publish: bool| {
        format!("publishNotReadyAddresses: {publish}, selector: {{app: sick}}, {PORTS}")
    };
    let manifest =
        pod("sick", "sick", Some("worker-1"), "") + &ground.service("sick", &spec(false));
    ground.namespace.apply(&manifest).ok();
    ground.namespace.wait_ready(&["sick"]);
    ground.programmed("sick", 1);
    let inside = ground.namespace.pod("sick");
    ground.lab().exec(&inside, &["curl", "-sS", "http://localhost:8080/healthz?fail=1"]).ok();
    for family in ground.families() {
        ground.refused("worker-2", ground.vip("sick", *family, 80));
    }
    ground.namespace.apply(&ground.service("sick", &spec(true))).ok();
    for family in ground.families() {
        ground.answered("worker-2", ground.vip("sick", *family, 80));
    }
}

/// A UDP client that never closes its socket is not left talking to a pod that is gone.
pub(crate) fn udp_clients_follow_their_service(ground: &Ground<'_>) {
    let spec = format!("type: NodePort, selector: {{app: flow}}, {PORTS}");
    ground
        .namespace
        .apply(&(pod("first", "flow", Some("worker-1"), "") + &ground.service("flow", &spec)))
        .ok();
    ground.namespace.wait_ready(&["first"]);
    ground.programmed("flow", 1);
    let mut flows = Vec::new();
    for family in ground.families() {
        for (place, to) in [
            ("control-plane", ground.vip("flow", *family, 81)),
            ("outside", ground.door("flow", 1, "worker-2", *family)),
        ] {
            let words = ["udp", &to.to_string(), "--one-socket", "--timeout-ms", "300"];
            flows
                .push((format!("{place} to {to}"), Background::start(ground.lab(), place, &words)));
        }
    }
    ground.namespace.apply(&pod("second", "flow", Some("worker-2"), "")).ok();
    ground.namespace.wait_ready(&["second"]);
    ground.programmed("flow", 2);
    ground.namespace.kubectl(&["delete", "pod", "first"]).ok();
    ground.programmed("flow", 1);
    // Time for a few more lines, whatever the machine is doing.
    for family in ground.families() {
        ground.by(
            &ground.ask("worker-1", ground.vip("flow", *family, 80), "/hostname", 50),
            &["second"],
            "after",
        );
    }
    for (what, flow) in flows {
        let seen = flow.stop();
        assert!(seen.bodies.get("second").is_some_and(|count| *count > 0), "{what}: {seen:?}");
    }
}

pub(crate) fn other_proxies_services_are_left_alone(ground: &Ground<'_>) {
    ground.pair("");
    let label = |value: &str| {
        let label = format!("service.kubernetes.io/service-proxy-name{value}");
        ground.namespace.kubectl(&["label", "service", "pair", &label]).ok();
    };
    label("=somebody-else");
    for family in ground.families() {
        let vip = ground.vip("pair", *family, 80);
        eventually("nobody answers any more", || {
            let seen = ground.ask("worker-1", vip, "/hostname", 1);
            check(seen.answered == 0, &seen)
        });
    }
    label("-");
    ground.programmed("pair", 2);
}
