//! Bearer tokens: those of service accounts, signed here, and a static file of others.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hashbrown::HashMap;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Identity;

/// What precedes the 65 bytes of a P-256 point in a `SubjectPublicKeyInfo` (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why keys or tokens could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("could not read the key {path} (PKCS #8, PEM, ECDSA P-256)")]
    Key { path: PathBuf },
    #[error("could not make a key")]
    Random,
    #[error("could not read the token file {path}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("line {line} of the token file {path} is not `token,user,uid[,\"group1,group2\"]`")]
    Line { path: PathBuf, line: usize },
}

/// An object that a token names or is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// The part of a token's claims that is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Private {
    pub(crate) namespace: String,
    pub(crate) serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
}

/// The claims of a service account's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    /// Seconds since 1970, as are the other times.
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) private: Private,
}

/// Signs and checks the tokens of service accounts (JWT, ES256).
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
    pub(crate) issuer: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads the key from a file, or makes one that lasts as long as the process.
    pub(crate) fn new(file: Option<&Path>, issuer: String) -> Result<Self, TokenError> {
        let random = SystemRandom::new();
        let der = match file {
            Some(path) => PrivatePkcs8KeyDer::from_pem_file(path)
                .map_err(|_| TokenError::Key { path: path.to_path_buf() })?
                .secret_pkcs8_der()
                .to_vec(),
            None => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map_err(|_| TokenError::Random)?
                .as_ref()
                .to_vec(),
        };
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random)
            .map_err(|_| TokenError::Key { path: file.unwrap_or(Path::new("")).to_path_buf() })?;
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend_from_slice(key.public_key().as_ref());
        let digest = ring::digest::digest(&ring::digest::SHA256, &spki);
        let key_id = URL_SAFE_NO_PAD.encode(digest);
        Ok(Self { key, key_id, random, issuer })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let claims = serde_json::to_vec(claims).ok()?;
        let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(&claims));
        let signature = self.key.sign(&self.random, text.as_bytes()).ok()?;
        Some(format!("{text}.{}", encode(signature.as_ref())))
    }

    /// The claims of a token that this signer signed, whose time it is and which is meant for
    /// the audience. Whether what it is bound to still exists is for the caller to find out.
    pub(crate) fn verify(&self, token: &str, audience: &str, now: i64) -> Option<Claims> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header["alg"] != "ES256" || header["kid"] != self.key_id.as_str() {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        public.verify(text.as_bytes(), &decode(signature)?).ok()?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        let timely = claims.nbf <= now && now < claims.exp;
        let meant = claims.iss == self.issuer && claims.aud.iter().any(|aud| aud == audience);
        (timely && meant).then_some(claims)
    }

    /// The JSON Web Key Set with the public key (RFC 7517).
    pub(crate) fn key_set(&self) -> Value {
        let point = self.key.public_key().as_ref();
        // An uncompressed point: 4, x, y.
        let (x, y) = (point.get(1..33).unwrap_or(&[]), point.get(33..65).unwrap_or(&[]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.key_id, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]})
    }
}

/// `--token-auth-file`: lines of `token,user,uid` and, quoted, groups.
#[derive(Debug, Default)]
pub(crate) struct StaticTokens {
    /// By the digest of the token, so that looking one up takes no longer for a good guess.
    users: HashMap<String, Identity>,
}

impl StaticTokens {
    pub(crate) fn load(path: &Path) -> Result<Self, TokenError> {
        let read = |source| TokenError::File { path: path.to_path_buf(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let mut users = HashMap::new();
        for (line, row) in text.lines().enumerate() {
            if row.trim().is_empty() || row.starts_with('#') {
                continue;
            }
            let mut columns = row.splitn(4, ',').map(str::trim);
            let (Some(token), Some(user), Some(uid)) =
                (columns.next(), columns.next(), columns.next())
            else {
                return Err(TokenError::Line { path: path.to_path_buf(), line: line + 1 });
            };
            let groups = columns.next().unwrap_or("").trim_matches('"');
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let mut identity = Identity::new(user, groups.map(str::to_owned));
            uid.clone_into(&mut identity.uid);
            users.insert(digest(token), identity);
        }
        Ok(Self { users })
    }

    pub(crate) fn find(&self, token: &str) -> Option<&Identity> {
        if self.users.is_empty() { None } else { self.users.get(&digest(token)) }
    }
}

fn digest(token: &str) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: vec!["api".to_owned()],
            exp: 200,
            iat: 100,
            nbf: 100,
            iss: "https://issuer".to_owned(),
            sub: "system:serviceaccount:ns:sa".to_owned(),
            jti: "1".to_owned(),
            private: Private {
                namespace: "ns".to_owned(),
                serviceaccount: Reference { name: "sa".to_owned(), uid: "u".to_owned() },
                pod: None,
                secret: None,
                node: None,
            },
        }
    }

    #[test]
    fn a_token_is_good_in_its_time_and_for_its_audience_only() {
        let signer = Signer::new(None, "https://issuer".to_owned()).unwrap();
        let token = signer.sign(&claims()).unwrap();
        assert_eq!(signer.verify(&token, "api", 150), Some(claims()));
        assert_eq!(signer.verify(&token, "api", 200), None, "expired");
        assert_eq!(signer.verify(&token, "api", 99), None, "not yet");
        assert_eq!(signer.verify(&token, "other", 150), None, "another audience");
        let other = Signer::new(None, "https://issuer".to_owned()).unwrap();
        assert_eq!(other.verify(&token, "api", 150), None, "another key");
    }

    #[test]
    fn a_changed_token_is_refused() {
        let signer = Signer::new(None, "https://issuer".to_owned()).unwrap();
        let token = signer.sign(&claims()).unwrap();
        let mut parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD
            .encode(serde_json::to_vec(&Claims { exp: i64::MAX, ..claims() }).unwrap());
        parts[1] = &forged;
        assert_eq!(signer.verify(&parts.join("."), "api", 150), None);
        assert_eq!(signer.verify("", "api", 150), None);
        assert_eq!(signer.verify("a.b.c", "api", 150), None);
    }

    #[test]
    fn the_token_file_names_users_and_groups() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc,jane,7,\"dev,ops\"\nxyz,joe,8\n").unwrap();
        let tokens = StaticTokens::load(file.path()).unwrap();
        let jane = tokens.find("abc").unwrap();
        assert_eq!((&*jane.name, &*jane.uid), ("jane", "7"));
        assert_eq!(jane.groups, ["dev", "ops", "system:authenticated"]);
        assert!(tokens.find("ab").is_none());
        std::fs::write(file.path(), "abc\n").unwrap();
        assert!(matches!(StaticTokens::load(file.path()), Err(TokenError::Line { line: 1, .. })));
    }
}
