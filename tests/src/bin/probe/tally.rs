//! What happened to a series of requests, printed as JSON at its end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

const KEPT_FAILURES: usize = 100;

#[derive(Debug, Serialize)]
pub(crate) struct Tally {
    #[serde(skip)]
    started: Instant,
    answered: u64,
    bodies: BTreeMap<String, u64>,
    failures: Vec<String>,
    failed: u64,
    slowest_ms: f64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            answered: 0,
            bodies: BTreeMap::new(),
            failures: Vec::new(),
            failed: 0,
            slowest_ms: 0.0,
        }
    }

    pub(crate) fn count(&mut self, result: anyhow::Result<String>, took: Duration) {
        match result {
            Ok(body) => {
                self.answered += 1;
                *self.bodies.entry(body).or_default() += 1;
                self.slowest_ms = self.slowest_ms.max(took.as_secs_f64() * 1000.0);
            }
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < KEPT_FAILURES {
                    let at = self.started.elapsed().as_millis();
                    self.failures
                        .push(format!("{at} ms, after {} ms: {error:#}", took.as_millis()));
                }
            }
        }
    }

    /// Calls `request` every `interval` until standard input closes; prints `ready` after the first
    /// one that succeeds (failures before it do not count: what is tested has not begun).
    pub(crate) fn until_input_closes(
        mut self,
        interval: Duration,
        mut request: impl FnMut() -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let closed = input_closed();
        let mut ready = false;
        while !closed.load(Ordering::Relaxed) {
            let before = Instant::now();
            let result = request();
            if let (Ok(body), false) = (&result, ready) {
                ready = true;
                println!("ready {body}");
                std::io::stdout().flush()?;
            }
            if ready {
                self.count(result, before.elapsed());
            }
            std::thread::sleep(interval.saturating_sub(before.elapsed()));
        }
        self.print()
    }

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// Becomes true when standard input reaches its end.
fn input_closed() -> Arc<AtomicBool> {
    let closed = Arc::new(AtomicBool::new(false));
    let flag = closed.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        flag.store(true, Ordering::Relaxed);
    });
    closed
}
