use domain::base::Message;
use domain::rdata::AllRecordData;
use portolan_model::names::RecordType;
use proptest::prelude::*;

use super::query::Rejected;
use super::*;

const ASKED: &[u8] = b"\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\
    \x03WeB\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";
const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";

fn with_opt(opt: &[u8]) -> Vec<u8> {
    let mut message = [ASKED, opt].concat();
    message[11] = 1;
    message
}

fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = ASKED.to_vec();
    edit(&mut message);
    message
}

#[test]
fn queries_are_read() {
    let message = with_opt(OPT);
    let query = Query::parse(&message, Transport::Udp).expect("a query");
    assert_eq!(query.name(), b"\x03web\x07default\x03svc\x07cluster\x05local");
    assert_eq!((query.kind, query.limit()), (RecordType::A, 4096));
    assert!(query.dnssec());
    let query = Query::parse(ASKED, Transport::Udp).expect("a query");
    assert_eq!((query.limit(), query.dnssec()), (512, false));
    assert_eq!(Query::parse(ASKED, Transport::Tcp).expect("a query").limit(), 65_535);
}

#[test]
fn what_is_no_query_is_told_so() {
    let reject = |message: &[u8]| {
        let why = Query::parse(message, Transport::Udp).map(drop).expect_err("rejected");
        let mut out = Vec::new();
        let rcode = Reply::reject(&mut out, message, why);
        if let Some(rcode) = rcode {
            assert_eq!(out[..2], message[..2]);
            assert_eq!(out[3] & 0x0f, rcode.0 & 0x0f);
            assert!(out[2] & 0x80 != 0);
            Message::from_octets(out).expect("a message").question().count();
        }
        rcode
    };
    assert_eq!(reject(&[]), None);
    assert_eq!(reject(&ASKED[..11]), None);
    assert_eq!(reject(&edited(|m| m[2] |= 0x80)), None);
    assert_eq!(reject(&edited(|m| m[2] |= 0x28)), Some(Rcode::NOTIMP));
    assert_eq!(reject(&edited(|m| m[5] = 0)), Some(Rcode::FORMERR));
    assert_eq!(reject(&edited(|m| m[5] = 2)), Some(Rcode::FORMERR));
    assert_eq!(reject(&ASKED[..ASKED.len() - 1]), Some(Rcode::FORMERR));
    assert_eq!(reject(&edited(|m| m[12] = 0xc0)), Some(Rcode::FORMERR));
    assert_eq!(reject(&edited(|m| m[11] = 1)), Some(Rcode::FORMERR));
    assert_eq!(reject(&edited(|m| *m.last_mut().expect("long") = 3)), Some(Rcode::REFUSED));
    let mut version = OPT.to_vec();
    version[6] = 1;
    assert_eq!(reject(&with_opt(&version)), Some(Rcode::BADVERS));
    let mut two = with_opt(&[OPT, OPT].concat());
    two[11] = 2;
    assert_eq!(reject(&two), Some(Rcode::FORMERR));
    let long: Vec<u8> = std::iter::repeat_n([1, b'a'], 128).flatten().collect();
    let long = [&ASKED[..12], &long, &[0, 0, 1, 0, 1]].concat();
    assert_eq!(reject(&long), Some(Rcode::FORMERR));
}

#[test]
fn badvers_is_said_in_the_opt_record() {
    let mut version = OPT.to_vec();
    version[6] = 1;
    let message = with_opt(&version);
    let why = Query::parse(&message, Transport::Udp).map(drop).expect_err("rejected");
    let mut out = Vec::new();
    Reply::reject(&mut out, &message, why);
    let reply = Message::from_octets(out).expect("a message");
    assert_eq!(reply.opt_rcode().to_int(), 16);
}

#[test]
fn answers_repeat_the_question_and_stay_within_the_limit() {
    let query = Query::parse(ASKED, Transport::Udp).expect("a query");
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, &query);
    let mut written = 0;
    while reply.address(Section::Answer, HEADER, 5, [10, 0, 0, 1].into()) {
        written += 1;
    }
    assert!(!reply.address(Section::Additional, HEADER, 5, [10, 0, 0, 1].into()));
    reply.finish(Rcode::NOERROR, true, false);
    assert!(out.len() <= 512 && out.len() + 16 > 512);
    assert_eq!(out[12..ASKED.len()], ASKED[12..], "the spelling is kept");
    let message = Message::from_octets(out).expect("a message");
    let header = message.header();
    assert!(header.tc() && header.aa() && header.rd() && header.cd() && !header.ra());
    assert_eq!(message.header_counts().ancount(), written);
}

fn any_records() -> impl Strategy<Value = Vec<u8>> {
    let record = (any::<u8>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::vec(record, 0..4).prop_map(|records| {
        let mut bytes = Vec::new();
        for (class, kind, data) in records {
            bytes.push(0);
            bytes.extend(if kind % 3 == 0 { TYPE_OPT } else { kind }.to_be_bytes());
            bytes.extend([16, class, 0, class % 2, 0, 0, 0, data.len() as u8]);
            bytes.extend(data);
        }
        bytes
    })
}

proptest! {
    /// Whatever arrives, it does not panic, and what is said to it is a message.
    #[test]
    fn no_packet_panics(random: Vec<u8>, at in 0..200_usize, octet: u8, records in any_records(), counts: [u8; 4]) {
        let mut near = [ASKED, &records].concat();
        let length = near.len();
        near[at % length] = octet;
        near[5] = counts[0] % 2;
        near[7] = counts[1] % 2;
        near[11] = counts[3] % 4;
        for message in [&random, &near] {
            let mut out = Vec::new();
            match Query::parse(message, Transport::Udp) {
                Ok(query) => {
                    prop_assert!(query.question_end() <= message.len());
                    Reply::empty(&mut out, &query, Rcode::NXDOMAIN);
                    let reply = Message::from_octets(out).expect("a message");
                    prop_assert_eq!(reply.question().count(), 1);
                }
                Err(why) => {
                    let said = Reply::reject(&mut out, message, why);
                    prop_assert_eq!(said.is_none(), why == Rejected::Silently);
                    prop_assert!(out.len() <= message.len().max(HEADER) + 11);
                    if said.is_some() {
                        let reply = Message::from_octets(out).expect("a message");
                        let records = reply.answer().expect("a section");
                        prop_assert_eq!(records.limit_to::<AllRecordData<_, _>>().count(), 0);
                    }
                }
            }
        }
    }
}
