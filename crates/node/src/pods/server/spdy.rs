//! The part of SPDY/3.1 that `kubectl port-forward` speaks: streams with headers, data and
//! half-closing. Flow control is left to the connection below, as other servers of this protocol
//! do. Format: the SPDY protocol, draft 3.1, sections 2.2, 2.6 and 2.6.10.

use std::collections::BTreeMap;

use flate2::{Decompress, FlushDecompress};

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const VERSION: u16 = 3;
const FIN: u8 = 1;
/// Longer frames are refused, in bytes.
const LONGEST: usize = 1 << 20;
/// Longer headers are refused, in bytes.
const HEADERS: usize = 64 * 1024;

/// What the other side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        stream: u32,
        headers: BTreeMap<String, String>,
        fin: bool,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        fin: bool,
    },
    Reset {
        stream: u32,
    },
    Ping(u32),
    GoAway,
    /// Something that needs no answer.
    Other,
}

/// Not SPDY as this program knows it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed SPDY: {0}")]
pub(super) struct Malformed(&'static str);

/// Reads frames from bytes as they come.
pub(super) struct Decoder {
    held: Vec<u8>,
    inflate: Decompress,
    /// The compressed headers of all streams are one zlib stream; its header comes once.
    begun: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { held: Vec::new(), inflate: Decompress::new(false), begun: false }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next frame that is there in whole.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let Some(head) = self.held.get(..8) else { return Ok(None) };
        let (first, flags) = (number(&head[..4]), head[4]);
        let length = (number(&head[4..8]) & 0x00ff_ffff) as usize;
        if length > LONGEST {
            return Err(Malformed("a frame is too long"));
        }
        if self.held.len() < 8 + length {
            return Ok(None);
        }
        let body: Vec<u8> = self.held.drain(..8 + length).skip(8).collect();
        let fin = flags & FIN != 0;
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data { stream: first, bytes: body, fin }));
        }
        if (first >> 16) as u16 & 0x7fff != VERSION {
            return Err(Malformed("another version"));
        }
        let id =
            |at: usize| body.get(at..at + 4).map(number).ok_or(Malformed("a frame is too short"));
        Ok(Some(match first as u16 {
            SYN_STREAM => {
                let stream = id(0)? & 0x7fff_ffff;
                let block = body.get(10..).ok_or(Malformed("a frame is too short"))?;
                Frame::Open { stream, headers: self.headers(block)?, fin }
            }
            RST_STREAM => Frame::Reset { stream: id(0)? & 0x7fff_ffff },
            PING => Frame::Ping(id(0)?),
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        }))
    }

    fn headers(&mut self, block: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
        const BAD: Malformed = Malformed("bad compression");
        let mut block = block;
        if !self.begun {
            self.begun = true;
            // Two bytes of zlib header, then the checksum of the agreed dictionary.
            let dictionary = dictionary();
            if block.get(2..6) != Some(&adler32(&dictionary).to_be_bytes()) {
                return Err(Malformed("another dictionary"));
            }
            block = &block[6..];
            // The decompressor learns the dictionary as if it had come as uncompressed data.
            let mut sink = Vec::with_capacity(dictionary.len());
            self.inflate
                .decompress_vec(&stored(&dictionary), &mut sink, FlushDecompress::Sync)
                .map_err(|_| BAD)?;
        }
        let mut plain = Vec::new();
        let start = self.inflate.total_in();
        loop {
            let used = usize::try_from(self.inflate.total_in() - start).map_err(|_| BAD)?;
            if plain.len() > HEADERS {
                return Err(Malformed("headers are too long"));
            }
            plain.reserve(4096);
            let before = plain.len();
            self.inflate
                .decompress_vec(&block[used..], &mut plain, FlushDecompress::Sync)
                .map_err(|_| BAD)?;
            let used_now = usize::try_from(self.inflate.total_in() - start).map_err(|_| BAD)?;
            if used_now >= block.len() && plain.len() < plain.capacity()
                || used_now == used && plain.len() == before
            {
                break;
            }
        }
        pairs(&plain)
    }
}

/// A header block: a count, then names and values, each with its length before it.
fn pairs(plain: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    const SHORT: Malformed = Malformed("a header block is too short");
    let mut rest = plain;
    let mut take = |n: usize| -> Result<&[u8], Malformed> {
        let (head, tail) = rest.split_at_checked(n).ok_or(SHORT)?;
        rest = tail;
        Ok(head)
    };
    let count = number(take(4)?);
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let length = number(take(4)?) as usize;
        let name = String::from_utf8_lossy(take(length)?).to_lowercase();
        let length = number(take(4)?) as usize;
        found.insert(name, String::from_utf8_lossy(take(length)?).into_owned());
    }
    Ok(found)
}

/// Writes frames.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    begun: bool,
}

impl Encoder {
    /// Accepts a stream, with no headers.
    pub(super) fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut body = stream.to_be_bytes().to_vec();
        if !self.begun {
            self.begun = true;
            // A zlib header that asks for no dictionary.
            body.extend([0x78, 0x01]);
        }
        body.extend(stored(&0_u32.to_be_bytes()));
        // An empty block, by which peers know that all before it is to be handed on.
        body.extend(stored(&[]));
        control(SYN_REPLY, &body)
    }
}

/// Data of a stream, the last if `fin`.
pub(super) fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend(flags_and_length(u8::from(fin), bytes.len()));
    frame.extend_from_slice(bytes);
    frame
}

/// The answer to a ping.
pub(super) fn pong(id: u32) -> Vec<u8> {
    control(PING, &id.to_be_bytes())
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = (0x8000 | VERSION).to_be_bytes().to_vec();
    frame.extend(kind.to_be_bytes());
    frame.extend(flags_and_length(0, body.len()));
    frame.extend_from_slice(body);
    frame
}

fn flags_and_length(flags: u8, length: usize) -> [u8; 4] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    [flags, a, b, c]
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

/// Bytes as an uncompressed block of a deflate stream that goes on (RFC 1951, 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut block = vec![0];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend_from_slice(bytes);
    block
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (a + b) % 65521)
    });
    b << 16 | a
}

/// The dictionary that both sides of SPDY/3 start with: common words with their lengths, then
/// common text.
fn dictionary() -> Vec<u8> {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding \
        accept-language accept-ranges age allow authorization cache-control connection \
        content-base content-encoding content-language content-length content-location \
        content-md5 content-range content-type date etag expect expires from host if-match \
        if-modified-since if-none-match if-range if-unmodified-since last-modified location \
        max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after \
        server te trailer transfer-encoding upgrade user-agent vary via warning \
        www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
        keep-alive origin";
    const TEXT: &str = "10010120120220520630030230330430530630740240540640740840941041141241341441\
        5416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 \
        Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not \
        Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec \
        00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,\
        image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivate\
        max-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut bytes = Vec::new();
    for word in WORDS.split_ascii_whitespace() {
        let word = word.replace('_', " ");
        bytes.extend((word.len() as u32).to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TEXT.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dictionary_is_the_agreed_one() {
        // The checksum that every SPDY/3 peer sends.
        assert_eq!(adler32(&dictionary()), 0xe3c6_a7c2);
    }

    /// A SYN_STREAM whose headers are stored, as a peer that does not compress would send it.
    fn open(stream: u32, headers: &[(&str, &str)], first: bool) -> Vec<u8> {
        let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(k, v)| [k, v]) {
            plain.extend((text.len() as u32).to_be_bytes());
            plain.extend(text.as_bytes());
        }
        let mut body = stream.to_be_bytes().to_vec();
        body.extend([0; 6]);
        if first {
            body.extend([0x78, 0xbb]);
            body.extend(0xe3c6_a7c2_u32.to_be_bytes());
        }
        body.extend(stored(&plain));
        control(SYN_STREAM, &body)
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut bytes = open(1, &[("streamType", "error"), ("port", "80")], true);
        bytes.extend(open(3, &[("streamtype", "data")], false));
        bytes.extend(data(3, b"hello", true));
        bytes.extend(pong(7));
        for cut in [1, 2, 7, 1000] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for chunk in bytes.chunks(cut) {
                decoder.feed(chunk);
                while let Some(frame) = decoder.next().unwrap() {
                    found.push(frame);
                }
            }
            let headers = |list: &[(&str, &str)]| {
                list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
            };
            assert_eq!(
                found,
                [
                    Frame::Open {
                        stream: 1,
                        headers: headers(&[("streamtype", "error"), ("port", "80")]),
                        fin: false
                    },
                    Frame::Open {
                        stream: 3,
                        headers: headers(&[("streamtype", "data")]),
                        fin: false
                    },
                    Frame::Data { stream: 3, bytes: b"hello".to_vec(), fin: true },
                    Frame::Ping(7),
                ]
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), valid_start in any::<bool>()) {
            let mut decoder = Decoder::new();
            if valid_start {
                decoder.feed(&open(1, &[("a", "b")], true));
            }
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
