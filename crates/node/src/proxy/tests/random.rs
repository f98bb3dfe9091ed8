//! Random clusters and random packets: oracle and kernel agree.

use portolan_model::frontend::{Family, FrontendAddress};
use portolan_model::oracle::{Packet, Verdict, route};
use portolan_model::testing::{Dice, Universe};

use super::lab::{Heard, Lab, NODE, NODE_V6, OUTSIDE, OUTSIDE_V6};
use super::*;

in_every_mode! {
    after_every_event_the_kernel_is_what_the_oracle_says,
}

const EVENTS: usize = 2_000;

fn seed() -> u64 {
    std::env::var("PORTOLAN_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random)
}

fn after_every_event_the_kernel_is_what_the_oracle_says(lab: &Lab) {
    let seed = seed();
    eprintln!("replay with PORTOLAN_SEED={seed}");
    let mut proxy = Proxy::start(lab);
    let (universe, mut dice) = (Universe::default(), Dice::new(seed));
    let (mut left, mut quiet) = (EVENTS, 0);
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
    assert!(packets > 100, "only {packets} packets were compared");
}

/// Sends a packet to some of the frontends; returns how many were compared.
fn packets_agree(lab: &Lab, proxy: &Proxy<'_>, dice: &mut Dice, context: &str) -> usize {
    let mut frontends: Vec<_> = proxy.desired.frontends().map(|(key, _)| *key).collect();
    frontends.sort();
    let mut compared = 0;
    for _ in 0..12.min(frontends.len()) {
        let key = dice.pick(&frontends);
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
        let packet = Packet {
            source,
            destination,
            protocol: key.protocol,
            destination_port: key.port,
            from_node: source == node || source.is_loopback(),
            to_node: destination == node || destination.is_loopback(),
        };
        let verdict = route(&proxy.desired, &packet);
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
                        || packet.from_node && peer == node
                        || (peer == source) != choice.masquerade)
                })
            }
            _ => false,
        };
        assert!(agrees, "{context}: {packet:?}: {verdict:?}, but {heard:?}");
        compared += 1;
    }
    compared
}
