//! `template`: answers made from the question by the Corefile's own rules.

mod text;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use portolan_model::names::{RecordType, to_text};
use regex::Regex;

use super::super::config::{Key, fallthrough, zones_or_block};
use super::super::corefile::{CorefileError, Directive, DirectiveOption};
use super::super::record::{Parts, parse};
use super::super::wire::{Query, Rcode, parse_type, type_name};
use super::super::zone::{Fallthrough, Zone, longest};
use text::{Scope, Text};

/// One `template` of a server block.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    zones: Vec<Zone>,
    /// `None` is ANY.
    kind: Option<RecordType>,
    patterns: Vec<Regex>,
    /// For answers, authority and additional records.
    sections: [Vec<Text>; 3],
    rcode: Rcode,
    /// The data of an extended DNS error (RFC 8914).
    error: Option<Vec<u8>>,
    fallthrough: Option<Fallthrough>,
}

impl Template {
    /// `template CLASS TYPE [ZONE…] { … }`.
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        let [class, kind, zones @ ..] = &directive.args[..] else {
            return Err(directive.error("takes a class, a record type and perhaps zones"));
        };
        if !["IN", "ANY"].contains(&class.to_ascii_uppercase().as_str()) {
            let problem = format!("class {class} is not supported, IN and ANY are");
            return Err(directive.error(problem));
        }
        let kind = match kind.to_ascii_uppercase().as_str() {
            "ANY" => None,
            text => Some(
                parse_type(text)
                    .ok_or_else(|| directive.error(format!("\"{kind}\" is no record type")))?,
            ),
        };
        let mut template = Self {
            zones: zones_or_block(directive, zones, keys)?,
            kind,
            patterns: Vec::new(),
            sections: Default::default(),
            rcode: Rcode::NOERROR,
            error: None,
            fallthrough: None,
        };
        for option in &directive.options {
            template.option(directive, option)?;
        }
        Ok(template)
    }

    fn option(
        &mut self,
        directive: &Directive,
        option: &DirectiveOption,
    ) -> Result<(), CorefileError> {
        match (option.name.as_str(), &option.args[..]) {
            ("match", patterns) if !patterns.is_empty() => {
                for pattern in patterns {
                    self.patterns.push(directive.regex(option.line, pattern)?);
                }
            }
            (section @ ("answer" | "authority" | "additional"), texts) if !texts.is_empty() => {
                let index = ["answer", "authority", "additional"]
                    .iter()
                    .position(|name| *name == section)
                    .unwrap_or_default();
                for text in texts {
                    let text = Text::parse(text).map_err(|problem| {
                        directive.error_at(option.line, format!("{section}: {problem}"))
                    })?;
                    self.sections[index].push(text);
                }
            }
            ("rcode", [code]) => {
                self.rcode = Rcode::parse(code).ok_or_else(|| {
                    directive.error_at(option.line, format!("\"{code}\" is no response code"))
                })?;
            }
            ("ederror", [code, reason @ ..]) if reason.len() < 2 => {
                let code: u16 = code.parse().map_err(|_| {
                    let problem = format!("\"{code}\" is no extended error's number");
                    directive.error_at(option.line, problem)
                })?;
                let mut data = code.to_be_bytes().to_vec();
                data.extend_from_slice(reason.concat().as_bytes());
                self.error = Some(data);
            }
            ("fallthrough", _) => self.fallthrough = Some(fallthrough(directive, option)?),
            _ => return Err(directive.unknown(option)),
        }
        Ok(())
    }

    pub(crate) fn extended_error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }

    /// What this template says; `None` when it is not for this query, and SERVFAIL when it is but
    /// has nothing to say.
    pub(crate) fn answer(&self, query: &Query<'_>, peer: IpAddr) -> Option<Result<Parts, Failed>> {
        let name = query.name();
        let zone = longest(&self.zones, name)?;
        if self.kind.is_some_and(|kind| kind != query.kind && query.kind != RecordType::ANY) {
            return None;
        }
        let text = to_text(name).to_ascii_lowercase();
        let every = Regex::new("").ok();
        let mut patterns = self.patterns.iter().chain(every.as_ref());
        let matched = if self.patterns.is_empty() {
            every.as_ref().and_then(|every| every.captures(&text))
        } else {
            patterns.by_ref().take(self.patterns.len()).find_map(|pattern| pattern.captures(&text))
        };
        let Some(matched) = matched else {
            let passes = self.fallthrough.as_ref().is_some_and(|fall| fall.passes(name));
            return (!passes).then_some(Err(Failed::NoMatch));
        };
        if self.rcode == Rcode::SERVFAIL {
            return Some(Ok(Parts { rcode: self.rcode, ..Parts::default() }));
        }
        let kind = match (query.kind, self.kind) {
            (RecordType::ANY, Some(kind)) => kind,
            (kind, _) => kind,
        };
        let kind = if kind == RecordType::ANY { "ANY".to_owned() } else { type_name(kind.0) };
        let scope = Scope { zone: zone.to_string(), name: text.clone(), kind, matched, peer };
        let mut parts = Parts { rcode: self.rcode, authoritative: true, ..Parts::default() };
        for (texts, section) in self.sections.iter().zip(&mut parts.sections) {
            for text in texts {
                let made = text.render(&scope).map_err(Failed::Template);
                let records = made.and_then(|made| {
                    parse(&made, &[]).map_err(|why| Failed::Record(made, why.to_string()))
                });
                match records {
                    Ok(records) => section.extend(records),
                    Err(failed) => return Some(Err(failed)),
                }
            }
        }
        Some(Ok(parts))
    }
}

/// Why a template that fits has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    #[error("no pattern matches")]
    NoMatch,
    #[error("template: {0}")]
    Template(String),
    #[error("template: \"{0}\" is no record: {1}")]
    Record(String, String),
}
