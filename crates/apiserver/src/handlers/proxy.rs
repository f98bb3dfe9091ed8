//! Subresources that somebody else answers: the node's kubelet, a pod, a Service's endpoint.
//!
//! Requests and answers pass through as they are, upgrades (exec, attach, port-forward) included.

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rand::seq::IndexedRandom as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Answer;
use crate::body::{Body, BoxError};
use crate::cache::object_key;
use crate::request::{ObjectPath, Options};
use crate::resource::Resource;
use crate::server::Server;
use crate::status::ApiError;

const KUBELET_PORT: u16 = 10250;
/// How long a node or a pod may take to accept a connection.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);
/// Headers that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where a request goes on.
#[derive(Debug)]
struct Destination {
    host: String,
    port: u16,
    path: String,
    /// TLS with the server's own client certificate: a kubelet.
    kubelet: bool,
    /// TLS without looking at the certificate, as `https:NAME` asks for pods and Services.
    tls: bool,
}

pub(super) fn leads_to_a_node(path: &ObjectPath) -> bool {
    let subresource = path.subresource.as_deref().unwrap_or_default();
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

pub(super) async fn connect<B>(
    server: &Server,
    path: &ObjectPath,
    options: &Options,
    mut parts: Parts,
    body: B,
) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let query = parts.uri.query().unwrap_or("").to_owned();
    let destination = match path.subresource.as_deref() {
        Some("proxy") => proxied(server, path, &query)?,
        Some("log") => match log(server, path, options, &query)? {
            Some(destination) => destination,
            None => {
                let empty = Body::empty();
                return Ok(super::response(StatusCode::OK, "text/plain", empty));
            }
        },
        Some(subresource) => interactive(server, path, subresource, &query)?,
        None => return Err(ApiError::no_such_resource()),
    };
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let request = forwarded(&parts, &destination, Body::boxed(body))?;
    let unreachable = |error: &dyn std::fmt::Display| {
        let (host, port) = (&destination.host, destination.port);
        ApiError::service_unavailable(format!(
            "error trying to reach service: dial tcp {host}:{port}: {error}"
        ))
    };
    let address = (destination.host.as_str(), destination.port);
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(|_| unreachable(&"i/o timeout"))?
        .map_err(|error| unreachable(&error))?;
    // Small frames that somebody waits for.
    let _ = stream.set_nodelay(true);
    if destination.kubelet || destination.tls {
        let connector = if destination.kubelet { &server.kubelet_tls } else { &server.pod_tls };
        let connector = connector.clone().ok_or_else(|| {
            ApiError::internal("this server has no client certificate for kubelets")
        })?;
        let name = rustls_pki_types::ServerName::try_from(destination.host.clone())
            .map_err(ApiError::internal)?;
        let stream = connector.connect(name, stream).await.map_err(|error| unreachable(&error))?;
        exchange(stream, request, upgrade).await
    } else {
        exchange(stream, request, upgrade).await
    }
}

/// Sends the request, and ties both ends together if the answer is an upgrade.
async fn exchange<S>(
    stream: S,
    request: Request<Body>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| {
        ApiError::service_unavailable(format!("error trying to reach service: {error}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Lives as long as the answer, or the upgraded streams, are in use.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let mut response = sender.send_request(request).await.map_err(failed)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let far = hyper::upgrade::on(&mut response);
        let Some(near) = upgrade else {
            return Err(ApiError::bad_request("this connection cannot be upgraded"));
        };
        tokio::spawn(async move {
            let (Ok(near), Ok(far)) = futures::join!(near, far) else { return };
            let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
            if let Err(error) = tokio::io::copy_bidirectional(&mut near, &mut far).await {
                tracing::debug!(%error, "an upgraded connection ended");
            }
        });
        let (parts, _) = response.into_parts();
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    let (mut parts, body) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    Ok(Response::from_parts(parts, Body::boxed(body)))
}

fn forwarded(
    parts: &Parts,
    destination: &Destination,
    body: Body,
) -> Result<Request<Body>, ApiError> {
    let path: PathAndQuery = destination.path.parse().map_err(ApiError::internal)?;
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    let mut headers = parts.headers.clone();
    remove_hop_by_hop(&mut headers);
    // Whoever answers has no business with the credentials for this server.
    headers.remove(header::AUTHORIZATION);
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    let host = if destination.host.contains(':') {
        format!("[{}]:{}", destination.host, destination.port)
    } else {
        format!("{}:{}", destination.host, destination.port)
    };
    headers.insert(header::HOST, host.parse().map_err(ApiError::internal)?);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = path.into();
    *request.headers_mut() = headers;
    Ok(request)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// `[SCHEME:]NAME[:PORT]`
fn split_name(text: &str) -> (&str, &str, &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match *parts.as_slice() {
        [scheme @ ("http" | "https"), name] => (scheme, name, ""),
        [name, port] => ("http", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => ("http", text, ""),
    }
}

fn with_query(path: &str, query: &str) -> String {
    let path = if path.is_empty() { "/" } else { path };
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn proxied(server: &Server, path: &ObjectPath, query: &str) -> Result<Destination, ApiError> {
    let (scheme, name, port) = split_name(path.name.as_deref().unwrap_or_default());
    let target = with_query(&path.rest, query);
    let tls = scheme == "https";
    match path.resource.plural {
        "nodes" => {
            let (host, kubelet_port) = node_address(server, name)?;
            let port = if port.is_empty() { kubelet_port } else { number(port)? };
            Ok(Destination { host, port, path: target, kubelet: port == kubelet_port, tls })
        }
        "pods" => {
            let pod = get(server, path.resource, &path.namespace, name)?;
            let host = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
            if host.is_empty() {
                return Err(ApiError::bad_request("address not allowed"));
            }
            let port = if port.is_empty() { pod_port(&pod) } else { number(port)? };
            Ok(Destination { host, port, path: target, kubelet: false, tls })
        }
        _ => {
            let service = get(server, path.resource, &path.namespace, name)?;
            let (host, port) = service_endpoint(server, &service, &path.namespace, name, port)?;
            Ok(Destination { host, port, path: target, kubelet: false, tls })
        }
    }
}

fn number(port: &str) -> Result<u16, ApiError> {
    port.parse().map_err(|_| ApiError::bad_request(format!("invalid port {port:?}")))
}

fn pod_port(pod: &Value) -> u16 {
    let containers = pod["spec"]["containers"].as_array();
    let ports = containers.into_iter().flatten().flat_map(|c| c["ports"].as_array()).flatten();
    let port = ports.filter_map(|port| port["containerPort"].as_u64()).next();
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(80)
}

/// A ready endpoint of a Service, picked at random.
fn service_endpoint(
    server: &Server,
    service: &Value,
    namespace: &str,
    name: &str,
    port: &str,
) -> Result<(String, u16), ApiError> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = match ports {
        [only] if port.is_empty() => Some(only),
        _ => ports.iter().find(|known| {
            known["name"].as_str().unwrap_or_default() == port
                || number(port).is_ok_and(|port| known["port"] == port)
        }),
    };
    let unavailable =
        || ApiError::service_unavailable(format!("no endpoints available for service {name:?}"));
    let Some(wanted) = wanted else {
        return Err(ApiError::service_unavailable(format!(
            "no service port {port:?} found for service {name:?}"
        )));
    };
    let port_name = wanted["name"].as_str().unwrap_or_default();
    let (_, table) = server.cache.find("", "endpoints").ok_or_else(unavailable)?;
    let endpoints = server.cache.get(table, &object_key(namespace, name));
    let endpoints = endpoints.ok_or_else(unavailable)?.value();
    let mut found: Vec<(String, u16)> = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let ports = subset["ports"].as_array();
        let port = ports
            .into_iter()
            .flatten()
            .find(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let Some(port) = port.and_then(|p| u16::try_from(p["port"].as_u64()?).ok()) else {
            continue;
        };
        for address in subset["addresses"].as_array().into_iter().flatten() {
            found.extend(address["ip"].as_str().map(|ip| (ip.to_owned(), port)));
        }
    }
    found.choose(&mut rand::rng()).cloned().ok_or_else(unavailable)
}

fn get(
    server: &Server,
    resource: &'static Resource,
    namespace: &str,
    name: &str,
) -> Result<Value, ApiError> {
    let table = server.cache.table_of(resource).ok_or_else(ApiError::no_such_resource)?;
    let object = server.cache.get(table, &object_key(namespace, name));
    object.map(|o| o.value()).ok_or_else(|| ApiError::not_found(resource, name))
}

/// The address of a node and the port of its kubelet.
fn node_address(server: &Server, name: &str) -> Result<(String, u16), ApiError> {
    let (nodes, _) = server.cache.find("", "nodes").ok_or_else(ApiError::no_such_resource)?;
    let node = get(server, nodes, "", name)?;
    let status = &node["status"];
    let addresses = status["addresses"].as_array();
    let internal = addresses.into_iter().flatten().find(|a| a["type"] == "InternalIP");
    let host = internal.and_then(|address| address["address"].as_str());
    let host = host.ok_or_else(|| {
        ApiError::internal(format!("no preferred addresses found; known addresses: [] of {name}"))
    })?;
    let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Ok((host.to_owned(), port.unwrap_or(KUBELET_PORT)))
}

/// The container that a request means: the one it names, or the pod's only one.
fn container<'a>(pod: &'a Value, name: &str, asked: Option<&'a str>) -> Result<&'a str, ApiError> {
    let list = |field: &str| pod["spec"][field].as_array().map(Vec::as_slice).unwrap_or_default();
    fn names(containers: &[Value]) -> Vec<&str> {
        containers.iter().filter_map(|container| container["name"].as_str()).collect()
    }
    let (main, init) = (names(list("containers")), names(list("initContainers")));
    match asked {
        Some(asked) if main.contains(&asked) || init.contains(&asked) => Ok(asked),
        Some(asked) => {
            Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")))
        }
        None => match *main.as_slice() {
            [only] => Ok(only),
            _ => {
                let more = if init.is_empty() {
                    String::new()
                } else {
                    format!(" or one of the init containers: [{}]", init.join(" "))
                };
                Err(ApiError::bad_request(format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]{more}",
                    main.join(" ")
                )))
            }
        },
    }
}

fn parameters(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = parameters.iter().find(|(key, value)| key == name && !value.is_empty());
    found.map(|(_, value)| &**value)
}

fn encode(parameters: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// `None` when the pod is on no node yet: it has said nothing.
fn log(
    server: &Server,
    path: &ObjectPath,
    _options: &Options,
    query: &str,
) -> Result<Option<Destination>, ApiError> {
    let name = path.name.as_deref().unwrap_or_default();
    let pod = get(server, path.resource, &path.namespace, name)?;
    let mut asked = parameters(query);
    let container = container(&pod, name, parameter(&asked, "container"))?.to_owned();
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        return Ok(None);
    };
    let (host, port) = node_address(server, node)?;
    asked.retain(|(key, _)| key != "container");
    let target = format!("/containerLogs/{}/{name}/{container}", path.namespace);
    let path = with_query(&target, &encode(&asked));
    Ok(Some(Destination { host, port, path, kubelet: true, tls: true }))
}

/// exec, attach and portforward.
fn interactive(
    server: &Server,
    path: &ObjectPath,
    subresource: &str,
    query: &str,
) -> Result<Destination, ApiError> {
    let name = path.name.as_deref().unwrap_or_default();
    let pod = get(server, path.resource, &path.namespace, name)?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    };
    let (host, port) = node_address(server, node)?;
    let asked = parameters(query);
    let namespace = &path.namespace;
    let (target, sent) = if subresource == "portforward" {
        let mut sent = asked.clone();
        for (key, value) in &mut sent {
            if key == "ports" {
                "port".clone_into(key);
                value.retain(|c| c.is_ascii_digit() || c == ',');
            }
        }
        (format!("/portForward/{namespace}/{name}"), sent)
    } else {
        let container = container(&pod, name, parameter(&asked, "container"))?;
        let on = |key: &str| matches!(parameter(&asked, key), Some("true" | "1"));
        let mut sent: Vec<(String, String)> = Vec::new();
        for (ours, kubelets) in
            [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")]
        {
            if on(ours) {
                sent.push((kubelets.to_owned(), "1".to_owned()));
            }
        }
        sent.extend(asked.iter().filter(|(key, _)| key == "command").cloned());
        (format!("/{subresource}/{namespace}/{name}/{container}"), sent)
    };
    let path = with_query(&target, &encode(&sent));
    Ok(Destination { host, port, path, kubelet: true, tls: true })
}
