//! The one HTTP request that probes and hooks make: a GET whose answer's status counts.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// Longest beginning of an answer that is looked at, in bytes.
const HEAD: usize = 4096;

/// Makes the request and returns the status code of the answer.
pub(crate) async fn request(
    action: &HTTPGetAction,
    container: &Container,
    ip: IpAddr,
    agent: &str,
    timeout: Duration,
) -> Result<u16, String> {
    let port = super::port(&action.port, container)?;
    let host = action
        .host
        .as_deref()
        .filter(|h| !h.is_empty())
        .map_or_else(|| ip.to_string(), str::to_owned);
    let shown =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let tls = action.scheme.as_deref() == Some("HTTPS");
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let url = format!("{}://{shown}{path}", if tls { "https" } else { "http" });
    let text = head(action, &shown, &path, agent);
    let exchange = async {
        let connected = TcpStream::connect((host.as_str(), port)).await;
        let stream = connected.map_err(|e| format!("dial tcp {shown}: connect: {}", plain(&e)))?;
        let answer = if tls {
            exchange_tls(stream, &host, &text).await
        } else {
            exchange(stream, &text).await
        };
        answer.map_err(|e| plain(&e))
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(why)) => Err(format!("Get \"{url}\": {why}")),
        Err(_) => Err(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

fn head(action: &HTTPGetAction, host: &str, path: &str, agent: &str) -> String {
    let own: Vec<_> = action.http_headers.iter().flatten().collect();
    let given = |name: &str| own.iter().any(|h| h.name.eq_ignore_ascii_case(name));
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    for (name, value) in [("Host", host), ("User-Agent", agent), ("Accept", "*/*")] {
        if !given(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for header in
        own.iter().filter(|h| !h.name.contains(['\r', '\n']) && !h.value.contains(['\r', '\n']))
    {
        text.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    text.push_str("Connection: close\r\n\r\n");
    text
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> io::Result<u16> {
    stream.write_all(text.as_bytes()).await?;
    let mut head = Vec::new();
    loop {
        let mut chunk = [0; 512];
        let n = stream.read(&mut chunk).await?;
        head.extend_from_slice(&chunk[..n]);
        if let Some(code) = status(&head) {
            return Ok(code);
        }
        if n == 0 || head.len() > HEAD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                if head.is_empty() { "EOF" } else { "malformed HTTP response" },
            ));
        }
    }
}

/// The code of a status line that has come in whole.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\n').next().filter(|l| l.len() < head.len())?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|v| v.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

async fn exchange_tls(stream: TcpStream, host: &str, text: &str) -> io::Result<u16> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    exchange(stream, text).await
}

/// Accepts every certificate: probes over HTTPS check no identity, in Kubernetes too.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An I/O error in the words of a Go program, without the number.
pub(super) fn plain(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_status_of_the_answer_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let n = stream.read(&mut asked).await.unwrap();
            stream.write_all(b"HTTP/1.1 50").await.unwrap();
            stream.write_all(b"3 Busy\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        let action: HTTPGetAction = serde_json::from_value(json!({"port": port, "path": "x", "httpHeaders": [{"name": "host", "value": "a.example"}]})).unwrap();
        let ip = "127.0.0.1".parse().unwrap();
        let second = Duration::from_secs(5);
        let code =
            request(&action, &Container::default(), ip, "kube-probe/1.36", second).await.unwrap();
        assert_eq!(code, 503);
        let asked = server.await.unwrap();
        assert!(asked.starts_with("GET /x HTTP/1.1\r\n"));
        assert!(asked.contains("host: a.example\r\n") && !asked.contains("Host: "));
        let why = request(&action, &Container::default(), ip, "x", second).await.unwrap_err();
        assert_eq!(
            why,
            format!(
                "Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            )
        );
    }

    #[test]
    fn status_lines_are_read_when_whole() {
        assert_eq!(status(b"HTTP/1.1 200"), None);
        assert_eq!(status(b"HTTP/1.0 204 \r\n"), Some(204));
        assert_eq!(status(b"SSH-2.0-x\r\n"), None);
    }
}
