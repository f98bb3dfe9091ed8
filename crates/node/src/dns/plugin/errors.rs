//! `errors`: what went wrong, once for each query or once for a while.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use regex::Regex;
use tracing::Level;

use super::super::config::duration;
use super::super::corefile::{CorefileError, Directive, DirectiveOption};

#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorsConfig {
    rules: Vec<Rule>,
}

/// Errors that are counted together instead of being told one by one.
#[derive(Clone, Debug)]
struct Rule {
    period: Duration,
    pattern: Regex,
    level: Level,
    show_first: bool,
}

impl ErrorsConfig {
    /// `errors { consolidate DURATION REGEXP [LEVEL] [show_first]; stacktrace }`.
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        directive.no_args()?;
        let mut config = Self::default();
        for option in &directive.options {
            match option.name.as_str() {
                "consolidate" => config.rules.push(rule(directive, option)?),
                // A panic's place is always told, by the program's own hook.
                "stacktrace" => directive.option_without_args(option)?,
                _ => return Err(directive.unknown(option)),
            }
        }
        Ok(config)
    }
}

fn rule(directive: &Directive, option: &DirectiveOption) -> Result<Rule, CorefileError> {
    let [period, pattern, rest @ ..] = &option.args[..] else {
        let problem = "consolidate takes a duration, a regular expression and perhaps a level";
        return Err(directive.error_at(option.line, problem));
    };
    let period = duration(period).filter(|period| !period.is_zero()).ok_or_else(|| {
        directive.error_at(option.line, format!("\"{period}\" is no duration above zero"))
    })?;
    let pattern = directive.regex(option.line, pattern)?;
    let mut rule = Rule { period, pattern, level: Level::ERROR, show_first: false };
    for word in rest {
        match word.as_str() {
            "warning" => rule.level = Level::WARN,
            "error" => rule.level = Level::ERROR,
            "info" => rule.level = Level::INFO,
            "debug" => rule.level = Level::DEBUG,
            "show_first" => rule.show_first = true,
            other => {
                let problem = format!(
                    "consolidate: \"{other}\" is no level; there are warning error info debug"
                );
                return Err(directive.error_at(option.line, problem));
            }
        }
    }
    Ok(rule)
}

/// Tells the errors of one server block.
#[derive(Debug)]
pub(crate) struct Errors {
    rules: Vec<(Rule, Arc<Mutex<u64>>)>,
}

impl Errors {
    pub(crate) fn new(config: ErrorsConfig) -> Self {
        Self { rules: config.rules.into_iter().map(|rule| (rule, Arc::default())).collect() }
    }

    /// Tells what went wrong with a query, or counts it to be told with others like it. Within a
    /// runtime only.
    pub(crate) fn tell(&self, query: &str, problem: &str) {
        let Some((rule, count)) =
            self.rules.iter().find(|(rule, _)| rule.pattern.is_match(problem))
        else {
            tracing::error!("{query}: {problem}");
            return;
        };
        let mut counted = count.lock();
        *counted += 1;
        if *counted > 1 {
            return;
        }
        if rule.show_first {
            say(rule.level, &format!("{query}: {problem}"));
        }
        let (rule, count) = (rule.clone(), count.clone());
        tokio::spawn(async move {
            tokio::time::sleep(rule.period).await;
            let count = std::mem::take(&mut *count.lock());
            if let Some(summary) = summary(&rule, count) {
                say(rule.level, &summary);
            }
        });
    }
}

/// What is said of errors that came `count` times, if anything is left to be said.
fn summary(rule: &Rule, count: u64) -> Option<String> {
    (count > u64::from(rule.show_first)).then(|| {
        let (pattern, seconds) = (rule.pattern.as_str(), rule.period.as_secs_f64());
        format!("{count} errors like '{pattern}' occurred in last {seconds}s")
    })
}

fn say(level: Level, text: &str) {
    match level {
        Level::ERROR => tracing::error!("{text}"),
        Level::WARN => tracing::warn!("{text}"),
        Level::INFO => tracing::info!("{text}"),
        _ => tracing::debug!("{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_that_are_alike_are_counted_together() {
        let rule = Rule {
            period: Duration::from_secs(3600),
            pattern: Regex::new("^forward").expect("a pattern"),
            level: Level::WARN,
            show_first: true,
        };
        let errors = Errors::new(ErrorsConfig { rules: vec![rule.clone()] });
        for _ in 0..3 {
            errors.tell("2 a. A", "forward: x");
            errors.tell("2 a. A", "something else");
        }
        assert_eq!(*errors.rules[0].1.lock(), 3);
        assert_eq!(
            summary(&rule, 3).as_deref(),
            Some("3 errors like '^forward' occurred in last 3600s")
        );
        assert_eq!(summary(&rule, 1), None, "the first was shown");
    }
}
