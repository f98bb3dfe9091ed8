//! The Corefile: CoreDNS's configuration, read with its line numbers kept.
//!
//! [`parse`] gives the syntax, [`super::config`] its meaning.

mod import;
mod lex;
mod parse;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub(crate) use parse::parse;

/// A Corefile that cannot be used, with the place of the mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CorefileError {
    /// Counted from 1.
    pub line: usize,
    /// The imported file that the line is in; `None` for the Corefile itself.
    pub file: Option<Arc<Path>>,
    /// The plugin that the line belongs to.
    pub plugin: Option<String>,
    pub problem: String,
}

impl fmt::Display for CorefileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} line {}: ", file.display(), self.line)?,
            None => write!(f, "Corefile line {}: ", self.line)?,
        }
        if let Some(plugin) = &self.plugin {
            write!(f, "plugin {plugin}: ")?;
        }
        f.write_str(&self.problem)
    }
}

impl CorefileError {
    pub(crate) fn new(line: usize, problem: impl Into<String>) -> Self {
        Self { line, file: None, plugin: None, problem: problem.into() }
    }
}

/// One `ZONE… { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerBlock {
    pub(crate) line: usize,
    pub(crate) file: Option<Arc<Path>>,
    pub(crate) keys: Vec<String>,
    pub(crate) directives: Vec<Directive>,
}

impl ServerBlock {
    pub(crate) fn error(&self, problem: impl Into<String>) -> CorefileError {
        CorefileError { file: self.file.clone(), ..CorefileError::new(self.line, problem) }
    }
}

/// One plugin of a server block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) line: usize,
    pub(crate) file: Option<Arc<Path>>,
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    pub(crate) options: Vec<DirectiveOption>,
}

/// One line of a plugin's own block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectiveOption {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
}

impl Directive {
    pub(crate) fn error(&self, problem: impl Into<String>) -> CorefileError {
        self.error_at(self.line, problem)
    }

    pub(crate) fn error_at(&self, line: usize, problem: impl Into<String>) -> CorefileError {
        let plugin = Some(self.name.clone());
        CorefileError { line, file: self.file.clone(), plugin, problem: problem.into() }
    }

    pub(crate) fn unknown(&self, option: &DirectiveOption) -> CorefileError {
        self.error_at(option.line, format!("option \"{}\" is not supported", option.name))
    }

    /// The only argument of an option.
    pub(crate) fn one<'a>(
        &self,
        option: &'a DirectiveOption,
        what: &str,
    ) -> Result<&'a str, CorefileError> {
        match &option.args[..] {
            [only] => Ok(only),
            _ => Err(self.error_at(option.line, format!("{} takes {what}", option.name))),
        }
    }

    /// The only argument of an option, which is a duration.
    pub(crate) fn duration(
        &self,
        option: &DirectiveOption,
    ) -> Result<std::time::Duration, CorefileError> {
        let text = self.one(option, "a duration")?;
        super::config::duration(text)
            .ok_or_else(|| self.error_at(option.line, format!("\"{text}\" is no duration")))
    }

    /// A regular expression as Go's `regexp` takes them.
    pub(crate) fn regex(&self, line: usize, text: &str) -> Result<regex::Regex, CorefileError> {
        regex::Regex::new(text).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.error_at(line, format!("\"{text}\" is no regular expression: {why}"))
        })
    }

    /// The only argument of an option, read as a `T`.
    pub(crate) fn one_as<T: std::str::FromStr>(
        &self,
        option: &DirectiveOption,
        what: &str,
    ) -> Result<T, CorefileError> {
        let text = self.one(option, what)?;
        text.parse().map_err(|_| {
            self.error_at(option.line, format!("{} takes {what}, not \"{text}\"", option.name))
        })
    }

    pub(crate) fn no_args(&self) -> Result<(), CorefileError> {
        if self.args.is_empty() { Ok(()) } else { Err(self.error("takes no arguments")) }
    }

    pub(crate) fn no_options(&self) -> Result<(), CorefileError> {
        self.options.first().map_or(Ok(()), |option| Err(self.unknown(option)))
    }

    pub(crate) fn option_without_args(
        &self,
        option: &DirectiveOption,
    ) -> Result<(), CorefileError> {
        if option.args.is_empty() {
            return Ok(());
        }
        Err(self.error_at(option.line, format!("{} takes no arguments", option.name)))
    }
}
