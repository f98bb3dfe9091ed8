//! What was said of each Service lately: nobody is told the same twice, nor too often.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::conditions::{Difference, Say, Verdict};

/// Other words for the same status are written at most this often.
pub(super) const WORDS_PERIOD: Duration = Duration::from_secs(5);
/// A state that lasts this long is worth an event: a Service made before its pods is none.
pub(super) const TELL_AFTER: Duration = Duration::from_secs(5);

/// How a reason is told.
#[derive(Debug)]
struct Standing {
    reason: &'static str,
    since: Instant,
    told: bool,
    /// A warning was told that has not been taken back.
    warned: bool,
}

/// One Service.
#[derive(Debug, Default)]
pub(super) struct Memory {
    written: Option<Instant>,
    standing: HashMap<&'static str, Standing>,
    /// Since when the load balancer's address has been pending.
    pub(super) pending: Option<Instant>,
}

/// An event to record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Memory {
    /// Whether to write now; else, how long to wait.
    pub(super) fn may_write(&self, difference: Difference, now: Instant) -> Result<(), Duration> {
        match self.written {
            Some(at) if difference < Difference::Status && now < at + WORDS_PERIOD => {
                Err(at + WORDS_PERIOD - now)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn wrote(&mut self, now: Instant) {
        self.written = Some(now);
    }

    /// The event for what is said of one condition, if there is one, and when to ask again.
    /// `old` is the reason that the Service had when we first saw it: that was told already.
    pub(super) fn tell(
        &mut self,
        kind: &'static str,
        say: &Say,
        old: Option<&str>,
        now: Instant,
    ) -> (Option<Telling>, Option<Duration>) {
        let verdict = match say {
            Say::This(verdict) => verdict,
            Say::Same => return (None, None),
            Say::Nothing => {
                self.standing.remove(kind);
                return (None, None);
            }
        };
        let Verdict { status, reason, message } = verdict;
        let standing = self.standing.entry(kind).or_insert_with(|| {
            let told = old == Some(*reason);
            Standing { reason, since: now, told, warned: told && *status == "False" }
        });
        if standing.reason != *reason {
            *standing = Standing { reason, since: now, told: false, warned: standing.warned };
        }
        // Good news only after bad ones, and transitions are none.
        let worth = match *status {
            "False" => !matches!(*reason, "Applying" | "Pending" | "NotPublished"),
            "True" => standing.warned,
            _ => false,
        };
        if standing.told || !worth {
            return (None, None);
        }
        let waited = now.saturating_duration_since(standing.since);
        if *status == "False" && waited < TELL_AFTER {
            return (None, Some(TELL_AFTER - waited));
        }
        standing.told = true;
        standing.warned = *status == "False";
        let telling = Telling { warning: *status == "False", reason, message: message.clone() };
        (Some(telling), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_when_it_lasts_and_taken_back_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let no = Say::This(Verdict::no("NoPodsSelected", "none"));
        let other = Say::This(Verdict::no("PodsNotReady", "0 of 1"));
        let yes = Say::This(Verdict::yes("EndpointsReady", "ready"));
        let mut memory = Memory::default();
        let mut tell = |say: &Say, seconds| {
            let (telling, _) = memory.tell("E", say, None, at(seconds));
            telling.map(|t| (t.warning, t.reason))
        };
        assert_eq!(tell(&no, 0), None);
        assert_eq!(tell(&yes, 1), None, "nobody was alarmed");
        assert_eq!(tell(&no, 2), None);
        assert_eq!(tell(&other, 4), None, "another reason");
        assert_eq!(tell(&other, 9), Some((true, "PodsNotReady")));
        assert_eq!(tell(&other, 99), None);
        assert_eq!(tell(&yes, 100), Some((false, "EndpointsReady")));
        assert_eq!(tell(&yes, 101), None);
    }

    #[test]
    fn what_stood_there_at_the_start_was_told() {
        let start = Instant::now();
        let no = Say::This(Verdict::no("NoPodsSelected", "none"));
        let mut memory = Memory::default();
        for seconds in [0, 100] {
            let at = start + Duration::from_secs(seconds);
            assert_eq!(memory.tell("E", &no, Some("NoPodsSelected"), at), (None, None));
        }
    }

    #[test]
    fn words_wait_and_statuses_do_not() {
        let now = Instant::now();
        let mut memory = Memory::default();
        assert!(memory.may_write(Difference::Words, now).is_ok());
        memory.wrote(now);
        assert_eq!(memory.may_write(Difference::Words, now), Err(WORDS_PERIOD));
        assert!(memory.may_write(Difference::Status, now).is_ok());
        assert!(memory.may_write(Difference::Words, now + WORDS_PERIOD).is_ok());
    }
}
