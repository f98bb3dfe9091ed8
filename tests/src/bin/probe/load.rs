//! As many requests as a server answers, over TLS and HTTP/1.1 with connections kept open.
//!
//! Lean on purpose: one thread, requests built once, answers read no further than their length,
//! so that on a small machine the server and not this client is what is measured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use portolan_tests::kubeconfig::Kubeconfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Server, authority and client certificate
    #[arg(long)]
    kubeconfig: PathBuf,
    /// `create` makes ConfigMaps, `read` gets one again and again
    #[arg(value_parser = ["create", "read"])]
    what: String,
    /// Connections, each with one request under way
    #[arg(long, default_value_t = 1)]
    clients: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Bytes of data in a ConfigMap
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Names begin with this; another for each run
    #[arg(long, default_value = "load")]
    prefix: String,
}

pub(crate) type Connection = TlsStream<TcpStream>;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let kubeconfig = Kubeconfig::read(&arguments.kubeconfig)?;
    let host = kubeconfig
        .server
        .strip_prefix("https://")
        .context("not an https server")?
        .trim_end_matches('/');
    let connector = connector(&kubeconfig)?;
    let mut first = connect(&connector, host).await?;
    if arguments.what == "read" {
        let request = create(host, &format!("{}-read", arguments.prefix), arguments.size);
        let status = exchange(&mut first, &request, &mut Vec::new()).await?;
        ensure!(status == 201 || status == 409, "creating the ConfigMap to read: {status}");
    }
    let mut connections = vec![first];
    while connections.len() < arguments.clients {
        connections.push(connect(&connector, host).await?);
    }
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(arguments.seconds);
    let clients = connections.into_iter().enumerate().map(|(client, connection)| {
        tokio::spawn(client_loop(connection, client, end, Work::of(arguments, host)))
    });
    let mut latencies: Vec<u32> = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        latencies.extend(client.await??);
    }
    let elapsed = started.elapsed().as_secs_f64();
    ensure!(!latencies.is_empty(), "nothing was answered");
    latencies.sort_unstable();
    let quantile =
        |part: f64| f64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]) / 1000.0;
    println!(
        "{}",
        json!({
            "requests": latencies.len(),
            "seconds": elapsed,
            "per_second": latencies.len() as f64 / elapsed,
            "p50_ms": quantile(0.5),
            "p99_ms": quantile(0.99),
            "max_ms": quantile(1.0),
        })
    );
    Ok(())
}

/// What one client asks for.
#[derive(Clone)]
struct Work {
    host: String,
    prefix: String,
    size: usize,
    create: bool,
}

impl Work {
    fn of(arguments: &Arguments, host: &str) -> Self {
        Self {
            host: host.to_owned(),
            prefix: arguments.prefix.clone(),
            size: arguments.size,
            create: arguments.what == "create",
        }
    }

    fn request(&self, client: usize, number: usize) -> Vec<u8> {
        if self.create {
            create(&self.host, &format!("{}-{client}-{number}", self.prefix), self.size)
        } else {
            self.get()
        }
    }

    fn get(&self) -> Vec<u8> {
        let path = format!("/api/v1/namespaces/default/configmaps/{}-read", self.prefix);
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n\r\n", self.host)
            .into_bytes()
    }
}

fn create(host: &str, name: &str, size: usize) -> Vec<u8> {
    let data = "x".repeat(size);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": data}});
    let body = body.to_string();
    format!(
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The time of each request in microseconds.
async fn client_loop(
    mut connection: Connection,
    client: usize,
    end: Instant,
    work: Work,
) -> Result<Vec<u32>> {
    let expected = if work.create { 201 } else { 200 };
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let read = work.get();
    let mut number = 0;
    loop {
        let request = if work.create { work.request(client, number) } else { Vec::new() };
        let before = Instant::now();
        if before >= end {
            return Ok(latencies);
        }
        let status =
            exchange(&mut connection, if work.create { &request } else { &read }, &mut buffer)
                .await?;
        ensure!(status == expected, "status {status}: {}", String::from_utf8_lossy(&buffer));
        latencies.push(u32::try_from(before.elapsed().as_micros()).unwrap_or(u32::MAX));
        number += 1;
    }
}

/// Writes a request, reads the whole answer into `buffer` and returns its status.
pub(crate) async fn exchange(
    connection: &mut Connection,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<u16> {
    connection.write_all(request).await?;
    connection.flush().await?;
    buffer.clear();
    let head = loop {
        ensure!(connection.read_buf(buffer).await? > 0, "the server closed the connection");
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    let status = text.get(9..12).context("no status")?.parse()?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value.trim().parse::<usize>());
    match length {
        Some(length) => {
            let whole = head + length?;
            while buffer.len() < whole {
                ensure!(connection.read_buf(buffer).await? > 0, "the server closed the connection");
            }
        }
        None if text.to_ascii_lowercase().contains("transfer-encoding: chunked") => {
            while !buffer.ends_with(b"0\r\n\r\n") {
                ensure!(connection.read_buf(buffer).await? > 0, "the server closed the connection");
            }
        }
        None => bail!("an answer without a length: {text}"),
    }
    Ok(status)
}

pub(crate) fn connector(kubeconfig: &Kubeconfig) -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&kubeconfig.authority) {
        roots.add(certificate?)?;
    }
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&kubeconfig.certificate).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&kubeconfig.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(TlsConnector::from(Arc::new(config)))
}

pub(crate) async fn connect(connector: &TlsConnector, host: &str) -> Result<Connection> {
    let stream = TcpStream::connect(host).await.with_context(|| format!("connecting to {host}"))?;
    stream.set_nodelay(true)?;
    let name =
        host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']).to_owned();
    Ok(connector.connect(ServerName::try_from(name)?, stream).await?)
}
