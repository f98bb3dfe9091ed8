//! The components as the supervisor sees them: running, or waiting to be started again.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use portolan_linux::process::Pidfd;
use tokio::sync::mpsc;

use super::serve::{Call, Reply};
use crate::lab::control::{ComponentStatus, Exited, Request, Restarted, Status};
use crate::lab::paths::Paths;
use crate::lab::plan::{Component, Kind, Selector};
use crate::lab::process;
use crate::lab::restart::How;
use crate::supervise::Backoff;

/// How long a component may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

pub(super) struct Children {
    paths: Paths,
    children: Vec<Child>,
    /// Who wants to hear of ends, and what ended so far.
    listeners: Vec<Reply>,
    exits: Vec<Exited>,
}

struct Child {
    component: Component,
    listeners: Vec<TcpListener>,
    state: State,
    backoff: Backoff,
    restarts: u32,
    last_exit: Option<String>,
    /// Who waits for it to run again.
    waiting: Vec<Reply>,
}

enum State {
    Running {
        process: Pidfd,
        since: Instant,
        /// Asked to stop; killed at that time.
        stopping: Option<Instant>,
    },
    Waiting {
        until: Instant,
    },
}

impl Children {
    pub(super) fn new(paths: Paths, components: Vec<Component>) -> Children {
        let now = Instant::now();
        let child = |component| Child {
            component,
            listeners: Vec::new(),
            state: State::Waiting { until: now },
            backoff: Backoff::default(),
            restarts: 0,
            last_exit: None,
            waiting: Vec::new(),
        };
        let children = components.into_iter().map(child).collect();
        Children { paths, children, listeners: Vec::new(), exits: Vec::new() }
    }

    pub(super) fn give_listeners(&mut self, kind: Kind, listeners: Vec<TcpListener>) {
        if let Some(child) = self.children.iter_mut().find(|child| child.component.kind == kind) {
            child.listeners = listeners;
        }
    }

    /// The first start of all: here a failure is the lab's.
    pub(super) fn start_all(&mut self) -> anyhow::Result<()> {
        for child in &mut self.children {
            let process = process::start(&child.component, &self.paths, &child.listeners)?;
            child.state = State::Running { process, since: Instant::now(), stopping: None };
        }
        Ok(())
    }

    /// When something is to be started or killed next.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let due = |child: &Child| match child.state {
            State::Waiting { until } => Some(until),
            State::Running { stopping, .. } => stopping,
        };
        self.children.iter().filter_map(due).min()
    }

    /// Starts those whose pause is over and kills those that did not stop.
    pub(super) fn start_due(&mut self) {
        let now = Instant::now();
        for child in &mut self.children {
            match &mut child.state {
                State::Waiting { until } if *until <= now => child.start_again(&self.paths),
                State::Running { process, stopping: stopping @ Some(_), .. }
                    if stopping.is_some_and(|at| at <= now) =>
                {
                    *stopping = None;
                    tracing::warn!(component = %child.component.name(), "did not stop; killing it");
                    let _ = process.signal(KILL);
                }
                State::Waiting { .. } | State::Running { .. } => {}
            }
        }
    }

    /// Takes note of processes that ended; among them are orphans of components, which are nobody's.
    pub(super) fn reap(&mut self) {
        for (pid, status) in portolan_linux::process::ended_children() {
            let child = self.children.iter_mut().find(|child| child.pid() == Some(pid));
            let Some(child) = child else { continue };
            if let Some(exited) = child.ended(status) {
                self.listeners.retain(|reply| reply.send(&exited));
                self.exits.push(exited);
            }
        }
        // A restart that somebody asked for shall not wait for the next turn.
        self.start_due();
    }

    pub(super) fn answer(&mut self, call: Call, api_port: u16) {
        let Call { request, reply } = call;
        match request {
            Request::Status => {
                let components = self.children.iter().map(Child::status).collect();
                let supervisor_pid = std::process::id();
                reply.send(&Status { supervisor_pid, api_port, components });
            }
            Request::Exits => {
                if self.exits.iter().all(|exited| reply.send(exited)) {
                    self.listeners.push(reply);
                }
            }
            Request::Restart { selector, how } => self.restart(&selector, &how, &reply),
        }
    }

    fn restart(&mut self, selector: &Selector, how: &How, reply: &Reply) {
        let mut any = false;
        for child in &mut self.children {
            if child.component.is_selected(selector) {
                any = true;
                if let Some(mode) = how.proxy_mode {
                    child.component.set_flag("proxy-mode", mode);
                }
                child.restart(how.kill, reply.clone());
            }
        }
        if !any {
            let message = format!("the lab has no {selector}");
            reply.send(&Restarted::Failed { message });
        }
        self.start_due();
    }

    /// Asks all to stop and gives them a moment.
    pub(super) fn stop_all(&self) {
        for child in &self.children {
            if let State::Running { process, .. } = &child.state {
                let _ = process.signal(TERMINATE);
            }
        }
        let deadline = Instant::now() + STOP;
        for child in &self.children {
            if let State::Running { process, .. } = &child.state {
                process.wait_ended(deadline.saturating_duration_since(Instant::now()));
            }
        }
    }
}

const TERMINATE: i32 = rustix::process::Signal::TERM.as_raw();
const KILL: i32 = rustix::process::Signal::KILL.as_raw();

impl Child {
    fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Running { process, .. } => Some(process.id()),
            State::Waiting { .. } => None,
        }
    }

    fn status(&self) -> ComponentStatus {
        ComponentStatus {
            name: self.component.name(),
            kind: self.component.kind,
            node: self.component.node.clone(),
            pid: self.pid(),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
        }
    }

    fn restart(&mut self, kill: bool, reply: Reply) {
        self.waiting.push(reply);
        match &mut self.state {
            State::Running { process, .. } if kill => {
                // The back-off decides, as for any death.
                let _ = process.signal(KILL);
            }
            State::Running { process, stopping, .. } => {
                *stopping = Some(Instant::now() + STOP);
                let _ = process.signal(TERMINATE);
            }
            State::Waiting { until } => {
                self.backoff.reset();
                *until = Instant::now();
            }
        }
    }

    /// Notes the end; what to tell about it, unless it was asked to stop.
    fn ended(&mut self, status: i32) -> Option<Exited> {
        let State::Running { since, stopping, .. } = &self.state else { return None };
        let (name, how) = (self.component.name(), describe(status));
        self.last_exit = Some(how.clone());
        if stopping.is_some() {
            self.backoff.reset();
            self.state = State::Waiting { until: Instant::now() };
            return None;
        }
        let pause = self.backoff.after(since.elapsed());
        tracing::warn!(component = %name, %how, ?pause, "ended; starting it again");
        self.state = State::Waiting { until: Instant::now() + pause };
        Some(Exited { name, how, failures: self.backoff.failures() })
    }

    fn start_again(&mut self, paths: &Paths) {
        self.restarts += 1;
        match process::start(&self.component, paths, &self.listeners) {
            Ok(process) => {
                let name = self.component.name();
                let pid = process.id();
                for reply in self.waiting.drain(..) {
                    reply.send(&Restarted::Started { name: name.clone(), pid });
                }
                self.state = State::Running { process, since: Instant::now(), stopping: None };
            }
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "cannot start a component");
                for reply in self.waiting.drain(..) {
                    reply.send(&Restarted::Failed { message: format!("{error:#}") });
                }
                let pause = self.backoff.after(Duration::ZERO);
                self.state = State::Waiting { until: Instant::now() + pause };
            }
        }
    }
}

/// A shell's exit status in words.
fn describe(status: i32) -> String {
    match status {
        129.. => format!("killed by signal {}", status - 128),
        _ => format!("exit status {status}"),
    }
}

/// Answers that wait in a channel for the connection to take them.
pub(super) type Outbox = mpsc::UnboundedSender<String>;
