//! Parts die by SIGKILL in random order while Services and pods come and go: nobody who talks to
//! a healthy endpoint notices, and in the end each kernel holds what the model says.

use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use portolan_linux::netns::NetNs;
use portolan_model::frontend::Family;
use portolan_model::node_view::NodePortAddresses;
use portolan_model::{NodeView, Snapshot, desired};
use portolan_node::proxy::datapath::{self, Host};
use portolan_node::reflect;
use portolan_tests::manifest::{deployment, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::restarts::{Clients, steady};

const PARTS: [&str; 5] =
    ["apiserver", "controllers", "proxy@control-plane", "proxy@worker-1", "proxy@worker-2"];

/// `PORTOLAN_TESTS_CHURN_SECONDS`; five minutes are 300.
fn duration() -> Duration {
    let given = std::env::var("PORTOLAN_TESTS_CHURN_SECONDS").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(25))
}

fn seed() -> u64 {
    let given = std::env::var("PORTOLAN_TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| rand::rng().random())
}

#[test]
fn killing_parts_in_random_order_during_churn_loses_nothing() {
    let Some(lab) = Lab::start(&Options::new("churn")) else { return };
    let seed = seed();
    eprintln!("PORTOLAN_TESTS_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let namespace = steady(&lab, "churn");
    let clients = Clients::start(&namespace);
    let end = Instant::now() + duration();
    let mut others = StdRng::seed_from_u64(seed.wrapping_add(1));
    let mut kills = std::collections::BTreeMap::new();
    let changes = std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let mut changes = 0;
            while Instant::now() < end {
                change(&namespace, &mut others);
                changes += 1;
            }
            changes
        });
        // On a slow machine too, each part dies.
        while Instant::now() < end || kills.len() < PARTS.len() {
            let part = PARTS[dice.random_range(0..PARTS.len())];
            lab.portolan(&["lab", "restart", "--kill", part]).ok();
            *kills.entry(part).or_insert(0) += 1;
            // Time for something to change between two deaths.
            std::thread::sleep(Duration::from_millis(dice.random_range(0..1000)));
        }
        changing.join().expect("the changes")
    });
    eprintln!("{kills:?} kills, {changes} changes");
    clients
        .nothing_lost(&format!("{kills:?} were killed and {changes} things changed (seed {seed})"));
    eventually("all parts are well", || {
        let ready = lab.kubectl(&["get", "--raw", "/readyz"]);
        check(ready.succeeded(), &ready.stderr)
    });
    for node in lab.nodes() {
        eventually(&format!("the kernel of {node} holds what the model says"), || {
            let differences = differences(&lab, node);
            check(differences.is_empty(), &differences)
        });
    }
}

/// Something happens; the API server may be away just then, which is no matter.
fn change(namespace: &Namespace<'_>, dice: &mut StdRng) {
    let name = format!("moving-{}", dice.random_range(0..4));
    let replicas = dice.random_range(0..4);
    let spec = format!(
        "type: {}, selector: {{app: {name}}}, ports: [{{port: 80, targetPort: http}}]",
        ["ClusterIP", "NodePort"][dice.random_range(0..2)],
    );
    match dice.random_range(0..6) {
        0 => namespace.kubectl(&["delete", "service", &name, "--ignore-not-found"]),
        1 => namespace.kubectl(&[
            "delete",
            "deployment",
            &name,
            "--ignore-not-found",
            "--wait=false",
        ]),
        2 | 3 => {
            namespace.apply(&(deployment(&name, replicas, "") + "\n---\n" + &service(&name, &spec)))
        }
        _ => namespace.kubectl(&["scale", "deployment", &name, &format!("--replicas={replicas}")]),
    };
}

/// Where a node's kernel differs from what the model makes of the cluster's objects.
fn differences(lab: &Lab, node: &str) -> Vec<String> {
    let snapshot = match snapshot(lab) {
        Ok(snapshot) => snapshot,
        Err(error) => return vec![error],
    };
    let view = NodeView {
        name: node.into(),
        families: vec![Family::Ipv4],
        cluster_cidrs: vec!["10.244.0.0/16".parse().expect("a network")],
        node_port_addresses: NodePortAddresses::All,
        loopback_node_ports: true,
        masquerade_all: false,
        masquerade_egress: true,
    };
    let path = format!("/run/portolan/{}/netns/{node}", lab.name);
    // Whole in mode `ebpf` too, beneath the sockets.
    let observed = NetNs::open(&path).expect("the node's namespace").run(|| {
        let mut datapath = datapath::open("nftables", &Host::default()).expect("a datapath");
        datapath.observe()
    });
    match observed.expect("the node's namespace") {
        Ok(observed) => observed.differences(&desired(&snapshot, &view)),
        Err(error) => vec![error.to_string()],
    }
}

fn snapshot(lab: &Lab) -> Result<Snapshot, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let file = Kubeconfig::read_from(&lab.kubeconfig).expect("the lab's kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let client = Client::try_from(config.expect("the lab's kubeconfig"));
        reflect::list(&client.expect("a client")).await.map_err(|error| error.to_string())
    })
}
