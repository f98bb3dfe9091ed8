//! The node's own server, as a kubelet has it: logs, commands in containers, forwarded ports.
//! The API server passes `kubectl logs`, `exec`, `attach` and `port-forward` on to it.
//!
//! Everything but `/healthz` needs a client certificate of the configured authority; who holds
//! one may do everything, as only the cluster's own parts get any.

mod exec;
mod forward;
pub(crate) mod logs;
mod spdy;
mod stream;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Runtime;
use crate::agent::KubeletTls;

pub(crate) type Body = BoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("read the server's certificates: {0}")]
    Certificates(String),
}

/// A server that listens.
#[derive(Clone)]
pub(crate) struct Server {
    runtime: Arc<Runtime>,
    listener: Arc<TcpListener>,
    tls: TlsAcceptor,
}

impl Server {
    /// Listens on the kubelet port of all addresses. Call it within the Tokio runtime.
    pub(crate) fn bind(runtime: Arc<Runtime>) -> Result<Self, ServerError> {
        let config = &runtime.config;
        let files = config.kubelet_tls.as_ref();
        let tls = files.map(acceptor).transpose().map_err(ServerError::Certificates)?;
        let tls = tls.ok_or_else(|| ServerError::Certificates("none are configured".to_owned()))?;
        let six = SocketAddr::from(([0_u16; 8], config.kubelet_port));
        let four = SocketAddr::from(([0_u8; 4], config.kubelet_port));
        // One socket for both families, unless this machine has no IPv6.
        let bound = std::net::TcpListener::bind(six).or_else(|_| std::net::TcpListener::bind(four));
        let failed = |source| ServerError::Listen { address: four, source };
        let listener = bound.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = Arc::new(TcpListener::from_std(listener).map_err(failed)?);
        Ok(Self { runtime, listener, tls })
    }

    /// Serves for ever. Dropped, it lets running connections end by themselves.
    pub(crate) async fn run(self) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                // Out of descriptors: others will be closed.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let this = self.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let stream = match this.tls.accept(stream).await {
                    Ok(stream) => stream,
                    Err(e) => {
                        tracing::debug!(%peer, error = %e, "a connection was refused");
                        return;
                    }
                };
                let known = stream.get_ref().1.peer_certificates().is_some();
                let runtime = Arc::clone(&this.runtime);
                let service = hyper::service::service_fn(move |request| {
                    let runtime = Arc::clone(&runtime);
                    async move { Ok::<_, Infallible>(answer(runtime, request, known).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(e) = connection.with_upgrades().await {
                    tracing::debug!(%peer, error = %e, "a connection ended");
                }
            });
        }
    }
}

fn acceptor(files: &KubeletTls) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let read = |path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>, String> {
        let found =
            CertificateDer::pem_file_iter(path).map_err(|e| format!("{}: {e}", path.display()))?;
        found.collect::<Result<_, _>>().map_err(|e| format!("{}: {e}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in read(&files.client_ca)? {
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| format!("{}: {e}", files.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_client_cert_verifier(clients)
        .with_single_cert(read(&files.certificate)?, key)
        .map_err(|e| e.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn answer(runtime: Arc<Runtime>, request: Request<Incoming>, known: bool) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let ["healthz" | "livez" | "readyz"] = parts[..] {
        return text(StatusCode::OK, "ok");
    }
    if !known {
        return text(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match (parts.as_slice(), request.method()) {
        (["containerLogs", namespace, pod, container], &Method::GET) => {
            logs::serve(&runtime, namespace, pod, container, &query)
        }
        (["exec", namespace, pod, container] | ["exec", namespace, pod, _, container], _) => {
            exec::exec(runtime, &format!("{namespace}/{pod}"), container, &query, request)
        }
        (["attach", namespace, pod, container] | ["attach", namespace, pod, _, container], _) => {
            exec::attach(runtime, &format!("{namespace}/{pod}"), container, request)
        }
        (["portForward", namespace, pod] | ["portForward", namespace, pod, _], _) => {
            forward::forward(&runtime, &format!("{namespace}/{pod}"), request)
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// A plain answer.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    let body = Full::new(Bytes::from(text.into())).map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// A refusal as a Kubernetes Status, which the API server hands on as it is.
pub(crate) fn refusal(status: StatusCode, reason: &str, message: &str) -> Answer {
    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                  "reason": reason, "message": message, "code": status.as_u16()});
    let mut answer = text(status, body.to_string());
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    }

    /// Whether a switch is on, by any of its names.
    pub(crate) fn on(&self, keys: &[&str]) -> bool {
        keys.iter().any(|k| matches!(self.get(k), Some("1" | "true")))
    }

    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }
}

/// Undoes percent encoding and `+` for a space.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query =
            Query::parse("command=sh&command=-c&command=echo+a%20%26b&input=1&tty=false&x=");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a &b"]);
        assert!(query.on(&["stdin", "input"]) && !query.on(&["tty"]));
        assert_eq!(query.get("x"), None);
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
