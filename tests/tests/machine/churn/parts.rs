//! The parts of the lab, and what befalls them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use portolan_tests::Lab;
use portolan_tests::wait::{check, eventually};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many groups of parts there are; each is spared in one shift of them.
pub(super) const SHIFTS: usize = 3;

/// The DNS is not among them: its pods' clients ask again when one of them dies, which has a test
/// of its own.
const PARTS: [(&str, usize); 8] = [
    ("apiserver", 0),
    ("controllers", 0),
    ("node@control-plane", 1),
    ("node@worker-1", 1),
    ("node@worker-2", 1),
    ("proxy@control-plane", PROXIES_SPARED),
    ("proxy@worker-1", PROXIES_SPARED),
    ("proxy@worker-2", PROXIES_SPARED),
];

/// The shift in which they are.
const PROXIES_SPARED: usize = 2;

/// The modes that leave connections alone when a node goes over to another one: relays of mode
/// `userspace` end with their process.
const MODES: [&str; 3] = ["ebpf", "nftables", "iptables"];

pub(super) struct Parts<'lab> {
    lab: &'lab Lab,
    dice: StdRng,
    hits: BTreeMap<&'static str, usize>,
    /// How many of them were changes of mode.
    switches: usize,
    modes: BTreeMap<&'static str, String>,
}

impl<'lab> Parts<'lab> {
    pub(super) fn new(lab: &'lab Lab, seed: u64) -> Self {
        let mode = lab.proxy_mode();
        let modes = lab.nodes().map(|node| (node, mode.clone())).into();
        let dice = StdRng::seed_from_u64(seed);
        Self { lab, dice, hits: BTreeMap::new(), switches: 0, modes }
    }

    pub(super) fn mode_of(&self, node: &str) -> &str {
        &self.modes[node]
    }

    pub(super) fn hits(&self) -> usize {
        self.hits.values().sum()
    }

    pub(super) fn all_were_hit(&self) -> bool {
        self.hits.len() == PARTS.len()
    }

    /// One part after the other is killed, restarted or has its mode changed, but for those that
    /// are spared in that shift.
    pub(super) fn hit_until(&mut self, end: Instant, shift: usize) {
        let parts: Vec<_> =
            PARTS.iter().filter(|(_, spared)| *spared != shift).map(|(part, _)| *part).collect();
        if shift == PROXIES_SPARED {
            self.spread_modes();
        }
        while Instant::now() < end {
            let part = parts[self.dice.random_range(0..parts.len())];
            self.hit(part);
            *self.hits.entry(part).or_insert(0) += 1;
            // Time for something to change between two of them.
            std::thread::sleep(Duration::from_millis(self.dice.random_range(0..1000)));
        }
        // A mode is told from its node once its proxy has cleared up after the one before.
        for (node, mode) in &self.modes {
            let url = "http://127.0.0.1:10249";
            eventually(&format!("the proxy of {node} serves as {mode}"), || {
                let [told, healthy] = ["proxyMode", "healthz"]
                    .map(|path| self.lab.curl(node, &format!("{url}/{path}")));
                check(
                    told.text() == mode && healthy.text() == "ok",
                    &(&told.stdout, &healthy.stdout),
                )
            });
        }
    }

    /// Proxies that are spared grow old in one mode each.
    fn spread_modes(&mut self) {
        for (node, mode) in self.lab.nodes().into_iter().zip(MODES) {
            if self.modes[node] != mode {
                let proxy = format!("proxy@{node}");
                self.lab.portolan(&["lab", "restart", "--proxy-mode", mode, &proxy]).ok();
                self.note_mode(node, mode);
            }
        }
    }

    fn note_mode(&mut self, node: &'static str, mode: &str) {
        let before = self.modes.insert(node, mode.to_owned());
        self.switches += usize::from(before.is_none_or(|before| before != mode));
    }

    fn hit(&mut self, part: &'static str) {
        let mut words = vec!["lab", "restart"];
        let proxy = part.strip_prefix("proxy@").filter(|_| self.dice.random_bool(0.5));
        if let Some(node) = proxy {
            let mode = MODES[self.dice.random_range(0..MODES.len())];
            self.note_mode(node, mode);
            words.extend(["--proxy-mode", mode]);
        }
        if self.dice.random_bool(0.5) {
            words.push("--kill");
        }
        words.push(part);
        self.lab.portolan(&words).ok();
    }
}

impl fmt::Display for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} restarts, {} changes of mode", self.hits(), self.switches)
    }
}
