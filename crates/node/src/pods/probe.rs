//! Probes: what is asked of a container, and what the answers come to.

mod http;

use std::{net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time::Instant};

use super::{
    exec::{self, Outcome},
    worker::Running,
};

pub(crate) use http::request;

/// Which question a probe answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    /// As events name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What a probe tells its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The result changed to this.
    Now(bool),
    /// One more failure, for an event; the text says what went wrong.
    Failure(String),
}

/// Counts answers until they decide. Pure.
#[derive(Clone, Debug)]
struct Count {
    success_threshold: i32,
    failure_threshold: i32,
    result: bool,
    same: i32,
    last: Option<bool>,
}

impl Count {
    fn new(kind: Kind, probe: &Probe, initially: bool) -> Self {
        Self {
            success_threshold: if kind == Kind::Readiness {
                probe.success_threshold.unwrap_or(1).max(1)
            } else {
                1
            },
            failure_threshold: probe.failure_threshold.unwrap_or(3).max(1),
            result: initially,
            same: 0,
            last: None,
        }
    }

    /// Takes an answer in; true when enough equal ones came to make it the result.
    fn add(&mut self, answer: bool) -> bool {
        self.same = if self.last == Some(answer) { self.same + 1 } else { 1 };
        self.last = Some(answer);
        let needed = if answer { self.success_threshold } else { self.failure_threshold };
        if self.same < needed {
            return false;
        }
        self.result = answer;
        true
    }
}

/// While a container has just started, it is asked after these pauses too, so that one that needs
/// a moment is ready after that moment and not after a whole period. Such early refusals do not
/// count. In milliseconds.
const EARLY: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1000];

/// Asks for as long as it is polled. Verdicts go to `tell`; the future ends after a startup
/// probe's success or a startup or liveness probe's failure, as there is nothing more to ask.
pub(crate) async fn run(
    kind: Kind,
    probe: Probe,
    container: Container,
    running: Running,
    ip: IpAddr,
    initially: bool,
    mut tell: impl FnMut(Verdict),
) {
    let seconds = |n: Option<i32>, default: i32| {
        Duration::from_secs(n.unwrap_or(default).max(0).cast_unsigned().into())
    };
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    let delay = seconds(probe.initial_delay_seconds, 0);
    let running_for = jiff::Timestamp::now().duration_since(running.started_at);
    let age = Duration::try_from(running_for).unwrap_or_default();
    tokio::time::sleep(delay.saturating_sub(age)).await;
    let mut count = Count::new(kind, &probe, initially);
    let mut early = EARLY.iter().copied();
    if kind == Kind::Liveness || initially {
        early.nth(EARLY.len());
    }
    let first = Instant::now();
    let mut regular = first;
    loop {
        let answer = ask(&probe, &container, &running, ip, timeout).await;
        let succeeded = answer.is_ok();
        let soon = early
            .next()
            .map(Duration::from_millis)
            .filter(|_| !succeeded && first.elapsed() < period);
        if let Some(pause) = soon {
            // A command costs more than a connection: leave it more time.
            tokio::time::sleep(if probe.exec.is_some() { pause * 4 } else { pause }).await;
            continue;
        }
        early.nth(EARLY.len());
        let before = count.result;
        let decided = count.add(succeeded);
        if let Err(why) = answer {
            tell(Verdict::Failure(why));
        }
        if decided && (count.result != before || kind != Kind::Readiness) {
            let told = !(kind == Kind::Liveness && succeeded);
            if told {
                tell(Verdict::Now(succeeded));
                if kind != Kind::Readiness {
                    return;
                }
            }
        }
        regular += period;
        if regular < Instant::now() {
            regular = Instant::now() + period;
        }
        tokio::time::sleep_until(regular).await;
    }
}

/// Asks once. The error says why the answer is no.
async fn ask(
    probe: &Probe,
    container: &Container,
    running: &Running,
    ip: IpAddr,
    timeout: Duration,
) -> Result<(), String> {
    if let Some(action) = &probe.exec {
        let argv = action.command.clone().unwrap_or_default();
        return match exec::run(running.clone(), argv, timeout).await {
            Outcome::Ended(0, _) => Ok(()),
            Outcome::Ended(_, text) => Err(text.trim_end().to_owned()),
            Outcome::TimedOut => Err(format!("command timed out after {}s", timeout.as_secs())),
            Outcome::Failed(why) => Err(why),
        };
    }
    if let Some(action) = &probe.http_get {
        let answer = request(action, container, ip, "kube-probe/1.36", timeout).await?;
        return if (200..400).contains(&answer) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {answer}"))
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let port = port(&action.port, container)?;
        let host = action
            .host
            .as_deref()
            .filter(|h| !h.is_empty())
            .map_or_else(|| ip.to_string(), str::to_owned);
        let shown =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        return match tokio::time::timeout(timeout, TcpStream::connect((host.as_str(), port))).await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(format!("dial tcp {shown}: connect: {}", http::plain(&e))),
            Err(_) => Err(format!("dial tcp {shown}: i/o timeout")),
        };
    }
    Err("this kind of probe is not supported here".to_owned())
}

/// The number of a port that may be given by name.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(n) => Some(*n),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named =
                ports.filter(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port).next();
            named.or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("couldn't find port: {port:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_decide_when_enough_of_them_agree() {
        let probe =
            Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut count = Count::new(Kind::Readiness, &probe, false);
        let decided: Vec<_> = [true, false, true, true, false, false, true, false, false, false]
            .map(|a| count.add(a))
            .into();
        assert_eq!(decided, [false, false, false, true, false, false, false, false, false, true]);
        assert!(!count.result);
        // Liveness and startup need one success, whatever is written.
        assert!(Count::new(Kind::Liveness, &probe, true).add(true));
    }

    #[test]
    fn ports_may_have_names() {
        let container: Container = serde_json::from_value(
            serde_json::json!({"name": "c", "ports": [{"name": "http", "containerPort": 80}]}),
        )
        .unwrap();
        assert_eq!(port(&IntOrString::String("http".into()), &container), Ok(80));
        assert_eq!(port(&IntOrString::Int(81), &container), Ok(81));
        assert!(port(&IntOrString::String("none".into()), &container).is_err());
        assert!(port(&IntOrString::Int(0), &container).is_err());
    }
}
