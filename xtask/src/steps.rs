//! Steps with a spinner while they run and their time once they are done.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps in the order in which they were done, for the summary.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

/// A step that is under way.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
    started: Instant,
}

impl Step {
    fn begin(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style.tick_strings(&["◐", "◓", "◑", "◒", "✓"]));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, started: Instant::now() }
    }

    /// Says more precisely what is being done.
    pub(crate) fn note(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what.into());
    }
}

impl Steps {
    /// Runs `work` with a spinner that says `what`; afterwards prints the words that `work` returned.
    ///
    /// # Errors
    /// What `work` fails with.
    pub(crate) fn run<T>(
        &mut self,
        what: &str,
        work: impl FnOnce(&Step) -> Result<(T, String)>,
    ) -> Result<T> {
        let step = Step::begin(what);
        let result = work(&step);
        step.bar.finish_and_clear();
        let took = step.started.elapsed();
        match result {
            Ok((value, said)) => {
                println!("{} {:<72} {:>7}", style("32", "✓"), said, seconds(took));
                self.done.push((what.to_owned(), took));
                Ok(value)
            }
            Err(error) => {
                println!("{} {what}", style("31", "✗"));
                Err(error)
            }
        }
    }

    pub(crate) fn done(&self) -> &[(String, Duration)] {
        &self.done
    }
}

pub(crate) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// `text` in an ANSI style where standard output is a terminal that wants it.
pub(crate) fn style(code: &str, text: &str) -> String {
    use std::io::IsTerminal;
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
