//! Who somebody is, and what they may do.

mod certificate;
pub(crate) mod policy;
pub(crate) mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use http::HeaderMap;
use parking_lot::RwLock;

use self::token::{Private, Signer, StaticTokens};
use crate::cache::Cache;
use crate::request::ObjectPath;

pub use self::token::TokenError;

/// How long a checked token is believed without checking again.
const BELIEVED: Duration = Duration::from_secs(10);
/// Checked tokens remembered at most.
const REMEMBERED: usize = 1024;

/// An authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
}

impl Identity {
    /// A member of `system:masters`, who may do everything.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", ["system:masters".to_owned()])
    }

    /// A user by name and groups; `system:authenticated` is added.
    pub fn new(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.push("system:authenticated".to_owned());
        Self { name: name.to_owned(), uid: String::new(), groups }
    }

    /// Somebody without credentials.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec!["system:unauthenticated".to_owned()],
        }
    }

    fn service_account(account: &Private) -> Self {
        let namespace = &account.namespace;
        let name = format!("system:serviceaccount:{namespace}:{}", account.serviceaccount.name);
        let groups =
            ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self { uid: account.serviceaccount.uid.clone(), ..Self::new(&name, groups) }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(verb: &'a str, path: &'a ObjectPath) -> Self {
        // A namespace is asked about in itself, as Kubernetes' request info has it.
        let itself = path.resource.group.is_empty() && path.resource.plural == "namespaces";
        let name = path.name.as_deref().unwrap_or("");
        Self {
            verb,
            group: path.resource.group,
            resource: path.resource.plural,
            subresource: path.subresource.as_deref().unwrap_or(""),
            namespace: if itself { name } else { &path.namespace },
            name,
        }
    }

    /// The refusal, in kube-apiserver's words.
    pub(crate) fn refusal(&self, user: &str) -> String {
        let resource = match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        };
        let scope = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!(
            "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}",
            self.verb, self.group
        )
    }
}

/// Finds out who sends a request.
pub(crate) struct Authenticator {
    pub(crate) signer: Signer,
    statics: StaticTokens,
    remembered: RwLock<HashMap<String, (Arc<Identity>, Instant)>>,
}

/// A token that is none of ours, is too old, or belongs to what is gone.
#[derive(Debug)]
pub(crate) struct Refused;

impl Authenticator {
    pub(crate) fn new(signer: Signer, statics: StaticTokens) -> Self {
        Self { signer, statics, remembered: RwLock::default() }
    }

    /// The owner of the request's bearer token; `None` when it carries none.
    pub(crate) fn bearer(
        &self,
        cache: &Cache,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Identity>>, Refused> {
        let Some(value) = headers.get(http::header::AUTHORIZATION) else { return Ok(None) };
        let Ok(value) = value.to_str() else { return Err(Refused) };
        let Some((scheme, token)) = value.trim().split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let token = token.trim();
        let now = Instant::now();
        if let Some((identity, until)) = self.remembered.read().get(token)
            && *until > now
        {
            return Ok(Some(identity.clone()));
        }
        let identity = Arc::new(self.check(cache, token).ok_or(Refused)?);
        let mut remembered = self.remembered.write();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, until)| *until > now);
        }
        if remembered.len() < REMEMBERED {
            remembered.insert(token.to_owned(), (identity.clone(), now + BELIEVED));
        }
        Ok(Some(identity))
    }

    fn check(&self, cache: &Cache, token: &str) -> Option<Identity> {
        if let Some(identity) = self.statics.find(token) {
            return Some(identity.clone());
        }
        let now = jiff::Timestamp::now().as_second();
        let claims = self.signer.verify(token, &self.signer.issuer, now)?;
        let account = &claims.private;
        let exists = |plural: &str, namespace: &str, reference: &token::Reference| {
            let (_, table) = cache.find("", plural)?;
            let key = crate::cache::object_key(namespace, &reference.name);
            let object = cache.get(table, &key)?.value();
            (object["metadata"]["uid"] == reference.uid.as_str()).then_some(())
        };
        let namespace = &account.namespace;
        exists("serviceaccounts", namespace, &account.serviceaccount)?;
        if let Some(pod) = &account.pod {
            exists("pods", namespace, pod)?;
        }
        if let Some(secret) = &account.secret {
            exists("secrets", namespace, secret)?;
        }
        Some(Identity::service_account(account))
    }
}
