//! Loads an API server that `serve` started: `load DIRECTORY PORT CLIENTS SECONDS`.
//! Durable creates first, then gets; one TLS connection for each client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn connect(connector: &TlsConnector, port: u16) -> Result<SendRequest<Full<Bytes>>, Error> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<StatusCode, Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, port, clients, seconds] = &*arguments else {
        return Err("usage: load DIRECTORY PORT CLIENTS SECONDS".into());
    };
    let (port, clients): (u16, usize) = (port.parse()?, clients.parse()?);
    let length = Duration::from_secs_f64(seconds.parse()?);
    let pki = PathBuf::from(directory).join("pki");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("ca.crt"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(pki.join("admin.crt"))?],
            PrivateKeyDer::from_pem_file(pki.join("admin.key"))?,
        )?;
    let connector = TlsConnector::from(Arc::new(config));
    let run = format!("{:x}", std::process::id());
    for method in [Method::POST, Method::GET] {
        let began = Instant::now();
        let tasks = (0..clients).map(|client| {
            let (connector, run, method) = (connector.clone(), run.clone(), method.clone());
            tokio::spawn(async move {
                let mut sender = connect(&connector, port).await?;
                let mut times = Vec::new();
                let collection = "/api/v1/namespaces/default/configmaps";
                for count in 0.. {
                    let start = Instant::now();
                    if began.elapsed() >= length {
                        break;
                    }
                    let name = format!("load-{run}-{client}-{count}");
                    let status = if method == Method::POST {
                        let body = format!(
                            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":\
                             {{\"name\":\"{name}\"}},\"data\":{{\"k\":\"{}\"}}}}",
                            "x".repeat(1024)
                        );
                        send(&mut sender, method.clone(), collection, body.into()).await?
                    } else {
                        let path = format!("{collection}/load-{run}-{client}-0");
                        send(&mut sender, method.clone(), &path, Bytes::new()).await?
                    };
                    if !status.is_success() {
                        return Err(format!("{method} answered {status}").into());
                    }
                    times.push(start.elapsed());
                }
                Ok::<_, Error>(times)
            })
        });
        let mut times = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            times.extend(task.await??);
        }
        let elapsed = began.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        eprintln!(
            "{method}: {:.0}/s, {} in {elapsed:.1} s, p50 {:?}, p99 {:?}",
            times.len() as f64 / elapsed,
            times.len(),
            at(0.5),
            at(0.99)
        );
    }
    Ok(())
}
