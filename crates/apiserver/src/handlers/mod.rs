//! From a request to an answer.

mod address_safety;
mod claims;
mod convert;
mod create;
mod delete;
mod meta;
mod misc;
mod proxy;
mod ranges;
mod read;
mod render;
mod review;
mod service_account;
mod subresource;
mod update;
mod watch;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use crate::auth::{Attributes, Identity};
use crate::body::{Body, BoxError};
use crate::metrics::Counted;
use crate::request::{Accept, ObjectPath, Options, Target, parse_path};
use crate::resource::{Resource, Verb};
use crate::server::Server;
use crate::status::{ApiError, BODY_LIMIT};

pub(crate) use self::claims::{
    FAMILY_LABEL, MANAGED_BY, MANAGED_BY_LABEL, claim_store_key, claim_value, family_of, owner_of,
};
pub(crate) use self::create::bootstrap;
pub(crate) use self::meta::{is_terminating, now};
pub(crate) use self::ranges::{DEFAULT_RANGE, ServiceRanges};

type Answer = Result<Response<Body>, ApiError>;

/// A request for a resource, with everything the verbs need.
struct Call {
    server: Arc<Server>,
    user: Arc<Identity>,
    path: ObjectPath,
    options: Options,
    accept: Accept,
    parts: Parts,
    body: Bytes,
    /// Texts for `Warning` headers.
    warnings: Vec<String>,
    /// Whether the write is a server-side apply, which keeps `managedFields` itself.
    applies: bool,
}

/// Answers one request. Never fails: errors are answers, and so is a fault of this program.
pub(crate) async fn respond<B>(server: Arc<Server>, request: http::Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let what = (request.method().clone(), request.uri().clone());
    let answer = AssertUnwindSafe(respond_to(server, request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!(method = %what.0, uri = %what.1, "answering panicked");
        error_response(&ApiError::internal("the server failed to answer; see its log"))
    })
}

async fn respond_to<B>(server: Arc<Server>, request: http::Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let user = match server.authenticate(&parts).and_then(|user| server.act_as(user, &parts)) {
        Ok(user) => user,
        Err(error) => return error_response(&error),
    };
    let target = parse_path(&server.cache, parts.uri.path());
    let answer = match target {
        Target::Object(path) => Box::pin(object(server, user, path, parts, body)).await,
        other => misc::answer(&server, &user, &other, &parts),
    };
    answer.unwrap_or_else(|error| error_response(&error))
}

async fn object<B>(
    server: Arc<Server>,
    user: Arc<Identity>,
    path: ObjectPath,
    parts: Parts,
    body: B,
) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut options = Options::parse(parts.uri.query().unwrap_or(""))?;
    options.watch |= path.watch;
    let verb = verb_of(&parts.method, &path, &options)?;
    server.authorize(&user, &Attributes::of(verb, &path))?;
    let began = Instant::now();
    let resource = path.resource;
    let subresource = path.subresource.clone().unwrap_or_default();
    let metrics = server.clone();
    let answer = authorized(server, user, path, options, parts, body).await;
    let code = answer.as_ref().map_or_else(|error| error.code, Response::status).as_u16();
    let subresource = &*subresource;
    metrics.metrics.count(&Counted { verb, resource, subresource, code, began });
    answer
}

async fn authorized<B>(
    server: Arc<Server>,
    user: Arc<Identity>,
    path: ObjectPath,
    options: Options,
    parts: Parts,
    body: B,
) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if proxy::leads_to_a_node(&path) {
        return proxy::connect(&server, &path, &options, parts, body).await;
    }
    let accept =
        Accept::from_headers(&parts.headers, false).ok_or_else(ApiError::not_acceptable)?;
    let body = collect(&parts, body).await?;
    let mut call = Call {
        server,
        user,
        path,
        options,
        accept,
        parts,
        body,
        warnings: Vec::new(),
        applies: false,
    };
    let meddling = call.meddling();
    let mut response = call.run().await?;
    if let Some((name, before)) = meddling {
        call.server.meddled.add(&name, before.as_ref());
    }
    for warning in &call.warnings {
        if let Ok(value) = HeaderValue::from_str(&warning_text(warning)) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    Ok(response)
}

async fn collect<B>(parts: &Parts, body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT) {
        return Err(ApiError::too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::too_large()),
        Err(error) => Err(ApiError::bad_request(format!("reading the body failed: {error}"))),
    }
}

/// The verb as authorization and discovery name it.
fn verb_of(
    method: &Method,
    path: &ObjectPath,
    options: &Options,
) -> Result<&'static str, ApiError> {
    let named = path.name.is_some();
    let verb = match *method {
        Method::GET | Method::HEAD if options.watch && path.subresource.is_none() => "watch",
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST if !named || path.subresource.is_some() => "create",
        Method::PUT if named => "update",
        Method::PATCH if named => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => return Err(ApiError::method_not_allowed()),
    };
    let verbs = match &path.subresource {
        None => path.resource.verbs,
        // The only way to end a namespace; discovery lists it for kubectl's sake alone.
        Some(name) if name == "finalize" && path.resource.plural == "namespaces" => {
            &[Verb::Update][..]
        }
        Some(name) => match path.resource.subresource(name) {
            Some(subresource) => subresource.verbs,
            None => return Err(ApiError::no_such_resource()),
        },
    };
    if verbs.iter().any(|known| known.as_str() == verb) {
        Ok(verb)
    } else {
        Err(ApiError::method_not_allowed())
    }
}

impl Call {
    /// Answers the request; a refusal has its warnings as well.
    async fn run(&mut self) -> Answer {
        let deprecation = self.resource().strategy.deprecation();
        self.warn(deprecation.map(str::to_owned).into_iter().collect());
        match self.dispatch().await {
            Err(error) if !self.warnings.is_empty() => Ok(error_response(&error)),
            answer => answer,
        }
    }

    async fn dispatch(&mut self) -> Answer {
        let method = self.parts.method.clone();
        if self.path.subresource.is_some() {
            return self.subresource(&method).await;
        }
        let named = self.path.name.is_some();
        match method {
            Method::GET | Method::HEAD if self.options.watch => self.watch(),
            Method::GET | Method::HEAD if named => self.get(),
            Method::GET | Method::HEAD => self.list(),
            Method::POST => self.create().await,
            Method::PUT => self.update().await,
            Method::PATCH => self.patch().await,
            Method::DELETE if named => self.delete().await,
            _ => self.delete_collection().await,
        }
    }

    /// The `IPAddress` object that the request is about to write, as it is before: whether its
    /// Service may be left like that is looked at afterwards.
    fn meddling(&self) -> Option<(String, Option<serde_json::Value>)> {
        let reads = matches!(self.parts.method, Method::GET | Method::HEAD);
        let about = (self.resource().group, self.resource().plural);
        if reads || about != ("networking.k8s.io", "ipaddresses") || self.options.dry_run {
            return None;
        }
        let before = self.server.cache.get(self.path.table, self.name());
        Some((self.name().to_owned(), before.map(|object| object.value())))
    }

    fn resource(&self) -> &'static Resource {
        self.path.resource
    }

    /// The object's name; the router calls nothing that needs one without it.
    fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    fn key(&self) -> String {
        crate::cache::object_key(&self.path.namespace, self.name())
    }

    fn current(&self) -> Result<Arc<crate::cache::Object>, ApiError> {
        self.server
            .cache
            .get(self.path.table, &self.key())
            .ok_or_else(|| ApiError::not_found(self.resource(), self.name()))
    }
}

pub(crate) fn error_response(error: &ApiError) -> Response<Body> {
    let mut response = json_response(error.code, error.to_bytes());
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn json_response(code: StatusCode, bytes: Bytes) -> Response<Body> {
    response(code, "application/json", bytes.into())
}

fn response(code: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// RFC 7234: code 299, agent `-`, the text quoted.
fn warning_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push_str("299 - \"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
