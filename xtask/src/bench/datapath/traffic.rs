//! What connections cost on each path: all subjects are up at once and take turns.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::cluster::{Cluster, PATHS, Path, Starting};
use super::load::Order;
use super::proxy::Subject;
use super::summary::POD_ITSELF;

/// What is done in each turn.
const ONE_BY_ONE: usize = 800;
const AT_ONCE: usize = 2_500;
const IN_FLIGHT: usize = 32;
const PING_PONGS: usize = 4_000;
const BULK: u64 = 200;
/// Beside these, connections to the pod itself are measured too.
const BESIDE: [&str; 3] = ["nftables", "ebpf", "kube-proxy nftables"];
/// A proxy that has not come up by then is left out.
const LIMIT: Duration = Duration::from_secs(150);

pub(super) fn measure(subjects: &[Subject], services: usize, rounds: usize) -> Result<Value> {
    let mut clusters = Vec::new();
    let mut left_out = Vec::new();
    let direct = [None].into_iter();
    for (number, subject) in direct.chain(subjects.iter().map(Some)).enumerate() {
        // One after the other: several that load at once would wait for each other.
        let keep = subject.is_some_and(|subject| subject.mode == "userspace");
        let starting = Starting::begin(number, subject, services)?;
        match starting.finish(number, keep, 1, LIMIT) {
            Ok(cluster) => clusters.push(cluster),
            Err(error) => left_out.push(format!("{error:#}")),
        }
    }
    let mut turns = Vec::new();
    for round in 0..rounds {
        for path in PATHS {
            let count = clusters.len();
            // Nobody is always the first.
            for at in 0..count {
                let cluster = &mut clusters[(at + round) % count];
                // What a connection to a pod costs where the rules are, but do not concern it.
                let beside = !path.outside && BESIDE.contains(&cluster.name.as_str());
                for pod in [false, true].into_iter().take(1 + usize::from(beside)) {
                    let mut found = turn(cluster, path, pod)?;
                    let of = if pod { POD_ITSELF } else { "" };
                    found["subject"] = json!(format!("{of}{}", cluster.name));
                    found["path"] = json!(path.name);
                    found["round"] = json!(round);
                    turns.push(found);
                }
            }
        }
    }
    Ok(json!({"services": services, "turns": turns, "left_out": left_out}))
}

fn turn(cluster: &mut Cluster, path: Path, pod: bool) -> Result<Value> {
    cluster.flush()?;
    // Caches and neighbours are warm after this.
    cluster.order(path, pod, |to| Order::OneByOne { to, count: 50 })?;
    let one = cluster.order(path, pod, |to| Order::OneByOne { to, count: ONE_BY_ONE })?;
    let many =
        cluster.order(path, pod, |to| Order::AtOnce { to, count: AT_ONCE, flight: IN_FLIGHT })?;
    let pong = cluster.order(path, pod, |to| Order::PingPong { to, count: PING_PONGS })?;
    let bulk = cluster.order(path, pod, |to| Order::Bulk { to, milliseconds: BULK })?;
    Ok(json!({
        "connection_p50": one["p50"], "connection_p99": one["p99"],
        "rate_one": one["rate"], "rate_many": many["rate"], "stalls": many["stalls"],
        "pong_p50": pong["p50"], "pong_p99": pong["p99"], "gbit": bulk["gbit"],
    }))
}

/// Many masqueraded connections within the time that servers remember closed ones: no source port
/// may be given out that the server still holds. From one client, and from several that choose
/// the same ports.
pub(super) fn stalls(subjects: &[Subject], connections: usize) -> Result<Value> {
    let mut found = Vec::new();
    for clients in [1, 3] {
        for (number, subject) in subjects.iter().enumerate() {
            let starting = Starting::begin(number, Some(subject), 10)?;
            let mut cluster = starting.finish(number, false, clients, LIMIT)?;
            cluster.remember(262_144)?;
            let count = connections / clients;
            let order = |to| Order::AtOnce { to, count, flight: IN_FLIGHT };
            let results = cluster.order_all_outside(PATHS[3], order)?;
            let values =
                |key: &'static str| results.iter().filter_map(move |one| one[key].as_f64());
            let most = |key| values(key).fold(0.0, f64::max);
            found.push(json!({"subject": subject.name(), "clients": clients,
                "connections": count * clients, "stalls": values("stalls").sum::<f64>(),
                "refused": cluster.refused_for_age()?, "slowest_ms": most("slowest_ms"),
                "seconds": most("seconds")}));
        }
    }
    Ok(json!(found))
}
