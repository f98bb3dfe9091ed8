//! One DNS question over UDP, to see whether the cluster's names are served.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::config::range::Family;

/// Asks the server for an address of `name`; the answer's code and how many records it has.
pub fn ask(
    server: IpAddr,
    name: &str,
    family: Family,
    timeout: Duration,
) -> std::io::Result<(u8, u16)> {
    let any: SocketAddr = match server {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect((server, 53))?;
    let id = rand::random();
    socket.send(&question(id, name, family))?;
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer)?;
    header(&buffer[..length], id).ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::InvalidData, "no answer to the question")
    })
}

/// A query with one question, class IN, type A or AAAA (RFC 1035, section 4).
fn question(id: u16, name: &str, family: Family) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let bytes = &label.as_bytes()[..label.len().min(63)];
        message.push(bytes.len() as u8);
        message.extend(bytes);
    }
    let kind = match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 28,
    };
    message.extend([0, 0, kind, 0, 1]);
    message
}

/// The response code and the number of answers.
fn header(message: &[u8], id: u16) -> Option<(u8, u16)> {
    let header = message.get(..12)?;
    let is_answer = header[..2] == id.to_be_bytes() && header[2] & 0x80 != 0;
    is_answer.then(|| (header[3] & 0x0f, u16::from_be_bytes([header[6], header[7]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_laid_out_as_rfc_1035_says() {
        let message = question(0x1234, "a.bc", Family::Ipv4);
        let expected =
            [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1];
        assert_eq!(message, expected);
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let answer = [0x12, 0x34, 0x85, 0x83, 0, 1, 0, 2, 0, 0, 0, 0];
        assert_eq!(header(&answer, 0x1234), Some((3, 2)));
        assert_eq!(header(&answer, 0x1235), None);
        assert_eq!(header(&answer[..11], 0x1234), None);
    }
}
