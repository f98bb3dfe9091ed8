//! Parts die, restart and change their proxy mode in random order while Services and pods come and
//! go: nobody who talks to a healthy endpoint notices. At every quiet point each kernel holds what
//! the model says, in the mode that the node is in, and no process has grown.

mod growth;
mod kernel;
mod objects;
mod parts;

use std::time::{Duration, Instant};

use portolan_tests::probe::Background;
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace, Options, eventually};
use rand::Rng;

use self::growth::{Growth, Sizes};
use self::objects::Objects;
use self::parts::Parts;
use crate::restarts::{Clients, steady};

/// The longest time from one quiet point to the next.
const ROUND: Duration = Duration::from_secs(20);

/// `PORTOLAN_TESTS_CHURN_SECONDS`; five minutes are 300.
fn duration() -> Duration {
    let given = std::env::var("PORTOLAN_TESTS_CHURN_SECONDS").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(20))
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
    let namespace = steady(&lab, "churn");
    let clients = Clients::start(&namespace);
    let mut parts = Parts::new(&lab, seed);
    let mut objects = Objects::new(&namespace, seed.wrapping_add(1));
    let mut growth = Growth::default();
    growth.note(Sizes::look(&lab));
    let mut before: Option<Connections> = None;
    let (length, started) = (duration(), Instant::now());
    // Each part is spared for a third of the time, so that its processes grow old.
    let shift = length / parts::SHIFTS as u32;
    for round in 0.. {
        let number = (started.elapsed().as_millis() / shift.as_millis().max(1)) as usize;
        if number >= parts::SHIFTS && parts.all_were_hit() {
            break;
        }
        let connections = Connections::open(&namespace);
        let end = Instant::now() + ROUND.min(shift);
        std::thread::scope(|scope| {
            scope.spawn(|| objects.change_until(end));
            parts.hit_until(end, number % parts::SHIFTS);
        });
        quiet(&lab, &objects, &parts);
        objects.clear();
        quiet(&lab, &objects, &parts);
        // They have seen one round or two, and with them a change of modes or two.
        if let Some(connections) = before.replace(connections) {
            connections.lived(&format!("round {round} (seed {seed})"));
        }
        let sizes = Sizes::look(&lab);
        eprintln!("{:>5} s  {parts}  {objects}  {sizes}", started.elapsed().as_secs());
        growth.note(sizes);
    }
    if let Some(connections) = before {
        connections.lived("the last round");
    }
    clients.nothing_lost(&format!("{parts} and {objects} (seed {seed})"));
    let grown = growth.found();
    assert!(grown.is_empty(), "{grown:#?}");
}

/// All changes have stopped: waits until everybody has taken note and the kernels are as they
/// should be.
fn quiet(lab: &Lab, objects: &Objects<'_>, parts: &Parts<'_>) {
    eventually("the API is ready", || {
        let ready = lab.kubectl(&["get", "--raw", "/readyz"]);
        check(ready.succeeded(), &ready.stderr)
    });
    eventually("pods are as their Deployments want them", || objects.settled());
    eventually("nothing is left of pods", || objects::no_pod_left_anything(lab));
    for node in lab.nodes() {
        let mode = parts.mode_of(node);
        eventually(&format!("the kernel of {node} holds what the model says, as {mode}"), || {
            let differences = kernel::differences(lab, node, mode);
            check(differences.is_empty(), &differences)
        });
    }
}

/// Connections through a Service that stay open while everything around them changes.
struct Connections(Vec<(String, Background)>);

impl Connections {
    fn open(namespace: &Namespace<'_>) -> Self {
        let lab = namespace.lab;
        let vip = format!("{}:82", namespace.cluster_ip("steady"));
        let port = namespace.field("service", "steady", ".spec.ports[2].nodePort");
        let client = namespace.pod("client");
        let places = [
            ("control-plane", vip.clone()),
            ("worker-2", vip.clone()),
            (&client, vip),
            ("outside", format!("{}:{port}", lab.node_address("worker-1"))),
        ];
        let open = |(place, to): (&str, String)| {
            let words = ["hold", &to, "--interval-ms", "50"];
            (format!("{place} to {to}"), Background::start(lab, place, &words))
        };
        Self(places.into_iter().map(open).collect())
    }

    #[track_caller]
    fn lived(self, until: &str) {
        for (what, connection) in self.0 {
            connection.stop().nothing_lost(&format!("a connection from {what} until {until}"));
        }
    }
}
