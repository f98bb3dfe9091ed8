//! Paths of the API.

use crate::cache::{Cache, TableId};
use crate::resource::Resource;

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// `/healthz`, `/livez` or `/readyz`, perhaps one check of it.
    Health {
        check: String,
    },
    Version,
    Metrics,
    /// `/`: the list of paths.
    Root,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`
    GroupVersion {
        group: String,
        version: String,
    },
    OpenApiV2,
    OpenApiV3,
    /// `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`, the part after `v3/`
    OpenApiV3Group(String),
    /// `/.well-known/openid-configuration` or `/openid/v1/jwks`
    Issuer {
        keys: bool,
    },
    Object(ObjectPath),
    Unknown,
}

/// A resource, an object of it, or a subresource of that.
#[derive(Clone, Debug)]
pub(crate) struct ObjectPath {
    /// The resource as the path names it.
    pub(crate) resource: &'static Resource,
    /// Where its objects are.
    pub(crate) table: TableId,
    /// Empty when the path has no namespace.
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// What follows the subresource (`proxy/…`), with its leading slash.
    pub(crate) rest: String,
    /// The old form `/api/v1/watch/…`.
    pub(crate) watch: bool,
}

pub(crate) fn parse(cache: &Cache, path: &str) -> Target {
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = trimmed.split_once('/').unwrap_or((trimmed, ""));
    match (first, rest) {
        ("", _) => Target::Root,
        ("healthz" | "livez" | "readyz", check) => Target::Health { check: check.to_owned() },
        ("version", "") => Target::Version,
        ("metrics", "") => Target::Metrics,
        ("openapi", "v2") => Target::OpenApiV2,
        ("openapi", "v3") => Target::OpenApiV3,
        ("openapi", rest) if rest.starts_with("v3/") => {
            Target::OpenApiV3Group(rest[3..].to_owned())
        }
        (".well-known", "openid-configuration") => Target::Issuer { keys: false },
        ("openid", "v1/jwks") => Target::Issuer { keys: true },
        ("api", "") => Target::CoreVersions,
        ("apis", "") => Target::Groups,
        ("api", rest) => versioned(cache, "", rest),
        ("apis", rest) => {
            let (group, rest) = rest.split_once('/').unwrap_or((rest, ""));
            if rest.is_empty() {
                return Target::Group(group.to_owned());
            }
            versioned(cache, group, rest)
        }
        _ => Target::Unknown,
    }
}

fn versioned(cache: &Cache, group: &str, rest: &str) -> Target {
    let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.is_empty() {
        return Target::GroupVersion { group: group.to_owned(), version: version.to_owned() };
    }
    object(cache, group, version, rest).map_or(Target::Unknown, Target::Object)
}

fn object(cache: &Cache, group: &str, version: &str, rest: &str) -> Option<ObjectPath> {
    let (watch, rest) = match rest.strip_prefix("watch/") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    // A trailing slash means nothing, except to whoever is behind `proxy`.
    let rest = match rest.strip_suffix('/') {
        Some(shorter) if !rest.contains("/proxy/") => shorter,
        _ => rest,
    };
    let mut parts = rest.split('/');
    let mut plural = parts.next()?;
    let mut namespace = String::new();
    let mut left = rest.get(plural.len() + 1..).unwrap_or("");
    if plural == "namespaces" {
        let (name, after) = left.split_once('/').unwrap_or((left, ""));
        let resource = after.split('/').next().unwrap_or("");
        // `/namespaces/NAME/status` is about the namespace, `/namespaces/NAME/pods` in it.
        let own = matches!(resource, "" | "status" | "finalize") && group.is_empty();
        if !own {
            namespace = decode(name)?;
            plural = resource;
            left = after.get(resource.len() + 1..).unwrap_or("");
        }
    }
    let (resource, table) = cache.find(group, plural)?;
    if resource.version != version || (!resource.namespaced && !namespace.is_empty()) {
        return None;
    }
    let mut path = ObjectPath {
        resource,
        table,
        namespace,
        name: None,
        subresource: None,
        rest: String::new(),
        watch,
    };
    if left.is_empty() {
        return Some(path);
    }
    let (name, after) = left.split_once('/').unwrap_or((left, ""));
    path.name = Some(decode(name)?);
    if !after.is_empty() {
        let (subresource, _) = after.split_once('/').unwrap_or((after, ""));
        path.subresource = Some(subresource.to_owned());
        path.rest = after[subresource.len()..].to_owned();
        if !path.rest.is_empty() && subresource != "proxy" {
            return None;
        }
    }
    // An object in a namespace is named with it.
    if resource.namespaced && path.namespace.is_empty() {
        return None;
    }
    Some(path)
}

/// Undoes percent encoding; `None` when the bytes are no text.
fn decode(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return Some(segment.to_owned());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%');
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
