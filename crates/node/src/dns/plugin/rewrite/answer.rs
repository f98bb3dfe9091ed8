//! What is done to answers.

use portolan_model::names::{to_text, to_wire};
use regex::Regex;

use super::matcher::{Match, Words, replace};
use crate::dns::corefile::CorefileError;
use crate::dns::record::Parts;
use crate::dns::wire::Rcode;

#[derive(Clone, Debug)]
pub(super) enum AnswerRule {
    /// A name, and names below it, for another, in owners and data.
    Remap {
        from: String,
        to: String,
    },
    /// The end of a name for another.
    Suffix {
        from: String,
        to: String,
    },
    Owner(Regex, String),
    Value(Regex, String),
    /// The least and the most that a TTL may be.
    Ttl(u32, u32),
    Rcode(Rcode, Rcode),
}

/// `[answer] (auto | name FROM TO | value FROM TO)…`; whether `auto` was among them.
pub(super) fn read_answers(
    words: &mut Words<'_>,
) -> Result<(bool, Vec<AnswerRule>), CorefileError> {
    let (mut auto, mut rules) = (false, Vec::new());
    let mut first = true;
    while words.left() > 0 {
        if !words.take("answer") && first {
            let word = words.peek().unwrap_or_default();
            return Err(words.error(format!("\"{word}\" is where only \"answer\" may follow")));
        }
        first = false;
        match words.next("auto, name or value")? {
            "auto" => auto = true,
            // CoreDNS's documentation writes it so, too.
            "name" if words.take("auto") => auto = true,
            "name" => rules.push(AnswerRule::Owner(
                words.regex("a regular expression")?,
                words.next("what to rewrite to")?.to_ascii_lowercase(),
            )),
            "value" => rules.push(AnswerRule::Value(
                words.regex("a regular expression")?,
                words.next("what to rewrite to")?.to_ascii_lowercase(),
            )),
            other => {
                return Err(
                    words.error(format!("answer takes auto, name or value, not \"{other}\""))
                );
            }
        }
    }
    Ok((auto, rules))
}

impl AnswerRule {
    /// What undoes the rewriting of `asked` into `new` in answers.
    pub(super) fn back(from: &Match, to: &str, new: &str, asked: &str) -> Self {
        match from {
            Match::Suffix(suffix) => Self::Suffix { from: to.to_owned(), to: suffix.clone() },
            _ => Self::Remap { from: new.to_owned(), to: asked.to_owned() },
        }
    }

    pub(super) fn apply(&self, parts: &mut Parts) {
        if let Self::Rcode(from, to) = self {
            parts.rcode = if parts.rcode == *from { *to } else { parts.rcode };
            return;
        }
        for record in parts.sections.iter_mut().flatten() {
            let mut value = |wire: &[u8]| self.map(wire);
            match self {
                Self::Ttl(least, most) => record.ttl = record.ttl.clamp(*least, *most),
                Self::Owner(..) => replace_name(&mut record.owner, self),
                Self::Value(..) => record.map_names(&mut value),
                Self::Remap { .. } | Self::Suffix { .. } => {
                    record.map_names(&mut value);
                    replace_name(&mut record.owner, self);
                }
                Self::Rcode(..) => {}
            }
        }
    }

    /// Another name for this one; `None` when it stays, or would be no name.
    fn map(&self, wire: &[u8]) -> Option<Vec<u8>> {
        let text = to_text(wire).to_ascii_lowercase();
        let new = match self {
            Self::Remap { from, to } => {
                let rest = text.strip_suffix(&**from)?;
                if !rest.is_empty() && !rest.ends_with('.') {
                    return None;
                }
                format!("{rest}{to}")
            }
            Self::Suffix { from, to } => format!("{}{to}", text.strip_suffix(&**from)?),
            Self::Owner(pattern, to) | Self::Value(pattern, to) => replace(pattern, &text, to)?,
            Self::Ttl(..) | Self::Rcode(..) => return None,
        };
        to_wire(&new)
    }
}

fn replace_name(owner: &mut Vec<u8>, rule: &AnswerRule) {
    if let Some(new) = rule.map(owner) {
        *owner = new;
    }
}
