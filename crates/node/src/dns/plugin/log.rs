//! `log`: a line for each query, as CoreDNS writes it.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_model::names::to_text;

use super::super::config::{Key, zones};
use super::super::corefile::{CorefileError, Directive};
use super::super::wire::{Query, Rcode, Transport, type_name};
use super::super::zone::{Zone, longest};

const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} \
                      {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogConfig {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    zones: Vec<Zone>,
    format: Vec<Piece>,
    classes: Vec<Class>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Type,
    Name,
    Class,
    Proto,
    Remote,
    Port,
    Size,
    Duration,
    Rcode,
    ResponseSize,
    Flags,
    Bufsize,
    Dnssec,
    Id,
    Opcode,
}

const FIELDS: [(&str, Field); 15] = [
    ("{type}", Field::Type),
    ("{name}", Field::Name),
    ("{class}", Field::Class),
    ("{proto}", Field::Proto),
    ("{remote}", Field::Remote),
    ("{port}", Field::Port),
    ("{size}", Field::Size),
    ("{duration}", Field::Duration),
    ("{rcode}", Field::Rcode),
    ("{rsize}", Field::ResponseSize),
    ("{>rflags}", Field::Flags),
    ("{>bufsize}", Field::Bufsize),
    ("{>do}", Field::Dnssec),
    ("{>id}", Field::Id),
    ("{>opcode}", Field::Opcode),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    All,
    Success,
    Denial,
    Error,
}

impl Class {
    fn holds(self, rcode: Rcode, answers: u16) -> bool {
        let denial = rcode == Rcode::NXDOMAIN || rcode == Rcode::NOERROR && answers == 0;
        match self {
            Self::All => true,
            Self::Success => rcode == Rcode::NOERROR && answers > 0,
            Self::Denial => denial,
            Self::Error => !denial && rcode != Rcode::NOERROR,
        }
    }
}

impl LogConfig {
    /// `log [NAME…] [FORMAT] { class CLASS… }`; may be given several times, each adding a rule.
    pub(crate) fn read(
        config: &mut Self,
        directive: &Directive,
        _keys: &[Key],
    ) -> Result<(), CorefileError> {
        let (format, names) = match directive.args.split_last() {
            Some((format, names)) if format.contains('{') => (format.as_str(), names),
            _ => ("{common}", &directive.args[..]),
        };
        let format = format.replace("{common}", COMMON);
        let format = format.replace("{combined}", &format!("{COMMON} \"{{>opcode}}\""));
        let format = pieces(&format).map_err(|problem| directive.error(problem))?;
        let mut classes = Vec::new();
        for option in &directive.options {
            if option.name != "class" || option.args.is_empty() {
                return Err(directive.unknown(option));
            }
            for class in &option.args {
                classes.push(match class.as_str() {
                    "all" => Class::All,
                    "success" => Class::Success,
                    "denial" => Class::Denial,
                    "error" => Class::Error,
                    other => {
                        let problem = format!("class \"{other}\" is not supported");
                        return Err(directive.error_at(option.line, problem));
                    }
                });
            }
        }
        if classes.is_empty() {
            classes.push(Class::All);
        }
        let zones = if names.is_empty() {
            vec![Zone::root()]
        } else {
            zones(directive, directive.line, names)?
        };
        config.rules.push(Rule { zones, format, classes });
        Ok(())
    }

    /// Writes the line for one query, if the first rule for its name wants it.
    pub(crate) fn line(&self, query: &Query<'_>, peer: SocketAddr, answer: &[u8], took: Duration) {
        if let Some(line) = self.text(query, peer, answer, took) {
            tracing::info!(target: "portolan_node::dns::query", "{line}");
        }
    }

    fn text(
        &self,
        query: &Query<'_>,
        peer: SocketAddr,
        answer: &[u8],
        took: Duration,
    ) -> Option<String> {
        let [_, _, _, flags, _, _, high, low, ..] = answer else { return None };
        let (rcode, answers) = (Rcode(flags & 0x0f), u16::from_be_bytes([*high, *low]));
        let rule = self.rules.iter().find(|rule| longest(&rule.zones, query.name()).is_some())?;
        if !rule.classes.iter().any(|class| class.holds(rcode, answers)) {
            return None;
        }
        let mut line = String::new();
        for piece in &rule.format {
            let _ = match piece {
                Piece::Plain(text) => write!(line, "{text}"),
                Piece::Field(field) => match field {
                    Field::Type => write!(line, "{}", type_name(query.kind.0)),
                    Field::Name => write!(line, "{}", to_text(query.name())),
                    Field::Class => write!(line, "IN"),
                    Field::Proto if query.transport == Transport::Tcp => write!(line, "tcp"),
                    Field::Proto => write!(line, "udp"),
                    Field::Remote => match peer.ip() {
                        IpAddr::V4(v4) => write!(line, "{v4}"),
                        IpAddr::V6(v6) => write!(line, "[{v6}]"),
                    },
                    Field::Port => write!(line, "{}", peer.port()),
                    Field::Size => write!(line, "{}", query.message.len()),
                    Field::Duration => write!(line, "{:.9}s", took.as_secs_f64()),
                    Field::Rcode => write!(line, "{}", rcode.name()),
                    Field::ResponseSize => write!(line, "{}", answer.len()),
                    Field::Flags => write!(line, "{}", flags_text(answer)),
                    Field::Bufsize => {
                        write!(line, "{}", query.edns.map_or(512, |edns| edns.udp_size))
                    }
                    Field::Dnssec => write!(line, "{}", query.dnssec()),
                    Field::Id => {
                        write!(line, "{}", u16::from_be_bytes([query.message[0], query.message[1]]))
                    }
                    Field::Opcode => write!(line, "{}", query.message[2] >> 3 & 0x0f),
                },
            };
        }
        Some(line)
    }
}

/// Splits a format into text and fields.
fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(start) = rest.find('{') {
        if start > 0 {
            pieces.push(Piece::Plain(rest[..start].to_owned()));
        }
        rest = &rest[start..];
        let known = FIELDS.iter().find(|(name, _)| rest.starts_with(name));
        let Some((name, field)) = known else {
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
            let known = names.join(" ");
            return Err(format!("format: {} is not supported; there are {known}", &rest[..end]));
        };
        pieces.push(Piece::Field(*field));
        rest = &rest[name.len()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest.to_owned()));
    }
    Ok(pieces)
}

fn flags_text(answer: &[u8]) -> String {
    let bits = u16::from_be_bytes([answer[2], answer[3]]);
    let names = [(15, "qr"), (10, "aa"), (9, "tc"), (8, "rd"), (7, "ra"), (5, "ad"), (4, "cd")];
    let set: Vec<_> =
        names.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    set.join(",")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use portolan_model::names::to_wire;

    use super::*;
    use crate::dns::corefile::parse;

    fn line(rule: &str, rcode: u8, answers: u8) -> Result<Option<String>, CorefileError> {
        let parsed = parse(&format!(". {{\n{rule}\n}}"), Path::new("."), &|_| None)?;
        let mut config = LogConfig::default();
        for directive in &parsed.blocks[0].directives {
            LogConfig::read(&mut config, directive, &[])?;
        }
        let mut message = vec![0x01, 0x02, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(to_wire("a.example.org").expect("a name"));
        message.extend_from_slice(&[0, 0, 28, 0, 1]);
        let query = Query::parse(&message, Transport::Udp).expect("a query");
        let answer = [1, 2, 0x85, 0x80 | rcode, 0, 1, 0, answers, 0, 0, 0, 0];
        let peer = "[fd00::1]:77".parse().expect("an address");
        Ok(config.text(&query, peer, &answer, Duration::from_millis(1)))
    }

    #[test]
    fn lines_are_coredns_s() {
        let common = "[fd00::1]:77 - 258 \"AAAA IN a.example.org. udp 31 false 512\" NXDOMAIN \
                      qr,aa,rd,ra 12 0.001000000s";
        for (rule, expected) in [
            ("log", Some(common.to_owned())),
            ("log example.org", Some(common.to_owned())),
            ("log . {combined}", Some(format!("{common} \"0\""))),
            ("log example.net", None),
            ("log . \"{proto} {name} {type} {>id}\"", Some("udp a.example.org. AAAA 258".into())),
            ("log {\n class denial\n}", Some(common.to_owned())),
            ("log {\n class success error\n}", None),
            // The first rule for a name is the one that counts.
            ("log example.org {\n class error\n}\nlog", None),
        ] {
            assert_eq!(line(rule, 3, 0).expect(rule), expected, "{rule}");
        }
        assert!(line("log {\n class error\n}", 2, 0).expect("a rule").is_some());
        assert!(line("log {\n class success\n}", 0, 1).expect("a rule").is_some());
    }

    #[test]
    fn mistakes_are_named() {
        for (rule, words) in [
            ("log . {/forward/upstream}", "{/forward/upstream} is not supported"),
            ("log {\n class some\n}", "class"),
            ("log {\n colour red\n}", "not supported"),
            ("log a..b", "no zone"),
        ] {
            let error = line(rule, 0, 1).expect_err(rule);
            assert!(error.to_string().contains(words), "{rule}: {error}");
        }
    }
}
