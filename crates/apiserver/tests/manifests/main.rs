//! Manifests, valid and invalid, and what Kubernetes makes of them.
//!
//! The files beside this one hold the cases; their verdicts were recorded from a real
//! kube-apiserver, whose version is [`VERSION`]. The test runs them against the API server of this
//! crate, in process. With `PORTOLAN_PEER_KUBECONFIG` they run against that server instead, those
//! alone that are meant for a cluster started like it (`PORTOLAN_PEER_CLUSTER`: `ipv4`,
//! `dual-stack` or `deny-external-ips`), and with `PORTOLAN_PEER_RECORD=1` its verdicts are written
//! into the files: that is how a new version of Kubernetes is followed.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod case;
mod random;
mod record;
mod run;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portolan_apiserver::admission::Plugins;
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};

use case::{Case, Cluster, Departure, Group};
use run::{Api, Verdict};

/// The kube-apiserver that the verdicts were recorded from.
const VERSION: &str = "v1.36.3";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests")
}

fn config(cluster: Cluster) -> Config {
    let deny_service_external_ips = cluster == Cluster::DenyExternalIps;
    let mut config = Config {
        advertise: Some("192.0.2.250:6443".parse().expect("an address")),
        admission: Plugins { deny_service_external_ips },
        ..Config::default()
    };
    if cluster == Cluster::DualStack {
        config.cluster.service_ranges.push("fd00:10:96::/112".parse().expect("a range"));
    }
    config
}

/// A cluster of that kind, in process.
async fn start(cluster: Cluster) -> (ApiServer, Api) {
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::start(store, config(cluster)).await.expect("it starts");
    let api = Api { client: kube::Client::new(server.service(), "default") };
    api.prepare().await;
    (server, api)
}

/// What the file says of a case; of Kubernetes itself, or of Portolan where it departs.
fn expected(case: &Case, kubernetes: bool) -> Verdict {
    let departure = case.departs.as_ref().filter(|_| !kubernetes);
    let (refused, accepted) = match departure {
        Some(Departure { refused: None, accepted: None, .. }) | None => {
            (&case.refused, &case.accepted)
        }
        Some(departure) => (&departure.refused, &departure.accepted),
    };
    let warnings = departure.and_then(|departure| departure.warnings.clone());
    assert!(
        refused.is_none() || accepted.is_none(),
        "{:?} is both accepted and refused",
        case.case
    );
    Verdict {
        refused: refused.clone().unwrap_or_default(),
        accepted: accepted.clone().unwrap_or_default(),
        warnings: warnings.unwrap_or_else(|| case.warnings.clone()),
    }
}

fn describe(out: &mut String, name: &str, verdict: &Verdict) {
    let Verdict { refused, accepted, warnings } = verdict;
    let _ = match refused.is_empty() {
        true => writeln!(out, "    {name}: accepted: {accepted}"),
        false => writeln!(out, "    {name}: refused:"),
    };
    for text in refused {
        let _ = writeln!(out, "      {text}");
    }
    for text in warnings {
        let _ = writeln!(out, "      warning: {text}");
    }
}

/// The cases that went otherwise than expected, as text.
async fn run(
    api: &Api,
    path: &Path,
    group: &Group,
    kubernetes: bool,
) -> (Vec<Verdict>, Vec<String>) {
    let short = path.strip_prefix(directory()).unwrap_or(path).display().to_string();
    let (mut verdicts, mut failures) = (Vec::new(), Vec::new());
    for case in &group.cases {
        let (verdict, expected) = (api.run(group, case).await, expected(case, kubernetes));
        if verdict != expected {
            let mut text = format!("{short}: {}\n", case.case);
            describe(&mut text, "expected", &expected);
            describe(&mut text, "got", &verdict);
            failures.push(text);
        }
        verdicts.push(verdict);
    }
    (verdicts, failures)
}

/// The peer's client, its kind, and whether its verdicts are to be written down.
async fn peer() -> Option<(Api, String, bool)> {
    let path = std::env::var_os("PORTOLAN_PEER_KUBECONFIG")?;
    let kubeconfig = kube::config::Kubeconfig::read_from(path).expect("a kubeconfig");
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
    let version = client.apiserver_version().await.expect("its version").git_version;
    let cluster = std::env::var("PORTOLAN_PEER_CLUSTER").unwrap_or_else(|_| "ipv4".to_owned());
    let record = std::env::var_os("PORTOLAN_PEER_RECORD").is_some();
    assert!(!record || version == VERSION, "the peer is {version}, the files tell of {VERSION}");
    let api = Api { client };
    api.prepare().await;
    Some((api, cluster, record))
}

#[tokio::test]
async fn manifests_get_the_verdicts_of_kubernetes() {
    let peer = peer().await;
    let groups = case::load(&directory());
    let filter = std::env::var("PORTOLAN_MANIFESTS").unwrap_or_default();
    let mut servers = HashMap::new();
    let (mut count, mut failures) = (0, Vec::new());
    for (path, group) in &groups {
        if !path.display().to_string().contains(&filter) {
            continue;
        }
        if let Some((api, cluster, record)) = &peer {
            if group.cluster.name() != cluster {
                continue;
            }
            let (verdicts, failed) = run(api, path, group, true).await;
            if *record {
                record::rewrite(path, &verdicts);
            }
            failures.extend(failed);
        } else {
            if !servers.contains_key(group.cluster.name()) {
                servers.insert(group.cluster.name(), start(group.cluster).await);
            }
            let (_, api) = &servers[group.cluster.name()];
            failures.extend(run(api, path, group, false).await.1);
        }
        count += group.cases.len();
    }
    println!("{count} cases");
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
}

/// What each of the two servers makes of random Services and of random changes to them.
#[tokio::test]
async fn random_services_get_the_verdicts_of_kubernetes() {
    let Some((peer, cluster, false)) = peer().await else {
        println!("skipped: PORTOLAN_PEER_KUBECONFIG names no kube-apiserver to compare with");
        return;
    };
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (seed, count) = (number("PORTOLAN_PEER_SEED", 1), number("PORTOLAN_PEER_CASES", 1000));
    let all = [Cluster::Ipv4, Cluster::DualStack, Cluster::DenyExternalIps];
    let cluster = all.into_iter().find(|one| one.name() == cluster).expect("a known cluster");
    let (_server, own) = start(cluster).await;
    let group = random::group(cluster);
    let mut dice = random::Dice::new(seed);
    let (mut accepted, mut failures) = (0, Vec::new());
    for step in 0..count {
        let mut object = dice.base();
        case::merge(&mut object, &dice.change());
        let mut created = random::case(format!("{step}: create {object}"));
        created.create = Some(object.clone());
        let good = compare(&peer, &own, &group, &created, &mut failures).await;
        let change = dice.change();
        if !good {
            continue;
        }
        accepted += 1;
        let mut changed = random::case(format!("{step}: update {object} with {change}"));
        changed.given = Some(object);
        match step % 3 {
            0 => changed.update = Some(change),
            1 => changed.patch = Some(change),
            _ => changed.replace = Some(change),
        }
        compare(&peer, &own, &group, &changed, &mut failures).await;
    }
    println!("seed {seed}: {count} Services, {accepted} of them accepted and changed");
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// Whether both accept; what they do not agree about is added to the failures.
async fn compare(
    peer: &Api,
    own: &Api,
    group: &Group,
    case: &Case,
    failures: &mut Vec<String>,
) -> bool {
    let (mut expected, mut got) = (peer.run(group, case).await, own.run(group, case).await);
    for text in expected.refused.iter_mut().chain(&mut got.refused) {
        *text = random::without_random(text, case);
    }
    if expected.refused.iter().any(|text| text.ends_with(run::BROKEN)) {
        println!("{}: kube-apiserver {}", case.case, run::BROKEN);
        return false;
    }
    // A departure that `service/updates.yaml` explains.
    if expected.refused.iter().any(|text| text.starts_with("500 : duplicate nodePort")) {
        return false;
    }
    // Those are Portolan's own (`handlers/address_safety.rs`).
    got.warnings.retain(|text| !text.contains("proxies do not serve it"));
    if expected != got {
        let mut text = format!("{}\n", case.case);
        describe(&mut text, "kube-apiserver", &expected);
        describe(&mut text, "here", &got);
        failures.push(text);
    }
    expected.refused.is_empty() && got.refused.is_empty()
}
