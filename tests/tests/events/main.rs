//! Two thousand random events against the real API server, the real controllers and the real
//! node proxy in a network namespace: at every quiet point the EndpointSlices and the kernel do
//! what a reference of a few lines says they should.
//!
//! Everything runs in this process but the kernel, which is asked by opening connections.

mod cluster;
mod kernel;
mod reference;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use cluster::Cluster;
use kernel::Kernel;
use reference::Reference;

const EVENTS: u32 = 2_000;
/// A quiet point comes after about so many events.
const BURST: u32 = 40;
/// The proxy is killed and started again about once in so many events, quiet or not.
const RESTART: u32 = 150;
const PATIENCE: Duration = Duration::from_secs(30);

/// `PORTOLAN_TESTS_SEED`, else another one each time; it is printed, so that a failure can be had again.
fn seed() -> u64 {
    let given = std::env::var("PORTOLAN_TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| rand::rng().random())
}

#[test]
fn random_events_leave_the_kernel_as_the_reference_says() {
    if !portolan_tests::lab::root_or_skip() {
        return;
    }
    let seed = seed();
    eprintln!("PORTOLAN_TESTS_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut reference = Reference::default();
    let cluster = Cluster::start();
    let mut kernel = Kernel::start(&cluster);
    let mut slowest = Duration::ZERO;
    let mut quiet_points = 0;
    for event in 0..EVENTS {
        let what = reference.event(&mut dice);
        cluster.perform(&what);
        if dice.random_ratio(1, RESTART) {
            kernel.restart_proxy(&cluster);
        }
        if dice.random_ratio(1, BURST) || event + 1 == EVENTS {
            let last = event + 1 == EVENTS;
            let started = Instant::now();
            quiet(&cluster, &kernel, &reference, last, &format!("event {event}, seed {seed}"));
            slowest = slowest.max(started.elapsed());
            quiet_points += 1;
        }
    }
    eprintln!(
        "{EVENTS} events, {quiet_points} quiet points, the slowest converged and was checked in {slowest:?}"
    );
}

/// Waits until API and kernel agree with the reference; fails with the last difference.
#[track_caller]
fn quiet(cluster: &Cluster, kernel: &Kernel, reference: &Reference, thorough: bool, when: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(5);
    loop {
        let difference =
            cluster.compare(reference).and_then(|services| kernel.compare(&services, thorough));
        match difference {
            Ok(()) => return,
            Err(last) => assert!(
                Instant::now() < deadline,
                "{when}: no agreement within {PATIENCE:?}: {last}"
            ),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
