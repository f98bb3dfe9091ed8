//! Records apart from messages: for plugins that make answers up or change those of others.
//!
//! This is the long way. What most queries need is written by [`super::wire`] without allocation.

mod text;
mod wire;

pub(crate) use text::parse;
pub(crate) use wire::{Edited, attach_option, read, write};

use portolan_model::names::RecordType;

use super::wire::Rcode;

pub(crate) const DNAME: RecordType = RecordType(39);
pub(crate) const DS: RecordType = RecordType(43);
pub(crate) const OPT: u16 = 41;

/// One record of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// In wire form, without the root octet.
    pub(crate) owner: Vec<u8>,
    pub(crate) kind: RecordType,
    pub(crate) ttl: u32,
    /// In wire form, its names whole.
    pub(crate) data: Vec<u8>,
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) rcode: Rcode,
    pub(crate) authoritative: bool,
    pub(crate) recursion: bool,
    /// AD: the data was validated by whom it came from.
    pub(crate) authentic: bool,
    pub(crate) truncated: bool,
    /// Answers, authority and additional records.
    pub(crate) sections: [Vec<Record>; 3],
}

/// What the data of a type begins with.
#[derive(Clone, Copy, Debug)]
enum Field {
    Octets(usize),
    Name,
    /// Octets with their length in front.
    Text,
}

/// The fields of a type up to its last name; whatever follows is octets.
fn layout(kind: RecordType) -> &'static [Field] {
    use Field::{Name, Octets, Text};
    match kind.0 {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME, NSEC
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 | 47 => &[Name],
        // SOA, MINFO, RP
        6 | 14 | 17 => &[Name, Name],
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => &[Octets(2), Name],
        // PX
        26 => &[Octets(2), Name, Name],
        // SRV
        33 => &[Octets(6), Name],
        // NAPTR
        35 => &[Octets(4), Text, Text, Text, Name],
        // SIG, RRSIG
        24 | 46 => &[Octets(18), Name],
        _ => &[],
    }
}

impl Record {
    /// Replaces every name in the data by what `map` makes of it.
    pub(crate) fn map_names(&mut self, map: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) {
        let (mut at, mut data) = (0, Vec::new());
        for field in layout(self.kind) {
            let Some(end) = field_end(&self.data, at, *field) else { return };
            let octets = &self.data[at..end];
            match field {
                Field::Name => {
                    let name = &octets[..octets.len() - 1];
                    let mapped = map(name);
                    data.extend_from_slice(mapped.as_deref().unwrap_or(name));
                    data.push(0);
                }
                Field::Octets(_) | Field::Text => data.extend_from_slice(octets),
            }
            at = end;
        }
        data.extend_from_slice(&self.data[at..]);
        self.data = data;
    }

    /// The last name of the data, without its root octet: the target of an alias, of a mail
    /// exchange, of a server.
    pub(crate) fn target(&self) -> Option<&[u8]> {
        let (mut at, mut target) = (0, None);
        for field in layout(self.kind) {
            let end = field_end(&self.data, at, *field)?;
            if matches!(field, Field::Name) {
                target = self.data.get(at..end - 1);
            }
            at = end;
        }
        target
    }
}

/// Where the field that begins at `at` ends.
fn field_end(data: &[u8], mut at: usize, field: Field) -> Option<usize> {
    let end = match field {
        Field::Octets(count) => at + count,
        Field::Text => at + 1 + usize::from(*data.get(at)?),
        Field::Name => loop {
            let length = usize::from(*data.get(at)?);
            at += 1 + length;
            if length == 0 {
                break at;
            }
        },
    };
    (end <= data.len()).then_some(end)
}
