//! Certificates and keys of a cluster, made once and kept in a directory.
//!
//! Everything is made when it is first asked for and read back afterwards. Keys are readable by
//! their owner only. ECDSA P-256 throughout.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::server::{Config, KubeletClient};

/// How long certificates last, in years.
const YEARS: i32 = 10;

/// Why something could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("could not {action} {path}")]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("could not make or read {what}")]
    Certificate { what: String, source: rcgen::Error },
    #[error("{name:?} is no DNS name and no address")]
    Name { name: String },
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Certified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certified(..)")
    }
}

/// The certificate authority of a cluster and its directory:
/// `ca.crt`, `ca.key`, `sa.key`, `sa.pub`, and one pair for each name asked for.
pub struct Pki {
    directory: PathBuf,
    ca_certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Pki {
    /// Reads the authority in `directory`, or makes both.
    pub fn load_or_create(directory: impl AsRef<Path>) -> Result<Self, PkiError> {
        let directory = directory.as_ref().to_path_buf();
        std::fs::create_dir_all(&directory).map_err(file("create", &directory))?;
        let pair = load_or_make(&directory, "ca", || {
            let key = new_key("the key of the authority")?;
            let mut params = params("kubernetes", &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
            ];
            let certificate =
                params.self_signed(&key).map_err(certificate("the authority's certificate"))?;
            Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
        })?;
        let what = "the authority's key";
        let key = KeyPair::from_pem(&pair.key).map_err(certificate(what))?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key)
            .map_err(certificate("the authority's certificate"))?;
        Ok(Self { directory, ca_certificate: pair.certificate, issuer })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The authority's certificate, PEM.
    pub fn ca_certificate(&self) -> &str {
        &self.ca_certificate
    }

    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    pub fn certificate_file(&self, file_name: &str) -> PathBuf {
        self.directory.join(format!("{file_name}.crt"))
    }

    pub fn key_file(&self, file_name: &str) -> PathBuf {
        self.directory.join(format!("{file_name}.key"))
    }

    /// A server's certificate for these DNS names and addresses, kept as `FILE_NAME.crt` and
    /// `.key`; made anew when the names changed.
    pub fn server(
        &self,
        file_name: &str,
        common_name: &str,
        organizations: &[&str],
        names: &[String],
    ) -> Result<Certified, PkiError> {
        let listing = self.directory.join(format!("{file_name}.names"));
        let wanted = format!("{common_name}\n{}\n", names.join("\n"));
        if std::fs::read_to_string(&listing).is_ok_and(|known| known != wanted) {
            let stale = self.certificate_file(file_name);
            std::fs::remove_file(&stale).map_err(file("remove", &stale))?;
        }
        let pair = load_or_make(&self.directory, file_name, || {
            let mut params = params(common_name, organizations);
            for name in names {
                params.subject_alt_names.push(match name.parse::<IpAddr>() {
                    Ok(ip) => SanType::IpAddress(ip),
                    Err(_) => SanType::DnsName(
                        name.as_str()
                            .try_into()
                            .map_err(|_| PkiError::Name { name: name.clone() })?,
                    ),
                });
            }
            let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            self.issue(params, &usages)
        })?;
        write(&listing, wanted.as_bytes(), 0o644)?;
        Ok(pair)
    }

    /// A client's certificate, kept as `FILE_NAME.crt` and `.key`. The common name is the user's
    /// name, the organizations are the groups.
    pub fn client(
        &self,
        file_name: &str,
        common_name: &str,
        organizations: &[&str],
    ) -> Result<Certified, PkiError> {
        load_or_make(&self.directory, file_name, || self.issue_client(common_name, organizations))
    }

    /// A client's certificate that is kept nowhere.
    pub fn issue_client(
        &self,
        common_name: &str,
        organizations: &[&str],
    ) -> Result<Certified, PkiError> {
        self.issue(params(common_name, organizations), &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<Certified, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = new_key("a key")?;
        let signed = params.signed_by(&key, &self.issuer).map_err(certificate("a certificate"))?;
        Ok(Certified { certificate: signed.pem(), key: key.serialize_pem() })
    }

    /// The file of the key that signs service-account tokens (PKCS #8, PEM), made when missing.
    pub fn service_account_key_file(&self) -> Result<PathBuf, PkiError> {
        let path = self.directory.join("sa.key");
        if !path.exists() {
            let key = new_key("the key of service accounts")?;
            write(&self.directory.join("sa.pub"), key.public_key_pem().as_bytes(), 0o644)?;
            write(&path, key.serialize_pem().as_bytes(), 0o600)?;
        }
        Ok(path)
    }

    /// Points a server's configuration to this directory: the key of service accounts, and a
    /// client certificate that kubelets accept.
    pub fn configure(&self, mut config: Config) -> Result<Config, PkiError> {
        const NAME: &str = "apiserver-kubelet-client";
        self.client(NAME, "kube-apiserver-kubelet-client", &["system:masters"])?;
        config.service_account_key = Some(self.service_account_key_file()?);
        config.kubelet = Some(KubeletClient {
            certificate: self.certificate_file(NAME),
            key: self.key_file(NAME),
            ca: self.ca_file(),
        });
        Ok(config)
    }

    /// A kubeconfig with everything in it.
    pub fn kubeconfig(&self, server: &str, cluster: &str, user: &str, pair: &Certified) -> String {
        let data = |pem: &str| STANDARD.encode(pem);
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: {cluster}\n  \
               cluster:\n    \
                 server: {server}\n    \
                 certificate-authority-data: {ca}\n\
             users:\n\
             - name: {user}\n  \
               user:\n    \
                 client-certificate-data: {certificate}\n    \
                 client-key-data: {key}\n\
             contexts:\n\
             - name: {user}@{cluster}\n  \
               context:\n    \
                 cluster: {cluster}\n    \
                 user: {user}\n\
             current-context: {user}@{cluster}\n",
            ca = data(&self.ca_certificate),
            certificate = data(&pair.certificate),
            key = data(&pair.key),
        )
    }

    /// Writes [`Pki::kubeconfig`] where only its owner can read it.
    pub fn write_kubeconfig(
        &self,
        path: &Path,
        server: &str,
        cluster: &str,
        user: &str,
        pair: &Certified,
    ) -> Result<(), PkiError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(file("create", parent))?;
        }
        write(path, self.kubeconfig(server, cluster, user, pair).as_bytes(), 0o600)
    }
}

fn load_or_make(
    directory: &Path,
    name: &str,
    make: impl FnOnce() -> Result<Certified, PkiError>,
) -> Result<Certified, PkiError> {
    let certificate = directory.join(format!("{name}.crt"));
    let key = directory.join(format!("{name}.key"));
    if certificate.exists() && key.exists() {
        return Ok(Certified {
            certificate: std::fs::read_to_string(&certificate)
                .map_err(file("read", &certificate))?,
            key: std::fs::read_to_string(&key).map_err(file("read", &key))?,
        });
    }
    let made = make()?;
    write(&key, made.key.as_bytes(), 0o600)?;
    write(&certificate, made.certificate.as_bytes(), 0o644)?;
    Ok(made)
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let run = || -> std::io::Result<()> {
        let mut open = std::fs::OpenOptions::new();
        open.write(true).create(true).truncate(true).mode(mode);
        let mut file = open.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    run().map_err(file("write", path))
}

fn new_key(what: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(certificate(what))
}

fn params(common_name: &str, organizations: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let today = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let yesterday = today.yesterday().unwrap_or(today);
    let date = |year, date: jiff::civil::Date| {
        // The 29th of February does not exist in every year.
        rcgen::date_time_ymd(year, date.month().unsigned_abs(), date.day().min(28).unsigned_abs())
    };
    params.not_before = date(i32::from(yesterday.year()), yesterday);
    params.not_after = date(i32::from(yesterday.year()) + YEARS, yesterday);
    params
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PkiError + use<> {
    let path = path.to_path_buf();
    move |source| PkiError::File { action, path, source }
}

fn certificate(what: &str) -> impl FnOnce(rcgen::Error) -> PkiError + use<> {
    let what = what.to_owned();
    move |source| PkiError::Certificate { what, source }
}
