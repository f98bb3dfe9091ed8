//! Reading queries.

use portolan_model::names::RecordType;

use super::{CLASS_IN, HEADER, MAX_UDP, PLAIN_UDP, Rcode, TYPE_OPT, u16_at};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What the OPT record of a query says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) udp_size: u16,
    /// DNSSEC OK: the client takes signatures.
    pub(crate) dnssec: bool,
}

/// A query with one question of class IN.
#[derive(Clone, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) transport: Transport,
    /// The question's name in lower case, without the root octet.
    name: [u8; 254],
    name_length: u8,
    pub(crate) kind: RecordType,
    pub(crate) edns: Option<Edns>,
}

/// Why a message is not answered with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It is not for us to answer at all: too short to have a header, or itself an answer.
    Silently,
    /// Answer with the code and, where it could be read, the question, which ends there.
    With { rcode: Rcode, question_end: usize, edns: bool },
}

impl<'a> Query<'a> {
    pub(crate) fn parse(message: &'a [u8], transport: Transport) -> Result<Self, Rejected> {
        if message.len() < HEADER || message[2] & 0x80 != 0 {
            return Err(Rejected::Silently);
        }
        let reject = |rcode, question_end, edns| Rejected::With { rcode, question_end, edns };
        let malformed = reject(Rcode::FORMERR, HEADER, false);
        if message[2] & 0x78 != 0 {
            return Err(reject(Rcode::NOTIMP, HEADER, false));
        }
        let count = |section: usize| u16::from_be_bytes([message[section], message[section + 1]]);
        if count(4) != 1 {
            return Err(malformed);
        }
        let mut query = Self {
            message,
            transport,
            name: [0; 254],
            name_length: 0,
            kind: RecordType::A,
            edns: None,
        };
        let end = query.read_name().ok_or(malformed)?;
        let kind = u16_at(message, end).ok_or(malformed)?;
        let class = u16_at(message, end + 2).ok_or(malformed)?;
        query.kind = RecordType(kind);
        let question_end = end + 4;
        let records = [count(6), count(8), count(10)];
        let malformed = reject(Rcode::FORMERR, question_end, false);
        let version = if records == [0; 3] {
            0
        } else {
            query.read_records(question_end, records).ok_or(malformed)?
        };
        if version != 0 {
            return Err(reject(Rcode::BADVERS, question_end, true));
        }
        if class != CLASS_IN {
            return Err(reject(Rcode::REFUSED, question_end, query.edns.is_some()));
        }
        Ok(query)
    }

    /// Copies the question's name; compression has nothing to point to there.
    fn read_name(&mut self) -> Option<usize> {
        let mut at = HEADER;
        loop {
            let length = usize::from(*self.message.get(at)?);
            if length == 0 {
                break;
            }
            if length > 63 {
                return None;
            }
            at += 1 + length;
        }
        let wire = self.message.get(HEADER..at)?;
        let name = self.name.get_mut(..wire.len())?;
        name.copy_from_slice(wire);
        // Length octets are below the letters, so this changes labels only.
        name.make_ascii_lowercase();
        self.name_length = wire.len() as u8;
        Some(at + 1)
    }

    /// Walks the records after the question for the one OPT; returns its version.
    fn read_records(&mut self, mut at: usize, counts: [u16; 3]) -> Option<u8> {
        let mut version = 0;
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                let owner = at;
                at = skip_name(self.message, at)?;
                let kind = u16_at(self.message, at)?;
                let length = usize::from(u16_at(self.message, at + 8)?);
                if kind == TYPE_OPT {
                    // RFC 6891, 6.1.1: one, in the additional section, owned by the root.
                    if section != 2 || self.edns.is_some() || at != owner + 1 {
                        return None;
                    }
                    let udp_size = u16_at(self.message, at + 2)?;
                    version = *self.message.get(at + 5)?;
                    let dnssec = self.message.get(at + 6)? & 0x80 != 0;
                    self.edns = Some(Edns { udp_size, dnssec });
                }
                at += 10 + length;
                if at > self.message.len() {
                    return None;
                }
            }
        }
        Some(version)
    }

    /// The question's name in lower case, without the root octet.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.name_length)]
    }

    /// Where the question ends, and with it everything that an answer repeats.
    pub(crate) fn question_end(&self) -> usize {
        HEADER + usize::from(self.name_length) + 1 + 4
    }

    /// The question as it was asked: name, type and class.
    pub(crate) fn question(&self) -> &'a [u8] {
        &self.message[HEADER..self.question_end()]
    }

    pub(crate) fn dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }

    /// How large an answer may be.
    pub(crate) fn limit(&self) -> usize {
        match (self.transport, self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => PLAIN_UDP,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_size).clamp(PLAIN_UDP, MAX_UDP),
        }
    }
}

/// The end of a name that may be compressed.
pub(crate) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + length,
            0xc0..=0xff => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

/// The end of the name at `start`, if the whole of it can be read: its pointers lead backwards
/// only, and it is not too long.
pub(crate) fn whole_name(message: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut before, mut octets) = (start, start, 0);
    let mut end = None;
    loop {
        if end.is_some() && at >= start {
            // From before the name into it, or past it: no earlier name reads like that.
            return None;
        }
        match usize::from(*message.get(at)?) {
            0 => return Some(end.unwrap_or(at + 1)),
            length @ 1..=63 => {
                octets += 1 + length;
                at += 1 + length;
                if octets > 254 {
                    return None;
                }
            }
            high @ 0xc0..=0xff => {
                let target = (high & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                // What is passed on gets another header, so nothing may point there.
                if target >= before || target < HEADER {
                    return None;
                }
                end.get_or_insert(at + 2);
                (at, before) = (target, target);
            }
            _ => return None,
        }
    }
}
