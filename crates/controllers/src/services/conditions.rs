//! What is said of a Service, and the patch that says it.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Service,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use serde_json::{Value, json};

/// The Service has ready endpoints.
pub(super) const ENDPOINTS_READY: &str = "EndpointsReady";
/// The nodes do what the Service says.
pub(super) const PROGRAMMED: &str = "Programmed";
/// The load balancer has an address.
pub(super) const LOAD_BALANCER_READY: &str = "LoadBalancerReady";

/// A condition without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `True`, `False` or `Unknown`.
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: "True", reason, message: message.into() }
    }

    pub(super) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: "False", reason, message: message.into() }
    }

    pub(super) fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: "Unknown", reason, message: message.into() }
    }
}

/// What to do about one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// It is so.
    This(Verdict),
    /// What was said stays, whatever it was.
    Same,
    /// The Service is none of which this can be said.
    Nothing,
}

pub(super) fn all(service: &Service) -> &[Condition] {
    let conditions = service.status.as_ref().and_then(|s| s.conditions.as_deref());
    conditions.unwrap_or_default()
}

pub(super) fn get<'a>(service: &'a Service, kind: &str) -> Option<&'a Condition> {
    all(service).iter().find(|c| c.type_ == kind)
}

/// How a condition differs from what is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    None,
    /// Only its reason or message.
    Words,
    Status,
}

pub(super) fn difference(current: Option<&Condition>, say: &Say) -> Difference {
    match (current, say) {
        (_, Say::Same) | (None, Say::Nothing) => Difference::None,
        (Some(_), Say::Nothing) | (None, Say::This(_)) => Difference::Status,
        (Some(c), Say::This(v)) if c.status != v.status => Difference::Status,
        (Some(c), Say::This(v)) if c.reason != v.reason || c.message != v.message => {
            Difference::Words
        }
        (Some(_), Say::This(_)) => Difference::None,
    }
}

/// The strategic merge patch of the status that says all of it, and leaves the rest of the status
/// and other conditions alone. `None` if all of it is said.
pub(super) fn patch(
    service: &Service,
    say: &[(&'static str, Say)],
    now: Timestamp,
) -> Option<Value> {
    let mut conditions = Vec::new();
    for (kind, say) in say {
        let current = get(service, kind);
        let difference = difference(current, say);
        if difference == Difference::None {
            continue;
        }
        let Say::This(verdict) = say else {
            conditions.push(json!({"$patch": "delete", "type": kind}));
            continue;
        };
        let since = match current {
            Some(c) if difference == Difference::Words => c.last_transition_time.clone(),
            _ => Time(now),
        };
        conditions.push(json!({
            "type": kind, "status": verdict.status, "reason": verdict.reason,
            "message": verdict.message, "lastTransitionTime": since,
        }));
    }
    let uid = &service.metadata.uid;
    (!conditions.is_empty())
        .then(|| json!({"metadata": {"uid": uid}, "status": {"conditions": conditions}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_patched() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"uid": "u"},
            "status": {"conditions": [
                {"type": ENDPOINTS_READY, "status": "False", "reason": "A", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": PROGRAMMED, "status": "True", "reason": "B", "message": "b", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Another's", "status": "True", "reason": "C", "message": "c", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        }))
        .unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let of = |say: [Say; 2]| {
            let [endpoints, programmed] = say;
            patch(&service, &[(ENDPOINTS_READY, endpoints), (PROGRAMMED, programmed)], now)
        };
        let b = || Say::This(Verdict::yes("B", "b"));
        assert_eq!(of([Say::Same, b()]), None);
        assert_eq!(of([Say::This(Verdict::no("A", "a")), b()]), None);
        let first = |patch: Option<Value>| patch.unwrap()["status"]["conditions"][0].clone();
        // Other words: it has been so since then.
        let words = first(of([Say::This(Verdict::no("A", "other")), b()]));
        assert_eq!(words["lastTransitionTime"], "2026-01-01T00:00:00Z");
        let turned = first(of([Say::This(Verdict::yes("A", "a")), b()]));
        assert_eq!(turned["lastTransitionTime"], "2027-01-15T08:00:00Z");
        let gone = of([Say::Same, Say::Nothing]).unwrap();
        assert_eq!(
            gone,
            json!({"metadata": {"uid": "u"}, "status": {"conditions": [{"$patch": "delete", "type": PROGRAMMED}]}})
        );
    }
}
