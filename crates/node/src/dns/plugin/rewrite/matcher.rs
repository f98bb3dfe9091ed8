//! Which names a rule fits, and what it makes of them.

use regex::Regex;

use crate::dns::corefile::{CorefileError, Directive};

/// The words of a rule, in order.
pub(crate) struct Words<'a> {
    directive: &'a Directive,
    words: &'a [String],
}

impl<'a> Words<'a> {
    pub(crate) fn new(directive: &'a Directive, words: &'a [String]) -> Self {
        Self { directive, words }
    }

    pub(crate) fn left(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.words.first().map(String::as_str)
    }

    pub(crate) fn next(&mut self, what: &str) -> Result<&'a str, CorefileError> {
        let (first, rest) =
            self.words.split_first().ok_or_else(|| self.error(format!("{what} is missing")))?;
        self.words = rest;
        Ok(first)
    }

    /// The next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let is = self.peek() == Some(word);
        if is {
            self.words = &self.words[1..];
        }
        is
    }

    pub(crate) fn regex(&mut self, what: &str) -> Result<Regex, CorefileError> {
        let text = self.next(what)?;
        self.directive.regex(self.directive.line, text)
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> CorefileError {
        self.directive.error(problem)
    }

    pub(crate) fn end(&self) -> Result<(), CorefileError> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(self.error(format!("\"{word}\" is one word too many"))),
        }
    }
}

/// How a name is recognized.
#[derive(Clone, Debug)]
pub(crate) enum Match {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regex(Regex),
}

impl Match {
    /// `[exact|prefix|suffix|substring|regex] STRING`, with so many more words to follow at least.
    pub(super) fn read(words: &mut Words<'_>, more: usize) -> Result<Self, CorefileError> {
        let kind = match words.peek() {
            Some(kind @ ("exact" | "prefix" | "suffix" | "substring" | "regex"))
                if words.left() > 1 + more =>
            {
                words.next(kind)?
            }
            _ if words.left() > 1 + more => {
                let word = words.peek().unwrap_or_default();
                return Err(words.error(format!(
                    "\"{word}\" is no match: exact, prefix, suffix, substring or regex"
                )));
            }
            _ => "exact",
        };
        if kind == "regex" {
            return Ok(Self::Regex(words.regex("a regular expression")?));
        }
        let text = words.next("a name")?.to_ascii_lowercase();
        let whole = if text.ends_with('.') { text.clone() } else { format!("{text}.") };
        Ok(match kind {
            "prefix" => Self::Prefix(text),
            "suffix" => Self::Suffix(whole),
            "substring" => Self::Substring(text),
            _ => Self::Exact(whole),
        })
    }

    /// What becomes of `name`, if it fits.
    pub(super) fn rewrite(&self, name: &str, to: &str) -> Option<String> {
        match self {
            Self::Exact(from) => (name == from).then(|| to.to_owned()),
            Self::Prefix(from) => name.strip_prefix(&**from).map(|rest| format!("{to}{rest}")),
            Self::Suffix(from) => name.strip_suffix(&**from).map(|rest| format!("{rest}{to}")),
            Self::Substring(from) => name.contains(&**from).then(|| name.replace(&**from, to)),
            Self::Regex(pattern) => replace(pattern, name, to),
        }
    }
}

/// Whether `name` fits.
pub(super) fn matched(pattern: &Match, name: &str) -> bool {
    match pattern {
        Match::Exact(from) => name == from,
        Match::Prefix(from) => name.starts_with(&**from),
        Match::Suffix(from) => name.ends_with(&**from),
        Match::Substring(from) => name.contains(&**from),
        Match::Regex(pattern) => pattern.is_match(name),
    }
}

/// `to` with `{1}` and the like replaced by the groups of the match; `None` without one.
pub(super) fn replace(pattern: &Regex, text: &str, to: &str) -> Option<String> {
    let groups = pattern.captures(text)?;
    let mut out = to.to_owned();
    for (index, group) in groups.iter().enumerate() {
        out = out.replace(&format!("{{{index}}}"), group.map_or("", |group| group.as_str()));
    }
    Some(out)
}
