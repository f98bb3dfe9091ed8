//! One plain HTTP GET, for health: small enough to do without a client.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The body of an answer with status 200; anything else is an error.
pub fn get(address: SocketAddr, path: &str, timeout: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // One write: a server may answer and close after the first piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    let wrong = || Error::new(ErrorKind::InvalidData, "not an HTTP answer with status 200");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let status = head.split_ascii_whitespace().nth(1).ok_or_else(wrong)?;
    if status == "200" { Ok(body.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_an_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let server = std::thread::spawn(move || {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut buffer = [0; 512];
                let _ = stream.read(&mut buffer).expect("a request");
                write!(stream, "HTTP/1.0 {status}\r\n\r\nfine").expect("answered");
            }
        });
        let timeout = Duration::from_secs(5);
        assert_eq!(get(address, "/", timeout).expect("an answer"), "fine");
        assert!(get(address, "/", timeout).is_err());
        server.join().expect("the server");
    }
}
