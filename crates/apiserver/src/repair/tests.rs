//! The plan: each finding by example, and that one plan mends everything.

use proptest::prelude::*;

use super::plan::*;
use crate::resource::ClaimKey;
use crate::store::Expect;

fn holder(key: &str, addresses: &[&str], ports: &[u16]) -> Holder {
    Holder {
        key: key.to_owned(),
        uid: format!("uid of {key}"),
        revision: 7,
        addresses: addresses.iter().map(|&text| text.to_owned()).collect(),
        ports: ports.to_vec(),
    }
}

fn address(ip: &str, service: &str) -> Address {
    Address {
        ip: ip.parse().unwrap(),
        uid: String::new(),
        revision: 9,
        managed: true,
        labelled: true,
        service: service.to_owned(),
        parent: service.to_owned(),
        age_seconds: 100,
    }
}

fn in_range(ip: std::net::IpAddr) -> bool {
    ip.to_string().starts_with("10.0.0.") || ip.to_string().starts_with("fd00:")
}

fn steps(view: &View) -> Vec<Step> {
    plan(view, &in_range, &(30000..=30010))
}

/// What is said, and what is done to which key.
fn told(view: &View) -> Vec<(String, Option<ClaimKey>)> {
    let text = |step: &Step| match &step.finding {
        Some(finding) => format!("{}: {}", finding.reason, finding.message),
        None => String::new(),
    };
    let key = |mend: Mend| match mend {
        Mend::Claim { key, .. } | Mend::Release { key, .. } => key,
    };
    steps(view).into_iter().map(|step| (text(&step), step.mend.map(key))).collect()
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    let view = View {
        holders: vec![holder("a/x", &["10.0.0.1", "fd00::1"], &[30001]), holder("a/y", &[], &[])],
        addresses: vec![
            address("10.0.0.1", "a/x"),
            address("fd00::1", "a/x"),
            // Somebody else's.
            Address { managed: false, labelled: false, ..address("10.0.0.9", "") },
        ],
        ports: Some(vec![(30001, 3, "a/x".into())]),
    };
    assert_eq!(steps(&view), []);
}

#[test]
fn what_is_wrong_with_addresses_is_said_in_kubernetes_words() {
    let ip = |text: &str| Some(ClaimKey::ClusterIp(text.parse().unwrap()));
    let cases = [
        (
            holder("a/x", &["ten"], &[]),
            vec![],
            vec![(
                "ClusterIPNotValid: Cluster IP ten is not a valid IP; please recreate Service",
                None,
            )],
        ),
        (
            holder("a/x", &["192.0.2.1"], &[]),
            vec![address("192.0.2.1", "a/x")],
            vec![(
                "ClusterIPOutOfRange: Cluster IP [IPv4]: 192.0.2.1 is not within any configured Service CIDR; please recreate service",
                None,
            )],
        ),
        (
            holder("a/x", &["fd00::1"], &[]),
            vec![],
            vec![(
                "ClusterIPNotAllocated: Cluster IP [IPv6]: fd00::1 is not allocated; repairing",
                ip("fd00::1"),
            )],
        ),
        (
            holder("a/x", &["10.0.0.1"], &[]),
            vec![address("10.0.0.1", "a/other")],
            vec![(
                "ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.0.0.1 for Service a/x has a wrong reference; repairing",
                ip("10.0.0.1"),
            )],
        ),
        (
            holder("a/x", &["10.0.0.1"], &[]),
            vec![Address { managed: false, labelled: false, ..address("10.0.0.1", "") }],
            vec![(
                "ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.0.0.1 for Service a/x has a wrong reference; repairing",
                ip("10.0.0.1"),
            )],
        ),
        (
            holder("a/x", &["10.0.0.1"], &[]),
            vec![Address { labelled: false, ..address("10.0.0.1", "a/x") }],
            vec![("", ip("10.0.0.1"))],
        ),
        (
            holder("a/x", &[], &[]),
            vec![address("10.0.0.1", "a/x")],
            vec![(
                "IPAddressWrongReference: IPAddress: 10.0.0.1 for Service a/x has a wrong reference; cleaning up",
                ip("10.0.0.1"),
            )],
        ),
        (
            holder("a/x", &[], &[]),
            vec![address("10.0.0.1", "a/gone")],
            vec![(
                "IPAddressNotAllocated: IPAddress: 10.0.0.1 for Service a/gone appears to have leaked: cleaning up",
                ip("10.0.0.1"),
            )],
        ),
        (
            holder("a/x", &[], &[]),
            vec![Address { age_seconds: 5, ..address("10.0.0.1", "a/gone") }],
            vec![],
        ),
        (
            holder("a/x", &[], &[]),
            vec![Address { parent: "gateways/a/b".to_owned(), ..address("10.0.0.1", "") }],
            vec![(
                "IPAddressNotAllocated: IPAddress 10.0.0.1 appears to have been modified, not referencing a Service gateways/a/b: cleaning up",
                ip("10.0.0.1"),
            )],
        ),
    ];
    for (holder, addresses, expected) in cases {
        let view = View { holders: vec![holder], addresses, ports: None };
        let expected: Vec<_> =
            expected.into_iter().map(|(text, key)| (text.to_owned(), key)).collect();
        assert_eq!(told(&view), expected);
    }
}

#[test]
fn of_several_the_one_that_the_claim_names_keeps_it() {
    let both = [holder("a/x", &["10.0.0.1"], &[30001]), holder("a/y", &["10.0.0.1"], &[30001])];
    let duplicate = |key: &str, reason: &str, message: &str| {
        (key.to_owned(), reason.to_owned(), message.to_owned())
    };
    let refused = |view: &View| -> Vec<_> {
        let about = |about: &About| match about {
            About::Service { key, .. } => key.clone(),
            other => panic!("{other:?}"),
        };
        let findings = steps(view).into_iter().filter(|step| step.mend.is_none());
        findings
            .filter_map(|step| step.finding)
            .map(|finding| (about(&finding.about), finding.reason.to_owned(), finding.message))
            .collect()
    };
    let address_text =
        "Cluster IP [IPv4]:10.0.0.1 was assigned to multiple services; please recreate service";
    let port_text = "Port 30001 was assigned to multiple services; please recreate service";
    let view = View {
        holders: both.to_vec(),
        addresses: vec![address("10.0.0.1", "a/y")],
        ports: Some(vec![(30001, 3, "a/y".into())]),
    };
    let expected = |key| {
        vec![
            duplicate(key, "ClusterIPAlreadyAllocated", address_text),
            duplicate(key, "PortAlreadyAllocated", port_text),
        ]
    };
    assert_eq!(refused(&view), expected("a/x"));
    // Without a claim the first has it.
    let view = View { addresses: vec![], ports: Some(vec![]), ..view };
    assert_eq!(refused(&view), expected("a/y"));
}

#[test]
fn what_is_wrong_with_ports_is_said_in_kubernetes_words() {
    let port = |number| Some(ClaimKey::NodePort(number));
    let cases = [
        (
            holder("a/x", &[], &[30001]),
            vec![],
            vec![("PortNotAllocated: Port 30001 is not allocated; repairing", port(30001))],
        ),
        (
            holder("a/x", &[], &[30001, 30001]),
            vec![(30001, 3, "a/x".into())],
            vec![(
                "PortAlreadyAllocated: Port 30001 was assigned to multiple services; please recreate service",
                None,
            )],
        ),
        (
            holder("a/x", &[], &[35001]),
            vec![(35001, 3, "a/x".into())],
            vec![(
                "PortOutOfRange: Port 35001 is not within the port range 30000-30010; please recreate service",
                None,
            )],
        ),
        (holder("a/x", &[], &[]), vec![(30001, 3, "a/x".into())], vec![("", port(30001))]),
    ];
    for (holder, ports, expected) in cases {
        let view = View { holders: vec![holder], addresses: vec![], ports: Some(ports) };
        let expected: Vec<_> =
            expected.into_iter().map(|(text, key)| (text.to_owned(), key)).collect();
        assert_eq!(told(&view), expected);
    }
}

/// Does what a plan says, as the store would: a step whose demands do not hold is a fault.
fn carry_out(view: &mut View, steps: &[Step]) {
    let service = |view: &View, owner: &str| {
        let found = view.holders.iter().find(|holder| holder.key == owner);
        found.map_or(Expect::Absent, |holder| Expect::Revision(holder.revision))
    };
    for mend in steps.iter().filter_map(|step| step.mend.as_ref()) {
        let ports = view.ports.clone().unwrap_or_default();
        let (Mend::Claim { key, .. } | Mend::Release { key, .. }) = mend;
        let found = match key {
            ClaimKey::ClusterIp(ip) => {
                view.addresses.iter().find(|a| a.ip == *ip).map(|a| a.revision)
            }
            ClaimKey::NodePort(port) => ports.iter().find(|p| p.0 == *port).map(|p| p.1),
        };
        let was = found.map_or(Expect::Absent, Expect::Revision);
        match key {
            ClaimKey::ClusterIp(ip) => view.addresses.retain(|address| address.ip != *ip),
            ClaimKey::NodePort(port) => {
                view.ports.as_mut().unwrap().retain(|claim| claim.0 != *port);
            }
        }
        match mend {
            Mend::Claim { key, owner, expect, service: demand } => {
                assert_eq!((*expect, *demand), (was, service(view, owner)));
                match key {
                    ClaimKey::ClusterIp(ip) => {
                        view.addresses.push(address(&ip.to_string(), owner));
                    }
                    ClaimKey::NodePort(port) => {
                        view.ports.as_mut().unwrap().push((*port, 50, owner.as_str().into()));
                    }
                }
            }
            Mend::Release { owner, revision, service: demand, .. } => {
                assert_eq!(Expect::Revision(*revision), was);
                assert_eq!(*demand, service(view, owner));
            }
        }
    }
}

fn any_view() -> impl Strategy<Value = View> {
    let texts = || prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "x"]);
    let owners = || prop::sample::select(vec!["a/0", "a/1", "a/2", "a/3", "a/gone", ""]);
    let holders = prop::collection::vec(
        (prop::collection::vec(texts(), 0..3), prop::collection::vec(30000..30004u16, 0..3)),
        0..4,
    );
    let addresses = prop::collection::btree_map(
        prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "192.0.2.1"]),
        (owners(), any::<bool>(), any::<bool>()),
        0..5,
    );
    let ports = prop::collection::btree_map(30000..30006u16, owners(), 0..5);
    (holders, addresses, ports).prop_map(|(holders, addresses, ports)| View {
        holders: holders
            .iter()
            .enumerate()
            .map(|(i, (texts, ports))| {
                let mut texts = texts.clone();
                texts.sort_unstable();
                texts.dedup();
                holder(&format!("a/{i}"), &texts, ports)
            })
            .collect(),
        addresses: addresses
            .into_iter()
            .map(|(ip, (owner, managed, labelled))| Address {
                managed,
                labelled: managed && labelled,
                ..address(ip, owner)
            })
            .collect(),
        ports: Some(ports.into_iter().map(|(port, owner)| (port, 3, owner.into())).collect()),
    })
}

proptest! {
    /// One plan mends everything, whatever was wrong: afterwards each claim names somebody who
    /// holds the thing, each thing in range that is held is claimed, and there is nothing to do.
    #[test]
    fn one_plan_mends_everything(view in any_view()) {
        let mut view = view;
        let first = steps(&view);
        carry_out(&mut view, &first);
        let second = steps(&view);
        prop_assert!(second.iter().all(|step| step.mend.is_none()), "{second:?}");
        for address in view.addresses.iter().filter(|address| address.managed) {
            let holder = view.holders.iter().find(|holder| holder.key == address.service);
            let text = address.ip.to_string();
            prop_assert!(holder.is_some_and(|holder| holder.addresses.contains(&text)));
        }
        for holder in &view.holders {
            for ip in holder.addresses.iter().filter_map(|text| text.parse().ok()) {
                prop_assert!(!in_range(ip) || view.addresses.iter().any(|a| a.ip == ip && a.labelled));
            }
            for port in &holder.ports {
                prop_assert!(view.ports.iter().flatten().any(|(claimed, ..)| claimed == port));
            }
        }
        for (port, _, owner) in view.ports.iter().flatten() {
            let holder = view.holders.iter().find(|holder| *holder.key == **owner);
            prop_assert!(holder.is_some_and(|holder| holder.ports.contains(port)));
        }
    }
}
