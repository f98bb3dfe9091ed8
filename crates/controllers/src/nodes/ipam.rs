//! Node IPAM: every node gets a slice of each pod network.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use crate::{
    cache::Key,
    context::{Config, Context},
    error::Attempt,
    events::Kind,
    queue::Outcome,
};

fn contains(outer: &IpNet, inner: &IpNet) -> bool {
    outer.contains(&inner.network()) && outer.prefix_len() <= inner.prefix_len()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    contains(a, b) || contains(b, a)
}

/// The network with this number among the slices of `prefix` bits.
fn slice(network: &IpNet, prefix: u8, number: u128) -> Option<IpNet> {
    if prefix < network.prefix_len() || prefix > network.max_prefix_len() {
        return None;
    }
    let bits = prefix - network.prefix_len();
    if bits < 127 && number >= 1 << bits {
        return None;
    }
    let offset = number.checked_shl(u32::from(network.max_prefix_len() - prefix))?;
    match network.network() {
        IpAddr::V4(base) => {
            let address = u32::from(base) | u32::try_from(offset).ok()?;
            Some(Ipv4Net::new(Ipv4Addr::from(address), prefix).ok()?.into())
        }
        IpAddr::V6(base) => {
            Some(Ipv6Net::new(Ipv6Addr::from(u128::from(base) | offset), prefix).ok()?.into())
        }
    }
}

/// The first slice that overlaps none of those taken; `None` if all are.
pub fn allocate(network: &IpNet, prefix: u8, taken: &[IpNet]) -> Option<IpNet> {
    // One more than there are taken ones is enough, unless something larger than a slice is taken.
    let mut number = 0;
    loop {
        let candidate = slice(network, prefix, number)?;
        match taken.iter().find(|t| overlap(t, &candidate)) {
            None => return Some(candidate),
            Some(larger) if larger.prefix_len() < prefix => {
                // On to the end of it.
                let size =
                    1u128.checked_shl(u32::from(prefix - larger.prefix_len())).unwrap_or(u128::MAX);
                number = (number / size + 1).checked_mul(size)?;
            }
            Some(_) => number += 1,
        }
    }
}

fn cidrs(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    let mut all: Vec<IpNet> = all.filter_map(|c| c.parse().ok()).collect();
    all.sort();
    all.dedup();
    all
}

/// The slices for a node that has none, one for each pod network; `Err` names the network that is used up.
fn plan(config: &Config, taken: &[IpNet]) -> Result<Vec<IpNet>, IpNet> {
    let slice = |network: &IpNet| {
        let prefix = if network.addr().is_ipv4() {
            config.node_cidr_mask_size_ipv4
        } else {
            config.node_cidr_mask_size_ipv6
        };
        allocate(network, prefix.max(network.prefix_len()), taken).ok_or(*network)
    };
    config.cluster_cidrs.iter().map(slice).collect()
}

/// Runs the allocator.
pub fn run(ctx: &Arc<Context>) -> impl Future<Output = ()> + Send + use<> {
    let queue = ctx.queue("node_ipam");
    if !ctx.config.cluster_cidrs.is_empty() {
        let q = queue.clone();
        ctx.caches.nodes.on_change(move |change| {
            if let Some(node) = change.new.filter(|n| cidrs(n).is_empty()) {
                q.add(Key::of(&node.metadata));
            }
        });
    }
    let ctx = ctx.clone();
    let shutdown = ctx.shutdown.clone();
    // One at a time, so that each sees what the one before took.
    queue.run(1, shutdown, move |key| sync(ctx.clone(), key))
}

async fn sync(ctx: Arc<Context>, key: Key) -> Outcome {
    let Some(node) = ctx.caches.nodes.get_key(&key).filter(|n| cidrs(n).is_empty()) else {
        return Ok(None);
    };
    let taken: Vec<IpNet> = ctx.caches.nodes.list().iter().flat_map(|n| cidrs(n)).collect();
    let slices = match plan(&ctx.config, &taken) {
        Ok(slices) => slices,
        Err(network) => {
            let message = format!(
                "Node {} status is now: CIDRNotAvailable: no slice of {network} is free",
                key.name
            );
            ctx.events.record(&*node, "cidrAllocator", Kind::Normal, "CIDRNotAvailable", message);
            return Ok(Some(std::time::Duration::from_secs(30)));
        }
    };
    let patch = serde_json::json!({
        "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
        "spec": {"podCIDR": slices[0], "podCIDRs": slices},
    });
    let api: Api<Node> = Api::all(ctx.client.clone());
    let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
    if let Some(patched) = patched.attempt_opt(|| format!("giving Node {key} a pod network"))? {
        ctx.caches.nodes.assume(patched);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_free_slice() {
        let network = net("10.244.0.0/16");
        assert_eq!(allocate(&network, 24, &[]), Some(net("10.244.0.0/24")));
        assert_eq!(
            allocate(&network, 24, &[net("10.244.0.0/24"), net("10.244.2.0/24")]),
            Some(net("10.244.1.0/24"))
        );
        assert_eq!(allocate(&network, 24, &[net("10.244.0.0/17")]), Some(net("10.244.128.0/24")));
        assert_eq!(allocate(&network, 24, &[net("10.244.0.7/32")]), Some(net("10.244.1.0/24")));
        assert_eq!(allocate(&net("10.0.0.0/24"), 24, &[net("10.0.0.0/24")]), None);
        assert_eq!(
            allocate(&net("fd00:10:244::/56"), 64, &[net("fd00:10:244::/64")]),
            Some(net("fd00:10:244:1::/64"))
        );
    }

    proptest! {
        #[test]
        fn slices_never_overlap_and_all_can_be_used(prefix in 20..26u8, freed in prop::collection::vec(0..64usize, 0..20)) {
            let network = net("10.0.0.0/18");
            let mut taken = Vec::new();
            for at in freed {
                while let Some(next) = allocate(&network, prefix, &taken) {
                    prop_assert!(contains(&network, &next));
                    prop_assert!(!taken.iter().any(|t| overlap(t, &next)));
                    taken.push(next);
                }
                prop_assert_eq!(taken.len(), 1 << (prefix - 18));
                taken.remove(at % taken.len());
            }
        }
    }
}
