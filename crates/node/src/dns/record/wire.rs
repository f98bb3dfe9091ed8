//! Between messages and records.

use std::collections::HashMap;

use super::{Field, OPT, Parts, Record, field_end, layout};
use crate::dns::wire::{HEADER, Query, Rcode, Reply, Section, u16_at};
use portolan_model::names::RecordType;

const SOA: u16 = 6;

/// A name has no more octets (RFC 1035, 2.3.4), less the root's.
const LONGEST_NAME: usize = 254;

/// Reads a whole answer; `None` when it is malformed. Its OPT record is left out.
pub(crate) fn read(message: &[u8]) -> Option<Parts> {
    let flags = [*message.get(2)?, *message.get(3)?];
    let mut at = HEADER;
    for _ in 0..u16_at(message, 4)? {
        at = name(message, at, &mut Vec::new())? + 4;
    }
    let mut parts = Parts {
        rcode: Rcode(flags[1] & 0x0f),
        authoritative: flags[0] & 0x04 != 0,
        truncated: flags[0] & 0x02 != 0,
        recursion: flags[1] & 0x80 != 0,
        authentic: flags[1] & 0x20 != 0,
        ..Parts::default()
    };
    for (section, count_at) in parts.sections.iter_mut().zip([6, 8, 10]) {
        for _ in 0..u16_at(message, count_at)? {
            let mut owner = Vec::new();
            at = name(message, at, &mut owner)?;
            let kind = RecordType(u16_at(message, at)?);
            let ttl = u32::from_be_bytes(message.get(at + 4..at + 8)?.try_into().ok()?);
            let start = at + 10;
            let end = start + usize::from(u16_at(message, at + 8)?);
            message.get(start..end)?;
            if kind.0 == OPT {
                parts.rcode.0 |= ((ttl >> 24) as u8) << 4;
            } else {
                let data = data(&message[..end], start, kind)?;
                section.push(Record { owner, kind, ttl, data });
            }
            at = end;
        }
    }
    Some(parts)
}

/// The data of a record with its names made whole.
fn data(message: &[u8], mut at: usize, kind: RecordType) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    for field in layout(kind) {
        let end = match field {
            Field::Name => {
                let mut whole = Vec::new();
                let end = name(message, at, &mut whole)?;
                data.append(&mut whole);
                data.push(0);
                end
            }
            Field::Octets(_) | Field::Text => {
                let end = field_end(message, at, *field)?;
                data.extend_from_slice(&message[at..end]);
                end
            }
        };
        at = end;
    }
    data.extend_from_slice(message.get(at..)?);
    Some(data)
}

/// Appends the name at `at`, without the root octet; returns where it ends.
fn name(message: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (mut end, mut jumps) = (None, 0);
    loop {
        match usize::from(*message.get(at)?) {
            0 => return end.or(Some(at + 1)),
            length @ 1..=63 => {
                out.extend_from_slice(message.get(at..at + 1 + length)?);
                at += 1 + length;
                if out.len() > LONGEST_NAME {
                    return None;
                }
            }
            0xc0..=0xff => {
                end = end.or(Some(at + 2));
                at = usize::from(u16_at(message, at)? & 0x3fff);
                jumps += 1;
                if jumps > 64 {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

/// What an answer is written with besides its records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edited<'a> {
    /// An option for the OPT record, when the client sent one.
    pub(crate) option: Option<(u16, &'a [u8])>,
}

/// Appends `parts` as the answer to `query`, as far as it fits.
pub(crate) fn write(
    query: &Query<'_>,
    parts: &Parts,
    edited: Edited<'_>,
    out: &mut Vec<u8>,
) -> Rcode {
    let start = out.len();
    let mut reply = Reply::new(out, query);
    let mut names = Names::default();
    let asked = &query.message[HEADER..query.question_end() - 5];
    names.learn(asked, asked.len(), HEADER);
    let sections = [Section::Answer, Section::Authority, Section::Additional];
    'all: for (section, records) in sections.into_iter().zip(&parts.sections) {
        for record in records {
            let fits = reply.whole_record(section, |out, start| names.record(record, out, start));
            if !fits {
                // Offsets that were learnt from it lead nowhere now.
                break 'all;
            }
        }
    }
    reply.finish(parts.rcode, parts.authoritative, parts.recursion);
    if parts.truncated {
        out[start + 2] |= 0x02;
    }
    if parts.authentic {
        out[start + 3] |= 0x20;
    }
    if let Some((code, data)) = edited.option {
        attach_option(query, start, code, data, out);
    }
    parts.rcode
}

/// Adds an option to the OPT record of the answer that begins at `start`, if there is one and the
/// option fits.
pub(crate) fn attach_option(
    query: &Query<'_>,
    start: usize,
    code: u16,
    data: &[u8],
    out: &mut Vec<u8>,
) {
    let size = 4 + data.len();
    if query.edns.is_none() || out.len() - start + size > query.limit() {
        return;
    }
    // The OPT record is the last, and what it ends with is its data's length.
    let at = out.len() - 2;
    out[at..].copy_from_slice(&(size as u16).to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

/// The names that a message holds already, by their lower-case form.
#[derive(Default)]
struct Names(HashMap<Vec<u8>, u16>);

impl Names {
    /// Notes that `name` lies at `offset`, and so do those of its parents that begin before `end`.
    fn learn(&mut self, name: &[u8], end: usize, offset: usize) {
        let mut at = 0;
        while let Some(length) = name.get(at).filter(|_| at < end) {
            if let Ok(offset @ ..0x4000) = u16::try_from(offset + at) {
                self.0.entry(name[at..].to_ascii_lowercase()).or_insert(offset);
            }
            at += 1 + usize::from(*length);
        }
    }

    /// Appends `name`, by pointer from where it is known.
    fn put(&mut self, name: &[u8], out: &mut Vec<u8>, start: usize) {
        let (mut at, begun) = (0, out.len() - start);
        while let Some(length) = name.get(at) {
            if let Some(known) = self.0.get(&name[at..].to_ascii_lowercase()) {
                out.extend_from_slice(&(0xc000 | known).to_be_bytes());
                break;
            }
            let end = at + 1 + usize::from(*length);
            out.extend_from_slice(&name[at..end]);
            at = end;
        }
        if at >= name.len() {
            out.push(0);
        }
        self.learn(name, at, begun);
    }

    fn record(&mut self, record: &Record, out: &mut Vec<u8>, start: usize) {
        self.put(&record.owner, out, start);
        out.extend_from_slice(&record.kind.0.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        self.data(record, out, start);
        let length = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Only the types of RFC 1035 may have their names compressed (RFC 3597, 4).
    fn data(&mut self, record: &Record, out: &mut Vec<u8>, start: usize) {
        let mut at = 0;
        if matches!(record.kind.0, 2 | 5 | SOA | 12 | 15) {
            for field in layout(record.kind) {
                let Some(end) = field_end(&record.data, at, *field) else { break };
                match field {
                    Field::Name => self.put(&record.data[at..end - 1], out, start),
                    Field::Octets(_) | Field::Text => out.extend_from_slice(&record.data[at..end]),
                }
                at = end;
            }
        }
        out.extend_from_slice(&record.data[at..]);
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::names::to_wire;
    use proptest::prelude::*;

    use super::*;
    use crate::dns::wire::Transport;

    fn query(name: &str) -> Vec<u8> {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend(to_wire(name).expect("a name"));
        message.extend_from_slice(&[0, 0, 1, 0, 1]);
        message.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        message
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let name = prop::collection::vec("[a-c]{1,3}", 0..4)
            .prop_map(|labels| to_wire(&format!("{}.", labels.join("."))).unwrap_or_default());
        let kind = prop::sample::select(vec![1_u16, 2, 5, 6, 12, 15, 16, 33, 35, 39]);
        (name.clone(), kind, any::<u32>(), name, prop::collection::vec(any::<u8>(), 0..9)).prop_map(
            |(owner, kind, ttl, target, rest)| {
                let kind = RecordType(kind);
                let mut data = Vec::new();
                for field in layout(kind) {
                    match field {
                        Field::Name => data.extend(target.iter().chain(&[0])),
                        Field::Octets(count) => data.extend(vec![7; *count]),
                        Field::Text => data.extend_from_slice(b"\x02ab"),
                    }
                }
                data.extend(rest);
                Record { owner, kind, ttl, data }
            },
        )
    }

    proptest! {
        /// What is written is read again, and `domain` agrees that it is well formed.
        #[test]
        fn written_answers_are_read_again(
            answers in prop::collection::vec(any_record(), 0..8),
            extra in prop::collection::vec(any_record(), 0..4),
        ) {
            let message = query("a.bc.c");
            let query = Query::parse(&message, Transport::Tcp).expect("a query");
            let parts = Parts {
                rcode: Rcode::NXDOMAIN,
                authoritative: true,
                sections: [answers, Vec::new(), extra],
                ..Parts::default()
            };
            let mut out = vec![1, 2, 3];
            let edited = Edited { option: Some((15, b"\x00\x0fwhy")) };
            write(&query, &parts, edited, &mut out);
            let out = out.split_off(3);
            let again = read(&out);
            prop_assert_eq!(again.as_ref(), Some(&parts));
            let whole = domain::base::Message::from_octets(out).expect("a message");
            let records = whole.answer().expect("a section").count();
            prop_assert_eq!(records, parts.sections[0].len());
            prop_assert!(whole.opt().is_some());
        }

        #[test]
        fn nothing_that_is_read_panics(mut message: Vec<u8>, tail: Vec<u8>) {
            let _ = read(&message);
            message = query("a.b");
            message[7] = 3;
            message.extend(tail);
            let _ = read(&message);
        }
    }
}
