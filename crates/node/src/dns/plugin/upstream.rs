//! One question to one upstream server, and what its answer is worth.
//!
//! Every question goes out with an identifier, from a port and in a spelling that nobody can guess,
//! and only an answer that comes from whom was asked and repeats the question counts (RFC 5452).

use super::super::wire::{HEADER, OUR_UDP, Query, Rcode, TYPE_OPT, skip_name, u16_at, whole_name};

const TYPE_SOA: u16 = 6;

/// An upstream's answer, checked and without its OPT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) message: Vec<u8>,
    pub(crate) rcode: Rcode,
    pub(crate) truncated: bool,
    /// Whether the answer section holds records.
    pub(crate) answers: bool,
    /// The lowest TTL of all records.
    pub(crate) ttl: Option<u32>,
    /// How long a denial may be believed (RFC 2308, 5).
    pub(crate) negative_ttl: Option<u32>,
    /// Where the TTLs lie.
    pub(crate) ttls: Vec<u16>,
}

/// The message that asks an upstream what `query` asks, with these EDNS options.
pub(crate) fn question(query: &Query<'_>, id: u16, options: &[u8]) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    let recursion = query.message[2] & 0x01;
    let checking_disabled = query.message[3] & 0x10;
    let additional = u8::from(query.edns.is_some());
    message.extend_from_slice(&[recursion, checking_disabled, 0, 1, 0, 0, 0, 0, 0, additional]);
    message.extend_from_slice(query.question());
    if query.edns.is_some() {
        let flags = if query.dnssec() { 0x80 } else { 0 };
        message.push(0);
        message.extend_from_slice(&TYPE_OPT.to_be_bytes());
        message.extend_from_slice(&OUR_UDP.to_be_bytes());
        message.extend_from_slice(&[0, 0, flags, 0]);
        message.extend_from_slice(&(options.len() as u16).to_be_bytes());
        message.extend_from_slice(options);
    }
    message
}

/// Reads `answer` as the answer to `question`; `None` when it is not one, or not a whole message.
pub(crate) fn read(question: &[u8], mut answer: Vec<u8>) -> Option<Relayed> {
    let question_end = skip_name(question, HEADER)? + 4;
    let asked = question.get(HEADER..question_end)?;
    let same = answer.get(HEADER..question_end)?.eq_ignore_ascii_case(asked);
    if answer[..2] != question[..2] || answer[2] & 0xf8 != 0x80 || u16_at(&answer, 4)? != 1 || !same
    {
        return None;
    }
    let mut relayed = Relayed {
        message: Vec::new(),
        rcode: Rcode(answer[3] & 0x0f),
        truncated: answer[2] & 0x02 != 0,
        answers: u16_at(&answer, 6)? > 0,
        ttl: None,
        negative_ttl: None,
        ttls: Vec::new(),
    };
    let mut at = question_end;
    for section in [6, 8, 10] {
        let count = u16_at(&answer, section)?;
        for index in 0..count {
            let owner = at;
            // A name that nobody can read must not go on to clients.
            at = whole_name(&answer, at)?;
            let kind = u16_at(&answer, at)?;
            let ttl = u32::from_be_bytes(answer.get(at + 4..at + 8)?.try_into().ok()?);
            let data = at + 10;
            let end = data + usize::from(u16_at(&answer, at + 8)?);
            let rdata = answer.get(data..end)?;
            if kind == TYPE_OPT {
                if ttl >> 24 != 0 {
                    // An extended code: nothing that a client could make use of.
                    relayed.rcode = Rcode::SERVFAIL;
                }
                // It is hop by hop, and the last but for signatures, which would not hold.
                answer.truncate(owner);
                answer[section..section + 2].copy_from_slice(&index.to_be_bytes());
                answer[section + 2..HEADER].fill(0);
                answer[3] = answer[3] & 0xf0 | relayed.rcode.0;
                relayed.message = answer;
                return Some(relayed);
            }
            // RFC 2181, 8: the sign bit means zero.
            let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
            relayed.ttl = Some(relayed.ttl.map_or(ttl, |lowest| lowest.min(ttl)));
            relayed.ttls.push(u16::try_from(at + 4).ok()?);
            if kind == TYPE_SOA && section == 8 {
                let minimum = rdata.last_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                relayed.negative_ttl = minimum.map(|minimum| minimum.min(ttl));
            }
            at = end;
        }
    }
    answer.truncate(at);
    relayed.message = answer;
    Some(relayed)
}

/// Spells the question's name in a way that nobody can guess; who answers has to repeat it
/// (draft-vixie-dnsext-dns0x20).
pub(crate) fn mix_case(question: &mut [u8]) {
    let Some(end) = skip_name(question, HEADER) else { return };
    let mut bits: u64 = 0;
    for (index, octet) in question[HEADER..end].iter_mut().enumerate() {
        if index % 64 == 0 {
            bits = rand::random();
        }
        // Length octets are no letters.
        if octet.is_ascii_alphabetic() && bits >> (index % 64) & 1 == 1 {
            *octet ^= 0x20;
        }
    }
}

/// Puts the spelling of `question` back where an answer repeats the name that was asked for.
pub(crate) fn restore_case(question: &[u8], message: &mut [u8]) {
    let Some(end) = skip_name(question, HEADER) else { return };
    let name = &question[HEADER..end];
    let put = |message: &mut [u8], at: usize| {
        if let Some(place) = message.get_mut(at..at + name.len())
            && place.eq_ignore_ascii_case(name)
        {
            place.copy_from_slice(name);
        }
    };
    put(message, HEADER);
    let count = |at| usize::from(u16_at(message, at).unwrap_or(0));
    let records = count(6) + count(8) + count(10);
    let mut at = end + 4;
    for _ in 0..records {
        put(message, at);
        let Some(data) = skip_name(message, at) else { return };
        at = data + 10 + usize::from(u16_at(message, data + 8).unwrap_or(0));
    }
}

/// Whether an answer repeats the question letter by letter.
pub(crate) fn same_case(question: &[u8], relayed: &Relayed) -> bool {
    let Some(end) = skip_name(question, HEADER) else { return false };
    question.get(HEADER..end) == relayed.message.get(HEADER..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked() -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(b"\x07Example\x03org\x00\x00\x01\x00\x01");
        message
    }

    fn answered(records: &[u8], counts: [u8; 3]) -> Vec<u8> {
        let mut message = asked().to_ascii_lowercase();
        message[2] = 0x81;
        message[3] = 0x80;
        for (at, count) in [7, 9, 11].into_iter().zip(counts) {
            message[at] = count;
        }
        message.extend_from_slice(records);
        message
    }

    const A: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

    #[test]
    fn answers_are_read_and_lose_their_opt() {
        let with = answered(&[A, OPT].concat(), [1, 0, 1]);
        let relayed = read(&asked(), with.clone()).expect("an answer");
        assert_eq!((relayed.ttl, relayed.answers, relayed.rcode), (Some(60), true, Rcode::NOERROR));
        assert_eq!(relayed.message.len(), with.len() - OPT.len());
        assert_eq!(relayed.message[11], 0);
        let at = usize::from(relayed.ttls[0]);
        assert_eq!(relayed.message[at..at + 4], [0, 0, 0, 60]);
    }

    #[test]
    fn denials_last_as_their_soa_says() {
        let mut soa = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x0e\x10\x00\x18\xc0\x0c\xc0\x0c".to_vec();
        soa.extend_from_slice(&[0; 16]);
        soa.extend_from_slice(&300_u32.to_be_bytes());
        let mut message = answered(&soa, [0, 1, 0]);
        message[3] = 0x83;
        let relayed = read(&asked(), message).expect("an answer");
        assert_eq!((relayed.rcode, relayed.negative_ttl), (Rcode::NXDOMAIN, Some(300)));
    }

    #[test]
    fn what_is_no_answer_to_the_question_does_not_count() {
        let good = answered(A, [1, 0, 0]);
        assert!(read(&asked(), good.clone()).is_some());
        for (at, value) in [(0, 0x13), (2, 0x01), (2, 0x89), (13, b'f'), (25, 28), (5, 0), (7, 2)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(read(&asked(), bad), None, "octet {at}");
        }
        assert_eq!(read(&asked(), good[..good.len() - 1].to_vec()), None);
    }

    #[test]
    fn the_case_is_mixed_and_has_to_be_repeated() {
        let mut question = asked();
        mix_case(&mut question);
        assert!(question.eq_ignore_ascii_case(&asked()));
        let mixed = (0..64).any(|_| {
            let before = question.clone();
            mix_case(&mut question);
            before != question
        });
        assert!(mixed);
        let relayed = read(&question, answered(A, [1, 0, 0])).expect("an answer");
        let mut lower = asked().to_ascii_lowercase();
        assert!(same_case(&lower, &relayed));
        lower[13] ^= 0x20;
        assert!(!same_case(&lower, &relayed));
        // Owners that are written out are spelt as they were asked for, too.
        let mut whole = answered(&[&lower[12..25], &A[2..]].concat(), [1, 0, 0]);
        restore_case(&asked(), &mut whole);
        assert_eq!(whole[12..25], asked()[12..25]);
        assert_eq!(whole[29..42], asked()[12..25]);
    }

    proptest! {
        #[test]
        fn no_answer_panics(mut answer: Vec<u8>, records: Vec<u8>, counts: [u8; 3]) {
            let _ = read(&asked(), std::mem::take(&mut answer));
            let _ = read(&asked(), answered(&records, counts));
        }
    }
}
