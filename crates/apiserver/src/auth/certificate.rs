//! Identity from a client certificate that TLS has verified.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Identity;

impl Identity {
    /// The common name is the user, the organizations are the groups.
    pub(crate) fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let groups = subject.iter_organization().filter_map(|o| o.as_str().ok());
        Some(Self::new(name, groups.map(str::to_owned)))
    }
}
