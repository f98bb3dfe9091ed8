//! `tls`: certificates, for clients that come over TLS and for upstreams that are asked over it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::super::corefile::{CorefileError, Directive};

/// Where systems keep the authorities that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The name that DNS over TLS goes by where protocols are negotiated (RFC 7858, 3.2).
const PROTOCOL: &[u8] = b"dot";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientAuth {
    None,
    Request,
    Require,
    VerifyIfGiven,
    RequireAndVerify,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    certificate: PathBuf,
    key: PathBuf,
    authorities: Option<PathBuf>,
    auth: ClientAuth,
    directive: Directive,
}

impl TlsConfig {
    /// `tls CERT KEY [CA] { client_auth … }`.
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        let (certificate, key, authorities) = match &directive.args[..] {
            [certificate, key] => (certificate, key, None),
            [certificate, key, authorities] => (certificate, key, Some(authorities.into())),
            _ => return Err(directive.error("takes a certificate, a key and perhaps a CA file")),
        };
        let mut auth = ClientAuth::None;
        for option in &directive.options {
            let what = "nocert, request, require, verify_if_given or require_and_verify";
            match option.name.as_str() {
                "client_auth" => {
                    auth = match directive.one(option, what)? {
                        "nocert" => ClientAuth::None,
                        "request" => ClientAuth::Request,
                        "require" => ClientAuth::Require,
                        "verify_if_given" => ClientAuth::VerifyIfGiven,
                        "require_and_verify" => ClientAuth::RequireAndVerify,
                        other => {
                            let problem = format!("client_auth takes {what}, not \"{other}\"");
                            return Err(directive.error_at(option.line, problem));
                        }
                    };
                }
                _ => return Err(directive.unknown(option)),
            }
        }
        Ok(Self {
            certificate: certificate.into(),
            key: key.into(),
            authorities,
            auth,
            directive: directive.clone(),
        })
    }

    /// The files that it is made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.authorities)
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, CorefileError> {
        let error = |problem: String| self.directive.error(problem);
        let chain = certificates(&self.certificate).map_err(error)?;
        let key = private_key(&self.key).map_err(error)?;
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| error(format!("cannot use TLS: {why}")))?;
        let builder = match self.auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Request | ClientAuth::Require => {
                let mandatory = self.auth == ClientAuth::Require;
                builder.with_client_cert_verifier(Arc::new(Anyone { provider, mandatory }))
            }
            ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
                let roots = Arc::new(roots(self.authorities.as_deref()).map_err(error)?);
                let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                if self.auth == ClientAuth::VerifyIfGiven {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier
                    .build()
                    .map_err(|why| error(format!("cannot verify clients: {why}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let pair = builder.with_single_cert(chain, key);
        let mut config =
            pair.map_err(|why| error(format!("cannot use the certificate with its key: {why}")))?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }
}

/// How upstreams are spoken to over TLS: `forward`'s `tls [CERT KEY] [CA]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpstreamTls {
    pub(crate) pair: Option<(PathBuf, PathBuf)>,
    pub(crate) authorities: Option<PathBuf>,
}

impl UpstreamTls {
    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|why| format!("cannot use TLS: {why}"))?
            .with_root_certificates(roots(self.authorities.as_deref())?);
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|why| format!("cannot use the certificate with its key: {why}"))?,
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn cannot(what: &str, path: &Path, why: impl Display) -> String {
    format!("cannot read {what} from {}: {why}", path.display())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|why| cannot("certificates", path, why))?;
    if all.is_empty() {
        return Err(cannot("certificates", path, "there are none"));
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|why| cannot("a private key", path, why))
}

/// The authorities of a file, or those that the system trusts.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    let file = file.or_else(system).ok_or("the system's CA file is not found; name one")?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(file)?);
    if added == 0 {
        return Err(cannot("authorities", file, "there are none"));
    }
    Ok(store)
}

/// Takes any certificate whose key the client has.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl ClientCertVerifier for Anyone {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
