//! The API over TLS: HTTP/1.1 and HTTP/2, client certificates optional.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Identity;
use crate::handlers;
use crate::server::{ApiServer, KubeletClient, Server};

/// A client must finish its TLS handshake in this time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections get this long to finish what they are at when the server stops.
const FAREWELL: Duration = Duration::from_secs(3);
/// After a failed `accept` (no file descriptors, say).
const BREATH: Duration = Duration::from_millis(50);

/// The files that TLS needs, all PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs the certificates of clients; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why serving could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("could not read {path}")]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("the certificate, the key and the client CA do not make a TLS server: {detail}")]
    Tls { detail: String },
    #[error("could not listen")]
    Listen(#[source] std::io::Error),
}

impl TlsFiles {
    /// Reads the files.
    pub fn load(&self) -> Result<Arc<rustls::ServerConfig>, ServeError> {
        let tls = |error: &dyn std::fmt::Display| ServeError::Tls { detail: error.to_string() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(&error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = rustls::RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| tls(&error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| tls(&error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| ServeError::Pem { path: self.key.clone(), source })?;
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, key)
            .map_err(|error| tls(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let read = |source| ServeError::Pem { path: path.to_path_buf(), source };
    CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)
}

/// TLS to kubelets, with a client certificate.
pub(crate) fn kubelet_connector(files: &KubeletClient) -> Result<TlsConnector, ServeError> {
    let tls = |error: &dyn std::fmt::Display| ServeError::Tls { detail: error.to_string() };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| tls(&error))?;
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| ServeError::Pem { path: files.key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&files.certificate)?, key)
        .map_err(|error| tls(&error))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// TLS to pods and Services (`https:NAME`), whose certificates are not checked: the request names
/// an object, not a host, and kube-apiserver does the same.
pub(crate) fn pod_connector() -> Result<TlsConnector, ServeError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ServeError::Tls { detail: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Believes every certificate; the handshake's signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Serves on all the listeners until `shutdown` resolves, then lets what is going on finish.
pub async fn serve(
    api: ApiServer,
    listeners: Vec<std::net::TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let acceptor = TlsAcceptor::from(tls);
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    for listener in listeners {
        listener.set_nonblocking(true).map_err(ServeError::Listen)?;
        let listener = TcpListener::from_std(listener).map_err(ServeError::Listen)?;
        let connection = Connections {
            server: api.server.clone(),
            acceptor: acceptor.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(connection.accept(listener));
    }
    shutdown.await;
    api.stop();
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
        tracing::debug!("some connections did not finish in time");
    }
    Ok(())
}

#[derive(Clone)]
struct Connections {
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Connections {
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let this = self.clone();
                    self.tasks.spawn(async move { this.connection(stream, peer).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        // Frames are small and answers are awaited.
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let identity =
            certificates.and_then(<[_]>::first).and_then(|c| Identity::from_certificate(c));
        let identity = identity.map(Arc::new);
        let server = self.server.clone();
        let service = hyper::service::service_fn(move |mut request| {
            if let Some(identity) = &identity {
                request.extensions_mut().insert(identity.clone());
            }
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(handlers::respond(server, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let finished = tokio::select! {
            finished = connection.as_mut() => finished,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = finished {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}
