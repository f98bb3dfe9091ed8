//! A finished command: what it printed and how it ended.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How a command ended. `status` is `None` if it was killed (by a signal or by the time limit).
#[derive(Debug, Clone)]
pub struct Outcome {
    pub command: String,
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    /// Runs `command` with `input` on its standard input, at most for `limit`.
    ///
    /// Returns when the command has ended *and* both of its outputs are closed or the limit is
    /// reached: a daemon that keeps its parent's outputs open is seen here as a time-out.
    #[track_caller]
    pub fn of(command: &mut Command, input: Option<&str>, limit: Duration) -> Self {
        let text = display(command);
        let started = Instant::now();
        let mut child = command
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{text}`: {error}"));
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            let input = input.to_owned();
            std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()));
        }
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let deadline = started + limit;
        let out = stdout.recv_timeout(limit).ok();
        let err = stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        let mut status = child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            status = child.try_wait().ok().flatten();
        }
        let took = started.elapsed();
        let open = out.is_none() || err.is_none();
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let mut stderr = err.unwrap_or_default();
        if open || status.is_none() {
            let what =
                if status.is_none() { "did not end" } else { "ended, but its output stayed open" };
            stderr.push_str(&format!("\n[{what} within {limit:?}]"));
            status = None;
        }
        Self {
            command: text,
            status: status.and_then(|status| status.code()),
            stdout: out.unwrap_or_default(),
            stderr,
            took,
        }
    }

    pub fn succeeded(&self) -> bool {
        self.status == Some(0)
    }

    /// Itself, if the command ended with 0; otherwise the test fails with all that is known.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.succeeded(), "{self}");
        self
    }

    /// Itself, if the command ended by itself with another status than 0.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(
            matches!(self.status, Some(status) if status != 0),
            "should have been refused: {self}"
        );
        self
    }

    /// Checks that standard error has each of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "standard error lacks {part:?}: {self}");
        }
        self
    }

    /// Standard output without the white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status =
            self.status.map_or_else(|| "killed".to_owned(), |status| format!("status {status}"));
        write!(formatter, "`{}`: {status} after {:?}", self.command, self.took)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(formatter, "\n--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn display(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
