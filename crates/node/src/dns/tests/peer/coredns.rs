//! CoreDNS as a process, an upstream for both servers, and the API for it over HTTP.

use std::ffi::OsStr;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command};
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, Aaaa};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_apiserver::ApiServer;

use super::free_ports;
use crate::dns::tests::harness::{query, send};

/// A running CoreDNS; killed when dropped.
pub(super) struct CoreDns {
    pub(super) address: SocketAddr,
    process: Child,
}

impl Drop for CoreDns {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl CoreDns {
    /// Starts it with these options of its plugin `kubernetes`; returns once its index is whole.
    pub(super) fn start(
        program: &OsStr,
        api: SocketAddr,
        options: &str,
        upstream: SocketAddr,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let corefile = directory.path().join("Corefile");
        let [port, ready] = free_ports();
        let text = format!(
            ".:{port} {{\n bind 127.0.0.1\n ready 127.0.0.1:{ready}\n kubernetes cluster.local \
             in-addr.arpa ip6.arpa {{\n endpoint http://{api}\n {options}\n }}\n forward . \
             {upstream}\n}}\n"
        );
        std::fs::write(&corefile, &text).expect("written");
        let mut process = Command::new(program)
            .args(["-quiet", "-conf"])
            .arg(&corefile)
            .spawn()
            .expect("CoreDNS runs");
        let ready = SocketAddr::from(([127, 0, 0, 1], ready));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let begun = std::time::Instant::now();
        // It says that it is ready some moments before it listens.
        while !is_ready(ready) || !listens(address) {
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(60), "CoreDNS becomes ready with {text}");
            let ended = process.try_wait().expect("a child");
            assert!(ended.is_none(), "CoreDNS goes on with {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, process }
    }
}

fn listens(address: SocketAddr) -> bool {
    let probe = query("cluster.local", Rtype::SOA, 0);
    send(address, &probe, Duration::from_millis(200)).is_some()
}

fn is_ready(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let mut text = String::new();
    let sent = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    sent.is_ok() && stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200")
}

/// Serves the API over plain HTTP at a port of the system's choice.
pub(super) async fn serve_api(api: &ApiServer) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let api = api.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(api.service());
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// The outside: every name has one address of each family, but those below `missing` do not exist.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
}

impl Upstream {
    pub(super) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let answer = answer(&buffer[..length]);
                let _ = socket.send_to(&answer.unwrap_or_default(), peer);
            }
        });
        Self { address }
    }
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).ok()?;
    let question = query.first_question()?;
    let name = question.qname().to_string().to_ascii_lowercase();
    let rcode = if name.contains("missing") || name.ends_with("arpa") {
        Rcode::NXDOMAIN
    } else {
        Rcode::NOERROR
    };
    let mut answer = MessageBuilder::new_vec().start_answer(&query, rcode).ok()?;
    answer.header_mut().set_ra(true);
    let owner = question.qname();
    if rcode == Rcode::NOERROR {
        match question.qtype() {
            Rtype::A => answer.push((owner, 60, A::from_octets(198, 51, 100, 7))).ok()?,
            Rtype::AAAA => {
                answer.push((owner, 60, Aaaa::new("2001:db8::7".parse().ok()?))).ok()?;
            }
            _ => {}
        }
    }
    Some(answer.finish())
}
