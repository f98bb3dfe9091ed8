//! `log`: a line for each query, as CoreDNS writes it.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_model::names::to_text;

use super::super::config::zones;
use super::super::corefile::{CorefileError, Directive};
use super::super::wire::{Query, Rcode, Transport, type_name};
use super::super::zone::{Zone, longest};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogConfig {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    zones: Vec<Zone>,
    classes: Vec<Class>,
}

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
    /// `log [ZONE…] { class CLASS… }`; may be given several times, each adding a rule.
    pub(crate) fn read(
        config: &mut Self,
        directive: &Directive,
        _keys: &[(Zone, u16)],
    ) -> Result<(), CorefileError> {
        if let Some(format) = directive.args.iter().find(|arg| arg.contains('{')) {
            return Err(directive.error(format!("format \"{format}\" is not supported")));
        }
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
        let zones = if directive.args.is_empty() {
            vec![Zone::root()]
        } else {
            zones(directive, directive.line, &directive.args)?
        };
        config.rules.push(Rule { zones, classes });
        Ok(())
    }

    /// Writes the line for one query, if a rule wants it.
    pub(crate) fn line(&self, query: &Query<'_>, peer: SocketAddr, answer: &[u8], took: Duration) {
        let (rcode, answers) = match answer {
            [_, _, _, flags, _, _, high, low, ..] => {
                (Rcode(flags & 0x0f), u16::from_be_bytes([*high, *low]))
            }
            _ => return,
        };
        let wanted = self.rules.iter().any(|rule| {
            longest(&rule.zones, query.name()).is_some()
                && rule.classes.iter().any(|class| class.holds(rcode, answers))
        });
        if !wanted {
            return;
        }
        let transport = if query.transport == Transport::Tcp { "tcp" } else { "udp" };
        let size = query.edns.map_or(512, |edns| edns.udp_size);
        tracing::info!(
            target: "portolan_node::dns::query",
            "{peer} - {} \"{} IN {} {transport} {} {} {size}\" {} {} {} {:.9}s",
            u16::from_be_bytes([query.message[0], query.message[1]]),
            type_name(query.kind.0),
            to_text(query.name()),
            query.message.len(),
            query.dnssec(),
            rcode.name(),
            flags(answer),
            answer.len(),
            took.as_secs_f64(),
        );
    }
}

fn flags(answer: &[u8]) -> String {
    let bits = u16::from_be_bytes([answer[2], answer[3]]);
    let names = [(15, "qr"), (10, "aa"), (9, "tc"), (8, "rd"), (7, "ra"), (5, "ad"), (4, "cd")];
    let set: Vec<_> =
        names.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    set.join(",")
}
