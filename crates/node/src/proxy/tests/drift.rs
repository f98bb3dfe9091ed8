//! Mode `ebpf`: looking for others' changes in pieces, while the proxy follows its own.

use portolan_linux::bpf::Map;

use super::datapath::Drift;
use super::lab::Lab;
use super::socket::{crowd, map};
use super::*;

/// Enough for several pieces of each kind.
const SERVICES: u32 = 1500;
const PODS: u32 = 20_000;

/// A Service with one endpoint, among many.
fn one_of_many(number: u32) -> [Event; 2] {
    let [mut service, mut slice] = crowd("many", 1);
    let [_, _, high, low] = number.to_be_bytes();
    let named = ObjectName::new("default", format!("many-{number}"));
    if let Event::Service(service) = &mut service {
        service.name = named.clone();
        service.cluster_ips = vec![[10, 96, 16 + high, low].into()];
    }
    if let Event::EndpointSlice(slice) = &mut slice {
        slice.name = named.clone();
        slice.service = Some(named);
    }
    [service, slice]
}

/// What changes in the cluster while a round is under way.
fn change(step: u32) -> Vec<Event> {
    let number = step % 7;
    match step % 4 {
        0 => vec![Event::ServiceDeleted(ObjectName::new("default", format!("many-{number}")))],
        1 => vec![Event::EndpointSlice(slice(&["10.244.1.3", "10.244.2.2"]))],
        2 => one_of_many(number).to_vec(),
        _ => vec![Event::EndpointSlice(slice(&["10.244.1.2"]))],
    }
}

/// A whole round with changes between its pieces, the first of which has been looked at.
fn finish(proxy: &mut Proxy<'_>) -> Drift {
    let mut pieces = 1;
    loop {
        proxy.hear(change(pieces));
        match proxy.datapath.look_for_drift() {
            Drift::Unfinished => pieces += 1,
            found => {
                assert!(found == Drift::Possible || pieces > 6, "{pieces} pieces");
                return found;
            }
        }
    }
}

fn round(proxy: &mut Proxy<'_>) -> Drift {
    assert_eq!(proxy.datapath.look_for_drift(), Drift::Unfinished);
    finish(proxy)
}

/// Changes one octet of an element of an array.
fn spoil(map: &Map, element: u32, octet: usize) {
    let key = element.to_ne_bytes();
    let mut value = map.get(&key).unwrap().unwrap();
    value[octet] ^= 0xFF;
    map.put(&key, &value).unwrap();
}

#[test]
fn a_round_in_pieces_finds_what_others_changed_also_beside_changes() {
    let lab = Lab::new("ebpf");
    let mut events = with_pods(&["10.244.1.2"]).to_vec();
    events.extend(crowd("huge", PODS));
    events.extend((0..SERVICES).flat_map(one_of_many));
    let mut proxy = Proxy::start_with(&lab, view(), events);
    assert_eq!(round(&mut proxy), Drift::None, "nobody meddled");
    let (backends, slots) = (map(&lab, "backends4"), map(&lab, "slots"));
    let frontends = map(&lab, "frontends");
    // Two to an element; the many pods have most of them, whichever Service was written first.
    let elements = [(SERVICES + 100) / 2, PODS / 2 - 1];
    let words = [("an address", 3), ("a port", 4), ("a pool", 8), ("its neighbour's", 15)];
    for (what, octet) in words {
        for element in elements {
            spoil(&backends, element, octet);
            assert_eq!(round(&mut proxy), Drift::Possible, "{what} of {element}");
            assert!(proxy.everything().mended > 0, "{what} of {element}");
        }
    }
    spoil(&slots, PODS / 4, 0);
    assert_eq!(round(&mut proxy), Drift::Possible, "a slot");
    assert!(proxy.everything().mended > 0);
    let key = |number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        let mapped = std::net::Ipv4Addr::new(10, 96, 16 + high, low).to_ipv6_mapped();
        [&mapped.octets()[..], &80_u16.to_be_bytes(), &[6, 0]].concat()
    };
    for number in [8, SERVICES / 2, SERVICES - 1] {
        frontends.delete(&key(number)).unwrap();
        assert_eq!(round(&mut proxy), Drift::Possible, "{number} is missing");
        assert!(proxy.everything().mended > 0);
        let stranger = key(SERVICES + number);
        frontends.put(&stranger, &[0; 8]).unwrap();
        assert_eq!(round(&mut proxy), Drift::Possible, "there is a stranger");
        assert!(proxy.everything().mended > 0);
    }
    assert_eq!(round(&mut proxy), Drift::None, "all is mended");
    // Behind the round's back: the next one finds it.
    for _ in 0..3 {
        assert_eq!(proxy.datapath.look_for_drift(), Drift::Unfinished);
    }
    frontends.delete(&key(8)).unwrap();
    spoil(&slots, PODS / 4, 0);
    let found = [finish(&mut proxy), round(&mut proxy)];
    assert!(found.contains(&Drift::Possible), "{found:?}");
    assert!(proxy.everything().mended > 0);
    assert_eq!(proxy.differences(), [""; 0]);
}
