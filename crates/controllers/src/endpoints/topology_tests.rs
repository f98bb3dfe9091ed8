use super::*;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

fn node(zone: Option<&str>, cpu: &str, ready: bool, labels: &[&str]) -> Node {
    let mut all: BTreeMap<&str, &str> = labels.iter().map(|l| (*l, "")).collect();
    all.extend(zone.map(|zone| ("topology.kubernetes.io/zone", zone)));
    serde_json::from_value(json!({
        "metadata": {"labels": all},
        "status": {
            "allocatable": {"cpu": cpu},
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    }))
    .unwrap()
}

#[test]
fn shares_are_the_processors_of_ready_workers() {
    let a = node(Some("a"), "4", true, &[]);
    let b = node(Some("b"), "500m", true, &[]);
    let c = node(Some("b"), "1500m", true, &[]);
    let sick = node(Some("c"), "8", false, &[]);
    let control = node(None, "8", true, &["node-role.kubernetes.io/control-plane"]);
    let third = |shares: &Shares| (shares["b"] - 1.0 / 3.0).abs() < 1e-9;
    assert!(third(&shares([&a, &b, &c, &sick, &control]).unwrap()));
    assert_eq!(shares([&b, &c]).unwrap_err(), "Nodes only ready in one zone");
    let vague = [node(None, "4", true, &[]), node(Some("c"), "0", true, &[])];
    for vague in &vague {
        assert!(shares([&a, &b, vague]).unwrap_err().starts_with("Insufficient Node information"));
    }
}

/// From upstream's documentation (KEP-2433): what cannot be shared fairly has no hints.
#[test]
fn small_numbers_are_not_shared() {
    let shares = |parts: &[f64]| -> Shares {
        parts.iter().enumerate().map(|(i, part)| (format!("z{i}"), *part)).collect()
    };
    assert!(allocations(&shares(&[0.5, 0.5]), 1).unwrap_err().starts_with("Insufficient number"));
    let unfair = allocations(&shares(&[0.34, 0.33, 0.33]), 4).unwrap_err();
    assert!(unfair.ends_with("(4 endpoints, 3 zones)"), "{unfair}");
    let halves = shares(&[0.5, 0.5]);
    let fair = allocations(&halves, 4).unwrap();
    assert_eq!(fair["z0"], Allocation { minimum: 2, maximum: 2, desired: 2.0 });
}

fn slice(zones: &[u8]) -> EndpointSlice {
    let endpoint = |zone: &u8| Endpoint {
        conditions: Some(EndpointConditions { ready: Some(true), ..Default::default() }),
        zone: Some(format!("z{zone}")),
        ..Default::default()
    };
    EndpointSlice { endpoints: Some(zones.iter().map(endpoint).collect()), ..Default::default() }
}

proptest! {
    /// Every ready endpoint is for one zone; no zone has less than its share by more than what
    /// cannot be divided; and a second look changes nothing but what it must.
    #[test]
    fn every_zone_gets_its_share(
        zones in prop::collection::vec(0..4u8, 1..60), weights in prop::collection::vec(1..10u32, 2..4),
    ) {
        let total: u32 = weights.iter().sum();
        let shares: Shares = weights.iter().enumerate()
            .map(|(i, w)| (format!("z{i}"), f64::from(*w) / f64::from(total))).collect();
        let mut draft = Draft::default();
        draft.create.extend(zones.chunks(10).map(slice));
        let result = give(&shares, &mut draft);
        prop_assert_eq!(result.is_ok(), allocations(&shares, zones.len()).is_ok());
        prop_assume!(result.is_ok());
        let allocations = allocations(&shares, zones.len()).unwrap();
        let given = super::super::hints::given(&draft.create);
        prop_assert_eq!(given.values().sum::<usize>(), zones.len());
        // A zone keeps less than half an endpoint too many, which another may miss; and what all
        // want together can be more than there is, as minimums are whole numbers.
        let wanted: f64 = allocations.values().map(|a| a.desired).sum();
        let slack = 0.5 * allocations.len() as f64 + wanted - zones.len() as f64;
        for (zone, allocation) in &allocations {
            let has = given.get(zone).copied().unwrap_or(0) as f64;
            prop_assert!(has >= allocation.desired - slack, "{zone}: {has} of {allocation:?}");
        }
        for endpoint in draft.create.iter().flat_map(endpoints) {
            prop_assert_eq!(endpoint.hints.as_ref().unwrap().for_zones.as_ref().unwrap().len(), 1);
        }
        let mut again = Draft::default();
        again.keep.extend(draft.create.iter().cloned().map(Arc::new));
        give(&shares, &mut again).unwrap();
        prop_assert_eq!(again.keep.len() + again.update.len(), draft.create.len());
    }
}
