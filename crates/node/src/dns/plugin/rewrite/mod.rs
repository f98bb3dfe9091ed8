//! `rewrite`: queries changed on their way in, and their answers on the way out.
//!
//! Names are matched and replaced as text with their last dot, in lower case, as CoreDNS does.

mod answer;
mod edns;
mod matcher;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use portolan_model::names::{RecordType, to_text, to_wire};

use super::super::corefile::{CorefileError, Directive};
use super::super::record::Parts;
use super::super::wire::{CLASS_IN, HEADER, OUR_UDP, Query, Rcode, TYPE_OPT, parse_type};
use answer::{AnswerRule, read_answers};
use edns::EdnsRule;
pub(crate) use matcher::Words;
use matcher::{Match, matched};

/// One `rewrite` of a server block.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Whether further rules are looked at once this one has fitted.
    goes_on: bool,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Name { from: Match, to: String, auto: bool, answers: Vec<AnswerRule> },
    Type(RecordType, RecordType),
    Class(u16, u16),
    Edns(EdnsRule),
    Ttl { name: Match, least: u32, most: u32 },
    Rcode { name: Match, from: Rcode, to: Rcode },
}

impl Rule {
    /// `rewrite [continue|stop] FIELD …`, or the same within braces.
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        let mut words = directive.args.clone();
        for option in &directive.options {
            words.push(option.name.clone());
            words.extend(option.args.iter().cloned());
        }
        let mut words = Words::new(directive, &words);
        let mut field = words.next("a field")?.to_ascii_lowercase();
        let goes_on = field == "continue";
        if goes_on || field == "stop" {
            field = words.next("a field")?.to_ascii_lowercase();
        }
        let change = match field.as_str() {
            "name" => name(&mut words)?,
            "type" => {
                let mut read = || {
                    let text = words.next("a record type")?;
                    parse_type(text)
                        .ok_or_else(|| directive.error(format!("\"{text}\" is no record type")))
                };
                Change::Type(read()?, read()?)
            }
            "class" => Change::Class(class(&mut words)?, class(&mut words)?),
            "edns0" => Change::Edns(EdnsRule::read(&mut words)?),
            "ttl" => {
                let name = Match::read(&mut words, 1)?;
                let (least, most) = ttl_range(&mut words)?;
                Change::Ttl { name, least, most }
            }
            "rcode" => {
                let name = Match::read(&mut words, 2)?;
                let mut read = || {
                    let text = words.next("a response code")?;
                    Rcode::parse(text)
                        .ok_or_else(|| directive.error(format!("\"{text}\" is no response code")))
                };
                Change::Rcode { name, from: read()?, to: read()? }
            }
            other => {
                let known = "name type class edns0 ttl rcode";
                let problem = format!("field \"{other}\" is not supported; there are {known}");
                return Err(directive.error(problem));
            }
        };
        words.end()?;
        Ok(Self { goes_on, change })
    }

    /// The class that this turns into IN, if that is what it does.
    pub(crate) fn class(&self) -> Option<u16> {
        match self.change {
            Change::Class(from, CLASS_IN) if from != CLASS_IN => Some(from),
            _ => None,
        }
    }
}

fn class(words: &mut Words<'_>) -> Result<u16, CorefileError> {
    match words.next("a class")?.to_ascii_uppercase().as_str() {
        "IN" => Ok(CLASS_IN),
        "CH" => Ok(3),
        "HS" => Ok(4),
        other => Err(words.error(format!("\"{other}\" is no class: IN, CH or HS"))),
    }
}

fn name(words: &mut Words<'_>) -> Result<Change, CorefileError> {
    let from = Match::read(words, 1)?;
    let text = words.next("a name to rewrite to")?;
    let whole = matches!(from, Match::Exact(_) | Match::Suffix(_));
    let mut to = text.to_ascii_lowercase();
    if whole && !to.ends_with('.') {
        to.push('.');
    }
    let (auto, answers) = read_answers(words)?;
    // What was asked for by its whole name is answered under it.
    let auto = auto || matches!(from, Match::Exact(_));
    Ok(Change::Name { from, to, auto, answers })
}

/// `SECONDS`, `MIN-MAX`, `-MAX` or `MIN-`.
fn ttl_range(words: &mut Words<'_>) -> Result<(u32, u32), CorefileError> {
    let text = words.next("seconds")?;
    let bad = || words.error(format!("\"{text}\" is no TTL: SECONDS or MIN-MAX"));
    let read = |text: &str, missing: u32| match text {
        "" => Ok(missing),
        text => text.parse::<u32>().map_err(|_| bad()),
    };
    let (least, most) = match text.split_once('-') {
        _ if text == "-" => return Err(bad()),
        Some((least, most)) => (read(least, 0)?, read(most, i32::MAX as u32)?),
        None => (read(text, 0)?, read(text, 0)?),
    };
    if text.is_empty() || least > most {
        return Err(bad());
    }
    Ok((least, most))
}

/// A query as rules have left it.
#[derive(Clone, Debug)]
pub(crate) struct Rewritten {
    pub(crate) message: Vec<u8>,
    /// The EDNS options for an upstream.
    pub(crate) options: Vec<u8>,
    answers: Vec<AnswerRule>,
}

/// What the rules make of a query; `None` when none fits.
pub(crate) fn rewrite(
    rules: &[Rule],
    query: &Query<'_>,
    class: u16,
    peer: SocketAddr,
) -> Result<Option<Rewritten>, Unusable> {
    let mut name = to_text(query.name());
    let asked = name.clone();
    let mut kind = query.kind;
    let mut class = class;
    let mut options: Option<Vec<(u16, Vec<u8>)>> = None;
    let mut answers = Vec::new();
    let mut fitted = false;
    for rule in rules {
        let fits = match &rule.change {
            Change::Name { from, to, auto, answers: rules } => match from.rewrite(&name, to) {
                None => false,
                Some(new) => {
                    if *auto {
                        answers.push(AnswerRule::back(from, to, &new, &asked));
                    }
                    answers.extend(rules.iter().cloned());
                    name = new;
                    true
                }
            },
            Change::Type(from, to) => {
                let fits = kind == *from;
                kind = if fits { *to } else { kind };
                fits
            }
            Change::Class(from, to) => {
                let fits = class == *from;
                class = if fits { *to } else { class };
                fits
            }
            Change::Edns(rule) => {
                let known = options.get_or_insert_with(|| edns::options(query));
                rule.apply(known, query, peer)
            }
            Change::Ttl { name: pattern, least, most } => {
                let fits = matched(pattern, &name);
                if fits {
                    answers.push(AnswerRule::Ttl(*least, *most));
                }
                fits
            }
            Change::Rcode { name: pattern, from, to } => {
                let fits = matched(pattern, &name);
                if fits {
                    answers.push(AnswerRule::Rcode(*from, *to));
                }
                fits
            }
        };
        fitted |= fits;
        if fits && !rule.goes_on {
            break;
        }
    }
    if class != CLASS_IN {
        return Err(Unusable);
    }
    if !fitted {
        return Ok(None);
    }
    let wire = to_wire(&name).ok_or(Unusable)?;
    let options = options.unwrap_or_default();
    let message = with_question(query, &wire, kind, !options.is_empty());
    Ok(Some(Rewritten { message, options: edns::wire(&options), answers }))
}

/// The rules have made a query that nobody can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unusable;

impl Rewritten {
    /// Changes an answer back, so that it fits what was asked.
    pub(crate) fn restore(&self, parts: &mut Parts) {
        // The last change of the query is the first to be undone.
        for rule in self.answers.iter().rev() {
            rule.apply(parts);
        }
    }
}

/// The message that asks for `name` and `kind` instead; `edns` makes sure of an OPT record.
pub(crate) fn with_question(
    query: &Query<'_>,
    name: &[u8],
    kind: RecordType,
    edns: bool,
) -> Vec<u8> {
    let opt = query.edns.is_some() || edns;
    let mut message = query.message[..HEADER].to_vec();
    message[4..].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(opt)]);
    message.extend_from_slice(name);
    message.push(0);
    message.extend_from_slice(&kind.0.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    if opt {
        let flags = if query.dnssec() { 0x80 } else { 0 };
        let size = query.edns.map_or(OUR_UDP, |edns| edns.udp_size);
        message.push(0);
        message.extend_from_slice(&TYPE_OPT.to_be_bytes());
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(&[0, 0, flags, 0, 0, 0]);
    }
    message
}
