//! Everything that is not an object: health, version, discovery, OpenAPI, metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{Answer, json_response, render, response};
use crate::auth::Identity;
use crate::body::Body;
use crate::discovery::{self, AggregatedVersion};
use crate::openapi;
use crate::request::{Accept, Target};
use crate::server::Server;
use crate::status::ApiError;

/// The Kubernetes version whose behaviour this server follows.
const MINOR: &str = "36";
const GIT_VERSION: &str = "v1.36.0+portolan";

pub(super) fn answer(
    server: &Server,
    user: &Arc<Identity>,
    target: &Target,
    parts: &Parts,
) -> Answer {
    server.authorize_path(user, "get", parts.uri.path())?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(match target {
            Target::Unknown => ApiError::no_such_resource(),
            _ => ApiError::method_not_allowed(),
        });
    }
    let query = parts.uri.query().unwrap_or("");
    let accept = || Accept::from_headers(&parts.headers, true).ok_or_else(ApiError::not_acceptable);
    match target {
        Target::Health { check } => Ok(health(server, parts.uri.path(), check, query)),
        Target::Version => Ok(json_response(StatusCode::OK, version().to_string().into())),
        Target::Root => Ok(json_response(StatusCode::OK, root().to_string().into())),
        Target::CoreVersions => discover(
            accept()?,
            || {
                let address = server.config.advertise.map(|address| address.to_string());
                Some(discovery::api_versions(&address.unwrap_or_default()))
            },
            discovery::aggregated_api,
        ),
        Target::Groups => {
            discover(accept()?, || Some(discovery::api_groups()), discovery::aggregated_apis)
        }
        Target::Group(group) => found(accept()?, discovery::group(group)),
        Target::GroupVersion { group, version } => {
            found(accept()?, discovery::resources(group, version))
        }
        Target::Metrics => Ok(response(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            server.metrics.text(&server.cache).into(),
        )),
        Target::OpenApiV2 => Ok(response(
            StatusCode::OK,
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
            Bytes::from(openapi::v2_protobuf_minimal()).into(),
        )),
        Target::OpenApiV3 => found(accept()?, Some(openapi::v3_index())),
        Target::OpenApiV3Group(name) => match openapi::v3(name) {
            Some(document) => Ok(json_response(StatusCode::OK, Bytes::from_owner(document))),
            None => Err(ApiError::no_such_resource()),
        },
        // kubectl asks whether a kind that it does not find is a custom one.
        Target::Unknown if parts.uri.path() == discovery::CUSTOM_RESOURCES => {
            found(accept()?, Some(discovery::custom_resources()))
        }
        Target::Object(_) | Target::Unknown => Err(ApiError::no_such_resource()),
        Target::Issuer { keys: true } => {
            let keys = server.authenticator.signer.key_set().to_string();
            Ok(response(StatusCode::OK, "application/jwk-set+json", keys.into()))
        }
        Target::Issuer { keys: false } => {
            let issuer = &server.authenticator.signer.issuer;
            let document = json!({
                "issuer": issuer,
                "jwks_uri": format!("{issuer}/openid/v1/jwks"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            });
            Ok(json_response(StatusCode::OK, document.to_string().into()))
        }
    }
}

fn discover(
    accept: Accept,
    plain: impl Fn() -> Option<Value>,
    aggregated: fn(AggregatedVersion) -> Value,
) -> Answer {
    let Some(version) = accept.aggregated else { return found(accept, plain()) };
    let media = match version {
        AggregatedVersion::V2 => {
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        }
        AggregatedVersion::V2Beta1 => {
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
        }
    };
    Ok(response(StatusCode::OK, media, aggregated(version).to_string().into()))
}

fn found(accept: Accept, document: Option<Value>) -> Answer {
    let document = document.ok_or_else(ApiError::no_such_resource)?;
    render::document(StatusCode::OK, accept, &document)
}

pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, arch()),
    })
}

/// The architecture as Go names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn root() -> Value {
    let mut paths: Vec<String> = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    for resource in crate::resource::table().iter().filter(|r| !r.group.is_empty()) {
        for path in [
            format!("/apis/{}", resource.group),
            format!("/apis/{}/{}", resource.group, resource.version),
        ] {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    json!({ "paths": paths })
}

/// The checks of `/livez` and `/readyz`: the name, and whether it holds.
fn health(server: &Server, path: &str, check: &str, query: &str) -> Response<Body> {
    let text = |code, body: String| response(code, "text/plain; charset=utf-8", body.into());
    let verbose = form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "verbose");
    let excluded: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "exclude")
        .map(|(_, value)| value.into_owned())
        .collect();
    let mut checks = vec![("ping", true), ("store", server.store_is_well())];
    if path.starts_with("/readyz") {
        checks.push(("shutdown", !server.stopping.is_cancelled()));
    }
    if !check.is_empty() {
        return match checks.iter().find(|(name, _)| *name == check) {
            Some((_, true)) => text(StatusCode::OK, "ok".to_owned()),
            Some((_, false)) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n".to_owned())
            }
            None => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        };
    }
    let kind = path.trim_matches('/').split('/').next().unwrap_or_default();
    let mut lines = String::new();
    let mut well = true;
    for (name, holds) in checks {
        if excluded.iter().any(|excluded| excluded == name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if holds {
            lines.push_str(&format!("[+]{name} ok\n"));
        } else {
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            well = false;
        }
    }
    match (well, verbose) {
        (true, false) => text(StatusCode::OK, "ok".to_owned()),
        (true, true) => text(StatusCode::OK, format!("{lines}{kind} check passed\n")),
        (false, _) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{kind} check failed\n"))
        }
    }
}
