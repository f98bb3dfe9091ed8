//! Keeping things running: when a component that ended is started again.

use std::time::Duration;

/// The first pause between two starts.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause between two starts.
const LONGEST: Duration = Duration::from_secs(5);
/// Who ran this long before it ended is taken for healthy: the pauses start over.
const HEALTHY: Duration = Duration::from_secs(10);

/// The pauses between the starts of one component: none after a healthy run, then doubling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next start, after a run of the given length ended by itself.
    pub fn after(&mut self, run: Duration) -> Duration {
        if run >= HEALTHY {
            self.failures = 0;
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(LONGEST),
        };
        self.failures += 1;
        pause
    }

    /// How often in a row it ended soon after its start.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets what was; for a restart that somebody asked for.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Runs `start` until `stop` is cancelled, again and again where it ends or fails.
///
/// The future that `start` makes must end soon after `stop` is cancelled.
pub async fn keep_running<F, E>(
    name: &'static str,
    stop: tokio_util::sync::CancellationToken,
    mut start: impl FnMut() -> F,
) where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut backoff = Backoff::default();
    loop {
        let started = tokio::time::Instant::now();
        let result = start().await;
        if stop.is_cancelled() {
            return;
        }
        let pause = backoff.after(started.elapsed());
        match result {
            Ok(()) => tracing::warn!(component = name, ?pause, "ended unasked; starting it again"),
            Err(error) => {
                tracing::error!(component = name, %error, ?pause, "failed; starting it again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_over_after_a_healthy_run() {
        let mut backoff = Backoff::default();
        let soon = Duration::from_millis(3);
        let pauses: Vec<_> = (0..10).map(|_| backoff.after(soon).as_millis()).collect();
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.failures(), 10);
        assert_eq!(backoff.after(Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(backoff.failures(), 1);
    }

    #[tokio::test]
    async fn a_component_that_fails_is_started_again_until_stopped() {
        let stop = tokio_util::sync::CancellationToken::new();
        let starts = AtomicU32::new(0);
        keep_running("test", stop.clone(), || async {
            if starts.fetch_add(1, Ordering::Relaxed) == 2 {
                stop.cancel();
            }
            Err::<(), _>("no")
        })
        .await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
    }
}
