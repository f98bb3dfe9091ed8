//! Waiting for what comes about by itself, with a generous limit and a useful last word.

use std::time::{Duration, Instant};

/// How long anything in a lab may take on a busy machine before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `attempt` until it answers `Ok`, for at most [`PATIENCE`]; then fails with its last `Err`.
///
/// For conditions that `kubectl wait` cannot name; the pause between attempts grows from 20 ms to 250 ms.
#[track_caller]
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, attempt)
}

/// As [`eventually`], with a limit of its own.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(20);
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= deadline => {
                panic!("not within {limit:?}: {what}; last seen: {last}")
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// `Ok` if `condition`, else an `Err` that shows `seen`: the usual last line of an attempt.
///
/// # Errors
/// `seen`, printed, where the condition does not hold.
pub fn check(condition: bool, seen: &impl std::fmt::Debug) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{seen:?}")) }
}
