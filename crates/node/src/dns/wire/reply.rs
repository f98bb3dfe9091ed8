//! Writing answers.

use std::net::IpAddr;

use portolan_model::names::RecordType;

use super::query::{Query, Rejected};
use super::{CLASS_IN, HEADER, OUR_UDP, Rcode, TYPE_OPT};

/// Octets of an OPT record without options.
const OPT: usize = 11;

/// Offsets from here on cannot be pointed to (RFC 1035, 4.1.4).
const POINTER_LIMIT: usize = 0x4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 6,
    Authority = 8,
    Additional = 10,
}

/// An answer being appended to a buffer. Records that no longer fit are left out: in the answer
/// and authority sections that sets TC; additional ones are a courtesy (RFC 2181, 9).
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    room: usize,
    edns: Option<bool>,
    counts: [u16; 3],
    truncated: bool,
}

impl<'a> Reply<'a> {
    /// Begins an answer to `query`: header and question are repeated as asked.
    pub(crate) fn new(out: &'a mut Vec<u8>, query: &Query<'_>) -> Self {
        let start = out.len();
        out.extend_from_slice(&query.message[..query.question_end()]);
        let edns = query.edns.map(|edns| edns.dnssec);
        let reserved = if edns.is_some() { OPT } else { 0 };
        Self { start, room: query.limit() - reserved, edns, counts: [0; 3], truncated: false, out }
    }

    /// Answers a message that is no proper query; `false` when it deserves no answer.
    pub(crate) fn reject(out: &mut Vec<u8>, message: &[u8], why: Rejected) -> Option<Rcode> {
        let Rejected::With { rcode, question_end, edns } = why else { return None };
        let start = out.len();
        out.extend_from_slice(&message[..question_end]);
        let reply = Reply {
            start,
            room: super::PLAIN_UDP,
            edns: edns.then_some(false),
            counts: [0; 3],
            truncated: false,
            out,
        };
        let question = u16::from(question_end > HEADER);
        reply.out[start + 4..start + 6].copy_from_slice(&question.to_be_bytes());
        // The opcode is repeated, so a client knows what it is that was refused.
        reply.finish(rcode, false, false);
        Some(rcode)
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Where the question's name has the labels that begin `skipped` octets into it; something to
    /// point to.
    pub(crate) fn in_question(skipped: usize) -> usize {
        HEADER + skipped
    }

    /// Appends a record whose data `write` appends; the owner is what lies at `owner`. Returns
    /// where its data begins, or `None` when it did not fit.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: usize,
        kind: RecordType,
        ttl: u32,
        write: impl FnOnce(&mut Self),
    ) -> Option<usize> {
        let before = self.out.len();
        self.pointer(owner);
        self.out.extend_from_slice(&kind.0.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.finish_record(section, before, write)
    }

    /// Appends a record that `write` puts together whole, given where the message begins; `false`
    /// when it did not fit.
    pub(crate) fn whole_record(
        &mut self,
        section: Section,
        write: impl FnOnce(&mut Vec<u8>, usize),
    ) -> bool {
        let before = self.out.len();
        write(self.out, self.start);
        let fits = self.len() <= self.room;
        if fits {
            self.counts[section as usize / 2 - 3] += 1;
        } else {
            self.out.truncate(before);
            self.truncated |= section != Section::Additional;
        }
        fits
    }

    fn finish_record(
        &mut self,
        section: Section,
        before: usize,
        write: impl FnOnce(&mut Self),
    ) -> Option<usize> {
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let data = self.out.len();
        write(self);
        let length = u16::try_from(self.out.len() - data).ok();
        let Some(length) = length.filter(|_| self.len() <= self.room) else {
            self.out.truncate(before);
            self.truncated |= section != Section::Additional;
            return None;
        };
        self.out[length_at..data].copy_from_slice(&length.to_be_bytes());
        self.counts[section as usize / 2 - 3] += 1;
        Some(data - self.start)
    }

    /// Appends an A or AAAA record; `false` when it did not fit.
    pub(crate) fn address(
        &mut self,
        section: Section,
        owner: usize,
        ttl: u32,
        address: IpAddr,
    ) -> bool {
        let (kind, length) = match address {
            IpAddr::V4(_) => (RecordType::A, 4),
            IpAddr::V6(_) => (RecordType::AAAA, 16),
        };
        if owner >= POINTER_LIMIT || self.len() + 12 + length > self.room {
            self.truncated |= section != Section::Additional;
            return false;
        }
        let mut record = [0_u8; 28];
        record[..2].copy_from_slice(&(0xc000 | owner as u16).to_be_bytes());
        record[2..4].copy_from_slice(&kind.0.to_be_bytes());
        record[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
        record[6..10].copy_from_slice(&ttl.to_be_bytes());
        record[11] = length as u8;
        match address {
            IpAddr::V4(v4) => record[12..16].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => record[12..28].copy_from_slice(&v6.octets()),
        }
        self.out.extend_from_slice(&record[..12 + length]);
        self.counts[section as usize / 2 - 3] += 1;
        true
    }

    /// Appends octets to a record's data.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Lets `write` append octets to a record's data.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.out);
    }

    /// Appends the name that lies at `offset` of this message, as a pointer where it can be.
    pub(crate) fn pointer(&mut self, offset: usize) {
        if self.out.get(self.start + offset) == Some(&0) {
            self.out.push(0);
        } else if offset < POINTER_LIMIT {
            self.out.extend_from_slice(&(0xc000 | offset as u16).to_be_bytes());
        } else {
            self.copy_name(offset);
        }
    }

    /// Appends the name at `offset` in full; it is not compressed itself.
    pub(crate) fn copy_name(&mut self, offset: usize) {
        let mut at = self.start + offset;
        loop {
            let length = usize::from(self.out[at]);
            self.out.extend_from_within(at..=at + length);
            if length == 0 {
                return;
            }
            at += 1 + length;
        }
    }

    /// Completes the header and the OPT record.
    pub(crate) fn finish(self, rcode: Rcode, authoritative: bool, recursion: bool) -> Rcode {
        if let Some(dnssec) = self.edns {
            self.out.push(0);
            self.out.extend_from_slice(&TYPE_OPT.to_be_bytes());
            self.out.extend_from_slice(&OUR_UDP.to_be_bytes());
            let flags = if dnssec { 0x80 } else { 0 };
            self.out.extend_from_slice(&[rcode.0 >> 4, 0, flags, 0, 0, 0]);
        }
        let header = &mut self.out[self.start..self.start + HEADER];
        let mut set = |at: usize, value: u16| {
            header[at..at + 2].copy_from_slice(&value.to_be_bytes());
        };
        set(6, self.counts[0]);
        set(8, self.counts[1]);
        set(10, self.counts[2] + u16::from(self.edns.is_some()));
        // Opcode and RD are repeated, everything else is ours to say.
        header[2] = 0x80
            | (header[2] & 0x79)
            | if authoritative { 0x04 } else { 0 }
            | if self.truncated { 0x02 } else { 0 };
        // CD is repeated (RFC 4035, 3.2.2).
        header[3] = (header[3] & 0x10) | if recursion { 0x80 } else { 0 } | (rcode.0 & 0x0f);
        rcode
    }
}

/// Answers from another server or the cache, to be passed on.
impl Reply<'_> {
    /// Appends `message`, an answer to the same question without an OPT record, as the answer to
    /// `query`: its identifier, its spelling of the name, its size. One that is too large becomes
    /// an empty one with TC set. The TTLs that lie at the offsets in `ttls` are replaced.
    pub(crate) fn relay(
        out: &mut Vec<u8>,
        query: &Query<'_>,
        message: &[u8],
        ttls: (&[u16], u32),
    ) -> Rcode {
        let rcode = Rcode(message[3] & 0x0f);
        let start = out.len();
        let end = query.question_end();
        let mut reply = Reply::new(out, query);
        let counts = [6, 8, 10].map(|at| u16::from_be_bytes([message[at], message[at + 1]]));
        if message.len() > reply.room {
            reply.truncated = true;
        } else {
            reply.out.extend_from_slice(&message[end..]);
            reply.counts = counts;
            reply.truncated = message[2] & 0x02 != 0;
            for at in ttls.0.iter().map(|at| start + usize::from(*at)) {
                if let Some(ttl) = reply.out.get_mut(at..at + 4) {
                    ttl.copy_from_slice(&ttls.1.to_be_bytes());
                }
            }
        }
        reply.finish(rcode, false, true);
        // AD is the upstream's to say.
        out[start + 3] |= message[3] & 0x20;
        rcode
    }

    /// Appends answer records that were put together elsewhere for the same question; if they do
    /// not fit, none of them and TC.
    pub(crate) fn answers_or_truncate(&mut self, records: &[u8], count: u16) {
        if self.len() + records.len() > self.room {
            self.truncated = true;
        } else {
            self.out.extend_from_slice(records);
            self.counts[0] = count;
        }
    }

    /// Answers `query` without records.
    pub(crate) fn empty(out: &mut Vec<u8>, query: &Query<'_>, rcode: Rcode) -> Rcode {
        Reply::new(out, query).finish(rcode, false, true)
    }
}
