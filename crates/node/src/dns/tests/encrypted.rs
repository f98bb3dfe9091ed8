//! DNS over TLS, towards clients and upstreams.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::base::iana::{Rcode, Rtype};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use super::harness::*;

/// An authority and a pair that it has signed, as files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.clone().self_signed(&ca_key).expect("signed");
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        for (file, text) in [
            ("ca.pem", ca.pem()),
            ("cert.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            std::fs::write(directory.path().join(file), text).expect("written");
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pair(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_file(self.path("cert.pem")).expect("read");
        (vec![certificate], PrivateKeyDer::from_pem_file(self.path("key.pem")).expect("read"))
    }
}

fn client(ca: &Path, pair: Option<&Files>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("read")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(match pair {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = files.pair();
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    })
}

/// The data of the answers to two questions on one connection; an error when there is none.
fn ask_tls(to: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Vec<String>> {
    let name = ServerName::try_from("dns.example").expect("a name");
    let connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp(to));
    let question = query("web.default.svc.cluster.local", Rtype::A, 0);
    stream.write_all(&[framed(&question), framed(&question)].concat())?;
    let mut found = Vec::new();
    for _ in 0..2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        let answer = domain::base::Message::from_octets(answer).map_err(std::io::Error::other)?;
        found.extend(data(&answer));
    }
    Ok(found)
}

fn served(files: &Files, option: &str) -> (Running, SocketAddr) {
    let port = free_port();
    let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| files.path(name));
    let (cert, key, ca) = (cert.display(), key.display(), ca.display());
    let server = start(&format!(
        "(names) {{\n kubernetes cluster.local\n}}\n. {{\n import names\n}}\n\
         tls://.:{port} {{\n bind 127.0.0.1\n import names\n tls {cert} {key} {ca} {{\n {option}\n }}\n}}"
    ));
    server.stores.iter().for_each(|store| fill(store));
    let address = server.addresses[1];
    assert_eq!(address.port(), port);
    (server, address)
}

#[test]
fn clients_are_answered_over_tls() {
    let files = Files::new("dns.example");
    let (server, address) = served(&files, "client_auth nocert");
    let both = vec!["10.96.0.80".to_owned(); 2];
    assert_eq!(ask_tls(address, client(&files.path("ca.pem"), None)).expect("answers"), both);
    // Who speaks no TLS gets nothing, and harms nobody.
    let mut plain = TcpStream::connect(address).expect("connected");
    plain.write_all(&framed(&query("x", Rtype::A, 0))).expect("sent");
    assert_eq!(ask_tls(address, client(&files.path("ca.pem"), None)).expect("answers"), both);
    let name = "web.default.svc.cluster.local";
    assert_eq!(data(&ask(server.address, name, Rtype::A)), ["10.96.0.80"]);
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let (files, others) = (Files::new("dns.example"), Files::new("other.example"));
    let ca = files.path("ca.pem");
    for (option, none, ours, theirs) in [
        ("client_auth request", true, true, true),
        ("client_auth require", false, true, true),
        ("client_auth verify_if_given", true, true, false),
        ("client_auth require_and_verify", false, true, false),
    ] {
        let (_server, address) = served(&files, option);
        let may = |pair| ask_tls(address, client(&ca, pair)).is_ok();
        let got = (may(None), may(Some(&files)), may(Some(&others)));
        assert_eq!(got, (none, ours, theirs), "{option}");
    }
}

/// An upstream over TLS; counts connections and questions.
fn upstream(files: &Files) -> (SocketAddr, Arc<AtomicU32>, Arc<AtomicU32>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = files.pair();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("bound");
    let counts = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (connections, questions) = counts.clone();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            connections.fetch_add(1, Ordering::SeqCst);
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let questions = questions.clone();
            std::thread::spawn(move || {
                serve_stream(StreamOwned::new(connection, stream), &|question| {
                    questions.fetch_add(1, Ordering::SeqCst);
                    Some(reply(question, Rcode::NOERROR, Some(7)))
                });
            });
        }
    });
    (address, counts.0, counts.1)
}

#[test]
fn upstreams_are_asked_over_tls_and_their_names_are_checked() {
    let files = Files::new("dns.example");
    let (to, connections, questions) = upstream(&files);
    let ca = files.path("ca.pem");
    let with = |upstream: &str, options: &str| {
        start(&format!(
            ". {{\n forward . {upstream} {{\n tls {}\n {options}\n }}\n}}",
            ca.display()
        ))
    };
    let named = with(&format!("tls://{to}"), "tls_servername dns.example");
    for n in 0..5 {
        let answer = ask(named.address, &format!("n{n}.example"), Rtype::A);
        assert_eq!(data(&answer), ["192.0.2.7"]);
    }
    assert_eq!(questions.load(Ordering::SeqCst), 5);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection is kept");
    let (ip, port) = (to.ip(), to.port());
    let own_name = with(&format!("tls://{ip}%dns.example:{port}"), "expire 0");
    assert_eq!(data(&ask(own_name.address, "a.example", Rtype::A)), ["192.0.2.7"]);
    assert_eq!(data(&ask(own_name.address, "b.example", Rtype::A)), ["192.0.2.7"]);
    assert_eq!(connections.load(Ordering::SeqCst), 3, "connections expire at once");
    let wrong = with(&format!("tls://{to}"), "tls_servername other.example");
    assert_eq!(show(&ask(wrong.address, "a.example", Rtype::A)), "SERVFAIL\n");
    let nameless = with(&format!("tls://{to}"), "");
    assert_eq!(show(&ask(nameless.address, "a.example", Rtype::A)), "SERVFAIL\n");
}
