//! Random clusters and random packets: oracle and kernel agree.

use portolan_model::frontend::{Family, FrontendAddress, FrontendKey};
use portolan_model::object::Protocol;
use portolan_model::oracle::{Packet, Verdict, route};
use portolan_model::testing::{Dice, Universe};

use super::lab::{Heard, Lab, NODE, NODE_V6, OUTSIDE, OUTSIDE_V6};
use super::*;

in_every_mode! {
    after_every_event_the_kernel_is_what_the_oracle_says,
}

const EVENTS: usize = 2_000;
/// In a virtual machine without help from the processor.
const EVENTS_IPVS: usize = 500;

fn seed() -> u64 {
    std::env::var("PORTOLAN_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random)
}

fn after_every_event_the_kernel_is_what_the_oracle_says(lab: &Lab) {
    let seed = seed();
    eprintln!("replay with PORTOLAN_SEED={seed}");
    let (universe, mut dice) = (Universe::default(), Dice::new(seed));
    let node_port_addresses = dice.pick(&[
        NodePortAddresses::All,
        NodePortAddresses::All,
        NodePortAddresses::Primary,
        NodePortAddresses::Within(vec!["172.30.0.0/16".parse().unwrap()]),
        NodePortAddresses::Within(vec!["192.168.0.0/16".parse().unwrap()]),
    ]);
    let masquerade_all = dice.once_in(4);
    let view = NodeView { node_port_addresses, masquerade_all, ..view() };
    let mut proxy = Proxy::start_with(lab, view, []);
    let events = if lab.mode == "ipvs" { EVENTS_IPVS } else { EVENTS };
    let (mut left, mut quiet) = (events, 0);
    let mut packets = 0;
    while left > 0 {
        let count = (1 + dice.below(20) as usize).min(left);
        left -= count;
        let events: Vec<_> = (0..count).map(|_| universe.event(&mut dice)).collect();
        proxy.hear(events);
        assert_eq!(proxy.differences(), [""; 0], "seed {seed}, {left} events left");
        quiet += 1;
        if quiet % 5 == 0 {
            packets += packets_agree(lab, &proxy, &mut dice, &format!("seed {seed}, {left} left"));
        }
        if dice.once_in(30) {
            proxy.restart();
            assert_eq!(proxy.differences(), [""; 0], "seed {seed}, {left} events left, restarted");
        }
    }
    assert!(packets > events / 20, "only {packets} packets were compared");
}

/// Sends a packet to some of the frontends; returns how many were compared.
pub(super) fn packets_agree(lab: &Lab, proxy: &Proxy<'_>, dice: &mut Dice, context: &str) -> usize {
    let mut frontends: Vec<_> = proxy.desired.frontends().map(|(key, _)| *key).collect();
    // There is no SCTP socket to dial with in every kernel.
    frontends.retain(|key| key.protocol != Protocol::Sctp);
    frontends.sort();
    let refused: Vec<FrontendKey> = refused(&proxy.desired);
    let mut compared = 0;
    for _ in 0..12.min(frontends.len()) {
        let key = dice.pick(&frontends);
        // Now and then an address that a Service asks for in vain.
        let key = match (dice.once_in(4), refused.is_empty()) {
            (true, false) => dice.pick(&refused),
            _ => key,
        };
        let packet = dialling(key, dice);
        let nodes = [IpAddr::from(NODE), IpAddr::from(NODE_V6)];
        let verdict = route(&proxy.desired, &packet);
        let Packet { source, destination, .. } = packet;
        let target = SocketAddr::new(destination, key.port);
        let heard = lab.dial(source, key.protocol, target);
        let agrees = match (&verdict, heard) {
            (Verdict::Reject { .. }, Heard::Refused) | (Verdict::Drop { .. }, Heard::Silence) => {
                true
            }
            (Verdict::Balance { choices, .. }, Heard::Answer { server, peer }) => {
                let bare = !proxy.datapath.capabilities().hides_hairpin && server.ip() == source;
                choices.iter().any(|choice| {
                    SocketAddr::new(choice.backend.address, choice.backend.port) == server
                        && (bare && peer == source
                        // The node's own address is what masquerading gives.
                        || packet.from_node && nodes.contains(&peer)
                        || (peer == source) != choice.masquerade)
                })
            }
            // Nobody is dialled but the one with that address, if there is one.
            (Verdict::Pass { .. }, Heard::Answer { server, .. }) => server == target,
            (Verdict::Pass { .. }, _) => true,
            _ => false,
        };
        assert!(agrees, "{context}: {packet:?}: {verdict:?}, but {heard:?}");
        compared += 1;
    }
    compared
}

/// The first packet of somebody who dials a frontend.
pub(super) fn dialling(key: FrontendKey, dice: &mut Dice) -> Packet {
    let (sources, node) = match key.family() {
        Family::Ipv4 => {
            ([ip("10.244.0.2"), ip("10.244.0.3"), NODE.into(), OUTSIDE.into()], NODE.into())
        }
        Family::Ipv6 => (
            [ip("fd00:10:244::2"), ip("fd00:10:244::3"), NODE_V6.into(), OUTSIDE_V6.into()],
            IpAddr::from(NODE_V6),
        ),
    };
    let (mut source, mut destination) = (
        dice.pick(&sources),
        match key.address {
            FrontendAddress::Ip(ip) => ip,
            FrontendAddress::Node(_) => node,
        },
    );
    if key.address == FrontendAddress::Node(Family::Ipv4) && source == node && dice.once_in(2) {
        (source, destination) = (ip("127.0.0.1"), ip("127.0.0.1"));
    }
    Packet {
        source,
        destination,
        protocol: key.protocol,
        destination_port: key.port,
        from_node: source == node || source.is_loopback(),
        to_node: destination == node || destination.is_loopback(),
    }
}

/// Where clients would dial the addresses that are not served.
fn refused(desired: &Desired) -> Vec<FrontendKey> {
    let mut keys: Vec<_> = desired
        .refused()
        .map(|(_, refused)| FrontendKey {
            address: FrontendAddress::Ip(refused.address),
            protocol: Protocol::Tcp,
            port: 80,
        })
        // The kernel sends no packet from a loopback address out, whoever asks.
        .filter(|key| !matches!(key.address, FrontendAddress::Ip(ip) if ip.is_loopback()))
        .collect();
    keys.sort();
    keys.dedup();
    keys
}
