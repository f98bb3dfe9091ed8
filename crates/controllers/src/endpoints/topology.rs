//! Shares of endpoints for zones by their processors (KEP-2433): an endpoint is meant for its own
//! zone, except for those that a zone with too many gives to one with too few.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1::Node, discovery::v1::EndpointSlice};

use super::{
    hints::{endpoints, for_zone, is_ready, written},
    slices::Draft,
};
use crate::scheduler;

/// How much more than its share an endpoint may have to carry.
const OVERLOAD: f64 = 0.2;
/// Nodes with these labels do not count.
const EXCLUDED: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Each zone's part of all processors; the parts add up to 1.
pub(super) type Shares = BTreeMap<String, f64>;

/// How many endpoints a zone is to have.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Allocation {
    minimum: usize,
    maximum: usize,
    desired: f64,
}

/// What of a node matters here: its zone and processors, if it counts.
pub(super) fn weight(node: &Node) -> Option<(Option<&str>, u64)> {
    let labels = node.metadata.labels.as_ref();
    let excluded = labels.is_some_and(|l| EXCLUDED.iter().any(|name| l.contains_key(*name)));
    let status = node.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    if excluded || !ready {
        return None;
    }
    let zone = labels.and_then(|l| l.get(super::publish::ZONE)).filter(|zone| !zone.is_empty());
    let cpu =
        status.allocatable.as_ref().and_then(|a| a.get("cpu")).map_or(0.0, scheduler::quantity);
    Some((zone.map(String::as_str), (cpu * 1000.0) as u64))
}

/// The zones' shares; an error where a node says too little, or all are in one zone.
pub(super) fn shares<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Result<Shares, String> {
    let mut by_zone: BTreeMap<&str, u64> = BTreeMap::new();
    for (zone, cpu) in nodes.into_iter().filter_map(weight) {
        match zone {
            Some(zone) if cpu > 0 => *by_zone.entry(zone).or_default() += cpu,
            _ => by_zone.clear(),
        }
        if by_zone.is_empty() {
            break;
        }
    }
    let total: u64 = by_zone.values().sum();
    match by_zone.len() {
        0 => Err("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes".into()),
        1 => Err("Nodes only ready in one zone".into()),
        _ => Ok(by_zone
            .into_iter()
            .map(|(zone, cpu)| (zone.to_owned(), cpu as f64 / total as f64))
            .collect()),
    }
}

fn allocations(shares: &Shares, total: usize) -> Result<BTreeMap<&str, Allocation>, String> {
    let counts = format!("({total} endpoints, {} zones)", shares.len());
    if shares.len() > total {
        return Err(format!("Insufficient number of endpoints {counts}"));
    }
    let mut all: BTreeMap<&str, Allocation> = shares
        .iter()
        .map(|(zone, share)| {
            let desired = share * total as f64;
            let minimum = (desired / (1.0 + OVERLOAD)).ceil();
            let desired = desired.max(minimum);
            (zone.as_str(), Allocation { minimum: minimum as usize, maximum: 0, desired })
        })
        .collect();
    let minimums: usize = all.values().map(|a| a.minimum).sum();
    let Some(spare) = total.checked_sub(minimums) else {
        return Err(format!(
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {counts}"
        ));
    };
    for allocation in all.values_mut() {
        allocation.maximum = allocation.minimum + spare;
    }
    Ok(all)
}

/// The endpoints that a slice gives to each zone; `None` if it must be written.
fn valid(
    slice: &EndpointSlice,
    given: &BTreeMap<String, usize>,
    allocations: &BTreeMap<&str, Allocation>,
) -> Option<BTreeMap<String, usize>> {
    let mut here: BTreeMap<String, usize> = BTreeMap::new();
    for endpoint in endpoints(slice) {
        if !is_ready(endpoint) {
            if endpoint.hints.is_some() {
                return None;
            }
            continue;
        }
        let hints = endpoint.hints.as_ref().filter(|h| h.for_nodes.is_none())?;
        let zones = hints.for_zones.as_deref().filter(|zones| !zones.is_empty())?;
        for zone in zones {
            *here.entry(zone.name.clone()).or_default() += 1;
        }
    }
    let fits = |(zone, count): (&String, &usize)| {
        let limit = allocations.get(zone.as_str())?.maximum;
        (count + given.get(zone).copied().unwrap_or(0) <= limit).then_some(())
    };
    here.iter().map(fits).collect::<Option<()>>()?;
    Some(here)
}

/// Gives the endpoints of a draft to zones.
pub(super) fn give(shares: &Shares, draft: &mut Draft) -> Result<(), String> {
    let kept = draft.keep.iter().flat_map(|s| endpoints(s)).filter(|e| is_ready(e)).count();
    let total = kept + written(draft).filter(|e| is_ready(e)).count();
    let allocations = allocations(shares, total)?;
    if draft.keep.iter().flat_map(|s| endpoints(s)).any(|e| is_ready(e) && e.zone.is_none())
        || written(draft).any(|e| is_ready(e) && e.zone.is_none())
    {
        return Err("One or more endpoints do not have a zone specified".into());
    }
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    for slice in std::mem::take(&mut draft.keep) {
        match valid(&slice, &given, &allocations) {
            Some(here) => {
                here.into_iter().for_each(|(zone, n)| *given.entry(zone).or_default() += n);
                draft.keep.push(slice);
            }
            None => draft.update.push((*slice).clone()),
        }
    }
    // Everybody its own zone, then redistribute.
    for endpoint in written(draft) {
        endpoint.hints = None;
        if let Some(zone) = endpoint.zone.clone().filter(|_| is_ready(endpoint)) {
            endpoint.hints = Some(for_zone(&zone));
            *given.entry(zone).or_default() += 1;
        }
    }
    let (mut giving, mut receiving) = exchange(&allocations, &given);
    for endpoint in written(draft).filter(|e| is_ready(e)) {
        let Some(zone) = endpoint.zone.as_deref() else { continue };
        let Some(left) = giving.get_mut(zone).filter(|left| **left > 0) else { continue };
        let Some((to, open)) = receiving.iter_mut().find(|(_, open)| **open > 0) else { break };
        endpoint.hints = Some(for_zone(to));
        *left -= 1;
        *open -= 1;
    }
    Ok(())
}

/// How many endpoints each zone gives away, and receives. A zone that has less than half an
/// endpoint too many keeps it.
fn exchange(
    allocations: &BTreeMap<&str, Allocation>,
    given: &BTreeMap<String, usize>,
) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut surplus, mut wanting) = (Vec::new(), Vec::new());
    for (zone, allocation) in allocations {
        let over = given.get(*zone).copied().unwrap_or(0) as f64 - allocation.desired;
        let side = if over > 0.0 { &mut surplus } else { &mut wanting };
        side.push((zone.to_string(), over.abs()));
    }
    // Of zones without ready nodes, everything is surplus.
    let elsewhere = given.iter().filter(|(zone, _)| !allocations.contains_key(zone.as_str()));
    surplus.extend(elsewhere.map(|(zone, count)| (zone.clone(), *count as f64)));
    let (mut giving, mut receiving) = (BTreeMap::new(), BTreeMap::new());
    while let (Some(from), Some(to)) = (most(&mut surplus), most(&mut wanting)) {
        if from.1 < 0.5 || to.1 < 0.5 || (from.1 < 1.0 && to.1 < 1.0) {
            break;
        }
        *giving.entry(from.0.clone()).or_insert(0) += 1;
        *receiving.entry(to.0.clone()).or_insert(0) += 1;
        from.1 -= 1.0;
        to.1 -= 1.0;
    }
    (giving, receiving)
}

fn most(zones: &mut [(String, f64)]) -> Option<&mut (String, f64)> {
    zones.iter_mut().max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
