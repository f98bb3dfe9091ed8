//! Get and list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::render::ListMeta;
use super::{Answer, Call};
use crate::cache::{Object, Page, Query, object_key};
use crate::resource::{FieldError, Resource};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::ApiError;
use crate::store::Revision;

/// What a list, watch or deletecollection selects.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
    resource: &'static Resource,
    /// The key of the only object that can match, when the selectors say so.
    pub(super) only: Option<String>,
    /// Only this namespace; empty for all.
    pub(super) namespace: String,
}

impl Filter {
    pub(super) fn everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        (self.labels.is_empty() || self.labels.matches(&object.labels))
            && (self.fields.is_empty() || self.fields.matches(self.resource, &object.value()))
    }

    /// Whether a key is in the part of the table that is asked for.
    pub(super) fn covers(&self, key: &str) -> bool {
        match &self.only {
            Some(only) => only == key,
            None => {
                self.namespace.is_empty()
                    || key.strip_prefix(&*self.namespace).is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }
}

/// Where a list goes on; the same JSON, in URL-safe base64, as kube-apiserver's token.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    /// The revision of the first page; -1 asks for whatever is current.
    rv: i64,
    /// The last key that was sent.
    start: String,
}

fn encode_token(revision: i64, start: &str) -> String {
    let token = Token { v: "meta.k8s.io/v1".to_owned(), rv: revision, start: start.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn decode_token(text: &str) -> Result<Token, ApiError> {
    let token = URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
    token
        .filter(|token| token.v == "meta.k8s.io/v1")
        .ok_or_else(|| ApiError::bad_request("continue key is not valid"))
}

/// A resource version as clients send it; `None` when empty.
pub(super) fn parse_revision(text: &str) -> Result<Option<Revision>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let error = FieldError::invalid_text(
            "resourceVersion",
            text,
            format!("strconv.ParseUint: parsing {text:?}: invalid syntax"),
        );
        ApiError::bad_request(format!("Invalid value: {error}"))
    })
}

impl Call {
    pub(super) fn get(&mut self) -> Answer {
        if let Some(asked) = parse_revision(&self.options.resource_version)? {
            self.not_in_the_future(asked)?;
        }
        let object = self.current()?;
        self.show(StatusCode::OK, object.bytes.clone())
    }

    pub(super) fn not_in_the_future(&self, asked: Revision) -> Result<(), ApiError> {
        let current = self.server.cache.revision();
        if asked > current {
            return Err(ApiError::resource_version_too_large(asked, current));
        }
        Ok(())
    }

    pub(super) fn filter(&self) -> Result<Filter, ApiError> {
        let bad = |error: crate::selector::SelectorError| ApiError::bad_request(error.to_string());
        let stored = self.server.cache.resource(self.path.table);
        let labels = LabelSelector::parse(&self.options.label_selector).map_err(bad)?;
        let mut fields = FieldSelector::parse(&self.options.field_selector, stored).map_err(bad)?;
        if let Some(name) = &self.path.name {
            let text = format!("metadata.name={name}");
            fields = FieldSelector::parse(&text, stored).map_err(bad)?;
        }
        let namespace = match fields.exact("metadata.namespace") {
            Some(namespace) if self.path.namespace.is_empty() && stored.namespaced => {
                namespace.to_owned()
            }
            _ => self.path.namespace.clone(),
        };
        let only = fields
            .exact_name()
            .filter(|_| !stored.namespaced || !namespace.is_empty())
            .map(|name| object_key(&namespace, name));
        Ok(Filter { labels, fields, resource: stored, only, namespace })
    }

    pub(super) fn list(&mut self) -> Answer {
        let filter = self.filter()?;
        let options = &self.options;
        let asked = parse_revision(&options.resource_version)?;
        self.check_list_options()?;
        let token = match &*options.proceed {
            "" => None,
            text => Some(decode_token(text)?),
        };
        let exact = match (&token, &*options.resource_version_match, asked) {
            (Some(token), _, _) => Revision::try_from(token.rv).ok(),
            (None, "Exact", Some(asked)) => Some(asked),
            _ => None,
        };
        if let Some(asked) = asked.or(exact) {
            self.not_in_the_future(asked)?;
        }
        let query = Query {
            namespace: &filter.namespace,
            after: token.as_ref().map(|token| &*token.start),
            revision: exact,
            limit: options.limit,
        };
        let matches = |object: &Object| filter.matches(object);
        let everything = |_: &Object| true;
        let matches: &dyn Fn(&Object) -> bool =
            if filter.everything() { &everything } else { &matches };
        if let (Some(only), None, None) = (&filter.only, &token, exact) {
            let revision = self.server.cache.revision();
            let object = self.server.cache.get(self.path.table, only);
            let objects: Vec<_> = object.into_iter().filter(|o| matches(o)).collect();
            let meta = ListMeta { resource_version: revision, ..ListMeta::default() };
            return self.show_list(&objects, &meta);
        }
        let page = match self.server.cache.list(self.path.table, &query, matches) {
            Ok((page, _)) => page,
            Err(_) => {
                return Err(match &token {
                    Some(token) => ApiError::expired_continue(encode_token(-1, &token.start)),
                    None => ApiError::expired_list(exact.unwrap_or_default()),
                });
            }
        };
        let meta = list_meta(&page, filter.everything());
        self.show_list(&page.objects, &meta)
    }

    fn check_list_options(&self) -> Result<(), ApiError> {
        let options = &self.options;
        let forbidden = |detail: &str| {
            let error = FieldError::forbidden("resourceVersionMatch", detail);
            ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[error])
        };
        let proceeds = !options.proceed.is_empty();
        if proceeds && !matches!(&*options.resource_version, "" | "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        match &*options.resource_version_match {
            "" => Ok(()),
            _ if options.resource_version.is_empty() => {
                let text = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                Err(forbidden(text))
            }
            _ if proceeds => {
                Err(forbidden("resourceVersionMatch is forbidden when continue is provided"))
            }
            "Exact" if options.resource_version == "0" => Err(forbidden(
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            )),
            "Exact" | "NotOlderThan" => Ok(()),
            other => {
                let error = FieldError::not_supported(
                    "resourceVersionMatch",
                    &other.into(),
                    &["Exact", "NotOlderThan", ""],
                );
                Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[error]))
            }
        }
    }
}

fn list_meta(page: &Page, everything: bool) -> ListMeta {
    ListMeta {
        resource_version: page.revision,
        proceed: page.last.as_ref().map(|last| encode_token(page.revision as i64, last)),
        remaining: (page.remaining > 0 && everything).then_some(page.remaining),
    }
}
