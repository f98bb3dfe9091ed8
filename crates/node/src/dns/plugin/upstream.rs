//! One question to one upstream server, and what its answer is worth.
//!
//! Every question goes out with an identifier and from a port that nobody can guess, and only an
//! answer that comes from whom was asked and repeats the question counts (RFC 5452).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::super::wire::{
    HEADER, OUR_UDP, Query, Rcode, TYPE_OPT, Transport, skip_name, u16_at, whole_name,
};

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

/// The message that asks an upstream what `query` asks.
pub(crate) fn question(query: &Query<'_>, id: u16) -> Vec<u8> {
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
        message.extend_from_slice(&[0, 0, flags, 0, 0, 0]);
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

/// Asks `upstream`, and waits no longer than `patience`.
pub(crate) async fn ask(
    upstream: SocketAddr,
    question: &[u8],
    transport: Transport,
    patience: Duration,
) -> io::Result<Relayed> {
    let asking = async {
        match transport {
            Transport::Udp => ask_udp(upstream, question).await,
            Transport::Tcp => ask_tcp(upstream, question).await,
        }
    };
    match tokio::time::timeout(patience, asking).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn ask_udp(upstream: SocketAddr, question: &[u8]) -> io::Result<Relayed> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A new socket has a new port, and connected it hears nobody else.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(relayed) = read(question, buffer[..length].to_vec()) {
            return Ok(relayed);
        }
    }
}

async fn ask_tcp(upstream: SocketAddr, question: &[u8]) -> io::Result<Relayed> {
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    read(question, answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
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

    proptest! {
        #[test]
        fn no_answer_panics(mut answer: Vec<u8>, records: Vec<u8>, counts: [u8; 3]) {
            let _ = read(&asked(), std::mem::take(&mut answer));
            let _ = read(&asked(), answered(&records, counts));
        }
    }
}
