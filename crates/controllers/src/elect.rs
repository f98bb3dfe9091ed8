//! Leader election by a Lease, with Kubernetes' timings: of several processes one is active.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-controller-manager";
/// How long others respect a silent leader.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader tries to renew before it gives up.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// What a candidate remembers of a Lease: the last write, and when it was first seen by its own clock,
/// so that clocks of other machines do not matter.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

/// What a candidate does with the Lease that it sees.
#[derive(Debug, PartialEq)]
enum Step {
    /// Write this, the Lease is free or ours.
    Write(Box<LeaseSpec>),
    /// Somebody else leads; look again after this.
    Wait(Duration),
}

fn step(identity: &str, observed: Option<&Observed>, now: Timestamp, instant: Instant) -> Step {
    let spec = observed.map(|o| &o.spec);
    let holder = spec.and_then(|s| s.holder_identity.as_deref()).unwrap_or("");
    let ours = holder == identity;
    if let Some(observed) = observed.filter(|_| !holder.is_empty() && !ours) {
        let seconds = observed.spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let until = observed.since + seconds.map_or(LEASE_DURATION, Duration::from_secs);
        if until > instant {
            return Step::Wait(RETRY_PERIOD.min(until - instant));
        }
    }
    let transitions = spec.and_then(|s| s.lease_transitions).unwrap_or(0);
    let acquired = spec.and_then(|s| s.acquire_time.clone()).filter(|_| ours);
    Step::Write(Box::new(LeaseSpec {
        holder_identity: Some(identity.into()),
        lease_duration_seconds: Some(15),
        acquire_time: Some(acquired.unwrap_or(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if ours || spec.is_none() { transitions } else { transitions + 1 }),
        ..Default::default()
    }))
}

/// The lead, while it lasts.
pub(crate) struct Leadership {
    api: Api<Lease>,
    identity: String,
    lease: Lease,
}

impl Leadership {
    /// Waits until this process leads; `None` if `shutdown` comes first.
    pub(crate) async fn acquire(
        client: &Client,
        identity: &str,
        shutdown: &CancellationToken,
    ) -> Option<Self> {
        let api: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        let mut observed: Option<Observed> = None;
        loop {
            let pause = tokio::select! {
                () = shutdown.cancelled() => return None,
                tried = attempt(&api, identity, &mut observed) => match tried {
                    Ok(Ok(lease)) => {
                        tracing::info!(identity, lease = NAME, "leading");
                        return Some(Self { api, identity: identity.into(), lease });
                    }
                    Ok(Err(pause)) => pause,
                    Err(error) => {
                        tracing::debug!(%error, "lease not acquired");
                        Duration::from_millis(100)
                    }
                },
            };
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    /// Renews the Lease until that fails for too long; returns why.
    pub(crate) async fn keep(&mut self) -> Error {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY_PERIOD).await;
            let limit = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(limit.max(Duration::from_millis(1)), self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => break,
                Ok(Err(error)) => tracing::debug!(%error, "lease not renewed, trying again"),
                Err(_) => (),
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                break;
            }
        }
        Error::LeadershipLost { lease: format!("{NAMESPACE}/{NAME}") }
    }

    /// Renews once; `false` if somebody else holds the Lease.
    async fn renew(&mut self) -> Result<bool, kube::Error> {
        let mut lease = self.lease.clone();
        lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
        match self.api.replace(NAME, &PostParams::default(), &lease).await {
            Ok(lease) => self.lease = lease,
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                // Somebody wrote it: still ours?
                let Some(current) = self.api.get_opt(NAME).await? else { return Ok(false) };
                if holder(&current) != self.identity {
                    return Ok(false);
                }
                self.lease = current;
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Gives the Lease back, so that the next process need not wait.
    pub(crate) async fn release(&self) {
        let api = self.api.clone();
        let freed = async {
            let Some(mut lease) = api.get_opt(NAME).await? else { return Ok(()) };
            if holder(&lease) != self.identity {
                return Ok(());
            }
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            api.replace(NAME, &PostParams::default(), &lease).await.map(drop)
        };
        match tokio::time::timeout(Duration::from_secs(2), freed).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::debug!(%error, "lease not given back"),
            Err(_) => tracing::debug!("lease not given back in time"),
        }
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or("")
}

/// Tries once to get the Lease; the inner error is how long to wait.
async fn attempt(
    api: &Api<Lease>,
    identity: &str,
    observed: &mut Option<Observed>,
) -> Result<Result<Lease, Duration>, kube::Error> {
    let current = api.get_opt(NAME).await?;
    let spec = current.as_ref().map(|l| l.spec.clone().unwrap_or_default());
    if spec.as_ref() != observed.as_ref().map(|o| &o.spec) {
        *observed = spec.map(|spec| Observed { spec, since: Instant::now() });
    }
    let spec = match step(identity, observed.as_ref(), Timestamp::now(), Instant::now()) {
        Step::Wait(pause) => return Ok(Err(pause)),
        Step::Write(spec) => *spec,
    };
    let written = match current {
        Some(mut lease) => {
            lease.spec = Some(spec);
            api.replace(NAME, &PostParams::default(), &lease).await
        }
        None => {
            let metadata = ObjectMeta { name: Some(NAME.into()), ..Default::default() };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
        }
    };
    match written {
        Ok(lease) => Ok(Ok(lease)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Err(RETRY_PERIOD)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(by: &str, since: Instant) -> Observed {
        let spec = LeaseSpec {
            holder_identity: Some(by.into()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..Default::default()
        };
        Observed { spec, since }
    }

    fn written(step: Step) -> LeaseSpec {
        match step {
            Step::Write(spec) => *spec,
            Step::Wait(pause) => panic!("waits {pause:?}"),
        }
    }

    #[test]
    fn a_lease_is_taken_when_free_own_or_expired() {
        let (now, instant) = (Timestamp::from_second(1_800_000_000).unwrap(), Instant::now());
        assert_eq!(written(step("me", None, now, instant)).lease_transitions, Some(0));
        assert_eq!(
            written(step("me", Some(&held("me", instant)), now, instant)).lease_transitions,
            Some(3)
        );
        assert_eq!(
            written(step("me", Some(&held("", instant)), now, instant)).lease_transitions,
            Some(4)
        );
        let other = held("other", instant);
        assert_eq!(step("me", Some(&other), now, instant), Step::Wait(RETRY_PERIOD));
        assert_eq!(
            step("me", Some(&other), now, instant + Duration::from_secs(14)),
            Step::Wait(Duration::from_secs(1))
        );
        let late = step("me", Some(&other), now, instant + Duration::from_secs(15));
        assert_eq!(written(late).holder_identity.as_deref(), Some("me"));
    }
}
