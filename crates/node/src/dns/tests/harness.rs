//! A server with an index filled by hand, and a client.

use std::fmt::Display;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::Rtype;
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder};
use domain::rdata::AllRecordData;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use portolan_model::object;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::dns::config::Config;
use crate::dns::runtime::Server;
use crate::dns::store::{NameStore, Stores};
use crate::dns::{DnsConfig, DnsError};

/// A running server; stops when dropped.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    /// All addresses, DNS before TLS.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) pages: Vec<SocketAddr>,
    pub(super) stores: Vec<Arc<NameStore>>,
    pub(super) stop: CancellationToken,
    pub(super) serving: Option<std::thread::JoinHandle<Result<(), DnsError>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Starts a server with this Corefile at a port of the system's choice.
pub(super) fn start(corefile: &str) -> Running {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Corefile");
    std::fs::write(&path, corefile).expect("written");
    let running = start_file(&path, "127.0.0.1:0");
    drop(directory);
    running
}

pub(super) fn start_file(path: &Path, listen: &str) -> Running {
    let config = DnsConfig {
        corefile: Some(path.to_owned()),
        listen: Some(listen.parse().expect("an address")),
        workers: 2,
        ..DnsConfig::default()
    };
    let text = std::fs::read_to_string(path).expect("a Corefile");
    let directory = path.parent().expect("a directory");
    let parsed = Config::read_in(&text, directory).expect("a Corefile");
    let stores = Stores::default();
    let by_hand: Vec<_> = parsed
        .sites
        .iter()
        .flat_map(|site| &site.kubernetes)
        .map(|kubernetes| stores.insert(kubernetes.store.clone()))
        .collect();
    let (send, receive) = std::sync::mpsc::channel();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let server = Server::start(None, config, stores).await?;
            let _ = send.send((server.addresses(), server.page_addresses()));
            server.serve(stopped).await
        })
    });
    let (addresses, pages) = receive.recv().expect("started");
    Running {
        address: addresses[0],
        addresses,
        pages,
        stores: by_hand,
        stop,
        serving: Some(serving),
    }
}

/// A cluster with one of everything.
pub(super) fn fill(store: &NameStore) {
    store.update(|names| {
        names.upsert_namespace("default");
        names.upsert_namespace("kube-system");
        for (name, spec) in [
            (
                "web",
                json!({"clusterIPs": ["10.96.0.80", "fd00:10:96::80"], "ports": [
                {"name": "http", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}]}),
            ),
            ("v4", json!({"clusterIP": "10.96.0.4", "ports": [{"port": 80}]})),
            ("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
            ("crowd", json!({"clusterIP": "None", "ports": [{"name": "x", "port": 1}]})),
            ("empty", json!({"clusterIP": "None", "ports": [{"name": "x", "port": 1}]})),
            ("ext", json!({"type": "ExternalName", "externalName": "www.Example.org"})),
            (
                "inner",
                json!({"type": "ExternalName",
                "externalName": "web.default.svc.cluster.local"}),
            ),
            (
                "outer",
                json!({"type": "ExternalName",
                "externalName": "inner.default.svc.cluster.local"}),
            ),
            (
                "lost",
                json!({"type": "ExternalName",
                "externalName": "nope.default.svc.cluster.local"}),
            ),
            (
                "circle",
                json!({"type": "ExternalName",
                "externalName": "circle.default.svc.cluster.local"}),
            ),
        ] {
            names.upsert_service(&service(name, spec));
        }
        names.upsert_slice(&slice(
            "db-1",
            "db",
            json!([{"addresses": ["10.244.1.3"], "hostname": "db-0"},
                {"addresses": ["10.244.2.3"], "hostname": "db-1"},
                {"addresses": ["10.244.3.3"], "conditions": {"ready": false}, "hostname": "db-2"},
                {"addresses": ["10.244.1.9"]}]),
            json!([{"name": "sql", "port": 15432}]),
        ));
        let crowd: Vec<_> =
            (0..100).map(|n| json!({"addresses": [format!("10.245.0.{n}")]})).collect();
        let ports = json!([{"name": "x", "port": 1}]);
        names.upsert_slice(&slice("crowd-1", "crowd", json!(crowd), ports));
    });
    store.set_synced();
}

pub(in crate::dns) fn service(name: &str, spec: serde_json::Value) -> object::Service {
    let object: core::Service = serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name}, "spec": spec
    }))
    .expect("a Service");
    (&object).into()
}

pub(in crate::dns) fn slice(
    name: &str,
    service: &str,
    endpoints: serde_json::Value,
    ports: serde_json::Value,
) -> object::EndpointSlice {
    let object: discovery::EndpointSlice = serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name,
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports
    }))
    .expect("a slice");
    (&object).into()
}

/// A query for `name` with this EDNS payload size, 0 for none.
pub(super) fn query(name: &str, kind: Rtype, payload: u16) -> Vec<u8> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(rand::random());
    message.header_mut().set_rd(true);
    let mut question = message.question();
    let name: Name<Vec<u8>> = name.parse().expect("a name");
    question.push((name, kind)).expect("room");
    let mut additional = question.additional();
    if payload > 0 {
        let opt = additional.opt(|opt| {
            opt.set_udp_payload_size(payload);
            Ok(())
        });
        opt.expect("room");
    }
    additional.finish()
}

pub(super) type Answer = Message<Vec<u8>>;

/// Sends a message over UDP; `None` when no answer comes for a while.
pub(super) fn send(to: SocketAddr, message: &[u8], patience: Duration) -> Option<Answer> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(to).expect("connected");
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    socket.send(message).expect("sent");
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    assert_eq!(buffer[..2], message[..2], "the identifier is repeated");
    Some(Message::from_octets(buffer).expect("a message"))
}

pub(super) fn ask(to: SocketAddr, name: &str, kind: Rtype) -> Answer {
    send(to, &query(name, kind, 1232), Duration::from_secs(8)).expect("an answer")
}

pub(super) fn tcp(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
    stream
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short");
    [&length.to_be_bytes(), message].concat()
}

pub(super) fn read_framed(stream: &mut impl std::io::Read) -> Answer {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).expect("a message");
    Message::from_octets(message).expect("a message")
}

/// An answer in a few lines: code and flags, then the records of each section.
pub(super) fn show(answer: &Answer) -> String {
    let header = answer.header();
    let flag = |set: bool, name: &'static str| if set { name } else { "" };
    let mut text =
        format!("{}{}{}\n", header.rcode(), flag(header.aa(), " aa"), flag(header.tc(), " tc"));
    let mut section = |mark: char, records: Vec<String>| {
        for record in records {
            text.push_str(&format!("{mark} {record}\n"));
        }
    };
    section('=', records(answer.answer().expect("a section")));
    section('!', records(answer.authority().expect("a section")));
    section('+', records(answer.additional().expect("a section")));
    text
}

fn records(section: domain::base::message::RecordSection<'_, Vec<u8>>) -> Vec<String> {
    let records = section.limit_to::<AllRecordData<_, _>>();
    let shown = records.map(|record| record.expect("a record")).filter(|r| r.rtype() != Rtype::OPT);
    shown.map(|r| line(r.owner(), r.ttl().as_secs(), r.rtype(), r.data())).collect()
}

fn line(owner: impl Display, ttl: u32, kind: Rtype, data: impl Display) -> String {
    format!("{owner} {ttl} {kind} {data}")
}

/// The data of the answer records alone.
pub(super) fn data(answer: &Answer) -> Vec<String> {
    let records = answer.answer().expect("a section").limit_to::<AllRecordData<_, _>>();
    records.map(|record| record.expect("a record").data().to_string()).collect()
}

/// A page over HTTP: its status and text.
pub(super) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = tcp(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a response");
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status, body)
}

/// Asks over TCP.
pub(super) fn ask_tcp(to: SocketAddr, name: &str, kind: Rtype) -> Answer {
    let mut stream = tcp(to);
    std::io::Write::write_all(&mut stream, &framed(&query(name, kind, 1232))).expect("sent");
    read_framed(&mut stream)
}

/// A port of loopback that nobody has now.
pub(super) fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("bound").port()
}

/// An upstream that answers as `respond` says, given the question and whether it came over TCP.
pub(super) fn scripted(
    respond: impl Fn(&[u8], bool) -> Option<Vec<u8>> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("bound");
    let udp = UdpSocket::bind(address).expect("a socket");
    let over_tcp = respond.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            if let Some(answer) = respond(&buffer[..length], false) {
                let _ = udp.send_to(&answer, from);
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let respond = over_tcp.clone();
            std::thread::spawn(move || serve_stream(stream, &|question| respond(question, true)));
        }
    });
    address
}

/// Answers the questions of one connection until it ends.
pub(super) fn serve_stream(
    mut stream: impl std::io::Read + std::io::Write,
    respond: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let Some(answer) = respond(&question) else { return };
        if stream.write_all(&framed(&answer)).is_err() || stream.flush().is_err() {
            return;
        }
    }
}

/// An answer with this code and one address, whose last octet is given, when there is to be one.
pub(super) fn reply(
    question: &[u8],
    rcode: domain::base::iana::Rcode,
    last: Option<u8>,
) -> Vec<u8> {
    reply_all(question, rcode, last.as_slice())
}

/// An answer with an address for each last octet.
pub(super) fn reply_all(question: &[u8], rcode: domain::base::iana::Rcode, all: &[u8]) -> Vec<u8> {
    let message = Message::from_octets(question).expect("a message");
    let question = message.sole_question().expect("a question");
    let name: Name<Vec<u8>> = domain::base::name::ToName::to_name(question.qname());
    let mut answer = MessageBuilder::new_vec().start_answer(&message, rcode).expect("room");
    answer.header_mut().set_ra(true);
    for last in all {
        let data = domain::rdata::A::from_octets(192, 0, 2, *last);
        answer.push((&name, domain::base::Ttl::from_secs(60), data)).expect("room");
    }
    answer.finish()
}
